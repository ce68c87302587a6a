/* LogSoftMax.c: y_k = (x_k - m) - log sum_j e^(x_j - m) along each row, m = max_j x_j.
 *
 * forward   never the logarithm of a softmax, which loses everything below the smallest float
 * d-input   dx = dy - e^y sum_k dy_k, from the output alone
 * A row of -inf alone, or with +inf or NaN, gives NaN. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/LogSoftMax.c"
#include "core/dtype.h"
#else

#include "layers/rows.inc"

typedef struct {
    int64_t K;
    const real *x, *dy;
    real *out;
} T_(rows);

/* Rows in groups of sixteen, whose logarithms are taken together. */
static void T_(logsoftmax_rows)(void *context, int64_t begin, int64_t end) {
    const T_(rows) *r = context;
    for (int64_t first = begin; first < end; first += NNL_LANES) {
        real max[NNL_LANES], sum[NNL_LANES], log_sum[NNL_LANES] = {0};
        int64_t rows = nnl_min(NNL_LANES, end - first);
        for (int64_t i = 0; i < rows; i++) {
            const real *x = r->x + (first + i) * r->K;
            max[i] = T_(row_max)(x, r->K);
            sum[i] = T_(row_exp_sum)(x, r->K, max[i], NULL);
        }
        T_(add_logs)(rows, sum, log_sum);
        for (int64_t i = 0; i < rows; i++) {
            const real *x = r->x + (first + i) * r->K;
            real *y = r->out + (first + i) * r->K;
            const vreal shift = V_(set)(max[i]), rest = V_(set)(log_sum[i]);
            int64_t k = 0;
            for (; k + VLANES <= r->K; k += VLANES) {
                V_(store)(y + k, V_(sub)(V_(sub)(V_(load)(x + k), shift), rest));
            }
            if (k < r->K) {
                vreal last = V_(sub)(V_(sub)(V_(load_n)(x + k, r->K - k), shift), rest);
                V_(store_n)(y + k, last, r->K - k);
            }
        }
    }
}

NNL_API int NNL_(LogSoftMax_updateOutput)(int64_t N, int64_t K, const real *input, real *output,
                                          int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || threads < 1) return NNL_EINVAL;
    if (!T_(in_place_ok)(N, K, input, output)) return NNL_EOVERLAP;
    T_(rows) r = {.K = K, .x = input, .out = output};
    nnl_parallel_for(N, nnl_row_grain(K), threads, T_(logsoftmax_rows), &r);
    return NNL_OK;
}

static void T_(logsoftmax_grad_rows)(void *context, int64_t begin, int64_t end) {
    const T_(rows) *r = context;
    for (int64_t i = begin; i < end; i++) {
        const real *y = r->x + i * r->K, *dy = r->dy + i * r->K;
        real *dx = r->out + i * r->K;
        T_(lanes) sum = L_(set)(0);
        for (int64_t k = 0; k < r->K; k += NNL_LANES) {
            sum = L_(add)(sum, T_(row_lanes)(dy, k, r->K, 0));
        }
        vreal total = V_(set)(L_(sum)(sum));
        for (int64_t k = 0; k < r->K; k += VLANES) {
            int lanes = (int)nnl_min(VLANES, r->K - k);
            vreal p = V_(exp)(V_(load_n)(y + k, lanes));
            vreal rest = V_(fnma)(p, total, V_(load_n)(dy + k, lanes));
            V_(store_n)(dx + k, V_(flush)(rest), lanes);
        }
    }
}

NNL_API int NNL_(LogSoftMax_updateGradInput)(int64_t N, int64_t K, const real *output,
                                             const real *gradOutput, real *gradInput, int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || threads < 1) return NNL_EINVAL;
    if (!T_(in_place_ok)(N, K, output, gradInput) ||
        !T_(in_place_ok)(N, K, gradOutput, gradInput)) {
        return NNL_EOVERLAP;
    }
    T_(rows) r = {.K = K, .x = output, .dy = gradOutput, .out = gradInput};
    nnl_parallel_for(N, nnl_row_grain(K), threads, T_(logsoftmax_grad_rows), &r);
    return NNL_OK;
}

NNL_ROWS_OP(log_softmax, LogSoftMax_updateOutput)
NNL_ROWS_GRAD_OP(log_softmax_grad, LogSoftMax_updateGradInput)

#endif
