/* pool.h: threads that wait for the pieces of a region; used by parallel.c alone. */
#ifndef NNL_POOL_H
#define NNL_POOL_H

#include <stdint.h>

/* For loops that wait for another thread: gives way to the core's other one. */
static inline void nnl_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One piece of a region's work. */
typedef void nnl_piece(void *context, int64_t piece);

/* The most pieces of a region. */
#define NNL_POOL_PIECES 1024

/* Runs `piece` on 0, 1 ... pieces - 1, each once, and returns when all are done. The calling thread
 * takes pieces like every other, so it waits for none that nobody has begun. */
void nnl_pool_run(int pieces, nnl_piece *piece, void *context);

#endif
