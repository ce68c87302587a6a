/* kernel.h: the micro-kernel, one template for every tile, type and instruction set.
 *
 * A tile is `rows` x `vectors` registers of outputs, and where there are half registers one of them
 * more; each output is one chain of fused multiply-adds over p in ascending order. The template is
 * always inlined with constant tile sizes, so that its loops disappear and the accumulators live in
 * registers; the tables at the end name the tiles.
 *
 * Included by gemm.c in each type pass. */

/* One tile's operands. Strides of A are in bytes, for the sake of x86 addressing: twelve row
 * pointers would not fit into the registers, but four pointers and one stride reach twelve rows as
 * pointer, pointer + stride, pointer + 2 stride. */
typedef struct {
    int64_t k;
    const real *a;
    ptrdiff_t a_row, a_col; /* bytes */
    const real *b;
    ptrdiff_t b_row; /* elements */
    real *c;
    ptrdiff_t c_row;      /* elements */
    const real *bias;     /* start of every row, or NULL */
    bool accumulate;      /* start from c */
    bool flush;           /* a gradient's last terms: what lies below the normal range becomes 0 */
    int last;             /* lanes in use in the last vector of a row, at least 1 */
    real *sums;           /* column sums of B, to be continued by this tile, or NULL */
    const real *next;     /* the outputs of the tile after this one, to be fetched meanwhile */
    const char *ahead;    /* one line to be fetched with each inner index: a later panel of B */
    ptrdiff_t ahead_step; /* bytes */
} T_(tile);

#define NR (NNL_GEMM_NV * VLANES)

/* Lanes of a half register, or 0 where there are none and its operations name others in vain. */
#ifdef NNL_VEC_HALF
#define HALF (VLANES / 2)
#define H_(name) T_(h_##name)
#else
#define HALF 0
#define H_(name) V_(name)
typedef vreal T_(vhalf);
#endif

typedef void T_(tile_kernel)(const T_(tile) *);

static inline const real *T_(step)(const real *p, ptrdiff_t bytes) {
    return (const real *)((const char *)p + bytes);
}

/* The last vector of a row, whole or partial. */
static inline vreal T_(load_last)(const real *p, bool partial, int last) {
    return partial ? V_(load_n)(p, last) : V_(load)(p);
}
static inline void T_(store_last)(real *p, vreal v, bool partial, int last) {
    if (partial) {
        V_(store_n)(p, v, last);
    } else {
        V_(store)(p, v);
    }
}

/* `last` lanes of the last vector are in use: all, unless it is partial, or a half. */
NNL_INLINE void T_(run_tile)(const T_(tile) *tile, const int rows, const int vectors,
                             const bool half, const bool partial, const bool sums) {
    vreal acc[NNL_GEMM_MR][NNL_GEMM_WIDE]; /* rows x vectors of it are used */
    T_(vhalf) acc_half[NNL_GEMM_MR];
    vreal sum[NNL_GEMM_WIDE];
    T_(vhalf) sum_half;
    const int end = vectors - 1, last = tile->last;
    const real *start = tile->bias ? tile->bias : tile->c;
    const ptrdiff_t start_row = tile->bias ? 0 : tile->c_row;
    if (tile->bias || tile->accumulate) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++, start += start_row) {
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) {
                acc[i][j] = T_(load_last)(start + j * VLANES, partial && j == end, last);
            }
            if (half) acc_half[i] = H_(load_n)(start + vectors * VLANES, last);
        }
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) acc[i][j] = V_(zero)();
            if (half) acc_half[i] = H_(zero)();
        }
    }
#pragma GCC unroll 16
    for (int j = 0; sums && j < vectors; j++) {
        sum[j] = T_(load_last)(tile->sums + j * VLANES, partial && j == end, last);
    }
    if (sums && half) sum_half = H_(load_n)(tile->sums + vectors * VLANES, last);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        const char *line = (const char *)(tile->next + i * tile->c_row);
        for (int byte = 0; byte < vectors * VLANES * (int)sizeof(real); byte += NNL_ALIGNMENT) {
            __builtin_prefetch(line + byte, 1);
        }
    }
    const ptrdiff_t a_row = tile->a_row, a_col = tile->a_col, b_row = tile->b_row;
    const real *a0 = tile->a;
    const real *a1 = rows > 3 ? T_(step)(a0, 3 * a_row) : a0;
    const real *a2 = rows > 6 ? T_(step)(a0, 6 * a_row) : a0;
    const real *a3 = rows > 9 ? T_(step)(a0, 9 * a_row) : a0;
    const real *b = tile->b;
    const char *ahead = tile->ahead;
    const ptrdiff_t ahead_step = tile->ahead_step;
    for (int64_t p = tile->k; p > 0; p--) {
        vreal bp[NNL_GEMM_WIDE];
        T_(vhalf) bp_half;
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            bp[j] = T_(load_last)(b + j * VLANES, partial && j == end, last);
            if (sums) sum[j] = V_(add)(sum[j], bp[j]);
        }
        if (half) bp_half = H_(load_n)(b + vectors * VLANES, last);
        if (half && sums) sum_half = H_(add)(sum_half, bp_half);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            const real *base = i < 3 ? a0 : i < 6 ? a1 : i < 9 ? a2 : a3;
            const real *ai = T_(step)(base, i % 3 * a_row);
            vreal ai_all = V_(set)(*ai);
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) acc[i][j] = V_(fma)(ai_all, bp[j], acc[i][j]);
            if (half) acc_half[i] = H_(fma)(H_(set)(*ai), bp_half, acc_half[i]);
        }
        a0 = T_(step)(a0, a_col);
        if (rows > 3) a1 = T_(step)(a1, a_col);
        if (rows > 6) a2 = T_(step)(a2, a_col);
        if (rows > 9) a3 = T_(step)(a3, a_col);
        b += b_row;
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
    }
    if (tile->flush) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) acc[i][j] = V_(flush)(acc[i][j]);
            if (half) acc_half[i] = H_(flush)(acc_half[i]);
        }
#pragma GCC unroll 16
        for (int j = 0; sums && j < vectors; j++) sum[j] = V_(flush)(sum[j]);
        if (sums && half) sum_half = H_(flush)(sum_half);
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        real *c = tile->c + i * tile->c_row;
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            T_(store_last)(c + j * VLANES, acc[i][j], partial && j == end, last);
        }
        if (half) H_(store_n)(c + vectors * VLANES, acc_half[i], last);
    }
#pragma GCC unroll 16
    for (int j = 0; sums && j < vectors; j++) {
        T_(store_last)(tile->sums + j * VLANES, sum[j], partial && j == end, last);
    }
    if (sums && half) H_(store_n)(tile->sums + vectors * VLANES, sum_half, last);
}

/* Three forms of each tile: whole vectors, a partial last vector, and with the sums of B's columns
 * beside (any last vector; one panel of rows in each product of a layer's gradient needs it). */
#define FORMS 3
#define NNL_TILE_FORM(name, ...) \
    static void T_(name)(const T_(tile) *tile) { T_(run_tile)(tile, __VA_ARGS__); }
#define NNL_TILE(rows, vectors)                                                         \
    NNL_TILE_FORM(tile_##rows##x##vectors, rows, vectors, false, false, false)          \
    NNL_TILE_FORM(tile_##rows##x##vectors##_partial, rows, vectors, false, true, false) \
    NNL_TILE_FORM(tile_##rows##x##vectors##_sums, rows, vectors, false, true, true)
#define NNL_TILE_ENTRY(rows, vectors)                                    \
    {T_(tile_##rows##x##vectors), T_(tile_##rows##x##vectors##_partial), \
     T_(tile_##rows##x##vectors##_sums)}

/* One, two and three rows also come with more columns: two vectors are too few chains to cover the
 * latency of a multiply-add. */
NNL_TILE(1, 4)
NNL_TILE(1, 8)
NNL_TILE(2, 4)
NNL_TILE(3, 4)

#define NNL_EACH_ROW(rows) \
    NNL_TILE(rows, 1)      \
    NNL_TILE(rows, 2)
NNL_GEMM_ROWS(NNL_EACH_ROW)
#undef NNL_EACH_ROW

/* tiles[rows - 1][vectors - 1][form] */
static T_(tile_kernel) *const T_(tiles)[NNL_GEMM_MR][NNL_GEMM_NV][FORMS] = {
#define NNL_EACH_ROW(rows) {NNL_TILE_ENTRY(rows, 1), NNL_TILE_ENTRY(rows, 2)},
    NNL_GEMM_ROWS(NNL_EACH_ROW)
#undef NNL_EACH_ROW
};

/* Tiles that end in a half: after no vector or one, without and with sums. */
#ifdef NNL_VEC_HALF
#define NNL_EACH_ROW(rows)                                          \
    NNL_TILE_FORM(half_##rows##x0, rows, 0, true, false, false)     \
    NNL_TILE_FORM(half_##rows##x0_sums, rows, 0, true, false, true) \
    NNL_TILE_FORM(half_##rows##x1, rows, 1, true, false, false)     \
    NNL_TILE_FORM(half_##rows##x1_sums, rows, 1, true, false, true)
NNL_GEMM_ROWS(NNL_EACH_ROW)
#undef NNL_EACH_ROW
static T_(tile_kernel) *const T_(half_tiles)[NNL_GEMM_MR][2][2] = {
#define NNL_EACH_ROW(rows)                            \
    {{T_(half_##rows##x0), T_(half_##rows##x0_sums)}, \
     {T_(half_##rows##x1), T_(half_##rows##x1_sums)}},
    NNL_GEMM_ROWS(NNL_EACH_ROW)
#undef NNL_EACH_ROW
};
#endif

/* The width of a tile: so many vectors, and a half. */
typedef struct {
    int vectors;
    bool half;
} T_(width);

/* The widest tile of so many rows at the start of so many columns. Where B is packed it does not
 * depend on the rows: all blocks of rows read the same panels. */
static inline T_(width) T_(tile_width)(int64_t rows, int64_t columns, bool packed) {
    int64_t whole = columns / VLANES, last = columns % VLANES;
    if (last > 0 && last <= HALF && (packed || rows >= NNL_GEMM_HALF_ROWS)) {
        if (whole <= 1) return (T_(width)){(int)whole, true};
        return (T_(width)){whole == 2 ? 1 : 2, false}; /* one vector goes with the half */
    }
    int64_t vectors = whole + (last > 0);
    if (!packed && rows == 1 && vectors >= 8) return (T_(width)){8, false};
    if (!packed && rows <= 3 && vectors >= 4) return (T_(width)){4, false};
    return (T_(width)){(int)nnl_min(vectors, NNL_GEMM_NV), false};
}

/* Columns of that width. */
static inline int64_t T_(width_columns)(T_(width) w) {
    return w.vectors * VLANES + (w.half ? HALF : 0);
}

/* The kernel for so many rows of a tile whose other operands are known. */
static inline T_(tile_kernel) *T_(kernel_for)(const T_(tile) *tile, int64_t rows, T_(width) w) {
    static T_(tile_kernel) *const one_by_8[FORMS] = NNL_TILE_ENTRY(1, 8);
    static T_(tile_kernel) *const by_4[3][FORMS] = {NNL_TILE_ENTRY(1, 4), NNL_TILE_ENTRY(2, 4),
                                                    NNL_TILE_ENTRY(3, 4)};
#ifdef NNL_VEC_HALF
    if (w.half) return T_(half_tiles)[rows - 1][w.vectors][tile->sums != NULL];
#endif
    int form = tile->sums ? 2 : tile->last < VLANES;
    if (w.vectors == 8) return one_by_8[form];
    if (w.vectors == 4) return by_4[rows - 1][form];
    return T_(tiles)[rows - 1][w.vectors - 1][form];
}

#undef NNL_TILE_FORM
#undef NNL_TILE
#undef NNL_TILE_ENTRY
#undef FORMS
