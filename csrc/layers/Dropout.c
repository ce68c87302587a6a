/* Dropout.c: y_i = x_i / (1 - p) with probability 1 - p, else 0 ("inverted" dropout: the mean is
 * kept).
 *
 * forward   element i is dropped when word i of the Philox stream (seed, purpose, step) lies below
 *           p 2^32: a pure function of these four numbers, the same for every type, build, number
 *           of threads and cut into batches. p = 0 drops nothing, p = 1 everything
 * d-input   dx_i = dy_i / (1 - p) where x_i was kept, else 0: the same kernel, which now flushes;
 *           the mask is computed again instead of being stored
 * A dropped element is 0 also where it was NaN or infinite.
 * Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to
 * prevent neural networks from overfitting", Journal of Machine Learning Research 15 (2014). */
#ifndef NNL_GENERIC_PASS

#include <string.h>

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "core/random.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/Dropout.c"
#include "core/dtype.h"
#else

#include "program/batch_parts.inc"
#include "core/flush.inc"

typedef struct {
    int64_t first, n; /* the first element's index in the stream; elements */
    const real *x;
    real *y;
    uint64_t dropped;  /* of 2^32 words */
    real scale, least; /* of a gradient: what is smaller becomes 0 */
    uint64_t seed;
    uint32_t purpose, step;
} T_(dropout);

/* A whole group of words at once, by way of a local array, so that the loop becomes vectors also
 * where y is x. */
static void T_(drop_group)(const uint32_t *words, uint32_t dropped, const real *x, real scale,
                           real least, real *y) {
    real out[NNL_PHILOX_WORDS];
    for (int i = 0; i < NNL_PHILOX_WORDS; i++) {
        out[i] = words[i] < dropped ? 0 : T_(flushed)(x[i] * scale, least);
    }
    memcpy(y, out, sizeof out);
}

/* Items are groups of as many elements as one call of the generator has words. */
static void T_(drop_groups)(void *context, int64_t begin, int64_t end) {
    const T_(dropout) *d = context;
    for (int64_t group = begin; group < end; group++) {
        int64_t from = group * NNL_PHILOX_WORDS, count = d->n - from;
        uint32_t words[NNL_PHILOX_WORDS];
        nnl_philox_words(d->seed, d->purpose, d->step, (uint64_t)(d->first + from) / 4, words);
        if (count >= NNL_PHILOX_WORDS) {
            T_(drop_group)(words, (uint32_t)d->dropped, d->x + from, d->scale, d->least,
                           d->y + from);
        } else {
            for (int64_t i = from; i < d->n; i++) {
                bool dropped = words[i - from] < d->dropped;
                d->y[i] = dropped ? 0 : T_(flushed)(d->x[i] * d->scale, d->least);
            }
        }
    }
}

/* Nothing dropped, or everything: the generator is not needed. */
static void T_(drop_none)(void *context, int64_t begin, int64_t end) {
    const T_(dropout) *d = context;
    for (int64_t i = begin; i < end; i++) d->y[i] = T_(flushed)(d->x[i], d->least);
}
static void T_(drop_all)(void *context, int64_t begin, int64_t end) {
    const T_(dropout) *d = context;
    for (int64_t i = begin; i < end; i++) d->y[i] = 0;
}

int NNL_(dropout_part)(int64_t first, int64_t n, const real *input, real *output, double rate,
                       uint64_t seed, uint32_t purpose, uint32_t step, bool gradient, int threads) {
    if (!nnl_size_ok(n, 1, sizeof(real)) || !(rate >= 0 && rate <= 1) || threads < 1) {
        return NNL_EINVAL;
    }
    int64_t bytes = n * (int64_t)sizeof(real);
    if (output != input && nnl_overlap(output, bytes, input, bytes)) return NNL_EOVERLAP;
    T_(dropout) d = {.first = first, .n = n, .x = input, .y = output, .seed = seed};
    d.purpose = purpose;
    d.step = step;
    d.dropped = (uint64_t)(rate * 0x1p32);
    d.scale = (real)(1 / (1 - rate));
    d.least = gradient ? REAL_MIN_NORMAL : 0;
    if (d.dropped == 0 || d.dropped == (uint64_t)1 << 32) {
        nnl_task *task = d.dropped ? T_(drop_all) : T_(drop_none);
        nnl_parallel_for(n, NNL_GRAIN_CHEAP, threads, task, &d);
    } else {
        nnl_parallel_for(nnl_ceil_div(n, NNL_PHILOX_WORDS), NNL_GRAIN_FUNCTION / NNL_PHILOX_WORDS,
                         threads, T_(drop_groups), &d);
    }
    return NNL_OK;
}

NNL_API int NNL_(Dropout_updateOutput)(int64_t n, const real *input, real *output, double rate,
                                       uint64_t seed, uint32_t purpose, uint32_t step,
                                       int threads) {
    return NNL_(dropout_part)(0, n, input, output, rate, seed, purpose, step, false, threads);
}

NNL_API int NNL_(Dropout_updateGradInput)(int64_t n, const real *gradOutput, real *gradInput,
                                          double rate, uint64_t seed, uint32_t purpose,
                                          uint32_t step, int threads) {
    return NNL_(dropout_part)(0, n, gradOutput, gradInput, rate, seed, purpose, step, true,
                              threads);
}

int NNL_(op_dropout)(const nnl_work *w) {
    const nnl_call *c = w->call;
    int64_t n = nnl_elements(w), first = c->batch ? w->row * (n / nnl_max(w->rows, 1)) : 0;
    return NNL_(dropout_part)(first, n, w->at[NNL_A], w->at[NNL_OUT], c->number, c->seed,
                              c->purpose, w->counters[c->integer] + c->step, c->flag != 0,
                              w->threads);
}

#endif
