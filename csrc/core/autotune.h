/* autotune.h: a choice among ways to compute that give the same bits, made by timed trials.
 *
 * A computation asks for each of its choices which way to take (nnl_tune), and reports when it has
 * ended (nnl_tune_end). Choices are kept by what is chosen and by a class of shapes. The rule's way
 * is tried first, then the others by turns, each three times, on the calls themselves and one
 * choice at a time; the quickest of three counts. A way that saves too little leaves the choice to
 * the rule. Once made a choice stays (but for threads, whose worth changes, see autotune.c).
 * Nothing is allocated, no thread waits for another, and what trials may lose is bounded. */
#ifndef NNL_AUTOTUNE_H
#define NNL_AUTOTUNE_H

#include <stdbool.h>
#include <stdint.h>

#include "nnlite.h"

/* One computation while its choices are made. Without a shape nothing is tried: for what is over
 * before trying would pay, some 20 us. */
typedef struct {
    uint64_t shape; /* nnl_tune_shape, or 0 */
    double work;    /* of the computation, in any unit: times are compared for equal work */
    void *trial;    /* the choice that is tried, or NULL */
    int way, rule;  /* way -1: the rule's is only timed */
    bool whole_batch;
    double start;
} nnl_tuning;

/* The class of three sizes, each to a power of two, of so many threads; flags: 8 bits. */
uint64_t nnl_tune_shape(int64_t m, int64_t n, int64_t k, unsigned flags, int threads);

extern volatile int nnl_any_forced;
int nnl_find_way(nnl_tuning *t, enum nnl_choice choice, int ways, int rule, bool worth);

/* The way to take, of [0, ways): the decision, the one tried now, or the rule's; the rule's where
 * no other is worth a try. A way that is forced is taken wherever there is one. */
static inline int nnl_tune(nnl_tuning *t, enum nnl_choice choice, int ways, int rule, bool worth) {
    return t->shape || nnl_any_forced ? nnl_find_way(t, choice, ways, rule, worth) : rule;
}

/* The computation has ended; not complete: its time does not count. */
void nnl_tune_end(nnl_tuning *t, bool complete);

#endif
