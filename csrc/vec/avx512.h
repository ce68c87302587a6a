/* avx512.h: the vector contract (vec.h) on AVX-512 F, BW, DQ, VL. */
#ifndef NNL_VEC_AVX512_H
#define NNL_VEC_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#define VEC_LANES_f32 16
#define VEC_LANES_f64 8
typedef __m512 vec_f32;
typedef __m512d vec_f64;
typedef __mmask16 vmask_f32;
typedef __mmask8 vmask_f64;
typedef __m512i vint_f32;
typedef __m512i vint_f64;

static inline vec_f32 v_load_f32(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store_f32(float *p, vec_f32 a) { _mm512_storeu_ps(p, a); }
static inline void v_stream_f32(float *p, vec_f32 a) { _mm512_stream_ps(p, a); }
static inline __mmask16 v_first_f32(int64_t n) { return (__mmask16)((1u << n) - 1u); }
static inline vec_f32 v_load_n_f32(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps(v_first_f32(n), p);
}
static inline void v_store_n_f32(float *p, vec_f32 a, int64_t n) {
    _mm512_mask_storeu_ps(p, v_first_f32(n), a);
}
static inline vec_f32 v_load_fill_f32(const float *p, int64_t n, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), v_first_f32(n), p);
}
static inline vec_f32 v_set_f32(float a) { return _mm512_set1_ps(a); }
static inline vec_f32 v_zero_f32(void) { return _mm512_setzero_ps(); }

static inline vec_f32 v_add_f32(vec_f32 a, vec_f32 b) { return _mm512_add_ps(a, b); }
static inline vec_f32 v_sub_f32(vec_f32 a, vec_f32 b) { return _mm512_sub_ps(a, b); }
static inline vec_f32 v_mul_f32(vec_f32 a, vec_f32 b) { return _mm512_mul_ps(a, b); }
static inline vec_f32 v_div_f32(vec_f32 a, vec_f32 b) { return _mm512_div_ps(a, b); }
static inline vec_f32 v_sqrt_f32(vec_f32 a) { return _mm512_sqrt_ps(a); }
static inline vec_f32 v_max_f32(vec_f32 a, vec_f32 b) { return _mm512_max_ps(a, b); }
static inline vec_f32 v_min_f32(vec_f32 a, vec_f32 b) { return _mm512_min_ps(a, b); }
static inline vec_f32 v_fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vec_f32 v_fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) {
    return _mm512_fnmadd_ps(a, b, c);
}
static inline vec_f32 v_neg_f32(vec_f32 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
static inline vec_f32 v_abs_f32(vec_f32 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
static inline vec_f32 v_flush_f32(vec_f32 a) {
    __mmask16 tiny = _mm512_testn_epi32_mask(_mm512_castps_si512(a), _mm512_set1_epi32(0x7f800000));
    return _mm512_mask_and_ps(a, tiny, a, _mm512_set1_ps(-0.0f));
}
static inline vec_f32 v_scale_f32(vec_f32 a, vec_f32 n) { return _mm512_scalef_ps(a, n); }
static inline vec_f32 v_shrink_f32(vec_f32 a, vec_f32 n) { return v_scale_f32(a, n); }

static inline vmask_f32 v_lt_f32(vec_f32 a, vec_f32 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline vmask_f32 v_le_f32(vec_f32 a, vec_f32 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
static inline vmask_f32 v_gt_f32(vec_f32 a, vec_f32 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
static inline vmask_f32 v_ge_f32(vec_f32 a, vec_f32 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}
static inline vmask_f32 v_eq_f32(vec_f32 a, vec_f32 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
static inline vmask_f32 v_isnan_f32(vec_f32 a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
static inline vec_f32 v_select_f32(vmask_f32 m, vec_f32 a, vec_f32 b) {
    return _mm512_mask_blend_ps(m, b, a);
}
static inline vmask_f32 v_mask_and_f32(vmask_f32 a, vmask_f32 b) { return (vmask_f32)(a & b); }
static inline vmask_f32 v_mask_or_f32(vmask_f32 a, vmask_f32 b) { return (vmask_f32)(a | b); }
static inline vmask_f32 v_mask_not_f32(vmask_f32 a) { return (vmask_f32)~a; }
static inline bool v_any_f32(vmask_f32 a) { return a != 0; }

static inline vint_f32 v_bits_f32(vec_f32 a) { return _mm512_castps_si512(a); }
static inline vec_f32 v_from_bits_f32(vint_f32 a) { return _mm512_castsi512_ps(a); }
static inline vint_f32 v_i_set_f32(int32_t a) { return _mm512_set1_epi32(a); }
static inline vint_f32 v_i_add_f32(vint_f32 a, vint_f32 b) { return _mm512_add_epi32(a, b); }
static inline vint_f32 v_i_sub_f32(vint_f32 a, vint_f32 b) { return _mm512_sub_epi32(a, b); }
static inline vint_f32 v_i_and_f32(vint_f32 a, vint_f32 b) { return _mm512_and_si512(a, b); }
static inline vint_f32 v_i_or_f32(vint_f32 a, vint_f32 b) { return _mm512_or_si512(a, b); }
static inline vint_f32 v_i_xor_f32(vint_f32 a, vint_f32 b) { return _mm512_xor_si512(a, b); }
static inline vint_f32 v_i_shl_f32(vint_f32 a, unsigned count) {
    return _mm512_slli_epi32(a, count);
}
static inline vint_f32 v_i_shr_f32(vint_f32 a, unsigned count) {
    return _mm512_srli_epi32(a, count);
}

/* In place: element j of row i becomes element i of row j. First 4 x 4 within the 128-bit
 * quarters, then the quarters themselves. */
static inline void v_transpose_f32(vec_f32 rows[VEC_LANES_f32]) {
    __m512 t[16];
    for (int i = 0; i < 16; i += 4) {
        __m512d ab_lo = _mm512_castps_pd(_mm512_unpacklo_ps(rows[i], rows[i + 1]));
        __m512d ab_hi = _mm512_castps_pd(_mm512_unpackhi_ps(rows[i], rows[i + 1]));
        __m512d cd_lo = _mm512_castps_pd(_mm512_unpacklo_ps(rows[i + 2], rows[i + 3]));
        __m512d cd_hi = _mm512_castps_pd(_mm512_unpackhi_ps(rows[i + 2], rows[i + 3]));
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_lo, cd_lo));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_lo, cd_lo));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_hi, cd_hi));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_hi, cd_hi));
    }
    for (int i = 0; i < 4; i++) {
        __m512 even_top = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        __m512 odd_top = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        __m512 even_bottom = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        __m512 odd_bottom = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        rows[i] = _mm512_shuffle_f32x4(even_top, even_bottom, 0x88);
        rows[i + 4] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0x88);
        rows[i + 8] = _mm512_shuffle_f32x4(even_top, even_bottom, 0xdd);
        rows[i + 12] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0xdd);
    }
}

static inline vec_f64 v_load_f64(const double *p) { return _mm512_loadu_pd(p); }
static inline void v_store_f64(double *p, vec_f64 a) { _mm512_storeu_pd(p, a); }
static inline void v_stream_f64(double *p, vec_f64 a) { _mm512_stream_pd(p, a); }
static inline __mmask8 v_first_f64(int64_t n) { return (__mmask8)((1u << n) - 1u); }
static inline vec_f64 v_load_n_f64(const double *p, int64_t n) {
    return _mm512_maskz_loadu_pd(v_first_f64(n), p);
}
static inline void v_store_n_f64(double *p, vec_f64 a, int64_t n) {
    _mm512_mask_storeu_pd(p, v_first_f64(n), a);
}
static inline vec_f64 v_load_fill_f64(const double *p, int64_t n, double fill) {
    return _mm512_mask_loadu_pd(_mm512_set1_pd(fill), v_first_f64(n), p);
}
static inline vec_f64 v_set_f64(double a) { return _mm512_set1_pd(a); }
static inline vec_f64 v_zero_f64(void) { return _mm512_setzero_pd(); }

static inline vec_f64 v_add_f64(vec_f64 a, vec_f64 b) { return _mm512_add_pd(a, b); }
static inline vec_f64 v_sub_f64(vec_f64 a, vec_f64 b) { return _mm512_sub_pd(a, b); }
static inline vec_f64 v_mul_f64(vec_f64 a, vec_f64 b) { return _mm512_mul_pd(a, b); }
static inline vec_f64 v_div_f64(vec_f64 a, vec_f64 b) { return _mm512_div_pd(a, b); }
static inline vec_f64 v_sqrt_f64(vec_f64 a) { return _mm512_sqrt_pd(a); }
static inline vec_f64 v_max_f64(vec_f64 a, vec_f64 b) { return _mm512_max_pd(a, b); }
static inline vec_f64 v_min_f64(vec_f64 a, vec_f64 b) { return _mm512_min_pd(a, b); }
static inline vec_f64 v_fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) {
    return _mm512_fmadd_pd(a, b, c);
}
static inline vec_f64 v_fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) {
    return _mm512_fnmadd_pd(a, b, c);
}
static inline vec_f64 v_neg_f64(vec_f64 a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
static inline vec_f64 v_abs_f64(vec_f64 a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
static inline vec_f64 v_flush_f64(vec_f64 a) {
    __mmask8 tiny =
        _mm512_testn_epi64_mask(_mm512_castpd_si512(a), _mm512_set1_epi64(0x7ff0000000000000));
    return _mm512_mask_and_pd(a, tiny, a, _mm512_set1_pd(-0.0));
}
static inline vec_f64 v_scale_f64(vec_f64 a, vec_f64 n) { return _mm512_scalef_pd(a, n); }
static inline vec_f64 v_shrink_f64(vec_f64 a, vec_f64 n) { return v_scale_f64(a, n); }

static inline vmask_f64 v_lt_f64(vec_f64 a, vec_f64 b) {
    return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
}
static inline vmask_f64 v_le_f64(vec_f64 a, vec_f64 b) {
    return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ);
}
static inline vmask_f64 v_gt_f64(vec_f64 a, vec_f64 b) {
    return _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ);
}
static inline vmask_f64 v_ge_f64(vec_f64 a, vec_f64 b) {
    return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ);
}
static inline vmask_f64 v_eq_f64(vec_f64 a, vec_f64 b) {
    return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ);
}
static inline vmask_f64 v_isnan_f64(vec_f64 a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q); }
static inline vec_f64 v_select_f64(vmask_f64 m, vec_f64 a, vec_f64 b) {
    return _mm512_mask_blend_pd(m, b, a);
}
static inline vmask_f64 v_mask_and_f64(vmask_f64 a, vmask_f64 b) { return (vmask_f64)(a & b); }
static inline vmask_f64 v_mask_or_f64(vmask_f64 a, vmask_f64 b) { return (vmask_f64)(a | b); }
static inline vmask_f64 v_mask_not_f64(vmask_f64 a) { return (vmask_f64)~a; }
static inline bool v_any_f64(vmask_f64 a) { return a != 0; }

static inline vint_f64 v_bits_f64(vec_f64 a) { return _mm512_castpd_si512(a); }
static inline vec_f64 v_from_bits_f64(vint_f64 a) { return _mm512_castsi512_pd(a); }
static inline vint_f64 v_i_set_f64(int64_t a) { return _mm512_set1_epi64(a); }
static inline vint_f64 v_i_add_f64(vint_f64 a, vint_f64 b) { return _mm512_add_epi64(a, b); }
static inline vint_f64 v_i_sub_f64(vint_f64 a, vint_f64 b) { return _mm512_sub_epi64(a, b); }
static inline vint_f64 v_i_and_f64(vint_f64 a, vint_f64 b) { return _mm512_and_si512(a, b); }
static inline vint_f64 v_i_or_f64(vint_f64 a, vint_f64 b) { return _mm512_or_si512(a, b); }
static inline vint_f64 v_i_xor_f64(vint_f64 a, vint_f64 b) { return _mm512_xor_si512(a, b); }
static inline vint_f64 v_i_shl_f64(vint_f64 a, unsigned count) {
    return _mm512_slli_epi64(a, count);
}
static inline vint_f64 v_i_shr_f64(vint_f64 a, unsigned count) {
    return _mm512_srli_epi64(a, count);
}

static inline void v_transpose_f64(vec_f64 rows[VEC_LANES_f64]) {
    __m512d t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(rows[i], rows[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        __m512d even_top = _mm512_shuffle_f64x2(t[i], t[i + 2], 0x88);
        __m512d odd_top = _mm512_shuffle_f64x2(t[i], t[i + 2], 0xdd);
        __m512d even_bottom = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0x88);
        __m512d odd_bottom = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0xdd);
        rows[i] = _mm512_shuffle_f64x2(even_top, even_bottom, 0x88);
        rows[i + 2] = _mm512_shuffle_f64x2(odd_top, odd_bottom, 0x88);
        rows[i + 4] = _mm512_shuffle_f64x2(even_top, even_bottom, 0xdd);
        rows[i + 6] = _mm512_shuffle_f64x2(odd_top, odd_bottom, 0xdd);
    }
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
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return v_quarter_total(_mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}
static inline float v_largest_f32(vec_f32 a) {
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    return v_quarter_largest(_mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));
}
static inline double v_total_f64(vec_f64 a) {
    __m256d h = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    return v_pair_total(_mm_add_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1)));
}
static inline double v_largest_f64(vec_f64 a) {
    __m256d h = _mm256_max_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    return v_pair_largest(_mm_max_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1)));
}

/* Half registers, for the last columns of a product, where whole ones would be mostly empty: Zen 4
 * multiplies two of them in the time of one. */
#define NNL_VEC_HALF
typedef __m256 vhalf_f32;
typedef __m256d vhalf_f64;

static inline __mmask8 h_first(int64_t n) { return (__mmask8)((1u << n) - 1u); }
static inline vhalf_f32 h_load_f32(const float *p) { return _mm256_loadu_ps(p); }
static inline vhalf_f32 h_load_n_f32(const float *p, int64_t n) {
    return _mm256_maskz_loadu_ps(h_first(n), p);
}
static inline void h_store_f32(float *p, vhalf_f32 a) { _mm256_storeu_ps(p, a); }
static inline void h_store_n_f32(float *p, vhalf_f32 a, int64_t n) {
    _mm256_mask_storeu_ps(p, h_first(n), a);
}
static inline vhalf_f32 h_set_f32(float a) { return _mm256_set1_ps(a); }
static inline vhalf_f32 h_zero_f32(void) { return _mm256_setzero_ps(); }
static inline vhalf_f32 h_add_f32(vhalf_f32 a, vhalf_f32 b) { return _mm256_add_ps(a, b); }
static inline vhalf_f32 h_flush_f32(vhalf_f32 a) {
    __mmask8 tiny = _mm256_testn_epi32_mask(_mm256_castps_si256(a), _mm256_set1_epi32(0x7f800000));
    return _mm256_mask_and_ps(a, tiny, a, _mm256_set1_ps(-0.0f));
}
static inline vhalf_f32 h_fma_f32(vhalf_f32 a, vhalf_f32 b, vhalf_f32 c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline vhalf_f64 h_load_f64(const double *p) { return _mm256_loadu_pd(p); }
static inline vhalf_f64 h_load_n_f64(const double *p, int64_t n) {
    return _mm256_maskz_loadu_pd(h_first(n), p);
}
static inline void h_store_f64(double *p, vhalf_f64 a) { _mm256_storeu_pd(p, a); }
static inline void h_store_n_f64(double *p, vhalf_f64 a, int64_t n) {
    _mm256_mask_storeu_pd(p, h_first(n), a);
}
static inline vhalf_f64 h_set_f64(double a) { return _mm256_set1_pd(a); }
static inline vhalf_f64 h_zero_f64(void) { return _mm256_setzero_pd(); }
static inline vhalf_f64 h_add_f64(vhalf_f64 a, vhalf_f64 b) { return _mm256_add_pd(a, b); }
static inline vhalf_f64 h_flush_f64(vhalf_f64 a) {
    __mmask8 tiny =
        _mm256_testn_epi64_mask(_mm256_castpd_si256(a), _mm256_set1_epi64x(0x7ff0000000000000));
    return _mm256_mask_and_pd(a, tiny, a, _mm256_set1_pd(-0.0));
}
static inline vhalf_f64 h_fma_f64(vhalf_f64 a, vhalf_f64 b, vhalf_f64 c) {
    return _mm256_fmadd_pd(a, b, c);
}

#endif
