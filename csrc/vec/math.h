/* math.h: exp, expm1, log, log1p, tanh, sigmoid and erf of whole vectors, float and double.
 *
 * One source for both types; what differs (polynomials, limits) is in math_f32.h and math_f64.h.
 * Only operations of vec.h are used, so every instruction set gives the same bits. There are no
 * branches: each lane is computed alone. NaN gives NaN, -0 is kept where f(-0) = -0, and results
 * below the normal range underflow gradually, within the same bounds.
 *
 * Largest error in units in the last place, measured by tests/tools/prove_math.c:
 *              exp    expm1  log    log1p  tanh   sigmoid erf
 *     float    0.91   1.30   0.94   0.98   1.42   1.50    1.02   every input
 *     double   0.92   1.38   0.85   0.87   1.45   1.49    1.01   4 x 10^7 samples or more
 *
 * Include it once at the top of a file, outside the type pass; V_(exp) and so on then work in it.
 */
#ifndef NNL_VEC_MATH_H
#define NNL_VEC_MATH_H

#include <math.h>
#include <stdint.h>

#include "vec.h"

#define NNL_MATH_PASS
#define NNL_GENERIC_FILE "vec/math.h"
#include "core/dtype.h"
#undef NNL_MATH_PASS

#elif defined(NNL_MATH_PASS)

#if REAL_IS_FLOAT
#include "math_f32.h"
#else
#include "math_f64.h"
#endif

/* x = n ln 2 + r with n the nearest integer to x / ln 2, so e^x = 2^n e^r and |r| <= ln 2 / 2.
 * `rounded` is n + ROUNDER: its low bits are n. n LN2_HIGH is subtracted without error (fma, and
 * the difference fits), so `first` is exact and r carries one rounding. */
typedef struct {
    vreal rounded, n, first, r;
} T_(reduced);

static inline T_(reduced) T_(exp_reduce)(vreal x) {
    T_(reduced) k;
    k.rounded = V_(fma)(x, V_(set)(LOG2_E), V_(set)(ROUNDER));
    k.n = V_(sub)(k.rounded, V_(set)(ROUNDER));
    k.first = V_(fnma)(k.n, V_(set)(LN2_HIGH), x);
    k.r = V_(fnma)(k.n, V_(set)(LN2_LOW), k.first);
    return k;
}

/* start 2^n, start a power of two and the result in the normal range. */
static inline vreal T_(power_of_two)(T_(reduced) k, vreal start) {
    return V_(from_bits)(V_(i_add)(V_(i_shl)(V_(bits)(k.rounded), MANTISSA_BITS), V_(bits)(start)));
}

static inline vreal T_(copy_sign)(vreal magnitude, vreal sign) {
    return V_(from_bits)(
        V_(i_or)(V_(i_and)(V_(bits)(sign), V_(i_set)(SIGN_BIT)), V_(bits)(magnitude)));
}

static inline vreal T_(minus_abs)(vreal x) {
    return V_(from_bits)(V_(i_or)(V_(bits)(x), V_(i_set)(SIGN_BIT)));
}

/* e^x = 2^n (1 + r (1 + r tail)). The limits keep n in range; beyond them the result is inf or 0
 * anyway. min and max return their second operand for NaN. */
static inline vreal V_(exp)(vreal x) {
    x = V_(max)(V_(set)(EXP_SMALLEST), V_(min)(V_(set)(EXP_LARGEST), x));
    T_(reduced) k = T_(exp_reduce)(x);
    vreal one = V_(set)(1);
    vreal p = V_(fma)(V_(fma)(T_(exp_tail)(k.r), k.r, one), k.r, one);
    return V_(scale)(p, k.n);
}

/* e^x - 1 = (2^n - 1) + 2^n r + 2^n (r^2 tail + low) with r + low = x - n ln 2, so that nothing is
 * lost where 2^n - 1 and 2^n r cancel. Computed at half size, for 2^128 is no float.
 * Inputs so small that the result is x are taken out, here and below: arithmetic on denormal
 * numbers is slow. */
static inline vreal V_(expm1)(vreal x) {
    vmask linear = V_(lt)(V_(abs)(x), V_(set)(LINEAR_BELOW));
    vreal bounded = V_(max)(V_(set)(EXPM1_SMALLEST), V_(min)(V_(set)(EXP_LARGEST), x));
    T_(reduced) k = T_(exp_reduce)(V_(select)(linear, V_(zero)(), bounded));
    vreal low = V_(fnma)(k.n, V_(set)(LN2_LOW), V_(sub)(k.first, k.r));
    vreal tail = V_(fma)(V_(mul)(k.r, k.r), T_(expm1_tail)(k.r), low);
    vreal half = V_(set)((real)0.5);
    vreal s = T_(power_of_two)(k, half);
    vreal y = V_(fma)(s, tail, V_(fma)(s, k.r, V_(sub)(s, half)));
    return V_(select)(linear, x, V_(add)(y, y));
}

/* sigmoid(-|x|) = y = z / (1 + z) with z = e^-|x| = 2^n (1 + u), which never overflows; for
 * positive x it is 1 - y. Rounding 1 + z would cost up to one unit in the last place, so the
 * quotient is corrected by one Newton step: y += (z - y - y z) / (1 + z), 1 / (1 + z) = 1 - y.
 * Where z is below 2^-64, y is z to the last place: the quotient is taken of 2^-64 (1 + u), and the
 * power of two that is left comes last, so that no other operation meets a slow denormal number. */
static inline vreal V_(sigmoid)(vreal x) {
    T_(reduced) k = T_(exp_reduce)(V_(max)(V_(set)(EXP_SMALLEST), T_(minus_abs)(x)));
    vreal one = V_(set)(1);
    vreal u = V_(fma)(V_(mul)(k.r, k.r), T_(exp_tail)(k.r), k.r);
    vreal n = V_(max)(V_(set)(-64), k.n);
    vreal z = V_(shrink)(V_(add)(one, u), n);
    vreal y = V_(div)(z, V_(add)(one, z));
    vreal residual = V_(fnma)(y, z, V_(sub)(z, y));
    y = V_(fma)(residual, V_(sub)(one, y), y);
    vreal small = V_(shrink)(y, V_(sub)(k.n, n));
    return V_(select)(V_(gt)(x, V_(zero)()), V_(sub)(one, y), small);
}

/* tanh|x| = (1 - z) / (1 + z) with z = e^-2|x|. The numerator 1 - z = (1 - 2^n) - 2^n u has no
 * cancellation; it is f plus what rounding dropped, `low`, and the denominator is 2 - f - low. The
 * quotient y = f / (2 - f) is corrected by one Newton step: the residual is
 * f - 2 y + y f + low (1 + y), f - 2 y being exact, and 1 / (2 - f) = (1 + y) / 2 = h. */
static inline vreal V_(tanh)(vreal x) {
    vreal minus = V_(min)(V_(set)(-LINEAR_BELOW), T_(minus_abs)(x));
    vreal one = V_(set)(1);
    vreal half = V_(set)((real)0.5);
    T_(reduced) k = T_(exp_reduce)(V_(max)(V_(set)(EXPM1_SMALLEST), V_(add)(minus, minus)));
    vreal u = V_(fma)(V_(mul)(k.r, k.r), T_(expm1_tail)(k.r), k.r);
    vreal s = T_(power_of_two)(k, one);
    vreal most = V_(sub)(one, s);
    vreal f = V_(fnma)(s, u, most);
    vreal low = V_(fnma)(s, u, V_(sub)(most, f));
    vreal y = V_(div)(f, V_(sub)(V_(set)(2), f));
    vreal h = V_(fma)(y, half, half);
    vreal residual = V_(fma)(y, f, V_(sub)(V_(sub)(f, y), y));
    residual = V_(fma)(V_(add)(low, low), h, residual);
    vmask linear = V_(lt)(V_(abs)(x), V_(set)(LINEAR_BELOW));
    return V_(select)(linear, x, T_(copy_sign)(V_(fma)(residual, h, y), x));
}

/* x = 2^k m with sqrt(1/2) <= m < sqrt(2), as k and f = m - 1, which is exact; x positive and
 * normal. Subtracting the bits of sqrt(1/2) lets the exponent field count from there. `bias` is
 * taken off k together with the trick that reads the field as a number. */
static inline void T_(log_reduce)(vreal x, vreal bias, vreal *k, vreal *f) {
    T_(vint) root = V_(i_set)(SQRT_HALF_BITS);
    T_(vint) b = V_(i_add)(V_(i_sub)(V_(bits)(x), root), V_(i_set)(ONE_BITS));
    T_(vint) field = V_(i_or)(V_(i_shr)(b, MANTISSA_BITS), V_(i_set)(EXPONENT_READER_BITS));
    *k = V_(sub)(V_(from_bits)(field), bias);
    T_(vint) m = V_(i_add)(V_(i_and)(b, V_(i_set)(MANTISSA_MASK)), root);
    *f = V_(sub)(V_(from_bits)(m), V_(set)(1));
}

/* k ln 2 + log(1 + f) + extra, the small terms first; `lost` is what rounding k LN2_HIGH + f
 * dropped. */
static inline vreal T_(log_sum)(vreal k, vreal f, vreal extra) {
    vreal sum = V_(fma)(k, V_(set)(LN2_HIGH), f);
    vreal lost = V_(sub)(f, V_(fnma)(k, V_(set)(LN2_HIGH), sum));
    vreal small = V_(add)(lost, V_(fma)(k, V_(set)(LN2_LOW), extra));
    return V_(add)(sum, V_(add)(small, T_(log_tail)(f)));
}

/* `y` for 0 < u < inf; log's values elsewhere. */
static inline vreal T_(log_limits)(vreal u, vreal y) {
    vreal infinity = V_(set)((real)INFINITY);
    y = V_(select)(V_(lt)(u, infinity), y, u);
    vreal outside = V_(select)(V_(eq)(u, V_(zero)()), V_(neg)(infinity), V_(set)((real)NAN));
    return V_(select)(V_(gt)(u, V_(zero)()), y, outside);
}

/* A denormal x is i 2^-(bias + mantissa bits - 1), i being its bits; 1 + i 2^-(mantissa bits) minus
 * 1 is x 2^(bias - 1), normal and exact. */
static inline vreal V_(log)(vreal x) {
    vreal k, f;
    vmask tiny = V_(lt)(x, V_(set)(MIN_NORMAL));
    vreal grown = V_(sub)(V_(from_bits)(V_(i_or)(V_(bits)(x), V_(i_set)(ONE_BITS))), V_(set)(1));
    vreal bias = V_(select)(tiny, V_(set)(EXPONENT_READER + 2 * EXPONENT_BIAS - 1),
                            V_(set)(EXPONENT_READER + EXPONENT_BIAS));
    T_(log_reduce)(V_(select)(tiny, grown, x), bias, &k, &f);
    return T_(log_limits)(x, T_(log_sum)(k, f, V_(zero)()));
}

/* log(1 + x) = log(u) + c / u, where u = 1 + x is rounded and c is exactly what was lost. */
static inline vreal V_(log1p)(vreal x) {
    vreal k, f;
    vreal one = V_(set)(1);
    vmask linear = V_(lt)(V_(abs)(x), V_(set)(LINEAR_BELOW));
    vreal u = V_(add)(one, x);
    vreal x_part = V_(sub)(u, one);
    vreal c = V_(add)(V_(sub)(one, V_(sub)(u, x_part)), V_(sub)(x, x_part));
    T_(log_reduce)(u, V_(set)(EXPONENT_READER + EXPONENT_BIAS), &k, &f);
    vreal extra = V_(div)(V_(select)(linear, V_(zero)(), c), u);
    vreal y = T_(log_limits)(u, T_(log_sum)(k, f, extra));
    return V_(select)(linear, x, y);
}

/* erf(x) = x + x P(x^2) near 0; further out 1 - e^L with L = log(1 - erf|x|), a polynomial:
 * 1 - 2^n (1 + u) = (1 - 2^n) - 2^n u. */
static inline vreal V_(erf)(vreal x) {
    vreal a = V_(min)(V_(set)(ERF_LARGEST), V_(abs)(x));
    vreal inner = V_(fma)(T_(erf_small)(V_(mul)(a, a)), x, x);
    T_(reduced) k = T_(exp_reduce)(T_(erf_log_tail)(a));
    vreal u = V_(mul)(k.r, V_(fma)(T_(exp_tail)(k.r), k.r, V_(set)(1)));
    vreal s = T_(power_of_two)(k, V_(set)(1));
    vreal outer = V_(fnma)(s, u, V_(sub)(V_(set)(1), s));
    return V_(select)(V_(lt)(a, V_(set)(ERF_SPLIT)), inner, T_(copy_sign)(outer, x));
}

#undef MANTISSA_BITS
#undef ONE_BITS
#undef SIGN_BIT
#undef MANTISSA_MASK
#undef SQRT_HALF_BITS
#undef EXPONENT_BIAS
#undef MIN_NORMAL
#undef ROUNDER
#undef EXPONENT_READER
#undef EXPONENT_READER_BITS
#undef LOG2_E
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_LARGEST
#undef EXP_SMALLEST
#undef EXPM1_SMALLEST
#undef ERF_LARGEST
#undef ERF_SPLIT
#undef LINEAR_BELOW

#endif
