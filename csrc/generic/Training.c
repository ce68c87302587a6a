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
#include "call.h"
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

/* False where no row has a share in the loss: nothing is to be learnt. loss [2]: the loss, and its rows'
 * weight, which is 0 also for smoothed targets of classes that weigh 0; but their sum is not. */
static bool T_(counts)(const nnl_loss *l, const real *loss) {
    return loss[1] != 0 || (l->reduction == NNL_SUM && loss[0] != 0);
}

/* Adds one batch's loss and right rows to the sums. */
static void T_(add_sums)(const nnl_loss *l, int64_t N, const void *target, const real *loss,
                         int64_t correct, nnl_sums *sums) {
    bool mean = l->reduction == NNL_MEAN;
    double counted = mean ? (double)loss[0] * (double)loss[1] : (double)loss[0];
    if (T_(counts)(l, loss)) sums->loss += counted;
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

#include "generic/batch.h"
#include "generic/early_update.h"

/* The batch through all layers, and its loss. */
static int T_(alone_forward)(nnl_training *t, const T_(batch) *b, real *loss, int threads) {
    const nnl_step *last = &t->steps[t->count - 1];
    int status = b->order ? T_(gather_inputs)(t, b, t->input) : NNL_OK;
    if (status == NNL_OK) status = T_(forward)(t, 0, b, 0, b->N, threads);
    if (status != NNL_OK) return status;
    return T_(run_loss)(&t->loss, b->N, last->outputs, last->output, b->target, b->weight, loss,
                        last->gradOutput, &t->bad_row, threads);
}

/* From the gradient of the last output down to the first layer that is trained; a large weight is
 * updated at once, where `update` is given. */
static int T_(backward)(nnl_training *t, const T_(batch) *b, const nnl_optimizer *update,
                        int threads) {
    int64_t first = T_(first_trained)(t);
    for (int64_t i = t->count - 1; i >= first; i--) {
        const nnl_step *s = &t->steps[i];
        const real *input = T_(input_of)(t, i, b, 0);
        int status = T_(grad_input)(t, i, i == first, b, 0, b->N, threads);
        if (status == NNL_OK && T_(is_trained)(s)) {
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

/* Adds a batch to the sums, and updates all weights that are not updated yet. From here on the batch is
 * done whole: nobody stops it. */
static int T_(finish_batch)(nnl_training *t, T_(team) *m, nnl_sums *sums, const real *loss,
                            nnl_optimizer *next, double factor, bool early, int threads) {
    const nnl_step *last = &t->steps[t->count - 1];
    const T_(batch) *b = m->b;
    int64_t K = last->outputs;
    bool team = m->size > 1, counts = T_(counts)(&t->loss, loss);
    if (t->outputs) {
        int64_t row = t->position * t->batch;
        memcpy((real *)t->outputs + row * K, last->output, (size_t)(b->N * K) * sizeof(real));
    }
    int64_t correct =
        team ? T_(team_correct)(m) : T_(correct_rows)(&t->loss, b->N, K, last->output, b->target);
    T_(add_sums)(&t->loss, b->N, b->target, loss, correct, sums);
    if (!counts) return NNL_OK;
    int status = early ? NNL_OK : T_(begin_update)(t, next, &factor, threads);
    if (status != NNL_OK) return status;
    if (team) {
        T_(team_update)(m, !early, next, factor);
    } else {
        T_(update_rest)(t, !early, 1, 0, next, factor, threads);
    }
    NNL_(optimizer_end)(t->segment_count, t->segments, t->optimizer, next);
    return NNL_OK;
}

/* Learns from a batch; its loss and right rows are added to `sums`. Until a weight is updated the batch
 * may be stopped, and is then as if it had not begun. */
static int T_(learn)(nnl_training *t, T_(team) *m, nnl_sums *sums, const double *rate,
                     int threads) {
    const T_(batch) *b = m->b;
    bool team = m->size > 1;
    real loss[2];
    int status = team ? T_(team_forward)(m, loss) : T_(alone_forward)(t, b, loss, threads);
    if (status != NNL_OK) return status;
    if (nnl_stopped()) return NNL_EINTR;
    t->last_loss = (double)loss[0];
    bool counts = T_(counts)(&t->loss, loss);
    bool finite = !counts || loss[0] - loss[0] == 0;
    bool early = counts && finite && T_(has_early)(t, b->N);
    nnl_optimizer next, *update = early ? &next : NULL;
    double factor = 1;
    if (rate) t->optimizer->lr = *rate;
    if (early) status = T_(begin_update)(t, &next, &factor, threads);
    if (status != NNL_OK) return status;
    if (early) nnl_hold();
    if (counts) {
        status = team ? T_(team_backward)(m, update) : T_(backward)(t, b, update, threads);
    }
    if (!early) {
        if (status == NNL_EINTR || nnl_stopped()) return NNL_EINTR;
        nnl_hold();
    }
    for (int64_t i = 0; i < t->count; i++) t->steps[i].counter += t->steps[i].layer == NNL_DROPOUT;
    if (status == NNL_OK && !finite) status = NNL_EFINITE;
    if (status == NNL_OK) {
        status = T_(finish_batch)(t, m, sums, loss, &next, factor, early, threads);
    }
    nnl_release();
    return status;
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
        if (nnl_stopped()) return NNL_EINTR;
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
        if (t->held_out.rows > 0) {
            status = NNL_(Training_evaluate)(t, &t->held_out, &t->held_sums[ended], threads);
            if (status != NNL_OK) {
                t->done++; /* the batch; the position stays behind the epoch's last one */
                return status;
            }
        }
        t->position = 0;
        t->epoch++;
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
