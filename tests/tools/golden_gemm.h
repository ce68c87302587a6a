/* golden_gemm.h: groups of golden.c for the matrix product and Linear; once for each type. */

/* How one product is called. */
typedef struct {
    int64_t m, n, k;
    int a_transposed, b_transposed;
    int start;      /* 0: from zero, 1: from the bias, 2: from the stored value */
    int activation; /* enum nnl_activation */
    int64_t pad;    /* extra elements between rows */
    int64_t apart;  /* elements of A and B lie this far apart, 1 for plain matrices */
    enum kind kind;
    bool derivative; /* multiplied by the activation's derivative */
} T_(gemm_case);

/* One more than the position of the last element of a matrix. */
static int64_t T_(extent)(int64_t rows, int64_t row, int64_t columns, int64_t column) {
    return rows > 0 && columns > 0 ? (rows - 1) * row + (columns - 1) * column + 1 : 0;
}

/* The same product by a packed b, which has the same bits. */
static void T_(check_packed)(T_(gemm_case) s, const real *a, int64_t a_row, int64_t a_col,
                             const real *b, int64_t b_row, int64_t b_col, const real *expected,
                             int threads) {
    int64_t size;
    must(NNL_(gemm_packed_size)(s.k, s.n, &size));
    if (size == 0 || s.m == 0) return;
    real *packed = take((size_t)size * sizeof(real), 0, false), *c = T_(out)(s.m * s.n);
    must(NNL_(gemm_pack)(s.k, s.n, b, b_row, b_col, packed));
    must(NNL_(gemm)(s.m, s.n, s.k, a, a_row, a_col, packed, 0, 0, c, s.n, NULL, NULL, NNL_PACKED,
                    s.activation, threads));
    for (int64_t i = 0; i < s.m; i++) {
        bool same =
            memcmp(c + i * s.n, expected + i * (s.n + s.pad), (size_t)s.n * sizeof(real)) == 0;
        must(same ? NNL_OK : NNL_EINVAL);
    }
}

static uint64_t T_(run_product)(uint64_t h, T_(gemm_case) s, uint32_t step, int threads) {
    int64_t a_long = (s.a_transposed ? s.m : s.k) * s.apart + s.pad;
    int64_t b_long = (s.b_transposed ? s.k : s.n) * s.apart + s.pad;
    int64_t a_row = s.a_transposed ? s.apart : a_long, a_col = s.a_transposed ? a_long : s.apart;
    int64_t b_row = s.b_transposed ? s.apart : b_long, b_col = s.b_transposed ? b_long : s.apart;
    int64_t c_row = s.n + s.pad, c_size = T_(extent)(s.m, c_row, s.n, 1);
    real *a = T_(in)(T_(extent)(s.m, a_row, s.k, a_col), s.kind, 3 * step);
    real *b = T_(in)(T_(extent)(s.k, b_row, s.n, b_col), s.kind, 3 * step + 1);
    real *c = s.start == 2 ? T_(inout)(c_size, s.kind, 3 * step + 2) : T_(out)(c_size);
    real *bias = s.start == 1 ? T_(in)(s.n, s.kind, 3 * step + 2) : NULL;
    real *activation_output = s.derivative ? T_(in)(c_size, s.kind, 3 * step + 4) : NULL;
    must(NNL_(gemm)(s.m, s.n, s.k, a, a_row, a_col, b, b_row, b_col, c, c_row, bias,
                    activation_output, s.start == 2, s.activation, threads));
    if (s.start == 0 && !s.derivative && s.kind == PLAIN) {
        T_(check_packed)(s, a, a_row, a_col, b, b_row, b_col, c, threads);
    }
    return T_(hash)(h, c, c_size);
}

/* Every pair of edge sizes, inner sizes in turn; variant: transpositions + 4 start. */
static uint64_t T_(run_gemm_small)(int variant, int threads) {
    static const int64_t sizes[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  11, 12,
                                    13, 14, 15, 16, 17, 23, 24, 31, 32, 33, 64, 65};
    static const int64_t inner[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 17, 33};
    uint64_t h = HASH_START;
    uint32_t step = 0;
    for (int i = 0; i < 24; i++) {
        for (int j = i % 2; j < 24; j += 2, step++) {
            T_(gemm_case) s = {.m = sizes[i], .n = sizes[j], .k = inner[step % 11], .apart = 1};
            s.a_transposed = variant % 2;
            s.b_transposed = variant / 2 % 2;
            s.start = variant / 4;
            s.pad = step % 3;
            h = T_(run_product)(h, s, step, threads);
            release();
        }
    }
    return h;
}

/* Sizes that cross the edges of tiles and blocks; variant: transpositions. */
static uint64_t T_(run_gemm_large)(int variant, int threads) {
    static const int64_t shapes[][3] = {
        {150, 70, 20},  {13, 65, 900}, {5, 97, 401},  {97, 5, 450},
        {146, 66, 515}, {300, 33, 40}, {30, 600, 50}, {64, 64, 1030},
        {2, 3100, 5},   {3100, 2, 5},  {7, 40, 2100}, {128, 10, 784},
        {32, 64, 64},   {61, 130, 99}, {289, 3, 770}, {25, 129, 385},
    };
    uint64_t h = HASH_START;
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        T_(gemm_case) s = {.m = shapes[i][0], .n = shapes[i][1], .k = shapes[i][2], .apart = 1};
        s.a_transposed = variant % 2;
        s.b_transposed = variant / 2;
        s.start = (int)i % 3;
        s.activation = i % 5 == 4 ? NNL_RELU : NNL_IDENTITY;
        s.pad = i % 4 == 3 ? 5 : 0;
        h = T_(run_product)(h, s, 1000 + i, threads);
        release();
    }
    return h;
}

/* Few rows, or few columns, as in inference; variant: transpositions. */
static uint64_t T_(run_gemm_skinny)(int variant, int threads) {
    static const int64_t few[] = {1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 17};
    static const int64_t many[] = {100, 64, 257, 333, 512};
    static const int64_t inner[] = {1, 3, 64, 100, 257, 17, 784};
    uint64_t h = HASH_START;
    for (uint32_t i = 0; i < 13 * 4; i++) {
        T_(gemm_case) s = {.k = inner[i % 7], .apart = 1, .start = (int)i % 3};
        bool wide = i % 2 == 0;
        s.m = wide ? few[i % 13] : many[i % 5];
        s.n = wide ? many[i % 5] : few[i % 13];
        s.a_transposed = variant % 2;
        s.b_transposed = variant / 2;
        h = T_(run_product)(h, s, 2000 + i, threads);
        release();
    }
    return h;
}

/* Activations in the epilogue, after every start; variant: enum nnl_activation, + 4 for their
 * derivatives. */
static uint64_t T_(run_gemm_activation)(int variant, int threads) {
    static const int64_t shapes[][3] = {{1, 1, 1},    {4, 3, 0},   {5, 17, 3},   {16, 33, 16},
                                        {33, 100, 7}, {64, 64, 0}, {13, 31, 64}, {17, 5, 900}};
    static const enum kind kinds[] = {PLAIN, SPARSE, SPECIAL, DENORMAL};
    uint64_t h = HASH_START;
    uint32_t step = 3000;
    for (int i = 0; i < 8; i++) {
        for (int start = 0; start < 3; start++, step++) {
            T_(gemm_case) s = {.m = shapes[i][0], .n = shapes[i][1], .k = shapes[i][2]};
            s.apart = 1;
            s.a_transposed = (int)step % 2;
            s.b_transposed = (int)step / 2 % 2;
            s.start = start;
            s.activation = variant % 4;
            s.derivative = variant / 4;
            s.kind = kinds[step % 4];
            h = T_(run_product)(h, s, step, threads);
        }
    }
    return h;
}

/* Values at the limits, and matrices whose elements lie apart; variant: enum kind. */
static uint64_t T_(run_gemm_special)(int variant, int threads) {
    static const int64_t shapes[][3] = {{1, 1, 1},    {1, 33, 5},   {5, 3, 4},    {17, 33, 19},
                                        {64, 100, 9}, {100, 1, 31}, {13, 65, 410}};
    uint64_t h = HASH_START;
    for (uint32_t i = 0; i < 7 * 4; i++) {
        T_(gemm_case) s = {.m = shapes[i / 4][0], .n = shapes[i / 4][1], .k = shapes[i / 4][2]};
        s.a_transposed = i % 2;
        s.b_transposed = i / 2 % 2;
        s.start = (int)i % 3;
        s.apart = i % 5 == 2 ? 3 : 1;
        s.kind = (enum kind)variant;
        h = T_(run_product)(h, s, 4000 + i, threads);
    }
    return h;
}

/* d-input through a layer and the activation before it, in one kernel and in two: the same bytes;
 * variant: enum nnl_activation. */
static uint64_t T_(run_linear_derivative)(int variant, int threads) {
    static const int64_t shapes[][3] = {{1, 1, 1},   {1, 64, 10},  {5, 17, 33},    {33, 100, 10},
                                        {64, 64, 1}, {3, 257, 17}, {128, 200, 30}, {130, 10, 500}};
    uint64_t h = HASH_START;
    for (uint32_t i = 0; i < 8; i++) {
        int64_t N = shapes[i][0], D = shapes[i][1], K = shapes[i][2];
        real *y = T_(in)(N * D, PLAIN, 3 * i), *dy = T_(in)(N * K, PLAIN, 3 * i + 1);
        real *weight = T_(in)(D * K, PLAIN, 3 * i + 2), *one = T_(out)(N * D),
             *two = T_(out)(N * D);
        must(NNL_(Linear_updateGradInput)(N, D, K, dy, one, weight, y, variant, threads));
        must(NNL_(Linear_updateGradInput)(N, D, K, dy, two, weight, NULL, NNL_IDENTITY, threads));
        if (variant == NNL_RELU) {
            must(NNL_(Threshold_updateGradInput)(N * D, y, two, two, 0, threads));
        } else if (variant == NNL_SIGMOID) {
            must(NNL_(Sigmoid_updateGradInput)(N * D, y, two, two, threads));
        } else if (variant == NNL_TANH) {
            must(NNL_(Tanh_updateGradInput)(N * D, y, two, two, threads));
        }
        if (memcmp(one, two, (size_t)(N * D) * sizeof *one) != 0) fail("one kernel is not two");
        h = T_(hash)(h, one, N * D);
    }
    return h;
}

/* variant 0: updateOutput, 1: updateGradInput, 2: accGradParameters. */
static uint64_t T_(run_linear)(int variant, int threads) {
    static const int64_t shapes[][3] = {{0, 3, 4},   {3, 0, 4},      {3, 4, 0},     {1, 1, 1},
                                        {1, 64, 10}, {5, 17, 33},    {16, 15, 31},  {33, 100, 10},
                                        {64, 64, 1}, {128, 200, 30}, {130, 10, 500}};
    uint64_t h = HASH_START;
    for (uint32_t i = 0; i < 11; i++) {
        int64_t N = shapes[i][0], D = shapes[i][1], K = shapes[i][2];
        real *x = T_(in)(N * D, PLAIN, 4 * i), *dy = T_(in)(N * K, PLAIN, 4 * i + 1);
        real *weight = T_(in)(D * K, PLAIN, 4 * i + 2), *bias = T_(in)(K, PLAIN, 4 * i + 3);
        if (variant == 0) {
            real *y = T_(out)(N * K);
            must(NNL_(Linear_updateOutput)(N, D, K, x, y, weight, i % 3 ? bias : NULL, (int)i % 4,
                                           threads));
            h = T_(hash)(h, y, N * K);
        } else if (variant == 1) {
            real *dx = T_(out)(N * D);
            must(NNL_(Linear_updateGradInput)(N, D, K, dy, dx, weight, NULL, 0, threads));
            h = T_(hash)(h, dx, N * D);
        } else {
            real *dw = T_(inout)(D * K, PLAIN, 100 + i), *db = T_(inout)(K, PLAIN, 200 + i);
            must(NNL_(Linear_accGradParameters)(N, D, K, x, dy, dw, i % 4 ? db : NULL,
                                                i % 3 ? 1 : (real)0.3, threads));
            h = T_(hash)(T_(hash)(h, dw, D * K), db, K);
        }
    }
    return h;
}

/* The probe gives what gemm gives, however often it repeats it. */
static uint64_t T_(run_roofline_gemm)(int variant, int threads) {
    real *a = T_(in)(13 * 31, PLAIN, 0), *b = T_(in)(31 * 17, PLAIN, 1), *c = T_(out)(13 * 17);
    (void)variant;
    must(NNL_(roofline_gemm)(0, 13, 17, 31, a, 31, 1, b, 17, 1, c, 17, threads));
    uint64_t h = T_(hash)(HASH_START, c, 13 * 17);
    must(NNL_(roofline_gemm)(2, 13, 17, 31, a, 31, 1, b, 17, 1, c, 17, threads));
    return T_(hash)(h, c, 13 * 17);
}

#define FOUR(name, run, from)                                                          \
    {name " nn", run, from}, {name " tn", run, from + 1}, {name " nt", run, from + 2}, \
        {name " tt", run, from + 3}

static const group T_(gemm_groups)[] = {
    FOUR("gemm small from zero", T_(run_gemm_small), 0),
    FOUR("gemm small from bias", T_(run_gemm_small), 4),
    FOUR("gemm small accumulated", T_(run_gemm_small), 8),
    FOUR("gemm large", T_(run_gemm_large), 0),
    FOUR("gemm skinny", T_(run_gemm_skinny), 0),
    {"gemm identity", T_(run_gemm_activation), NNL_IDENTITY},
    {"gemm relu", T_(run_gemm_activation), NNL_RELU},
    {"gemm sigmoid", T_(run_gemm_activation), NNL_SIGMOID},
    {"gemm tanh", T_(run_gemm_activation), NNL_TANH},
    {"gemm relu's derivative", T_(run_gemm_activation), 4 + NNL_RELU},
    {"gemm sigmoid's derivative", T_(run_gemm_activation), 4 + NNL_SIGMOID},
    {"gemm tanh's derivative", T_(run_gemm_activation), 4 + NNL_TANH},
    {"gemm of special values", T_(run_gemm_special), SPECIAL},
    {"gemm of a few special values", T_(run_gemm_special), SPARSE},
    {"gemm of denormals", T_(run_gemm_special), DENORMAL},
    {"gemm of any bits", T_(run_gemm_special), BITS},
    {"roofline_gemm", T_(run_roofline_gemm), 0},
    {"Linear_updateOutput", T_(run_linear), 0},
    {"Linear_updateGradInput", T_(run_linear), 1},
    {"Linear_updateGradInput relu", T_(run_linear_derivative), NNL_RELU},
    {"Linear_updateGradInput sigmoid", T_(run_linear_derivative), NNL_SIGMOID},
    {"Linear_updateGradInput tanh", T_(run_linear_derivative), NNL_TANH},
    {"Linear_accGradParameters", T_(run_linear), 2},
};

#undef FOUR
