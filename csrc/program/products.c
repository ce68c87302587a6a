/* products.c: matrix products, one or a batch of them: C_i = act(A_i B_i + bias) for each i.
 *
 * Each is gemm(), with strides for transposes and for operands that are broadcast over the batch. A
 * batch of many products gives each thread some of them; few products share their threads
 * inside. */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <string.h>

#include "core/base.h"
#include "gemm/gemm.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/vec.h"

/* FMAs of elements that are worth a thread. */
#define NNL_BATCHED_GEMM_FMAS 65536

#define NNL_GENERIC_FILE "program/products.c"
#include "core/dtype.h"
#else

typedef struct {
    int64_t m, n, k;
    const real *a, *b;
    const int64_t *a_stride, *b_stride, *c_stride; /* of products, rows and columns */
    real *c;
    const real *bias, *activation_output;
    real *sums;
    int mode, activation, threads;
    _Atomic int status;
} T_(batched_gemm);

static void T_(run_products)(void *context, int64_t begin, int64_t end) {
    T_(batched_gemm) *g = context;
    for (int64_t i = begin; i < end; i++) {
        const real *a = g->a + i * g->a_stride[0], *b = g->b + i * g->b_stride[0];
        int status = NNL_(gemm_and_sums)(g->m, g->n, g->k, a, g->a_stride[1], g->a_stride[2], b,
                                         g->b_stride[1], g->b_stride[2], g->c + i * g->c_stride[0],
                                         g->c_stride[1], g->bias, g->activation_output, g->sums,
                                         g->mode, g->activation, g->threads);
        if (status != NNL_OK) g->status = status;
    }
}

static int T_(run_batch)(int64_t count, T_(batched_gemm) *g) {
    int threads = g->threads;
    if (count == 1) {
        T_(run_products)(g, 0, 1);
        return g->status;
    }
    int64_t fmas = nnl_max(g->m * g->n * g->k, 1);
    if (count >= threads) g->threads = 1;
    nnl_parallel_for(count, nnl_ceil_div(NNL_BATCHED_GEMM_FMAS, fmas),
                     g->threads == 1 ? threads : 1, T_(run_products), g);
    return g->status;
}

NNL_API int NNL_(matmul)(int64_t count, int64_t m, int64_t n, int64_t k, const real *a,
                         int64_t a_next, int64_t a_row, int64_t a_col, const real *b,
                         int64_t b_next, int64_t b_row, int64_t b_col, real *c, int mode,
                         int threads) {
    if (threads < 1 || !nnl_size_ok(m, n, sizeof(real)) || !nnl_size_ok(m, k, sizeof(real)) ||
        !nnl_size_ok(k, n, sizeof(real)) || !nnl_size_ok(count, m * n, sizeof(real))) {
        return NNL_EINVAL;
    }
    const int64_t strides[3][3] = {{a_next, a_row, a_col}, {b_next, b_row, b_col}, {m * n, n, 1}};
    T_(batched_gemm) g = {.m = m, .n = n, .k = k, .a = a, .b = b, .c = c, .threads = threads};
    g.mode = mode & NNL_GRADIENT;
    g.a_stride = strides[0];
    g.b_stride = strides[1];
    g.c_stride = strides[2];
    return T_(run_batch)(count, &g);
}

int NNL_(op_gemm)(const nnl_work *w) {
    const nnl_call *call = w->call;
    T_(batched_gemm) g = {.m = w->size[1], .n = w->size[2], .k = w->size[3], .threads = w->threads};
    g.a = w->at[NNL_A];
    g.b = w->at[NNL_B];
    g.c = w->at[NNL_OUT];
    g.bias = w->at[NNL_C];
    g.activation_output = w->at[NNL_D];
    g.sums = w->at[NNL_OUT2];
    g.activation = call->activation;
    g.mode = call->flag;
    g.a_stride = call->slot[NNL_A].stride;
    g.b_stride = call->slot[NNL_B].stride;
    g.c_stride = call->slot[NNL_OUT].stride;
    if (g.sums && g.n > 0 && !(g.mode & NNL_ACCUMULATE))
        memset(g.sums, 0, (size_t)g.n * sizeof(real));
    return T_(run_batch)(w->size[0], &g);
}

#endif
