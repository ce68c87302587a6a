/* golden_pass.h: the part of golden.c that is compiled for float and for double. */

/* ---- values ---- */

/* Zeros, denormals, limits of range, and where functions change their formula. */
static const real T_(special)[] = {
    0,
    -(real)0.0,
#if REAL_IS_FLOAT
    0x1p-149f,
    -0x1p-149f,
    0x1.fffffcp-127f,
    0x1p-126f,
    -0x1p-126f,
    0x1.fffffep127f,
    -0x1.fffffep127f,
    88.7f,
    -103.9f,
    -87.4f,
    1e19f,
    9.01f,
    -0x1p-24f,
    0x1.000002p0f,
    0x1.fffffep-1f,
#else
    0x1p-1074,
    -0x1p-1074,
    0x1.ffffffffffffep-1023,
    0x1p-1022,
    -0x1p-1022,
    0x1.fffffffffffffp1023,
    -0x1.fffffffffffffp1023,
    709.7,
    -745.1,
    -708.4,
    1e160,
    19.1,
    -0x1p-53,
    0x1.0000000000001p0,
    0x1.fffffffffffffp-1,
#endif
    INFINITY,
    -INFINITY,
    NAN,
    (real)1e30,
    (real)-1e30,
    1,
    -1,
};
#define SPECIALS (sizeof T_(special) / sizeof *T_(special))

static uint64_t T_(hash)(uint64_t h, const real *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        real value = x[i] != x[i] ? 0 : x[i];
        unsigned char is_nan = x[i] != x[i];
        h = hash_bytes(hash_bytes(h, &value, sizeof value), &is_nan, 1);
    }
    return h;
}

/* x [n]: PLAIN uniform in [-2, 2); SPECIAL the same, and every third or so a special value; SPARSE
 * one in 61; DENORMAL uniform, around the smallest normal number and below; BITS any bits at all. */
static void T_(fill)(real *x, int64_t n, enum kind kind, uint32_t step) {
    real limit = kind == DENORMAL ? (REAL_IS_FLOAT ? (real)0x1p-126 : (real)0x1p-1022) : 2;
    must(NNL_(random_uniform)(n, x, -limit, limit, SEED, 1, step));
    if (kind == PLAIN || kind == DENORMAL || n == 0) return;
    const int64_t each = (int64_t)(sizeof(real) / sizeof(uint32_t));
    uint32_t *word = malloc((size_t)(n * each) * sizeof *word);
    if (word == NULL) exit(1);
    must(nnl_random_bits(n * each, word, SEED, 2, step));
    if (kind == BITS) {
        memcpy(x, word, (size_t)n * sizeof *x);
    } else {
        uint32_t rare = kind == SPECIAL ? 3 : 61;
        for (int64_t i = 0; i < n; i++) {
            if (word[i] % rare == 0) x[i] = T_(special)[(word[i] >> 8) % SPECIALS];
        }
    }
    free(word);
}

/* An input: alignment differs from one to the next. */
static real *T_(in)(int64_t n, enum kind kind, uint32_t step) {
    real *x = take((size_t)n * sizeof *x, step % 5 * sizeof *x, false);
    T_(fill)(x, n, kind, step);
    return x;
}

/* An input between low and high. */
static real *T_(between)(int64_t n, real low, real high, uint32_t step) {
    real *x = take((size_t)n * sizeof *x, step % 5 * sizeof *x, false);
    must(NNL_(random_uniform)(n, x, low, high, SEED, 3, step));
    return x;
}

/* An output, which holds NaN. */
static real *T_(out)(int64_t n) {
    real *x = take((size_t)n * sizeof *x, (size_t)n % 3 * sizeof *x, true);
    for (int64_t i = 0; i < n; i++) x[i] = NAN;
    return x;
}

/* What a kernel reads and changes. */
static real *T_(inout)(int64_t n, enum kind kind, uint32_t step) {
    real *x = T_(out)(n);
    T_(fill)(x, n, kind, step);
    return x;
}

#include "golden_calls.h"
#include "golden_gemm.h"
#include "golden_layers.h"
#include "golden_optim.h"
#include "golden_training.h"
#include "golden_program.h"
#include "golden_graph.h"
