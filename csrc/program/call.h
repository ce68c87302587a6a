/* call.h: one call of a program, as the function of its operation sees it.
 *
 * Every operation of ops.h has an adapter nnl_op_<function>, a few lines after the kernel that it
 * calls: it reads sizes and pointers from a nnl_work and calls the kernel. */
#ifndef NNL_PROGRAM_CALL_H
#define NNL_PROGRAM_CALL_H

#include "core/base.h"
#include "ops.h"

#define NNL_CALL_AXES 4
#define NNL_CALL_SLOTS 6

/* The slots of a call. */
enum { NNL_OUT, NNL_OUT2, NNL_A, NNL_B, NNL_C, NNL_D };

/* A call with its sizes and pointers for some rows of the batch. */
typedef struct {
    const nnl_call *call;
    int64_t size[NNL_CALL_AXES];
    void *at[NNL_CALL_SLOTS]; /* NULL where a slot is empty */
    int64_t row, rows, all;   /* rows [row, row + rows) of a batch of `all` rows */
    const uint32_t *counters; /* of random streams */
    int64_t *bad_row;         /* [OUT] on NNL_EINDEX */
    int threads;
} nnl_work;

typedef int nnl_operation(const nnl_work *w);

/* The number of elements of a call on contiguous ones. */
static inline int64_t nnl_elements(const nnl_work *w) {
    return w->size[0] * w->size[1] * w->size[2] * w->size[3];
}

#define NNL_DECLARE(name, function, inputs, outputs, flags) \
    int nnl_op_##function##_f32(const nnl_work *w);         \
    int nnl_op_##function##_f64(const nnl_work *w);
NNL_OPS(NNL_DECLARE)
#undef NNL_DECLARE

/* The adapters of kernels on contiguous elements, in a type pass: out = f(a), and out = f(a, b). */
#define NNL_ELEMENTS_OP(function, kernel)                                               \
    int NNL_(op_##function)(const nnl_work *w) {                                        \
        return NNL_(kernel)(nnl_elements(w), w->at[NNL_A], w->at[NNL_OUT], w->threads); \
    }
#define NNL_ELEMENTS_GRAD_OP(function, kernel)                                           \
    int NNL_(op_##function)(const nnl_work *w) {                                         \
        return NNL_(kernel)(nnl_elements(w), w->at[NNL_A], w->at[NNL_B], w->at[NNL_OUT], \
                            w->threads);                                                 \
    }
/* And on contiguous rows: rows are size[0] size[1] size[2], columns size[3]. */
#define NNL_ROWS_OP(function, kernel)                                                       \
    int NNL_(op_##function)(const nnl_work *w) {                                            \
        return NNL_(kernel)(w->size[0] * w->size[1] * w->size[2], w->size[3], w->at[NNL_A], \
                            w->at[NNL_OUT], w->threads);                                    \
    }
#define NNL_ROWS_GRAD_OP(function, kernel)                                                  \
    int NNL_(op_##function)(const nnl_work *w) {                                            \
        return NNL_(kernel)(w->size[0] * w->size[1] * w->size[2], w->size[3], w->at[NNL_A], \
                            w->at[NNL_B], w->at[NNL_OUT], w->threads);                      \
    }

#endif
