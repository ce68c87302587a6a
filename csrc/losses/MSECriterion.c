/* MSECriterion.c: loss = sum_ik s_i (x_ik - t_ik)^2, for the mean divided by n = K sum_i s_i; s_i
 * are the weights of the samples, or 1.
 *
 * forward   blocks of fixed size, sixteen lanes in each, combined in index order
 * d-input   dx = 2 g s_i (x - t) / n (mean) or 2 g s_i (x - t) (sum); g is the gradient of the loss
 * A sample of weight 0 counts for nothing, whatever it holds. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "core/grain.h"
#include "losses/target.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

/* Elements whose weights are expanded at a time, on the stack. */
#define EXPANDED 256

#define NNL_GENERIC_FILE "losses/MSECriterion.c"
#include "core/dtype.h"
#else

#include "layers/rows.inc"

#include "layers/pointwise.inc"
#include "losses/weights.inc"

typedef struct {
    int64_t n, K;
    const real *x, *t;
    real *sums;         /* one for each block */
    const real *weight; /* of each row of K elements, or NULL */
    real *dx;
    real scale, total; /* of the gradient: scale * weight / total */
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

/* weights [count] [OUT]: the weight of its row for each element of [from, from + count). */
static void T_(expand_weights)(const T_(blocks) *b, int64_t from, int64_t count, real *weights) {
    int64_t row = from / b->K, left = (row + 1) * b->K - from;
    for (int64_t k = 0; k < count; left = b->K, row++) {
        int64_t end = nnl_min(count, k + left);
        for (; k < end; k++) weights[k] = b->weight[row];
    }
}

/* The weights of elements k to k + 16 of a block, from `weights`, which is filled when k is its
 * first. */
static inline T_(lanes) T_(weight_lanes)(const T_(blocks) *b, int64_t from, int64_t k,
                                         int64_t count, real weights[EXPANDED]) {
    int64_t first = k % EXPANDED;
    if (first == 0) T_(expand_weights)(b, from + k, nnl_min(EXPANDED, count - k), weights);
    return T_(row_lanes)(weights, first, first + count - k, 0);
}

/* Differences of elements k to k + 16 of a block, 0 where the weight is. */
static inline T_(lanes) T_(weighted_difference)(const T_(blocks) *b, int64_t from, int64_t k,
                                                int64_t count, T_(lanes) weight) {
    T_(lanes) d =
        L_(sub)(T_(row_lanes)(b->x + from, k, count, 0), T_(row_lanes)(b->t + from, k, count, 0));
    for (int r = 0; r < NNL_LANES / VLANES; r++) {
        vreal zero = V_(zero)();
        d.v[r] = V_(select)(V_(eq)(weight.v[r], zero), zero, d.v[r]);
    }
    return d;
}

static void T_(weighted_blocks)(void *context, int64_t begin, int64_t end) {
    const T_(blocks) *b = context;
    real weights[EXPANDED];
    for (int64_t block = begin; block < end; block++) {
        int64_t from = block * SUM_BLOCK, count = nnl_min(SUM_BLOCK, b->n - from);
        T_(lanes) sum = L_(set)(0);
        for (int64_t k = 0; k < count; k += NNL_LANES) {
            T_(lanes) weight = T_(weight_lanes)(b, from, k, count, weights);
            T_(lanes) d = T_(weighted_difference)(b, from, k, count, weight);
            sum = L_(fma)(L_(mul)(weight, d), d, sum);
        }
        b->sums[block] = L_(sum)(sum);
    }
}

/* dx = scale weight / total (x - t) */
static void T_(weighted_grad_blocks)(void *context, int64_t begin, int64_t end) {
    const T_(blocks) *b = context;
    real weights[EXPANDED];
    for (int64_t block = begin; block < end; block++) {
        int64_t from = block * SUM_BLOCK, count = nnl_min(SUM_BLOCK, b->n - from);
        for (int64_t k = 0; k < count; k += NNL_LANES) {
            T_(lanes) weight = T_(weight_lanes)(b, from, k, count, weights);
            T_(lanes) d = T_(weighted_difference)(b, from, k, count, weight);
            for (int r = 0; r < NNL_LANES / VLANES; r++) {
                vreal factor = V_(mul)(V_(set)(b->scale), weight.v[r]);
                factor = V_(div)(factor, V_(set)(b->total));
                vreal zero = V_(zero)();
                factor = V_(select)(V_(eq)(weight.v[r], zero), zero, factor);
                d.v[r] = V_(flush)(V_(mul)(factor, d.v[r]));
            }
            T_(store_lanes)(b->dx + from + k, d, count - k);
        }
    }
}

/* NNL_OK where the sizes, the reduction and the weights are sound. */
static int T_(check_mse)(int64_t N, int64_t K, const real *sample_weight, int reduction,
                         int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || !nnl_reduction_ok(reduction, N * K) || threads < 1) {
        return NNL_EINVAL;
    }
    return T_(weights_ok)(N, sample_weight) ? NNL_OK : NNL_EWEIGHT;
}

NNL_API int NNL_(MSECriterion_updateOutput)(int64_t N, int64_t K, const real *input,
                                            const real *target, real *loss,
                                            const real *sample_weight, int reduction, int threads) {
    int status = T_(check_mse)(N, K, sample_weight, reduction, threads);
    if (status != NNL_OK) return status;
    int64_t n = N * K, count = nnl_ceil_div(n, SUM_BLOCK);
    T_(blocks) b = {.n = n, .K = K, .x = input, .t = target, .weight = sample_weight};
    real few[NNL_FEW];
    b.sums = nnl_scratch(few, sizeof few, count, sizeof(real));
    if (!b.sums) return NNL_ENOMEM;
    nnl_parallel_for(count, NNL_GRAIN_CHEAP / SUM_BLOCK, threads,
                     sample_weight ? T_(weighted_blocks) : T_(square_blocks), &b);
    real total = 0, weight = sample_weight ? T_(sum)(sample_weight, N) : (real)N;
    for (int64_t block = 0; block < count; block++) total += b.sums[block];
    real divisor = sample_weight ? weight * (real)K : (real)n;
    loss[0] = reduction == NNL_MEAN ? total / divisor : total;
    loss[1] = weight;
    nnl_end_scratch(b.sums, few);
    return NNL_OK;
}

static inline vreal T_(mse_backward)(vreal x, vreal t, const T_(pointwise) *p) {
    return V_(flush)(V_(mul)(V_(set)(p->s), V_(sub)(x, t)));
}

static void T_(mse_grad)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(mse_backward));
}

NNL_API int NNL_(MSECriterion_updateGradInput)(int64_t N, int64_t K, const real *input,
                                               const real *target, real *gradInput,
                                               const real *sample_weight, real gradOutput,
                                               int reduction, int threads) {
    int status = T_(check_mse)(N, K, sample_weight, reduction, threads);
    if (status != NNL_OK) return status;
    int64_t n = N * K;
    if (!sample_weight) {
        real scale = reduction == NNL_MEAN ? 2 * gradOutput / (real)n : 2 * gradOutput;
        T_(pointwise) p = {.x = input, .y = target, .out = gradInput, .s = scale};
        return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(mse_grad));
    }
    if (!T_(in_place_ok)(N, K, input, gradInput) || !T_(in_place_ok)(N, K, target, gradInput)) {
        return NNL_EOVERLAP;
    }
    T_(blocks) b = {.n = n, .K = K, .x = input, .t = target, .weight = sample_weight};
    b.dx = gradInput;
    b.scale = 2 * gradOutput;
    b.total = reduction == NNL_MEAN ? T_(sum)(sample_weight, N) * (real)K : 1;
    nnl_parallel_for(nnl_ceil_div(n, SUM_BLOCK), NNL_GRAIN_CHEAP / SUM_BLOCK, threads,
                     T_(weighted_grad_blocks), &b);
    return NNL_OK;
}

int NNL_(op_mse)(const nnl_work *w) {
    int64_t N = w->size[0], K = w->size[3];
    const real *input = w->at[NNL_A], *target = w->at[NNL_B], *weight = w->at[NNL_D];
    int status = NNL_(MSECriterion_updateOutput)(N, K, input, target, w->at[NNL_OUT], weight,
                                                 w->call->reduction, w->threads);
    if (status != NNL_OK || !w->at[NNL_OUT2]) return status;
    return NNL_(MSECriterion_updateGradInput)(N, K, input, target, w->at[NNL_OUT2], weight, 1,
                                              w->call->reduction, w->threads);
}

#endif
