/* math_f32.h: constants and polynomials of math.h for float; included by its float pass.
 *
 * The polynomials are minimax fits (Remez exchange in 50-digit arithmetic). Coefficients were
 * rounded to float from the lowest power up, the others refitted after each. The stated error is
 * that of the rounded polynomial in exact arithmetic. */

#define MANTISSA_BITS 23
#define ONE_BITS 0x3f800000
#define SIGN_BIT INT32_MIN
#define MANTISSA_MASK 0x007fffff
#define SQRT_HALF_BITS 0x3f3504f3
#define EXPONENT_BIAS 127
#define MIN_NORMAL 0x1p-126f
#define ROUNDER 0x1.8p23f       /* adding it rounds |x| < 2^22 to an integer */
#define EXPONENT_READER 0x1p23f /* its bits, or-ed with k < 2^23, read 2^23 + k */
#define EXPONENT_READER_BITS 0x4b000000
#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62e430p-1f  /* ln 2 rounded, a multiple of 2^-24 */
#define LN2_LOW -0x1.05c610p-29f /* the rest */
#define EXP_LARGEST 89.0f        /* e^89 > 2^128 */
#define EXP_SMALLEST -104.0f     /* e^-104 < 2^-150 */
#define EXPM1_SMALLEST -20.0f    /* e^-20 < 2^-25, half a unit in the last place of 1 */
#define ERF_LARGEST 4.0f         /* 1 - erf(4) < 2^-25 */
#define ERF_SPLIT 0.9f
#define LINEAR_BELOW 0x1p-25f /* expm1(x), log1p(x) and tanh(x) are x */

/* (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2: error of e^r at most 3.2e-9 e^r. */
static inline vreal T_(exp_tail)(vreal r) {
    vreal y = V_(mul)(r, r);
    vreal low = V_(fma)(r, V_(set)(0x1.55548cp-3f), V_(set)(0x1.fffffcp-2f));
    vreal high = V_(fma)(r, V_(set)(0x1.123ddep-7f), V_(set)(0x1.555858p-5f));
    high = V_(fma)(y, V_(set)(0x1.6ac71ep-10f), high);
    return V_(fma)(high, y, low);
}

/* The same with 1/2 kept: error of e^r - 1 at most 4.7e-10 |e^r - 1|, down to r = 0. */
static inline vreal T_(expm1_tail)(vreal r) {
    vreal p = V_(set)(0x1.9c6512p-13f);
    p = V_(fma)(p, r, V_(set)(0x1.6d4c84p-10f));
    p = V_(fma)(p, r, V_(set)(0x1.1113aap-7f));
    p = V_(fma)(p, r, V_(set)(0x1.5554eap-5f));
    p = V_(fma)(p, r, V_(set)(0x1.555554p-3f));
    return V_(fma)(p, r, V_(set)(0.5f));
}

/* log(1 + f) - f on sqrt(1/2) <= 1 + f <= sqrt(2) = -f^2/2 + f^3 P(f): error at most 5.9e-9 |f|. */
static inline vreal T_(log_tail)(vreal f) {
    vreal p = V_(set)(-0x1.421066p-4f);
    p = V_(fma)(p, f, V_(set)(0x1.07da26p-3f));
    p = V_(fma)(p, f, V_(set)(-0x1.0cdd98p-3f));
    p = V_(fma)(p, f, V_(set)(0x1.226c6cp-3f));
    p = V_(fma)(p, f, V_(set)(-0x1.5478a6p-3f));
    p = V_(fma)(p, f, V_(set)(0x1.99a5b2p-3f));
    p = V_(fma)(p, f, V_(set)(-0x1.000220p-2f));
    p = V_(fma)(p, f, V_(set)(0x1.55554ap-2f));
    p = V_(fma)(p, f, V_(set)(-0.5f));
    return V_(mul)(p, V_(mul)(f, f));
}

/* erf(x) / x - 1 in y = x^2, |x| <= 0.9: error at most 1.6e-8. */
static inline vreal T_(erf_small)(vreal y) {
    vreal p = V_(set)(-0x1.3c3262p-11f);
    p = V_(fma)(p, y, V_(set)(0x1.47b07cp-8f));
    p = V_(fma)(p, y, V_(set)(-0x1.b69ceap-6f));
    p = V_(fma)(p, y, V_(set)(0x1.ce1b88p-4f));
    p = V_(fma)(p, y, V_(set)(-0x1.8126ecp-2f));
    return V_(fma)(p, y, V_(set)(0x1.06eba6p-3f));
}

/* log(1 - erf(x)) on 0.9 <= x <= 4: error of erf at most 1.7e-9. */
static inline vreal T_(erf_log_tail)(vreal x) {
    vreal p = V_(set)(0x1.9d82acp-13f);
    p = V_(fma)(p, x, V_(set)(-0x1.907f90p-9f));
    p = V_(fma)(p, x, V_(set)(0x1.6cfc1cp-6f));
    p = V_(fma)(p, x, V_(set)(-0x1.aa22bcp-4f));
    p = V_(fma)(p, x, V_(set)(-0x1.462cbcp-1f));
    p = V_(fma)(p, x, V_(set)(-0x1.20b430p+0f));
    return V_(fma)(p, x, V_(set)(-0x1.7443fep-13f));
}
