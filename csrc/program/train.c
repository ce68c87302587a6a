/* train.c: a schedule: trains a recorded network: gather, forward, loss, backward, update, batch
 * after batch in one call, so that a small network costs its arithmetic and no calls from Python.
 *
 * For each batch of rows of an epoch's order:
 *     run the program of a step       forward, the loss, and the gradients of all parameters
 *     w = update(w, d parameters)     optimiser
 * The calls are the kernels that eager training calls one by one, so the bits are its. The buffers
 * belong to the caller and are allocated once for each batch size. */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <math.h>
#include <string.h>

#include "core/autotune.h"
#include "core/base.h"
#include "core/entry.h"
#include "gemm/gemm.h"
#include "losses/target.h"
#include "core/parallel.h"
#include "program/call.h"
#include "program/run.h"
#include "core/random.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

/* Rows that an evaluation takes at once, as nnlite.Trainer's does. */
#define NNL_EVALUATION_ROWS 4096

/* The stream of the order of rows (nnlite/data/_order.py). */
#define NNL_PURPOSE_SHUFFLE 2

/* A batch is split over threads that get at least this many vector FMAs and rows each, and over at
 * most this many threads. */
#define NNL_BATCH_PARALLEL_FMAS 15000.0
#define NNL_BATCH_PARALLEL_ROWS 8
#define NNL_BATCH_PARALLEL_THREADS 16

#define NNL_GENERIC_FILE "program/train.c"
#include "core/dtype.h"
#else

#include "program/batch_parts.inc"
#include "layers/rows.inc"

/* One batch as the kernels take it. */
typedef struct {
    int64_t N;
    const int64_t *order; /* the rows' numbers in the data; NULL: as they lie, and not copied */
    const real *input, *weight;
    const void *target;
} T_(batch);

#include "program/sparse.inc"

/* Numbers [row, row + N) of the order, in the subset where there is one, to t->index; false where
 * one is out of range. */
static bool T_(take_order)(nnl_training *t, int64_t row, int64_t N) {
    const nnl_data *d = &t->data;
    int64_t first = row + t->orders_done * t->order_step;
    for (int64_t i = 0; i < N; i++) {
        int64_t at = t->order_bytes == 4 ? ((const uint32_t *)t->order)[first + i]
                                         : ((const int64_t *)t->order)[first + i];
        if (d->subset && (at < 0 || at >= d->rows)) {
            t->bad_row = i;
            return false;
        }
        t->index[i] = d->subset ? d->subset[at] : at;
    }
    return true;
}

/* Target `row` of some data. */
static const void *T_(target_at)(const nnl_training *t, const nnl_data *d, int64_t row) {
    return t->target_size ? (const void *)((const real *)d->target + row * t->target_size)
                          : (const void *)((const int64_t *)d->target + row);
}

/* Rows [row, row + N) of an order, gathered, or of the data as they lie. */
static int T_(begin_batch)(nnl_training *t, int64_t row, T_(batch) *b) {
    const nnl_data *d = &t->data;
    b->N = nnl_min(t->batch, d->rows - row);
    b->order = NULL;
    if (!t->order && !d->subset) {
        b->input = (const real *)d->input + row * t->input_size;
        b->weight = d->weight ? (const real *)d->weight + row : NULL;
        b->target = T_(target_at)(t, d, row);
        if (!d->starts) return NNL_OK;
        b->input = t->input;
        return T_(densify)(d, t->input_size, b->N, row, NULL, t->input);
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
    if (status == NNL_OK && t->target_size) {
        status = NNL_(gather_rows)(b->N, t->target_size, d->source, d->target, order, t->target,
                                   &t->bad_row);
    } else if (status == NNL_OK) {
        for (int64_t i = 0; i < b->N; i++) {
            ((int64_t *)t->target)[i] = ((const int64_t *)d->target)[order[i]];
        }
    }
    if (status != NNL_OK) return status;
    if (d->starts) return T_(densify)(d, t->input_size, b->N, 0, order, t->input);
    return NNL_(gather_rows)(b->N, t->input_size, d->source, d->input, order, t->input,
                             &t->bad_row);
}

/* False where no row has a weight in the loss: nothing is to be learnt. loss [2]: the loss, and its
 * rows' weight, which is 0 also for smoothed targets of classes that weigh 0; but their sum is
 * not. */
static bool T_(counts)(const nnl_training *t, const real *loss) {
    return loss[1] != 0 || (t->reduction == NNL_SUM && loss[0] != 0);
}

/* Adds one batch's loss and correct rows to the sums. */
static void T_(add_sums)(const nnl_training *t, int64_t N, const void *target, const real *loss,
                         int64_t correct, nnl_sums *sums) {
    bool mean = t->reduction == NNL_MEAN;
    double weight = t->by_rows ? (double)N : (double)loss[1];
    double counted = mean ? (double)loss[0] * weight : (double)loss[0];
    if (T_(counts)(t, loss)) sums->loss += counted;
    sums->weight += weight;
    sums->correct += correct;
    if (t->target_size) sums->counted += t->binary ? N : 0;
    for (int64_t i = 0; !t->target_size && i < N; i++) {
        sums->counted += ((const int64_t *)target)[i] != t->ignore_index;
    }
}

/* Rows whose outputs are above 0 where the targets are. */
static int64_t T_(correct_labels)(int64_t N, int64_t K, const real *output, const real *target) {
    int64_t correct = 0;
    for (int64_t i = 0; i < N; i++) {
        int64_t k = 0;
        while (k < K && (output[i * K + k] > 0) == (target[i * K + k] > 0)) k++;
        correct += k == K;
    }
    return correct;
}

/* Rows of the output that are correct; 0 where targets are no classes. */
static int64_t T_(correct_rows)(const nnl_training *t, int64_t N, const real *output,
                                const void *target) {
    int64_t correct = 0;
    if (!t->target_size) {
        NNL_(count_correct)(N, t->output_size, output, target, t->ignore_index, &correct);
    } else if (t->binary) {
        correct = T_(correct_labels)(N, t->output_size, output, target);
    }
    return correct;
}

/* The program for batches of N rows. */
static nnl_program *T_(program_for)(const nnl_training *t, int64_t N) {
    for (int64_t i = 0; i < t->program_count; i++) {
        if (t->programs[i].rows == 0 || t->programs[i].rows == N) return &t->programs[i];
    }
    return NULL;
}

static void T_(bind)(nnl_program *p, const void *input, const void *target, const void *weight) {
    if (p->input >= 0) p->table[p->input] = (void *)(uintptr_t)input;
    if (p->target >= 0) p->table[p->target] = (void *)(uintptr_t)target;
    if (p->weight >= 0) p->table[p->weight] = (void *)(uintptr_t)weight;
}

/* The loss of a program that has run, and the weight of its rows: loss [OUT] [2]. */
static void T_(take_loss)(const nnl_program *p, int64_t N, const real *weight, real *loss) {
    const real *result = p->table[p->loss];
    loss[0] = result[0];
    loss[1] = p->weighed ? result[1] : (real)N;
    if (!p->weighed && weight) NNL_(sum)(1, N, 1, weight, &loss[1], 1);
}

#include "program/update.inc"

#include "program/batch_parallel.inc"

#include "program/stopping.inc"

/* Calls [first, last) on the whole batch; with `next` a large weight is updated at once. */
static int T_(whole_batch_calls)(const nnl_training *t, nnl_program *p, int64_t first, int64_t last,
                                 int64_t N, const nnl_optimizer *next, int threads) {
    for (int64_t i = first; i < last; i++) {
        bool early = next && T_(is_early)(t, &p->calls[i]);
        int status = early ? T_(update_large)(t, p, &p->calls[i], N, next, threads)
                           : NNL_(run_calls)(p, i, i + 1, p->table, 0, N, N, threads);
        if (status != NNL_OK) return status;
    }
    return NNL_OK;
}

/* Adds a batch to the sums, and updates all weights that are not updated yet. From here on the
 * batch cannot be stopped. */
static int T_(finish_batch)(nnl_training *t, T_(batch_parallel) *bp, const T_(batch) *b,
                            nnl_sums *sums, const real *loss, nnl_optimizer *next, double factor,
                            bool early, int threads) {
    const real *output = bp->p->table[bp->p->output];
    if (t->outputs) {
        int64_t row = t->position * t->batch;
        memcpy((real *)t->outputs + row * t->output_size, output,
               (size_t)(b->N * t->output_size) * sizeof(real));
    }
    T_(add_sums)(t, b->N, b->target, loss, T_(correct_rows)(t, b->N, output, b->target), sums);
    sums->loss += t->by_rows ? t->penalty * ((double)b->N / (double)loss[1]) : t->penalty;
    if (!T_(counts)(t, loss)) return NNL_OK;
    int status = early ? NNL_OK
                       : NNL_(optimizer_begin)(t->segment_count, t->segments, t->optimizer, next,
                                               &factor, threads);
    if (status != NNL_OK) return status;
    bp->next = next;
    bp->all = !early;
    bp->factor = factor;
    if (bp->threads > 1) {
        nnl_parallel_for(bp->threads, 1, (int)bp->threads, T_(batch_parallel_update), bp);
    } else {
        T_(update_rest)(t, bp->p, !early, 1, 0, next, factor, threads);
    }
    NNL_(optimizer_end)(t->segment_count, t->segments, t->optimizer, next);
    return NNL_OK;
}

/* Calls [0, *middle) of the program, and their loss. */
static int T_(forward)(nnl_training *t, T_(batch_parallel) *bp, const T_(batch) *b, int64_t *middle,
                       real *loss, int threads) {
    nnl_program *p = bp->p;
    bool parallel = bp->threads > 1;
    int status = parallel ? T_(begin_batch_parallel)(bp) : NNL_OK;
    *middle = p->mark;
    if (status != NNL_OK) return status;
    while (parallel && *middle < p->count && T_(kind)(bp, *middle) == 1) ++*middle;
    status = parallel ? T_(batch_parallel_calls)(bp, 0, *middle)
                      : T_(whole_batch_calls)(t, p, 0, *middle, b->N, NULL, threads);
    nnl_free(bp->losses);
    bp->loss = -1;
    if (status == NNL_OK) T_(take_loss)(p, b->N, b->weight, loss);
    return status;
}

/* Learns from a batch; its loss and correct rows are added to `sums`. Until a weight is updated the
 * batch may be stopped, and is then as if it had not begun. */
static int T_(learn)(nnl_training *t, T_(batch_parallel) *bp, const T_(batch) *b, nnl_sums *sums,
                     const double *rate, int threads) {
    nnl_program *p = bp->p;
    int64_t middle;
    real loss[2];
    int status = T_(forward)(t, bp, b, &middle, loss, threads);
    if (status != NNL_OK) return status;
    if (nnl_stopped()) return NNL_EINTR;
    bool counts = T_(counts)(t, loss);
    t->last_loss = counts ? (double)loss[0] : 0;
    bool finite = !counts || loss[0] - loss[0] == 0;
    t->penalty = 0;
    if (counts && t->penalties) T_(penalise)(t, (double)loss[1]);
    bool early = counts && finite && T_(has_early)(t, p, b->N);
    nnl_optimizer next;
    double factor = 1;
    if (rate) t->optimizer->lr = *rate;
    if (early) {
        status = NNL_(optimizer_begin)(t->segment_count, t->segments, t->optimizer, &next, &factor,
                                       threads);
        if (status != NNL_OK) return status;
        nnl_hold();
    }
    if (counts) {
        bp->next = early ? &next : NULL;
        status = bp->threads > 1
                     ? T_(batch_parallel_calls)(bp, middle, p->count)
                     : T_(whole_batch_calls)(t, p, middle, p->count, b->N, bp->next, threads);
    }
    if (!early) {
        if (status == NNL_EINTR || nnl_stopped()) return NNL_EINTR;
        nnl_hold();
    }
    for (int64_t i = 0; i < p->counter_count; i++) p->counters[i] += p->counts[i];
    if (status == NNL_OK && !finite) status = NNL_EFINITE;
    if (status == NNL_OK) {
        status = T_(finish_batch)(t, bp, b, sums, loss, &next, factor, early, threads);
    }
    nnl_release();
    return status;
}

/* The batch at t->position. */
static int T_(train_batch)(nnl_training *t, nnl_sums *sums, const double *rate, int threads) {
    T_(batch) b;
    int status = T_(begin_batch)(t, t->position * t->batch, &b);
    if (status != NNL_OK) return status;
    nnl_program *p = T_(program_for)(t, b.N);
    if (!p) return NNL_EINVAL;
    T_(bind)(p, b.input, b.target, b.weight);
    T_(batch_parallel) bp = {
        .t = t, .p = p, .N = b.N, .threads = T_(batch_threads)(p, b.N, threads)};
    /* Which is faster depends on the cores: where they share no cache, a cache-line transfer takes
     * three to ten times as long. */
    nnl_tuning tuning = {.work = (double)b.N};
    if (bp.threads > 1) {
        tuning.shape =
            nnl_tune_shape(b.N, (int64_t)T_(row_fmas)(p), p->count, sizeof(real), threads);
    }
    if (!nnl_tune(&tuning, NNL_CHOICE_BATCH_PARALLEL, 2, 1, true)) bp.threads = 1;
    t->shared = (int32_t)bp.threads;
    status = T_(learn)(t, &bp, &b, sums, rate, threads);
    nnl_tune_end(&tuning, status == NNL_OK);
    if (status == NNL_EINDEX) t->bad_row = *p->bad_row;
    return status;
}

/* The outputs for rows [row, row + N) of some data, to t->held_output. */
static int T_(outputs_of)(nnl_training *t, const nnl_data *data, int64_t row, int64_t N,
                          int threads) {
    if (!data->starts) {
        const real *input = (const real *)data->input + row * t->input_size;
        return NNL_(Program_predict)(t->forward, N, input, t->held_output, threads);
    }
    int status = NNL_OK;
    for (int64_t i = 0; i < N && status == NNL_OK; i += t->batch) {
        int64_t n = nnl_min(t->batch, N - i);
        status = T_(densify)(data, t->input_size, n, row + i, NULL, t->input);
        if (status != NNL_OK) return status;
        status = NNL_(Program_predict)(t->forward, n, t->input,
                                       (real *)t->held_output + i * t->output_size, threads);
    }
    return status;
}

NNL_API int NNL_(Training_evaluate)(nnl_training *t, const nnl_data *data, nnl_sums *sums,
                                    int threads) {
    nnl_sums total = {0};
    nnl_program *p = t->measure;
    if (!t->forward || !p || p->loss < 0 || data->rows < 0 ||
        !nnl_program_ok(p, nnl_min(NNL_EVALUATION_ROWS, data->rows))) {
        return NNL_EINVAL;
    }
    for (int64_t row = 0; row < data->rows; row += NNL_EVALUATION_ROWS) {
        if (nnl_stopped()) return NNL_EINTR;
        int64_t N = nnl_min(NNL_EVALUATION_ROWS, data->rows - row);
        const void *target = T_(target_at)(t, data, row);
        const real *weight = data->weight ? (const real *)data->weight + row : NULL;
        const real *output = t->held_output;
        int status = T_(outputs_of)(t, data, row, N, threads);
        if (status != NNL_OK) return status;
        T_(bind)(p, output, target, weight);
        status = NNL_(run_calls)(p, 0, p->count, p->table, 0, N, N, threads);
        if (status == NNL_EINDEX) t->bad_row = *p->bad_row;
        if (status != NNL_OK) return status;
        real loss[2];
        T_(take_loss)(p, N, weight, loss);
        T_(add_sums)(t, N, target, loss, T_(correct_rows)(t, N, output, target), &total);
    }
    *sums = total;
    return NNL_OK;
}

/* One network's batches, and an evaluation after each epoch. */
static int T_(train)(nnl_training *t, int threads) {
    int64_t batches = nnl_ceil_div(t->data.rows, t->batch), ended = 0;
    t->orders_done = 0;
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
                t->done++; /* the batch; the position stays after the epoch's last one */
                return status;
            }
        }
        t->position = 0;
        t->epoch++;
        t->orders_done++;
        if (t->stopping && T_(stops)(t, &t->sums[ended], &t->held_sums[ended])) {
            t->done++;
            return NNL_OK;
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
    int64_t rows = nnl_max(t->batch, NNL_EVALUATION_ROWS);
    if (t->program_count < 1 || t->batch < 1 || t->data.rows < 1 || t->data.source < 1 ||
        t->todo < 0 || t->position < 0 || t->position * t->batch >= t->data.rows ||
        (t->shuffle && !t->order) || (t->order && t->order_bytes != 4 && t->order_bytes != 8) ||
        !nnl_size_ok(rows, t->output_size, sizeof(real))) {
        return false;
    }
    for (int64_t i = 0; i < t->program_count; i++) {
        const nnl_program *p = &t->programs[i];
        if (p->output < 0 || p->loss < 0 || !nnl_program_ok(p, p->rows ? p->rows : t->batch)) {
            return false;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (!nnl_size_ok(sets[i]->starts ? t->batch : sets[i]->source, t->input_size,
                         sizeof(real)) ||
            (sets[i]->starts && (!sets[i]->columns || !t->input)) ||
            !nnl_size_ok(sets[i]->source, nnl_max(t->target_size, 1), sizeof(double))) {
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
