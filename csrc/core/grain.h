/* grain.h: how many elements a thread must get before a second thread pays. A parallel region costs
 * 0.3 us with the pool and 1 to 2 us with GNU OpenMP, and cache-line transfers between cores come
 * on top, so each thread's part should be worth several microseconds. */
#ifndef NNL_GRAIN_H
#define NNL_GRAIN_H

#define NNL_GRAIN_CHEAP 65536    /* a few operations an element: bound by memory */
#define NNL_GRAIN_RULE 16384     /* a rule of an optimiser: a root and a quotient an element */
#define NNL_GRAIN_FUNCTION 16384 /* an exp, log or tanh an element */

/* An output of this size does not stay in the last-level cache (32 MiB on the machines measured):
 * it is written past the caches, which saves reading each line before it is written. */
#define NNL_STREAM_BYTES (32 << 20)

/* Rows of `columns` elements in which each element costs one function. */
static inline int64_t nnl_row_grain(int64_t columns) {
    return columns > 0 ? nnl_ceil_div(NNL_GRAIN_FUNCTION, columns) : NNL_GRAIN_FUNCTION;
}

#endif
