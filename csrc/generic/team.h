/* team.h: one batch of a small network shared by threads, in four regions.
 *
 *     columns   each thread makes some columns of the first layer's output, for all rows
 *     rows      each takes some rows through the other layers, the loss, and back to the second layer
 *     weights   each makes the same columns of the gradients of the first layer's output and weight;
 *               and some rows of the gradient of every other weight, which it updates
 *     update    each updates its part of the first weight, and of what else is left
 *
 * Cut product by product instead, each product would have to be worth a region, and most values would
 * travel to the other core and back. A line that another core has read costs 8 ns to write again,
 * ten times a line of one's own, so the gradient of the first layer's output, mostly the widest
 * value, stays with its columns; and weights are updated in whole stretches of memory: beyond the
 * end of a short one the processor fetches ahead, lines of another thread. Rows need no other row
 * and a weight's chain goes over all rows in their order, so the bits are those of one thread.
 * Included by Training.c for each type. */

/* What one thread finds, in lines of its own. */
typedef struct {
    _Alignas(128) int status;
    int64_t correct;
} T_(found);

/* A batch and the threads that share it. */
typedef struct {
    nnl_training *t;
    const T_(batch) *b;
    int64_t size;              /* threads */
    int64_t bottom;            /* the layer that rows go back to: the second where it is a Linear */
    bool forward, loss, down;  /* what a region over rows does */
    real *losses;              /* [N], and [N] of scratch, with `loss` */
    const nnl_optimizer *next; /* of the update; NULL while it must wait for all gradients */
    bool all;                  /* no weight has been updated yet */
    double factor;
    T_(found) found[NNL_TEAM];
} T_(team);

/* Threads that a batch of N rows is worth; 1 where it cannot be shared. */
static int64_t T_(team_size)(const nnl_training *t, const T_(batch) *b, int threads) {
    const nnl_step *first = t->steps;
    if (threads == 1 || !t->team || first->layer != NNL_LINEAR) return 1;
    int64_t most = nnl_min(nnl_min(threads, t->team), NNL_TEAM), work = 0;
    most = nnl_min(most, nnl_min(b->N / NNL_TEAM_ROWS, first->outputs / NNL_LANES));
    for (int64_t i = 0; i < t->count; i++) {
        const nnl_step *s = &t->steps[i];
        if (s->layer == NNL_DROPOUT && s->inputs % NNL_DROPOUT_UNIT != 0) return 1;
        if (s->layer == NNL_LINEAR && !s->gradWeight) return 1;
        work += T_(row_work)(s);
    }
    double shares = 3 * (double)b->N * (double)work / NNL_TEAM_WORK;
    return nnl_max(1, shares < (double)most ? (int64_t)shares : most);
}

/* The inputs of the batch, as thread i sees them: gathered by itself and for itself. */
static const real *T_(own_input)(const T_(team) *m, int64_t i) {
    if (!m->b->order) return m->b->input;
    return (const real *)m->t->input + i * m->t->batch * m->t->steps[0].inputs;
}

static int T_(run_columns)(const T_(team) *m, int64_t i) {
    nnl_training *t = m->t;
    const nnl_step *s = t->steps;
    const T_(batch) *b = m->b;
    int64_t D = s->inputs, K = s->outputs, k0 = T_(cut)(K, m->size, i),
            k1 = T_(cut)(K, m->size, i + 1);
    real *own = (real *)T_(own_input)(m, i);
    int status = b->order ? T_(gather_inputs)(t, b, own) : NNL_OK;
    if (status != NNL_OK) return status;
    const real *bias = s->bias ? (const real *)s->bias + k0 : NULL;
    return NNL_(gemm)(b->N, k1 - k0, D, own, D, 1, (const real *)s->weight + k0, K, 1,
                      (real *)s->output + k0, K, bias, NULL, 0, s->activation, 1);
}

/* N rows from row `begin` on through all that the region does. */
static int T_(run_rows)(const T_(team) *m, int64_t begin, int64_t N, int64_t *correct) {
    nnl_training *t = m->t;
    const T_(batch) *b = m->b;
    const nnl_step *last = &t->steps[t->count - 1];
    int64_t K = last->outputs;
    int status = m->forward ? T_(forward)(t, 1, b, begin, N, 1) : NNL_OK;
    if (m->loss && status == NNL_OK) {
        const real *output = (const real *)last->output + begin * K;
        const int64_t *target = (const int64_t *)b->target + begin;
        real total = t->loss.reduction == NNL_MEAN ? (real)b->N : 1;
        NNL_(cross_entropy_part)(N, K, output, target, total, m->losses + begin,
                                 m->losses + b->N + begin, T_(grad_of)(last, begin));
        *correct = T_(correct_rows)(&t->loss, N, K, output, target);
    }
    for (int64_t i = t->count - 1; m->down && i >= m->bottom && status == NNL_OK; i--) {
        status = T_(grad_input)(t, i, i == m->bottom, b, begin, N, 1);
    }
    return status;
}

/* Columns of the first layer: of the gradient of its output, where rows have not made it, and of its
 * parameters. */
static int T_(first_weight)(const T_(team) *m, int64_t i) {
    const nnl_step *s = m->t->steps, *above = s + 1;
    int64_t N = m->b->N, D = s->inputs, K = s->outputs;
    int64_t k0 = T_(cut)(K, m->size, i), columns = T_(cut)(K, m->size, i + 1) - k0;
    real *grad = (real *)s->gradOutput + k0, *sums = s->gradBias ? (real *)s->gradBias + k0 : NULL;
    if (m->bottom == 1) {
        const real *gate = s->activation ? (const real *)s->output + k0 : NULL;
        const real *weight = (const real *)above->weight + k0 * above->outputs;
        int64_t L = above->outputs;
        int status = NNL_(gemm)(N, columns, L, above->gradOutput, L, 1, weight, 1, L, grad, K, NULL,
                                gate, NNL_GRADIENT, s->activation, 1);
        if (status != NNL_OK) return status;
    }
    if (sums) memset(sums, 0, (size_t)columns * sizeof(real));
    return NNL_(gemm_and_sums)(D, columns, N, T_(own_input)(m, i), 1, D, grad, K, 1,
                               (real *)s->gradWeight + k0, K, NULL, NULL, sums, NNL_GRADIENT,
                               NNL_IDENTITY, 1);
}

static int T_(run_weights)(const T_(team) *m, int64_t i) {
    const nnl_training *t = m->t;
    int status = T_(first_weight)(m, i);
    for (int64_t l = 1; l < t->count && status == NNL_OK; l++) {
        const nnl_step *s = &t->steps[l];
        int64_t d0 = T_(cut)(s->inputs, m->size, i), d1 = T_(cut)(s->inputs, m->size, i + 1);
        if (s->layer != NNL_LINEAR || d0 == d1) continue;
        real *grad = (real *)s->gradWeight + d0 * s->outputs;
        status = T_(grad_weight)(s, d0, d1, m->b->N, s[-1].output, grad, 1);
        if (status != NNL_OK || !m->next) continue;
        int64_t begin = d0 * s->outputs, end = d1 * s->outputs;
        status = T_(update_early)(t, s->weight, begin, end, grad, m->next, 1);
    }
    return status;
}

static void T_(team_columns)(void *context, int64_t begin, int64_t end) {
    T_(team) *m = context;
    for (int64_t i = begin; i < end; i++) m->found[i].status = T_(run_columns)(m, i);
}

static void T_(team_rows)(void *context, int64_t begin, int64_t end) {
    T_(team) *m = context;
    for (int64_t i = begin; i < end; i++) {
        int64_t from = m->b->N * i / m->size, to = m->b->N * (i + 1) / m->size;
        m->found[i].status = T_(run_rows)(m, from, to - from, &m->found[i].correct);
    }
}

static void T_(team_weights)(void *context, int64_t begin, int64_t end) {
    T_(team) *m = context;
    for (int64_t i = begin; i < end; i++) m->found[i].status = T_(run_weights)(m, i);
}

static void T_(team_parts)(void *context, int64_t begin, int64_t end) {
    const T_(team) *m = context;
    for (int64_t i = begin; i < end; i++) {
        T_(update_rest)(m->t, m->all, m->size, i, m->next, m->factor, 1);
    }
}

static int T_(run_team)(T_(team) *m, nnl_task *task) {
    nnl_parallel_for(m->size, 1, (int)m->size, task, m);
    for (int64_t i = 0; i < m->size; i++) {
        if (m->found[i].status != NNL_OK) return m->found[i].status;
    }
    return NNL_OK;
}

/* A cross-entropy whose mean divides by the number of rows, which is then known before the loss. */
static bool T_(loss_by_rows)(const nnl_loss *l, const T_(batch) *b) {
    if (l->criterion != NNL_CROSS_ENTROPY || !l->classes || l->class_weight || b->weight ||
        l->smoothing != 0) {
        return false;
    }
    const int64_t *target = b->target;
    for (int64_t i = 0; i < b->N; i++) {
        if (target[i] == l->ignore_index) return false;
    }
    return true;
}

/* The batch forward, and its loss; a loss by rows goes on to the gradients of the values. */
static int T_(team_forward)(T_(team) *m, real *loss) {
    nnl_training *t = m->t;
    const T_(batch) *b = m->b;
    const nnl_step *last = &t->steps[t->count - 1];
    int64_t none = 0;
    m->bottom = t->count > 1 && t->steps[1].layer == NNL_LINEAR;
    m->loss = T_(loss_by_rows)(&t->loss, b);
    int status = NNL_OK;
    if (m->loss) {
        status = nnl_check_classes(b->N, last->outputs, b->target, t->loss.ignore_index, &none,
                                   &t->bad_row);
        if (status != NNL_OK) return status;
        m->losses = nnl_alloc(2 * b->N, sizeof(real));
        if (!m->losses) return NNL_ENOMEM;
    }
    m->forward = true;
    m->down = m->loss;
    status = T_(run_team)(m, T_(team_columns));
    if (status == NNL_OK) status = T_(run_team)(m, T_(team_rows));
    if (m->loss) {
        real sum = T_(sum)(m->losses, b->N);
        loss[0] = t->loss.reduction == NNL_MEAN ? sum / (real)b->N : sum;
        loss[1] = (real)b->N;
        nnl_free(m->losses);
    } else if (status == NNL_OK) {
        status = T_(run_loss)(&t->loss, b->N, last->outputs, last->output, b->target, b->weight,
                              loss, last->gradOutput, &t->bad_row, (int)m->size);
    }
    return status;
}

/* Rows of the batch that are right. */
static int64_t T_(team_correct)(const T_(team) *m) {
    const nnl_step *last = &m->t->steps[m->t->count - 1];
    if (!m->loss) {
        return T_(correct_rows)(&m->t->loss, m->b->N, last->outputs, last->output, m->b->target);
    }
    int64_t correct = 0;
    for (int64_t i = 0; i < m->size; i++) correct += m->found[i].correct;
    return correct;
}

/* The gradients that are still missing; and early updates, where `next` is given. */
static int T_(team_backward)(T_(team) *m, const nnl_optimizer *next) {
    int status = NNL_OK;
    m->next = next;
    if (!m->down) {
        m->forward = false;
        m->down = true;
        status = T_(run_team)(m, T_(team_rows));
    }
    return status == NNL_OK ? T_(run_team)(m, T_(team_weights)) : status;
}

static void T_(team_update)(T_(team) *m, bool all, const nnl_optimizer *next, double factor) {
    m->next = next;
    m->all = all;
    m->factor = factor;
    nnl_parallel_for(m->size, 1, (int)m->size, T_(team_parts), m);
}
