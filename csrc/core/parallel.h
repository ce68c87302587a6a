/* parallel.h: the one door to threads. parallel.c alone knows where they come from, and keeps a
 * forked child serial, which changes no bit of any result. */
#ifndef NNL_PARALLEL_H
#define NNL_PARALLEL_H

#include <stdint.h>

/* Works on the half-open range [begin, end) of the items. */
typedef void nnl_task(void *context, int64_t begin, int64_t end);

/* Cuts [0, count) into at most `threads` contiguous ranges of at least `grain` items (the last may
 * have fewer) and runs `task` on each. The cuts depend on the number of threads, so a task must
 * compute each item alone, never combine items across the range. A call that is told to end
 * (entry.h) leaves the rest of long ranges undone. */
void nnl_parallel_for(int64_t count, int64_t grain, int threads, nnl_task *task, void *context);

/* Runs `task` on the items [i, i + 1) one by one, each by the thread that is free next: for few
 * items of very different cost. */
void nnl_parallel_each(int64_t count, int threads, nnl_task *task, void *context);

#endif
