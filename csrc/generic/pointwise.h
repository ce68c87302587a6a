/* pointwise.h: the loop under every element-wise kernel, out[i] = f(x[i], y[i]).
 *
 * Included by a layer's file in each type pass. The layer writes f on vectors and a one-line task
 * that hands f to T_(map); map is always inlined, so f is inlined into the loop too. */

/* Operands of an element-wise kernel; y is NULL for functions of one array; s, t are scalars. */
typedef struct {
    const real *x, *y;
    real *out;
    real s, t;
    bool stream; /* write past the caches */
} T_(pointwise);

typedef vreal T_(pointwise_function)(vreal x, vreal y, const T_(pointwise) *scalars);

/* dy d as a gradient, where |d| <= 1: a dy below the normal range gives 0, and is made 0 before it is
 * multiplied, which is slow there. */
NNL_INLINE vreal T_(times_derivative)(vreal dy, vreal d) {
    return V_(flush)(V_(mul)(V_(flush)(dy), d));
}

/* Elements [i, end) one vector at a time; the last may be partial. */
NNL_INLINE void T_(map_vectors)(const T_(pointwise) *p, int64_t i, int64_t end,
                                T_(pointwise_function) *f) {
    for (; i < end; i += VLANES) {
        int lanes = (int)nnl_min(VLANES, end - i);
        vreal x = V_(load_n)(p->x + i, lanes);
        V_(store_n)(p->out + i, f(x, p->y ? V_(load_n)(p->y + i, lanes) : x, p), lanes);
    }
}

/* Whole groups of four vectors, which cover each other's latencies; returns where they end. */
NNL_INLINE int64_t T_(map_groups)(const T_(pointwise) *p, int64_t i, int64_t end, const bool stream,
                                  T_(pointwise_function) *f) {
    for (; i + 4 * VLANES <= end; i += 4 * VLANES) {
        vreal r[4];
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            vreal x = V_(load)(p->x + i + u * VLANES);
            r[u] = f(x, p->y ? V_(load)(p->y + i + u * VLANES) : x, p);
        }
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            if (stream) {
                V_(stream)(p->out + i + u * VLANES, r[u]);
            } else {
                V_(store)(p->out + i + u * VLANES, r[u]);
            }
        }
    }
    return i;
}

NNL_INLINE void T_(map)(const void *context, int64_t begin, int64_t end,
                        T_(pointwise_function) *f) {
    const T_(pointwise) p = *(const T_(pointwise) *)context;
    int64_t i = begin;
    if (p.stream) { /* which needs aligned lines: the elements before the first go alone */
        int64_t past = (int64_t)((uintptr_t)(p.out + i) % NNL_ALIGNMENT / sizeof(real));
        int64_t first = nnl_min(end, past ? i + NNL_ALIGNMENT / (int64_t)sizeof(real) - past : i);
        T_(map_vectors)(&p, i, first, f);
        i = T_(map_groups)(&p, first, end, true, f);
        v_stream_end();
    } else {
        i = T_(map_groups)(&p, i, end, false, f);
    }
    T_(map_vectors)(&p, i, end, f);
}

/* Runs the task over all n elements; a thread takes at least `grain` of them. */
static inline int T_(run_pointwise)(int64_t n, T_(pointwise) operands, int64_t grain, int threads,
                                    nnl_task *task) {
    if (!nnl_size_ok(n, 1, sizeof(real)) || threads < 1) return NNL_EINVAL;
    int64_t bytes = n * (int64_t)sizeof(real);
    bool in_place = operands.out == operands.x || operands.out == operands.y;
    if ((operands.out != operands.x && nnl_overlap(operands.out, bytes, operands.x, bytes)) ||
        (operands.out != operands.y && nnl_overlap(operands.out, bytes, operands.y, bytes))) {
        return NNL_EOVERLAP;
    }
    bool aligned = (uintptr_t)operands.out % sizeof(real) == 0;
    operands.stream = n >= NNL_STREAM_BYTES / (int64_t)sizeof(real) && aligned && !in_place;
    nnl_parallel_for(n, grain, threads, task, &operands);
    return NNL_OK;
}
