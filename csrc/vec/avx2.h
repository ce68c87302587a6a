/* avx2.h: the vector contract (vec.h) on AVX2 with FMA. */
#ifndef NNL_VEC_AVX2_H
#define NNL_VEC_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define VEC_LANES_f32 8
#define VEC_LANES_f64 4
typedef __m256 vec_f32;
typedef __m256d vec_f64;
typedef __m256 vmask_f32;
typedef __m256d vmask_f64;
typedef __m256i vint_f32;
typedef __m256i vint_f64;

static inline vec_f32 v_load_f32(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store_f32(float *p, vec_f32 a) { _mm256_storeu_ps(p, a); }
static inline void v_stream_f32(float *p, vec_f32 a) { _mm256_stream_ps(p, a); }
/* All bits of lane i set where i < n. */
static inline __m256i v_first_f32(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vec_f32 v_load_n_f32(const float *p, int64_t n) {
    return _mm256_maskload_ps(p, v_first_f32(n));
}
/* In pieces: a masked store is a microprogram on AMD's processors, some 20 times slower. */
static inline void v_store_n_f32(float *p, vec_f32 a, int64_t n) {
    if (n >= 8) {
        _mm256_storeu_ps(p, a);
        return;
    }
    __m128 rest = _mm256_castps256_ps128(a);
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, rest);
}
static inline vec_f32 v_load_fill_f32(const float *p, int64_t n, float fill) {
    __m256i first = v_first_f32(n);
    __m256 valid = _mm256_maskload_ps(p, first);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), valid, _mm256_castsi256_ps(first));
}
static inline vec_f32 v_set_f32(float a) { return _mm256_set1_ps(a); }
static inline vec_f32 v_zero_f32(void) { return _mm256_setzero_ps(); }

static inline vec_f32 v_add_f32(vec_f32 a, vec_f32 b) { return _mm256_add_ps(a, b); }
static inline vec_f32 v_sub_f32(vec_f32 a, vec_f32 b) { return _mm256_sub_ps(a, b); }
static inline vec_f32 v_mul_f32(vec_f32 a, vec_f32 b) { return _mm256_mul_ps(a, b); }
static inline vec_f32 v_div_f32(vec_f32 a, vec_f32 b) { return _mm256_div_ps(a, b); }
static inline vec_f32 v_sqrt_f32(vec_f32 a) { return _mm256_sqrt_ps(a); }
static inline vec_f32 v_max_f32(vec_f32 a, vec_f32 b) { return _mm256_max_ps(a, b); }
static inline vec_f32 v_min_f32(vec_f32 a, vec_f32 b) { return _mm256_min_ps(a, b); }
static inline vec_f32 v_fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vec_f32 v_fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) {
    return _mm256_fnmadd_ps(a, b, c);
}
static inline vec_f32 v_neg_f32(vec_f32 a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
static inline vec_f32 v_abs_f32(vec_f32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vec_f32 v_flush_f32(vec_f32 a) {
    __m256i exponent = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7f800000));
    __m256i tiny = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
    __m256i drop = _mm256_and_si256(tiny, _mm256_set1_epi32(INT32_MAX));
    return _mm256_andnot_ps(_mm256_castsi256_ps(drop), a);
}

static inline vmask_f32 v_lt_f32(vec_f32 a, vec_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vmask_f32 v_le_f32(vec_f32 a, vec_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
static inline vmask_f32 v_gt_f32(vec_f32 a, vec_f32 b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
static inline vmask_f32 v_ge_f32(vec_f32 a, vec_f32 b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
static inline vmask_f32 v_eq_f32(vec_f32 a, vec_f32 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline vmask_f32 v_isnan_f32(vec_f32 a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
static inline vec_f32 v_select_f32(vmask_f32 m, vec_f32 a, vec_f32 b) {
    return _mm256_blendv_ps(b, a, m);
}
static inline vmask_f32 v_mask_and_f32(vmask_f32 a, vmask_f32 b) { return _mm256_and_ps(a, b); }
static inline vmask_f32 v_mask_or_f32(vmask_f32 a, vmask_f32 b) { return _mm256_or_ps(a, b); }
static inline vmask_f32 v_mask_not_f32(vmask_f32 a) {
    return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1)));
}
static inline bool v_any_f32(vmask_f32 a) { return _mm256_movemask_ps(a) != 0; }

static inline vint_f32 v_bits_f32(vec_f32 a) { return _mm256_castps_si256(a); }
static inline vec_f32 v_from_bits_f32(vint_f32 a) { return _mm256_castsi256_ps(a); }
static inline vint_f32 v_i_set_f32(int32_t a) { return _mm256_set1_epi32(a); }
static inline vint_f32 v_i_add_f32(vint_f32 a, vint_f32 b) { return _mm256_add_epi32(a, b); }
static inline vint_f32 v_i_sub_f32(vint_f32 a, vint_f32 b) { return _mm256_sub_epi32(a, b); }
static inline vint_f32 v_i_and_f32(vint_f32 a, vint_f32 b) { return _mm256_and_si256(a, b); }
static inline vint_f32 v_i_or_f32(vint_f32 a, vint_f32 b) { return _mm256_or_si256(a, b); }
static inline vint_f32 v_i_xor_f32(vint_f32 a, vint_f32 b) { return _mm256_xor_si256(a, b); }
static inline vint_f32 v_i_shl_f32(vint_f32 a, int count) { return _mm256_slli_epi32(a, count); }
static inline vint_f32 v_i_shr_f32(vint_f32 a, int count) { return _mm256_srli_epi32(a, count); }

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

/* In place: element j of row i becomes element i of row j. First 4 x 4 within the 128-bit
 * halves, then the halves themselves. */
static inline void v_transpose_f32(vec_f32 rows[VEC_LANES_f32]) {
    __m256 t[8];
    for (int i = 0; i < 8; i += 4) {
        __m256 ab_lo = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        __m256 ab_hi = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        __m256 cd_lo = _mm256_unpacklo_ps(rows[i + 2], rows[i + 3]);
        __m256 cd_hi = _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]);
        t[i] = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
        t[i + 1] = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
        t[i + 2] = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
        t[i + 3] = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
    }
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

static inline vec_f64 v_load_f64(const double *p) { return _mm256_loadu_pd(p); }
static inline void v_store_f64(double *p, vec_f64 a) { _mm256_storeu_pd(p, a); }
static inline void v_stream_f64(double *p, vec_f64 a) { _mm256_stream_pd(p, a); }
static inline __m256i v_first_f64(int64_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
static inline vec_f64 v_load_n_f64(const double *p, int64_t n) {
    return _mm256_maskload_pd(p, v_first_f64(n));
}
static inline void v_store_n_f64(double *p, vec_f64 a, int64_t n) {
    if (n >= 4) {
        _mm256_storeu_pd(p, a);
        return;
    }
    __m128d rest = _mm256_castpd256_pd128(a);
    if (n & 2) {
        _mm_storeu_pd(p, rest);
        rest = _mm256_extractf128_pd(a, 1);
        p += 2;
    }
    if (n & 1) _mm_store_sd(p, rest);
}
static inline vec_f64 v_load_fill_f64(const double *p, int64_t n, double fill) {
    __m256i first = v_first_f64(n);
    __m256d valid = _mm256_maskload_pd(p, first);
    return _mm256_blendv_pd(_mm256_set1_pd(fill), valid, _mm256_castsi256_pd(first));
}
static inline vec_f64 v_set_f64(double a) { return _mm256_set1_pd(a); }
static inline vec_f64 v_zero_f64(void) { return _mm256_setzero_pd(); }

static inline vec_f64 v_add_f64(vec_f64 a, vec_f64 b) { return _mm256_add_pd(a, b); }
static inline vec_f64 v_sub_f64(vec_f64 a, vec_f64 b) { return _mm256_sub_pd(a, b); }
static inline vec_f64 v_mul_f64(vec_f64 a, vec_f64 b) { return _mm256_mul_pd(a, b); }
static inline vec_f64 v_div_f64(vec_f64 a, vec_f64 b) { return _mm256_div_pd(a, b); }
static inline vec_f64 v_sqrt_f64(vec_f64 a) { return _mm256_sqrt_pd(a); }
static inline vec_f64 v_max_f64(vec_f64 a, vec_f64 b) { return _mm256_max_pd(a, b); }
static inline vec_f64 v_min_f64(vec_f64 a, vec_f64 b) { return _mm256_min_pd(a, b); }
static inline vec_f64 v_fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) {
    return _mm256_fmadd_pd(a, b, c);
}
static inline vec_f64 v_fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) {
    return _mm256_fnmadd_pd(a, b, c);
}
static inline vec_f64 v_neg_f64(vec_f64 a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
static inline vec_f64 v_abs_f64(vec_f64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
static inline vec_f64 v_flush_f64(vec_f64 a) {
    __m256i exponent =
        _mm256_and_si256(_mm256_castpd_si256(a), _mm256_set1_epi64x(0x7ff0000000000000));
    __m256i tiny = _mm256_cmpeq_epi64(exponent, _mm256_setzero_si256());
    __m256i drop = _mm256_and_si256(tiny, _mm256_set1_epi64x(INT64_MAX));
    return _mm256_andnot_pd(_mm256_castsi256_pd(drop), a);
}

static inline vmask_f64 v_lt_f64(vec_f64 a, vec_f64 b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
static inline vmask_f64 v_le_f64(vec_f64 a, vec_f64 b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
static inline vmask_f64 v_gt_f64(vec_f64 a, vec_f64 b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
static inline vmask_f64 v_ge_f64(vec_f64 a, vec_f64 b) { return _mm256_cmp_pd(a, b, _CMP_GE_OQ); }
static inline vmask_f64 v_eq_f64(vec_f64 a, vec_f64 b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
static inline vmask_f64 v_isnan_f64(vec_f64 a) { return _mm256_cmp_pd(a, a, _CMP_UNORD_Q); }
static inline vec_f64 v_select_f64(vmask_f64 m, vec_f64 a, vec_f64 b) {
    return _mm256_blendv_pd(b, a, m);
}
static inline vmask_f64 v_mask_and_f64(vmask_f64 a, vmask_f64 b) { return _mm256_and_pd(a, b); }
static inline vmask_f64 v_mask_or_f64(vmask_f64 a, vmask_f64 b) { return _mm256_or_pd(a, b); }
static inline vmask_f64 v_mask_not_f64(vmask_f64 a) {
    return _mm256_xor_pd(a, _mm256_castsi256_pd(_mm256_set1_epi32(-1)));
}
static inline bool v_any_f64(vmask_f64 a) { return _mm256_movemask_pd(a) != 0; }

static inline vint_f64 v_bits_f64(vec_f64 a) { return _mm256_castpd_si256(a); }
static inline vec_f64 v_from_bits_f64(vint_f64 a) { return _mm256_castsi256_pd(a); }
static inline vint_f64 v_i_set_f64(int64_t a) { return _mm256_set1_epi64x(a); }
static inline vint_f64 v_i_add_f64(vint_f64 a, vint_f64 b) { return _mm256_add_epi64(a, b); }
static inline vint_f64 v_i_sub_f64(vint_f64 a, vint_f64 b) { return _mm256_sub_epi64(a, b); }
static inline vint_f64 v_i_and_f64(vint_f64 a, vint_f64 b) { return _mm256_and_si256(a, b); }
static inline vint_f64 v_i_or_f64(vint_f64 a, vint_f64 b) { return _mm256_or_si256(a, b); }
static inline vint_f64 v_i_xor_f64(vint_f64 a, vint_f64 b) { return _mm256_xor_si256(a, b); }
static inline vint_f64 v_i_shl_f64(vint_f64 a, int count) { return _mm256_slli_epi64(a, count); }
static inline vint_f64 v_i_shr_f64(vint_f64 a, int count) { return _mm256_srli_epi64(a, count); }

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
    __m256d ab_even = _mm256_unpacklo_pd(rows[0], rows[1]);
    __m256d ab_odd = _mm256_unpackhi_pd(rows[0], rows[1]);
    __m256d cd_even = _mm256_unpacklo_pd(rows[2], rows[3]);
    __m256d cd_odd = _mm256_unpackhi_pd(rows[2], rows[3]);
    rows[0] = _mm256_permute2f128_pd(ab_even, cd_even, 0x20);
    rows[1] = _mm256_permute2f128_pd(ab_odd, cd_odd, 0x20);
    rows[2] = _mm256_permute2f128_pd(ab_even, cd_even, 0x31);
    rows[3] = _mm256_permute2f128_pd(ab_odd, cd_odd, 0x31);
}

/* The tree over the lanes of one register: lane i with i + half, halving until one is left. */
static inline float v_quarter_total(__m128 a) {
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}
static inline float v_quarter_largest(__m128 a) {
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps(a, a, 1)));
}
static inline double v_pair_total(__m128d a) {
    return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)));
}
static inline double v_pair_largest(__m128d a) {
    return _mm_cvtsd_f64(_mm_max_sd(a, _mm_unpackhi_pd(a, a)));
}

static inline float v_total_f32(vec_f32 a) {
    return v_quarter_total(_mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
static inline float v_largest_f32(vec_f32 a) {
    return v_quarter_largest(_mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
static inline double v_total_f64(vec_f64 a) {
    return v_pair_total(_mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1)));
}
static inline double v_largest_f64(vec_f64 a) {
    return v_pair_largest(_mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1)));
}

#endif
