/* golden_program.h: networks that Training_run trains: all layers and criteria that a program can
 * hold, a subset of the rows, weights, validation; two networks at once; once for each type. */

enum { T_(PROGRAM_IN) = 19, T_(PROGRAM_ROWS) = 90, T_(PROGRAM_BATCH) = 32, T_(PROGRAM_OUT) = 7 };

/* A network and the memory of its training. */
typedef struct {
    nnl_step steps[8];
    nnl_segment segment;
    nnl_optimizer optimizer;
    nnl_training training;
    nnl_sums sums[8], held[8];
    real *weights;
    int64_t size;
} T_(machine);

/* Appends a layer of so many outputs; a Linear takes its weights from the arena. */
static void T_(append)(T_(machine) *m, int layer, int activation, int64_t outputs, int64_t batch) {
    nnl_step *s = &m->steps[m->training.count++];
    s->layer = layer;
    s->activation = activation;
    s->inputs = m->training.count > 1 ? s[-1].outputs : T_(PROGRAM_IN);
    s->outputs = outputs > 0 ? outputs : s->inputs;
    s->rate = 0.25;
    s->seed = SEED;
    s->purpose = 0x80000000u + (uint32_t)m->training.count;
    s->output = T_(out)(batch * s->outputs);
    s->gradOutput = T_(out)(batch * s->outputs);
    if (layer != NNL_LINEAR) return;
    real *weight = m->weights + m->size, *grad = (real *)m->segment.grad + m->size;
    s->weight = weight;
    s->bias = weight + s->inputs * s->outputs;
    s->gradWeight = grad;
    s->gradBias = grad + s->inputs * s->outputs;
    m->size += (s->inputs + 1) * s->outputs;
}

/* Variants: 0 cross-entropy with a subset and weights; 1 log-likelihood; 2 squared error. */
static T_(machine) *T_(machine_of)(int variant) {
    const int64_t B = T_(PROGRAM_BATCH), D = T_(PROGRAM_IN), K = T_(PROGRAM_OUT), room = 4000;
    const int64_t rows = T_(PROGRAM_ROWS);
    T_(machine) *m = take(sizeof *m, 0, true);
    memset(m, 0, sizeof *m);
    m->weights = T_(out)(room);
    m->segment.grad = T_(out)(room);
    T_(append)(m, NNL_LINEAR, NNL_RELU, 33, B);
    T_(append)(m, NNL_DROPOUT, 0, 0, B);
    T_(append)(m, NNL_LINEAR, variant == 2 ? NNL_SIGMOID : NNL_TANH, 16, B);
    T_(append)(m, variant == 1 ? NNL_SOFTMAX : NNL_LAYER_TANH, 0, 0, B);
    T_(append)(m, NNL_LINEAR, NNL_IDENTITY, K, B);
    T_(append)(m,
               variant == 0   ? NNL_THRESHOLD
               : variant == 1 ? NNL_LOGSOFTMAX
                              : NNL_LAYER_SIGMOID,
               0, 0, B);
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
    nnl_training *t = &m->training;
    t->batch = B;
    t->steps = m->steps;
    t->loss.criterion = variant == 0 ? NNL_CROSS_ENTROPY : variant == 1 ? NNL_NLL : NNL_MSE;
    t->loss.reduction = NNL_MEAN;
    t->loss.classes = variant != 2;
    t->loss.ignore_index = variant == 1 ? 2 : -100;
    t->segment_count = 1;
    t->segments = &m->segment;
    t->optimizer = &m->optimizer;
    t->input = T_(out)(3 * B * D);
    t->target = t->loss.classes ? (void *)indices(B, 1, 0) : (void *)T_(out)(B * K);
    t->weight = T_(out)(B);
    t->index = indices(B, 1, 0);
    t->team = 3;
    t->data.source = rows;
    t->data.rows = rows;
    t->data.input = T_(in)(rows * D, PLAIN, 1);
    t->data.target =
        t->loss.classes ? (void *)indices(rows, K, 1) : (void *)T_(between)(rows * K, 0, 1, 2);
    if (variant == 0) {
        t->data.rows = 50;
        t->data.subset = indices(50, rows, 3);
        t->data.weight = T_(between)(rows, 0, 2, 3);
        t->loss.smoothing = 0.1;
    }
    t->held_out = t->data;
    t->held_out.rows = 40;
    t->held_output = T_(out)(40 * K);
    t->order = indices(t->data.rows, 1, 0);
    t->order_bytes = variant == 0 ? 8 : 4;
    t->shuffle = 1;
    t->seed = SEED;
    t->todo = 3 * ((t->data.rows + B - 1) / B) - 1; /* the last epoch does not end */
    t->sums = m->sums;
    t->held_sums = m->held;
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
    T_(machine) *m = take(sizeof *m, 0, true);
    memset(m, 0, sizeof *m);
    nnl_training *t = &m->training;
    m->weights = T_(out)(ROOM);
    m->segment.grad = T_(out)(ROOM);
    T_(append)(m, NNL_LINEAR, NNL_RELU, WIDE, ROWS);
    t->steps = m->steps;
    m->steps[0].inputs = IN;
    m->size = (IN + 1) * WIDE;
    m->steps[0].bias = m->weights + IN * WIDE;
    m->steps[0].gradBias = (real *)m->segment.grad + IN * WIDE;
    if (variant == 0) T_(append)(m, NNL_DROPOUT, 0, 0, ROWS);
    T_(append)(m, NNL_LINEAR, NNL_TANH, 48, ROWS);
    T_(append)(m, NNL_LINEAR, NNL_IDENTITY, OUT, ROWS);
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
    o->power1 = o->power2 = o->warmth = o->mu_product = 1;
    o->clip_norm = variant == 0 ? 0 : 0.5;
    t->loss.criterion = NNL_CROSS_ENTROPY;
    t->loss.reduction = NNL_MEAN;
    t->loss.classes = 1;
    t->loss.ignore_index = -100;
    t->batch = ROWS;
    t->segment_count = 1;
    t->segments = &m->segment;
    t->optimizer = o;
    t->team = 7;
    t->todo = 1;
    t->sums = m->sums;
    uint64_t h = HASH_START;
    real *x = T_(in)(ROWS * IN, PLAIN, 1);
    int64_t *target = indices(ROWS, OUT, 1);
    for (int i = 0; i < STEPS; i++) {
        must(NNL_(Training_step)(t, ROWS, x, target, threads));
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
