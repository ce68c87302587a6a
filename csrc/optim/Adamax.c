/* Adamax.c: Adam with the infinity norm of the gradients in place of their mean square.
 *
 * m = m + (1 - beta1) (g - m)           state[0]
 * s = max(beta2 s, |g| + eps)           state[1], the largest recent gradient
 * w = w - lr / (1 - beta1^t) m / s      t is the number of the step from 1
 * Source: Kingma, Ba, "Adam", ICLR 2015, section 7.1; eps as in PyTorch. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/Adamax.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

NNL_INLINE void T_(adamax_rule)(T_(parameters) *p, const T_(update) *u) {
    p->state[0] = T_(exponential_average)(p->state[0], p->grad, u->one_minus_beta1, p->small, u);
    vreal now = V_(add)(V_(abs)(p->grad), V_(set)(u->eps)); /* second in max: NaN stays */
    p->state[1] = T_(normal)(V_(max)(V_(mul)(V_(set)(u->beta2), p->state[1]), now), u);
    vreal step = V_(div)(p->state[0], p->state[1]);
    p->weight = V_(fnma)(V_(set)(u->rate), step, p->weight);
}

static void T_(adamax)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 2, true, T_(adamax_rule));
}

void NNL_(adamax_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    u->rate = (real)(o->lr / (1 - o->power1));
    u->one_minus_beta1 = (real)(1 - o->beta1);
    u->beta2 = (real)o->beta2;
    u->eps = (real)o->eps;
    T_(set_average_limits)(u, u->one_minus_beta1, 1);
    nnl_parallel_for(count, NNL_GRAIN_RULE, threads, T_(adamax), u);
}

#endif
