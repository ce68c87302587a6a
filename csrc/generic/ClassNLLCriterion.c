/* ClassNLLCriterion.c: loss = -mean_i x[i, t_i] (or the sum), x log-probabilities, t class indices.
 *
 * forward   picks one element a row
 * d-input   dx[i, t_i] = -g / N (mean) or -g (sum), 0 elsewhere; g is the gradient of the loss */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "base.h"
#include "generic/target.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "generic/ClassNLLCriterion.c"
#include "dtype.h"
#else

#include "generic/rows.h"

NNL_API int NNL_(ClassNLLCriterion_updateOutput)(int64_t N, int64_t K, const real *input,
                                                 const int64_t *target, real *loss,
                                                 int64_t *bad_row, int reduction) {
    if (!nnl_size_ok(N, K, sizeof(real)) || !nnl_reduction_ok(reduction, N)) return NNL_EINVAL;
    int status = nnl_check_targets(N, K, target, bad_row);
    if (status != NNL_OK) return status;
    real *picked = nnl_alloc(N, sizeof(real));
    if (!picked) return NNL_ENOMEM;
    for (int64_t i = 0; i < N; i++) picked[i] = -input[i * K + target[i]];
    real total = T_(sum)(picked, N);
    *loss = reduction == NNL_MEAN ? total / (real)N : total;
    nnl_free(picked);
    return NNL_OK;
}

NNL_API int NNL_(ClassNLLCriterion_updateGradInput)(int64_t N, int64_t K, const int64_t *target,
                                                    real *gradInput, int64_t *bad_row,
                                                    real gradOutput, int reduction) {
    if (!nnl_size_ok(N, K, sizeof(real)) || !nnl_reduction_ok(reduction, N)) return NNL_EINVAL;
    int status = nnl_check_targets(N, K, target, bad_row);
    if (status != NNL_OK) return status;
    real each = reduction == NNL_MEAN ? -gradOutput / (real)N : -gradOutput;
    for (int64_t i = 0; i < N * K; i++) gradInput[i] = 0;
    for (int64_t i = 0; i < N; i++) gradInput[i * K + target[i]] = each;
    return NNL_OK;
}

#endif
