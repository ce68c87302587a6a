/* thin.h: products of a few terms, as in the first layer of two inputs or the gradient of a last layer's
 * input. Their time is in outputs, not in multiply-adds, so a row of four registers goes from its
 * start to its activation without being stored in between. Included by gemm.c in each type pass. */

/* Two rows of one block of columns; an odd last row is both. */
typedef struct {
    int64_t k;
    const real *a[2];
    int64_t a_col;
    const real *b; /* k rows, each `b_row` elements from the last */
    int64_t b_row;
    const real *bias; /* or NULL */
    real *c[2];
    const real *gate[2]; /* of a ReLU's derivative, or the outputs themselves */
    bool relu, flush;
    int last; /* lanes in use in the last register */
} T_(thin);

NNL_INLINE void T_(run_thin)(const T_(thin) *t, const int vectors, const bool partial) {
    vreal acc[2][NNL_GEMM_THIN_NV];
    const int end = vectors - 1, last = t->last;
    const real *b = t->b;
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++) {
        acc[0][j] = V_(zero)();
        if (t->bias) acc[0][j] = T_(load_last)(t->bias + j * VLANES, partial && j == end, last);
        acc[1][j] = acc[0][j];
    }
    for (int64_t p = 0; p < t->k; p++, b += t->b_row) {
        const vreal a0 = V_(set)(t->a[0][p * t->a_col]), a1 = V_(set)(t->a[1][p * t->a_col]);
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            vreal bp = T_(load_last)(b + j * VLANES, partial && j == end, last);
            acc[0][j] = V_(fma)(a0, bp, acc[0][j]);
            acc[1][j] = V_(fma)(a1, bp, acc[1][j]);
        }
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const real *gate = t->gate[i];
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            vreal x = t->flush ? V_(flush)(acc[i][j]) : acc[i][j];
            if (t->relu) {
                bool cut = partial && j == end;
                vreal y = gate ? T_(load_last)(gate + j * VLANES, cut, last) : x;
                x = T_(rectified)(x, y);
            }
            T_(store_last)(t->c[i] + j * VLANES, x, partial && j == end, last);
        }
    }
}

#define NNL_THIN(vectors)                                                                  \
    static void T_(thin_##vectors)(const T_(thin) *t) { T_(run_thin)(t, vectors, false); } \
    static void T_(thin_##vectors##_partial)(const T_(thin) *t) { T_(run_thin)(t, vectors, true); }
NNL_THIN(1)
NNL_THIN(2)
NNL_THIN(3)
NNL_THIN(4)
#undef NNL_THIN

/* True for a product of so few terms, too small for a second thread. */
static bool T_(is_thin)(const T_(product) *g, int threads) {
    return g->k <= NNL_GEMM_THIN_TERMS && !g->accumulate && !g->sums && g->m >= 4 &&
           g->n >= VLANES &&
           (threads == 1 || T_(work)(g->m, g->n, g->k, 0) < 2 * NNL_GEMM_SHARE_WORK);
}

static void T_(compute_thin)(const T_(product) *g) {
    static void (*const kernels[NNL_GEMM_THIN_NV][2])(const T_(thin) *) = {
        {T_(thin_1), T_(thin_1_partial)},
        {T_(thin_2), T_(thin_2_partial)},
        {T_(thin_3), T_(thin_3_partial)},
        {T_(thin_4), T_(thin_4_partial)},
    };
    _Alignas(NNL_ALIGNMENT) real packed[NNL_GEMM_THIN_TERMS * NNL_GEMM_THIN_NV * VLANES];
    T_(thin) t = {.k = g->k, .a_col = g->a_col, .relu = g->activation == NNL_RELU};
    t.flush = g->gradient;
    for (int64_t j = 0; j < g->n; j += NNL_GEMM_THIN_NV * VLANES) {
        int64_t columns = nnl_min(NNL_GEMM_THIN_NV * VLANES, g->n - j);
        int64_t vectors = nnl_ceil_div(columns, VLANES);
        t.last = (int)(columns - (vectors - 1) * VLANES);
        t.bias = g->bias ? g->bias + j : NULL;
        t.b = g->b + j * g->b_col;
        t.b_row = g->b_row;
        if (g->b_col != 1) {
            t.b_row = vectors * VLANES;
            T_(pack_panel)(g->k, columns, t.b_row, t.b, g->b_col, g->b_row, packed);
            t.b = packed;
        }
        for (int64_t i = 0; i < g->m; i += 2) {
            for (int r = 0; r < 2; r++) {
                int64_t row = nnl_min(i + r, g->m - 1);
                t.a[r] = g->a + row * g->a_row;
                t.c[r] = g->c + row * g->c_row + j;
                t.gate[r] = g->gate ? g->gate + row * g->c_row + j : NULL;
            }
            kernels[vectors - 1][t.last < VLANES](&t);
            if (i % NNL_GEMM_LOOK_ROWS == NNL_GEMM_LOOK_ROWS - 2 && nnl_stopped()) return;
        }
        bool others = g->activation != NNL_IDENTITY && !t.relu;
        if (others) T_(finish)(g, g->m, columns, g->c + j);
    }
}
