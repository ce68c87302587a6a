/* golden_program.h: networks that Training_run trains: all layers and criteria that a program can
 * hold, a subset of the rows, weights, validation; two networks at once; once for each type. */

enum { T_(PROGRAM_IN) = 19, T_(PROGRAM_ROWS) = 90, T_(PROGRAM_BATCH) = 32, T_(PROGRAM_OUT) = 7 };

/* A network, its programs and the memory of its training. */
typedef struct {
    T_(layer) layers[8];
    int count;
    T_(list) *step, *forward, *measure;
    nnl_segment segment;
    nnl_optimizer optimizer;
    nnl_training training;
    nnl_sums sums[8], held[8];
    real *weights;
    int64_t size;
} T_(machine);

static T_(machine) *T_(new_machine)(int64_t room) {
    T_(machine) *m = take(sizeof *m, 0, true);
    memset(m, 0, sizeof *m);
    m->weights = T_(out)(room);
    m->segment.grad = T_(out)(room);
    return m;
}

/* Appends a layer of so many outputs; a Linear takes its weights from the arena. */
static void T_(append)(T_(machine) *m, int op, int activation, int64_t inputs, int64_t outputs) {
    T_(layer) *s = &m->layers[m->count++];
    s->op = op;
    s->activation = activation;
    s->in = inputs;
    s->out = outputs;
    s->purpose = 0x80000000u + (uint32_t)m->count;
    if (op != NNL_OP_GEMM) return;
    real *weight = m->weights + m->size, *grad = (real *)m->segment.grad + m->size;
    s->weight = weight;
    s->bias = weight + inputs * outputs;
    s->grad_weight = grad;
    s->grad_bias = grad + inputs * outputs;
    m->size += (inputs + 1) * outputs;
}

/* Writes the programs of a step and, with `held`, of the output and of the loss alone. */
static void T_(record)(T_(machine) *m, int loss, int64_t batch, double smoothing,
                       int64_t ignore_index, bool weights, bool epilogues, bool held) {
    nnl_training *t = &m->training;
    int64_t D = m->layers[0].in, K = m->layers[m->count - 1].out, unit = sizeof(real);
    int64_t target_bytes = loss == NNL_OP_MSE ? K * unit : 8;
    T_(list) *lists[2] = {T_(new_list)(batch), T_(new_list)(batch)};
    for (int i = 0; i < 2; i++) { /* of a step, of the loss alone */
        T_(list) *l = lists[i];
        l->p.input = T_(bound)(l, NULL, (i ? K : D) * unit);
        l->p.target = T_(bound)(l, NULL, target_bytes);
        if (weights) l->p.weight = T_(bound)(l, NULL, unit);
        int32_t y = l->p.input;
        if (i == 0) y = T_(forward_calls)(l, m->layers, m->count, y, true);
        nnl_call *call = T_(loss_call)(l, loss, K, y, l->p.target, l->p.weight, i == 0);
        l->p.output = y;
        l->p.mark = l->p.count;
        call->number = smoothing;
        call->integer = ignore_index;
        if (i == 0) T_(backward_calls)(l, m->layers, m->count, call->slot[1].buffer, epilogues);
    }
    m->step = lists[0];
    if (epilogues) m->step->p.thread_tables = m->step->thread_tables;
    t->batch = batch;
    t->program_count = 1;
    t->programs = &m->step->p;
    t->input_size = D;
    t->output_size = K;
    t->target_size = loss == NNL_OP_MSE ? K : 0;
    t->reduction = NNL_MEAN;
    t->ignore_index = ignore_index;
    t->segment_count = 1;
    t->segments = &m->segment;
    t->optimizer = &m->optimizer;
    t->sums = m->sums;
    t->held_sums = m->held;
    if (!held) return;
    m->measure = lists[1];
    m->forward = T_(new_list)(0);
    nnl_program *p = &m->forward->p;
    p->input = T_(bound)(m->forward, NULL, D * unit);
    p->output = T_(forward_calls)(m->forward, m->layers, m->count, p->input, false);
    m->forward->own[p->output] = 0;
    t->forward = p;
    t->measure = &m->measure->p;
}

/* Variants: 0 cross-entropy with a subset and weights; 1 log-likelihood; 2 squared error. */
static T_(machine) *T_(machine_of)(int variant) {
    const int64_t B = T_(PROGRAM_BATCH), D = T_(PROGRAM_IN), K = T_(PROGRAM_OUT);
    const int64_t rows = T_(PROGRAM_ROWS);
    const int losses[] = {NNL_OP_CROSS_ENTROPY, NNL_OP_NLL, NNL_OP_MSE};
    const int last[] = {NNL_OP_RELU, NNL_OP_LOG_SOFTMAX, NNL_OP_SIGMOID};
    T_(machine) *m = T_(new_machine)(4000);
    T_(append)(m, NNL_OP_GEMM, NNL_RELU, D, 33);
    T_(append)(m, NNL_OP_DROPOUT, 0, 33, 33);
    T_(append)(m, NNL_OP_GEMM, variant == 2 ? NNL_SIGMOID : NNL_TANH, 33, 16);
    T_(append)(m, variant == 1 ? NNL_OP_SOFTMAX : NNL_OP_TANH, 0, 16, 16);
    T_(append)(m, NNL_OP_GEMM, NNL_IDENTITY, 16, K);
    T_(append)(m, last[variant], 0, K, K);
    real *velocity = T_(out)(m->size);
    memset(velocity, 0, (size_t)m->size * sizeof *velocity);
    must(NNL_(random_normal)(m->size, m->weights, 0, (real)0.2, SEED, 4, (uint32_t)variant));
    m->segment.count = m->size;
    m->segment.weight = m->weights;
    m->segment.state[0] = velocity;
    m->segment.weight_decay = 1e-4;
    m->optimizer.rule = NNL_RULE_SGD;
    m->optimizer.lr = 0.05;
    m->optimizer.momentum = 0.9;
    T_(record)(m, losses[variant], B, variant == 0 ? 0.1 : 0, variant == 1 ? 2 : -100, variant == 0,
               false, true);
    nnl_training *t = &m->training;
    bool classes = variant != 2;
    t->input = T_(out)(3 * B * D);
    t->target = classes ? (void *)indices(B, 1, 0) : (void *)T_(out)(B * K);
    t->weight = T_(out)(B);
    t->index = indices(B, 1, 0);
    t->data.source = rows;
    t->data.rows = rows;
    t->data.input = T_(in)(rows * D, PLAIN, 1);
    t->data.target = classes ? (void *)indices(rows, K, 1) : (void *)T_(between)(rows * K, 0, 1, 2);
    if (variant == 0) {
        t->data.rows = 50;
        t->data.subset = indices(50, rows, 3);
        t->data.weight = T_(between)(rows, 0, 2, 3);
    }
    t->held_out = t->data;
    t->held_out.rows = 40;
    t->held_output = T_(out)(40 * K);
    t->order = indices(t->data.rows, 1, 0);
    t->order_bytes = variant == 0 ? 8 : 4;
    t->shuffle = 1;
    t->seed = SEED;
    t->todo = 3 * ((t->data.rows + B - 1) / B) - 1; /* the last epoch does not end */
    return m;
}

static uint64_t T_(hash_machine)(uint64_t h, const T_(machine) *m) {
    h = T_(hash)(h, m->weights, m->size);
    for (int epoch = 0; epoch < 3; epoch++) {
        h = hash_bytes(h, &m->sums[epoch].loss, 2 * sizeof(double));
        h = hash_int(hash_int(h, m->sums[epoch].correct), m->sums[epoch].counted);
        if (epoch < 2) h = hash_bytes(h, &m->held[epoch].loss, sizeof(double));
    }
    return h;
}

/* Three networks side by side, and for variant 0 one after the other: the same hash. */
static uint64_t T_(run_machines)(int variant, int threads) {
    T_(machine) *machines[3];
    nnl_training *trainings[3];
    uint64_t h = HASH_START;
    for (int i = 0; i < 3; i++) {
        machines[i] = T_(machine_of)(i);
        trainings[i] = &machines[i]->training;
    }
    for (int i = 0; variant == 0 && i < 3; i++) must(NNL_(Training_run)(1, trainings + i, threads));
    if (variant == 1) must(NNL_(Training_run)(3, trainings, threads));
    for (int i = 0; i < 3; i++) {
        nnl_sums all;
        must(trainings[i]->status);
        h = T_(hash_machine)(h, machines[i]);
        must(NNL_(Training_evaluate)(trainings[i], &trainings[i]->held_out, &all, threads));
        h = hash_bytes(h, &all, sizeof all);
    }
    return h;
}

/* Steps of one network on all its rows, which threads share; variant 1: without Dropout, and with
 * gradients clipped by their norm. */
static uint64_t T_(run_steps)(int variant, int threads) {
    enum { ROWS = 90, IN = 40, WIDE = 96, OUT = 7, ROOM = 12000, STEPS = 6 };
    T_(machine) *m = T_(new_machine)(ROOM);
    nnl_training *t = &m->training;
    T_(append)(m, NNL_OP_GEMM, NNL_RELU, IN, WIDE);
    if (variant == 0) T_(append)(m, NNL_OP_DROPOUT, 0, WIDE, WIDE);
    T_(append)(m, NNL_OP_GEMM, NNL_TANH, WIDE, 48);
    T_(append)(m, NNL_OP_GEMM, NNL_IDENTITY, 48, OUT);
    real *mean = T_(out)(2 * ROOM), *square = mean + ROOM;
    memset(mean, 0, 2 * ROOM * sizeof *mean);
    must(NNL_(random_normal)(m->size, m->weights, 0, (real)0.2, SEED, 4, 7));
    m->segment.count = m->size;
    m->segment.weight = m->weights;
    m->segment.state[0] = mean;
    m->segment.state[1] = square;
    nnl_optimizer *o = &m->optimizer;
    *o = (nnl_optimizer){.rule = NNL_RULE_ADAM, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999};
    o->eps = 1e-8;
    o->power1 = o->power2 = o->momentum_decay_power = o->mu_product = 1;
    o->clip_norm = variant == 0 ? 0 : 0.5;
    T_(record)(m, NNL_OP_CROSS_ENTROPY, ROWS, 0, -100, false, true, false);
    t->todo = 1;
    uint64_t h = HASH_START;
    real *x = T_(in)(ROWS * IN, PLAIN, 1);
    int64_t *target = indices(ROWS, OUT, 1);
    for (int i = 0; i < STEPS; i++) {
        /* the first steps by the shared way, which trials might find the slower one */
        must(nnl_force_choice(NNL_CHOICE_BATCH_PARALLEL, i < STEPS / 2 ? 1 : -1));
        must(NNL_(Training_step)(t, ROWS, x, target, threads));
        if (threads > 1 && i == 0 && t->shared < 2) fail("the threads share no batch");
        h = hash_bytes(h, &t->last_loss, sizeof t->last_loss);
    }
    return T_(hash)(h, m->weights, m->size);
}

static const group T_(program_groups)[] = {
    {"Training_step, shared", T_(run_steps), 0},
    {"Training_step, shared and clipped", T_(run_steps), 1},
    {"Training_run", T_(run_machines), 0},
    {"Training_run, side by side", T_(run_machines), 1},
    {"Training_evaluate", T_(run_machines), 0},
};
