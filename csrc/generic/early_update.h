/* early_update.h: weights that are updated as soon as their gradient is there, and the rest of the step.
 *
 * A weight too large for the caches is updated strip by strip while its gradient is produced: the
 * gradient of a strip stays in cache and is never written to memory, which saves three of the nine
 * passes over the memory of such a weight in a step with momentum. Each thread has rows of its own,
 * so that one computes while another waits for memory (4096 x 4096, Adam: 67 ms a step, not 75). Threads that share a batch update
 * the rows of weights whose gradients they have just made. Each element is computed as in one step
 * over all, so the bits are the same. Included by Training.c for each type. */

#include "generic/optimizer_step.h"

/* A weight of at least this many bytes is updated in strips of this many: a strip of the gradient
 * shares the last-level cache with those of the weight and of the optimiser's states. */
#define NNL_LARGE_WEIGHT_BYTES (16 << 20)
#define NNL_STRIP_BYTES (2 << 20)

/* An update that has begun cannot be stopped, so weights of batches of more work than this, in multiply-adds
 * of vectors (0.2 s of one thread), wait for all gradients, where time is in products anyway. */
#define NNL_LONG_WORK 8e8

/* True for a weight that is large, and trained. */
static bool T_(is_large)(const nnl_step *s) {
    return s->layer == NNL_LINEAR && s->gradWeight &&
           s->inputs * s->outputs * (int64_t)sizeof(real) >= NNL_LARGE_WEIGHT_BYTES;
}

/* True for a weight that is updated early: where threads share a batch, all but the first, whose
 * gradient is made in columns. */
static bool T_(is_early)(const nnl_training *t, const nnl_step *s) {
    return t->shared > 1 ? s->layer == NNL_LINEAR && s > t->steps : T_(is_large)(s);
}

/* True where a weight of the network is updated early, with a batch of N rows: not before all gradients
 * are known, if they are clipped by their norm. */
static bool T_(has_early)(const nnl_training *t, int64_t N) {
    double work = 0;
    for (int64_t i = 0; i < t->count; i++)
        work += 2 * (double)N * (double)T_(row_work)(&t->steps[i]);
    if (work > NNL_LONG_WORK) return false;
    for (int64_t i = 0; i < t->count && t->optimizer->clip_norm <= 0; i++) {
        if (T_(is_early)(t, &t->steps[i])) return true;
    }
    return false;
}

/* Updates elements [begin, end) of a parameter, whose gradients are grad [end - begin]. */
static int T_(update_early)(const nnl_training *t, const real *parameter, int64_t begin,
                            int64_t end, const real *grad, const nnl_optimizer *next, int threads) {
    for (int64_t i = 0; i < t->segment_count; i++) {
        const nnl_segment *s = &t->segments[i];
        const real *first = s->weight;
        if (parameter < first || parameter >= first + s->count) continue;
        int64_t at = parameter - first + begin;
        NNL_(optimizer_part)(s, at, end - begin, grad, next, 1, threads);
        return NNL_OK;
    }
    return NNL_EINVAL;
}

/* A weight that threads update, each some of its rows. */
typedef struct {
    const nnl_training *t;
    const nnl_step *s;
    int64_t N, shares, strip; /* strip: rows of one */
    const real *input;
    const nnl_optimizer *next;
    _Atomic int status; /* of a share that failed */
} T_(large);

/* Where share i begins. */
static int64_t T_(share_start)(const T_(large) *w, int64_t i) {
    return w->s->inputs * i / w->shares;
}

/* Strip by strip, W = update(W, x^T dy) for x [N, D] and dy [N, K]. The gradients of share i lie, one
 * after the other, at its first row of gradWeight. Its first strip is the shorter the smaller i, so
 * that threads compute and wait for memory by turns. */
static void T_(update_shares)(void *context, int64_t first, int64_t last) {
    T_(large) *w = context;
    int64_t K = w->s->outputs;
    for (int64_t i = first; i < last; i++) {
        int64_t d = T_(share_start)(w, i), stop = T_(share_start)(w, i + 1);
        real *grad = (real *)w->s->gradWeight + d * K;
        int64_t rows = nnl_max(1, w->strip * (i + 1) / w->shares);
        for (int status = NNL_OK; d < stop && status == NNL_OK; d += rows, rows = w->strip) {
            int64_t end = nnl_min(d + rows, stop);
            status = T_(grad_weight)(w->s, d, end, w->N, w->input, grad, 1);
            if (status == NNL_OK) {
                status = T_(update_early)(w->t, w->s->weight, d * K, end * K, grad, w->next, 1);
            }
            if (status != NNL_OK) w->status = status;
        }
    }
}

static int T_(update_large)(const nnl_training *t, const nnl_step *s, int64_t N, const real *input,
                            const nnl_optimizer *next, int threads) {
    T_(large) w = {.t = t, .s = s, .N = N, .input = input, .next = next};
    w.strip = nnl_max(1, NNL_STRIP_BYTES / (s->outputs * (int64_t)sizeof(real)));
    w.shares = nnl_min(threads, nnl_ceil_div(s->inputs, w.strip));
    nnl_parallel_for(w.shares, 1, threads, T_(update_shares), &w);
    return w.status;
}

/* The first early weight of a segment at or after `from`, or its end; *size [OUT]: its elements. */
static int64_t T_(next_early)(const nnl_training *t, const nnl_segment *segment, int64_t from,
                              int64_t *size) {
    const real *first = segment->weight;
    int64_t nearest = segment->count;
    *size = 0;
    for (int64_t i = 0; i < t->count; i++) {
        const nnl_step *s = &t->steps[i];
        if (!T_(is_early)(t, s)) continue;
        const real *weight = s->weight;
        if (weight < first + from || weight >= first + nearest) continue;
        nearest = weight - first;
        *size = s->inputs * s->outputs;
    }
    return nearest;
}

/* Where share i of n items begins, in whole lines of elements. */
static int64_t T_(cut)(int64_t n, int64_t shares, int64_t i) {
    if (i == shares) return n;
    return nnl_min(n, (n * i / shares + NNL_LANES / 2) / NNL_LANES * NNL_LANES);
}

/* Share i of all that is still to be updated: what was not early, or, with `all`, everything. */
static void T_(update_rest)(const nnl_training *t, bool all, int64_t shares, int64_t i,
                            const nnl_optimizer *next, double factor, int threads) {
    for (int64_t k = 0; k < t->segment_count; k++) {
        const nnl_segment *s = &t->segments[k];
        int64_t size = 0;
        for (int64_t from = 0; from < s->count; from += size) {
            int64_t stop = all ? s->count : T_(next_early)(t, s, from, &size);
            int64_t begin = from + T_(cut)(stop - from, shares, i);
            int64_t end = from + T_(cut)(stop - from, shares, i + 1);
            if (end > begin) {
                NNL_(optimizer_part)(s, begin, end - begin, (const real *)s->grad + begin, next,
                                     factor, threads);
            }
            from = stop;
        }
    }
}
