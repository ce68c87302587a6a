/* product.h: a product as it is computed, and the two inner loops over one block of it.
 * Included by gemm.c in each type pass. */

#define MC_SHARE (REAL_IS_FLOAT ? NNL_GEMM_MC_FLOAT_SHARE : NNL_GEMM_MC_DOUBLE_SHARE)
#define KC_SHORT (NNL_GEMM_SHORT_BYTES / (int64_t)sizeof(real))

/* The whole product, and how it is cut. A turned product computes the transpose of what was asked,
 * C^T = B^T A^T: then C's element (i, j) lies at c[i + j * c_row]. */
typedef struct {
    int64_t m, n, k;
    const real *a;
    int64_t a_row, a_col;
    const real *b;
    int64_t b_row, b_col;
    real *c;
    int64_t c_row;
    const real *bias, *gate;
    real *sums; /* [columns of B] [ACC] its column sums, or NULL; B's rows are then contiguous */
    bool accumulate, gradient; /* of a gradient: results below the normal range become 0 */
    int activation;
    bool turned;
    bool pack_a, pack_b;
    int64_t down, across; /* the grid of parts, one for each thread */
    int64_t mc, nc, kc;   /* block sizes, at most the size of a part */
    real *scratch;        /* packed A and B of every part, or NULL */
} T_(product);

/* One block: rows [i, i + rows) x columns [j, j + columns) x inner indices [p, p + terms). */
typedef struct {
    int64_t i, rows, j, columns, p, terms;
    real *a_pack, *b_pack;
    int64_t unseen;  /* multiply-adds since the last look whether the call is to end */
    bool stopped;    /* it is */
    bool pack_b_now; /* the first block of rows packs B panel by panel, just before it is read */
} T_(block);

/* Rows of a block go in panels of at most NNL_GEMM_MR, as even as can be, the taller ones first:
 * panels of 7 and 6 rows keep the multipliers busier than one of 12 and one of 1. */
typedef struct {
    int64_t count, height, taller; /* `taller` of them have one row more than `height` */
} T_(panels);

static inline T_(panels) T_(panels_of)(int64_t rows) {
    int64_t count = nnl_ceil_div(rows, NNL_GEMM_MR);
    return (T_(panels)){count, rows / count, rows % count};
}
static inline int64_t T_(panel_height)(T_(panels) panels, int64_t panel) {
    return panels.height + (panel < panels.taller);
}

/* x after the activation; or, with the activation's output y, x times its derivative there. */
static inline vreal T_(rectified)(vreal x, vreal y) {
    return V_(select)(V_(le)(y, V_(zero)()), V_(zero)(), x);
}
static inline vreal T_(activated)(vreal x, int activation) {
    return activation == NNL_SIGMOID ? V_(sigmoid)(x) : V_(tanh)(x);
}
static inline vreal T_(gated)(vreal x, vreal y, int activation) {
    const vreal one = V_(set)(1);
    if (activation == NNL_SIGMOID) return V_(flush)(V_(mul)(x, V_(mul)(y, V_(sub)(one, y))));
    return V_(flush)(V_(mul)(x, V_(fnma)(y, y, one)));
}

/* Finishes rows x columns outputs at c that have just been stored and are still in cache: for ReLU,
 * whose arithmetic is shorter than a branch, */
static void T_(finish_relu)(int64_t rows, int64_t columns, real *c, const real *gate, int64_t row) {
    const int rest = (int)(columns % VLANES);
    for (int64_t i = 0; i < rows; i++, c += row, gate += row) {
        int64_t j = 0;
        for (; j < columns - rest; j += VLANES) {
            V_(store)(c + j, T_(rectified)(V_(load)(c + j), V_(load)(gate + j)));
        }
        if (rest > 0) {
            vreal x = T_(rectified)(V_(load_n)(c + j, rest), V_(load_n)(gate + j, rest));
            V_(store_n)(c + j, x, rest);
        }
    }
}

/* and for all. */
static void T_(finish)(const T_(product) *g, int64_t rows, int64_t columns, real *c) {
    const real *gate = g->gate ? g->gate + (c - g->c) : NULL;
    if (g->activation == NNL_RELU) {
        T_(finish_relu)(rows, columns, c, gate ? gate : c, g->c_row);
        return;
    }
    for (int64_t i = 0; i < rows; i++, c += g->c_row) {
        for (int64_t j = 0; j < columns; j += VLANES) {
            int lanes = (int)nnl_min(VLANES, columns - j);
            vreal x = V_(load_n)(c + j, lanes);
            x = gate ? T_(gated)(x, V_(load_n)(gate + i * g->c_row + j, lanes), g->activation)
                     : T_(activated)(x, g->activation);
            V_(store_n)(c + j, x, lanes);
        }
    }
}

/* Packs the rows of a block of A, panel after panel. */
static void T_(pack_rows)(const T_(product) *g, const T_(block) *at) {
    T_(panels) panels = T_(panels_of)(at->rows);
    for (int64_t panel = 0, ir = 0; panel < panels.count; panel++) {
        int64_t height = T_(panel_height)(panels, panel);
        T_(pack_panel)(at->terms, height, height, g->a + (at->i + ir) * g->a_row + at->p * g->a_col,
                       g->a_row, g->a_col, at->a_pack + ir * at->terms);
        ir += height;
    }
}

/* sums[j] += the chain over `terms` rows of b for each of its columns: for products without a row,
 * and for turned ones, whose micro-kernel sees B's columns as scalars. */
static void T_(add_column_sums)(int64_t terms, int64_t columns, const real *b, int64_t b_row,
                                real *sums, bool flush) {
    for (int64_t j = 0; j < columns; j += 4 * VLANES) { /* four chains cover each other's latency */
        vreal sum[4];
        int lanes[4];
        for (int u = 0; u < 4; u++) {
            lanes[u] = (int)nnl_max(0, nnl_min(VLANES, columns - j - u * VLANES));
            sum[u] = V_(load_n)(sums + j + (lanes[u] ? u * VLANES : 0), lanes[u]);
        }
        for (int64_t p = 0; p < terms; p++) {
            const real *row = b + p * b_row + j;
            for (int u = 0; u < 4 && lanes[u]; u++) {
                sum[u] = V_(add)(sum[u], V_(load_n)(row + u * VLANES, lanes[u]));
            }
        }
        for (int u = 0; u < 4 && lanes[u]; u++) {
            if (flush) sum[u] = V_(flush)(sum[u]);
            V_(store_n)(sums + j + u * VLANES, sum[u], lanes[u]);
        }
    }
}

/* One tile of a turned product: computed in rows, stored as columns. bias holds a number a row. */
static void T_(run_turned)(const T_(product) *g, T_(tile_kernel) *kernel, T_(tile) *tile,
                           int64_t rows, int64_t columns, real *c, const real *bias, bool last) {
    _Alignas(NNL_ALIGNMENT) real held[NNL_GEMM_MR * NNL_GEMM_WIDE * VLANES];
    const int64_t held_row = sizeof held / sizeof *held / NNL_GEMM_MR;
    const bool accumulate = tile->accumulate;
    tile->c = held;
    tile->next = held;
    tile->c_row = held_row;
    tile->bias = NULL;
    if (accumulate) {
        T_(turn)(columns, columns, rows, c, g->c_row, held, held_row);
    } else if (bias) {
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < columns; j++) held[i * held_row + j] = bias[i];
        }
        tile->accumulate = true;
    }
    kernel(tile);
    tile->accumulate = accumulate;
    T_(turn)(rows, rows, columns, held, held_row, c, g->c_row);
    if (last) T_(finish)(g, columns, rows, c);
}

/* All panels of rows against `lanes` columns from jr on; tile holds their panel of B. */
static void T_(run_panels)(const T_(product) *g, const T_(block) *at, T_(tile) *tile, int64_t jr,
                           int64_t lanes, T_(width) width) {
    const T_(panels) panels = T_(panels_of)(at->rows);
    const int64_t column = at->j + jr;
    /* While the first panels of rows run, the next panel of B is fetched, one line a row of B:
     * two lines with AVX-512, or three where the rows of B are not aligned. */
    const char *next_b = (const char *)(g->b + at->p * g->b_row + column + lanes);
    const int64_t past = (int64_t)((uintptr_t)next_b % NNL_ALIGNMENT);
    bool fetch = at->pack_b_now && g->b_col == 1 && jr + lanes < at->columns;
    bool last = at->p + at->terms == g->k && g->activation != NNL_IDENTITY;
    tile->a_row = g->pack_a ? (ptrdiff_t)sizeof(real) : g->a_row * (ptrdiff_t)sizeof(real);
    tile->a_col = g->a_col * (ptrdiff_t)sizeof(real);
    int64_t height;
    for (int64_t panel = 0, ir = 0; panel < panels.count; panel++, ir += height) {
        height = T_(panel_height)(panels, panel);
        int64_t row = at->i + ir;
        tile->sums = g->sums && !g->turned && row == 0 ? g->sums + column : NULL;
        T_(tile_kernel) *kernel = T_(kernel_for)(tile, height, width);
        tile->a = g->a + row * g->a_row + at->p * g->a_col;
        if (g->pack_a) {
            tile->a = at->a_pack + ir * at->terms;
            tile->a_col = height * (ptrdiff_t)sizeof(real);
        }
        bool line = fetch && panel * NNL_ALIGNMENT < past + NR * (int64_t)sizeof(real);
        tile->ahead = line ? next_b - past + panel * NNL_ALIGNMENT : (const char *)tile->b;
        tile->ahead_step = line ? g->b_row * (ptrdiff_t)sizeof(real) : 0;
        if (g->turned) {
            T_(run_turned)(g, kernel, tile, height, lanes, g->c + row + column * g->c_row,
                           g->bias ? g->bias + row : NULL, last);
            continue;
        }
        tile->c = g->c + row * g->c_row + column;
        tile->next = panel + 1 < panels.count ? tile->c + height * g->c_row
                                              : g->c + at->i * g->c_row + column + lanes;
        kernel(tile);
        if (last) T_(finish)(g, height, lanes, tile->c);
    }
}

/* The two inner loops, jr and ir, over one block. */
static void T_(run_block)(const T_(product) *g, T_(block) *at) {
    int64_t tallest = T_(panel_height)(T_(panels_of)(at->rows), 0);
    T_(tile) tile = {.k = at->terms, .c_row = g->c_row, .accumulate = g->accumulate || at->p > 0};
    tile.flush = g->gradient && at->p + at->terms == g->k;
    if (g->sums && g->turned && at->j == 0) {
        T_(add_column_sums)(at->terms, at->rows, g->a + at->i + at->p * g->a_col, g->a_col,
                            g->sums + at->i, tile.flush);
    }
    for (int64_t jr = 0; jr < at->columns;) {
        T_(width) width = T_(tile_width)(tallest, at->columns - jr, g->pack_b);
        int64_t most = T_(width_columns)(width), lanes = nnl_min(at->columns - jr, most);
        tile.last = (int)(lanes - (width.vectors - !width.half) * VLANES);
        tile.bias = g->bias && at->p == 0 ? g->bias + at->j + jr : NULL;
        tile.b = g->b + at->p * g->b_row + (at->j + jr) * g->b_col;
        tile.b_row = g->b_row;
        if (g->pack_b) {
            real *panel = at->b_pack + jr * at->terms;
            if (at->pack_b_now) {
                T_(pack_panel)(at->terms, lanes, most, tile.b, g->b_col, g->b_row, panel);
            }
            tile.b = panel;
            tile.b_row = most;
        }
        T_(run_panels)(g, at, &tile, jr, lanes, width);
        jr += most;
        at->unseen += at->rows * lanes * at->terms;
        if (at->unseen >= NNL_GEMM_LOOK_WORK) {
            at->unseen = 0;
            at->stopped = nnl_stopped();
            if (at->stopped) return;
        }
    }
}
