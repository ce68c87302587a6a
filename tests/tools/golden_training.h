/* golden_training.h: a network of golden.c that learns, composed of the kernels; once for each
 * type. x [200, IN] -> tanh(x W1 + b1) [HIDDEN] -> logits [OUT]; SGD on batches of 32. */

enum { T_(ROWS) = 200, T_(BATCH) = 32, T_(IN) = 23, T_(HIDDEN) = 37, T_(OUT) = 10 };

/* Parameters and gradients, each in one arena, and the values between layers. */
typedef struct {
    real *weight[2], *bias[2], *grad_weight[2], *grad_bias[2];
    real *hidden, *logits, *d_logits, *d_hidden, *loss;
} T_(network);

/* The four parts of an arena: W1, b1, W2, b2. */
static void T_(cut)(real *arena, real **weight, real **bias) {
    weight[0] = arena;
    bias[0] = weight[0] + T_(IN) *T_(HIDDEN);
    weight[1] = bias[0] + T_(HIDDEN);
    bias[1] = weight[1] + T_(HIDDEN) *T_(OUT);
}

/* Forward, loss and all gradients of one batch of N rows. */
static void T_(learn)(const T_(network) *f, int64_t N, const real *x, const int64_t *target,
                      const real *dense, int threads) {
    const int64_t D = T_(IN), H = T_(HIDDEN), K = T_(OUT);
    int64_t bad = -1;
    must(NNL_(Linear_updateOutput)(N, D, H, x, f->hidden, f->weight[0], f->bias[0], NNL_TANH,
                                   threads));
    must(NNL_(Linear_updateOutput)(N, H, K, f->hidden, f->logits, f->weight[1], f->bias[1],
                                   NNL_IDENTITY, threads));
    must(NNL_(CrossEntropyCriterion_updateOutput)(N, K, f->logits, target, dense, f->loss,
                                                  f->d_logits, NULL, NULL, &bad, 0, -100, NNL_MEAN,
                                                  threads));
    must(NNL_(Linear_accGradParameters)(N, H, K, f->hidden, f->d_logits, f->grad_weight[1],
                                        f->grad_bias[1], 1, threads));
    must(NNL_(Linear_updateGradInput)(N, H, K, f->d_logits, f->d_hidden, f->weight[1], NULL, 0,
                                      threads));
    must(NNL_(Tanh_updateGradInput)(N * H, f->hidden, f->d_hidden, f->d_hidden, threads));
    must(NNL_(Linear_accGradParameters)(N, D, H, x, f->d_hidden, f->grad_weight[0], f->grad_bias[0],
                                        1, threads));
}

/* Twelve epochs; variant 1: against smoothed class probabilities, without momentum. The hash is
 * that of the losses and of the weights. */
static uint64_t T_(run_training)(int variant, int threads) {
    const int64_t D = T_(IN), H = T_(HIDDEN), K = T_(OUT), B = T_(BATCH), rows = T_(ROWS);
    const int64_t size = D * H + H + H * K + K;
    real *arena = T_(out)(size), *grad = T_(out)(size), *velocity = T_(out)(size);
    T_(network) f = {.hidden = T_(out)(B * H), .logits = T_(out)(B * K), .loss = T_(out)(2)};
    f.d_logits = T_(out)(B * K);
    f.d_hidden = T_(out)(B * H);
    T_(cut)(arena, f.weight, f.bias);
    T_(cut)(grad, f.grad_weight, f.grad_bias);
    must(NNL_(random_normal)(size, arena, 0, (real)0.2, SEED, 4, 0));
    memset(velocity, 0, (size_t)size * sizeof *velocity);
    real *x = T_(in)(rows * D, PLAIN, 1), *batch = T_(out)(B * D), *dense = T_(out)(B * K);
    int64_t *target = indices(rows, K, 1), *order = take((size_t)rows * sizeof *order, 0, true);
    int64_t labels[T_(BATCH)], bad = -1;
    nnl_segment segment = {size, arena, grad, {velocity}, 1e-4, 0};
    nnl_optimizer sgd = {.rule = NNL_RULE_SGD, .lr = 0.1, .momentum = variant ? 0 : 0.9};
    uint64_t h = HASH_START;
    for (uint32_t epoch = 0; epoch < 12; epoch++) {
        must(nnl_random_permutation(rows, order, 8, SEED, 5, epoch));
        for (int64_t from = 0; from < rows; from += B) {
            int64_t N = rows - from < B ? rows - from : B;
            must(NNL_(gather_rows)(N, D, rows, x, order + from, batch, &bad));
            for (int64_t i = 0; i < N; i++) {
                labels[i] = target[order[from + i]];
                for (int64_t k = 0; k < K; k++) {
                    dense[i * K + k] = k == labels[i] ? (real)0.91 : (real)0.01;
                }
            }
            memset(grad, 0, (size_t)size * sizeof *grad);
            T_(learn)(&f, N, batch, variant ? NULL : labels, variant ? dense : NULL, threads);
            must(NNL_(Optimizer_update)(1, &segment, &sgd, threads));
            h = T_(hash)(h, f.loss, 1);
        }
    }
    if (!(*f.loss < (real)2.2)) fail("the network did not learn"); /* log 10 = 2.303 at first */
    return T_(hash)(h, arena, size);
}

static const group T_(training_groups)[] = {
    {"a network trained with momentum", T_(run_training), 0},
    {"a network trained with a dense target", T_(run_training), 1},
};
