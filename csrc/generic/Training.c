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

#include <string.h>

#include "base.h"
#include "gemm/gemm.h"
#include "generic/target.h"
#include "parallel.h"
#include "random.h"
#include "vec/vec.h"

/* Rows that an evaluation takes at once, as nnlite.Trainer's does. */
#define NNL_EVALUATION_ROWS 4096

/* The stream of the order of rows (nnlite/data/_order.py). */
#define NNL_PURPOSE_SHUFFLE 2

#define NNL_GENERIC_FILE "generic/Training.c"
#include "dtype.h"
#else

#include "generic/large_weights.h"
#include "generic/step.h"

/* Adds one batch's loss and right rows to the sums. loss [2]: the loss, and its rows' weight. */
static int T_(add_sums)(const nnl_loss *l, int64_t N, int64_t K, const real *output,
                        const void *target, const real *loss, nnl_sums *sums) {
    bool mean = l->reduction == NNL_MEAN;
    if (loss[1] != 0) sums->loss += mean ? (double)loss[0] * (double)loss[1] : (double)loss[0];
    sums->weight += (double)loss[1];
    if (!l->classes) return NNL_OK;
    int64_t correct;
    int status = NNL_(count_correct)(N, K, output, target, l->ignore_index, &correct);
    sums->correct += correct;
    for (int64_t i = 0; i < N; i++) {
        sums->counted += ((const int64_t *)target)[i] != l->ignore_index;
    }
    return status;
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
    const real *input, *weight;
    const void *target;
} T_(batch);

/* Rows [row, row + N) of an order, or of the data as they lie, which are then not copied. */
static int T_(gather)(nnl_training *t, int64_t row, T_(batch) *b) {
    const nnl_data *d = &t->data;
    int64_t width = t->steps[0].inputs, columns = t->steps[t->count - 1].outputs;
    b->N = nnl_min(t->batch, d->rows - row);
    if (!t->order && !d->subset) {
        b->input = (const real *)d->input + row * width;
        b->weight = d->weight ? (const real *)d->weight + row : NULL;
        b->target = t->loss.classes ? (const void *)((const int64_t *)d->target + row)
                                    : (const void *)((const real *)d->target + row * columns);
        return NNL_OK;
    }
    const int64_t *order = t->order ? t->order + row : d->subset + row;
    if (t->order && d->subset) {
        for (int64_t i = 0; i < b->N; i++) {
            if (order[i] < 0 || order[i] >= d->rows) {
                t->bad_row = i;
                return NNL_EINDEX;
            }
            t->index[i] = d->subset[order[i]];
        }
        order = t->index;
    }
    b->input = t->input;
    b->weight = d->weight ? t->weight : NULL;
    b->target = t->target;
    int status = NNL_(gather_rows)(b->N, width, d->source, d->input, order, t->input, &t->bad_row);
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

static int T_(forward)(nnl_training *t, const T_(batch) *b, int threads) {
    const real *input = b->input;
    for (int64_t i = 0; i < t->count; i++) {
        const nnl_step *s = &t->steps[i];
        int status =
            s->layer == NNL_DROPOUT
                ? NNL_(Dropout_updateOutput)(b->N * s->inputs, input, s->output, (real)s->rate,
                                             s->seed, s->purpose, s->counter, threads)
                : T_(run_step)(s, b->N, input, s->output, threads);
        if (status != NNL_OK) return status;
        input = s->output;
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

/* A Linear backward: the gradient of its input into `next`, if asked, with the input's activation in
 * the same pass where a Linear made it; and those of its parameters, or of a large weight its update,
 * where `update` is given. */
static int T_(linear_backward)(const nnl_training *t, const nnl_step *s, const nnl_step *before,
                               int64_t N, const real *input, const real *grad, real *next,
                               const nnl_optimizer *update, int threads) {
    if (next) {
        int activation = before && before->layer == NNL_LINEAR ? before->activation : NNL_IDENTITY;
        int status = NNL_(Linear_updateGradInput)(N, s->inputs, s->outputs, grad, next, s->weight,
                                                  activation ? input : NULL, activation, threads);
        if (status != NNL_OK) return status;
    }
    /* As accGradParameters adds to zeros; but the zeros of the weights are neither written nor read. */
    if (s->gradBias) memset(s->gradBias, 0, (size_t)s->outputs * sizeof(real));
    if (update && T_(is_large)(s)) return T_(update_large)(t, s, N, input, grad, update, threads);
    return NNL_(gemm_and_sums)(s->inputs, s->outputs, N, input, 1, s->inputs, grad, s->outputs, 1,
                               s->gradWeight, s->outputs, NULL, NULL, s->gradBias, 0, NNL_IDENTITY,
                               threads);
}

/* A layer without parameters backward: in place, or into `next`, which `moved` then tells. */
static int T_(plain_backward)(const nnl_step *s, int64_t N, const real *input, real *grad,
                              real *next, bool *moved, int threads) {
    int64_t n = N * s->inputs;
    bool relu = s->threshold == 0 && s->value == 0; /* the output is then positive like the input */
    switch (s->layer) {
        case NNL_THRESHOLD:
            return NNL_(Threshold_updateGradInput)(n, relu ? s->output : input, grad, grad,
                                                   (real)s->threshold, threads);
        case NNL_LAYER_SIGMOID:
            return T_(through_activation)(NNL_SIGMOID, n, s->output, grad, threads);
        case NNL_LAYER_TANH: return T_(through_activation)(NNL_TANH, n, s->output, grad, threads);
        case NNL_DROPOUT:
            return NNL_(Dropout_updateGradInput)(n, grad, grad, (real)s->rate, s->seed, s->purpose,
                                                 s->counter, threads);
        case NNL_SOFTMAX:
            *moved = true;
            return NNL_(SoftMax_updateGradInput)(N, s->inputs, s->output, grad, next, threads);
        case NNL_LOGSOFTMAX:
            *moved = true;
            return NNL_(LogSoftMax_updateGradInput)(N, s->inputs, s->output, grad, next, threads);
        default: return NNL_EINVAL;
    }
}

/* From the gradient of the last output, in t->grad[0], down to the first layer with weights. */
static int T_(backward)(nnl_training *t, const T_(batch) *b, const nnl_optimizer *update,
                        int threads) {
    int64_t first = 0;
    while (first < t->count && t->steps[first].layer != NNL_LINEAR) first++;
    real *grad = t->grad[0], *next = t->grad[1];
    bool through = false; /* the layer after has taken the gradient through this one's activation */
    for (int64_t i = t->count - 1; i >= first; i--) {
        const nnl_step *s = &t->steps[i], *before = i > 0 ? s - 1 : NULL;
        const real *input = before ? before->output : b->input;
        bool moved = false;
        int status;
        if (s->layer == NNL_LINEAR) {
            int activation = through ? NNL_IDENTITY : s->activation;
            status =
                T_(through_activation)(activation, b->N * s->outputs, s->output, grad, threads);
            moved = i > first;
            if (status == NNL_OK) {
                status = T_(linear_backward)(t, s, before, b->N, input, grad, moved ? next : NULL,
                                             update, threads);
            }
        } else {
            status = T_(plain_backward)(s, b->N, input, grad, next, &moved, threads);
        }
        if (status != NNL_OK) return status;
        through = s->layer == NNL_LINEAR && before && before->layer == NNL_LINEAR;
        if (moved) {
            real *other = grad;
            grad = next;
            next = other;
        }
    }
    return NNL_OK;
}

/* The batch at t->position; its loss and right rows are added to `sums`. */
static int T_(train_batch)(nnl_training *t, nnl_sums *sums, const double *rate, int threads) {
    const nnl_step *last = &t->steps[t->count - 1];
    int64_t row = t->position * t->batch;
    T_(batch) b;
    real loss[2];
    int status = T_(gather)(t, row, &b);
    if (status == NNL_OK) status = T_(forward)(t, &b, threads);
    if (status == NNL_OK) {
        status = T_(run_loss)(&t->loss, b.N, last->outputs, last->output, b.target, b.weight, loss,
                              t->grad[0], &t->bad_row, threads);
    }
    if (status != NNL_OK) return status;
    t->last_loss = (double)loss[0];
    bool counts = loss[1] != 0; /* else no row has a weight: nothing to learn */
    bool finite = !counts || loss[0] - loss[0] == 0;
    bool parts = counts && finite && T_(updates_in_backward)(t);
    nnl_optimizer next;
    if (rate) t->optimizer->lr = *rate;
    if (parts) {
        status = NNL_(optimizer_begin)(t->segment_count, t->segments, t->optimizer, &next);
        if (status != NNL_OK) return status;
    }
    if (counts) status = T_(backward)(t, &b, parts ? &next : NULL, threads);
    for (int64_t i = 0; i < t->count; i++) t->steps[i].counter += t->steps[i].layer == NNL_DROPOUT;
    if (status != NNL_OK) return status;
    if (!finite) return NNL_EFINITE;
    if (t->outputs) {
        memcpy((real *)t->outputs + row * last->outputs, last->output,
               (size_t)(b.N * last->outputs) * sizeof(real));
    }
    status = T_(add_sums)(&t->loss, b.N, last->outputs, last->output, b.target, loss, sums);
    if (status != NNL_OK || !counts) return status;
    if (parts) {
        T_(update_rest)(t, &next, threads);
        *t->optimizer = next;
        return NNL_OK;
    }
    return NNL_(Optimizer_update)(t->segment_count, t->segments, t->optimizer, threads);
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
        if (status == NNL_OK) {
            status = T_(add_sums)(&t->loss, N, columns, t->held_output, target, loss, &found);
        }
        if (status != NNL_OK) return status;
    }
    *sums = found;
    return NNL_OK;
}

/* One network's batches; an epoch that ends is evaluated, and the next begins. */
static int T_(train)(nnl_training *t, int threads) {
    int64_t batches = nnl_ceil_div(t->data.rows, t->batch), ended = 0;
    for (t->done = 0; t->done < t->todo; t->done++) {
        if (t->position == 0 && t->shuffle) {
            int status = nnl_random_permutation(t->data.rows, t->order, t->seed,
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
        t->position < 0 || t->position * t->batch >= t->data.rows || (t->shuffle && !t->order)) {
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

#endif
