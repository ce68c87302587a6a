/* openmp.h: regions on OpenMP's threads. openmp.c is a library of its own (nnlite._openmp), loaded
 * where it is chosen: the kernels neither wait for OpenMP to load nor need it to be there. */
#ifndef NNL_OPENMP_H
#define NNL_OPENMP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/pool.h"

/* Runs `piece` on 0, 1 ... pieces - 1, each once, and returns when all are done. The caller asks
 * `stopped` (entry.h) now and then while it waits for others. */
typedef void nnl_openmp_run(int pieces, nnl_piece *piece, void *context, bool (*stopped)(void));

/* Has OpenMP read its settings from the environment; the address of its nnl_openmp_run. */
uintptr_t nnl_openmp_start(void);

#endif
