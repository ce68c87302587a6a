/* NAdam.c: Adam with Nesterov momentum.
 *
 * mu_t = beta1 (1 - 0.5 x 0.96^(t psi))           the momentum of step t; psi is momentum_decay
 * m = m + (1 - beta1) (g - m)                     state[0]
 * v = beta2 v + (1 - beta2) g^2                   state[1]
 * w = shrink w - (lr (1 - mu_t) / (1 - mu_1...mu_t) g + lr mu_(t+1) / (1 - mu_1...mu_(t+1)) m)
 *                / (sqrt(v / (1 - beta2^t)) + eps)
 * Source: Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/NAdam.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

NNL_INLINE void T_(nadam_rule)(T_(parameters) *p, const T_(update) *u) {
    p->state[0] = T_(exponential_average)(p->state[0], p->grad, u->one_minus_beta1, p->small, u);
    p->state[1] = T_(exponential_average_square)(p->state[1], p->grad, p->small, u);
    vreal root = V_(sqrt)(p->state[1]);
    vreal size = V_(fma)(root, V_(set)(u->correction), V_(set)(u->eps));
    vreal step = V_(mul)(V_(set)(u->rate), p->grad);
    step = V_(fma)(V_(set)(u->rate2), p->state[0], step);
    p->weight = V_(sub)(V_(mul)(V_(set)(u->shrink), p->weight), V_(div)(step, size));
}

static void T_(nadam)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 2, true, T_(nadam_rule));
}

void NNL_(nadam_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    double mu = o->beta1 * (1 - 0.5 * o->momentum_decay_power);
    double next = o->beta1 * (1 - 0.5 * (o->momentum_decay_power * o->momentum_decay_factor));
    u->rate = (real)(o->lr * (1 - mu) / (1 - o->mu_product));
    u->rate2 = (real)(o->lr * next / (1 - o->mu_product * next));
    u->correction = (real)(1 / sqrt(1 - o->power2));
    u->one_minus_beta1 = (real)(1 - o->beta1);
    u->one_minus_beta2 = (real)(1 - o->beta2);
    u->beta2 = (real)o->beta2;
    u->eps = (real)o->eps;
    T_(set_average_limits)(u, u->one_minus_beta1, u->one_minus_beta2);
    nnl_parallel_for(count, NNL_GRAIN_RULE, threads, T_(nadam), u);
}

#endif
