/* kernel.h: the micro-kernel, one template for every tile, type and instruction set.
 *
 * A tile is `rows` x `vectors` registers of outputs, each output one chain of fused multiply-adds
 * over p in ascending order. The template is always inlined with constant tile sizes, so that its
 * loops disappear and the accumulators live in registers; the table at the end names the tiles.
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
    int last;             /* lanes in use in the last vector of a row, 1..VLANES */
    real *sums;           /* column sums of B, to be continued by this tile, or NULL */
    const real *next;     /* the outputs of the tile after this one, to be fetched meanwhile */
    const char *ahead;    /* one line to be fetched with each inner index: a later panel of B */
    ptrdiff_t ahead_step; /* bytes */
} T_(tile);

#define FORMS 3
typedef void T_(tile_kernel)(const T_(tile) *);

static inline const real *T_(step)(const real *p, ptrdiff_t bytes) {
    return (const real *)((const char *)p + bytes);
}

/* load_last and store_last: the last vector of a row, whole or partial. */
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

NNL_INLINE void T_(run_tile)(const T_(tile) *tile, const int rows, const int vectors,
                             const bool partial, const bool sums) {
    vreal acc[NNL_GEMM_MR][NNL_GEMM_WIDE]; /* rows x vectors of it are used */
    vreal sum[NNL_GEMM_WIDE];
    const int end = vectors - 1, last = tile->last;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        const real *c = tile->c + i * tile->c_row;
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            const real *start = tile->bias ? tile->bias : c;
            bool part = partial && j == end;
            acc[i][j] = tile->bias || tile->accumulate
                            ? T_(load_last)(start + j * VLANES, part, last)
                            : V_(zero)();
        }
    }
#pragma GCC unroll 16
    for (int j = 0; sums && j < vectors; j++) {
        sum[j] = T_(load_last)(tile->sums + j * VLANES, partial && j == end, last);
    }
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
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            bp[j] = T_(load_last)(b + j * VLANES, partial && j == end, last);
            if (sums) sum[j] = V_(add)(sum[j], bp[j]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            const real *base = i < 3 ? a0 : i < 6 ? a1 : i < 9 ? a2 : a3;
            vreal ai = V_(set)(*T_(step)(base, i % 3 * a_row));
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) acc[i][j] = V_(fma)(ai, bp[j], acc[i][j]);
        }
        a0 = T_(step)(a0, a_col);
        if (rows > 3) a1 = T_(step)(a1, a_col);
        if (rows > 6) a2 = T_(step)(a2, a_col);
        if (rows > 9) a3 = T_(step)(a3, a_col);
        b += b_row;
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        real *c = tile->c + i * tile->c_row;
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) {
            T_(store_last)(c + j * VLANES, acc[i][j], partial && j == end, last);
        }
    }
#pragma GCC unroll 16
    for (int j = 0; sums && j < vectors; j++) {
        T_(store_last)(tile->sums + j * VLANES, sum[j], partial && j == end, last);
    }
}

/* Three forms of each tile: whole vectors, a partial last vector, and with the sums of B's columns
 * beside (any last vector; one panel of rows in each product of a layer's gradient needs it). */
#define NNL_TILE(rows, vectors)                                               \
    static void T_(tile_##rows##x##vectors)(const T_(tile) *tile) {           \
        T_(run_tile)(tile, rows, vectors, false, false);                      \
    }                                                                         \
    static void T_(tile_##rows##x##vectors##_partial)(const T_(tile) *tile) { \
        T_(run_tile)(tile, rows, vectors, true, false);                       \
    }                                                                         \
    static void T_(tile_##rows##x##vectors##_sums)(const T_(tile) *tile) {    \
        T_(run_tile)(tile, rows, vectors, true, true);                        \
    }
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

/* Vectors of the widest tile of so many rows, of at most so many. */
static inline int T_(tile_width)(int64_t rows, int64_t vectors) {
    if (rows == 1 && vectors >= 8) return 8;
    if (rows <= 3 && vectors >= 4) return 4;
    return vectors >= NNL_GEMM_NV ? NNL_GEMM_NV : 1;
}

static inline T_(tile_kernel) *T_(kernel_for)(const T_(tile) *tile, int64_t rows, int width) {
    static T_(tile_kernel) *const one_by_8[FORMS] = NNL_TILE_ENTRY(1, 8);
    static T_(tile_kernel) *const by_4[3][FORMS] = {NNL_TILE_ENTRY(1, 4), NNL_TILE_ENTRY(2, 4),
                                                    NNL_TILE_ENTRY(3, 4)};
    int form = tile->sums ? 2 : tile->last < VLANES;
    if (width == 8) return one_by_8[form];
    if (width == 4) return by_4[rows - 1][form];
    return T_(tiles)[rows - 1][width - 1][form];
}

#undef NNL_TILE
#undef NNL_TILE_ENTRY
#undef FORMS
