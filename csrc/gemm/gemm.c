/* gemm.c: C = act(start + A B), the matrix product under every Linear layer.
 *
 * Each output is one chain of fused multiply-adds over the inner index in ascending order, started
 * from zero, from the bias or from the stored value. Blocks in the inner dimension store partial
 * chains and load them again, which rounds nothing. So the bits depend neither on block sizes nor
 * on vector widths, packing or threads; those are free to serve speed alone.
 *
 * Five loops around one micro-kernel, in the names of Goto and van de Geijn, "Anatomy of
 * high-performance matrix multiplication", ACM TOMS 34 (2008): jc, pc, ic, jr, ir; README.md. */
#ifndef NNL_GENERIC_PASS

#include <string.h>

#include "base.h"
#include "gemm/blocks.h"
#include "parallel.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "gemm/gemm.c"
#include "dtype.h"
#else

#include "gemm/kernel.h"
#include "gemm/pack.h"

#define NR (NNL_GEMM_NV * VLANES)
#define KC (NNL_GEMM_KC_BYTES / (int64_t)sizeof(real))

/* The whole product, and how it is cut. */
typedef struct {
    int64_t m, n, k;
    const real *a;
    int64_t a_row, a_col;
    const real *b;
    int64_t b_row, b_col;
    real *c;
    int64_t c_row;
    const real *bias;
    bool accumulate;
    int activation;
    bool pack_a, pack_b;
    int64_t down, across; /* the grid of parts, one for each thread */
    int64_t mc, nc, kc;   /* block sizes, at most the size of a part */
    real *scratch;        /* packed A and B of every part, or NULL */
} T_(product);

/* Applies the activation to a tile that has just been stored and is still in the first cache. */
static void T_(activate)(int64_t rows, int64_t columns, real *c, int64_t c_row, int activation) {
    for (int64_t i = 0; i < rows; i++, c += c_row) {
        for (int64_t j = 0; j < columns; j += VLANES) {
            int lanes = (int)nnl_min(VLANES, columns - j);
            vreal x = V_(load_n)(c + j, lanes);
            if (activation == NNL_RELU) {
                x = V_(select)(V_(le)(x, V_(zero)()), V_(zero)(), x);
            } else if (activation == NNL_SIGMOID) {
                x = V_(sigmoid)(x);
            } else {
                x = V_(tanh)(x);
            }
            V_(store_n)(c + j, x, lanes);
        }
    }
}

/* Elements of packed A and of packed B that one part needs. */
static int64_t T_(packed_a)(const T_(product) *g) { return g->pack_a ? g->mc * g->kc : 0; }
static int64_t T_(packed_b)(const T_(product) *g) {
    return g->pack_b ? nnl_ceil_div(g->nc, NR) * NR * g->kc : 0;
}

/* Rows [i, i + rows) x columns [j, j + columns): the two inner loops over one packed or plain block
 * of `terms` inner indices from p on. */
static void T_(block)(const T_(product) *g, int64_t i, int64_t rows, int64_t j, int64_t columns,
                      int64_t p, int64_t terms, real *a_pack, real *b_pack, bool pack_b_now) {
    int64_t panels = nnl_ceil_div(rows, NNL_GEMM_MR);
    bool last_terms = p + terms == g->k;
    T_(tile) tile = {.k = terms, .c_row = g->c_row, .accumulate = g->accumulate || p > 0};
    for (int64_t jr = 0; jr < columns;) {
        int width;
        int64_t vectors = nnl_ceil_div(columns - jr, VLANES), top = nnl_ceil_div(rows, panels);
        T_(widest_tile)(top, g->pack_b ? nnl_min(vectors, NNL_GEMM_NV) : vectors, &width);
        int64_t lanes = nnl_min(columns - jr, width * VLANES);
        tile.last = (int)(lanes - (width - 1) * VLANES);
        tile.bias = g->bias && p == 0 ? g->bias + j + jr : NULL;
        tile.b = g->b + p * g->b_row + (j + jr) * g->b_col;
        tile.b_row = g->b_row;
        if (g->pack_b) {
            real *panel = b_pack + jr * terms;
            if (pack_b_now) {
                T_(pack_panel)(terms, lanes, width * VLANES, tile.b, g->b_col, g->b_row, panel);
            }
            tile.b = panel;
            tile.b_row = width * VLANES;
        }
        for (int64_t panel = 0; panel < panels; panel++) {
            int64_t ir = rows * panel / panels, height = rows * (panel + 1) / panels - ir;
            tile.a = g->a + (i + ir) * g->a_row + p * g->a_col;
            tile.a_row = g->a_row * (ptrdiff_t)sizeof(real);
            tile.a_col = g->a_col * (ptrdiff_t)sizeof(real);
            if (g->pack_a) {
                tile.a = a_pack + ir * terms;
                tile.a_row = sizeof(real);
                tile.a_col = height * (ptrdiff_t)sizeof(real);
            }
            tile.c = g->c + (i + ir) * g->c_row + j + jr;
            tile.ahead = (const char *)tile.b;
            tile.ahead_step = 0;
            if (pack_b_now && panel * NNL_ALIGNMENT < NR * (int64_t)sizeof(real) && jr + lanes < columns && g->b_col == 1) {
                tile.ahead = (const char *)(g->b + p * g->b_row + (j + jr + lanes)) + panel * NNL_ALIGNMENT;
                tile.ahead_step = g->b_row * (ptrdiff_t)sizeof(real);
            }
            tile.next = panel + 1 < panels ? tile.c + height * g->c_row
                                           : g->c + i * g->c_row + j + jr + lanes;
            T_(tile_kernel) *const *kernels = width > NNL_GEMM_NV
                                                  ? T_(widest_tile)(height, width, &width)
                                                  : T_(tiles)[height - 1][width - 1];
            kernels[tile.last < VLANES](&tile);
            if (last_terms && g->activation != NNL_IDENTITY) {
                T_(activate)(height, lanes, tile.c, g->c_row, g->activation);
            }
        }
        jr += width * VLANES;
    }
}

/* Packs rows [i, i + rows) of A in the panels that block() reads. */
static void T_(pack_rows)(const T_(product) *g, int64_t i, int64_t rows, int64_t p, int64_t terms,
                          real *a_pack) {
    int64_t panels = nnl_ceil_div(rows, NNL_GEMM_MR);
    for (int64_t panel = 0; panel < panels; panel++) {
        int64_t ir = rows * panel / panels, height = rows * (panel + 1) / panels - ir;
        T_(pack_panel)(terms, height, height, g->a + (i + ir) * g->a_row + p * g->a_col, g->a_row,
                       g->a_col, a_pack + ir * terms);
    }
}

/* One part of C, by one thread: the three outer loops. B is packed panel by panel just before the
 * first block of rows reads it, so that it is in the first cache then. */
static void T_(part)(const T_(product) *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                     real *a_pack, real *b_pack) {
    for (int64_t jc = j0; jc < j1; jc += g->nc) {
        int64_t columns = nnl_min(g->nc, j1 - jc);
        int64_t p = 0;
        do { /* once even without a single term: the start still has to be stored */
            int64_t terms = nnl_min(g->kc, g->k - p);
            for (int64_t ic = i0; ic < i1; ic += g->mc) {
                int64_t rows = nnl_min(g->mc, i1 - ic);
                if (g->pack_a) T_(pack_rows)(g, ic, rows, p, terms, a_pack);
                T_(block)(g, ic, rows, jc, columns, p, terms, a_pack, b_pack, ic == i0);
            }
            p += terms;
        } while (p < g->k);
    }
}

/* Parts [begin, end) of the grid. Part edges are multiples of the tile, so that no tile is cut. */
static void T_(parts)(void *context, int64_t begin, int64_t end) {
    const T_(product) *g = context;
    int64_t tiles_down = nnl_ceil_div(g->m, NNL_GEMM_MR), tiles_across = nnl_ceil_div(g->n, NR);
    for (int64_t index = begin; index < end; index++) {
        int64_t y = index / g->across, x = index % g->across;
        int64_t i0 = tiles_down * y / g->down * NNL_GEMM_MR;
        int64_t i1 = nnl_min(g->m, tiles_down * (y + 1) / g->down * NNL_GEMM_MR);
        int64_t j0 = tiles_across * x / g->across * NR;
        int64_t j1 = nnl_min(g->n, tiles_across * (x + 1) / g->across * NR);
        real *a_pack = g->scratch, *b_pack = NULL;
        if (g->scratch) {
            a_pack += index * (T_(packed_a)(g) + T_(packed_b)(g));
            b_pack = a_pack + T_(packed_a)(g);
        }
        if (i0 < i1 && j0 < j1) T_(part)(g, i0, i1, j0, j1, a_pack, b_pack);
    }
}

/* Chooses packing, grid and blocks. */
static void T_(plan)(T_(product) *g, int threads) {
    /* B must be packed when its rows are not contiguous; also when several blocks of rows read it
     * again and its rows lie far apart (each row another page, and few cache sets for all). */
    g->pack_b = g->b_col != 1 || (g->m > 2 * NNL_GEMM_MR && g->n > NR && g->k * g->n > 64 * 1024);
    /* A transposed is packed when several panels of B read it again. */
    g->pack_a =
        g->a_col != 1 ? g->n > 2 * NR && g->m > 1 : g->m * g->k > 64 * 1024 && g->n > 4 * NR;
    double work = (double)g->m * (double)g->n * (double)g->k / NNL_GEMM_GRAIN;
    int64_t parts = work >= threads ? threads : work > 1 ? (int64_t)work : 1;
    int64_t tiles_down = nnl_ceil_div(g->m, NNL_GEMM_MR), tiles_across = nnl_ceil_div(g->n, NR);
    /* The grid with the smallest largest part; ties go to splitting columns, which packs B once. */
    int64_t best = INT64_MAX;
    for (int64_t across = nnl_min(parts, tiles_across); across >= 1; across--) {
        int64_t down = nnl_min(parts / across, tiles_down);
        int64_t cost = nnl_ceil_div(tiles_down, down) * nnl_ceil_div(tiles_across, across);
        if (cost < best) {
            best = cost;
            g->down = down;
            g->across = across;
        }
    }
    g->mc = nnl_min(NNL_GEMM_MC, nnl_ceil_div(tiles_down, g->down) * NNL_GEMM_MR);
    g->nc = nnl_min(NNL_GEMM_NC, nnl_ceil_div(tiles_across, g->across) * NR);
    g->kc = nnl_min(KC, nnl_max(g->k, 1));
}

NNL_API int NNL_(gemm)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,
                       const real *b, int64_t b_row, int64_t b_col, real *c, int64_t c_row,
                       const real *bias, int accumulate, int activation, int threads) {
    if (!nnl_size_ok(m, n, sizeof(real)) || !nnl_size_ok(m, k, sizeof(real)) ||
        !nnl_size_ok(k, n, sizeof(real)) || threads < 1 || (bias && accumulate) ||
        activation < NNL_IDENTITY || activation > NNL_TANH) {
        return NNL_EINVAL;
    }
    if (m == 0 || n == 0) return NNL_OK;
    T_(product) g = {.m = m,
                     .n = n,
                     .k = k,
                     .a = a,
                     .a_row = a_row,
                     .a_col = a_col,
                     .b = b,
                     .b_row = b_row,
                     .b_col = b_col,
                     .c = c,
                     .c_row = c_row,
                     .bias = bias,
                     .accumulate = accumulate != 0,
                     .activation = activation};
    T_(plan)(&g, threads);
    if (g.pack_a || g.pack_b) {
        int64_t part = T_(packed_a)(&g) + T_(packed_b)(&g);
        if (!nnl_size_ok(part, g.down * g.across, sizeof(real))) return NNL_EINVAL;
        g.scratch = nnl_alloc(part * g.down * g.across, sizeof(real));
        if (!g.scratch) return NNL_ENOMEM;
    }
    nnl_parallel_for(g.down * g.across, 1, (int)(g.down * g.across), T_(parts), &g);
    nnl_free(g.scratch);
    return NNL_OK;
}

#undef NR
#undef KC
#endif
