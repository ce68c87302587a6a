/* Program.c: runs a recorded list of layers in one call, so that a small network costs its
 * arithmetic and not one call from Python per layer.
 *
 * Every layer is computed by its own kernel, so the bits are those of the layers one by one. Many
 * rows are cut into blocks that go through all layers one after the other: their intermediate values
 * stay in cache, and each thread takes whole blocks. */
#ifndef NNL_GENERIC_PASS

#include <string.h>

#include "base.h"
#include "call.h"
#include "parallel.h"
#include "vec/vec.h"

/* Rows of a block: enough that packing a weight matrix for each block costs little. */
#define NNL_PROGRAM_ROWS 512

/* Intermediate values below this size live on the stack. */
#define NNL_PROGRAM_STACK_BYTES 8192

#define NNL_GENERIC_FILE "generic/Program.c"
#include "dtype.h"
#else

#include "generic/step.h"

typedef struct {
    int64_t N, count, width; /* width: columns of the widest value between two layers */
    const nnl_step *steps;
    const real *input;
    real *output, *between; /* for each worker two blocks of values between layers */
    int64_t workers, rows;  /* rows of a block */
    int threads;            /* inside a layer */
    int *status;            /* one for each worker */
} T_(program);

/* Rows [row, row + N) through all layers; values between layers alternate between two blocks. */
static int T_(run_rows)(const T_(program) *p, int64_t row, int64_t N, real *between) {
    const real *input = p->input + row * p->steps[0].inputs;
    for (int64_t i = 0; i < p->count; i++) {
        const nnl_step *s = &p->steps[i];
        real *output = between + i % 2 * p->rows * p->width;
        if (i + 1 == p->count) output = p->output + row * s->outputs;
        int status = T_(run_step)(s, N, input, output, p->threads);
        if (status != NNL_OK) return status;
        input = output;
    }
    return NNL_OK;
}

/* Each worker's share of the rows, block by block. */
static void T_(run_workers)(void *context, int64_t begin, int64_t end) {
    const T_(program) *p = context;
    for (int64_t w = begin; w < end; w++) {
        int64_t row = p->N / p->workers * w + nnl_min(w, p->N % p->workers);
        int64_t stop = row + p->N / p->workers + (w < p->N % p->workers);
        real *between = p->between + w * 2 * p->rows * p->width;
        p->status[w] = NNL_OK;
        for (; row < stop && p->status[w] == NNL_OK; row += p->rows) {
            p->status[w] = T_(run_rows)(p, row, nnl_min(p->rows, stop - row), between);
            if (row + p->rows < stop && nnl_stopped()) p->status[w] = NNL_EINTR;
        }
    }
}

NNL_API int NNL_(Program_updateOutput)(int64_t N, int64_t count, const nnl_step *steps,
                                       const real *input, real *output, int threads) {
    if (count < 1 || threads < 1 || N < 0) return NNL_EINVAL;
    int64_t width = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!nnl_size_ok(N, steps[i].inputs, sizeof(real)) ||
            !nnl_size_ok(N, steps[i].outputs, sizeof(real)) ||
            (i + 1 < count && steps[i].outputs != steps[i + 1].inputs)) {
            return NNL_EINVAL;
        }
        if (i + 1 < count) width = nnl_max(width, steps[i].outputs);
    }
    T_(program) p = {.N = N, .count = count, .width = width, .steps = steps};
    p.input = input;
    p.output = output;
    p.rows = nnl_min(N, NNL_PROGRAM_ROWS);
    p.workers = N >= 2 * NNL_PROGRAM_ROWS ? threads : 1;
    p.threads = p.workers > 1 ? 1 : threads;
    real small[NNL_PROGRAM_STACK_BYTES / sizeof(real)];
    int one;
    if (!nnl_size_ok(2 * p.workers, p.rows * width, sizeof(real))) return NNL_EINVAL;
    int64_t room = 2 * p.workers * p.rows * width;
    bool fits = p.workers == 1 && room <= (int64_t)(sizeof small / sizeof *small);
    p.between = fits ? small : nnl_alloc(room, sizeof(real));
    p.status = p.workers == 1 ? &one : nnl_alloc(p.workers, sizeof *p.status);
    int status = p.between && p.status ? NNL_OK : NNL_ENOMEM;
    if (status == NNL_OK) {
        nnl_parallel_for(p.workers, 1, (int)p.workers, T_(run_workers), &p);
        for (int64_t w = 0; w < p.workers && status == NNL_OK; w++) status = p.status[w];
    }
    if (!fits) nnl_free(p.between);
    if (p.workers > 1) nnl_free(p.status);
    return status;
}

#endif
