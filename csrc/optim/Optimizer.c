/* Optimizer.c: one step of an optimiser over all its segments.
 *
 * clip by value, clip by global norm, the rule on each segment, running scalars advanced.
 * The global norm is ||g|| over every gradient, after clipping by value; gradients are multiplied
 * by min(1, clip_norm / (||g|| + 1e-6)) as they are read. As in PyTorch, an infinite norm makes the
 * factor 0 and a NaN makes it NaN. Gradients in memory are not changed.
 * Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
 * ICML 2013, algorithm 1; the rules in their own files. */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <math.h>

#include "core/base.h"
#include "core/entry.h"
#include "vec/vec.h"

/* Arrays of state that a rule keeps. */
static int states_of(const nnl_optimizer *o) {
    switch (o->rule) {
        case NNL_RULE_SGD: return o->momentum != 0;
        case NNL_RULE_ADAM: return o->flags & NNL_AMSGRAD ? 3 : 2;
        case NNL_RULE_RMSPROP: return 1 + !!(o->flags & NNL_CENTERED) + (o->momentum != 0);
        case NNL_RULE_ADAGRAD: return 1;
        case NNL_RULE_ADAMAX:
        case NNL_RULE_NADAM:
        case NNL_RULE_ADADELTA:
        case NNL_RULE_RPROP: return 2;
        default: return -1;
    }
}

/* True when the rule divides by its state. */
static bool divides(const nnl_optimizer *o) {
    return o->rule != NNL_RULE_SGD && o->rule != NNL_RULE_RPROP;
}

/* The running scalars of the next step. */
static void advance(nnl_optimizer *o) {
    o->steps += 1;
    o->power1 *= o->beta1;
    o->power2 *= o->beta2;
    if (o->rule == NNL_RULE_NADAM) {
        o->momentum_decay_power *= o->momentum_decay_factor;
        o->mu_product *= o->beta1 * (1 - 0.5 * o->momentum_decay_power);
    }
}

/* The optimiser of this step for a segment: `next`, or *own, which leaves out the steps for which
 * the segment's parameters were frozen. */
static const nnl_optimizer *optimizer_of(const nnl_segment *s, const nnl_optimizer *next,
                                         nnl_optimizer *own) {
    if (s->late == 0) return next;
    *own = *next;
    own->power1 = s->power1;
    own->power2 = s->power2;
    own->momentum_decay_power = s->momentum_decay_power;
    own->mu_product = s->mu_product;
    advance(own);
    own->steps = next->steps - s->late;
    return own;
}

#define NNL_GENERIC_FILE "optim/Optimizer.c"
#include "core/dtype.h"
#else

#include "optim/optimizer.inc"
#include "optim/optimizer_step.inc"

/* x^2 is normal from here on; and added to this eps, the roots of smaller squares vanish. */
#define LEAST_SQUARE (REAL_IS_FLOAT ? (real)0x1p-63 : (real)0x1p-511)
#define LEAST_EPS (LEAST_SQUARE * (real)0x1p20)

static bool T_(segments_ok)(int64_t count, const nnl_segment *segments, int states) {
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++) {
        const nnl_segment *s = &segments[i];
        if (!nnl_size_ok(s->count, 1, sizeof(real)) || s->count > INT64_MAX / 16 - total) {
            return false;
        }
        total += s->count;
        for (int k = 0; k < states; k++) {
            if (s->count > 0 && !s->state[k]) return false;
        }
    }
    return true;
}

static T_(rule_step) *T_(rule_of)(const nnl_optimizer *o) {
    switch (o->rule) {
        case NNL_RULE_SGD: return NNL_(sgd_step);
        case NNL_RULE_ADAM: return NNL_(adam_step);
        case NNL_RULE_ADAMAX: return NNL_(adamax_step);
        case NNL_RULE_NADAM: return NNL_(nadam_step);
        case NNL_RULE_RMSPROP: return NNL_(rmsprop_step);
        case NNL_RULE_ADAGRAD: return NNL_(adagrad_step);
        case NNL_RULE_ADADELTA: return NNL_(adadelta_step);
        case NNL_RULE_RPROP: return NNL_(rprop_step);
        default: return NULL;
    }
}

int NNL_(optimizer_begin)(int64_t count, const nnl_segment *segments,
                          const nnl_optimizer *optimizer, nnl_optimizer *next, double *factor,
                          int threads) {
    int states = states_of(optimizer);
    if (states < 0 || count < 0 || !T_(segments_ok)(count, segments, states)) return NNL_EINVAL;
    *next = *optimizer;
    advance(next);
    *factor = 1;
    if (next->clip_norm <= 0) return NNL_OK;
    int status = NNL_(gradient_norm)(count, segments, next->clip_value, &next->grad_norm, threads);
    *factor = next->clip_norm / (next->grad_norm + 1e-6);
    if (*factor > 1) *factor = 1;
    return status;
}

void NNL_(optimizer_part)(const nnl_segment *s, int64_t begin, int64_t count, const real *grad,
                          const nnl_optimizer *next, double factor, int threads) {
    nnl_optimizer own;
    next = optimizer_of(s, next, &own);
    bool decoupled = next->flags & NNL_DECOUPLED;
    T_(update) u = {.weight = (real *)s->weight + begin, .grad = grad};
    int states = states_of(next);
    for (int k = 0; k < states; k++) u.state[k] = (real *)s->state[k] + begin;
    u.scale = (real)(next->flags & NNL_MAXIMIZE ? -factor : factor);
    u.bound = next->clip_value > 0 ? (real)next->clip_value : (real)INFINITY;
    u.bounded = next->clip_value > 0;
    u.decay = decoupled ? 0 : (real)s->weight_decay;
    u.shrink = decoupled ? (real)(1 - next->lr * s->weight_decay) : 1;
    u.l1 = (real)s->l1;
    if (next->eps >= LEAST_EPS || !divides(next)) {
        u.smallest = REAL_MIN_NORMAL;
        u.least_square = LEAST_SQUARE;
    }
    T_(rule_of)(next)(count, &u, next, threads);
}

void NNL_(optimizer_end)(int64_t count, nnl_segment *segments, nnl_optimizer *optimizer,
                         const nnl_optimizer *next) {
    for (int64_t i = 0; i < count; i++) {
        nnl_segment *s = &segments[i];
        nnl_optimizer own;
        if (s->late == 0) continue;
        optimizer_of(s, next, &own);
        s->power1 = own.power1;
        s->power2 = own.power2;
        s->momentum_decay_power = own.momentum_decay_power;
        s->mu_product = own.mu_product;
    }
    *optimizer = *next;
}

NNL_API int NNL_(Optimizer_update)(int64_t count, nnl_segment *segments, nnl_optimizer *optimizer,
                                   int threads) {
    nnl_optimizer next;
    double factor;
    if (threads < 1) return NNL_EINVAL;
    int status = NNL_(optimizer_begin)(count, segments, optimizer, &next, &factor, threads);
    if (status != NNL_OK) return status;
    if (nnl_stopped()) return NNL_EINTR; /* the norm may be of some blocks alone */
    nnl_hold();
    for (int64_t i = 0; i < count; i++) {
        const nnl_segment *s = &segments[i];
        NNL_(optimizer_part)(s, 0, s->count, s->grad, &next, factor, threads);
    }
    nnl_release();
    NNL_(optimizer_end)(count, segments, optimizer, &next);
    return NNL_OK;
}

#undef LEAST_SQUARE
#undef LEAST_EPS

#endif
