/* golden_optim.h: the rules of optimisers in golden.c; once for each type. */

/* Settings of each variant, in the order of the groups below. */
static const nnl_optimizer T_(rules)[] = {
    {.rule = NNL_RULE_SGD, .flags = NNL_NESTEROV, .momentum = 0.9},
    {.rule = NNL_RULE_SGD, .flags = NNL_MAXIMIZE, .momentum = 0.9, .dampening = 0.3},
    {.rule = NNL_RULE_ADAM},
    {.rule = NNL_RULE_ADAM, .flags = NNL_AMSGRAD | NNL_DECOUPLED},
    {.rule = NNL_RULE_ADAMAX},
    {.rule = NNL_RULE_NADAM, .momentum_decay_factor = 0.999},
    {.rule = NNL_RULE_RMSPROP},
    {.rule = NNL_RULE_RMSPROP, .flags = NNL_CENTERED, .momentum = 0.9},
    {.rule = NNL_RULE_ADAGRAD, .lr_decay = 0.01},
    {.rule = NNL_RULE_ADADELTA},
    {.rule = NNL_RULE_RPROP},
};

/* Three steps over two segments, with clipping in some sizes; the hash of weights and states. */
static uint64_t T_(run_rule)(int variant, int threads) {
    uint64_t h = HASH_START;
    for (int e = 0; e <= EDGES; e++) {
        int64_t n = e < EDGES ? edge_sizes[e] : MANY_CHEAP, cut = n / 3;
        enum kind kind = e % 3 == 1 ? SPECIAL : PLAIN;
        uint32_t stream = (uint32_t)(5 * e);
        real *grad = T_(in)(n, kind, stream), *w = T_(inout)(n, kind, stream + 1), *state[3];
        for (uint32_t k = 0; k < 3; k++) {
            state[k] = T_(inout)(n, kind, stream + 2 + k);
            for (int64_t i = 0; i < n; i++) state[k][i] = state[k][i] < 0 ? 0 : state[k][i];
        }
        nnl_segment segments[2] = {
            {cut, w, grad, {state[0], state[1], state[2]}, 1e-2, e % 2 * 1e-3},
            {n - cut, w + cut, grad + cut, {state[0] + cut, state[1] + cut, state[2] + cut}, 0, 0},
        };
        nnl_optimizer o = T_(rules)[variant];
        o.lr = 0.1;
        o.beta1 = o.alpha = o.rho = 0.9;
        o.beta2 = 0.99;
        o.eps = 1e-6;
        o.eta_minus = 0.5;
        o.eta_plus = 1.2;
        o.step_max = 50;
        o.power1 = o.power2 = o.momentum_decay_power = o.mu_product = 1;
        o.clip_value = e % 2 ? 1.5 : 0;
        o.clip_norm = e % 4 > 1 ? 2 : 0;
        for (int step = 0; step < 3; step++) {
            must(NNL_(Optimizer_update)(2, segments, &o, threads));
        }
        h = T_(hash)(h, w, n);
        for (int k = 0; k < 3; k++) h = T_(hash)(h, state[k], n);
    }
    return h;
}

/* Norms of gradients in one segment, and in three of which the last two may be empty. */
static uint64_t T_(run_norm)(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant;
    for (int e = 0; e <= EDGES; e++) {
        int64_t n = e < EDGES ? edge_sizes[e] : MANY_CHEAP, cut = n / 3;
        real *grad = T_(in)(n, e % 3 == 1 ? SPECIAL : PLAIN, (uint32_t)e);
        nnl_segment one = {.count = n, .grad = grad};
        nnl_segment parts[3] = {
            {.count = n - cut, .grad = grad}, {.count = 0}, {.count = cut, .grad = grad + n - cut}};
        double norm = -1, same = -1;
        must(NNL_(gradient_norm)(1, &one, e % 2 ? 1.5 : 0, &norm, threads));
        must(NNL_(gradient_norm)(3, parts, e % 2 ? 1.5 : 0, &same, threads));
        if (memcmp(&norm, &same, sizeof norm) != 0 && norm == norm) fail("a norm by segments");
        if (norm != norm) norm = -2; /* which NaN does not matter */
        h = hash_bytes(h, &norm, sizeof norm);
    }
    return h;
}

static const group T_(optim_groups)[] = {
    {"gradient_norm", T_(run_norm), 0},
    {"Optimizer_update SGD Nesterov", T_(run_rule), 0},
    {"Optimizer_update SGD ascent", T_(run_rule), 1},
    {"Optimizer_update Adam", T_(run_rule), 2},
    {"Optimizer_update AdamW AMSGrad", T_(run_rule), 3},
    {"Optimizer_update Adamax", T_(run_rule), 4},
    {"Optimizer_update NAdam", T_(run_rule), 5},
    {"Optimizer_update RMSprop", T_(run_rule), 6},
    {"Optimizer_update RMSprop centred", T_(run_rule), 7},
    {"Optimizer_update Adagrad", T_(run_rule), 8},
    {"Optimizer_update Adadelta", T_(run_rule), 9},
    {"Optimizer_update Rprop", T_(run_rule), 10},
};
