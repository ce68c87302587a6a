/* pace.h: whether threads share a batch, found by trying both, again and again. Which is quicker depends
 * on how far apart the cores are: where they have no cache in common, a line takes three to ten times
 * as long to travel, and one thread alone is quicker; and a host may move a virtual machine's cores
 * at any time. */
#ifndef NNL_PACE_H
#define NNL_PACE_H

#include "core/base.h"

/* Of so many batches the first few are shared, the next few not, and the rest as was quicker: shared, if
 * that saves a twentieth. */
#define NNL_PACE_PERIOD 512
#define NNL_PACE_TRIALS 4
#define NNL_PACE_GAIN 0.95

/* True when the next batch is one of a trial. share [OUT]: whether threads share it. */
static inline bool nnl_begin_turn(const nnl_pace *p, bool *share) {
    bool trial = p->turn < 2 * NNL_PACE_TRIALS;
    *share = trial ? p->turn < NNL_PACE_TRIALS : p->shared_is_quicker;
    return trial;
}

/* After that batch, which took so many seconds for each row; looked at only in a trial. */
static inline void nnl_end_turn(nnl_pace *p, double seconds) {
    double *best = p->turn < NNL_PACE_TRIALS ? &p->shared : &p->alone;
    if (p->turn < 2 * NNL_PACE_TRIALS && (p->turn % NNL_PACE_TRIALS == 0 || seconds < *best)) {
        *best = seconds;
    }
    p->turn++;
    if (p->turn == 2 * NNL_PACE_TRIALS) {
        p->shared_is_quicker = p->shared < NNL_PACE_GAIN * p->alone;
    }
    if (p->turn == NNL_PACE_PERIOD) p->turn = 0;
}

#endif
