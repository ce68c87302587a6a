/* optimizer.h: what every optimiser's rule shares: the gradient as the rule sees it, and the loop
 * over flat arrays.
 *
 * g = scale clip(grad) + decay w + l1 sign(w)
 *     clip bounds each element by +-bound (infinity: no bound); scale is the factor of clipping by
 *     the global norm, negative to maximise; without clipping it is 1, and both are exact
 *     identities. decay is the gradient of decay / 2 ||w||^2, l1 that of l1 ||w||_1 (0 at w = 0).
 *
 * Numbers below the normal range are kept out, for arithmetic there is up to two hundred times
 * slower: a gradient there is read as 0, a state that falls there becomes 0, and so does the square
 * of a gradient; the rule goes on with what it stores. States and squares only where eps, beside
 * which they vanish, is not as small itself: for 0 / 0 must not arise from that, nor a huge step.
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
    real smallest;                        /* states below it become 0, */
    real least_square, least_new_square;  /* squares of what is below it; of what starts a mean */
    real least_new;                       /* and what is below it does not start a mean */
    real watch;                           /* gradients below it are looked at for all that */
    bool bounded;
    real rate, rate2, momentum, fresh1, fresh2, beta2, eps, correction;
    real eta_minus, eta_plus, step_min, step_max;
    bool nesterov;
} T_(update);

/* The vectors of one place. */
typedef struct {
    vreal weight, grad, state[4];
    bool small; /* some of grad may be so small that its square, or a mean of it, is kept out */
} T_(place);

typedef void T_(rule)(T_(place) *p, const T_(update) *u);

/* True where some 0 < |x| < least: hardly ever, so that what follows stands behind a branch. */
static inline bool T_(any_small)(vreal x, real least) {
    vmask small = V_(lt)(V_(abs)(x), V_(set)(least));
    return V_(any)(small) && V_(any)(V_(mask_and)(small, V_(gt)(V_(abs)(x), V_(zero)())));
}

NNL_INLINE vreal T_(prepared)(vreal grad, vreal weight, const T_(update) *u) {
    if (u->bounded) grad = V_(max)(V_(set)(-u->bound), V_(min)(V_(set)(u->bound), grad));
    vreal g = V_(fma)(V_(set)(u->decay), weight, V_(mul)(V_(set)(u->scale), grad));
    if (u->l1 != 0) {
        vreal down = V_(select)(V_(lt)(weight, V_(zero)()), V_(set)(-u->l1), V_(zero)());
        g = V_(add)(g, V_(select)(V_(gt)(weight, V_(zero)()), V_(set)(u->l1), down));
    }
    return g;
}

NNL_INLINE vreal T_(normal)(vreal state, const T_(update) *u) {
    return V_(select)(V_(lt)(V_(abs)(state), V_(set)(u->smallest)), V_(zero)(), state);
}

/* The gradient of a place: as memory holds it at first, then as the rule sees it. */
NNL_INLINE void T_(prepare)(T_(place) *p, const bool means, const T_(update) *u) {
    p->small = means && (u->decay != 0 || u->l1 != 0 || T_(any_small)(p->grad, u->watch));
    if (!means || p->small) p->grad = V_(flush)(p->grad);
    p->grad = T_(prepared)(p->grad, p->weight, u);
}

/* The same of what is not negative. */
NNL_INLINE vreal T_(normal_square)(vreal state, const T_(update) *u) {
    return V_(select)(V_(lt)(state, V_(set)(u->smallest)), V_(zero)(), state);
}

/* Elements [begin, end) of a segment, whose rule keeps so many states; means: it keeps them by `moved`,
 * `moved_square` or of `squarable`. */
NNL_INLINE void T_(run_rule)(const void *context, int64_t begin, int64_t end, int states,
                             const bool means, T_(rule) *rule) {
    const T_(update) u = *(const T_(update) *)context;
    int64_t i = begin;
    T_(place) p;
    for (; i + VLANES <= end; i += VLANES) {
        p.weight = V_(load)(u.weight + i);
        p.grad = V_(load)(u.grad + i);
        T_(prepare)(&p, means, &u);
#pragma GCC unroll 4
        for (int s = 0; s < states; s++) p.state[s] = V_(load)(u.state[s] + i);
        rule(&p, &u);
#pragma GCC unroll 4
        for (int s = 0; s < states; s++) V_(store)(u.state[s] + i, p.state[s]);
        V_(store)(u.weight + i, p.weight);
    }
    if (i == end) return;
    p.weight = V_(load_n)(u.weight + i, end - i);
    p.grad = V_(load_n)(u.grad + i, end - i);
    T_(prepare)(&p, means, &u);
    for (int s = 0; s < states; s++) p.state[s] = V_(load_n)(u.state[s] + i, end - i);
    rule(&p, &u);
    for (int s = 0; s < states; s++) V_(store_n)(u.state[s] + i, p.state[s], end - i);
    V_(store_n)(u.weight + i, p.weight, end - i);
}

/* x, or 0 where |x| < least. */
static inline vreal T_(at_least)(vreal least, vreal x) {
    return V_(select)(V_(lt)(V_(abs)(x), least), V_(zero)(), x);
}

/* x, or 0 where x^2 lies below the normal range. */
static inline vreal T_(squarable)(vreal x, bool small, const T_(update) *u) {
    if (!small) return x;
    return T_(at_least)(V_(set)(u->least_square), x);
}

/* The mean of the past: m + fresh (x - m), fresh the weight of the new. Where m is 0 and the result
 * would become 0 it is not computed, and so below; `small`: some x may be so. */
static inline vreal T_(moved)(vreal m, vreal x, real fresh, bool small, const T_(update) *u) {
    if (small) {
        vmask starts = V_(eq)(m, V_(zero)());
        x = T_(at_least)(V_(select)(starts, V_(set)(u->least_new), V_(zero)()), x);
    }
    return T_(normal)(V_(fma)(V_(set)(fresh), V_(sub)(x, m), m), u);
}

/* The mean of squares: beta s + fresh x^2, fresh being u->fresh2. */
static inline vreal T_(moved_square)(vreal s, vreal x, bool small, const T_(update) *u) {
    const vreal least = V_(set)(u->least_square), least_new = V_(set)(u->least_new_square);
    if (small) x = T_(at_least)(V_(select)(V_(eq)(s, V_(zero)()), least_new, least), x);
    vreal kept = V_(mul)(V_(set)(u->beta2), s);
    return T_(normal_square)(V_(fma)(V_(mul)(V_(set)(u->fresh2), x), x, kept), u);
}

/* To be called by a rule that keeps such means, with the weights of the new x and of the new x^2. */
static inline void T_(start_means)(T_(update) *u, real fresh, real fresh_square) {
    const real below = 1 - (real)0x1p-20; /* what is less gives no normal number, however rounded */
    if (u->smallest == 0) return;
    real square = u->least_square * (below / (real)sqrt((double)fresh_square));
    u->least_new_square = square > u->least_square ? square : u->least_square;
    u->least_new = below * (u->smallest / fresh);
    real most = u->least_new > u->least_new_square ? u->least_new : u->least_new_square;
    u->watch =
        most / (u->scale < 0 ? -u->scale : u->scale); /* infinite for 0, and all is looked at */
}

/* Each rule: fills its numbers from the optimiser, whose running scalars are already those of this
 * step, and changes `count` elements. */
typedef void T_(rule_step)(int64_t count, T_(update) *u, const nnl_optimizer *o, int threads);
T_(rule_step) NNL_(sgd_step), NNL_(adam_step), NNL_(adamax_step), NNL_(nadam_step);
T_(rule_step) NNL_(rmsprop_step), NNL_(adagrad_step), NNL_(adadelta_step), NNL_(rprop_step);
