/* Accuracy.c: counts the rows whose first maximum is at the target class.
 *
 * A row counts when nothing in it exceeds x_t, nothing before t equals x_t, and nothing is NaN: so
 * ties go to the first class, and a row with NaN is wrong. Ignored rows, and targets that are no
 * class, are not counted. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "losses/Accuracy.c"
#include "core/dtype.h"
#else

static bool T_(first_maximum)(const real *x, int64_t K, int64_t t) {
    const vreal most = V_(set)(x[t]);
    for (int64_t k = 0; k < K; k += VLANES) {
        vreal row = K - k >= VLANES ? V_(load)(x + k) : V_(load_fill)(x + k, K - k, x[t]);
        if (V_(any)(V_(mask_not)(V_(le)(row, most)))) return false;
    }
    for (int64_t k = 0; k < t; k += VLANES) {
        vreal row = t - k >= VLANES ? V_(load)(x + k) : V_(load_fill)(x + k, t - k, (real)NAN);
        if (V_(any)(V_(eq)(row, most))) return false;
    }
    return true;
}

NNL_API int NNL_(count_correct)(int64_t N, int64_t K, const real *input, const int64_t *target,
                                int64_t ignore_index, int64_t *correct) {
    if (!nnl_size_ok(N, K, sizeof(real))) return NNL_EINVAL;
    int64_t count = 0;
    for (int64_t i = 0; i < N; i++) {
        int64_t t = target[i];
        bool counts = t != ignore_index && t >= 0 && t < K;
        count += counts && T_(first_maximum)(input + i * K, K, t);
    }
    *correct = count;
    return NNL_OK;
}

#endif
