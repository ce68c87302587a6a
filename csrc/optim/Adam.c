/* Adam.c: adaptive moments; AdamW with decoupled decay, AMSGrad with the largest second moment.
 *
 * m = m + (1 - beta1) (g - m)           state[0], the exponential average of g
 * v = beta2 v + (1 - beta2) g^2         state[1], the exponential average of g^2
 * w = shrink w - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
 * With NNL_EPS_HAT eps is added to sqrt(v), as in the form of the paper's section 2, last
 * paragraph. t is the number of the step from 1; shrink is 1, or 1 - lr decay for AdamW. AMSGrad
 * divides by the largest v so far, state[2].
 * Source: Kingma, Ba, "Adam", ICLR 2015, algorithm 1; Loshchilov, Hutter, "Decoupled Weight Decay
 * Regularization", ICLR 2019; Reddi, Kale, Kumar, "On the Convergence of Adam", ICLR 2018. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/Adam.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

NNL_INLINE void T_(adapt)(T_(parameters) *p, const T_(update) *u, bool largest) {
    p->state[0] = T_(exponential_average)(p->state[0], p->grad, u->one_minus_beta1, p->small, u);
    p->state[1] = T_(exponential_average_square)(p->state[1], p->grad, p->small, u);
    if (largest) p->state[2] = T_(normal)(V_(max)(p->state[2], p->state[1]), u);
    vreal root = V_(sqrt)(p->state[largest ? 2 : 1]);
    vreal size = V_(fma)(root, V_(set)(u->correction), V_(set)(u->eps));
    vreal kept = V_(mul)(V_(set)(u->shrink), p->weight);
    p->weight = V_(fnma)(V_(set)(u->rate), V_(div)(p->state[0], size), kept);
}

NNL_INLINE void T_(adam_rule)(T_(parameters) *p, const T_(update) *u) { T_(adapt)(p, u, false); }

NNL_INLINE void T_(amsgrad_rule)(T_(parameters) *p, const T_(update) *u) { T_(adapt)(p, u, true); }

static void T_(adam)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 2, true, T_(adam_rule));
}

static void T_(amsgrad)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 3, true, T_(amsgrad_rule));
}

void NNL_(adam_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    u->rate = (real)(o->lr / (1 - o->power1));
    u->correction = (real)(1 / sqrt(1 - o->power2));
    u->one_minus_beta1 = (real)(1 - o->beta1);
    u->one_minus_beta2 = (real)(1 - o->beta2);
    u->beta2 = (real)o->beta2;
    u->eps = (real)(o->flags & NNL_EPS_HAT ? o->eps / sqrt(1 - o->power2) : o->eps);
    T_(set_average_limits)(u, u->one_minus_beta1, u->one_minus_beta2);
    nnl_parallel_for(count, NNL_GRAIN_RULE, threads,
                     o->flags & NNL_AMSGRAD ? T_(amsgrad) : T_(adam), u);
}

#endif
