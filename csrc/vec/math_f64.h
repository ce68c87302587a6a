/* math_f64.h: constants and polynomials of math.h for double; see math_f32.h for how they were
 * found and what the stated errors mean. */

#define MANTISSA_BITS 52
#define ONE_BITS 0x3ff0000000000000
#define SIGN_BIT INT64_MIN
#define MANTISSA_MASK 0x000fffffffffffff
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcd
#define EXPONENT_BIAS 1023
#define MIN_NORMAL 0x1p-1022
#define ROUNDER 0x1.8p52
#define EXPONENT_READER 0x1p52
#define EXPONENT_READER_BITS 0x4330000000000000
#define LOG2_E 0x1.71547652b82fep+0
#define LN2_HIGH 0x1.62e42fefa39efp-1 /* ln 2 rounded, a multiple of 2^-53 */
#define LN2_LOW 0x1.abc9e3b39803fp-56
#define EXP_LARGEST 710.0    /* e^710 > 2^1024 */
#define EXP_SMALLEST -746.0  /* e^-746 < 2^-1075 */
#define EXPM1_SMALLEST -40.0 /* e^-40 < 2^-54 */
#define ERF_LARGEST 6.0      /* 1 - erf(6) < 2^-54 */
#define ERF_SPLIT 0.9
#define LINEAR_BELOW 0x1p-54

/* (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2: error of e^r - 1 at most 2.5e-17 |e^r - 1|. */
static inline vreal T_(expm1_tail)(vreal r) {
    vreal p = V_(set)(0x1.ae49de3d51468p-26);
    p = V_(fma)(p, r, V_(set)(0x1.289764404ce77p-22));
    p = V_(fma)(p, r, V_(set)(0x1.71de9710a55dep-19));
    p = V_(fma)(p, r, V_(set)(0x1.a019b39e78801p-16));
    p = V_(fma)(p, r, V_(set)(0x1.a01a0171ca41dp-13));
    p = V_(fma)(p, r, V_(set)(0x1.6c16c179fe3bap-10));
    p = V_(fma)(p, r, V_(set)(0x1.1111111118ce1p-7));
    p = V_(fma)(p, r, V_(set)(0x1.5555555553b0fp-5));
    p = V_(fma)(p, r, V_(set)(0x1.555555555553ep-3));
    return V_(fma)(p, r, V_(set)(0.5));
}

static inline vreal T_(exp_tail)(vreal r) { return T_(expm1_tail)(r); }

/* log(1 + f) - f on sqrt(1/2) <= 1 + f <= sqrt(2), by s = f / (2 + f) and
 * log(1 + f) = 2 atanh(s) = 2 s + s R(s^2) = f - f^2/2 + s (f^2/2 + R(s^2)).
 * Error of the polynomial at most 1.3e-18 |log(1 + f)|. */
static inline vreal T_(log_tail)(vreal f) {
    vreal s = V_(div)(f, V_(add)(f, V_(set)(2)));
    vreal y = V_(mul)(s, s);
    vreal p = V_(set)(0x1.2f045d05d61a2p-3);
    p = V_(fma)(p, y, V_(set)(0x1.39a1da0fd6f41p-3));
    p = V_(fma)(p, y, V_(set)(0x1.74663d6f57630p-3));
    p = V_(fma)(p, y, V_(set)(0x1.c71c521234b00p-3));
    p = V_(fma)(p, y, V_(set)(0x1.24924941e35f9p-2));
    p = V_(fma)(p, y, V_(set)(0x1.999999997ff02p-2));
    p = V_(fma)(p, y, V_(set)(0x1.5555555555592p-1));
    vreal half_square = V_(mul)(V_(mul)(f, f), V_(set)(0.5));
    return V_(sub)(V_(mul)(s, V_(fma)(p, y, half_square)), half_square);
}

/* erf(x) / x - 1 in y = x^2, |x| <= 0.9: error at most 1.3e-17. */
static inline vreal T_(erf_small)(vreal y) {
    vreal p = V_(set)(-0x1.2f7232b80bd46p-30);
    p = V_(fma)(p, y, V_(set)(0x1.04f7420a65f27p-26));
    p = V_(fma)(p, y, V_(set)(-0x1.62432637a6028p-23));
    p = V_(fma)(p, y, V_(set)(0x1.ba5d73bb7dd70p-20));
    p = V_(fma)(p, y, V_(set)(-0x1.f4dd71eb53520p-17));
    p = V_(fma)(p, y, V_(set)(0x1.f9a3cb0c1fd4fp-14));
    p = V_(fma)(p, y, V_(set)(-0x1.c02db9fb80a9dp-11));
    p = V_(fma)(p, y, V_(set)(0x1.565bcd30dd542p-8));
    p = V_(fma)(p, y, V_(set)(-0x1.b82ce3136ed14p-6));
    p = V_(fma)(p, y, V_(set)(0x1.ce2f21a045cfap-4));
    p = V_(fma)(p, y, V_(set)(-0x1.812746b037a28p-2));
    return V_(fma)(p, y, V_(set)(0x1.06eba8214db69p-3));
}

/* log(1 - erf(x)) on 0.9 <= x <= 6: error of erf at most 2.8e-18. */
static inline vreal T_(erf_log_tail)(vreal x) {
    vreal p = V_(set)(0x1.7c7df286d93d5p-40);
    p = V_(fma)(p, x, V_(set)(-0x1.0a0b0dfc6fc69p-34));
    p = V_(fma)(p, x, V_(set)(0x1.5c6c1111ca230p-30));
    p = V_(fma)(p, x, V_(set)(-0x1.1bb0f0fac838bp-26));
    p = V_(fma)(p, x, V_(set)(0x1.4133a3f9ba919p-23));
    p = V_(fma)(p, x, V_(set)(-0x1.0b4cd5bbed81bp-20));
    p = V_(fma)(p, x, V_(set)(0x1.4f95123efe962p-18));
    p = V_(fma)(p, x, V_(set)(-0x1.3dec4506de932p-16));
    p = V_(fma)(p, x, V_(set)(0x1.b43389f63e9dep-15));
    p = V_(fma)(p, x, V_(set)(-0x1.6998d15813f83p-14));
    p = V_(fma)(p, x, V_(set)(-0x1.0d0fe34b193fcp-16));
    p = V_(fma)(p, x, V_(set)(0x1.3a5315b3e621fp-11));
    p = V_(fma)(p, x, V_(set)(-0x1.c33ef187024a7p-10));
    p = V_(fma)(p, x, V_(set)(0x1.f31c6748d2f63p-13));
    p = V_(fma)(p, x, V_(set)(0x1.390ce2f093a70p-6));
    p = V_(fma)(p, x, V_(set)(-0x1.a4e97fb202445p-4));
    p = V_(fma)(p, x, V_(set)(-0x1.45f3825d34f93p-1));
    p = V_(fma)(p, x, V_(set)(-0x1.20dd685aca2aap+0));
    return V_(fma)(p, x, V_(set)(-0x1.313fd3e1f0f1bp-24));
}
