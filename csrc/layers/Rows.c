/* Rows.c: gathers the rows of a batch by their indices. */
#ifndef NNL_GENERIC_PASS

#include <string.h>

#include "core/base.h"
#include "core/entry.h"
#include "losses/target.h"
#include "vec/vec.h"

/* Bytes copied between two checks for an interrupt. */
#define NNL_CHECK_BYTES (4 << 20)

#define NNL_GENERIC_FILE "layers/Rows.c"
#include "core/dtype.h"
#else

NNL_API int NNL_(gather_rows)(int64_t rows, int64_t width, int64_t source_rows, const real *input,
                              const int64_t *index, real *output, int64_t *bad_row) {
    if (!nnl_size_ok(rows, width, sizeof(real)) || !nnl_size_ok(source_rows, width, sizeof(real))) {
        return NNL_EINVAL;
    }
    int status = nnl_check_targets(rows, source_rows, index, bad_row);
    if (status != NNL_OK) return status;
    size_t bytes = (size_t)width * sizeof(real), unchecked = 0;
    for (int64_t i = 0; i < rows; i++) {
        memcpy(output + i * width, input + index[i] * width, bytes);
        unchecked += bytes;
        if (unchecked >= NNL_CHECK_BYTES) {
            unchecked = 0;
            if (nnl_stopped()) return NNL_EINTR;
        }
    }
    return NNL_OK;
}

#endif
