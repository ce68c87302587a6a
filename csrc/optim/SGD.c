/* SGD.c: stochastic gradient descent with momentum.
 *
 * v = momentum v + (1 - dampening) g    only with momentum; the first step takes v = g
 * w = w - lr v                          plain: w - lr g; Nesterov: w - lr (g + momentum v)
 * g is the effective gradient of optimizer.inc. state[0] is v, 0 at first.
 * Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in
 * deep learning", ICML 2013, in the form in which the rate is outside the velocity. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/SGD.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

NNL_INLINE void T_(sgd_rule)(T_(parameters) *p, const T_(update) *u) {
    p->weight = V_(fnma)(V_(set)(u->rate), p->grad, p->weight);
}

NNL_INLINE void T_(sgd_momentum_rule)(T_(parameters) *p, const T_(update) *u) {
    vreal scaled = V_(mul)(V_(set)(u->one_minus_beta1), p->grad);
    p->state[0] = T_(normal)(V_(fma)(V_(set)(u->momentum), p->state[0], scaled), u);
    p->grad = u->nesterov ? V_(fma)(V_(set)(u->momentum), p->state[0], p->grad) : p->state[0];
    T_(sgd_rule)(p, u);
}

static void T_(plain)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 0, false, T_(sgd_rule));
}

static void T_(with_momentum)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 1, false, T_(sgd_momentum_rule));
}

void NNL_(sgd_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    u->rate = (real)o->lr;
    u->momentum = (real)o->momentum;
    u->one_minus_beta1 = o->steps == 1 ? 1 : (real)(1 - o->dampening);
    u->nesterov = o->flags & NNL_NESTEROV;
    nnl_parallel_for(count, NNL_GRAIN_CHEAP, threads,
                     o->momentum != 0 ? T_(with_momentum) : T_(plain), u);
}

#endif
