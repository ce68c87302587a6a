/* GradientNorm.c: ||g||, the Euclidean norm of all gradients together.
 *
 * The segments are taken as one long array, cut into blocks of fixed size; element i of it belongs
 * to lane i mod 16 of its block. So the bits depend neither on threads nor on how parameters are
 * divided into segments, only on their order. A segment that begins in the middle of a group of
 * lanes rotates the sums, so that whole vectors can be added. The sums of the blocks, rounded to
 * the type, are added in double in index order. A square below the normal range counts as 0. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "vec/lanes.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/GradientNorm.c"
#include "core/dtype.h"
#else

#include "layers/rows.inc"

typedef struct {
    const nnl_segment *segments;
    int64_t total;
    real bound; /* each element is first clipped to [-bound, bound] */
    real *sums; /* one for each block */
} T_(norm);

/* sums[(k + shift) % 16] += the squares of x[k], x[k + 16], ... */
static void T_(add_squares)(real sums[NNL_LANES], const real *x, int64_t n, int64_t shift,
                            real bound) {
    real rotated[NNL_LANES];
    for (int k = 0; k < NNL_LANES; k++) rotated[k] = sums[(k + shift) % NNL_LANES];
    T_(lanes) sum = L_(load)(rotated);
    const vreal high = V_(set)(bound), low = V_(set)(-bound);
    const vreal least = V_(set)(REAL_IS_FLOAT ? (real)0x1p-63 : (real)0x1p-511);
    for (int64_t i = 0; i < n; i += NNL_LANES) {
        T_(lanes) g = T_(row_lanes)(x, i, n, 0);
        for (int r = 0; r < NNL_LANES / VLANES; r++) {
            g.v[r] = V_(max)(low, V_(min)(high, g.v[r]));
            g.v[r] = V_(select)(V_(lt)(V_(abs)(g.v[r]), least), V_(zero)(), g.v[r]);
        }
        sum = L_(fma)(g, g, sum);
    }
    T_(store_lanes)(rotated, sum, NNL_LANES);
    for (int k = 0; k < NNL_LANES; k++) sums[(k + shift) % NNL_LANES] = rotated[k];
}

static void T_(norm_blocks)(void *context, int64_t begin, int64_t end) {
    const T_(norm) *p = context;
    const nnl_segment *s = p->segments;
    int64_t start = 0; /* where segment s begins in the long array */
    for (int64_t block = begin; block < end; block++) {
        int64_t i = block * SUM_BLOCK, stop = nnl_min(i + SUM_BLOCK, p->total);
        real sums[NNL_LANES] = {0};
        while (i < stop) {
            while (i >= start + s->count) start += s++->count;
            int64_t n = nnl_min(stop, start + s->count) - i;
            T_(add_squares)(sums, (const real *)s->grad + (i - start), n, i % NNL_LANES, p->bound);
            i += n;
        }
        p->sums[block] = L_(sum)(L_(load)(sums));
    }
}

NNL_API int NNL_(gradient_norm)(int64_t count, const nnl_segment *segments, double clip_value,
                                double *norm, int threads) {
    real few[NNL_FEW];
    T_(norm) p = {.segments = segments, .bound = (real)INFINITY};
    if (count < 0 || threads < 1) return NNL_EINVAL;
    for (int64_t i = 0; i < count; i++) {
        if (!nnl_size_ok(segments[i].count, 1, sizeof(real)) ||
            segments[i].count > INT64_MAX / 16 - p.total) {
            return NNL_EINVAL;
        }
        p.total += segments[i].count;
    }
    if (clip_value > 0) p.bound = (real)clip_value;
    int64_t blocks = nnl_ceil_div(p.total, SUM_BLOCK);
    p.sums = nnl_scratch(few, sizeof few, blocks, sizeof(real));
    if (!p.sums) return NNL_ENOMEM;
    nnl_parallel_for(blocks, NNL_GRAIN_CHEAP / SUM_BLOCK, threads, T_(norm_blocks), &p);
    double total = 0;
    for (int64_t block = 0; block < blocks; block++) total += (double)p.sums[block];
    nnl_end_scratch(p.sums, few);
    *norm = sqrt(total);
    return NNL_OK;
}

#endif
