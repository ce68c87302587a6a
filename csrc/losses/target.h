/* target.h: the check of class indices that every criterion makes before it writes anything. */
#ifndef NNL_TARGET_H
#define NNL_TARGET_H

#include "core/base.h"

/* NNL_EINDEX, with the first bad row, unless every target lies in [0, K). */
static inline int nnl_check_targets(int64_t N, int64_t K, const int64_t *target, int64_t *bad_row) {
    for (int64_t i = 0; i < N; i++) {
        if (target[i] < 0 || target[i] >= K) {
            *bad_row = i;
            return NNL_EINDEX;
        }
    }
    return NNL_OK;
}

/* The same for a criterion, which leaves out rows whose target is ignore_index; their number is
 * added to *ignored. */
static inline int nnl_check_classes(int64_t N, int64_t K, const int64_t *target,
                                    int64_t ignore_index, int64_t *ignored, int64_t *bad_row) {
    for (int64_t i = 0; i < N; i++) {
        if (target[i] == ignore_index) {
            ++*ignored;
        } else if (target[i] < 0 || target[i] >= K) {
            *bad_row = i;
            return NNL_EINDEX;
        }
    }
    return NNL_OK;
}

/* True for a reduction over n terms that exists: the mean of nothing does not. */
static inline bool nnl_reduction_ok(int reduction, int64_t n) {
    return reduction == NNL_SUM || (reduction == NNL_MEAN && n > 0);
}

#endif
