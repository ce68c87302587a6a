/* portable.h: the vector contract (vec.h) in plain C, one lane per vector. This is the definition:
 * every other instruction set must give the same bytes. fma is fused everywhere; a processor
 * without it runs the C library's exact, slow one. */
#ifndef NNL_VEC_PORTABLE_H
#define NNL_VEC_PORTABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VEC_LANES_f32 1
#define VEC_LANES_f64 1
typedef float vec_f32;
typedef double vec_f64;
typedef bool vmask_f32;
typedef bool vmask_f64;
typedef uint32_t vint_f32;
typedef uint64_t vint_f64;

static inline vec_f32 v_load_f32(const float *p) { return *p; }
static inline void v_store_f32(float *p, vec_f32 a) { *p = a; }
static inline void v_stream_f32(float *p, vec_f32 a) { *p = a; }
static inline vec_f32 v_load_n_f32(const float *p, int64_t n) { return n > 0 ? *p : 0; }
static inline vec_f32 v_load_fill_f32(const float *p, int64_t n, float fill) {
    return n > 0 ? *p : fill;
}
static inline void v_store_n_f32(float *p, vec_f32 a, int64_t n) {
    if (n > 0) {
        *p = a;
    }
}
static inline vec_f32 v_set_f32(float a) { return a; }
static inline vec_f32 v_zero_f32(void) { return 0; }

static inline vec_f32 v_add_f32(vec_f32 a, vec_f32 b) { return a + b; }
static inline vec_f32 v_sub_f32(vec_f32 a, vec_f32 b) { return a - b; }
static inline vec_f32 v_mul_f32(vec_f32 a, vec_f32 b) { return a * b; }
static inline vec_f32 v_div_f32(vec_f32 a, vec_f32 b) { return a / b; }
static inline vec_f32 v_sqrt_f32(vec_f32 a) { return __builtin_sqrtf(a); }
static inline vec_f32 v_max_f32(vec_f32 a, vec_f32 b) { return a > b ? a : b; }
static inline vec_f32 v_min_f32(vec_f32 a, vec_f32 b) { return a < b ? a : b; }
static inline vec_f32 v_fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return __builtin_fmaf(a, b, c); }
static inline vec_f32 v_fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) {
    return __builtin_fmaf(-a, b, c);
}
static inline vec_f32 v_neg_f32(vec_f32 a) { return -a; }
static inline vec_f32 v_abs_f32(vec_f32 a) { return __builtin_fabsf(a); }
static inline vec_f32 v_flush_f32(vec_f32 a) {
    return __builtin_fabsf(a) < 0x1p-126f ? __builtin_copysignf(0, a) : a;
}

static inline vmask_f32 v_lt_f32(vec_f32 a, vec_f32 b) { return a < b; }
static inline vmask_f32 v_le_f32(vec_f32 a, vec_f32 b) { return a <= b; }
static inline vmask_f32 v_gt_f32(vec_f32 a, vec_f32 b) { return a > b; }
static inline vmask_f32 v_ge_f32(vec_f32 a, vec_f32 b) { return a >= b; }
static inline vmask_f32 v_eq_f32(vec_f32 a, vec_f32 b) { return a == b; }
static inline vmask_f32 v_isnan_f32(vec_f32 a) { return a != a; }
static inline vec_f32 v_select_f32(vmask_f32 m, vec_f32 a, vec_f32 b) { return m ? a : b; }
static inline vmask_f32 v_mask_and_f32(vmask_f32 a, vmask_f32 b) { return a & b; }
static inline vmask_f32 v_mask_or_f32(vmask_f32 a, vmask_f32 b) { return a | b; }
static inline vmask_f32 v_mask_not_f32(vmask_f32 a) { return !a; }
static inline bool v_any_f32(vmask_f32 a) { return a; }

static inline vint_f32 v_bits_f32(vec_f32 a) {
    vint_f32 bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
static inline vec_f32 v_from_bits_f32(vint_f32 a) {
    vec_f32 value;
    memcpy(&value, &a, sizeof value);
    return value;
}
static inline vint_f32 v_i_set_f32(int32_t a) { return (vint_f32)a; }
static inline vint_f32 v_i_add_f32(vint_f32 a, vint_f32 b) { return a + b; }
static inline vint_f32 v_i_sub_f32(vint_f32 a, vint_f32 b) { return a - b; }
static inline vint_f32 v_i_and_f32(vint_f32 a, vint_f32 b) { return a & b; }
static inline vint_f32 v_i_or_f32(vint_f32 a, vint_f32 b) { return a | b; }
static inline vint_f32 v_i_xor_f32(vint_f32 a, vint_f32 b) { return a ^ b; }
static inline vint_f32 v_i_shl_f32(vint_f32 a, int count) { return a << count; }
static inline vint_f32 v_i_shr_f32(vint_f32 a, int count) { return a >> count; }

/* 2^n alone may lie outside the range of float, so it goes in as 2^(n/2) 2^(n - n/2); the first
 * product is exact. Adding 1.5 x 2^23 leaves n in the low bits of the sum. */
static inline vec_f32 v_scale_f32(vec_f32 a, vec_f32 n) {
    vint_f32 whole = v_bits_f32(v_add_f32(n, v_set_f32(0x1.8p23f)));
    vint_f32 half = v_i_shr_f32(whole, 1);
    vint_f32 rest = v_i_sub_f32(whole, half);
    vint_f32 one = v_i_set_f32(0x3f800000);
    vec_f32 first = v_from_bits_f32(v_i_add_f32(v_i_shl_f32(half, 23), one));
    vec_f32 second = v_from_bits_f32(v_i_add_f32(v_i_shl_f32(rest, 23), one));
    return v_mul_f32(v_mul_f32(a, first), second);
}
static inline vec_f32 v_shrink_f32(vec_f32 a, vec_f32 n) {
    vint_f32 whole = v_bits_f32(v_add_f32(n, v_set_f32(0x1.8p23f)));
    return v_mul_f32(a,
                     v_from_bits_f32(v_i_add_f32(v_i_shl_f32(whole, 23), v_i_set_f32(0x3f800000))));
}

static inline void v_transpose_f32(vec_f32 rows[VEC_LANES_f32]) { (void)rows; }

static inline vec_f64 v_load_f64(const double *p) { return *p; }
static inline void v_store_f64(double *p, vec_f64 a) { *p = a; }
static inline void v_stream_f64(double *p, vec_f64 a) { *p = a; }
static inline vec_f64 v_load_n_f64(const double *p, int64_t n) { return n > 0 ? *p : 0; }
static inline vec_f64 v_load_fill_f64(const double *p, int64_t n, double fill) {
    return n > 0 ? *p : fill;
}
static inline void v_store_n_f64(double *p, vec_f64 a, int64_t n) {
    if (n > 0) {
        *p = a;
    }
}
static inline vec_f64 v_set_f64(double a) { return a; }
static inline vec_f64 v_zero_f64(void) { return 0; }

static inline vec_f64 v_add_f64(vec_f64 a, vec_f64 b) { return a + b; }
static inline vec_f64 v_sub_f64(vec_f64 a, vec_f64 b) { return a - b; }
static inline vec_f64 v_mul_f64(vec_f64 a, vec_f64 b) { return a * b; }
static inline vec_f64 v_div_f64(vec_f64 a, vec_f64 b) { return a / b; }
static inline vec_f64 v_sqrt_f64(vec_f64 a) { return __builtin_sqrt(a); }
static inline vec_f64 v_max_f64(vec_f64 a, vec_f64 b) { return a > b ? a : b; }
static inline vec_f64 v_min_f64(vec_f64 a, vec_f64 b) { return a < b ? a : b; }
static inline vec_f64 v_fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return __builtin_fma(a, b, c); }
static inline vec_f64 v_fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) {
    return __builtin_fma(-a, b, c);
}
static inline vec_f64 v_neg_f64(vec_f64 a) { return -a; }
static inline vec_f64 v_abs_f64(vec_f64 a) { return __builtin_fabs(a); }
static inline vec_f64 v_flush_f64(vec_f64 a) {
    return __builtin_fabs(a) < 0x1p-1022 ? __builtin_copysign(0, a) : a;
}

static inline vmask_f64 v_lt_f64(vec_f64 a, vec_f64 b) { return a < b; }
static inline vmask_f64 v_le_f64(vec_f64 a, vec_f64 b) { return a <= b; }
static inline vmask_f64 v_gt_f64(vec_f64 a, vec_f64 b) { return a > b; }
static inline vmask_f64 v_ge_f64(vec_f64 a, vec_f64 b) { return a >= b; }
static inline vmask_f64 v_eq_f64(vec_f64 a, vec_f64 b) { return a == b; }
static inline vmask_f64 v_isnan_f64(vec_f64 a) { return a != a; }
static inline vec_f64 v_select_f64(vmask_f64 m, vec_f64 a, vec_f64 b) { return m ? a : b; }
static inline vmask_f64 v_mask_and_f64(vmask_f64 a, vmask_f64 b) { return a & b; }
static inline vmask_f64 v_mask_or_f64(vmask_f64 a, vmask_f64 b) { return a | b; }
static inline vmask_f64 v_mask_not_f64(vmask_f64 a) { return !a; }
static inline bool v_any_f64(vmask_f64 a) { return a; }

static inline vint_f64 v_bits_f64(vec_f64 a) {
    vint_f64 bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
static inline vec_f64 v_from_bits_f64(vint_f64 a) {
    vec_f64 value;
    memcpy(&value, &a, sizeof value);
    return value;
}
static inline vint_f64 v_i_set_f64(int64_t a) { return (vint_f64)a; }
static inline vint_f64 v_i_add_f64(vint_f64 a, vint_f64 b) { return a + b; }
static inline vint_f64 v_i_sub_f64(vint_f64 a, vint_f64 b) { return a - b; }
static inline vint_f64 v_i_and_f64(vint_f64 a, vint_f64 b) { return a & b; }
static inline vint_f64 v_i_or_f64(vint_f64 a, vint_f64 b) { return a | b; }
static inline vint_f64 v_i_xor_f64(vint_f64 a, vint_f64 b) { return a ^ b; }
static inline vint_f64 v_i_shl_f64(vint_f64 a, int count) { return a << count; }
static inline vint_f64 v_i_shr_f64(vint_f64 a, int count) { return a >> count; }

static inline vec_f64 v_scale_f64(vec_f64 a, vec_f64 n) {
    vint_f64 whole = v_bits_f64(v_add_f64(n, v_set_f64(0x1.8p52)));
    vint_f64 half = v_i_shr_f64(whole, 1);
    vint_f64 rest = v_i_sub_f64(whole, half);
    vint_f64 one = v_i_set_f64(0x3ff0000000000000);
    vec_f64 first = v_from_bits_f64(v_i_add_f64(v_i_shl_f64(half, 52), one));
    vec_f64 second = v_from_bits_f64(v_i_add_f64(v_i_shl_f64(rest, 52), one));
    return v_mul_f64(v_mul_f64(a, first), second);
}
static inline vec_f64 v_shrink_f64(vec_f64 a, vec_f64 n) {
    vint_f64 whole = v_bits_f64(v_add_f64(n, v_set_f64(0x1.8p52)));
    return v_mul_f64(
        a, v_from_bits_f64(v_i_add_f64(v_i_shl_f64(whole, 52), v_i_set_f64(0x3ff0000000000000))));
}

static inline void v_transpose_f64(vec_f64 rows[VEC_LANES_f64]) { (void)rows; }

static inline float v_total_f32(vec_f32 a) { return a; }
static inline float v_largest_f32(vec_f32 a) { return a; }
static inline double v_total_f64(vec_f64 a) { return a; }
static inline double v_largest_f64(vec_f64 a) { return a; }

#endif
