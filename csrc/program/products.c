/* products.c: matrix products, one or a stack of them: C_i = act(A_i B_i + bias) for each i.
 *
 * Each is gemm(), with strides for transposes and for operands that are repeated over the stack. A stack
 * of many products gives each thread some of them; few products share their threads inside. */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <string.h>

#include "core/base.h"
#include "gemm/gemm.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/vec.h"

/* Multiply-adds that are worth a thread. */
#define NNL_STACK_WORK 65536

#define NNL_GENERIC_FILE "program/products.c"
#include "core/dtype.h"
#else

typedef struct {
    int64_t m, n, k;
    const real *a, *b;
    const int64_t *a_step, *b_step, *c_step; /* to the next product, row and column */
    real *c;
    const real *bias, *gate;
    real *sums;
    int mode, activation, threads;
    _Atomic int status;
} T_(stack);

static void T_(run_products)(void *context, int64_t begin, int64_t end) {
    T_(stack) *s = context;
    for (int64_t i = begin; i < end; i++) {
        const real *a = s->a + i * s->a_step[0], *b = s->b + i * s->b_step[0];
        int status =
            NNL_(gemm_and_sums)(s->m, s->n, s->k, a, s->a_step[1], s->a_step[2], b, s->b_step[1],
                                s->b_step[2], s->c + i * s->c_step[0], s->c_step[1], s->bias,
                                s->gate, s->sums, s->mode, s->activation, s->threads);
        if (status != NNL_OK) s->status = status;
    }
}

static int T_(run_stack)(int64_t count, T_(stack) *s) {
    int threads = s->threads;
    if (count == 1) {
        T_(run_products)(s, 0, 1);
        return s->status;
    }
    int64_t work = nnl_max(s->m * s->n * s->k, 1);
    if (count >= threads) s->threads = 1;
    nnl_parallel_for(count, nnl_ceil_div(NNL_STACK_WORK, work), s->threads == 1 ? threads : 1,
                     T_(run_products), s);
    return s->status;
}

NNL_API int NNL_(matmul)(int64_t count, int64_t m, int64_t n, int64_t k, const real *a,
                         int64_t a_next, int64_t a_row, int64_t a_col, const real *b,
                         int64_t b_next, int64_t b_row, int64_t b_col, real *c, int mode,
                         int threads) {
    if (threads < 1 || !nnl_size_ok(m, n, sizeof(real)) || !nnl_size_ok(m, k, sizeof(real)) ||
        !nnl_size_ok(k, n, sizeof(real)) || !nnl_size_ok(count, m * n, sizeof(real))) {
        return NNL_EINVAL;
    }
    const int64_t steps[3][3] = {{a_next, a_row, a_col}, {b_next, b_row, b_col}, {m * n, n, 1}};
    T_(stack) s = {.m = m, .n = n, .k = k, .a = a, .b = b, .c = c, .threads = threads};
    s.mode = mode & NNL_GRADIENT;
    s.a_step = steps[0];
    s.b_step = steps[1];
    s.c_step = steps[2];
    return T_(run_stack)(count, &s);
}

int NNL_(op_gemm)(const nnl_work *w) {
    const nnl_call *call = w->call;
    T_(stack) s = {.m = w->size[1], .n = w->size[2], .k = w->size[3], .threads = w->threads};
    s.a = w->at[NNL_A];
    s.b = w->at[NNL_B];
    s.c = w->at[NNL_OUT];
    s.bias = w->at[NNL_C];
    s.gate = w->at[NNL_D];
    s.sums = w->at[NNL_OUT2];
    s.activation = call->activation;
    s.mode = call->flag;
    s.a_step = call->slot[NNL_A].stride;
    s.b_step = call->slot[NNL_B].stride;
    s.c_step = call->slot[NNL_OUT].stride;
    if (s.sums && s.n > 0 && !(s.mode & NNL_ACCUMULATE))
        memset(s.sums, 0, (size_t)s.n * sizeof(real));
    return T_(run_stack)(w->size[0], &s);
}

#endif
