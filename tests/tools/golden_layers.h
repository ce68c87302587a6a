/* golden_layers.h: groups of golden.c for element-wise functions, rows, dropout, the optimiser,
 * programs and random numbers; once for each type. */

typedef int T_(unary)(int64_t n, const real *x, real *y, int threads);
typedef int T_(binary)(int64_t n, const real *x, const real *y, real *out, int threads);

/* Enough elements that three threads take their share, and an odd number. */
#define MANY_FUNCTIONS 50001
#define MANY_CHEAP 200003

static uint64_t T_(apply)(uint64_t h, T_(unary) *f, int64_t n, const real *x, int threads) {
    real *y = T_(out)(n);
    must(f(n, x, y, threads));
    return T_(hash)(h, y, n);
}

/* Functions of one array; variant: which. */
static uint64_t T_(run_unary)(int variant, int threads) {
    static T_(unary) *const functions[] = {
        NNL_(Exp_updateOutput),   NNL_(Expm1_updateOutput), NNL_(Log_updateOutput),
        NNL_(Log1p_updateOutput), NNL_(Erf_updateOutput),   NNL_(Sigmoid_updateOutput),
        NNL_(Tanh_updateOutput),
    };
    static const real limits[] = {1, 4, 12, 110, 760};
    T_(unary) *f = functions[variant];
    uint64_t h = HASH_START;
    for (int e = 0; e < EDGES; e++) {
        int64_t n = edge_sizes[e];
        h = T_(apply)(h, f, n, T_(in)(n, SPECIAL, (uint32_t)e), threads);
        real *place = T_(inout)(n, SPECIAL, (uint32_t)(100 + e)); /* in place */
        must(f(n, place, place, threads));
        h = T_(hash)(h, place, n);
    }
    h = T_(apply)(h, f, 3000, T_(in)(3000, DENORMAL, 30), threads);
    for (uint32_t i = 0; i < 5; i++) {
        h = T_(apply)(h, f, 5000, T_(between)(5000, -limits[i], limits[i], 40 + i), threads);
        h = T_(apply)(h, f, 5000, T_(between)(5000, 0, limits[i], 50 + i), threads);
    }
    return T_(apply)(h, f, MANY_FUNCTIONS, T_(in)(MANY_FUNCTIONS, BITS, 60), threads);
}

/* What Threshold and the mean square take beside their arrays: in turn. */
static const real T_(thresholds)[][2] = {
    {0, 0}, {(real)0.5, (real)-0.25}, {-1, 20}, {0, -INFINITY}};

static int T_(threshold_0)(int64_t n, const real *x, real *y, int threads) {
    return NNL_(Threshold_updateOutput)(n, x, y, 0, 0, threads);
}
static int T_(threshold_1)(int64_t n, const real *x, real *y, int threads) {
    const real *s = T_(thresholds)[1 + n % 3];
    return NNL_(Threshold_updateOutput)(n, x, y, s[0], s[1], threads);
}
static int T_(threshold_grad)(int64_t n, const real *x, const real *dy, real *dx, int threads) {
    return NNL_(Threshold_updateGradInput)(n, x, dy, dx, T_(thresholds)[n % 4][0], threads);
}
static int T_(leaky_relu)(int64_t n, const real *x, real *y, int threads) {
    return NNL_(LeakyReLU_updateOutput)(n, x, y, T_(thresholds)[1 + n % 2][0], threads);
}
static int T_(leaky_relu_slope)(int64_t n, const real *x, const real *dy, real *dx, int threads) {
    return NNL_(LeakyReLU_updateGradInput)(n, x, dy, dx, T_(thresholds)[1 + n % 2][0], threads);
}
static int T_(mse_grad_mean)(int64_t n, const real *x, const real *t, real *dx, int threads) {
    if (n == 0) return NNL_OK;
    return NNL_(MSECriterion_updateGradInput)(n, 1, x, t, dx, NULL, (real)0.7, NNL_MEAN, threads);
}
static int T_(mse_grad_sum)(int64_t n, const real *x, const real *t, real *dx, int threads) {
    return NNL_(MSECriterion_updateGradInput)(1, n, x, t, dx, NULL, -3, NNL_SUM, threads);
}
static int T_(copy_plain)(int64_t n, const real *x, real *y, int threads) {
    return NNL_(roofline_copy)(n, x, y, 0, threads);
}
static int T_(copy_stream)(int64_t n, const real *x, real *y, int threads) {
    return NNL_(roofline_copy)(n, x, y, 1, threads);
}

/* Cheap functions of one array; variant: which. */
static uint64_t T_(run_cheap)(int variant, int threads) {
    static T_(unary) *const functions[] = {T_(threshold_0), T_(threshold_1), T_(copy_plain),
                                           T_(copy_stream), T_(leaky_relu)};
    uint64_t h = HASH_START;
    for (int e = 0; e < EDGES; e++) {
        int64_t n = edge_sizes[e];
        h = T_(apply)(h, functions[variant], n, T_(in)(n, SPECIAL, (uint32_t)e), threads);
    }
    return T_(apply)(h, functions[variant], MANY_CHEAP, T_(in)(MANY_CHEAP, BITS, 60), threads);
}

/* Functions of two arrays; variant: which. */
static uint64_t T_(run_binary)(int variant, int threads) {
    static T_(binary) *const functions[] = {NNL_(Sigmoid_updateGradInput),
                                            NNL_(Tanh_updateGradInput),
                                            T_(threshold_grad),
                                            T_(mse_grad_mean),
                                            T_(mse_grad_sum),
                                            T_(leaky_relu_slope)};
    uint64_t h = HASH_START;
    for (int e = 0; e <= EDGES; e++) {
        int64_t n = e < EDGES ? edge_sizes[e] : MANY_CHEAP;
        for (int kind = PLAIN; kind <= SPECIAL; kind++) {
            real *x = T_(in)(n, (enum kind)kind, (uint32_t)(2 * e));
            real *y = T_(in)(n, (enum kind)kind, (uint32_t)(2 * e + 1)), *out = T_(out)(n);
            must(functions[variant](n, x, y, out, threads));
            h = T_(hash)(h, out, n);
        }
    }
    return h;
}

/* Arrays so long that the output goes past the caches: the bytes of a short one, again and again.
 * variant 0: Threshold, 1: its d-input. */
static uint64_t T_(run_long)(int variant, int threads) {
    const int64_t period = 40961,
                  n = NNL_STREAM_BYTES / (int64_t)sizeof(real) + 12345; /* alike modulo 4 */
    T_(unary) *f = T_(threshold_0);
    T_(binary) *g = T_(threshold_grad);
    real *x = take((size_t)n * sizeof *x, 0, false), *y = T_(out)(n), *expected = T_(out)(period);
    T_(fill)(x, period, PLAIN, 1);
    for (int64_t i = period; i < n; i += period) {
        memcpy(x + i, x, (size_t)(n - i < period ? n - i : period) * sizeof *x);
    }
    must(variant ? g(period, x, x, expected, 1) : f(period, x, expected, 1));
    must(variant ? g(n, x, x, y, threads) : f(n, x, y, threads));
    for (int64_t i = 0; i < n; i += period) {
        size_t bytes = (size_t)(n - i < period ? n - i : period) * sizeof *y;
        if (memcmp(y + i, expected, bytes) != 0) fail("a long output is not its short parts");
    }
    return T_(hash)(HASH_START, expected, period);
}

/* ---- rows ---- */

static const int64_t T_(row_shapes)[][2] = {
    {0, 5},  {1, 1},  {2, 2},  {3, 3},  {4, 4},   {7, 5},   {3, 10},   {9, 15},    {4, 16},
    {5, 17}, {3, 31}, {3, 33}, {2, 64}, {2, 100}, {2, 333}, {600, 90}, {2, 10000}, {0, 1}};
#define ROW_SHAPES ((int)(sizeof T_(row_shapes) / sizeof *T_(row_shapes)))

/* Logits [N, K]: rows of small numbers, of large ones, of special values, of equal values, with
 * -inf, of -inf alone, of +-1e30. */
static real *T_(logits)(int64_t N, int64_t K, uint32_t step) {
    real *x = T_(in)(N * K, PLAIN, step);
    for (int64_t i = 0; i < N; i++) {
        real *row = x + i * K;
        switch ((i + step) % 8) {
            case 0: T_(fill)(row, K, SPECIAL, step + 1); break;
            case 1:
                for (int64_t k = 0; k < K; k++) row[k] *= 40;
                break;
            case 2:
                for (int64_t k = 0; k < K; k++) row[k] = (real)0.1;
                break;
            case 3:
                for (int64_t k = 0; k < K; k += 3) row[k] = -INFINITY;
                break;
            case 4:
                for (int64_t k = 0; k < K; k++) row[k] = row[k] < 0 ? (real)-1e30 : (real)1e30;
                break;
            case 5:
                for (int64_t k = 0; k < K && i % 16 == 5; k++) row[k] = -INFINITY;
                break;
            default: break;
        }
    }
    return x;
}

/* variant 0: SoftMax, 1: LogSoftMax, forward; 2, 3: d-input. */
static uint64_t T_(run_rows)(int variant, int threads) {
    uint64_t h = HASH_START;
    for (uint32_t i = 0; i < ROW_SHAPES; i++) {
        int64_t N = T_(row_shapes)[i][0], K = T_(row_shapes)[i][1];
        real *x = T_(logits)(N, K, 2 * i), *y = T_(out)(N * K), *dx = T_(out)(N * K);
        real *dy = T_(in)(N * K, i % 3 ? PLAIN : SPARSE, 2 * i + 1);
        if (variant % 2 == 0) {
            must(NNL_(SoftMax_updateOutput)(N, K, x, y, threads));
            must(NNL_(SoftMax_updateGradInput)(N, K, y, dy, dx, threads));
        } else {
            must(NNL_(LogSoftMax_updateOutput)(N, K, x, y, threads));
            must(NNL_(LogSoftMax_updateGradInput)(N, K, y, dy, dx, threads));
        }
        h = T_(hash)(h, variant < 2 ? y : dx, N * K);
    }
    return h;
}

#include "golden_losses.h"

/* variant 0: Dropout, 1: its d-input. */
static uint64_t T_(run_dropout)(int variant, int threads) {
    static const double rates[] = {0, 1e-12, 0.1, 0.5, 0.97, 1};
    uint64_t h = HASH_START;
    for (int e = 0; e <= EDGES; e++) {
        int64_t n = e < EDGES ? edge_sizes[e] : MANY_CHEAP;
        double rate = e < EDGES ? rates[e % 6] : 0.3;
        real *x = T_(in)(n, SPECIAL, (uint32_t)e), *y = T_(out)(n);
        if (variant == 0) {
            must(NNL_(Dropout_updateOutput)(n, x, y, rate, SEED, 1u << 31, (uint32_t)e, threads));
        } else {
            must(NNL_(Dropout_updateGradInput)(n, x, y, rate, UINT64_MAX - SEED, 9, UINT32_MAX,
                                               threads));
        }
        h = T_(hash)(h, y, n);
    }
    return h;
}

/* variant 0: plain, 1: with momentum. */
static uint64_t T_(run_sgd)(int variant, int threads) {
    uint64_t h = HASH_START;
    for (int e = 0; e <= EDGES; e++) {
        int64_t n = e < EDGES ? edge_sizes[e] : MANY_CHEAP;
        enum kind kind = e % 3 == 1 ? SPECIAL : PLAIN;
        real *grad = T_(in)(n, kind, (uint32_t)(3 * e)), momentum = variant ? (real)0.9 : 0;
        real *w = T_(inout)(n, kind, (uint32_t)(3 * e + 1));
        real *v = T_(inout)(n, kind, (uint32_t)(3 * e + 2));
        real decay = e % 2 ? (real)1e-3 : 0;
        nnl_segment segment = {n, w, grad, {v}, (double)decay, 0};
        nnl_optimizer sgd = {.rule = NNL_RULE_SGD, .lr = 0.1, .momentum = (double)momentum};
        must(NNL_(Optimizer_update)(1, &segment, &sgd, threads));
        h = T_(hash)(T_(hash)(h, w, n), v, n);
    }
    return h;
}

/* ---- programs, rows of a batch, random numbers ---- */

/* The buffer of x > 0.1 ? x : -0.5, where NaN stays. */
static int32_t T_(threshold_calls)(T_(list) *l, int32_t x, int64_t width) {
    real *numbers = T_(inout)(2, PLAIN, 0);
    numbers[0] = (real)0.1, numbers[1] = (real)-0.5;
    int32_t limit = T_(bound)(l, numbers, 0), value = T_(bound)(l, numbers + 1, 0);
    int32_t mask = T_(buffer)(l, width, 1), out = T_(buffer)(l, width, sizeof(real));
    nnl_call *calls[] = {T_(add_call)(l, NNL_OP_LESS_EQUAL, mask, x, limit, -1),
                         T_(add_call)(l, NNL_OP_WHERE, out, mask, value, x)};
    for (int i = 0; i < 2; i++) {
        calls[i]->size[3] = width;
        calls[i]->batch = 8;
        calls[i]->by_row = 1;
        for (int slot = 0; slot < 5; slot++) T_(walk)(calls[i], slot, 0, 0, 0, slot != 3);
    }
    return out;
}

/* A program with every layer; variant 0: it ends in SoftMax, 1: in LogSoftMax. */
static uint64_t T_(run_program)(int variant, int threads) {
    static const int64_t row_counts[] = {0, 1, 2, 17, 100, 1100};
    real *weight[3] = {T_(in)(20 * 33, PLAIN, 1), T_(in)(33 * 17, PLAIN, 2), T_(in)(170, PLAIN, 3)};
    real *bias[2] = {T_(in)(33, PLAIN, 4), T_(in)(10, PLAIN, 5)};
    T_(layer) layers[] = {
        {.op = NNL_OP_GEMM, .activation = NNL_RELU, .in = 20, .out = 33},
        {.op = NNL_OP_TANH, .in = 33, .out = 33},
        {.op = NNL_OP_DROPOUT, .in = 33, .out = 33}, /* passes its input on */
        {.op = NNL_OP_GEMM, .in = 33, .out = 17},
        {.op = NNL_OP_GEMM, .activation = NNL_SIGMOID, .in = 17, .out = 10},
        {.op = NNL_OP_SIGMOID, .in = 10, .out = 10},
        {.op = variant ? NNL_OP_LOG_SOFTMAX : NNL_OP_SOFTMAX, .in = 10, .out = 10},
    };
    layers[0].weight = weight[0], layers[0].bias = bias[0];
    layers[3].weight = weight[1];
    layers[4].weight = weight[2], layers[4].bias = bias[1];
    T_(list) *l = T_(new_list)(0);
    nnl_program *p = &l->p;
    p->input = T_(bound)(l, NULL, 20 * sizeof(real));
    int32_t x4 = T_(forward_calls)(l, layers, 4, p->input, false);
    p->output = T_(forward_calls)(l, layers + 4, 3, T_(threshold_calls)(l, x4, 17), false);
    l->own[p->output] = 0;
    uint64_t h = HASH_START;
    for (uint32_t i = 0; i < 6; i++) {
        int64_t N = row_counts[i];
        real *x = T_(in)(N * 20, PLAIN, 10 + i), *y = T_(out)(N * 10);
        must(NNL_(Program_predict)(p, N, x, y, threads));
        h = T_(hash)(h, y, N * 10);
    }
    return h;
}

static uint64_t T_(run_gather)(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant, (void)threads;
    for (int e = 0; e < EDGES; e++) {
        int64_t rows = edge_sizes[e], width = edge_sizes[EDGES - 1 - e], bad = -1;
        real *x = T_(in)(7 * width, BITS, (uint32_t)e), *y = T_(out)(rows * width);
        must(NNL_(gather_rows)(rows, width, 7, x, indices(rows, 7, (uint32_t)e), y, &bad));
        h = T_(hash)(h, y, rows * width);
    }
    return h;
}

static uint64_t T_(run_random)(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant, (void)threads;
    for (int e = 0; e <= EDGES; e++) {
        int64_t n = e < EDGES ? edge_sizes[e] : 20000;
        real *x = T_(out)(n), *y = T_(out)(n);
        must(NNL_(random_uniform)(n, x, (real)-0.3, (real)1.7, SEED, (uint32_t)e, 1));
        must(NNL_(random_normal)(n, y, (real)0.1, (real)2.5, SEED, (uint32_t)e, 2));
        h = T_(hash)(T_(hash)(h, x, n), y, n);
    }
    return h;
}

/* What wrong arguments give: the status, and the row of a wrong class index. */
static uint64_t T_(run_wrong)(int variant, int threads) {
    real x[4] = {0}, y[4] = {0};
    int64_t target[2] = {0, 2}, bad = -1;
    uint64_t h = HASH_START;
    (void)variant, (void)threads;
    const int64_t huge = INT64_MAX / 2;
    double flops;
    const int status[] = {
        NNL_(gemm)(-1, 1, 1, x, 1, 1, x, 1, 1, y, 1, NULL, NULL, 0, 0, 1),
        NNL_(gemm)(huge, huge, 1, x, 1, 1, x, 1, 1, y, 1, NULL, NULL, 0, 0, 1),
        NNL_(gemm)(1, 1, 1, x, 1, 1, x, 1, 1, y, 1, x, NULL, 1, 0, 1),
        NNL_(gemm)(1, 1, 1, x, 1, 1, x, 1, 1, y, 1, NULL, NULL, 0, 9, 1),
        NNL_(Exp_updateOutput)(-1, x, y, 1),
        NNL_(Exp_updateOutput)(1, x, y, 0),
        NNL_(SoftMax_updateOutput)(huge, huge, x, y, 1),
        NNL_(MSECriterion_updateOutput)(0, 1, x, x, y, NULL, NNL_MEAN, 1),
        NNL_(ClassNLLCriterion_updateOutput)(2, 2, x, target, y, NULL, NULL, &bad, -100, NNL_MEAN),
        NNL_(CrossEntropyCriterion_updateOutput)(2, 2, x, target, NULL, y, NULL, NULL, NULL, &bad,
                                                 0, -100, NNL_MEAN, 1),
        NNL_(CrossEntropyCriterion_updateOutput)(2, 2, x, NULL, NULL, y, NULL, NULL, NULL, &bad, 0,
                                                 -100, NNL_MEAN, 1),
        NNL_(Optimizer_update)(1, &(nnl_segment){4, x, y, {NULL}, 0, 0},
                               &(nnl_optimizer){.rule = NNL_RULE_SGD, .momentum = 1}, 1),
        NNL_(gather_rows)(2, 2, 2, x, target, y, &bad),
        NNL_(Program_predict)(&(nnl_program){.count = -1}, 1, x, y, 1),
        NNL_(roofline_fma)(100, &flops, 1), /* the count of operations depends on the build */
    };
    for (size_t i = 0; i < sizeof status / sizeof *status; i++) h = hash_int(h, status[i]);
    return T_(hash)(hash_int(h, bad), y, 4);
}

static const group T_(layer_groups)[] = {
    {"Exp_updateOutput", T_(run_unary), 0},
    {"Expm1_updateOutput", T_(run_unary), 1},
    {"Log_updateOutput", T_(run_unary), 2},
    {"Log1p_updateOutput", T_(run_unary), 3},
    {"Erf_updateOutput", T_(run_unary), 4},
    {"Sigmoid_updateOutput", T_(run_unary), 5},
    {"Tanh_updateOutput", T_(run_unary), 6},
    {"Threshold_updateOutput relu", T_(run_cheap), 0},
    {"Threshold_updateOutput", T_(run_cheap), 1},
    {"Threshold_updateOutput long", T_(run_long), 0},
    {"Threshold_updateGradInput long", T_(run_long), 1},
    {"roofline_copy", T_(run_cheap), 2},
    {"roofline_copy streaming", T_(run_cheap), 3},
    {"Sigmoid_updateGradInput", T_(run_binary), 0},
    {"Tanh_updateGradInput", T_(run_binary), 1},
    {"Threshold_updateGradInput", T_(run_binary), 2},
    {"LeakyReLU_updateOutput", T_(run_cheap), 4},
    {"LeakyReLU_updateGradInput", T_(run_binary), 5},
    {"MSECriterion_updateGradInput mean", T_(run_binary), 3},
    {"MSECriterion_updateGradInput sum", T_(run_binary), 4},
    {"SoftMax_updateOutput", T_(run_rows), 0},
    {"LogSoftMax_updateOutput", T_(run_rows), 1},
    {"SoftMax_updateGradInput", T_(run_rows), 2},
    {"LogSoftMax_updateGradInput", T_(run_rows), 3},
    {"CrossEntropyCriterion loss, indices", T_(run_cross_entropy), 0},
    {"CrossEntropyCriterion loss, probabilities", T_(run_cross_entropy), 1},
    {"CrossEntropyCriterion gradient, indices", T_(run_cross_entropy), 2},
    {"CrossEntropyCriterion gradient, probabilities", T_(run_cross_entropy), 3},
    {"ClassNLLCriterion", T_(run_nll), 0},
    {"MSECriterion", T_(run_mse), 0},
    {"CrossEntropyCriterion weights, indices", T_(run_weighted_cross_entropy), 0},
    {"CrossEntropyCriterion weights and smoothing, probabilities", T_(run_weighted_cross_entropy),
     1},
    {"CrossEntropyCriterion weights and smoothing, indices", T_(run_weighted_cross_entropy), 2},
    {"CrossEntropyCriterion weights, probabilities", T_(run_weighted_cross_entropy), 3},
    {"CrossEntropyCriterion ignored rows", T_(run_weighted_cross_entropy), 4},
    {"ClassNLLCriterion weights", T_(run_weighted_nll), 0},
    {"MSECriterion weights", T_(run_weighted_mse), 0},
    {"count_correct", T_(run_count_correct), 0},
    {"Dropout_updateOutput", T_(run_dropout), 0},
    {"Dropout_updateGradInput", T_(run_dropout), 1},
    {"SGD_update", T_(run_sgd), 0},
    {"SGD_update momentum", T_(run_sgd), 1},
    {"Program_predict SoftMax", T_(run_program), 0},
    {"Program_predict LogSoftMax", T_(run_program), 1},
    {"gather_rows", T_(run_gather), 0},
    {"random_uniform random_normal", T_(run_random), 0},
    {"wrong arguments", T_(run_wrong), 0},
};
