/* RMSprop.c: steps divided by the root mean square of recent gradients.
 *
 * s = alpha s + (1 - alpha) g^2                   state[0]
 * a = a + (1 - alpha) (g - a)                     centred: the next state, the average of g
 * d = g / (sqrt(s - a^2) + eps)                   a = 0 when not centred
 * b = momentum b + d                              with momentum: the last state
 * w = w - lr b                                    (or lr d)
 * The variance s - a^2 is at least 0, but rounding may take it below: it is raised to 0, where
 * PyTorch's root would be NaN.
 * Source: Tieleman, Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; centred:
 * Graves, "Generating Sequences With Recurrent Neural Networks", 2013, equations 38 to 45. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/RMSprop.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

NNL_INLINE void T_(divide)(T_(parameters) *p, const T_(update) *u, bool centred, bool momentum) {
    p->state[0] = T_(exponential_average_square)(p->state[0], p->grad, p->small, u);
    vreal variance = p->state[0];
    if (centred) {
        p->state[1] =
            T_(exponential_average)(p->state[1], p->grad, u->one_minus_beta2, p->small, u);
        vreal mean = T_(squarable)(p->state[1], true, u);
        variance = T_(normal)(V_(max)(V_(zero)(), V_(fnma)(mean, mean, variance)), u);
    }
    vreal step = V_(div)(p->grad, V_(add)(V_(sqrt)(variance), V_(set)(u->eps)));
    if (momentum) {
        vreal *buffer = &p->state[centred ? 2 : 1];
        step = *buffer = T_(normal)(V_(fma)(V_(set)(u->momentum), *buffer, step), u);
    }
    p->weight = V_(fnma)(V_(set)(u->rate), step, p->weight);
}

NNL_INLINE void T_(rule_plain)(T_(parameters) *p, const T_(update) *u) {
    T_(divide)(p, u, false, false);
}
NNL_INLINE void T_(rule_momentum)(T_(parameters) *p, const T_(update) *u) {
    T_(divide)(p, u, false, true);
}
NNL_INLINE void T_(rule_centred)(T_(parameters) *p, const T_(update) *u) {
    T_(divide)(p, u, true, false);
}
NNL_INLINE void T_(rule_both)(T_(parameters) *p, const T_(update) *u) {
    T_(divide)(p, u, true, true);
}

static void T_(plain)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 1, true, T_(rule_plain));
}
static void T_(with_momentum)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 2, true, T_(rule_momentum));
}
static void T_(centred)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 2, true, T_(rule_centred));
}
static void T_(centred_momentum)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 3, true, T_(rule_both));
}

void NNL_(rmsprop_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    nnl_task *tasks[2][2] = {{T_(plain), T_(with_momentum)}, {T_(centred), T_(centred_momentum)}};
    u->rate = (real)o->lr;
    u->momentum = (real)o->momentum;
    u->beta2 = (real)o->alpha;
    u->one_minus_beta2 = (real)(1 - o->alpha);
    u->eps = (real)o->eps;
    T_(set_average_limits)(u, u->one_minus_beta2, u->one_minus_beta2);
    nnl_parallel_for(count, NNL_GRAIN_RULE, threads,
                     tasks[!!(o->flags & NNL_CENTERED)][o->momentum != 0], u);
}

#endif
