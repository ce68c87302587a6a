/* CrossEntropyCriterion.c: softmax and cross-entropy from logits, in one kernel.
 *
 * forward   l_i = sum_k T_ik (log sum_j e^(x_ij - m_i) + m_i - x_ik), m_i = max_j x_ij; for a class
 *           index t the only term is k = t. The loss is the mean of l over the rows, or the sum.
 * d-input   dx = (softmax(x) sum_k T_k - T) / N, the division only for the mean. It is written
 *           in the same pass, while the powers of the row are in cache.
 * A probability of 0 contributes nothing, even for a logit of -inf.
 * Source: Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.109. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "base.h"
#include "generic/grain.h"
#include "generic/target.h"
#include "parallel.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "generic/CrossEntropyCriterion.c"
#include "dtype.h"
#else

#include "generic/rows.h"

typedef struct {
    int64_t K;
    const real *x;
    const int64_t *target;
    const real *probabilities;
    real *losses, *sums; /* a row's loss; and its sum of powers until the logarithm is added */
    real *dx;            /* or NULL */
    real scale;          /* of the gradient: 1 / N or 1 */
} T_(rows);

/* Loss of a row against a distribution t, and the sum of t. */
static real T_(distribution_loss)(const real *x, const real *t, int64_t K, real max, real log_sum,
                                  real *mass) {
    T_(lanes) shift = L_(set)(max), rest = L_(set)(log_sum), zero = L_(set)(0);
    T_(lanes) loss = zero, total = zero;
    for (int64_t k = 0; k < K; k += NNL_LANES) {
        T_(lanes) tk = T_(row_lanes)(t, k, K, 0);
        T_(lanes) nats = L_(add)(L_(sub)(shift, T_(row_lanes)(x, k, K, 0)), rest);
        T_(lanes) term = L_(mul)(tk, nats);
        for (int r = 0; r < NNL_LANES / VLANES; r++) {
            term.v[r] = V_(select)(V_(eq)(tk.v[r], zero.v[r]), zero.v[r], term.v[r]);
        }
        loss = L_(add)(loss, term);
        total = L_(add)(total, tk);
    }
    *mass = L_(sum)(total);
    return L_(sum)(loss);
}

/* dx = (p - T) scale with p = e share, over the powers e that dx holds. */
static void T_(row_gradient)(real *dx, int64_t K, real share, int64_t target, const real *t,
                             real scale) {
    if (!t) {
        real at_target = (dx[target] * share - 1) * scale;
        const vreal p = V_(set)(share), each = V_(set)(scale);
        int64_t k = 0;
        for (; k + VLANES <= K; k += VLANES) {
            V_(store)(dx + k, V_(mul)(V_(mul)(V_(load)(dx + k), p), each));
        }
        if (k < K) {
            V_(store_n)(dx + k, V_(mul)(V_(mul)(V_(load_n)(dx + k, K - k), p), each), K - k);
        }
        dx[target] = at_target;
        return;
    }
    for (int64_t k = 0; k < K; k += VLANES) {
        int64_t lanes = nnl_min(VLANES, K - k);
        vreal p = V_(mul)(V_(load_n)(dx + k, lanes), V_(set)(share));
        p = V_(sub)(p, V_(load_n)(t + k, lanes));
        V_(store_n)(dx + k, V_(mul)(p, V_(set)(scale)), lanes);
    }
}

static void T_(cross_entropy_rows)(void *context, int64_t begin, int64_t end) {
    const T_(rows) *r = context;
    for (int64_t i = begin; i < end; i++) {
        const real *x = r->x + i * r->K, *t = NULL;
        real *dx = r->dx ? r->dx + i * r->K : NULL;
        real max = T_(row_max)(x, r->K), sum = T_(row_exp_sum)(x, r->K, max, dx), mass = 1;
        int64_t target = 0;
        if (r->target) {
            target = r->target[i];
            r->losses[i] = max - x[target];
            r->sums[i] = sum;
        } else {
            t = r->probabilities + i * r->K;
            r->losses[i] = T_(distribution_loss)(x, t, r->K, max, T_(log_of)(sum), &mass);
        }
        if (dx) T_(row_gradient)(dx, r->K, mass / sum, target, t, r->scale);
    }
    if (r->target) T_(add_logs)(end - begin, r->sums + begin, r->losses + begin);
}

NNL_API int NNL_(CrossEntropyCriterion_updateOutput)(int64_t N, int64_t K, const real *input,
                                                     const int64_t *target,
                                                     const real *probabilities, real *loss,
                                                     real *gradInput, int64_t *bad_row,
                                                     int reduction, int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || !nnl_reduction_ok(reduction, N) || K < 1 ||
        !target == !probabilities || threads < 1) {
        return NNL_EINVAL;
    }
    int64_t bytes = N * K * (int64_t)sizeof(real), rows = N * (int64_t)sizeof *target;
    if (nnl_overlap(gradInput, bytes, input, bytes) ||
        nnl_overlap(gradInput, bytes, probabilities, bytes) ||
        nnl_overlap(gradInput, bytes, target, rows)) {
        return NNL_EOVERLAP;
    }
    int status = target ? nnl_check_targets(N, K, target, bad_row) : NNL_OK;
    if (status != NNL_OK) return status;
    real *losses = nnl_alloc(N, 2 * sizeof(real));
    if (!losses) return NNL_ENOMEM;
    T_(rows) r = {.K = K, .x = input, .target = target, .probabilities = probabilities};
    r.losses = losses;
    r.sums = losses + N;
    r.dx = gradInput;
    r.scale = reduction == NNL_MEAN ? 1 / (real)N : 1;
    nnl_parallel_for(N, nnl_row_grain(K), threads, T_(cross_entropy_rows), &r);
    real total = T_(sum)(losses, N);
    *loss = reduction == NNL_MEAN ? total / (real)N : total;
    nnl_free(losses);
    return NNL_OK;
}

#endif
