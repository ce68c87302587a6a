/* sparse.h: sparse rows become rows that the kernels take, one batch at a time: the whole matrix is never
 * dense. Included by train.c for each type. */

static inline int64_t T_(index_at)(const nnl_data *d, const void *indices, int64_t i) {
    return d->index_bytes == 4 ? ((const int32_t *)indices)[i] : ((const int64_t *)indices)[i];
}

/* Row order[i], or first + i, of the sparse data to row i of out [N, columns]. */
static int T_(densify)(const nnl_data *d, int64_t columns, int64_t N, int64_t first,
                       const int64_t *order, real *out) {
    const real *values = d->input;
    memset(out, 0, (size_t)(N * columns) * sizeof(real));
    for (int64_t i = 0; i < N; i++, out += columns) {
        int64_t row = order ? order[i] : first + i;
        int64_t end = T_(index_at)(d, d->starts, row + 1);
        for (int64_t k = T_(index_at)(d, d->starts, row); k < end; k++) {
            int64_t column = T_(index_at)(d, d->columns, k);
            if (column < 0 || column >= columns) return NNL_EINVAL;
            out[column] += values[k];
        }
    }
    return NNL_OK;
}
