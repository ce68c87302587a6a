/* MSECriterion.c: loss = mean_i (x_i - t_i)^2 over all elements (or the sum).
 *
 * forward   blocks of fixed size, sixteen lanes in each, combined in index order
 * d-input   dx = 2 g (x - t) / n (mean) or 2 g (x - t) (sum); g is the gradient of the loss */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "base.h"
#include "generic/grain.h"
#include "generic/target.h"
#include "parallel.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "generic/MSECriterion.c"
#include "dtype.h"
#else

#include "generic/rows.h"

#include "generic/pointwise.h"

typedef struct {
    int64_t n;
    const real *x, *t;
    real *sums; /* one for each block */
} T_(blocks);

static void T_(square_blocks)(void *context, int64_t begin, int64_t end) {
    const T_(blocks) *b = context;
    for (int64_t block = begin; block < end; block++) {
        int64_t from = block * SUM_BLOCK, count = nnl_min(SUM_BLOCK, b->n - from);
        T_(lanes) sum = L_(set)(0);
        for (int64_t k = 0; k < count; k += NNL_LANES) {
            T_(lanes) d = L_(sub)(T_(row_lanes)(b->x + from, k, count, 0),
                                  T_(row_lanes)(b->t + from, k, count, 0));
            sum = L_(fma)(d, d, sum);
        }
        b->sums[block] = L_(sum)(sum);
    }
}

NNL_API int NNL_(MSECriterion_updateOutput)(int64_t n, const real *input, const real *target,
                                            real *loss, int reduction, int threads) {
    if (!nnl_size_ok(n, 1, sizeof(real)) || !nnl_reduction_ok(reduction, n) || threads < 1) {
        return NNL_EINVAL;
    }
    int64_t count = nnl_ceil_div(n, SUM_BLOCK);
    T_(blocks) b = {n, input, target, nnl_alloc(count, sizeof(real))};
    if (!b.sums) return NNL_ENOMEM;
    nnl_parallel_for(count, NNL_GRAIN_CHEAP / SUM_BLOCK, threads, T_(square_blocks), &b);
    real total = 0;
    for (int64_t block = 0; block < count; block++) total += b.sums[block];
    *loss = reduction == NNL_MEAN ? total / (real)n : total;
    nnl_free(b.sums);
    return NNL_OK;
}

static inline vreal T_(mse_backward)(vreal x, vreal t, const T_(pointwise) *p) {
    return V_(mul)(V_(set)(p->s), V_(sub)(x, t));
}

static void T_(mse_grad)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(mse_backward));
}

NNL_API int NNL_(MSECriterion_updateGradInput)(int64_t n, const real *input, const real *target,
                                               real *gradInput, real gradOutput, int reduction,
                                               int threads) {
    if (!nnl_reduction_ok(reduction, n)) return NNL_EINVAL;
    real scale = reduction == NNL_MEAN ? 2 * gradOutput / (real)n : 2 * gradOutput;
    T_(pointwise) p = {.x = input, .y = target, .out = gradInput, .s = scale};
    return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(mse_grad));
}

#endif
