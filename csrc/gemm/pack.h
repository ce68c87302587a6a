/* pack.h: copies of A and B in the order in which the micro-kernel reads them.
 *
 * A panel of A holds `height` rows as a column of p: element (i, p) at p * height + i. A panel of B
 * holds `width` columns as rows of p: element (p, j) at p * width + j, zero where the matrix ends.
 * Included by gemm.c in each type pass. */

/* to[p * height + i] = a[i * a_row + p * a_col] for i < rows, p < k; rows <= height. */
static void T_(pack_panel)(int64_t k, int64_t rows, int64_t height, const real *a, int64_t a_row,
                           int64_t a_col, real *to) {
    int64_t p = 0;
    if (a_col == 1) { /* each row of A is contiguous: transpose squares of registers */
        for (; p + VLANES <= k; p += VLANES) {
            real *square = to + p * height;
            for (int64_t i = 0; i < rows; i += VLANES) {
                vreal lines[VLANES];
                int64_t lanes = nnl_min(VLANES, rows - i);
                for (int r = 0; r < VLANES; r++) {
                    lines[r] = r < lanes ? V_(load)(a + (i + r) * a_row + p) : V_(zero)();
                }
                V_(transpose)(lines);
                for (int r = 0; r < VLANES; r++) {
                    V_(store_n)(square + r * height + i, lines[r],
                                (int)nnl_min(VLANES, height - i));
                }
            }
        }
    }
    for (; p < k; p++) {
        const real *from = a + p * a_col;
        real *row = to + p * height;
        if (a_row == 1) {
            memcpy(row, from, (size_t)rows * sizeof *row);
        } else {
            for (int64_t i = 0; i < rows; i++) row[i] = from[i * a_row];
        }
        for (int64_t i = rows; i < height; i++) row[i] = 0;
    }
}
