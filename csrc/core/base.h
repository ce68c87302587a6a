/* base.h: what every C file of nnlite starts from: sizes, overflow checks, scratch memory. */
#ifndef NNL_BASE_H
#define NNL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nnlite.h"

/* Floats in one vector register group of the arithmetic contract: every reduction along a
 * contiguous axis runs in this many lanes, whatever the instruction set. */
#define NNL_LANES 16

/* Bytes to which scratch memory and the parameter arenas are aligned: one cache line, and the
 * widest vector register. */
#define NNL_ALIGNMENT 64

/* A function that must be inlined, so that its constant arguments shape its code. */
#define NNL_INLINE static inline __attribute__((always_inline))

static inline int64_t nnl_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t nnl_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t nnl_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* True when a, b >= 0 and a * b * unit fits into int64_t. */
bool nnl_size_ok(int64_t a, int64_t b, int64_t unit);

/* True when [a, a + a_bytes) and [b, b + b_bytes) share a byte; never for NULL. */
static inline bool nnl_overlap(const void *a, int64_t a_bytes, const void *b, int64_t b_bytes) {
    uintptr_t p = (uintptr_t)a, q = (uintptr_t)b;
    return a && b && a_bytes > 0 && b_bytes > 0 &&
           (p < q ? q - p < (uintptr_t)a_bytes : p - q < (uintptr_t)b_bytes);
}

/* Aligned scratch memory, or NULL; freed by nnl_free. */
void *nnl_alloc(int64_t count, int64_t unit);
void nnl_free(void *memory);

/* Scratch memory for count numbers of `unit` bytes: `few`, of so many bytes, where it holds them.
 * An aligned block of the heap costs as much as a loss of a small batch. Ended by
 * nnl_end_scratch. */
static inline void *nnl_scratch(void *few, size_t bytes, int64_t count, int64_t unit) {
    return count >= 0 && count <= (int64_t)bytes / unit ? few : nnl_alloc(count, unit);
}
static inline void nnl_end_scratch(void *scratch, const void *few) {
    if (scratch != few) nnl_free(scratch);
}
#define NNL_FEW 512 /* numbers of scratch memory on a stack */

/* Seconds since some moment. Speed may depend on it, never a bit of a result. */
double nnl_seconds(void);

/* Bytes of a core's L2 cache. Speed may depend on it, never a bit of a result. */
int64_t nnl_l2_bytes(void);

#endif
