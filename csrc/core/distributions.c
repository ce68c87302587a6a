/* distributions.c: uniform and normal numbers from the counter-based generator (random.h).
 *
 * uniform   u = (bits + 1/2) / 2^digits, strictly inside (0, 1); low + (high - low) u
 * normal    mean + std Phi^-1(u): the inverse of the normal distribution function, computed in
 *           double for both types
 * Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
 * Statistics 37 (1988): rational approximations with a relative error of about 1e-16. */
#ifndef NNL_GENERIC_PASS

#include "core/base.h"
#include "core/random.h"
#include "vec/math.h"
#include "vec/vec.h"

/* 52 bits of element i of the stream, strictly between 0 and 1: two words of a block each. */
static double unit_double(uint64_t seed, uint32_t purpose, uint32_t step, int64_t i,
                          uint32_t *words) {
    if (i % 2 == 0) nnl_philox(seed, purpose, step, (uint64_t)i / 2, words);
    uint64_t bits = ((uint64_t)words[i % 2 * 2 + 1] << 32) | words[i % 2 * 2];
    return ((double)(bits >> 12) + 0.5) * 0x1p-52;
}

/* 23 bits, likewise: one word each. */
static float unit_float(uint64_t seed, uint32_t purpose, uint32_t step, int64_t i,
                        uint32_t *words) {
    if (i % 4 == 0) nnl_philox(seed, purpose, step, (uint64_t)i / 4, words);
    return ((float)(words[i % 4] >> 9) + 0.5f) * 0x1p-23f;
}

/* (top[0] + ... + top[7] x^7) / (1 + bottom[0] x + ... + bottom[6] x^7), by Horner's rule. */
static double rational(const double *top, const double *bottom, double x) {
    double p = top[7], q = bottom[6];
    for (int i = 6; i >= 0; i--) p = __builtin_fma(p, x, top[i]);
    for (int i = 5; i >= 0; i--) q = __builtin_fma(q, x, bottom[i]);
    return p / __builtin_fma(q, x, 1);
}

static double log_of(double x) {
    double result;
    v_store_n_f64(&result, v_log_f64(v_set_f64(x)), 1);
    return result;
}

/* Phi^-1(u), 0 < u < 1. Coefficients: Wichura 1988, PPND16. */
static double normal_quantile(double u) {
    static const double centre_top[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                         1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                         4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                         3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double centre_bottom[7] = {4.2313330701600911252e+1, 6.8718700749205790830e+2,
                                            5.3941960214247511077e+3, 2.1213794301586595867e+4,
                                            3.9307895800092710610e+4, 2.8729085735721942674e+4,
                                            5.2264952788528545610e+3};
    static const double tail_top[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                       5.76949722146069140550e0,  3.64784832476320460504e0,
                                       1.27045825245236838258e0,  2.41780725177450611770e-1,
                                       2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double tail_bottom[7] = {2.05319162663775882187e0,  1.67638483018380384940e0,
                                          6.89767334985100004550e-1, 1.48103976427480074590e-1,
                                          1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                          1.05075007164441684324e-9};
    static const double far_top[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                      1.78482653991729133580e0,  2.96560571828504891230e-1,
                                      2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                      2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double far_bottom[7] = {5.99832206555887937690e-1, 1.36929880922735805310e-1,
                                         1.48753612908506148525e-2, 7.86869131145613259100e-4,
                                         1.84631831751005468180e-5, 1.42151175831644588870e-7,
                                         2.04426310338993978564e-15};
    double q = u - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        return q * rational(centre_top, centre_bottom, 0.180625 - q * q);
    }
    double r = __builtin_sqrt(-log_of(q < 0 ? u : 1 - u));
    double z =
        r <= 5 ? rational(tail_top, tail_bottom, r - 1.6) : rational(far_top, far_bottom, r - 5);
    return q < 0 ? -z : z;
}

#define NNL_GENERIC_FILE "core/distributions.c"
#include "core/dtype.h"
#else

#if REAL_IS_FLOAT
#define UNIT unit_float
#else
#define UNIT unit_double
#endif

NNL_API int NNL_(random_uniform)(int64_t n, real *out, real low, real high, uint64_t seed,
                                 uint32_t purpose, uint32_t step) {
    if (!nnl_size_ok(n, 1, sizeof(real))) return NNL_EINVAL;
    uint32_t words[4];
    for (int64_t i = 0; i < n; i++) {
        out[i] = low + (high - low) * UNIT(seed, purpose, step, i, words);
    }
    return NNL_OK;
}

NNL_API int NNL_(random_normal)(int64_t n, real *out, real mean, real std, uint64_t seed,
                                uint32_t purpose, uint32_t step) {
    if (!nnl_size_ok(n, 1, sizeof(real))) return NNL_EINVAL;
    uint32_t words[4];
    for (int64_t i = 0; i < n; i++) {
        out[i] = mean + std * (real)normal_quantile(unit_double(seed, purpose, step, i, words));
    }
    return NNL_OK;
}

#undef UNIT

#endif
