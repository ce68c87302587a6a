/* Rprop.c: resilient propagation: steps by the sign of the gradient alone, for full batches.
 *
 * Each weight has its own step size d, state[1], lr at first; state[0] is the last gradient p.
 * g p > 0    d = min(eta_plus d, step_max)        the same direction: longer steps
 * g p < 0    d = max(eta_minus d, step_min) and g = 0    past a minimum: shorter, and wait a step
 * w = w - sign(g) d; p = g                        a NaN gradient makes w NaN, so that it is seen
 * g p counts as 0 where it lies below the normal range. It is computed 2^126 times as large
 * (double: 2^1022), where it is normal.
 * Source: Riedmiller, Braun, "A Direct Adaptive Method for Faster Backpropagation Learning: The
 * RPROP Algorithm", ICNN 1993, without weight backtracking as in PyTorch. */
#ifndef NNL_GENERIC_PASS

#include <math.h>

#include "core/base.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "optim/Rprop.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"

#define HALF_RANGE (REAL_IS_FLOAT ? (real)0x1p63 : (real)0x1p511)

NNL_INLINE void T_(rprop_rule)(T_(parameters) *p, const T_(update) *u) {
    const vreal zero = V_(zero)(), one = V_(set)(1);
    const vreal half = V_(set)(HALF_RANGE);
    vreal product = V_(mul)(V_(mul)(half, p->grad), V_(mul)(half, p->state[0]));
    vmask sign_changed = V_(le)(product, V_(neg)(one));
    vreal factor = V_(select)(V_(ge)(product, one), V_(set)(u->eta_plus), one);
    factor = V_(select)(sign_changed, V_(set)(u->eta_minus), factor);
    vreal size = V_(mul)(factor, p->state[1]);
    size = V_(min)(V_(set)(u->step_max), V_(max)(V_(set)(u->step_min), size));
    vreal g = V_(select)(sign_changed, zero, p->grad);
    vreal sign = V_(select)(V_(lt)(g, zero), V_(neg)(one), g); /* 0 and NaN are their own sign */
    sign = V_(select)(V_(gt)(g, zero), one, sign);
    p->weight = V_(fnma)(sign, size, p->weight);
    p->state[0] = T_(normal)(g, u);
    p->state[1] = T_(normal)(size, u);
}

static void T_(rprop)(void *context, int64_t begin, int64_t end) {
    T_(run_rule)(context, begin, end, 2, false, T_(rprop_rule));
}

void NNL_(rprop_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads) {
    u->eta_minus = (real)o->eta_minus;
    u->eta_plus = (real)o->eta_plus;
    u->step_min = (real)o->step_min;
    u->step_max = (real)o->step_max;
    nnl_parallel_for(count, NNL_GRAIN_RULE, threads, T_(rprop), u);
}

#undef HALF_RANGE

#endif
