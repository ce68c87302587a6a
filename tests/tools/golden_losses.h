/* golden_losses.h: groups of golden.c for the losses, with and without weights, and the count of
 * correct rows; once for each type. Included by golden_layers.h, whose shapes of rows it uses. */

/* variant: 0 or 1 with dense probabilities, + 2 when the gradient is written too. */
static uint64_t T_(run_cross_entropy)(int variant, int threads) {
    uint64_t h = HASH_START;
    for (uint32_t i = 1; i < ROW_SHAPES - 1; i++) {
        int64_t N = T_(row_shapes)[i][0], K = T_(row_shapes)[i][1], bad = -1;
        int reduction = i % 2 ? NNL_MEAN : NNL_SUM;
        real *x = T_(logits)(N, K, i), *dx = variant / 2 ? T_(out)(N * K) : NULL;
        real *loss = T_(out)(2), *dense = T_(between)(N * K, (real)-0.2, 1, i);
        for (int64_t k = 0; k < N * K; k++) dense[k] = dense[k] < 0 ? 0 : dense[k] / (real)K;
        const int64_t *target = variant % 2 ? NULL : indices(N, K, i);
        must(NNL_(CrossEntropyCriterion_updateOutput)(N, K, x, target, target ? NULL : dense, loss,
                                                      dx, NULL, NULL, &bad, 0, -100, reduction,
                                                      threads));
        h = T_(hash)(h, loss, 1);
        if (dx) h = T_(hash)(h, dx, N * K);
    }
    return h;
}

static uint64_t T_(run_nll)(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant, (void)threads;
    for (uint32_t i = 1; i < ROW_SHAPES - 1; i++) {
        int64_t N = T_(row_shapes)[i][0], K = T_(row_shapes)[i][1], bad = -1;
        int reduction = i % 2 ? NNL_MEAN : NNL_SUM;
        real *x = T_(in)(N * K, i % 3 ? PLAIN : SPARSE, i), *loss = T_(out)(2);
        real *dx = T_(out)(N * K);
        const int64_t *target = indices(N, K, i);
        must(NNL_(ClassNLLCriterion_updateOutput)(N, K, x, target, loss, NULL, NULL, &bad, -100,
                                                  reduction));
        must(NNL_(ClassNLLCriterion_updateGradInput)(N, K, target, dx, NULL, NULL, &bad, (real)1.5,
                                                     -100, reduction));
        h = T_(hash)(T_(hash)(h, loss, 1), dx, N * K);
    }
    return h;
}

static uint64_t T_(run_mse)(int variant, int threads) {
    static const int64_t long_sizes[] = {4095, 4096, 4097, 9000, MANY_CHEAP};
    uint64_t h = HASH_START;
    (void)variant;
    for (int e = 0; e < EDGES + 5; e++) {
        int64_t n = e < EDGES ? edge_sizes[e] : long_sizes[e - EDGES];
        real *x = T_(in)(n, PLAIN, (uint32_t)(2 * e)), *t = T_(in)(n, PLAIN, (uint32_t)(2 * e + 1));
        real *loss = T_(out)(2);
        must(NNL_(MSECriterion_updateOutput)(n, 1, x, t, loss, NULL, NNL_SUM, threads));
        h = T_(hash)(h, loss, 1);
        if (n == 0) continue;
        must(NNL_(MSECriterion_updateOutput)(1, n, x, t, loss, NULL, NNL_MEAN, threads));
        h = T_(hash)(h, loss, 1);
    }
    return h;
}

/* Weights of n rows or classes: between 0 and 2, every fifth 0. */
static real *T_(weights)(int64_t n, uint32_t step) {
    real *weight = T_(between)(n, 0, 2, step);
    for (int64_t i = 0; i < n; i += 5) weight[i] = 0;
    return weight;
}

/* Weights, smoothing and ignored rows. variant 0: class indices, 1: probabilities; 2: class indices
 * smoothed; 3: probabilities, weights of samples alone; 4: ignored rows alone. */
static uint64_t T_(run_weighted_cross_entropy)(int variant, int threads) {
    uint64_t h = HASH_START;
    for (uint32_t i = 1; i < ROW_SHAPES - 1; i++) {
        int64_t N = T_(row_shapes)[i][0], K = T_(row_shapes)[i][1], bad = -1;
        int reduction = i % 2 ? NNL_MEAN : NNL_SUM;
        real *x = T_(logits)(N, K, i), *dx = T_(out)(N * K), *loss = T_(out)(2);
        real *dense = variant % 2 ? T_(between)(N * K, 0, 1, i) : NULL;
        int64_t *target = dense ? NULL : indices(N, K, i);
        const real *class_weight = variant < 3 ? T_(weights)(K, 2 * i) : NULL;
        const real *sample_weight = variant < 4 ? T_(weights)(N, 2 * i + 1) : NULL;
        for (int64_t n = 0; target && n < N; n += 3) target[n] = -7;
        must(NNL_(CrossEntropyCriterion_updateOutput)(
            N, K, x, target, dense, loss, dx, class_weight, sample_weight, &bad,
            variant == 1 || variant == 2 ? 0.1 : 0, -7, reduction, threads));
        real alone[2];
        must(NNL_(CrossEntropyCriterion_updateOutput)(
            N, K, x, target, dense, alone, NULL, class_weight, sample_weight, &bad,
            variant == 1 || variant == 2 ? 0.1 : 0, -7, reduction, threads));
        h = T_(hash)(T_(hash)(T_(hash)(h, loss, 2), dx, N * K), alone, 2);
    }
    return h;
}

static uint64_t T_(run_weighted_nll)(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant, (void)threads;
    for (uint32_t i = 1; i < ROW_SHAPES - 1; i++) {
        int64_t N = T_(row_shapes)[i][0], K = T_(row_shapes)[i][1], bad = -1;
        int reduction = i % 2 ? NNL_MEAN : NNL_SUM;
        real *x = T_(in)(N * K, i % 3 ? PLAIN : SPARSE, i), *loss = T_(out)(2);
        real *dx = T_(out)(N * K), *of_class = T_(weights)(K, i), *of_row = T_(weights)(N, i + 50);
        int64_t *target = indices(N, K, i);
        for (int64_t n = 0; n < N; n += 3) target[n] = -7;
        must(NNL_(ClassNLLCriterion_updateOutput)(N, K, x, target, loss, of_class, of_row, &bad, -7,
                                                  reduction));
        must(NNL_(ClassNLLCriterion_updateGradInput)(N, K, target, dx, of_class, of_row, &bad,
                                                     (real)1.5, -7, reduction));
        h = T_(hash)(T_(hash)(h, loss, 2), dx, N * K);
    }
    return h;
}

static uint64_t T_(run_weighted_mse)(int variant, int threads) {
    static const int64_t shapes[][2] = {{1, 1}, {3, 5}, {17, 1}, {100, 33}, {2, 9000}, {70001, 3}};
    uint64_t h = HASH_START;
    (void)variant;
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t N = shapes[i][0], K = shapes[i][1], n = N * K;
        int reduction = i % 2 ? NNL_MEAN : NNL_SUM;
        real *x = T_(in)(n, SPARSE, 2 * i), *t = T_(in)(n, PLAIN, 2 * i + 1), *loss = T_(out)(2);
        real *dx = T_(out)(n), *weight = T_(weights)(N, i);
        must(NNL_(MSECriterion_updateOutput)(N, K, x, t, loss, weight, reduction, threads));
        must(NNL_(MSECriterion_updateGradInput)(N, K, x, t, dx, weight, (real)0.7, reduction,
                                                threads));
        h = T_(hash)(T_(hash)(h, loss, 2), dx, n);
    }
    return h;
}

static uint64_t T_(run_count_correct)(int variant, int threads) {
    uint64_t h = HASH_START;
    (void)variant, (void)threads;
    for (uint32_t i = 0; i < ROW_SHAPES; i++) {
        int64_t N = T_(row_shapes)[i][0], K = T_(row_shapes)[i][1], correct = -1;
        real *x = T_(logits)(N, K, i);
        for (int64_t k = 0; k < N * K; k += 2) x[k] = x[k] < 0 ? -1 : 1; /* ties */
        must(NNL_(count_correct)(N, K, x, indices(N, K, i), 1, &correct));
        h = hash_int(h, correct);
    }
    return h;
}
