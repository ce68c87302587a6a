/* Graph.c: runs the recorded calls of a graph in one call, so that a small expression costs its
 * arithmetic and not one call from Python per operation.
 *
 * An instruction names its operands by places in a table of pointers, and how to walk them by
 * strides: a stride of 0 repeats a value, which is broadcasting. Layers and products are computed by
 * their own kernels; the rest are the exact operations of IEEE 754 and sums in NumPy's order, so the
 * bits are those of the calls one by one. Forward and backward are two lists over one table.
 *
 * Pairwise sums: n < 8 terms are added in order; up to 128 in eight lanes that are combined as a
 * tree; more are halved. Source: Higham, "The accuracy of floating point summation" (1993). */
#ifndef NNL_GENERIC_PASS

#include "small_code.h"

#include <math.h>
#include <string.h>

#include "base.h"
#include "call.h"
#include "parallel.h"
#include "vec/vec.h"

#define NNL_PAIRWISE_BLOCK 128

/* Elements of an instruction after which it is looked whether the call is to end. */
#define NNL_LOOK_ELEMENTS (1 << 18)

#define NNL_GENERIC_FILE "generic/Graph.c"
#include "dtype.h"
#else

typedef real T_(scalar_function)(real x, real y);

static inline real T_(add)(real x, real y) { return x + y; }
static inline real T_(sub)(real x, real y) { return x - y; }
static inline real T_(mul)(real x, real y) { return x * y; }
static inline real T_(div)(real x, real y) { return x / y; }
static inline real T_(copy)(real x, real y) { return (void)y, x; }
static inline real T_(neg)(real x, real y) { return (void)y, -x; }
static inline real T_(positive)(real x, real y) { return (void)y, x > 0 || x != x ? x : 0; }
static inline real T_(sign)(real x, real y) {
    return (void)y, x > 0 ? (real)1 : x < 0 ? (real)-1 : x == 0 ? (real)0 : x;
}
static inline real T_(abs)(real x, real y) { return (void)y, (real)fabs((double)x); /* exact */ }
static inline real T_(sqrt)(real x, real y) {
    (void)y;
#if REAL_IS_FLOAT
    return sqrtf(x);
#else
    return sqrt(x);
#endif
}

/* One row; the usual strides are constants, so that their loops become vectors. */
NNL_INLINE void T_(row)(int64_t n, const real *a, int64_t a_col, const real *b, int64_t b_col,
                        real *out, T_(scalar_function) *f) {
    if (a_col == 1 && b_col == 1) {
        for (int64_t j = 0; j < n; j++) out[j] = f(a[j], b[j]);
    } else if (a_col == 1 && b_col == 0) {
        for (int64_t j = 0; j < n; j++) out[j] = f(a[j], *b);
    } else if (a_col == 0 && b_col == 1) {
        for (int64_t j = 0; j < n; j++) out[j] = f(*a, b[j]);
    } else {
        for (int64_t j = 0; j < n; j++) out[j] = f(a[j * a_col], b[j * b_col]);
    }
}

NNL_INLINE void T_(each)(const nnl_instruction *s, const real *a, const real *b, real *out,
                         T_(scalar_function) *f) {
    for (int64_t i = 0; i < s->m; i++) {
        T_(row)(s->n, a + i * s->a_row, s->a_col, b + i * s->b_row, s->b_col, out + i * s->n, f);
    }
}

/* An operation on elements; of one operand: b is a. */
static int T_(elements)(const nnl_instruction *s, const real *a, const real *b, real *out) {
    switch (s->code) {
        case NNL_CODE_ADD: T_(each)(s, a, b, out, T_(add)); return NNL_OK;
        case NNL_CODE_SUB: T_(each)(s, a, b, out, T_(sub)); return NNL_OK;
        case NNL_CODE_MUL: T_(each)(s, a, b, out, T_(mul)); return NNL_OK;
        case NNL_CODE_DIV: T_(each)(s, a, b, out, T_(div)); return NNL_OK;
        case NNL_CODE_COPY: T_(each)(s, a, a, out, T_(copy)); return NNL_OK;
        case NNL_CODE_NEG: T_(each)(s, a, a, out, T_(neg)); return NNL_OK;
        case NNL_CODE_ABS: T_(each)(s, a, a, out, T_(abs)); return NNL_OK;
        case NNL_CODE_SIGN: T_(each)(s, a, a, out, T_(sign)); return NNL_OK;
        case NNL_CODE_SQRT: T_(each)(s, a, a, out, T_(sqrt)); return NNL_OK;
        case NNL_CODE_POSITIVE: T_(each)(s, a, a, out, T_(positive)); return NNL_OK;
        default: return NNL_EINVAL;
    }
}

/* A function of n = s->n elements by its kernel. */
static int T_(function)(const nnl_instruction *s, const real *a, const real *b, real *out,
                        int threads) {
    switch (s->code) {
        case NNL_CODE_EXP: return NNL_(Exp_updateOutput)(s->n, a, out, threads);
        case NNL_CODE_EXPM1: return NNL_(Expm1_updateOutput)(s->n, a, out, threads);
        case NNL_CODE_LOG: return NNL_(Log_updateOutput)(s->n, a, out, threads);
        case NNL_CODE_LOG1P: return NNL_(Log1p_updateOutput)(s->n, a, out, threads);
        case NNL_CODE_ERF: return NNL_(Erf_updateOutput)(s->n, a, out, threads);
        case NNL_CODE_RELU: return NNL_(Threshold_updateOutput)(s->n, a, out, 0, 0, threads);
        case NNL_CODE_SIGMOID: return NNL_(Sigmoid_updateOutput)(s->n, a, out, threads);
        case NNL_CODE_TANH: return NNL_(Tanh_updateOutput)(s->n, a, out, threads);
        case NNL_CODE_RELU_GRAD:
            return NNL_(Threshold_updateGradInput)(s->n, a, b, out, 0, threads);
        case NNL_CODE_SIGMOID_GRAD: return NNL_(Sigmoid_updateGradInput)(s->n, a, b, out, threads);
        case NNL_CODE_TANH_GRAD: return NNL_(Tanh_updateGradInput)(s->n, a, b, out, threads);
        case NNL_CODE_SOFTMAX: return NNL_(SoftMax_updateOutput)(s->m, s->n, a, out, threads);
        case NNL_CODE_LOGSOFTMAX: return NNL_(LogSoftMax_updateOutput)(s->m, s->n, a, out, threads);
        case NNL_CODE_SOFTMAX_GRAD:
            return NNL_(SoftMax_updateGradInput)(s->m, s->n, a, b, out, threads);
        case NNL_CODE_LOGSOFTMAX_GRAD:
            return NNL_(LogSoftMax_updateGradInput)(s->m, s->n, a, b, out, threads);
        default: return NNL_EINVAL;
    }
}

/* The pairwise sum of n terms. */
static real T_(pairwise)(const real *a, int64_t n) {
    if (n < 8) {
        real sum = 0;
        for (int64_t i = 0; i < n; i++) sum += a[i];
        return sum;
    }
    if (n > NNL_PAIRWISE_BLOCK) {
        int64_t half = n / 2 - n / 2 % 8;
        return T_(pairwise)(a, half) + T_(pairwise)(a + half, n - half);
    }
    real r[8];
    memcpy(r, a, sizeof r);
    int64_t i = 8;
    for (; i < n - n % 8; i += 8) {
        for (int k = 0; k < 8; k++) r[k] += a[i + k];
    }
    real sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; i++) sum += a[i];
    return sum;
}

/* out [m] of rows, or out [n] of columns as chains over rows; all start from 0, so -0 is no sum. */
static int T_(sum)(const nnl_instruction *s, const real *a, real *out) {
    if (s->code == NNL_CODE_SUM_COLUMNS) {
        for (int64_t i = 0; i < s->m; i++) out[i] = 0 + T_(pairwise)(a + i * s->n, s->n);
        return NNL_OK;
    }
    for (int64_t j = 0; j < s->n; j++) out[j] = 0;
    for (int64_t i = 0; i < s->m; i++) {
        for (int64_t j = 0; j < s->n; j++) out[j] += a[i * s->n + j];
    }
    return NNL_OK;
}

static int T_(product)(const nnl_instruction *s, const real *a, const real *b, real *c, real *out,
                       int threads) {
    switch (s->code) {
        case NNL_CODE_GEMM:
            return NNL_(gemm)(s->m, s->n, s->k, a, s->a_row, s->a_col, b, s->b_row, s->b_col, out,
                              s->n, NULL, NULL, s->flag ? NNL_GRADIENT : 0, NNL_IDENTITY, threads);
        case NNL_CODE_LINEAR:
            return NNL_(Linear_updateOutput)(s->m, s->k, s->n, a, out, b, c, NNL_IDENTITY, threads);
        case NNL_CODE_LINEAR_GRAD:
            if (s->k * s->n > 0) memset(out, 0, (size_t)(s->k * s->n) * sizeof(real));
            if (c && s->n > 0) memset(c, 0, (size_t)s->n * sizeof(real));
            return NNL_(Linear_accGradParameters)(s->m, s->k, s->n, a, b, out, c, 1, threads);
        default: return NNL_EINVAL;
    }
}

/* A loss out [2], and the gradient c of its input a. */
static int T_(loss)(const nnl_instruction *s, const real *a, const void *b, real *c, const real *d,
                    real *out, int threads) {
    int64_t bad_row;
    int status;
    switch (s->code) {
        case NNL_CODE_CROSS_ENTROPY:
            return NNL_(CrossEntropyCriterion_updateOutput)(
                s->m, s->n, a, s->flag ? NULL : b, s->flag ? b : NULL, out, c, d, NULL, &bad_row,
                s->number, s->k, s->reduction, threads);
        case NNL_CODE_NLL:
            status = NNL_(ClassNLLCriterion_updateOutput)(s->m, s->n, a, b, out, d, NULL, &bad_row,
                                                          s->k, s->reduction);
            if (status != NNL_OK || !c) return status;
            return NNL_(ClassNLLCriterion_updateGradInput)(s->m, s->n, b, c, d, NULL, &bad_row, 1,
                                                           s->k, s->reduction);
        case NNL_CODE_MSE:
            status =
                NNL_(MSECriterion_updateOutput)(s->m, s->n, a, b, out, NULL, s->reduction, threads);
            if (status != NNL_OK || !c) return status;
            return NNL_(MSECriterion_updateGradInput)(s->m, s->n, a, b, c, NULL, 1, s->reduction,
                                                      threads);
        default: return NNL_EINVAL;
    }
}

static int T_(run_instruction)(const nnl_instruction *s, void *const *places, int threads) {
    void *out = places[s->out], *a = places[s->a];
    void *b = s->b < 0 ? NULL : places[s->b], *c = s->c < 0 ? NULL : places[s->c];
    if (s->code <= NNL_CODE_POSITIVE) return T_(elements)(s, a, b, out);
    if (s->code <= NNL_CODE_LOGSOFTMAX_GRAD) return T_(function)(s, a, b, out, threads);
    if (s->code <= NNL_CODE_SUM_ROWS) return T_(sum)(s, a, out);
    if (s->code <= NNL_CODE_LINEAR_GRAD) return T_(product)(s, a, b, c, out, threads);
    return T_(loss)(s, a, b, c, s->d < 0 ? NULL : places[s->d], out, threads);
}

/* True when sizes and places are possible. */
static bool T_(possible)(const nnl_instruction *s, int64_t size) {
    bool one = s->code >= NNL_CODE_COPY && s->code <= NNL_CODE_TANH;
    one = one || s->code == NNL_CODE_SOFTMAX || s->code == NNL_CODE_LOGSOFTMAX;
    one = one || s->code == NNL_CODE_SUM_COLUMNS || s->code == NNL_CODE_SUM_ROWS;
    return s->out >= 0 && s->out < size && s->a >= 0 && s->a < size && s->b >= (one ? -1 : 0) &&
           s->b < size && s->c >= -1 && s->c < size && s->d >= -1 && s->d < size && s->code >= 1 &&
           nnl_size_ok(s->m, s->n, sizeof(real));
}

NNL_API int NNL_(Graph_run)(int64_t count, const nnl_instruction *list, int64_t size,
                            void *const *places, int threads) {
    if (count < 0 || size < 0 || threads < 1) return NNL_EINVAL;
    for (int64_t i = 0; i < count; i++) {
        if (!T_(possible)(&list[i], size)) return NNL_EINVAL;
        int status = T_(run_instruction)(&list[i], places, threads);
        if (status != NNL_OK) return status;
        if (list[i].m * list[i].n >= NNL_LOOK_ELEMENTS && nnl_stopped()) return NNL_EINTR;
    }
    return NNL_OK;
}

#endif
