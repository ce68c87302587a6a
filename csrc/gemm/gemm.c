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

#include "core/autotune.h"
#include "core/base.h"
#include "core/entry.h"
#include "gemm/blocks.h"
#include "gemm/gemm.h"
#include "core/parallel.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "gemm/gemm.c"
#include "core/dtype.h"
#else

#include "gemm/kernel.inc"
#include "gemm/pack.inc"
#include "gemm/product.inc"

/* Elements of packed A and of packed B that one part needs, each a whole number of cache lines. */
static int64_t T_(packed_a)(const T_(product) *g) {
    return g->pack_a ? nnl_ceil_div(g->mc * g->kc, NNL_LANES) * NNL_LANES : 0;
}
static int64_t T_(packed_b)(const T_(product) *g) {
    return g->pack_b ? nnl_ceil_div(g->nc, NR) * NR * g->kc : 0;
}

/* One part of C, rows [i0, i1) x columns [j0, j1), by one thread: the three outer loops. */
static void T_(part)(const T_(product) *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                     real *a_pack, real *b_pack) {
    T_(block) block = {.a_pack = a_pack, .b_pack = b_pack};
    for (block.j = j0; block.j < j1; block.j += g->nc) {
        block.n = nnl_min(g->nc, j1 - block.j);
        block.p = 0;
        do { /* once even where k is 0: the start still has to be stored */
            block.k = nnl_min(g->kc, g->k - block.p);
            for (block.i = i0; block.i < i1; block.i += g->mc) {
                block.m = nnl_min(g->mc, i1 - block.i);
                block.pack_b_now = g->pack_b && block.i == i0;
                if (g->pack_a) T_(pack_rows)(g, &block);
                T_(run_block)(g, &block);
                if (block.interrupted) return;
            }
            block.p += block.k;
        } while (block.p < g->k);
    }
}

/* Where part `index` of `count` begins: a whole number of tiles from the first row or column. */
static int64_t T_(part_start)(int64_t size, int64_t tile, int64_t count, int64_t index) {
    return nnl_min(size, nnl_ceil_div(size, tile) * index / count * tile);
}

/* The largest of them: the last one, whose last tile may be narrow, or one of the others. */
static int64_t T_(largest_part)(int64_t size, int64_t tile, int64_t count) {
    int64_t last = T_(part_start)(size, tile, count, count - 1), tiles = nnl_ceil_div(size, tile);
    int64_t others = count > 1 ? (tiles / count + (tiles % count > 1)) * tile : 0;
    return nnl_max(size - last, others);
}

/* Parts [begin, end) of the grid. Part edges are multiples of the tile, so that no tile is cut. */
static void T_(parts)(void *context, int64_t begin, int64_t end) {
    const T_(product) *g = context;
    if (g->parts_m * g->parts_n == 1) {
        real *b_pack = g->scratch ? g->scratch + T_(packed_a)(g) : NULL;
        T_(part)(g, 0, g->m, 0, g->n, g->scratch, b_pack);
        return;
    }
    for (int64_t index = begin; index < end; index++) {
        int64_t y = index / g->parts_n, x = index % g->parts_n;
        int64_t i0 = T_(part_start)(g->m, NNL_GEMM_MR, g->parts_m, y);
        int64_t i1 = T_(part_start)(g->m, NNL_GEMM_MR, g->parts_m, y + 1);
        int64_t j0 = T_(part_start)(g->n, NR, g->parts_n, x);
        int64_t j1 = T_(part_start)(g->n, NR, g->parts_n, x + 1);
        real *a_pack = NULL, *b_pack = NULL;
        if (g->scratch) {
            a_pack = g->scratch + index * (T_(packed_a)(g) + T_(packed_b)(g));
            b_pack = a_pack + T_(packed_a)(g);
        }
        if (i0 < i1 && j0 < j1) T_(part)(g, i0, i1, j0, j1, a_pack, b_pack);
    }
}

/* Squares of registers in which rows x columns elements are transposed. */
static int64_t T_(squares)(int64_t rows, int64_t columns) {
    return nnl_ceil_div(rows, VLANES) * nnl_ceil_div(columns, VLANES);
}

/* Work of an m x n x k product in vector FMAs, when so many squares are transposed on the way. A
 * half vector is half the work, a partial one all of it. */
static double T_(work)(int64_t m, int64_t n, int64_t k, int64_t squares) {
    int64_t vectors = n / VLANES, last = n % VLANES;
    bool half = last > 0 && last <= HALF && m >= NNL_GEMM_HALF_ROWS;
    if (last > 0 && !half) vectors++;
    int64_t tiles = nnl_ceil_div(m, NNL_GEMM_MR) * nnl_ceil_div(vectors + half, NNL_GEMM_NV);
    return (double)m * (double)k * ((double)vectors + (half ? NNL_GEMM_HALF_WORK : 0)) +
           NNL_GEMM_SQUARE_WORK * VLANES * (double)squares + NNL_GEMM_TILE_WORK * (double)tiles;
}

/* The same for the transposed product: a row-major A is transposed, and C on its way out and in. */
static double T_(transposed_work)(const T_(product) *g) {
    int64_t a = g->a_row == 1 && g->a_col != 1 ? 0 : T_(squares)(g->m, g->k);
    return T_(work)(g->n, g->m, g->k, a + (g->accumulate ? 2 : 1) * T_(squares)(g->m, g->n));
}

#include "gemm/small_k.inc"

/* What a product's choices are kept by: sizes, type, layouts, whether rows begin on a cache line,
 * whether it is computed transposed and whether B is prepacked. */
static uint64_t T_(shape)(const T_(product) *g, int threads) {
    const uintptr_t a = (uintptr_t)g->a | (uintptr_t)g->a_row * (uintptr_t)g->a_col * sizeof(real);
    const uintptr_t b = (uintptr_t)g->b | (uintptr_t)g->b_row * (uintptr_t)g->b_col * sizeof(real);
    const bool traits[] = {
        sizeof(real) == sizeof(double), g->a_col != 1, g->b_col != 1, a % NNL_ALIGNMENT != 0,
        b % NNL_ALIGNMENT != 0,         g->transposed, g->prepacked};
    unsigned flags = 0;
    for (unsigned i = 0; i < sizeof traits; i++) flags |= (unsigned)traits[i] << i;
    return nnl_tune_shape(g->m, g->n, g->k, flags, threads);
}

/* A product's choices: small ones take the rules. */
static nnl_tuning T_(begin_tuning)(const T_(product) *g, int threads) {
    double work = T_(work)(g->m, g->n, g->k, 0);
    nnl_tuning t = {.work = work};
    if (work >= NNL_GEMM_TUNE_WORK) t.shape = T_(shape)(g, threads);
    return t;
}

/* True for a few rows times a large B whose rows alias in the cache's sets: a panel that is
 * prefetched is evicted before it is packed. Transposed, each line of B is read once, and half as
 * many at a time. */
static bool T_(rows_alias)(const T_(product) *g) {
    const int64_t bytes = g->k * g->n * (int64_t)sizeof(real);
    return g->b_col == 1 && g->b_row * (int64_t)sizeof(real) % NNL_GEMM_ALIAS_BYTES == 0 &&
           bytes > NNL_GEMM_UNPACKED_L2 * nnl_l2_bytes() && g->m <= NNL_GEMM_ALIAS_ROWS;
}

/* Computes C^T = B^T A^T where that fills the vectors better or transposes less. The rows of a
 * transposed B are then read in place, and only a row-major A is packed: dx = dy W^T of a small
 * batch. Few output columns, as in a last layer, become full vectors of rows. */
static void T_(choose_transpose)(T_(product) *g, nnl_tuning *t, int threads) {
    const T_(product) o = *g;
    if (g->prepacked) return;
    int64_t squares = g->b_col == 1 ? 0 : T_(squares)(g->k, g->n);
    double plain = T_(work)(g->m, g->n, g->k, squares);
    double transposed = T_(transposed_work)(g);
    bool worth = transposed < NNL_GEMM_TRY_WORK * plain && plain < NNL_GEMM_TRY_WORK * transposed;
    bool rule = transposed < NNL_GEMM_TRANSPOSE_GAIN * plain || (worth && T_(rows_alias)(g));
    if (!nnl_tune(t, NNL_CHOICE_TRANSPOSE, 2, rule, worth)) return;
    g->transposed = true;
    g->m = o.n, g->n = o.m;
    g->a = o.b, g->a_row = o.b_col, g->a_col = o.b_row;
    g->b = o.a, g->b_row = o.a_col, g->b_col = o.a_row;
    if (t->shape) t->shape = T_(shape)(g, threads);
}

/* Chooses what is packed. */
static void T_(choose_packing)(T_(product) *g, nnl_tuning *t) {
    const int64_t unpacked_bytes = NNL_GEMM_UNPACKED_L2 * nnl_l2_bytes();
    /* B must be packed when its rows are not contiguous; it pays when several panels of rows read
     * it from beyond L2, its rows far apart: each on another page, and few cache sets for all; or
     * when each of its loads crosses a cache line. */
    bool large = g->k * g->n * (int64_t)sizeof(real) > unpacked_bytes,
         several = g->m > 2 * NNL_GEMM_MR;
    g->pack_b = g->b_col != 1;
    if (!g->pack_b && !g->prepacked) {
        bool rule = large && several && g->n > NR;
        g->pack_b = nnl_tune(t, NNL_CHOICE_PACK_B, 2, rule, several);
    }
    /* A is read in place until it outgrows the cache: its rows are a dozen streams, which alias in
     * one set of L1 when they lie a whole number of pages apart. A transposed A moves to another
     * cache line with every p, and each panel of rows meets the same lines. */
    bool transposed = g->a_col != 1;
    bool alias = !transposed && g->a_row * (int64_t)sizeof(real) % 4096 == 0;
    int64_t most_bytes = transposed ? 4 * unpacked_bytes : unpacked_bytes;
    bool slow = alias || g->m * g->k * (int64_t)sizeof(real) > most_bytes;
    bool worth = g->m > NNL_GEMM_MR / 2 && g->n > (transposed ? 2 : 4) * NR;
    g->pack_a = nnl_tune(t, NNL_CHOICE_PACK_A, 2, slow && worth, worth);
}

/* Work of the largest part of a grid of parts_m x parts_n. A few rows read B faster than memory
 * beyond L1 gives it. */
static double T_(part_work)(const T_(product) *g, int64_t parts_m, int64_t parts_n) {
    int64_t m = T_(largest_part)(g->m, NNL_GEMM_MR, parts_m);
    int64_t n = T_(largest_part)(g->n, NR, parts_n);
    double compute = T_(work)(m, n, g->k, g->b_col == 1 ? 0 : T_(squares)(g->k, n));
    double bytes = ((double)m + (double)n) * (double)g->k * sizeof(real);
    double memory = bytes / NNL_GEMM_BYTES_PER_FMA;
    return compute > memory ? compute : memory;
}

/* The grid of at most so many parts whose largest part is least work, if that is below `best`; ties
 * go to cutting columns, where no panel of B is packed twice. */
static void T_(best_grid)(T_(product) *g, int64_t parts, double best) {
    int64_t tiles_m = nnl_ceil_div(g->m, NNL_GEMM_MR), tiles_n = nnl_ceil_div(g->n, NR);
    g->parts_m = g->parts_n = 1;
    for (int64_t parts_n = nnl_min(parts, tiles_n); parts_n >= 1; parts_n--) {
        int64_t parts_m = nnl_min(parts / parts_n, tiles_m);
        double work = T_(part_work)(g, parts_m, parts_n);
        if (parts_m * parts_n > 1 && work < best) {
            best = work;
            g->parts_m = parts_m;
            g->parts_n = parts_n;
        }
    }
}

/* Chooses the grid of parts. By the rule several must save a tenth, the parallel region's own cost
 * included, and no thread joins for less work than that costs. */
static void T_(choose_grid)(T_(product) *g, nnl_tuning *t, int threads) {
    g->parts_m = g->parts_n = 1;
    if (threads == 1) return;
    const double serial = T_(part_work)(g, 1, 1);
    double most = serial / NNL_GEMM_THREAD_WORK;
    int64_t parts = most >= threads ? threads : (int64_t)most;
    T_(best_grid)(g, parts, NNL_GEMM_REGION_GAIN * serial - NNL_GEMM_REGION_WORK);
    int64_t used = g->parts_m * g->parts_n;
    int rule = used == 1 ? 0 : 4 * used > 3 * threads || threads < 4 ? 1 : 2;
    int way = nnl_tune(t, NNL_CHOICE_THREADS, threads < 4 ? 2 : 3, rule, true);
    if (way != rule) T_(best_grid)(g, way == 0 ? 1 : way == 1 ? threads : threads / 2, serial);
}

/* Chooses the sizes of blocks. */
static void T_(choose_blocks)(T_(product) *g, nnl_tuning *t) {
    static const int64_t kc[] = {KC_SHORT, NNL_GEMM_KC, NNL_GEMM_KC_LONG};
    int64_t rows = T_(largest_part)(g->m, NNL_GEMM_MR, g->parts_m);
    double l2_elements = MC_L2 * (double)nnl_l2_bytes() / sizeof(real);
    int64_t most_rows =
        nnl_max((int64_t)(l2_elements / NNL_GEMM_KC) / NNL_GEMM_MR, 1) * NNL_GEMM_MR;
    int rule = g->prepacked || rows > most_rows;
    int way = nnl_tune(t, NNL_CHOICE_KC, 3, rule, g->k > KC_SHORT);
    if (way != rule) {
        double most = l2_elements / (double)kc[way];
        most_rows = nnl_max((int64_t)most / NNL_GEMM_MR, 1) * NNL_GEMM_MR;
    }
    g->kc = nnl_min(kc[way], nnl_max(g->k, 1));
    g->mc = nnl_min(most_rows, rows);
    g->nc = nnl_min(NNL_GEMM_NC, T_(largest_part)(g->n, NR, g->parts_n));
    /* Panels that one block of all rows and the whole of k reads once need not be kept. */
    bool once = g->k <= KC_SHORT && (double)rows * (double)g->k <= l2_elements;
    if (g->pack_b && !g->pack_a && once) {
        g->mc = rows;
        g->nc = nnl_min(g->nc, NNL_GEMM_PANELS_ONCE * NR);
    }
    if (g->pack_b && g->b_col == 1) g->prefetch = nnl_tune(t, NNL_CHOICE_PREFETCH, 2, 1, true);
}

/* Computes a product of at least one output. */
static int T_(compute)(T_(product) *g, int threads) {
    _Alignas(NNL_ALIGNMENT) real stack[NNL_GEMM_STACK_BYTES / sizeof(real)];
    const bool is_long = (double)g->m * (double)g->n * (double)g->k >= NNL_GEMM_POLL_FMAS;
    if (T_(is_small_k)(g, threads)) {
        T_(compute_small_k)(g);
        return is_long && nnl_stopped() ? NNL_EINTR : NNL_OK;
    }
    nnl_tuning tuning = T_(begin_tuning)(g, threads);
    T_(choose_transpose)(g, &tuning, threads);
    T_(choose_grid)(g, &tuning, threads);
    T_(choose_packing)(g, &tuning);
    T_(choose_blocks)(g, &tuning);
    int64_t part = T_(packed_a)(g) + T_(packed_b)(g), parts = g->parts_m * g->parts_n;
    bool fits = part * parts <= (int64_t)(sizeof stack / sizeof *stack);
    int status = nnl_size_ok(part, parts, sizeof(real)) ? NNL_OK : NNL_EINVAL;
    if (status == NNL_OK && part > 0) {
        g->scratch = fits ? stack : nnl_alloc(part * parts, sizeof(real));
        if (!g->scratch) status = NNL_ENOMEM;
    }
    if (status == NNL_OK) {
        nnl_parallel_for(parts, 1, (int)parts, T_(parts), g);
        if (!fits) nnl_free(g->scratch);
        if (is_long && nnl_stopped()) status = NNL_EINTR;
    }
    nnl_tune_end(&tuning, status == NNL_OK);
    return status;
}

/* Columns to be split off as a product of their own, or 0: 33 columns are two whole vectors and one
 * nearly empty. The last few become full vectors of rows when that product is transposed. */
static int64_t T_(split)(const T_(product) *g, int threads) {
    T_(product) rest = *g;
    rest.n = g->n % VLANES;
    if (rest.n == 0 || g->n < VLANES || g->b_col != 1 || g->prepacked) return 0;
    double whole = T_(work)(g->m, g->n, g->k, 0);
    double parts = T_(work)(g->m, g->n - rest.n, g->k, 0) + T_(transposed_work)(&rest);
    parts += NNL_GEMM_SPLIT_WORK;
    bool serial = threads == 1 || whole < 2 * NNL_GEMM_THREAD_WORK;
    return serial && parts < NNL_GEMM_SPLIT_GAIN * whole ? rest.n : 0;
}

/* Bytes from the first to the last of rows x columns elements at those strides. */
static int64_t T_(extent)(int64_t rows, int64_t row, int64_t columns, int64_t column) {
    if (rows == 0 || columns == 0) return 0;
    return ((rows - 1) * row + (columns - 1) * column + 1) * (int64_t)sizeof(real);
}

/* Columns of the panel that holds `columns` of a prepacked matrix, and those after it. */
static int64_t T_(packed_columns)(int64_t columns) {
    return T_(width_columns)(T_(tile_width)(NNL_GEMM_MR, columns, true, true));
}

/* A small k goes by small_k.inc, which reads rows in place; few columns may be transposed. */
NNL_API int NNL_(gemm_packed_size)(int64_t k, int64_t n, int64_t *size) {
    if (!nnl_size_ok(k, n, 2 * sizeof(real))) return NNL_EINVAL;
    const bool gains = k > NNL_GEMM_SMALL_K && n >= NR;
    const int64_t rest = n % NR;
    *size = gains ? (n - rest + (rest ? T_(packed_columns)(rest) : 0)) * k : 0;
    return NNL_OK;
}

NNL_API int NNL_(gemm_pack)(int64_t k, int64_t n, const real *b, int64_t b_row, int64_t b_col,
                            real *packed) {
    if (!nnl_size_ok(k, n, 2 * sizeof(real))) return NNL_EINVAL;
    for (int64_t j = 0; j < n; j += NR) {
        int64_t lanes = nnl_min(NR, n - j);
        T_(pack_panel)(k, lanes, T_(packed_columns)(lanes), b + j * b_col, b_col, b_row,
                       packed + j * k);
    }
    return NNL_OK;
}

int NNL_(gemm_and_sums)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row,
                        int64_t a_col, const real *b, int64_t b_row, int64_t b_col, real *c,
                        int64_t c_row, const real *bias, const real *activation_output, real *sums,
                        int mode, int activation, int threads) {
    if (!nnl_size_ok(m, n, sizeof(real)) || !nnl_size_ok(m, k, sizeof(real)) ||
        !nnl_size_ok(k, n, sizeof(real)) || threads < 1 || (bias && mode & NNL_ACCUMULATE) ||
        activation < NNL_IDENTITY || activation > NNL_TANH || (sums && mode & NNL_PACKED)) {
        return NNL_EINVAL;
    }
    if (mode & NNL_PACKED) b_row = n, b_col = 1; /* as much memory, or a few columns more */
    int64_t size = T_(extent)(m, c_row, n, 1), row_size = n * (int64_t)sizeof(real);
    int64_t a_size = T_(extent)(m, a_row, k, a_col), b_size = T_(extent)(k, b_row, n, b_col);
    if (nnl_overlap(c, size, a, a_size) || nnl_overlap(c, size, b, b_size) ||
        nnl_overlap(c, size, bias, row_size) || nnl_overlap(c, size, activation_output, size) ||
        nnl_overlap(sums, row_size, a, a_size) || nnl_overlap(sums, row_size, b, b_size) ||
        nnl_overlap(sums, row_size, c, size)) {
        return NNL_EOVERLAP;
    }
    bool gradient = activation_output || mode & NNL_GRADIENT;
    if (sums && m == 0) T_(add_column_sums)(k, n, b, b_row, sums, gradient);
    if (m == 0 || n == 0) return NNL_OK;
    T_(product) g = {.m = m, .n = n, .k = k, .c = c, .c_row = c_row, .bias = bias};
    g.activation_output = activation_output;
    g.sums = sums;
    g.a = a, g.a_row = a_row, g.a_col = a_col;
    g.b = b, g.b_row = b_row, g.b_col = b_col;
    g.prepacked = mode & NNL_PACKED;
    g.accumulate = mode & NNL_ACCUMULATE;
    g.gradient = gradient;
    g.activation = activation;
    int64_t rest = T_(split)(&g, threads);
    if (rest > 0) {
        T_(product) last = g;
        last.n = rest;
        g.n -= rest;
        last.b += g.n;
        last.c += g.n;
        if (bias) last.bias += g.n;
        if (activation_output) last.activation_output += g.n;
        if (sums) last.sums += g.n;
        int status = T_(compute)(&last, threads);
        if (status != NNL_OK) return status;
    }
    return T_(compute)(&g, threads);
}

NNL_API int NNL_(gemm)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,
                       const real *b, int64_t b_row, int64_t b_col, real *c, int64_t c_row,
                       const real *bias, const real *activation_output, int mode, int activation,
                       int threads) {
    return NNL_(gemm_and_sums)(m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, bias,
                               activation_output, NULL, mode, activation, threads);
}

#undef NR
#undef MC_L2
#undef KC_SHORT
#undef HALF
#endif
