/* share.h: a schedule: one batch of a small network shared by threads, in two regions and an update.
 *
 *     rows      each thread takes some rows through the calls by row: forward, the loss, backward
 *     weights   each makes some rows of every weight's gradient, and updates them at once
 *     update    what is left
 *
 * Cut call by call instead, each call would have to be worth a region. Rows need no other row, and the
 * chain of a weight's gradient goes over all rows in their order, so the bits are those of one thread.
 * A call that needs all rows ends the region before it and runs as it would alone. The cross-entropy of
 * rows that all weigh 1 is taken row by row and summed behind the region. Included by train.c for each
 * type. */

/* What one thread finds, in a line of its own. */
typedef struct {
    _Alignas(128) int status;
} T_(found);

/* A batch and the threads that share it. */
typedef struct {
    nnl_training *t;
    nnl_program *p;
    int64_t N, size;           /* rows; threads */
    int64_t first, last;       /* the calls of a region */
    int64_t loss;              /* the cross-entropy taken by rows, or -1 */
    real *losses;              /* [N], and [N] of scratch */
    const nnl_optimizer *next; /* of the update; NULL while it must wait */
    bool all;                  /* no weight has been updated yet */
    double factor;
    T_(found) found[NNL_TEAM];
} T_(team);

/* Threads that a batch of N rows is worth. */
static int64_t T_(team_size)(const nnl_program *p, int64_t N, int threads) {
    if (threads == 1 || !p->room) return 1;
    int64_t most = nnl_min(nnl_min(threads, NNL_TEAM), N / NNL_TEAM_ROWS);
    double work = T_(row_work)(p);
    double shares = (double)N * work / NNL_TEAM_WORK;
    return nnl_max(1, shares < (double)most ? (int64_t)shares : most);
}

/* The table of thread i, whose batch begins at a row. */
static void **T_(shifted)(const T_(team) *m, int64_t i, int64_t row) {
    const nnl_program *p = m->p;
    void **table = p->room + i * p->buffers;
    for (int64_t k = 0; k < p->buffers; k++) {
        table[k] = p->row_bytes[k] ? (char *)p->table[k] + row * p->row_bytes[k] : p->table[k];
    }
    return table;
}

static int T_(loss_of_rows)(const T_(team) *m, void *const *table, int64_t row, int64_t rows) {
    const nnl_call *c = &m->p->calls[m->loss];
    const nnl_slot *s = c->slot;
    real total = c->reduction == NNL_MEAN ? (real)m->N : 1;
    NNL_(cross_entropy_part)(
        rows, c->size[3], (const real *)((char *)table[s[NNL_A].buffer] + s[NNL_A].offset),
        (const int64_t *)((char *)table[s[NNL_B].buffer] + s[NNL_B].offset), total, m->losses + row,
        m->losses + m->N + row, (real *)((char *)table[s[NNL_OUT2].buffer] + s[NNL_OUT2].offset));
    return NNL_OK;
}

static void T_(team_rows)(void *context, int64_t begin, int64_t end) {
    T_(team) *m = context;
    for (int64_t i = begin; i < end; i++) {
        int64_t row = T_(cut)(m->N, NNL_DROPOUT_UNIT, m->size, i);
        int64_t rows = T_(cut)(m->N, NNL_DROPOUT_UNIT, m->size, i + 1) - row;
        void **table = T_(shifted)(m, i, row);
        bool has_loss = m->loss >= m->first && m->loss < m->last;
        int64_t stop = has_loss ? m->loss : m->last;
        int status =
            rows ? NNL_(run_calls)(m->p, m->first, stop, table, row, rows, m->N, 1) : NNL_OK;
        if (status == NNL_OK && has_loss && rows) {
            T_(loss_of_rows)(m, table, row, rows);
            status = NNL_(run_calls)(m->p, stop + 1, m->last, table, row, rows, m->N, 1);
        }
        m->found[i].status = status;
    }
}

/* The gradients of weights: thread i makes some rows of each. */
static int T_(weight_rows)(const T_(team) *m, const nnl_call *call, int64_t i) {
    int64_t d0 = T_(cut)(call->size[1], 1, m->size, i),
            d1 = T_(cut)(call->size[1], 1, m->size, i + 1);
    if (d0 == d1) return NNL_OK;
    int status = T_(product_rows)(m->p, call, d0, d1, m->N, NULL, 1);
    if (status != NNL_OK || !m->next || !T_(is_early)(m->t, call)) return status;
    int64_t K = call->size[2];
    const real *grad = (real *)((char *)m->p->table[call->slot[NNL_OUT].buffer]);
    return T_(update_early)(m->t, m->p->table[call->weight - 1], d0 * K, d1 * K, grad + d0 * K,
                            m->next, 1);
}

static void T_(team_weights)(void *context, int64_t begin, int64_t end) {
    T_(team) *m = context;
    for (int64_t i = begin; i < end; i++) {
        m->found[i].status = NNL_OK;
        for (int64_t k = m->first; k < m->last && m->found[i].status == NNL_OK; k++) {
            m->found[i].status = T_(weight_rows)(m, &m->p->calls[k], i);
        }
    }
}

static void T_(team_parts)(void *context, int64_t begin, int64_t end) {
    const T_(team) *m = context;
    for (int64_t i = begin; i < end; i++) {
        T_(update_rest)(m->t, m->p, m->all, m->size, i, m->next, m->factor, 1);
    }
}

static int T_(run_team)(T_(team) *m, int64_t first, int64_t last, nnl_task *task) {
    m->first = first;
    m->last = last;
    nnl_parallel_for(m->size, 1, (int)m->size, task, m);
    for (int64_t i = 0; i < m->size; i++) {
        if (m->found[i].status != NNL_OK) return m->found[i].status;
    }
    return NNL_OK;
}

/* A cross-entropy whose mean divides by the number of rows, which is then known before the loss. */
static bool T_(loss_by_rows)(const T_(team) *m, const nnl_call *c) {
    if (c->op != NNL_OP_CROSS_ENTROPY || c->flag || c->number != 0 || !c->batch ||
        c->slot[NNL_C].buffer >= 0 || c->slot[NNL_D].buffer >= 0 || c->slot[NNL_OUT2].buffer < 0) {
        return false;
    }
    const int64_t *target = m->p->table[c->slot[NNL_B].buffer];
    for (int64_t i = 0; i < m->N; i++) {
        if (target[i] == c->integer) return false;
    }
    return true;
}

/* The kinds of calls: by row, gradients of weights, or neither. */
static int T_(kind)(const T_(team) *m, int64_t i) {
    const nnl_call *c = &m->p->calls[i];
    if (nnl_by_row(c) || i == m->loss) return 1;
    return c->op == NNL_OP_GEMM && c->batch == 8 && c->size[0] == 1 ? 2 : 0;
}

/* The sum behind the rows of a loss. */
static void T_(finish_loss)(const T_(team) *m) {
    const nnl_call *c = &m->p->calls[m->loss];
    real *loss = m->p->table[c->slot[NNL_OUT].buffer];
    real sum = T_(sum)(m->losses, m->N);
    loss[0] = c->reduction == NNL_MEAN ? sum / (real)m->N : sum;
    loss[1] = (real)m->N;
}

/* Calls [first, last) of the program. */
static int T_(team_calls)(T_(team) *m, int64_t first, int64_t last) {
    int status = NNL_OK;
    while (first < last && status == NNL_OK) {
        int kind = T_(kind)(m, first);
        int64_t end = first + 1;
        while (end < last && T_(kind)(m, end) == kind) end++;
        if (kind == 0) {
            status = NNL_(run_calls)(m->p, first, end, m->p->table, 0, m->N, m->N, (int)m->size);
        } else {
            status = T_(run_team)(m, first, end, kind == 1 ? T_(team_rows) : T_(team_weights));
            if (status == NNL_OK && m->loss >= first && m->loss < end) T_(finish_loss)(m);
        }
        first = end;
    }
    return status;
}

/* Looks for a loss that can be taken by rows; its classes are checked before anything is written. */
static int T_(begin_team)(T_(team) *m) {
    m->loss = -1;
    for (int64_t i = 0; i < m->p->count; i++) {
        const nnl_call *c = &m->p->calls[i];
        if (!T_(loss_by_rows)(m, c)) continue;
        int64_t none = 0;
        int status = nnl_check_classes(m->N, c->size[3], m->p->table[c->slot[NNL_B].buffer],
                                       c->integer, &none, m->p->bad_row);
        if (status != NNL_OK) return status;
        m->losses = nnl_alloc(2 * m->N, sizeof(real));
        if (!m->losses) return NNL_ENOMEM;
        m->loss = i;
        return NNL_OK;
    }
    return NNL_OK;
}
