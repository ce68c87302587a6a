/* ClassNLLCriterion.c: loss = -sum_i r_i x[i, t_i], for the mean divided by the total weight
 * W = sum r; x log-probabilities, t class indices, r_i the weight of the row: 1 without weights, 0
 * if ignored.
 *
 * forward   picks one element a row
 * d-input   dx[i, t_i] = -g r_i / W (mean) or -g r_i (sum), 0 elsewhere; g is the gradient of the
 *           loss */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <math.h>

#include "core/base.h"
#include "losses/target.h"
#include "program/call.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "losses/ClassNLLCriterion.c"
#include "core/dtype.h"
#else

#include "core/flush.inc"
#include "layers/rows.inc"

#include "losses/weights.inc"

/* Checks everything; *weights [N], scratch memory that begins with `few`, receives the rows'
 * weights. */
static int T_(nll_weights)(int64_t N, int64_t K, const int64_t *target, const real *class_weight,
                           const real *sample_weight, int64_t *bad_row, int64_t ignore_index,
                           int reduction, real *few, real **weights) {
    int64_t ignored = 0;
    if (!nnl_size_ok(N, K, sizeof(real)) || !nnl_reduction_ok(reduction, N)) return NNL_EINVAL;
    int status = nnl_check_classes(N, K, target, ignore_index, &ignored, bad_row);
    if (status != NNL_OK) return status;
    if (!T_(weights_ok)(K, class_weight) || !T_(weights_ok)(N, sample_weight)) return NNL_EWEIGHT;
    *weights = nnl_scratch(few, NNL_FEW * sizeof(real), N, sizeof(real));
    if (!*weights) return NNL_ENOMEM;
    T_(row_weights)(N, target, class_weight, sample_weight, ignore_index, *weights);
    return NNL_OK;
}

NNL_API int NNL_(ClassNLLCriterion_updateOutput)(int64_t N, int64_t K, const real *input,
                                                 const int64_t *target, real *loss,
                                                 const real *class_weight,
                                                 const real *sample_weight, int64_t *bad_row,
                                                 int64_t ignore_index, int reduction) {
    real few[NNL_FEW], *weights;
    int status = T_(nll_weights)(N, K, target, class_weight, sample_weight, bad_row, ignore_index,
                                 reduction, few, &weights);
    if (status != NNL_OK) return status;
    real weight = T_(sum)(weights, N);
    for (int64_t i = 0; i < N; i++) {
        weights[i] = weights[i] == 0 ? 0 : -input[i * K + target[i]] * weights[i];
    }
    real total = T_(sum)(weights, N);
    loss[0] = reduction == NNL_MEAN ? total / weight : total;
    loss[1] = weight;
    nnl_end_scratch(weights, few);
    return NNL_OK;
}

NNL_API int NNL_(ClassNLLCriterion_updateGradInput)(int64_t N, int64_t K, const int64_t *target,
                                                    real *gradInput, const real *class_weight,
                                                    const real *sample_weight, int64_t *bad_row,
                                                    real gradOutput, int64_t ignore_index,
                                                    int reduction) {
    real few[NNL_FEW], *weights;
    int status = T_(nll_weights)(N, K, target, class_weight, sample_weight, bad_row, ignore_index,
                                 reduction, few, &weights);
    if (status != NNL_OK) return status;
    real total = reduction == NNL_MEAN ? T_(sum)(weights, N) : 1;
    for (int64_t i = 0; i < N * K; i++) gradInput[i] = 0;
    for (int64_t i = 0; i < N; i++) {
        if (weights[i] == 0) continue;
        real grad = -gradOutput * weights[i] / total;
        gradInput[i * K + target[i]] = T_(flushed)(grad, REAL_MIN_NORMAL);
    }
    nnl_end_scratch(weights, few);
    return NNL_OK;
}

int NNL_(op_nll)(const nnl_work *w) {
    const nnl_call *c = w->call;
    int64_t N = w->size[0], K = w->size[3];
    const void *weight = w->at[NNL_C], *sample = w->at[NNL_D];
    int status =
        NNL_(ClassNLLCriterion_updateOutput)(N, K, w->at[NNL_A], w->at[NNL_B], w->at[NNL_OUT],
                                             weight, sample, w->bad_row, c->integer, c->reduction);
    if (status != NNL_OK || !w->at[NNL_OUT2]) return status;
    return NNL_(ClassNLLCriterion_updateGradInput)(N, K, w->at[NNL_B], w->at[NNL_OUT2], weight,
                                                   sample, w->bad_row, 1, c->integer, c->reduction);
}

#endif
