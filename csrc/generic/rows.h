/* rows.h: reductions along a contiguous axis in sixteen virtual lanes, and the two passes that
 * every softmax needs. Included by a layer's file in each type pass, after vec/lanes.h. */

/* Elements of one block of a long sum; fixed, so that no result depends on threads. */
#define SUM_BLOCK 4096

/* Lanes of the row from k on; beyond the row's end they hold `fill`. */
static inline T_(lanes) T_(row_lanes)(const real *row, int64_t k, int64_t K, real fill) {
    return K - k >= NNL_LANES ? L_(load)(row + k) : L_(load_n)(row + k, K - k, fill);
}

/* Stores the lanes at `to`, the first n of them where fewer than 16 are left. */
static inline void T_(store_lanes)(real *to, T_(lanes) a, int64_t n) {
    for (int r = 0; r < NNL_LANES / VLANES; r++) {
        if (n >= NNL_LANES) {
            V_(store)(to + r * VLANES, a.v[r]);
        } else if (n > r * VLANES) {
            V_(store_n)(to + r * VLANES, a.v[r], nnl_min(VLANES, n - r * VLANES));
        }
    }
}

static inline T_(lanes) T_(exp_lanes)(T_(lanes) a) {
    for (int r = 0; r < NNL_LANES / VLANES; r++) a.v[r] = V_(exp)(a.v[r]);
    return a;
}

/* max_k row[k]; -inf when every element is. */
static inline real T_(row_max)(const real *row, int64_t K) {
    T_(lanes) most = L_(set)(-(real)INFINITY);
    for (int64_t k = 0; k < K; k += NNL_LANES) {
        most = L_(max)(most, T_(row_lanes)(row, k, K, -(real)INFINITY));
    }
    return L_(max_all)(most);
}

/* sum_k e^(row[k] - max), each term stored in `terms` unless that is NULL. No term exceeds 1, so
 * nothing overflows for logits of any finite size. */
static inline real T_(row_exp_sum)(const real *row, int64_t K, real max, real *terms) {
    T_(lanes) shift = L_(set)(max), sum = L_(set)(0);
    for (int64_t k = 0; k < K; k += NNL_LANES) {
        T_(lanes) e = T_(exp_lanes)(L_(sub)(T_(row_lanes)(row, k, K, -(real)INFINITY), shift));
        sum = L_(add)(sum, e);
        if (terms) T_(store_lanes)(terms + k, e, K - k);
    }
    return L_(sum)(sum);
}

/* The natural logarithm of one number, by the vector function. */
static inline real T_(log_of)(real x) {
    real result;
    V_(store_n)(&result, V_(log)(V_(set)(x)), 1);
    return result;
}

/* y_i += log x_i: the logarithms of many rows' sums together, one vector at a time. */
static inline void T_(add_logs)(int64_t n, const real *x, real *y) {
    for (int64_t i = 0; i < n; i += VLANES) {
        int64_t lanes = nnl_min(VLANES, n - i);
        vreal logs = V_(log)(V_(load_fill)(x + i, lanes, 1));
        V_(store_n)(y + i, V_(add)(V_(load_n)(y + i, lanes), logs), lanes);
    }
}

/* y = x * factor along a row; y may be x. */
static inline void T_(scale_row)(const real *x, int64_t K, real factor, real *y) {
    const vreal f = V_(set)(factor);
    int64_t k = 0;
    for (; k + VLANES <= K; k += VLANES) V_(store)(y + k, V_(mul)(V_(load)(x + k), f));
    if (k < K) V_(store_n)(y + k, V_(mul)(V_(load_n)(x + k, K - k), f), K - k);
}

/* sum_i x[i]: blocks in index order, sixteen lanes in each. */
static inline real T_(sum)(const real *x, int64_t n) {
    real total = 0;
    for (int64_t i = 0; i < n; i += SUM_BLOCK) {
        int64_t block = nnl_min(SUM_BLOCK, n - i);
        T_(lanes) sum = L_(set)(0);
        for (int64_t k = 0; k < block; k += NNL_LANES) {
            sum = L_(add)(sum, T_(row_lanes)(x + i, k, block, 0));
        }
        total += L_(sum)(sum);
    }
    return total;
}

/* True when the output of a row-wise kernel is its input, or shares nothing with it. */
static inline bool T_(place_ok)(int64_t N, int64_t K, const real *input, const real *output) {
    int64_t bytes = N * K * (int64_t)sizeof(real);
    return output == input || !nnl_overlap(output, bytes, input, bytes);
}
