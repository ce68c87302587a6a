/* pack.h: copies of A and B in the order in which the micro-kernel reads them.
 *
 * A panel of A holds `height` rows as a column of p: element (i, p) at p * height + i. A panel of B
 * holds `width` columns as rows of p: element (p, j) at p * width + j, zero where the matrix ends.
 * Included by gemm.c in each type pass. */

/* to[p * height + i] = a[p * a_col + i]: rows of the panel are contiguous already. */
static void T_(copy_panel)(int64_t k, int64_t rows, int64_t height, const real *a, int64_t a_col,
                           real *to) {
    if (rows == height && height == NNL_GEMM_NV * VLANES) { /* a whole panel of B */
        for (int64_t p = 0; p < k; p++, a += a_col, to += NNL_GEMM_NV * VLANES) {
            for (int v = 0; v < NNL_GEMM_NV; v++)
                V_(store)(to + v * VLANES, V_(load)(a + v * VLANES));
        }
        return;
    }
    for (int64_t p = 0; p < k; p++, a += a_col, to += height) {
        for (int64_t i = 0; i < height; i += VLANES) {
            int width = (int)nnl_min(VLANES, height - i), valid = (int)nnl_min(VLANES, rows - i);
            V_(store_n)(to + i, V_(load_n)(a + i, valid), width);
        }
    }
}

/* What `turn` does, for one square, element by element. */
static void T_(turn_few)(int rows, int height, int columns, const real *from, int64_t from_row,
                         real *to, int64_t to_row) {
    for (int c = 0; c < columns; c++, to += to_row) {
        if (rows < height) V_(store_n)(to, V_(zero)(), height);
        for (int r = 0; r < rows; r++) to[r] = from[r * from_row + c];
    }
}

/* to[c * to_row + r] = from[r * from_row + c] for r < rows, c < columns, and 0 for
 * rows <= r < height: transposes square by square in registers. */
static void T_(turn)(int64_t rows, int64_t height, int64_t columns, const real *from,
                     int64_t from_row, real *to, int64_t to_row) {
    for (int64_t c = 0; c < columns; c += VLANES) {
        int across = (int)nnl_min(VLANES, columns - c);
        for (int64_t r = 0; r < height; r += VLANES) {
            int down = (int)nnl_min(VLANES, height - r), valid = (int)nnl_min(down, rows - r);
            if (across * valid <= VLANES) { /* a corner or a line: one by one is quicker */
                T_(turn_few)(valid, down, across, from + r * from_row + c, from_row,
                             to + c * to_row + r, to_row);
                continue;
            }
            vreal lines[VLANES];
            for (int l = 0; l < VLANES; l++) {
                const real *line = from + (r + l) * from_row + c;
                lines[l] = r + l >= rows      ? V_(zero)()
                           : across == VLANES ? V_(load)(line)
                                              : V_(load_n)(line, across);
            }
            V_(transpose)(lines);
            for (int l = 0; l < across; l++) V_(store_n)(to + (c + l) * to_row + r, lines[l], down);
        }
    }
}

/* to[p * height + i] = a[i * a_row + p * a_col] for i < rows, p < k, and 0 for rows <= i < height.
 * One of the strides is 1 in every product of a layer; the last loop is for all others. */
static void T_(pack_panel)(int64_t k, int64_t rows, int64_t height, const real *a, int64_t a_row,
                           int64_t a_col, real *to) {
    if (a_row == 1) {
        T_(copy_panel)(k, rows, height, a, a_col, to);
    } else if (a_col == 1) {
        T_(turn)(rows, height, k, a, a_row, to, height);
    } else {
        for (int64_t p = 0; p < k; p++) {
            for (int64_t i = 0; i < height; i++) {
                to[p * height + i] = i < rows ? a[i * a_row + p * a_col] : 0;
            }
        }
    }
}
