/* run.h: the executor, for the schedules around it. */
#ifndef NNL_PROGRAM_RUN_H
#define NNL_PROGRAM_RUN_H

#include "core/base.h"

bool nnl_by_row(const nnl_call *c);
bool nnl_program_ok(const nnl_program *p, int64_t rows);

/* Calls [first, last) on rows [row, row + rows) of a batch of `all` rows; `table` holds where the
 * buffers have the first of these rows. */
int nnl_run_calls_f32(const nnl_program *p, int64_t first, int64_t last, void *const *table,
                      int64_t row, int64_t rows, int64_t all, int threads);
int nnl_run_calls_f64(const nnl_program *p, int64_t first, int64_t last, void *const *table,
                      int64_t row, int64_t rows, int64_t all, int threads);

#endif
