/* run.c: the executor: the one place that goes through the calls of a program.
 *
 * A program is a list of calls over a table of buffers. Sizes that count rows of the batch are
 * given for one row and multiplied here, so one program serves every batch. The schedules around it
 * (predict.c, train.c) choose rows, blocks and threads and know no layer. */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include "core/base.h"
#include "core/entry.h"
#include "program/call.h"
#include "program/run.h"
#include "vec/vec.h"

/* Elements of a call after which interrupts are checked. */
#define NNL_CHECK_ELEMENTS (1 << 18)

static const uint8_t flags_of[] = {
#define NNL_FLAGS(name, function, inputs, outputs, flags) [NNL_OP_##name] = flags,
    NNL_OPS(NNL_FLAGS)
#undef NNL_FLAGS
};

/* True when a call may be computed for some rows of the batch alone. */
bool nnl_by_row(const nnl_call *c) { return c->by_row && flags_of[c->op] & NNL_OP_ROWS; }

/* Inputs that a call must have: all of an operation's, but the first two of products and losses,
 * which have a second output. */
static const uint8_t inputs_of[] = {
#define NNL_INPUTS(name, function, inputs, outputs, flags) \
    [NNL_OP_##name] = outputs > 1 ? 2 : inputs,
    NNL_OPS(NNL_INPUTS)
#undef NNL_INPUTS
};

/* Sizes whose products fit. */
static bool sizes_ok(const nnl_call *c, int64_t rows) {
    int64_t total = 1;
    for (int i = 0; i < NNL_CALL_AXES; i++) {
        if (!nnl_size_ok(c->size[i], c->batch >> i & 1 ? rows : 1, 1)) return false;
        int64_t size = c->batch >> i & 1 ? c->size[i] * rows : c->size[i];
        if (!nnl_size_ok(total, size, sizeof(double))) return false;
        total *= size;
    }
    return true;
}

/* Slots within the table, and set where the operation needs them. */
static bool slots_ok(const nnl_call *c, int64_t buffers) {
    for (int i = 0; i < NNL_CALL_SLOTS; i++) {
        bool needed = i == NNL_OUT || (i >= NNL_A && i < NNL_A + inputs_of[c->op]);
        if (c->slot[i].buffer < (needed ? 0 : -1) || c->slot[i].buffer >= buffers) return false;
    }
    return true;
}

static bool call_ok(const nnl_call *c, const nnl_program *p, int64_t rows) {
    if (c->op < 0 || c->op >= NNL_OP_COUNT_OF_ALL || c->batch < 0 || c->batch > 15) return false;
    if (!sizes_ok(c, rows) || !slots_ok(c, p->buffers)) return false;
    bool product = c->op == NNL_OP_GEMM && c->size[0] == 1 && !(c->batch & 1);
    if (c->op == NNL_OP_GEMM && c->slot[NNL_OUT2].buffer >= 0 && !product) return false;
    if (c->weight && (!product || c->batch != 8 || c->weight < 0 || c->weight > p->buffers)) {
        return false;
    }
    return c->op != NNL_OP_DROPOUT || (c->integer >= 0 && c->integer < p->counter_count);
}

/* True when every call is of an operation, has the buffers that it needs, and sizes that fit into
 * int64_t, for a batch of `rows` rows. The maker of the program answers for the sizes of buffers,
 * for what offsets and strides reach, and for whether a buffer is bound to memory. */
bool nnl_program_ok(const nnl_program *p, int64_t rows) {
    if (p->count < 0 || p->buffers < 0 || p->counter_count < 0 || rows < 0) return false;
    if (p->checked && *p->checked > rows) return true;
    const int32_t ends[] = {p->input, p->target, p->weight, p->output, p->loss, p->gradient};
    for (int i = 0; i < 6 && p->count > 0; i++) {
        if (ends[i] < -1 || ends[i] >= p->buffers) return false;
    }
    if (p->mark < 0 || p->mark > p->count || p->rest < 0 || p->rest > p->count) return false;
    for (int64_t i = 0; i < p->count; i++) {
        if (!call_ok(&p->calls[i], p, rows)) return false;
    }
    if (p->checked) *p->checked = rows + 1;
    return true;
}

#define NNL_GENERIC_FILE "program/run.c"
#include "core/dtype.h"
#else

static nnl_operation *const T_(operations)[] = {
#define NNL_FUNCTION(name, function, inputs, outputs, flags) [NNL_OP_##name] = NNL_(op_##function),
    NNL_OPS(NNL_FUNCTION)
#undef NNL_FUNCTION
};

/* One call on rows [row, row + rows) of a batch of `all`, whose table begins at that row. */
static int T_(run_call)(const nnl_program *p, const nnl_call *c, void *const *table, int64_t row,
                        int64_t rows, int64_t all, int threads) {
    nnl_work w = {.call = c, .row = row, .rows = rows, .all = all, .threads = threads};
    w.counters = p->counters;
    w.bad_row = p->bad_row;
    for (int i = 0; i < NNL_CALL_AXES; i++)
        w.size[i] = c->batch >> i & 1 ? c->size[i] * rows : c->size[i];
    for (int i = 0; i < NNL_CALL_SLOTS; i++) {
        const nnl_slot *s = &c->slot[i];
        w.at[i] = s->buffer < 0 ? NULL : (char *)table[s->buffer] + s->offset;
    }
    return T_(operations)[c->op](&w);
}

int NNL_(run_calls)(const nnl_program *p, int64_t first, int64_t last, void *const *table,
                    int64_t row, int64_t rows, int64_t all, int threads) {
    for (int64_t i = first; i < last; i++) {
        int status = T_(run_call)(p, &p->calls[i], table, row, rows, all, threads);
        if (status != NNL_OK) return status;
        const int64_t *size = p->calls[i].size;
        if (size[0] * size[1] * size[2] * (p->calls[i].batch ? rows : 1) >= NNL_CHECK_ELEMENTS &&
            nnl_stopped()) {
            return NNL_EINTR;
        }
    }
    return NNL_OK;
}

NNL_API int NNL_(Program_run)(const nnl_program *p, int64_t rows, int threads) {
    if (threads < 1 || !nnl_program_ok(p, rows)) return NNL_EINVAL;
    return NNL_(run_calls)(p, 0, p->count, p->table, 0, rows, rows, threads);
}

#endif
