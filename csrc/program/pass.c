/* pass.c: a schedule: a module's forward, and later its backward, in memory of this pass alone.
 *
 * Arrays of the caller are in the table for the time of a call only: between the calls their owner
 * may change or free them. */
#ifndef NNL_GENERIC_PASS

#include "core/base.h"
#include "core/entry.h"
#include "program/run.h"
#include "vec/vec.h"

static void bind(const nnl_program *p, int32_t buffer, const void *array) {
    if (buffer >= 0) p->table[buffer] = (void *)array;
}

/* Binds the arrays of a call; all NULL unbinds them. */
static void bind_all(const nnl_program *p, const void *input, const void *output,
                     const void *grad_output, const void *grad_input) {
    bind(p, p->input, input);
    bind(p, p->output, output);
    bind(p, p->target, grad_output);
    bind(p, p->gradient, grad_input);
}

#define NNL_GENERIC_FILE "program/pass.c"
#include "core/dtype.h"
#else

NNL_API int NNL_(Program_forward)(const nnl_program *p, int64_t N, const real *input, real *output,
                                  int threads) {
    if (threads < 1 || !nnl_program_ok(p, N)) return NNL_EINVAL;
    bind_all(p, input, output, NULL, NULL);
    int status = NNL_(run_calls)(p, 0, p->mark, p->table, 0, N, N, threads);
    bind_all(p, NULL, NULL, NULL, NULL);
    return status;
}

NNL_API int NNL_(Program_backward)(const nnl_program *p, int64_t N, const real *input,
                                   const real *output, const real *gradOutput, real *gradInput,
                                   int threads) {
    if (threads < 1 || !nnl_program_ok(p, N)) return NNL_EINVAL;
    int64_t last = gradInput ? p->count : p->rest;
    bind_all(p, input, output, gradOutput, gradInput);
    int status = NNL_(run_calls)(p, p->mark, last, p->table, 0, N, N, threads);
    bind_all(p, NULL, NULL, NULL, NULL);
    return status;
}

#endif
