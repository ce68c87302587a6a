/* pointwise.h: the loop under every element-wise kernel, out[i] = f(x[i], y[i]).
 *
 * Included by a layer's file in each type pass. The layer writes f on vectors and a one-line task
 * that hands f to T_(map); map is always inlined, so f is inlined into the loop too. */

/* Operands of an element-wise kernel; y is NULL for functions of one array; s, t are scalars. */
typedef struct {
    const real *x, *y;
    real *out;
    real s, t;
} T_(pointwise);

typedef vreal T_(pointwise_function)(vreal x, vreal y, const T_(pointwise) *scalars);

NNL_INLINE void T_(map)(const void *context, int64_t begin, int64_t end,
                        T_(pointwise_function) *f) {
    const T_(pointwise) p = *(const T_(pointwise) *)context;
    int64_t i = begin;
    for (; i + 4 * VLANES <= end; i += 4 * VLANES) { /* four at a time, to cover latencies */
        vreal r[4];
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            vreal x = V_(load)(p.x + i + u * VLANES);
            r[u] = f(x, p.y ? V_(load)(p.y + i + u * VLANES) : x, &p);
        }
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) V_(store)(p.out + i + u * VLANES, r[u]);
    }
    for (; i < end; i += VLANES) {
        int lanes = (int)nnl_min(VLANES, end - i);
        vreal x = V_(load_n)(p.x + i, lanes);
        V_(store_n)(p.out + i, f(x, p.y ? V_(load_n)(p.y + i, lanes) : x, &p), lanes);
    }
}

/* Runs the task over all n elements; a thread takes at least `grain` of them. */
static inline int T_(run_pointwise)(int64_t n, T_(pointwise) operands, int64_t grain, int threads,
                                    nnl_task *task) {
    if (!nnl_size_ok(n, 1, sizeof(real)) || threads < 1) return NNL_EINVAL;
    nnl_parallel_for(n, grain, threads, task, &operands);
    return NNL_OK;
}
