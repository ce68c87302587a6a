/* large_weights.h: weights too large for the caches, updated strip by strip while their gradient is
 * produced: the gradient of a strip stays in cache and is never written to memory, which saves
 * three of the nine passes over the memory of such a weight in a step with momentum. Each element
 * is computed as without strips, so the bits are the same. Included by Training.c for each type. */

#include "generic/optimizer_step.h"

/* A weight of at least this many bytes is updated in strips of this many: a strip of the gradient
 * shares the last-level cache with those of the weight and of the optimiser's states. */
#define NNL_LARGE_WEIGHT_BYTES (16 << 20)
#define NNL_STRIP_BYTES (2 << 20)

/* True for a layer whose weight is updated in its backward. */
static bool T_(is_large)(const nnl_step *s) {
    return s->layer == NNL_LINEAR &&
           s->inputs * s->outputs * (int64_t)sizeof(real) >= NNL_LARGE_WEIGHT_BYTES;
}

/* True when a step may be made in parts. */
static bool T_(updates_in_backward)(const nnl_training *t) {
    if (t->optimizer->clip_norm > 0) return false;
    for (int64_t i = 0; i < t->count; i++) {
        if (T_(is_large)(&t->steps[i])) return true;
    }
    return false;
}

/* The segment of a weight; and where in it the weight begins. */
static const nnl_segment *T_(segment_of)(const nnl_training *t, const real *weight,
                                         int64_t *begin) {
    for (int64_t i = 0; i < t->segment_count; i++) {
        const nnl_segment *s = &t->segments[i];
        const real *first = s->weight;
        if (weight >= first && weight < first + s->count) {
            *begin = weight - first;
            return s;
        }
    }
    return NULL;
}

/* W = update(W, x^T dy), strip by strip, for x [N, D] and dy [N, K]. The gradients lie one after
 * the other at the beginning of gradWeight. */
static int T_(update_large)(const nnl_training *t, const nnl_step *s, int64_t N, const real *input,
                            const real *grad, const nnl_optimizer *next, int threads) {
    int64_t D = s->inputs, K = s->outputs, begin = 0;
    const nnl_segment *segment = T_(segment_of)(t, s->weight, &begin);
    int64_t rows = nnl_max(1, NNL_STRIP_BYTES / (K * (int64_t)sizeof(real)));
    real *strip = s->gradWeight;
    if (!segment) return NNL_EINVAL;
    for (int64_t d = 0; d < D; d += rows) {
        int64_t count = nnl_min(rows, D - d);
        int status =
            NNL_(gemm_and_sums)(count, K, N, input + d, 1, D, grad, K, 1, strip, K, NULL, NULL,
                                d == 0 ? s->gradBias : NULL, 0, NNL_IDENTITY, threads);
        if (status != NNL_OK) return status;
        NNL_(optimizer_part)(segment, begin + d * K, count * K, strip, next, 1, threads);
    }
    return NNL_OK;
}

/* The first large weight of a segment at or after `from`, or its end; *size [OUT]: its elements. */
static int64_t T_(next_large)(const nnl_training *t, const nnl_segment *segment, int64_t from,
                              int64_t *size) {
    const real *first = segment->weight;
    int64_t nearest = segment->count;
    *size = 0;
    for (int64_t i = 0; i < t->count; i++) {
        const nnl_step *s = &t->steps[i];
        if (!T_(is_large)(s)) continue;
        const real *weight = s->weight;
        if (weight < first + from || weight >= first + nearest) continue;
        nearest = weight - first;
        *size = s->inputs * s->outputs;
    }
    return nearest;
}

/* Updates everything but the large weights. */
static void T_(update_rest)(const nnl_training *t, const nnl_optimizer *next, int threads) {
    for (int64_t i = 0; i < t->segment_count; i++) {
        const nnl_segment *s = &t->segments[i];
        int64_t size = 0;
        for (int64_t from = 0; from < s->count; from += size) {
            int64_t end = T_(next_large)(t, s, from, &size);
            if (end > from) {
                NNL_(optimizer_part)(s, from, end - from, (const real *)s->grad + from, next, 1,
                                     threads);
            }
            from = end;
        }
    }
}
