/* Adagrad.c: steps divided by the root of the sum of all squared gradients.
 *
 * s = s + g^2                                     state[0]
 * w = w - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)    t is the number of the step from 1
 * Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
 * Optimization", JMLR 12, 2011. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/Adagrad.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

NNL_INLINE void T_(adagrad_rule)(T_(parameters) *p, const T_(update) *u) {
    vreal g = T_(squarable)(p->grad, p->small, u);
    p->state[0] = T_(normal_square)(V_(fma)(g, g, p->state[0]), u);
    vreal step = V_(div)(p->grad, V_(add)(V_(sqrt)(p->state[0]), V_(set)(u->eps)));
    p->weight = V_(fnma)(V_(set)(u->rate), step, p->weight);
}

static void T_(adagrad)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 1, true, T_(adagrad_rule));
}

void NNL_(adagrad_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    u->rate = (real)(o->lr / (1 + (double)(o->steps - 1) * o->lr_decay));
    u->eps = (real)o->eps;
    T_(set_average_limits)(u, 1, 1);
    nnl_parallel_for(count, NNL_GRAIN_RULE, threads, T_(adagrad), u);
}

#endif
