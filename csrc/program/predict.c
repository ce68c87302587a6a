/* predict.c: a schedule: a model's output for many rows.
 *
 * Rows are cut into blocks that go through all calls one after the other: their intermediate values
 * stay in cache, and each thread takes whole blocks. Every run has memory of its own, so that
 * several Python threads may predict at once. A program whose calls need all rows runs as one
 * block. */
#ifndef NNL_GENERIC_PASS

#include <string.h>

#include "core/base.h"
#include "core/entry.h"
#include "core/parallel.h"
#include "program/run.h"
#include "vec/vec.h"

/* Rows of a block: enough that packing a weight matrix for each block costs little. */
#define NNL_BLOCK_ROWS 512

/* Memory up to this size is on the stack. */
#define NNL_PREDICT_STACK_BYTES 8192

#define NNL_GENERIC_FILE "program/predict.c"
#include "core/dtype.h"
#else

typedef struct {
    const nnl_program *p;
    int64_t N, rows, workers; /* rows of a block */
    const char *input;
    char *output, *memory; /* for each worker its buffers */
    int64_t bytes, first;  /* of one worker's memory; of them its table */
    int threads;           /* inside a call */
    _Atomic int status;
} T_(prediction);

static int64_t T_(aligned_bytes)(int64_t bytes) {
    return nnl_ceil_div(bytes, NNL_ALIGNMENT) * NNL_ALIGNMENT;
}

/* One worker's table: its own memory for the program's, everything else as it is bound. */
static void T_(own_table)(const T_(prediction) *g, void **table, char *memory) {
    const nnl_program *p = g->p;
    for (int64_t i = 0; i < p->buffers; i++) {
        table[i] = p->table[i];
        if (!p->own[i]) continue;
        table[i] = memory;
        memory +=
            T_(aligned_bytes)(p->row_bytes[i] ? p->row_bytes[i] * g->rows : p->fixed_bytes[i]);
    }
}

/* Where the rows of worker w begin: masks of Dropout are drawn four elements at a time. */
static int64_t T_(first_row)(const T_(prediction) *g, int64_t w) {
    if (w == g->workers) return g->N;
    return (g->N / g->workers * w + nnl_min(w, g->N % g->workers)) / 4 * 4;
}

/* Each worker's rows, block by block. */
static void T_(run_workers)(void *context, int64_t begin, int64_t end) {
    T_(prediction) *g = context;
    const nnl_program *p = g->p;
    for (int64_t w = begin; w < end; w++) {
        int64_t row = T_(first_row)(g, w), stop = T_(first_row)(g, w + 1);
        char *memory = g->memory + w * g->bytes;
        void **table = (void **)memory;
        T_(own_table)(g, table, memory + g->first);
        for (; row < stop && g->status == NNL_OK; row += g->rows) {
            int64_t rows = nnl_min(g->rows, stop - row);
            if (p->input >= 0) table[p->input] = (char *)g->input + row * p->row_bytes[p->input];
            if (p->output >= 0) table[p->output] = g->output + row * p->row_bytes[p->output];
            int status = NNL_(run_calls)(p, 0, p->count, table, row, rows, g->N, g->threads);
            if (status == NNL_OK && row + g->rows < stop && nnl_stopped()) status = NNL_EINTR;
            if (status != NNL_OK) g->status = status;
        }
    }
}

static bool T_(all_by_row)(const nnl_program *p) {
    for (int64_t i = 0; i < p->count; i++) {
        if (p->calls[i].batch && !nnl_by_row(&p->calls[i])) return false;
    }
    return true;
}

NNL_API int NNL_(Program_predict)(const nnl_program *p, int64_t N, const real *input, real *output,
                                  int threads) {
    if (threads < 1 || !nnl_program_ok(p, N)) return NNL_EINVAL;
    T_(prediction) g = {.p = p, .N = N, .input = (const char *)input, .output = (char *)output};
    bool blocks = T_(all_by_row)(p);
    g.rows = blocks ? nnl_min(N, NNL_BLOCK_ROWS) : N;
    g.workers = blocks && N >= 2 * NNL_BLOCK_ROWS ? threads : 1;
    g.threads = g.workers > 1 ? 1 : threads;
    g.first = T_(aligned_bytes)(p->buffers * (int64_t)sizeof(void *));
    g.bytes = g.first;
    for (int64_t i = 0; i < p->buffers; i++) {
        if (!p->own[i]) continue;
        int64_t size = p->row_bytes[i], count = size ? g.rows : 1;
        size = size ? size : p->fixed_bytes[i];
        if (!nnl_size_ok(size, count, 1) || size * count > INT64_MAX / 4 - g.bytes) {
            return NNL_EINVAL;
        }
        g.bytes += T_(aligned_bytes)(size * count);
    }
    _Alignas(NNL_ALIGNMENT) char small[NNL_PREDICT_STACK_BYTES];
    bool fits = g.workers == 1 && g.bytes <= (int64_t)sizeof small;
    g.memory = fits ? small : nnl_alloc(g.workers, g.bytes);
    if (!g.memory) return NNL_ENOMEM;
    nnl_parallel_for(g.workers, 1, (int)g.workers, T_(run_workers), &g);
    if (!fits) nnl_free(g.memory);
    return g.status;
}

#endif
