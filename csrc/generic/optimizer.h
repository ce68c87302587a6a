/* optimizer.h: what every optimiser's rule shares: the gradient as the rule sees it, and the loop
 * over flat arrays.
 *
 * g = scale clip(grad) + decay w + l1 sign(w)
 *     clip bounds each element by +-bound (infinity: no bound); scale is the factor of clipping by
 *     the global norm, negative to maximise; without clipping it is 1, and both are exact
 *     identities. decay is the gradient of decay / 2 ||w||^2, l1 that of l1 ||w||_1 (0 at w = 0).
 *
 * States that fall below the normal range become 0: the velocity of a dead unit would otherwise
 * end among the denormal numbers and stay there, where arithmetic is up to a hundred times slower.
 * Not where a rule divides by its state alone (eps = 0), for 0 / 0 must not arise from that.
 *
 * Included by a rule's file in each type pass. A rule is a function of the vectors of one place,
 * T_(rule), handed to T_(run_rule) by a one-line task; all of it is inlined into one loop, one pass
 * over memory. Rules are elementwise, so the bits depend on neither threads nor segments. */
#include "generic/grain.h"
#include "parallel.h"

/* One segment, and the numbers of one step rounded to the type; `rate` and below are the rule's. */
typedef struct {
    real *weight;
    const real *grad;
    real *state[4];
    real bound, scale, decay, l1, shrink; /* shrink: 1 - lr decay, with decoupled decay */
    real smallest;                        /* states below it become 0 */
    real rate, rate2, momentum, fresh1, fresh2, beta2, eps, correction;
    real eta_minus, eta_plus, step_min, step_max;
    bool nesterov;
} T_(update);

/* The vectors of one place. */
typedef struct {
    vreal weight, grad, state[4];
} T_(place);

typedef void T_(rule)(T_(place) *p, const T_(update) *u);

NNL_INLINE vreal T_(prepared)(vreal grad, vreal weight, const T_(update) *u) {
    vreal bounded = V_(max)(V_(set)(-u->bound), V_(min)(V_(set)(u->bound), grad));
    vreal g = V_(fma)(V_(set)(u->decay), weight, V_(mul)(V_(set)(u->scale), bounded));
    if (u->l1 != 0) {
        vreal down = V_(select)(V_(lt)(weight, V_(zero)()), V_(set)(-u->l1), V_(zero)());
        g = V_(add)(g, V_(select)(V_(gt)(weight, V_(zero)()), V_(set)(u->l1), down));
    }
    return g;
}

NNL_INLINE vreal T_(normal)(vreal state, const T_(update) *u) {
    return V_(select)(V_(lt)(V_(abs)(state), V_(set)(u->smallest)), V_(zero)(), state);
}

/* Elements [begin, end) of a segment, whose rule keeps so many states. */
NNL_INLINE void T_(run_rule)(const void *context, int64_t begin, int64_t end, int states,
                             T_(rule) *rule) {
    const T_(update) u = *(const T_(update) *)context;
    int64_t i = begin;
    T_(place) p;
    for (; i + VLANES <= end; i += VLANES) {
        p.weight = V_(load)(u.weight + i);
        p.grad = T_(prepared)(V_(load)(u.grad + i), p.weight, &u);
#pragma GCC unroll 4
        for (int s = 0; s < states; s++) p.state[s] = V_(load)(u.state[s] + i);
        rule(&p, &u);
#pragma GCC unroll 4
        for (int s = 0; s < states; s++) V_(store)(u.state[s] + i, T_(normal)(p.state[s], &u));
        V_(store)(u.weight + i, p.weight);
    }
    if (i == end) return;
    p.weight = V_(load_n)(u.weight + i, end - i);
    p.grad = T_(prepared)(V_(load_n)(u.grad + i, end - i), p.weight, &u);
    for (int s = 0; s < states; s++) p.state[s] = V_(load_n)(u.state[s] + i, end - i);
    rule(&p, &u);
    for (int s = 0; s < states; s++) {
        V_(store_n)(u.state[s] + i, T_(normal)(p.state[s], &u), end - i);
    }
    V_(store_n)(u.weight + i, p.weight, end - i);
}

/* The mean of the past: m + fresh (x - m), fresh the weight of the new. */
static inline vreal T_(moved)(vreal m, vreal x, real fresh) {
    return V_(fma)(V_(set)(fresh), V_(sub)(x, m), m);
}

/* The mean of squares: beta s + fresh x^2. */
static inline vreal T_(moved_square)(vreal s, vreal x, real beta, real fresh) {
    return V_(fma)(V_(mul)(V_(set)(fresh), x), x, V_(mul)(V_(set)(beta), s));
}

/* Each rule: fills its numbers from the optimiser, whose running scalars are already those of this
 * step, and changes `count` elements. */
typedef void T_(rule_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads);
T_(rule_step) NNL_(sgd_step), NNL_(adam_step), NNL_(adamax_step), NNL_(nadam_step);
T_(rule_step) NNL_(rmsprop_step), NNL_(adagrad_step), NNL_(adadelta_step), NNL_(rprop_step);
