/* SoftMax.c: y_k = e^(x_k - m) / sum_j e^(x_j - m) along each row, m = max_j x_j.
 *
 * forward   subtracting the largest logit changes nothing but keeps every exponential in [0, 1]
 * d-input   dx = y (dy - sum_k dy_k y_k), from the output alone
 * A row of -inf alone, or with +inf or NaN, has no softmax and gives NaN.
 * Source: Goodfellow, Bengio, Courville, "Deep Learning" (2016), section 4.1. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/SoftMax.c"
#include "core/dtype.h"
#else

#include "layers/rows.inc"

typedef struct {
    int64_t K;
    const real *x, *dy;
    real *out;
} T_(rows);

static void T_(softmax_rows)(void *context, int64_t begin, int64_t end) {
    const T_(rows) *r = context;
    for (int64_t i = begin; i < end; i++) {
        const real *x = r->x + i * r->K;
        real *y = r->out + i * r->K;
        real sum = T_(row_exp_sum)(x, r->K, T_(row_max)(x, r->K), y);
        T_(scale_row)(y, r->K, 1 / sum, y);
    }
}

NNL_API int NNL_(SoftMax_updateOutput)(int64_t N, int64_t K, const real *input, real *output,
                                       int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || threads < 1) return NNL_EINVAL;
    if (!T_(in_place_ok)(N, K, input, output)) return NNL_EOVERLAP;
    T_(rows) r = {.K = K, .x = input, .out = output};
    nnl_parallel_for(N, nnl_row_grain(K), threads, T_(softmax_rows), &r);
    return NNL_OK;
}

static void T_(softmax_grad_rows)(void *context, int64_t begin, int64_t end) {
    const T_(rows) *r = context;
    for (int64_t i = begin; i < end; i++) {
        const real *y = r->x + i * r->K, *dy = r->dy + i * r->K;
        real *dx = r->out + i * r->K;
        T_(lanes) dot = L_(set)(0);
        for (int64_t k = 0; k < r->K; k += NNL_LANES) {
            dot = L_(fma)(T_(row_lanes)(y, k, r->K, 0), T_(row_lanes)(dy, k, r->K, 0), dot);
        }
        vreal mean = V_(set)(L_(sum)(dot));
        for (int64_t k = 0; k < r->K; k += VLANES) {
            int lanes = (int)nnl_min(VLANES, r->K - k);
            vreal difference = V_(sub)(V_(load_n)(dy + k, lanes), mean);
            vreal product = V_(mul)(V_(load_n)(y + k, lanes), difference);
            V_(store_n)(dx + k, V_(flush)(product), lanes);
        }
    }
}

NNL_API int NNL_(SoftMax_updateGradInput)(int64_t N, int64_t K, const real *output,
                                          const real *gradOutput, real *gradInput, int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || threads < 1) return NNL_EINVAL;
    if (!T_(in_place_ok)(N, K, output, gradInput) ||
        !T_(in_place_ok)(N, K, gradOutput, gradInput)) {
        return NNL_EOVERLAP;
    }
    T_(rows) r = {.K = K, .x = output, .dy = gradOutput, .out = gradInput};
    nnl_parallel_for(N, nnl_row_grain(K), threads, T_(softmax_grad_rows), &r);
    return NNL_OK;
}

NNL_ROWS_OP(softmax, SoftMax_updateOutput)
NNL_ROWS_GRAD_OP(softmax_grad, SoftMax_updateGradInput)

#endif
