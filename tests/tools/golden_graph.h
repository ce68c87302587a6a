/* golden_graph.h: every instruction of Graph_run, once for each type. */

enum { T_(GRAPH_M) = 21, T_(GRAPH_N) = 19, T_(GRAPH_PLACES) = 12 };

/* One instruction over fresh memory: places 0 out, 1 a, 2 b, 3 c, 4 classes, 5 weights, 6 a number. */
static uint64_t T_(instruct)(uint64_t h, nnl_instruction s, int64_t outputs, int64_t others,
                             uint32_t seed, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    void *places[T_(GRAPH_PLACES)] = {0};
    real *out = T_(out)(outputs), *c = T_(out)(others > 0 ? others : 1);
    places[0] = out;
    places[1] = T_(in)(M * N, PLAIN, seed);
    places[2] = T_(in)(M * N, PLAIN, seed + 1);
    places[3] = s.code == NNL_CODE_LINEAR ? T_(in)(N, PLAIN, seed + 2) : c;
    places[4] = indices(M, N, seed);
    places[5] = T_(in)(N, PLAIN, seed + 3);
    places[6] = T_(in)(1, PLAIN, seed + 4);
    for (int64_t i = 0; i < N; i++) ((real *)places[5])[i] *= ((real *)places[5])[i];
    must(NNL_(Graph_run)(1, &s, T_(GRAPH_PLACES), places, threads));
    h = T_(hash)(h, out, outputs);
    return others > 0 ? T_(hash)(h, c, others) : h;
}

/* Elements: contiguous, a repeated row, column and number, and columns of every length. */
static uint64_t T_(run_graph_elements)(int variant, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    uint64_t h = HASH_START;
    (void)variant;
    for (int32_t code = NNL_CODE_ADD; code <= NNL_CODE_POSITIVE; code++) {
        nnl_instruction s = {.code = code, .a = 1, .b = 2, .c = -1, .d = -1, .m = M, .n = N};
        s.a_row = N, s.a_col = 1, s.b_row = N, s.b_col = 1;
        h = T_(instruct)(h, s, M * N, 0, 1, threads);
        s.a_row = 0, s.b_row = 1, s.b_col = 0;
        h = T_(instruct)(h, s, M * N, 0, 2, threads);
        s.a_row = 1, s.a_col = M, s.b = 6, s.b_row = 0;
        h = T_(instruct)(h, s, M * N, 0, 3, threads);
        for (int e = 1; e < EDGES; e++) {
            nnl_instruction row = {.code = code, .a = 1, .b = 2, .c = -1, .d = -1, .m = 1};
            row.n = edge_sizes[e], row.a_col = 1, row.b_col = 1;
            h = T_(instruct)(h, row, row.n, 0, 4, threads);
        }
    }
    return h;
}

static uint64_t T_(run_graph_functions)(int variant, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N);
    uint64_t h = HASH_START;
    (void)variant;
    for (int32_t code = NNL_CODE_EXP; code <= NNL_CODE_LOGSOFTMAX_GRAD; code++) {
        nnl_instruction s = {.code = code, .a = 1, .b = 2, .c = -1, .d = -1, .m = 3, .n = N};
        bool rows = code >= NNL_CODE_SOFTMAX;
        h = T_(instruct)(h, s, rows ? 3 * N : N, 0, 10, threads);
    }
    for (int64_t m = 1; m <= M; m += 5) {
        nnl_instruction s = {.code = NNL_CODE_SUM_COLUMNS, .a = 1, .b = -1, .c = -1, .d = -1};
        s.m = m, s.n = M * N / m;
        h = T_(instruct)(h, s, s.m, 0, 11, threads);
        s.code = NNL_CODE_SUM_ROWS;
        h = T_(instruct)(h, s, s.n, 0, 11, threads);
    }
    return h;
}

static uint64_t T_(run_graph_layers)(int variant, int threads) {
    const int64_t M = T_(GRAPH_M), N = T_(GRAPH_N), K = 9;
    uint64_t h = HASH_START;
    (void)variant;
    nnl_instruction s = {.a = 1, .b = 2, .c = -1, .d = -1, .m = M, .n = N, .k = K};
    s.code = NNL_CODE_GEMM;
    s.a_row = 1, s.a_col = M, s.b_row = N, s.b_col = 1;
    h = T_(instruct)(h, s, M * N, 0, 20, threads);
    s.code = NNL_CODE_LINEAR;
    s.c = 3;
    h = T_(instruct)(h, s, M * N, 0, 21, threads);
    s.code = NNL_CODE_LINEAR_GRAD;
    h = T_(instruct)(h, s, K * N, N, 22, threads);
    for (int32_t code = NNL_CODE_CROSS_ENTROPY; code <= NNL_CODE_MSE; code++) {
        nnl_instruction loss = {.code = code, .a = 1, .b = 4, .c = 3, .d = 5, .m = M, .n = N};
        loss.k = 2, loss.number = 0.25, loss.reduction = NNL_MEAN;
        if (code == NNL_CODE_MSE) loss.b = 2, loss.d = -1;
        h = T_(instruct)(h, loss, 2, M * N, 23, threads);
        loss.c = -1, loss.reduction = NNL_SUM;
        h = T_(instruct)(h, loss, 2, 0, 24, threads);
    }
    nnl_instruction wrong[] = {{.code = 0},
                               {.code = 99},
                               {.code = 1, .b = -1},
                               {.code = 5, .a = 12},
                               {.code = 5, .b = -1, .m = -1}};
    void *places[T_(GRAPH_PLACES)] = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        h = hash_int(h, NNL_(Graph_run)(1, &wrong[i], T_(GRAPH_PLACES), places, threads));
    }
    h = hash_int(h, NNL_(Graph_run)(0, NULL, 0, places, threads));
    return hash_int(h, NNL_(Graph_run)(-1, NULL, 0, places, threads));
}

static const group T_(graph_groups)[] = {
    {"Graph_run elements", T_(run_graph_elements), 0},
    {"Graph_run functions and sums", T_(run_graph_functions), 0},
    {"Graph_run products and losses", T_(run_graph_layers), 0},
};
