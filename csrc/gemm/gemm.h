/* gemm.h: what layers know of the matrix product beyond nnlite.h. */
#ifndef NNL_GEMM_H
#define NNL_GEMM_H

#include <stdint.h>

/* gemm, and from the same pass over B its column sums: sums [n] [ACC] [OPTIONAL] is, column by
 * column, the chain of additions over k in ascending order from the stored value. With sums, the
 * rows of B are contiguous (b_col is 1). */
#define NNL_DECLARE(real, name)                                                            \
    int name(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col, \
             const real *b, int64_t b_row, int64_t b_col, real *c, int64_t c_row,          \
             const real *bias, const real *activation_output, real *sums, int mode,        \
             int activation, int threads)
NNL_DECLARE(float, nnl_gemm_and_sums_f32);
NNL_DECLARE(double, nnl_gemm_and_sums_f64);
#undef NNL_DECLARE

#endif
