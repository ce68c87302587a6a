/* update.h: weights that are updated as soon as their gradient is there, and the rest of the step.
 *
 * A weight too large for the caches is updated strip by strip while its gradient is produced: the
 * gradient of a strip stays in cache, which saves three of the nine passes over the memory of such a
 * weight in a step with momentum. Each thread has rows of its own, so that one computes while another
 * waits for memory. Threads that share a batch update the rows whose gradients they have just made. Each
 * element is computed as in one step over all, so the bits are the same. A call says by `weight` that
 * its output is the whole gradient of a weight that no later call reads. Included by train.c. */

#include "generic/optimizer_step.h"

/* A weight of at least this many bytes is updated in strips of this many: a strip of the gradient
 * shares the last-level cache with those of the weight and of the optimiser's states. */
#define NNL_LARGE_WEIGHT_BYTES (16 << 20)
#define NNL_STRIP_BYTES (2 << 20)

/* An update that has begun cannot be stopped, so weights of batches of more work than this, in
 * multiply-adds of vectors (0.2 s of one thread), wait for all gradients, where time is in products
 * anyway. */
#define NNL_LONG_WORK 8e8

/* Multiply-adds of vectors of a program for one row of the batch. */
static double T_(row_work)(const nnl_program *p) {
    double work = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const nnl_call *c = &p->calls[i];
        if (c->op != NNL_OP_GEMM || !c->batch) continue;
        double m = (double)(c->size[0] * c->size[1]), n = (double)c->size[2];
        work += m * n * (double)c->size[3] / VLANES;
    }
    return work;
}

/* True for the gradient of a weight that is updated with it. */
static bool T_(is_early)(const nnl_training *t, const nnl_call *c) {
    int64_t bytes = c->size[1] * c->size[2] * (int64_t)sizeof(real);
    return c->weight > 0 && (t->shared > 1 || bytes >= NNL_LARGE_WEIGHT_BYTES);
}

/* True where a weight is updated early, with a batch of N rows: not before all gradients are known, if
 * they are clipped by their norm. */
static bool T_(has_early)(const nnl_training *t, const nnl_program *p, int64_t N) {
    if (t->optimizer->clip_norm > 0) return false;
    for (int64_t i = p->mark; i < p->count; i++) {
        if (T_(is_early)(t, &p->calls[i])) return (double)N * T_(row_work)(p) <= NNL_LONG_WORK;
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

/* Rows [d0, d1) of a call's product, to `out` where that is given. */
static int T_(product_rows)(const nnl_program *p, const nnl_call *call, int64_t d0, int64_t d1,
                            int64_t N, real *out, int threads) {
    nnl_call part = *call;
    part.size[1] = d1 - d0;
    part.slot[NNL_A].offset += d0 * part.slot[NNL_A].stride[1] * (int64_t)sizeof(real);
    part.slot[NNL_OUT].offset += d0 * part.slot[NNL_OUT].stride[1] * (int64_t)sizeof(real);
    if (d0 > 0) part.slot[NNL_OUT2].buffer = -1;
    nnl_program one = *p;
    one.calls = &part;
    if (!out) return NNL_(run_calls)(&one, 0, 1, p->table, 0, N, N, threads);
    part.slot[NNL_OUT].offset +=
        (char *)out - ((char *)p->table[part.slot[NNL_OUT].buffer] + part.slot[NNL_OUT].offset);
    return NNL_(run_calls)(&one, 0, 1, p->table, 0, N, N, threads);
}

/* A weight that threads update, each some of its rows. */
typedef struct {
    const nnl_training *t;
    const nnl_program *p;
    const nnl_call *call;
    int64_t N, shares, strip; /* strip: rows of one */
    const nnl_optimizer *next;
    _Atomic int status; /* of a share that failed */
} T_(large);

/* Strip by strip, W = update(W, x^T dy). The gradients of share i lie, one after the other, at its
 * first row of the gradient. Its first strip is the shorter the smaller i, so that threads compute and
 * wait for memory by turns. */
static void T_(update_shares)(void *context, int64_t first, int64_t last) {
    T_(large) *w = context;
    int64_t D = w->call->size[1], K = w->call->size[2];
    real *weight = w->p->table[w->call->weight - 1];
    real *grads = w->p->table[w->call->slot[NNL_OUT].buffer];
    for (int64_t i = first; i < last; i++) {
        int64_t d = D * i / w->shares, stop = D * (i + 1) / w->shares;
        real *grad = grads + d * K;
        int64_t rows = nnl_max(1, w->strip * (i + 1) / w->shares);
        for (int status = NNL_OK; d < stop && status == NNL_OK; d += rows, rows = w->strip) {
            int64_t end = nnl_min(d + rows, stop);
            status = T_(product_rows)(w->p, w->call, d, end, w->N, grad, 1);
            if (status == NNL_OK) {
                status = T_(update_early)(w->t, weight, d * K, end * K, grad, w->next, 1);
            }
            if (status != NNL_OK) w->status = status;
        }
    }
}

static int T_(update_large)(const nnl_training *t, const nnl_program *p, const nnl_call *call,
                            int64_t N, const nnl_optimizer *next, int threads) {
    T_(large) w = {.t = t, .p = p, .call = call, .N = N, .next = next};
    w.strip = nnl_max(1, NNL_STRIP_BYTES / (call->size[2] * (int64_t)sizeof(real)));
    w.shares = nnl_min(threads, nnl_ceil_div(call->size[1], w.strip));
    nnl_parallel_for(w.shares, 1, threads, T_(update_shares), &w);
    return w.status;
}

/* The first early weight of a segment at or after `from`, or its end; *size [OUT]: its elements. */
static int64_t T_(next_early)(const nnl_training *t, const nnl_program *p,
                              const nnl_segment *segment, int64_t from, int64_t *size) {
    const real *first = segment->weight;
    int64_t nearest = segment->count;
    *size = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const nnl_call *c = &p->calls[i];
        if (!T_(is_early)(t, c)) continue;
        const real *weight = p->table[c->weight - 1];
        if (weight < first + from || weight >= first + nearest) continue;
        nearest = weight - first;
        *size = c->size[1] * c->size[2];
    }
    return nearest;
}

/* Where share i of n items begins: a whole number of units. */
static int64_t T_(cut)(int64_t n, int64_t unit, int64_t shares, int64_t i) {
    if (i == shares) return n;
    return nnl_min(n, (n * i / shares + unit / 2) / unit * unit);
}

/* Share i of all that is still to be updated: what was not early, or, with `all`, everything. */
static void T_(update_rest)(const nnl_training *t, const nnl_program *p, bool all, int64_t shares,
                            int64_t i, const nnl_optimizer *next, double factor, int threads) {
    for (int64_t k = 0; k < t->segment_count; k++) {
        const nnl_segment *s = &t->segments[k];
        int64_t size = 0;
        for (int64_t from = 0; from < s->count; from += size) {
            int64_t stop = all ? s->count : T_(next_early)(t, p, s, from, &size);
            int64_t begin = from + T_(cut)(stop - from, NNL_LANES, shares, i);
            int64_t end = from + T_(cut)(stop - from, NNL_LANES, shares, i + 1);
            if (end > begin) {
                NNL_(optimizer_part)(s, begin, end - begin, (const real *)s->grad + begin, next,
                                     factor, threads);
            }
            from = stop;
        }
    }
}
