/* Adadelta.c: steps in the unit of the weights, from the ratio of two root mean squares.
 *
 * s = rho s + (1 - rho) g^2                       state[0], of the gradients
 * d = sqrt(a + eps) / sqrt(s + eps) g
 * a = rho a + (1 - rho) d^2                       state[1], of the steps
 * w = w - lr d
 * Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/Adadelta.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

NNL_INLINE void T_(adadelta_rule)(T_(parameters) *p, const T_(update) *u) {
    const vreal eps = V_(set)(u->eps);
    p->state[0] = T_(exponential_average_square)(p->state[0], p->grad, p->small, u);
    vreal above = V_(sqrt)(V_(add)(p->state[1], eps)), below = V_(sqrt)(V_(add)(p->state[0], eps));
    vreal step = V_(mul)(V_(div)(above, below), p->grad);
    p->state[1] = T_(exponential_average_square)(p->state[1], step,
                                                 T_(any_small)(step, u->least_first_square), u);
    p->weight = V_(fnma)(V_(set)(u->rate), step, p->weight);
}

static void T_(adadelta)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 2, true, T_(adadelta_rule));
}

void NNL_(adadelta_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    u->rate = (real)o->lr;
    u->beta2 = (real)o->rho;
    u->one_minus_beta2 = (real)(1 - o->rho);
    u->eps = (real)o->eps;
    T_(set_average_limits)(u, u->one_minus_beta2, u->one_minus_beta2);
    nnl_parallel_for(count, NNL_GRAIN_RULE, threads, T_(adadelta), u);
}

#endif
