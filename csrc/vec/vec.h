/* vec.h: vectors of float (vec_f32) and double (vec_f64) for the instruction set that the compiler
 * targets. There is no dispatch: each build of the kernels sees one implementation.
 *
 * Names are v_<op>_<t>, t = f32 or f64; generic code writes V_(op). VEC_LANES_<t> lanes each;
 * vmask_<t> holds the outcome of a comparison, vint_<t> the same lanes as integers.
 *   memory     load store (any alignment); load_n store_n (the first n lanes, 0 <= n <= lanes; the
 *              others are read as 0 and never touched); stream (past the caches, p aligned,
 *              ended by v_stream_end)
 *   values     set(x) zero()
 *   arithmetic add sub mul div sqrt, each correctly rounded; neg abs
 *              fma(a, b, c) = a b + c and fnma(a, b, c) = c - a b, rounded once
 *              max(a, b) = a > b ? a : b and min(a, b) = a < b ? a : b, so the second operand when
 *              either is NaN or both are zero
 *              scale(a, n) = a 2^n, rounded once also where it is denormal; n integral, |n| <= 252
 *              for float and 2044 for double, and a between 2^-100 and 2^100;
 *              shrink(a, n), the same for n from -126 (double: -1022) to 0, and cheaper
 *              flush(a) = a, or 0 with the sign of a where a lies below the normal range
 *   compare    lt le gt ge eq (false for NaN), isnan -> mask; mask_and mask_or mask_not;
 *              any(mask) -> bool; select(mask, a, b) = mask ? a : b
 *   bits       bits(v) -> vint, from_bits(vint) -> v; i_set i_add i_sub i_and i_or i_xor (modulo
 *              2^32 or 2^64), i_shl i_shr(v, count) (zeros move in)
 *   lanes      total and largest of one register by the tree of lanes.h; transpose(rows[lanes])
 * NNL_ISA_NAME is the name of the implementation; NNL_ISA_AVX512, NNL_ISA_AVX2 or NNL_ISA_NEON is
 * defined with it.
 * The bytes of every result are those of portable.h, NaN payloads excepted. */
#ifndef NNL_VEC_H
#define NNL_VEC_H

#if defined(NNL_PORTABLE)
#define NNL_ISA_NAME "portable"
#include "portable.h"
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__)
#define NNL_ISA_AVX512
#define NNL_ISA_NAME "avx512"
#include "avx512.h"
#elif defined(__AVX2__) && defined(__FMA__)
#define NNL_ISA_AVX2
#define NNL_ISA_NAME "avx2"
#include "avx2.h"
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define NNL_ISA_NEON
#define NNL_ISA_NAME "neon"
#include "neon.h"
#else
#define NNL_ISA_NAME "portable"
#include "portable.h"
#endif

/* To be called after the last stream: what follows sees the streamed values in memory. */
static inline void v_stream_end(void) {
#if defined(NNL_ISA_AVX512) || defined(NNL_ISA_AVX2)
    _mm_sfence();
#endif
}

#endif
