/* neon.h: the vector contract (vec.h) on 64-bit NEON (Advanced SIMD). Integers use the operators
 * that GCC and Clang give vector types. */
#ifndef NNL_VEC_NEON_H
#define NNL_VEC_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>

#define VEC_LANES_f32 4
#define VEC_LANES_f64 2
typedef float32x4_t vec_f32;
typedef float64x2_t vec_f64;
typedef uint32x4_t vmask_f32;
typedef uint64x2_t vmask_f64;
typedef uint32x4_t vint_f32;
typedef uint64x2_t vint_f64;

static inline vec_f32 v_load_f32(const float *p) { return vld1q_f32(p); }
static inline void v_store_f32(float *p, vec_f32 a) { vst1q_f32(p, a); }
static inline void v_stream_f32(float *p, vec_f32 a) { vst1q_f32(p, a); }
static inline vec_f32 v_load_n_f32(const float *p, int64_t n) {
    float lanes[VEC_LANES_f32] = {0};
    for (int64_t i = 0; i < n; i++) {
        lanes[i] = p[i];
    }
    return vld1q_f32(lanes);
}
static inline void v_store_n_f32(float *p, vec_f32 a, int64_t n) {
    float lanes[VEC_LANES_f32];
    vst1q_f32(lanes, a);
    for (int64_t i = 0; i < n; i++) {
        p[i] = lanes[i];
    }
}
static inline vec_f32 v_load_fill_f32(const float *p, int64_t n, float fill) {
    float lanes[VEC_LANES_f32] = {fill, fill, fill, fill};
    for (int64_t i = 0; i < n; i++) {
        lanes[i] = p[i];
    }
    return vld1q_f32(lanes);
}
static inline vec_f32 v_set_f32(float a) { return vdupq_n_f32(a); }
static inline vec_f32 v_zero_f32(void) { return vdupq_n_f32(0); }

static inline vec_f32 v_add_f32(vec_f32 a, vec_f32 b) { return vaddq_f32(a, b); }
static inline vec_f32 v_sub_f32(vec_f32 a, vec_f32 b) { return vsubq_f32(a, b); }
static inline vec_f32 v_mul_f32(vec_f32 a, vec_f32 b) { return vmulq_f32(a, b); }
static inline vec_f32 v_div_f32(vec_f32 a, vec_f32 b) { return vdivq_f32(a, b); }
static inline vec_f32 v_sqrt_f32(vec_f32 a) { return vsqrtq_f32(a); }
/* Not fmax and fmin: those differ from the contract for NaN and for zeros of either sign. */
static inline vec_f32 v_max_f32(vec_f32 a, vec_f32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline vec_f32 v_min_f32(vec_f32 a, vec_f32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vec_f32 v_fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return vfmaq_f32(c, a, b); }
static inline vec_f32 v_fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return vfmsq_f32(c, a, b); }
static inline vec_f32 v_neg_f32(vec_f32 a) { return vnegq_f32(a); }
static inline vec_f32 v_abs_f32(vec_f32 a) { return vabsq_f32(a); }
static inline vec_f32 v_flush_f32(vec_f32 a) {
    uint32x4_t bits = vreinterpretq_u32_f32(a);
    uint32x4_t tiny = vceqzq_u32(vandq_u32(bits, vdupq_n_u32(0x7f800000)));
    return vreinterpretq_f32_u32(vbicq_u32(bits, vandq_u32(tiny, vdupq_n_u32(0x7fffffff))));
}

static inline vmask_f32 v_lt_f32(vec_f32 a, vec_f32 b) { return vcltq_f32(a, b); }
static inline vmask_f32 v_le_f32(vec_f32 a, vec_f32 b) { return vcleq_f32(a, b); }
static inline vmask_f32 v_gt_f32(vec_f32 a, vec_f32 b) { return vcgtq_f32(a, b); }
static inline vmask_f32 v_ge_f32(vec_f32 a, vec_f32 b) { return vcgeq_f32(a, b); }
static inline vmask_f32 v_eq_f32(vec_f32 a, vec_f32 b) { return vceqq_f32(a, b); }
static inline vmask_f32 v_isnan_f32(vec_f32 a) { return ~vceqq_f32(a, a); }
static inline vec_f32 v_select_f32(vmask_f32 m, vec_f32 a, vec_f32 b) { return vbslq_f32(m, a, b); }
static inline vmask_f32 v_mask_and_f32(vmask_f32 a, vmask_f32 b) { return a & b; }
static inline vmask_f32 v_mask_or_f32(vmask_f32 a, vmask_f32 b) { return a | b; }
static inline vmask_f32 v_mask_not_f32(vmask_f32 a) { return ~a; }
static inline bool v_any_f32(vmask_f32 a) { return vmaxvq_u32(a) != 0; }

static inline vint_f32 v_bits_f32(vec_f32 a) { return vreinterpretq_u32_f32(a); }
static inline vec_f32 v_from_bits_f32(vint_f32 a) { return vreinterpretq_f32_u32(a); }
static inline vint_f32 v_i_set_f32(int32_t a) { return vdupq_n_u32((uint32_t)a); }
static inline vint_f32 v_i_add_f32(vint_f32 a, vint_f32 b) { return a + b; }
static inline vint_f32 v_i_sub_f32(vint_f32 a, vint_f32 b) { return a - b; }
static inline vint_f32 v_i_and_f32(vint_f32 a, vint_f32 b) { return a & b; }
static inline vint_f32 v_i_or_f32(vint_f32 a, vint_f32 b) { return a | b; }
static inline vint_f32 v_i_xor_f32(vint_f32 a, vint_f32 b) { return a ^ b; }
static inline vint_f32 v_i_shl_f32(vint_f32 a, int count) { return a << (uint32_t)count; }
static inline vint_f32 v_i_shr_f32(vint_f32 a, int count) { return a >> (uint32_t)count; }

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

/* In place: element j of row i becomes element i of row j. */
static inline void v_transpose_f32(vec_f32 rows[VEC_LANES_f32]) {
    float32x4x2_t ab = vtrnq_f32(rows[0], rows[1]);
    float32x4x2_t cd = vtrnq_f32(rows[2], rows[3]);
    rows[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    rows[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    rows[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    rows[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}

static inline vec_f64 v_load_f64(const double *p) { return vld1q_f64(p); }
static inline void v_store_f64(double *p, vec_f64 a) { vst1q_f64(p, a); }
static inline void v_stream_f64(double *p, vec_f64 a) { vst1q_f64(p, a); }
static inline vec_f64 v_load_n_f64(const double *p, int64_t n) {
    double lanes[VEC_LANES_f64] = {0};
    for (int64_t i = 0; i < n; i++) {
        lanes[i] = p[i];
    }
    return vld1q_f64(lanes);
}
static inline void v_store_n_f64(double *p, vec_f64 a, int64_t n) {
    double lanes[VEC_LANES_f64];
    vst1q_f64(lanes, a);
    for (int64_t i = 0; i < n; i++) {
        p[i] = lanes[i];
    }
}
static inline vec_f64 v_load_fill_f64(const double *p, int64_t n, double fill) {
    double lanes[VEC_LANES_f64] = {fill, fill};
    for (int64_t i = 0; i < n; i++) {
        lanes[i] = p[i];
    }
    return vld1q_f64(lanes);
}
static inline vec_f64 v_set_f64(double a) { return vdupq_n_f64(a); }
static inline vec_f64 v_zero_f64(void) { return vdupq_n_f64(0); }

static inline vec_f64 v_add_f64(vec_f64 a, vec_f64 b) { return vaddq_f64(a, b); }
static inline vec_f64 v_sub_f64(vec_f64 a, vec_f64 b) { return vsubq_f64(a, b); }
static inline vec_f64 v_mul_f64(vec_f64 a, vec_f64 b) { return vmulq_f64(a, b); }
static inline vec_f64 v_div_f64(vec_f64 a, vec_f64 b) { return vdivq_f64(a, b); }
static inline vec_f64 v_sqrt_f64(vec_f64 a) { return vsqrtq_f64(a); }
/* Not fmax and fmin: those differ from the contract for NaN and for zeros of either sign. */
static inline vec_f64 v_max_f64(vec_f64 a, vec_f64 b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
static inline vec_f64 v_min_f64(vec_f64 a, vec_f64 b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
static inline vec_f64 v_fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return vfmaq_f64(c, a, b); }
static inline vec_f64 v_fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return vfmsq_f64(c, a, b); }
static inline vec_f64 v_neg_f64(vec_f64 a) { return vnegq_f64(a); }
static inline vec_f64 v_abs_f64(vec_f64 a) { return vabsq_f64(a); }
static inline vec_f64 v_flush_f64(vec_f64 a) {
    uint64x2_t bits = vreinterpretq_u64_f64(a);
    uint64x2_t tiny = vceqzq_u64(vandq_u64(bits, vdupq_n_u64(0x7ff0000000000000)));
    return vreinterpretq_f64_u64(vbicq_u64(bits, vandq_u64(tiny, vdupq_n_u64(0x7fffffffffffffff))));
}

static inline vmask_f64 v_lt_f64(vec_f64 a, vec_f64 b) { return vcltq_f64(a, b); }
static inline vmask_f64 v_le_f64(vec_f64 a, vec_f64 b) { return vcleq_f64(a, b); }
static inline vmask_f64 v_gt_f64(vec_f64 a, vec_f64 b) { return vcgtq_f64(a, b); }
static inline vmask_f64 v_ge_f64(vec_f64 a, vec_f64 b) { return vcgeq_f64(a, b); }
static inline vmask_f64 v_eq_f64(vec_f64 a, vec_f64 b) { return vceqq_f64(a, b); }
static inline vmask_f64 v_isnan_f64(vec_f64 a) { return ~vceqq_f64(a, a); }
static inline vec_f64 v_select_f64(vmask_f64 m, vec_f64 a, vec_f64 b) { return vbslq_f64(m, a, b); }
static inline vmask_f64 v_mask_and_f64(vmask_f64 a, vmask_f64 b) { return a & b; }
static inline vmask_f64 v_mask_or_f64(vmask_f64 a, vmask_f64 b) { return a | b; }
static inline vmask_f64 v_mask_not_f64(vmask_f64 a) { return ~a; }
static inline bool v_any_f64(vmask_f64 a) { return vmaxvq_u32(vreinterpretq_u32_u64(a)) != 0; }

static inline vint_f64 v_bits_f64(vec_f64 a) { return vreinterpretq_u64_f64(a); }
static inline vec_f64 v_from_bits_f64(vint_f64 a) { return vreinterpretq_f64_u64(a); }
static inline vint_f64 v_i_set_f64(int64_t a) { return vdupq_n_u64((uint64_t)a); }
static inline vint_f64 v_i_add_f64(vint_f64 a, vint_f64 b) { return a + b; }
static inline vint_f64 v_i_sub_f64(vint_f64 a, vint_f64 b) { return a - b; }
static inline vint_f64 v_i_and_f64(vint_f64 a, vint_f64 b) { return a & b; }
static inline vint_f64 v_i_or_f64(vint_f64 a, vint_f64 b) { return a | b; }
static inline vint_f64 v_i_xor_f64(vint_f64 a, vint_f64 b) { return a ^ b; }
static inline vint_f64 v_i_shl_f64(vint_f64 a, int count) { return a << (uint64_t)count; }
static inline vint_f64 v_i_shr_f64(vint_f64 a, int count) { return a >> (uint64_t)count; }

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

static inline void v_transpose_f64(vec_f64 rows[VEC_LANES_f64]) {
    vec_f64 first = vtrn1q_f64(rows[0], rows[1]);
    rows[1] = vtrn2q_f64(rows[0], rows[1]);
    rows[0] = first;
}

/* The tree over the lanes of one register: lane i with i + half, halving until one is left. */
static inline float v_total_f32(vec_f32 a) {
    float32x2_t pair = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
}
static inline float v_largest_f32(vec_f32 a) {
    vec_f32 half = v_max_f32(a, vextq_f32(a, a, 2));
    float low = vgetq_lane_f32(half, 0), high = vgetq_lane_f32(half, 1);
    return low > high ? low : high;
}
static inline double v_total_f64(vec_f64 a) { return vgetq_lane_f64(a, 0) + vgetq_lane_f64(a, 1); }
static inline double v_largest_f64(vec_f64 a) {
    double low = vgetq_lane_f64(a, 0), high = vgetq_lane_f64(a, 1);
    return low > high ? low : high;
}

#endif
