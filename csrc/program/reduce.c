/* reduce.c: sums and extrema of a [outer, n, inner] over n; the outputs are [outer, inner].
 *
 * sum        with inner > 1 a chain over n from 0 for each output. With inner = 1 in NumPy's order:
 *            n < 8 terms are added in order; up to 128 in eight lanes that are combined as a tree;
 *            more are halved. All start from 0, so -0 is no sum
 * max, min   a chain over n of maximum (minimum) as elements.c has it; NaN anywhere gives NaN
 * first      a mask [outer, n, inner]: 1 at the first extremum, where the gradient goes; at the
 *            first NaN where there is one
 * Sums over several groups of axes are several calls, the last group first. Source of the pairwise
 * sum: Higham, "The accuracy of floating point summation" (1993). */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <string.h>

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/vec.h"

#define NNL_PAIRWISE_BLOCK 128

typedef struct {
    const void *a;
    void *out;
    int64_t n, inner;
    bool largest;
} nnl_reduction_work;

#define NNL_GENERIC_FILE "program/reduce.c"
#include "core/dtype.h"
#else

/* The pairwise sum of n terms. */
static real T_(pairwise)(const real *a, int64_t n) {
    if (n < 8) {
        real sum = 0;
        for (int64_t i = 0; i < n; i++) sum += a[i];
        return sum;
    }
    if (n > NNL_PAIRWISE_BLOCK) {
        int64_t half = n / 2 - n / 2 % 8;
        return T_(pairwise)(a, half) + T_(pairwise)(a + half, n - half);
    }
    real r[8];
    memcpy(r, a, sizeof r);
    int64_t i = 8;
    for (; i < n - n % 8; i += 8) {
        for (int k = 0; k < 8; k++) r[k] += a[i + k];
    }
    real sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; i++) sum += a[i];
    return sum;
}

static void T_(sum_parts)(void *context, int64_t begin, int64_t end) {
    const nnl_reduction_work *r = context;
    for (int64_t o = begin; o < end; o++) {
        const real *a = (const real *)r->a + o * r->n * r->inner;
        real *out = (real *)r->out + o * r->inner;
        if (r->inner == 1) {
            *out = 0 + T_(pairwise)(a, r->n);
            continue;
        }
        for (int64_t j = 0; j < r->inner; j++) out[j] = 0;
        for (int64_t i = 0; i < r->n; i++, a += r->inner) {
            for (int64_t j = 0; j < r->inner; j++) out[j] += a[j];
        }
    }
}

static inline real T_(extreme)(real x, real y, bool largest) {
    if (x != x) return x;
    return (largest ? x > y : x < y) ? x : y;
}

static void T_(extremum_parts)(void *context, int64_t begin, int64_t end) {
    const nnl_reduction_work *r = context;
    for (int64_t o = begin; o < end; o++) {
        const real *a = (const real *)r->a + o * r->n * r->inner;
        real *out = (real *)r->out + o * r->inner;
        for (int64_t j = 0; j < r->inner; j++) out[j] = a[j];
        for (int64_t i = 1; i < r->n; i++) {
            for (int64_t j = 0; j < r->inner; j++) {
                out[j] = T_(extreme)(out[j], a[i * r->inner + j], r->largest);
            }
        }
    }
}

static void T_(first_parts)(void *context, int64_t begin, int64_t end) {
    const nnl_reduction_work *r = context;
    for (int64_t o = begin; o < end; o++) {
        const real *a = (const real *)r->a + o * r->n * r->inner;
        unsigned char *out = (unsigned char *)r->out + o * r->n * r->inner;
        memset(out, 0, (size_t)(r->n * r->inner));
        for (int64_t j = 0; j < r->inner; j++) {
            int64_t best = 0;
            for (int64_t i = 1; i < r->n; i++) {
                real x = a[i * r->inner + j], y = a[best * r->inner + j];
                if (y == y && (x != x || (r->largest ? x > y : x < y))) best = i;
            }
            out[best * r->inner + j] = 1;
        }
    }
}

/* size: outer, n, inner, 1. Of nothing there is no extremum. */
static int T_(reduce)(const nnl_work *w, bool largest, nnl_task *task) {
    if (w->size[1] == 0 && task != T_(sum_parts) &&w->size[0] * w->size[2] > 0) return NNL_EINVAL;
    nnl_reduction_work r = {w->at[NNL_A], w->at[NNL_OUT], w->size[1], w->size[2], largest};
    int64_t each = nnl_max(r.n * r.inner, 1);
    nnl_parallel_for(w->size[0], nnl_ceil_div(NNL_GRAIN_CHEAP, each), w->threads, task, &r);
    return NNL_OK;
}

NNL_API int NNL_(sum)(int64_t outer, int64_t n, int64_t inner, const real *input, real *output,
                      int threads) {
    if (!nnl_size_ok(outer, n, 1) || !nnl_size_ok(outer * n, inner, sizeof(real)) || threads < 1) {
        return NNL_EINVAL;
    }
    nnl_reduction_work r = {.a = input, .out = output, .n = n, .inner = inner};
    int64_t each = nnl_max(n * inner, 1);
    nnl_parallel_for(outer, nnl_ceil_div(NNL_GRAIN_CHEAP, each), threads, T_(sum_parts), &r);
    return NNL_OK;
}

int NNL_(op_sum)(const nnl_work *w) { return T_(reduce)(w, false, T_(sum_parts)); }
int NNL_(op_max)(const nnl_work *w) { return T_(reduce)(w, true, T_(extremum_parts)); }
int NNL_(op_min)(const nnl_work *w) { return T_(reduce)(w, false, T_(extremum_parts)); }
int NNL_(op_first_max)(const nnl_work *w) { return T_(reduce)(w, true, T_(first_parts)); }
int NNL_(op_first_min)(const nnl_work *w) { return T_(reduce)(w, false, T_(first_parts)); }

#endif
