/* Training.c: trains a recorded chain of layers: gather, forward, loss, backward, update, batch
 * after batch in one call, so that a small network costs its arithmetic and no calls from Python.
 *
 * For each batch of rows i of an epoch's order:
 *     h_0 = x_i,  h_l = f_l(h_l-1)            forward; all h are kept
 *     g = d loss(h_L, y_i) / d h_L            the loss writes it in its own pass
 *     g = g df_l/dh_l-1, for l = L..1         backward, and d parameters; not below the first weight
 *     w = update(w, d parameters)             optimiser
 * Every part is the kernel that the layers call one by one, so the bits are theirs. The buffers
 * belong to the caller and are allocated once for each batch size. */
#ifndef NNL_GENERIC_PASS

#include "small_code.h"

#include <math.h>
#include <string.h>

#include "base.h"
#include "gemm/gemm.h"
#include "generic/pace.h"
#include "generic/target.h"
#include "parallel.h"
#include "random.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

/* Rows that an evaluation takes at once, as nnlite.Trainer's does. */
#define NNL_EVALUATION_ROWS 4096

/* The stream of the order of rows (nnlite/data/_order.py). */
#define NNL_PURPOSE_SHUFFLE 2

/* A batch may be shared by threads that get so much work each, in multiply-adds of vectors, and at least
 * so many rows; and by so many threads at most. */
#define NNL_TEAM_WORK 15000.0
#define NNL_TEAM_ROWS 8
#define NNL_TEAM 16

#define NNL_GENERIC_FILE "generic/Training.c"
#include "dtype.h"
#else

#include "generic/batch_parts.h"
#include "generic/rows.h"
#include "generic/step.h"

/* Adds one batch's loss and right rows to the sums. loss [2]: the loss, and its rows' weight. */
static void T_(add_sums)(const nnl_loss *l, int64_t N, const void *target, const real *loss,
                         int64_t correct, nnl_sums *sums) {
    bool mean = l->reduction == NNL_MEAN;
    if (loss[1] != 0) sums->loss += mean ? (double)loss[0] * (double)loss[1] : (double)loss[0];
    sums->weight += (double)loss[1];
    sums->correct += correct;
    for (int64_t i = 0; l->classes && i < N; i++) {
        sums->counted += ((const int64_t *)target)[i] != l->ignore_index;
    }
}

/* Rows of the output that are right; 0 where targets are no classes. */
static int64_t T_(correct_rows)(const nnl_loss *l, int64_t N, int64_t K, const real *output,
                                const void *target) {
    int64_t correct = 0;
    if (l->classes) NNL_(count_correct)(N, K, output, target, l->ignore_index, &correct);
    return correct;
}

/* loss [OUT] [2]; grad [OUT] [N, K] or NULL: the gradient of the loss by the output. */
static int T_(run_loss)(const nnl_loss *l, int64_t N, int64_t K, const real *output,
                        const void *target, const real *weight, real *loss, real *grad,
                        int64_t *bad_row, int threads) {
    const int64_t *classes = l->classes ? target : NULL;
    const real *values = l->classes ? NULL : target;
    int status;
    switch (l->criterion) {
        case NNL_CROSS_ENTROPY:
            return NNL_(CrossEntropyCriterion_updateOutput)(
                N, K, output, classes, values, loss, grad, l->class_weight, weight, bad_row,
                l->smoothing, l->ignore_index, l->reduction, threads);
        case NNL_NLL:
            status = NNL_(ClassNLLCriterion_updateOutput)(N, K, output, classes, loss,
                                                          l->class_weight, weight, bad_row,
                                                          l->ignore_index, l->reduction);
            if (status != NNL_OK || !grad) return status;
            return NNL_(ClassNLLCriterion_updateGradInput)(N, K, classes, grad, l->class_weight,
                                                           weight, bad_row, 1, l->ignore_index,
                                                           l->reduction);
        case NNL_MSE:
            status = NNL_(MSECriterion_updateOutput)(N, K, output, values, loss, weight,
                                                     l->reduction, threads);
            if (status != NNL_OK || !grad) return status;
            return NNL_(MSECriterion_updateGradInput)(N, K, output, values, grad, weight, 1,
                                                      l->reduction, threads);
        default: return NNL_EINVAL;
    }
}

/* One batch as the kernels take it. */
typedef struct {
    int64_t N;
    const int64_t *order; /* the rows' numbers in the data; NULL: as they lie, and not copied */
    const real *input, *weight;
    const void *target;
} T_(batch);

/* Numbers [row, row + N) of the order, in the subset where there is one, to t->index; false where
 * one is out of range. */
static bool T_(take_order)(nnl_training *t, int64_t row, int64_t N) {
    const nnl_data *d = &t->data;
    for (int64_t i = 0; i < N; i++) {
        int64_t at = t->order_bytes == 4 ? ((const uint32_t *)t->order)[row + i]
                                         : ((const int64_t *)t->order)[row + i];
        if (d->subset && (at < 0 || at >= d->rows)) {
            t->bad_row = i;
            return false;
        }
        t->index[i] = d->subset ? d->subset[at] : at;
    }
    return true;
}

/* Rows [row, row + N) of an order, or of the data as they lie: all of them but the inputs. */
static int T_(begin_batch)(nnl_training *t, int64_t row, T_(batch) *b) {
    const nnl_data *d = &t->data;
    int64_t columns = t->steps[t->count - 1].outputs;
    b->N = nnl_min(t->batch, d->rows - row);
    b->order = NULL;
    if (!t->order && !d->subset) {
        b->input = (const real *)d->input + row * t->steps[0].inputs;
        b->weight = d->weight ? (const real *)d->weight + row : NULL;
        b->target = t->loss.classes ? (const void *)((const int64_t *)d->target + row)
                                    : (const void *)((const real *)d->target + row * columns);
        return NNL_OK;
    }
    const int64_t *order = d->subset + row;
    if (t->order) {
        if (!T_(take_order)(t, row, b->N)) return NNL_EINDEX;
        order = t->index;
    }
    b->order = order;
    b->input = t->input;
    b->weight = d->weight ? t->weight : NULL;
    b->target = t->target;
    int status = nnl_check_targets(b->N, d->source, order, &t->bad_row);
    if (status == NNL_OK && d->weight) {
        status = NNL_(gather_rows)(b->N, 1, d->source, d->weight, order, t->weight, &t->bad_row);
    }
    if (status == NNL_OK && !t->loss.classes) {
        return NNL_(gather_rows)(b->N, columns, d->source, d->target, order, t->target,
                                 &t->bad_row);
    }
    for (int64_t i = 0; status == NNL_OK && i < b->N; i++) {
        ((int64_t *)t->target)[i] = ((const int64_t *)d->target)[order[i]];
    }
    return status;
}

/* What layer i takes in, from row `begin` of the batch on; and the gradient of the loss by what it
 * gives, in its place. */
static const real *T_(input_of)(const nnl_training *t, int64_t i, const T_(batch) *b,
                                int64_t begin) {
    return (i > 0 ? (const real *)t->steps[i - 1].output : b->input) + begin * t->steps[i].inputs;
}
static real *T_(grad_of)(const nnl_step *s, int64_t begin) {
    return (real *)s->gradOutput + begin * s->outputs;
}

/* A Dropout, forward or backward, on N rows from row `begin` of the batch on. */
static int T_(drop)(const nnl_step *s, int64_t begin, int64_t N, const real *input, real *output,
                    int threads) {
    return NNL_(dropout_part)(begin * s->inputs, N * s->inputs, input, output, s->rate, s->seed,
                              s->purpose, s->counter, threads);
}

/* N rows of the batch from row `begin` on through the layers from `first` on. */
static int T_(forward)(nnl_training *t, int64_t first, const T_(batch) *b, int64_t begin, int64_t N,
                       int threads) {
    for (int64_t i = first; i < t->count; i++) {
        const nnl_step *s = &t->steps[i];
        const real *input = T_(input_of)(t, i, b, begin);
        real *output = (real *)s->output + begin * s->outputs;
        int status = s->layer == NNL_DROPOUT ? T_(drop)(s, begin, N, input, output, threads)
                                             : T_(run_step)(s, N, input, output, threads);
        if (status != NNL_OK) return status;
    }
    return NNL_OK;
}

/* grad [INOUT] [n]: by an activation's output -> by its input. */
static int T_(through_activation)(int activation, int64_t n, const real *output, real *grad,
                                  int threads) {
    switch (activation) {
        case NNL_RELU: return NNL_(Threshold_updateGradInput)(n, output, grad, grad, 0, threads);
        case NNL_SIGMOID: return NNL_(Sigmoid_updateGradInput)(n, output, grad, grad, threads);
        case NNL_TANH: return NNL_(Tanh_updateGradInput)(n, output, grad, grad, threads);
        default: return NNL_OK;
    }
}

/* A layer without parameters backward, N rows from row `begin` of the batch on: grad [N, outputs] ->
 * next [N, inputs], which may be grad for all but the softmaxes. */
static int T_(plain_backward)(const nnl_step *s, int64_t begin, int64_t N, const real *input,
                              const real *output, const real *grad, real *next, int threads) {
    int64_t n = N * s->inputs;
    bool relu = s->threshold == 0 && s->value == 0; /* the output is then positive like the input */
    switch (s->layer) {
        case NNL_THRESHOLD:
            return NNL_(Threshold_updateGradInput)(n, relu ? output : input, grad, next,
                                                   (real)s->threshold, threads);
        case NNL_LAYER_SIGMOID:
            return NNL_(Sigmoid_updateGradInput)(n, output, grad, next, threads);
        case NNL_LAYER_TANH: return NNL_(Tanh_updateGradInput)(n, output, grad, next, threads);
        case NNL_DROPOUT: return T_(drop)(s, begin, N, grad, next, threads);
        case NNL_SOFTMAX:
            return NNL_(SoftMax_updateGradInput)(N, s->inputs, output, grad, next, threads);
        case NNL_LOGSOFTMAX:
            return NNL_(LogSoftMax_updateGradInput)(N, s->inputs, output, grad, next, threads);
        default: return NNL_EINVAL;
    }
}

/* The first layer with weights: no gradient is needed below it. */
static int64_t T_(first_linear)(const nnl_training *t) {
    int64_t first = 0;
    while (first < t->count && t->steps[first].layer != NNL_LINEAR) first++;
    return first;
}

/* N rows from row `begin` on: from the gradient of layer i's output to that of its input, which is
 * the output of layer i - 1. Between two Linears the activation of the lower one goes with the
 * product. */
static int T_(grad_input)(nnl_training *t, int64_t i, bool lowest, const T_(batch) *b,
                          int64_t begin, int64_t N, int threads) {
    const nnl_step *s = &t->steps[i];
    const real *input = T_(input_of)(t, i, b, begin);
    const real *output = (const real *)s->output + begin * s->outputs;
    real *grad = T_(grad_of)(s, begin), *next = lowest ? NULL : T_(grad_of)(s - 1, begin);
    if (s->layer != NNL_LINEAR) {
        return T_(plain_backward)(s, begin, N, input, output, grad, next, threads);
    }
    bool through = i + 1 < t->count && s[1].layer == NNL_LINEAR;
    int activation = through ? NNL_IDENTITY : s->activation;
    int status = T_(through_activation)(activation, N * s->outputs, output, grad, threads);
    if (status != NNL_OK || lowest) return status;
    int below = s[-1].layer == NNL_LINEAR ? s[-1].activation : NNL_IDENTITY;
    return NNL_(Linear_updateGradInput)(N, s->inputs, s->outputs, grad, next, s->weight,
                                        below ? input : NULL, below, threads);
}

/* Rows [d0, d1) of the gradient of a Linear's weight, at gradWeight; and with row 0, of its bias. As
 * accGradParameters adds to zeros; but the zeros of the weights are neither written nor read. */
static int T_(grad_weight)(const nnl_step *s, int64_t d0, int64_t d1, int64_t N, const real *input,
                           real *gradWeight, int threads) {
    int64_t D = s->inputs, K = s->outputs;
    real *sums = d0 == 0 ? s->gradBias : NULL;
    if (sums) memset(sums, 0, (size_t)K * sizeof(real));
    return NNL_(gemm_and_sums)(d1 - d0, K, N, input + d0, 1, D, s->gradOutput, K, 1, gradWeight, K,
                               NULL, NULL, sums, 0, NNL_IDENTITY, threads);
}

#include "generic/early_update.h"

/* The batch through all layers, and its loss. */
static int T_(alone_forward)(nnl_training *t, const T_(batch) *b, real *loss, int threads) {
    const nnl_step *last = &t->steps[t->count - 1];
    int status = NNL_OK;
    if (b->order) {
        status = NNL_(gather_rows)(b->N, t->steps[0].inputs, t->data.source, t->data.input,
                                   b->order, t->input, &t->bad_row);
    }
    if (status == NNL_OK) status = T_(forward)(t, 0, b, 0, b->N, threads);
    if (status != NNL_OK) return status;
    return T_(run_loss)(&t->loss, b->N, last->outputs, last->output, b->target, b->weight, loss,
                        last->gradOutput, &t->bad_row, threads);
}

/* From the gradient of the last output down to the first layer with weights; a large weight is
 * updated at once, where `update` is given. */
static int T_(backward)(nnl_training *t, const T_(batch) *b, const nnl_optimizer *update,
                        int threads) {
    int64_t first = T_(first_linear)(t);
    for (int64_t i = t->count - 1; i >= first; i--) {
        const nnl_step *s = &t->steps[i];
        const real *input = T_(input_of)(t, i, b, 0);
        int status = T_(grad_input)(t, i, i == first, b, 0, b->N, threads);
        if (status == NNL_OK && s->layer == NNL_LINEAR) {
            status = update && T_(is_early)(t, s)
                         ? T_(update_large)(t, s, b->N, input, update, threads)
                         : T_(grad_weight)(s, 0, s->inputs, b->N, input, s->gradWeight, threads);
        }
        if (status != NNL_OK) return status;
    }
    return NNL_OK;
}

#include "generic/team.h"

static int T_(begin_update)(nnl_training *t, nnl_optimizer *next, double *factor, int threads) {
    return NNL_(optimizer_begin)(t->segment_count, t->segments, t->optimizer, next, factor,
                                 threads);
}

/* Learns from a batch; its loss and right rows are added to `sums`. */
static int T_(learn)(nnl_training *t, T_(team) *m, nnl_sums *sums, const double *rate,
                     int threads) {
    const nnl_step *last = &t->steps[t->count - 1];
    const T_(batch) *b = m->b;
    int64_t K = last->outputs;
    bool team = m->size > 1;
    real loss[2];
    int status = team ? T_(team_forward)(m, loss) : T_(alone_forward)(t, b, loss, threads);
    if (status != NNL_OK) return status;
    t->last_loss = (double)loss[0];
    bool counts = loss[1] != 0; /* else no row has a weight: nothing to learn */
    bool finite = !counts || loss[0] - loss[0] == 0;
    bool early = counts && finite && T_(has_early)(t);
    nnl_optimizer next, *update = early ? &next : NULL;
    double factor;
    if (rate) t->optimizer->lr = *rate;
    if (early) status = T_(begin_update)(t, &next, &factor, threads);
    if (status != NNL_OK) return status;
    if (counts) {
        status = team ? T_(team_backward)(m, update) : T_(backward)(t, b, update, threads);
    }
    for (int64_t i = 0; i < t->count; i++) t->steps[i].counter += t->steps[i].layer == NNL_DROPOUT;
    if (status != NNL_OK) return status;
    if (!finite) return NNL_EFINITE;
    if (t->outputs) {
        int64_t row = t->position * t->batch;
        memcpy((real *)t->outputs + row * K, last->output, (size_t)(b->N * K) * sizeof(real));
    }
    int64_t correct =
        team ? T_(team_correct)(m) : T_(correct_rows)(&t->loss, b->N, K, last->output, b->target);
    T_(add_sums)(&t->loss, b->N, b->target, loss, correct, sums);
    if (!counts) return NNL_OK;
    if (!early) status = T_(begin_update)(t, &next, &factor, threads);
    if (status != NNL_OK) return status;
    if (team) {
        T_(team_update)(m, !early, &next, factor);
    } else {
        T_(update_rest)(t, !early, 1, 0, &next, factor, threads);
    }
    *t->optimizer = next;
    return NNL_OK;
}

/* The batch at t->position. */
static int T_(train_batch)(nnl_training *t, nnl_sums *sums, const double *rate, int threads) {
    T_(batch) b;
    int status = T_(begin_batch)(t, t->position * t->batch, &b);
    if (status != NNL_OK) return status;
    T_(team) m = {.t = t, .b = &b, .size = T_(team_size)(t, &b, threads)};
    bool choice = m.size > 1, share = choice, trial = choice && nnl_begin_turn(&t->pace, &share);
    if (!share) m.size = 1;
    t->shared = (int32_t)m.size;
    double start = trial ? nnl_seconds() : 0;
    status = T_(learn)(t, &m, sums, rate, threads);
    if (choice) nnl_end_turn(&t->pace, trial ? (nnl_seconds() - start) / (double)b.N : 0);
    return status;
}

NNL_API int NNL_(Training_evaluate)(nnl_training *t, const nnl_data *data, nnl_sums *sums,
                                    int threads) {
    const nnl_step *first = t->steps, *last = &t->steps[t->count - 1];
    nnl_sums found = {0};
    for (int64_t row = 0; row < data->rows; row += NNL_EVALUATION_ROWS) {
        int64_t N = nnl_min(NNL_EVALUATION_ROWS, data->rows - row), columns = last->outputs;
        const void *target = t->loss.classes
                                 ? (const void *)((const int64_t *)data->target + row)
                                 : (const void *)((const real *)data->target + row * columns);
        const real *weight = data->weight ? (const real *)data->weight + row : NULL;
        real loss[2];
        int status = NNL_(Program_updateOutput)(N, t->count, t->steps,
                                                (const real *)data->input + row * first->inputs,
                                                t->held_output, threads);
        if (status == NNL_OK) {
            status = T_(run_loss)(&t->loss, N, columns, t->held_output, target, weight, loss, NULL,
                                  &t->bad_row, threads);
        }
        if (status != NNL_OK) return status;
        int64_t correct = T_(correct_rows)(&t->loss, N, columns, t->held_output, target);
        T_(add_sums)(&t->loss, N, target, loss, correct, &found);
    }
    *sums = found;
    return NNL_OK;
}

/* One network's batches; an epoch that ends is evaluated, and the next begins. */
static int T_(train)(nnl_training *t, int threads) {
    int64_t batches = nnl_ceil_div(t->data.rows, t->batch), ended = 0;
    for (t->done = 0; t->done < t->todo; t->done++) {
        if (t->position == 0 && t->shuffle) {
            int status = nnl_random_permutation(t->data.rows, t->order, t->order_bytes, t->seed,
                                                NNL_PURPOSE_SHUFFLE, (uint32_t)t->epoch);
            if (status != NNL_OK) return status;
        }
        int status =
            T_(train_batch)(t, &t->sums[ended], t->rates ? t->rates + t->done : NULL, threads);
        if (status != NNL_OK) return status;
        if (++t->position < batches) continue;
        t->position = 0;
        t->epoch++;
        if (t->held_out.rows > 0) {
            status = NNL_(Training_evaluate)(t, &t->held_out, &t->held_sums[ended], threads);
            if (status != NNL_OK) return status;
        }
        ended++;
    }
    return NNL_OK;
}

typedef struct {
    nnl_training *const *trainings;
    int threads;
} T_(trainings);

static void T_(train_each)(void *context, int64_t begin, int64_t end) {
    const T_(trainings) *all = context;
    for (int64_t i = begin; i < end; i++) {
        all->trainings[i]->status = T_(train)(all->trainings[i], all->threads);
    }
}

static bool T_(training_ok)(const nnl_training *t) {
    const nnl_data *sets[] = {&t->data, &t->held_out};
    if (t->count < 1 || t->batch < 1 || t->data.rows < 1 || t->data.source < 1 || t->todo < 0 ||
        t->position < 0 || t->position * t->batch >= t->data.rows || (t->shuffle && !t->order) ||
        (t->order && t->order_bytes != 4 && t->order_bytes != 8)) {
        return false;
    }
    for (int64_t i = 0; i < t->count; i++) {
        const nnl_step *s = &t->steps[i];
        int64_t rows = nnl_max(t->batch, NNL_EVALUATION_ROWS);
        if (!nnl_size_ok(rows, s->inputs, sizeof(real)) ||
            !nnl_size_ok(rows, s->outputs, sizeof(real)) ||
            !nnl_size_ok(s->inputs, s->outputs, sizeof(real)) ||
            (i > 0 && s->inputs != s[-1].outputs)) {
            return false;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (!nnl_size_ok(sets[i]->source, t->steps[0].inputs, sizeof(real)) ||
            !nnl_size_ok(sets[i]->source, t->steps[t->count - 1].outputs, sizeof(real))) {
            return false;
        }
    }
    return true;
}

NNL_API int NNL_(Training_run)(int64_t models, nnl_training *const *trainings, int threads) {
    if (models < 0 || threads < 1) return NNL_EINVAL;
    for (int64_t i = 0; i < models; i++) {
        trainings[i]->done = 0;
        if (!T_(training_ok)(trainings[i])) return NNL_EINVAL;
    }
    T_(trainings) all = {trainings, models > 1 ? 1 : threads};
    nnl_parallel_each(models, threads, T_(train_each), &all);
    for (int64_t i = 0; i < models; i++) {
        if (trainings[i]->status != NNL_OK) return trainings[i]->status;
    }
    return NNL_OK;
}

NNL_API int NNL_(Training_step)(nnl_training *t, int64_t N, const real *input, const void *target,
                                int threads) {
    t->data.rows = t->data.source = N;
    t->data.input = input;
    t->data.target = target;
    return NNL_(Training_run)(1, &t, threads);
}

#endif
