/* CrossEntropyCriterion.c: softmax and cross-entropy from logits, in one kernel.
 *
 * forward   l_i = sum_k T_ik (log sum_j e^(x_ij - m_i) + m_i - x_ik), m_i = max_j x_ij; for a class
 *           index t the only term is k = t. The loss is the sum of s_i l_i over the rows, for the
 *           mean divided by the total weight W: N, or with weights the sum of s_i w_t.
 * d-input   dx = (softmax(x) sum_k T_k - T) s_i / W, the division only for the mean. It is written
 *           in the same pass, while the exponentials of the row are in cache.
 * weights   s_i of samples (0 for an ignored row) and w_k of classes: T_ik is multiplied by w_k
 * smoothing T_ik = (1 - e) T_ik + e / K, before the weights
 * A probability of 0 contributes nothing, even for a logit of -inf; a row of weight 0 neither.
 * Sources: Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.109; smoothing:
 * Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the inception architecture for computer
 * vision", CVPR 2016, section 7. */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <math.h>

#include "core/base.h"
#include "core/grain.h"
#include "losses/target.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "losses/CrossEntropyCriterion.c"
#include "core/dtype.h"
#else

#include "program/batch_parts.inc"
#include "core/flush.inc"
#include "layers/rows.inc"

#include "losses/weights.inc"

typedef struct {
    int64_t K;
    const real *x;
    const int64_t *target;
    const real *probabilities;
    real *losses, *sums; /* a row's loss; its sum of exponentials until the logarithm is added */
    real *dx;            /* or NULL */
    real total;          /* by which the loss is divided: the total weight, or 1 */
    const real *row_weights;                     /* [N] or NULL for 1 each */
    const real *target_scale, *target_smoothing; /* [K] or NULL: T_k = scale_k t_k + smoothing_k */
} T_(rows);

/* Loss of a row against a distribution t, and the sum of t; with target_scale and target_smoothing
 * against scale t + smoothing, or against smoothing alone where t is NULL. */
NNL_INLINE real T_(distribution_loss)(const real *x, const real *t, const real *target_scale,
                                      const real *target_smoothing, int64_t K, real max,
                                      real log_sum, real *target_sum) {
    T_(lanes) shift = L_(set)(max), rest = L_(set)(log_sum), zero = L_(set)(0);
    T_(lanes) loss = zero, total = zero;
    for (int64_t k = 0; k < K; k += NNL_LANES) {
        T_(lanes) tk = T_(row_lanes)(target_smoothing ? target_smoothing : t, k, K, 0);
        if (target_smoothing && t) {
            tk = L_(fma)(T_(row_lanes)(target_scale, k, K, 0), T_(row_lanes)(t, k, K, 0), tk);
        }
        T_(lanes) nats = L_(add)(L_(sub)(shift, T_(row_lanes)(x, k, K, 0)), rest);
        T_(lanes) term = L_(mul)(tk, nats);
        for (int r = 0; r < NNL_LANES / VLANES; r++) {
            term.v[r] = V_(select)(V_(eq)(tk.v[r], zero.v[r]), zero.v[r], term.v[r]);
        }
        loss = L_(add)(loss, term);
        total = L_(add)(total, tk);
    }
    *target_sum = L_(sum)(total);
    return L_(sum)(loss);
}

/* dx = (p - T) scale with p = e normaliser, over the exponentials e that dx holds. */
static void T_(row_gradient)(real *dx, int64_t K, real normaliser, int64_t target, const real *t,
                             real scale) {
    if (!t) {
        real at_target = T_(flushed)((dx[target] * normaliser - 1) * scale, REAL_MIN_NORMAL);
        const vreal p = V_(set)(normaliser), each = V_(set)(scale);
        int64_t k = 0;
        for (; k + VLANES <= K; k += VLANES) {
            V_(store)(dx + k, V_(flush)(V_(mul)(V_(mul)(V_(load)(dx + k), p), each)));
        }
        if (k < K) {
            vreal last = V_(mul)(V_(mul)(V_(load_n)(dx + k, K - k), p), each);
            V_(store_n)(dx + k, V_(flush)(last), K - k);
        }
        dx[target] = at_target;
        return;
    }
    for (int64_t k = 0; k < K; k += VLANES) {
        int64_t lanes = nnl_min(VLANES, K - k);
        vreal p = V_(mul)(V_(load_n)(dx + k, lanes), V_(set)(normaliser));
        p = V_(sub)(p, V_(load_n)(t + k, lanes));
        V_(store_n)(dx + k, V_(flush)(V_(mul)(p, V_(set)(scale))), lanes);
    }
}

/* A row of at most sixteen logits and a class, which never leaves the registers: its exponentials
 * stored, and read again for the gradient, would make each row wait for its own stores. */
static void T_(short_row)(const T_(rows) *r, int64_t i) {
    static const real at_15[2 * NNL_LANES - 1] = {[NNL_LANES - 1] = 1};
    const real *x = r->x + i * r->K;
    int64_t target = r->target[i];
    T_(lanes) row = T_(row_lanes)(x, 0, r->K, -(real)INFINITY);
    real max = L_(max_all)(row);
    T_(lanes) e = T_(exp_lanes)(L_(sub)(row, L_(set)(max)));
    real sum = L_(sum)(e);
    r->losses[i] = max - x[target];
    r->sums[i] = sum;
    T_(lanes) p = L_(mul)(e, L_(set)(1 / sum)), t = L_(load)(at_15 + NNL_LANES - 1 - target);
    T_(lanes) dx = L_(mul)(L_(sub)(p, t), L_(set)(1 / r->total));
    T_(store_lanes)(r->dx + i * r->K, L_(flush)(dx), r->K);
}

static void T_(cross_entropy_rows)(void *context, int64_t begin, int64_t end) {
    const T_(rows) *r = context;
    bool is_short = r->target && r->dx && r->K <= NNL_LANES;
    for (int64_t i = begin; is_short && i < end; i++) T_(short_row)(r, i);
    for (int64_t i = begin; !is_short && i < end; i++) {
        const real *x = r->x + i * r->K, *t = NULL;
        real *dx = r->dx ? r->dx + i * r->K : NULL;
        real max = T_(row_max)(x, r->K), sum = T_(row_exp_sum)(x, r->K, max, dx), target_sum = 1;
        int64_t target = 0;
        if (r->target) {
            target = r->target[i];
            r->losses[i] = max - x[target];
            r->sums[i] = sum;
        } else {
            t = r->probabilities + i * r->K;
            r->losses[i] =
                T_(distribution_loss)(x, t, NULL, NULL, r->K, max, T_(log_of)(sum), &target_sum);
        }
        if (dx) T_(row_gradient)(dx, r->K, target_sum / sum, target, t, 1 / r->total);
    }
    if (r->target) T_(add_logs)(end - begin, r->sums + begin, r->losses + begin);
}

void NNL_(cross_entropy_part)(int64_t n, int64_t K, const real *input, const int64_t *target,
                              real total, real *losses, real *sums, real *gradInput) {
    T_(rows) r = {.K = K, .x = input, .target = target, .losses = losses, .sums = sums};
    r.dx = gradInput;
    r.total = total;
    T_(cross_entropy_rows)(&r, 0, n);
}

/* Loss of row i against its scaled and smoothed target, and where dx is given, its gradient from
 * the exponentials there. A class index t means a distribution that is 1 at t. */
static real T_(scaled_row)(const T_(rows) *r, int64_t i, real max, real sum, real *dx, real scale) {
    int64_t K = r->K, class = r->target ? r->target[i] : 0;
    const real *x = r->x + i * K, *t = r->target ? NULL : r->probabilities + i * K;
    real class_scale = r->target ? r->target_scale[class] : 0;
    real log_sum = T_(log_of)(sum), target_sum;
    real loss = T_(distribution_loss)(x, t, r->target_scale, r->target_smoothing, K, max, log_sum,
                                      &target_sum);
    target_sum += class_scale;
    if (class_scale != 0) loss += class_scale * (max - x[class] + log_sum);
    if (!dx) return loss;
    real normaliser = target_sum / sum;
    real at_class = (dx[class] * normaliser - (r->target_smoothing[class] + class_scale)) * scale;
    at_class = T_(flushed)(at_class, REAL_MIN_NORMAL);
    for (int64_t k = 0; k < K; k += VLANES) {
        int64_t lanes = nnl_min(VLANES, K - k);
        vreal tk = V_(load_n)(r->target_smoothing + k, lanes);
        if (t) tk = V_(fma)(V_(load_n)(r->target_scale + k, lanes), V_(load_n)(t + k, lanes), tk);
        vreal p = V_(mul)(V_(load_n)(dx + k, lanes), V_(set)(normaliser));
        V_(store_n)(dx + k, V_(flush)(V_(mul)(V_(sub)(p, tk), V_(set)(scale))), lanes);
    }
    if (r->target) dx[class] = at_class;
    return loss;
}

/* Rows with weights, a smoothed target, or some of them ignored. */
static void T_(weighted_rows)(void *context, int64_t begin, int64_t end) {
    const T_(rows) *r = context;
    for (int64_t i = begin; i < end; i++) {
        const real *x = r->x + i * r->K;
        real *dx = r->dx ? r->dx + i * r->K : NULL;
        real row_weight = r->row_weights ? r->row_weights[i] : 1;
        r->losses[i] = 0;
        r->sums[i] = 1;
        if (row_weight == 0) {
            for (int64_t k = 0; dx && k < r->K; k++) dx[k] = 0;
            continue;
        }
        real max = T_(row_max)(x, r->K), sum = T_(row_exp_sum)(x, r->K, max, dx);
        real scale = row_weight / r->total;
        if (r->target_smoothing) {
            r->losses[i] = T_(scaled_row)(r, i, max, sum, dx, scale);
        } else {
            r->losses[i] = max - x[r->target[i]];
            r->sums[i] = sum;
            if (dx) T_(row_gradient)(dx, r->K, 1 / sum, r->target[i], NULL, scale);
        }
    }
    T_(add_logs)(end - begin, r->sums + begin, r->losses + begin);
    for (int64_t i = begin; i < end && r->row_weights; i++) r->losses[i] *= r->row_weights[i];
}

/* target_scale [K] = (1 - smoothing) w and target_smoothing [K] = smoothing / K w, w the weights of
 * the classes. */
static void T_(target_factors)(int64_t K, const real *class_weight, double smoothing,
                               real *target_scale, real *target_smoothing) {
    real scale = (real)(1 - smoothing), uniform = (real)(smoothing / (double)K);
    for (int64_t k = 0; k < K; k++) {
        real weight = class_weight ? class_weight[k] : 1;
        target_scale[k] = scale * weight;
        target_smoothing[k] = uniform * weight;
    }
}

NNL_API int NNL_(CrossEntropyCriterion_updateOutput)(
    int64_t N, int64_t K, const real *input, const int64_t *target, const real *probabilities,
    real *loss, real *gradInput, const real *class_weight, const real *sample_weight,
    int64_t *bad_row, double smoothing, int64_t ignore_index, int reduction, int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || !nnl_reduction_ok(reduction, N) || K < 1 ||
        !nnl_size_ok(K, 2, sizeof(real)) || !target == !probabilities ||
        !(smoothing >= 0 && smoothing <= 1) || threads < 1) {
        return NNL_EINVAL;
    }
    int64_t bytes = N * K * (int64_t)sizeof(real), rows = N * (int64_t)sizeof *target, ignored = 0;
    if (nnl_overlap(gradInput, bytes, input, bytes) ||
        nnl_overlap(gradInput, bytes, probabilities, bytes) ||
        nnl_overlap(gradInput, bytes, target, rows)) {
        return NNL_EOVERLAP;
    }
    int status = target ? nnl_check_classes(N, K, target, ignore_index, &ignored, bad_row) : NNL_OK;
    if (status != NNL_OK) return status;
    if (!T_(weights_ok)(K, class_weight) || !T_(weights_ok)(N, sample_weight)) return NNL_EWEIGHT;
    bool scaled = smoothing != 0 || (probabilities && (class_weight || sample_weight));
    bool weighted = sample_weight || ignored || (target && class_weight);
    int64_t numbers = N * (weighted ? 3 : 2) + (scaled ? 2 * K : 0);
    real few[NNL_FEW], *losses = nnl_scratch(few, sizeof few, numbers, sizeof(real));
    if (!losses) return NNL_ENOMEM;
    T_(rows) r = {.K = K, .x = input, .target = target, .probabilities = probabilities};
    r.losses = losses;
    r.sums = losses + N;
    r.dx = gradInput;
    real total = (real)N, *buffer = losses + 2 * N;
    if (weighted) {
        T_(row_weights)(N, target, class_weight, sample_weight, ignore_index, buffer);
        total = T_(sum)(buffer, N);
        /* A smoothed target counts even where its class weighs 0, but there is no mean when every
         * row weighs 0. */
        bool none = reduction == NNL_MEAN && total == 0;
        if (scaled && !none) T_(row_weights)(N, target, NULL, sample_weight, ignore_index, buffer);
        r.row_weights = buffer;
        buffer += N;
    }
    if (scaled) {
        T_(target_factors)(K, class_weight, smoothing, buffer, buffer + K);
        r.target_scale = buffer;
        r.target_smoothing = buffer + K;
    }
    r.total = reduction == NNL_MEAN ? total : 1;
    nnl_parallel_for(N, nnl_row_grain(K), threads,
                     weighted || scaled ? T_(weighted_rows) : T_(cross_entropy_rows), &r);
    real sum = T_(sum)(losses, N);
    loss[0] = reduction == NNL_MEAN ? sum / total : sum;
    loss[1] = total;
    nnl_end_scratch(losses, few);
    return NNL_OK;
}

int NNL_(op_cross_entropy)(const nnl_work *w) {
    const nnl_call *c = w->call;
    const void *target = w->at[NNL_B];
    return NNL_(CrossEntropyCriterion_updateOutput)(
        w->size[0], w->size[3], w->at[NNL_A], c->flag ? NULL : target, c->flag ? target : NULL,
        w->at[NNL_OUT], w->at[NNL_OUT2], w->at[NNL_C], w->at[NNL_D], w->bad_row, c->number,
        c->integer, c->reduction, w->threads);
}

#endif
