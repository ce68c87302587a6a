/* golden_graph.h: every operation of csrc/ops.h as a call of Program_run, once for each type. */

enum { T_(GRAPH_M) = 21, T_(GRAPH_N) = 19 };
/* One call over fresh memory, whose slots name places: P_OUT [outputs]; P_A, P_B [M, N]; P_C
 * [others], or N values of a bias; P_CLASSES [M]; P_WEIGHTS [M]; P_MASK [M, N]. */
static uint64_t T_(run_one)(uint64_t h, const nnl_call *call, int64_t outputs, int64_t others,
                            uint32_t seed, enum kind kind, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    bool masked = call->op >= NNL_OP_EQUAL && call->op <= NNL_OP_LOGICAL_XOR;
    masked = masked || call->op == NNL_OP_FIRST_MAX || call->op == NNL_OP_FIRST_MIN;
    void *places[P_PLACES] = {0};
    real *out = T_(out)(outputs), *c = T_(out)(others > 0 ? others : 1);
    unsigned char *mask = take((size_t)(M * N), 0, false);
    places[P_OUT] = masked ? take((size_t)outputs, 0, true) : (void *)out;
    places[P_A] = T_(in)(M * N, kind, seed);
    places[P_B] = T_(in)(M * N, kind, seed + 1);
    places[P_C] = call->op == NNL_OP_GEMM && !others ? T_(in)(N, kind, seed + 2) : c;
    places[P_CLASSES] = indices(M, N, seed);
    real *weights = places[P_WEIGHTS] = T_(in)(M, PLAIN, seed + 3);
    places[P_NUMBER] = T_(in)(1, PLAIN, seed + 4);
    real *zero = places[P_ZERO] = T_(in)(1, PLAIN, 0);
    *zero = 0;
    for (int64_t i = 0; i < M; i++) weights[i] *= weights[i];
    for (int64_t i = 0; i < M * N; i++) mask[i] = ((real *)places[P_A])[i] > 0;
    places[P_MASK] = mask;
    uint32_t counters[2] = {7, 11}, counts[2] = {0, 0};
    int64_t bad = -1;
    nnl_program p = {.count = 1, .buffers = P_PLACES, .calls = call, .table = places};
    p.counters = counters;
    p.counts = counts;
    p.counter_count = 2;
    p.bad_row = &bad;
    must(NNL_(Program_run)(&p, call->batch ? M : 1, threads));
    h = masked ? hash_bytes(h, places[P_OUT], (size_t)outputs) : T_(hash)(h, out, outputs);
    return others > 0 ? T_(hash)(h, c, others) : h;
}

/* A call of two operands, none of whose other slots are used. */
static nnl_call T_(plain_call)(int op, int64_t i, int64_t j, int64_t k, int64_t l) {
    nnl_call call = {.op = op, .size = {i, j, k, l}};
    const int32_t places[6] = {P_OUT, -1, P_A, P_B, -1, -1};
    for (int s = 0; s < 6; s++) call.slot[s].buffer = places[s];
    return call;
}

static uint64_t T_(instruct)(uint64_t h, nnl_call call, int64_t outputs, int64_t others,
                             uint32_t seed, int threads) {
    return T_(run_one)(h, &call, outputs, others, seed, PLAIN, threads);
}

/* An operation on elements: contiguous, a repeated row, column and number, and columns of every
 * length. `third` walks as the first does. */
static uint64_t T_(run_layouts)(uint64_t h, int op, int32_t a, int32_t b, int32_t number,
                                int32_t third, enum kind kind, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    nnl_call call = T_(plain_call)(op, 1, 1, M, N);
    call.slot[2].buffer = a;
    call.slot[3].buffer = b;
    call.slot[4].buffer = third;
    T_(walk)(&call, 0, 0, 0, N, 1);
    for (int s = 2; s < 5; s++) T_(walk)(&call, s, 0, 0, N, 1);
    h = T_(run_one)(h, &call, M * N, 0, 1, kind, threads);
    T_(walk)(&call, 2, 0, 0, 0, 1);
    T_(walk)(&call, 3, 0, 0, 1, 0);
    h = T_(run_one)(h, &call, M * N, 0, 2, kind, threads);
    T_(walk)(&call, 2, 0, 0, 1, M);
    T_(walk)(&call, 3, 0, 0, 0, 0);
    call.slot[3].buffer = number;
    h = T_(run_one)(h, &call, M * N, 0, 3, kind, threads);
    call.slot[3].buffer = b;
    for (int s = 0; s < 5; s++) T_(walk)(&call, s, 0, 0, 0, 1);
    call.size[2] = 1;
    for (int e = 1; e < EDGES; e++) {
        call.size[3] = edge_sizes[e];
        h = T_(run_one)(h, &call, edge_sizes[e], 0, 4, kind, threads);
    }
    return h;
}

static uint64_t T_(run_graph_elements)(int variant, int threads) {
    static const int ops[] = {NNL_OP_ADD, NNL_OP_SUB, NNL_OP_MUL,  NNL_OP_DIV, NNL_OP_COPY,
                              NNL_OP_NEG, NNL_OP_ABS, NNL_OP_SIGN, NNL_OP_SQRT};
    uint64_t h = HASH_START;
    (void)variant;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        h = T_(run_layouts)(h, ops[i], P_A, P_B, P_NUMBER, -1, PLAIN, threads);
    }
    /* max(a, 0): in each layout the second operand is the same number */
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    nnl_call call = T_(plain_call)(NNL_OP_MAXIMUM, 1, 1, M, N);
    call.slot[3].buffer = P_ZERO;
    T_(walk)(&call, 0, 0, 0, N, 1);
    for (uint32_t seed = 1; seed <= 3; seed++) {
        T_(walk)(&call, 2, 0, 0, seed == 1 ? N : seed == 2 ? 0 : 1, seed == 3 ? M : 1);
        h = T_(instruct)(h, call, M * N, 0, seed, threads);
    }
    call.size[2] = 1;
    T_(walk)(&call, 2, 0, 0, 0, 1);
    for (int e = 1; e < EDGES; e++) {
        call.size[3] = edge_sizes[e];
        h = T_(instruct)(h, call, edge_sizes[e], 0, 4, threads);
    }
    return h;
}

/* Maxima and minima of two, comparisons, masks and choices, with special values. Variant 1: values
 * that lie backwards, a transposed output, and rows of the batch. */
static uint64_t T_(run_graph_masks)(int variant, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    uint64_t h = HASH_START;
    for (int op = NNL_OP_MAXIMUM; op <= NNL_OP_FROM_MASK; op++) {
        if (op >= NNL_OP_NEG && op <= NNL_OP_SQRT) continue;
        bool masks = op >= NNL_OP_LOGICAL_NOT && op <= NNL_OP_LOGICAL_XOR;
        bool first = masks || op == NNL_OP_WHERE || op == NNL_OP_FROM_MASK;
        int32_t a = first ? P_MASK : P_A, b = masks ? P_MASK : P_B;
        int32_t number = masks ? P_MASK : P_NUMBER, third = op == NNL_OP_WHERE ? P_A : -1;
        if (variant == 0) {
            h = T_(run_layouts)(h, op, a, b, number, third, SPECIAL, threads);
            continue;
        }
        nnl_call call = T_(plain_call)(op, 1, 3, 7, N);
        call.slot[2].buffer = a;
        call.slot[3].buffer = b;
        call.slot[4].buffer = third;
        T_(walk)(&call, 0, 0, 7 * N, N, 1);
        T_(walk)(&call, 2, 0, 7 * N, -N, -1);
        T_(walk)(&call, 4, 0, -7 * N, N, 1);
        T_(walk)(&call, 3, 0, 7, 1, M);
        call.slot[2].offset = (7 * N - 1) * (first ? 1 : (int64_t)sizeof(real));
        call.slot[4].offset = 14 * N * (int64_t)sizeof(real);
        h = T_(run_one)(h, &call, M * N, 0, 5, SPECIAL, threads);
        nnl_call rows = T_(plain_call)(op, 1, 1, 1, N);
        rows.batch = 4;
        rows.by_row = 1;
        rows.slot[2].buffer = a;
        rows.slot[3].buffer = b;
        rows.slot[4].buffer = third;
        T_(walk)(&rows, 0, 0, 0, 1, M);
        for (int s = 2; s < 5; s++) T_(walk)(&rows, s, 0, 0, N, 1);
        h = T_(run_one)(h, &rows, M * N, 0, 6, SPECIAL, threads);
    }
    return h;
}

static uint64_t T_(run_graph_functions)(int variant, int threads) {
    static const int ops[] = {
        NNL_OP_EXP,          NNL_OP_EXPM1,        NNL_OP_LOG,
        NNL_OP_LOG1P,        NNL_OP_ERF,          NNL_OP_RELU,
        NNL_OP_SIGMOID,      NNL_OP_TANH,         NNL_OP_RELU_GRAD,
        NNL_OP_SIGMOID_GRAD, NNL_OP_TANH_GRAD,    NNL_OP_SOFTMAX,
        NNL_OP_LOG_SOFTMAX,  NNL_OP_SOFTMAX_GRAD, NNL_OP_LOG_SOFTMAX_GRAD,
    };
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    uint64_t h = HASH_START;
    (void)variant;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        bool rows = ops[i] >= NNL_OP_SOFTMAX && ops[i] <= NNL_OP_LOG_SOFTMAX_GRAD;
        nnl_call call = T_(plain_call)(ops[i], rows ? 3 : 1, 1, 1, N);
        h = T_(instruct)(h, call, rows ? 3 * N : N, 0, 10, threads);
    }
    for (int64_t m = 1; m <= M; m += 5) {
        int64_t n = M * N / m;
        h = T_(instruct)(h, T_(plain_call)(NNL_OP_SUM, m, n, 1, 1), m, 0, 11, threads);
        h = T_(instruct)(h, T_(plain_call)(NNL_OP_SUM, 1, m, n, 1), n, 0, 11, threads);
    }
    return h;
}

/* Sums and extrema over a middle axis, and where the extrema stand, with special values. */
static uint64_t T_(run_graph_reductions)(int variant, int threads) {
    const int64_t size = T_(GRAPH_M) *T_(GRAPH_N);
    uint64_t h = HASH_START;
    (void)variant;
    for (int op = NNL_OP_SUM; op <= NNL_OP_FIRST_MIN; op++) {
        bool first = op >= NNL_OP_FIRST_MAX;
        for (int64_t outer = 0; outer <= 4; outer++) {
            for (int64_t inner = 0; inner <= 5; inner++) {
                int64_t n = size / (outer * inner + 1);
                nnl_call call = T_(plain_call)(op, outer, n, inner, 1);
                int64_t outputs = outer * inner * (first ? n : 1);
                h = T_(run_one)(h, &call, outputs, 0, 12, SPECIAL, threads);
                h = T_(run_one)(h, &call, outputs, 0, 13, PLAIN, threads);
            }
        }
    }
    return h;
}

/* The statuses of calls that cannot be. */
static uint64_t T_(run_graph_wrong)(uint64_t h, int threads) {
    nnl_call good = T_(plain_call)(NNL_OP_ADD, 1, 1, 1, 1), wrong[5];
    for (int i = 0; i < 5; i++) wrong[i] = good;
    wrong[0].op = -1;
    wrong[1].op = NNL_OP_COUNT_OF_ALL;
    wrong[2].slot[3].buffer = -1;
    wrong[3].slot[2].buffer = P_PLACES;
    wrong[4].size[2] = -1;
    void *places[P_PLACES] = {0};
    nnl_program p = {.count = 1, .buffers = P_PLACES, .table = places};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        p.calls = &wrong[i];
        h = hash_int(h, NNL_(Program_run)(&p, 1, threads));
    }
    p = (nnl_program){0};
    h = hash_int(h, NNL_(Program_run)(&p, 1, threads));
    p.count = -1;
    return hash_int(h, NNL_(Program_run)(&p, 1, threads));
}

static uint64_t T_(run_graph_layers)(int variant, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N), K = 9;
    uint64_t h = HASH_START;
    (void)variant;
    nnl_call s = T_(plain_call)(NNL_OP_GEMM, 1, M, N, K);
    T_(walk)(&s, 0, 0, N, 1, 0);
    T_(walk)(&s, 2, 0, 1, M, 0);
    T_(walk)(&s, 3, 0, N, 1, 0);
    h = T_(instruct)(h, s, M * N, 0, 20, threads);
    T_(walk)(&s, 2, 0, K, 1, 0);
    s.slot[4].buffer = P_C;
    h = T_(instruct)(h, s, M * N, 0, 21, threads);
    s = T_(plain_call)(NNL_OP_GEMM, 1, K, N, M);
    s.flag = NNL_GRADIENT;
    s.slot[1].buffer = P_C;
    T_(walk)(&s, 0, 0, N, 1, 0);
    T_(walk)(&s, 2, 0, 1, K, 0);
    T_(walk)(&s, 3, 0, N, 1, 0);
    h = T_(instruct)(h, s, K * N, N, 22, threads);
    const int losses[] = {NNL_OP_CROSS_ENTROPY, NNL_OP_NLL, NNL_OP_MSE};
    for (int i = 0; i < 3; i++) {
        nnl_call loss = T_(plain_call)(losses[i], M, 1, 1, N);
        loss.integer = 2, loss.number = 0.25, loss.reduction = NNL_MEAN;
        loss.slot[1].buffer = P_C;
        if (losses[i] != NNL_OP_MSE) loss.slot[3].buffer = P_CLASSES;
        if (losses[i] != NNL_OP_MSE) loss.slot[4].buffer = P_WEIGHTS;
        h = T_(instruct)(h, loss, 2, M * N, 23, threads);
        loss.slot[1].buffer = -1, loss.reduction = NNL_SUM;
        h = T_(instruct)(h, loss, 2, 0, 24, threads);
    }
    return T_(run_graph_wrong)(h, threads);
}

/* Products that end in an activation or in its derivative, start from a bias or from what is stored,
 * or are stacked; losses with weights of samples and against probabilities; dropout; a count. */
static uint64_t T_(run_graph_more)(int variant, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N), K = 9;
    uint64_t h = HASH_START;
    (void)variant;
    for (int activation = NNL_IDENTITY; activation <= NNL_TANH; activation++) {
        nnl_call s = T_(plain_call)(NNL_OP_GEMM, 1, 1, N, K);
        s.batch = 2;
        s.by_row = 1;
        s.activation = activation;
        T_(walk)(&s, 0, 0, N, 1, 0);
        T_(walk)(&s, 2, 0, K, 1, 0);
        T_(walk)(&s, 3, 0, N, 1, 0);
        s.slot[4].buffer = P_C;
        h = T_(run_one)(h, &s, M * N, 0, 30, SPARSE, threads);
        T_(walk)(&s, 3, 0, 1, K, 0);
        s.flag = NNL_GRADIENT;
        s.slot[4].buffer = -1;
        s.slot[5].buffer = P_B;
        if (activation) h = T_(run_one)(h, &s, M * N, 0, 31, PLAIN, threads);
    }
    for (int64_t stack = 0; stack <= 5; stack++) {
        nnl_call s = T_(plain_call)(NNL_OP_GEMM, stack, 7, 5, 8);
        T_(walk)(&s, 0, 35, 5, 1, 0);
        T_(walk)(&s, 2, stack % 2 ? 56 : 0, 8, 1, 0);
        T_(walk)(&s, 3, 40, 1, 8, 0);
        h = T_(run_one)(h, &s, stack * 35, 0, 32, SPARSE, threads);
    }
    for (int op = NNL_OP_CROSS_ENTROPY; op <= NNL_OP_MSE; op++) {
        for (int reals = op == NNL_OP_MSE; reals < (op == NNL_OP_NLL ? 1 : 2); reals++) {
            nnl_call s = T_(plain_call)(op, 1, 1, 1, N);
            s.batch = 1, s.integer = 3, s.number = reals ? 0 : 0.1, s.reduction = NNL_MEAN;
            s.flag = op == NNL_OP_CROSS_ENTROPY && reals;
            s.slot[1].buffer = P_C;
            s.slot[3].buffer = reals ? P_B : P_CLASSES;
            s.slot[5].buffer = P_WEIGHTS;
            h = T_(instruct)(h, s, 2, M * N, 33, threads);
        }
    }
    for (int gradient = 0; gradient < 2; gradient++) {
        nnl_call s = T_(plain_call)(NNL_OP_DROPOUT, N, 1, 1, 1);
        s.batch = 1, s.by_row = 1, s.flag = gradient, s.number = 0.4;
        s.seed = SEED, s.purpose = 9, s.step = 2, s.integer = 1;
        h = T_(run_one)(h, &s, M * N, 0, 34, SPARSE, threads);
    }
    nnl_call count = T_(plain_call)(NNL_OP_COUNT, 1, 1, 1, 1);
    count.number = 3;
    h = T_(instruct)(h, count, 1, 0, 35, threads);
    count.batch = 1; /* of a batch of M rows */
    return T_(instruct)(h, count, 1, 0, 35, threads);
}

/* The functions that eager calls take for stacks of products and for sums. */
static uint64_t T_(run_graph_direct)(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant;
    for (int64_t count = 0; count < 4; count++) {
        for (int e = 0; e < EDGES; e += 3) {
            int64_t n = edge_sizes[e], m = 1 + 3 * count, k = edge_sizes[EDGES - 1 - e];
            real *a = T_(in)(count * m * k, SPARSE, 40), *b = T_(in)(k * n, SPARSE, 41);
            real *c = T_(out)(count * m * n), *sums = T_(out)(count * (n + 1));
            must(
                NNL_(matmul)(count, m, n, k, a, m * k, 1, m, b, 0, n, 1, c, NNL_GRADIENT, threads));
            must(NNL_(sum)(count, m, n, c, sums, threads));
            h = T_(hash)(T_(hash)(h, c, count * m * n), sums, count * n);
            must(NNL_(sum)(count, m * n, 1, c, sums, threads));
            h = T_(hash)(h, sums, n > 0 ? count : 0);
        }
    }
    real one = 1;
    h = hash_int(h, NNL_(sum)(-1, 1, 1, &one, &one, threads));
    return hash_int(h, NNL_(matmul)(1, -1, 1, 1, &one, 1, 1, 1, &one, 1, 1, 1, &one, 0, threads));
}

static const group T_(graph_groups)[] = {
    {"matmul sum", T_(run_graph_direct), 0},
    {"Program_run elements", T_(run_graph_elements), 0},
    {"Program_run functions and sums", T_(run_graph_functions), 0},
    {"Program_run products and losses", T_(run_graph_layers), 0},
    {"Program_run comparisons, masks and choices", T_(run_graph_masks), 0},
    {"Program_run comparisons, masks and choices, other layouts", T_(run_graph_masks), 1},
    {"Program_run reductions", T_(run_graph_reductions), 0},
    {"Program_run fused and stacked products, weighted losses, dropout", T_(run_graph_more), 0},
};
