/* prove_math.c: measures the error of the functions of csrc/vec/math.h and hashes their outputs.
 *
 *     gcc -std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -fopenmp \
 *         -mavx2 -mfma -Icsrc tests/tools/prove_math.c -lm -o prove_math
 *     ./prove_math all f32          every one of the 2^32 floats (some minutes per function)
 *     ./prove_math exp f32 1001     every 1001st bit pattern
 *     ./prove_math all f64 10000000 that many doubles: structured random bits and every edge
 *
 * One line per function: inputs, largest error in units in the last place with the input that has
 * it, the bound that was promised, and a checksum. Builds for different instruction sets (flags as
 * in csrc/vec/vec.h, -DNNL_PORTABLE for the definition) must print the same checksums. The exit
 * status is 0 when every bound holds.
 *
 * Reference. float against the C library in double, double against it in long double (64 or more
 * bits of mantissa): their own error is below 1e-8 and 5e-3 of the units measured. The error of y
 * is |y - f(x)| / ulp(f(x)); the ulp of a denormal is the smallest denormal, and infinity counts as
 * the next power of two after the largest number. NaN must be NaN and zeros must have the right
 * sign. NaNs are hashed as one value. */
#define _GNU_SOURCE
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vec/math.h"
#include "vec/vec.h"

#define BLOCK 65536

enum function { EXP, EXPM1, LOG, LOG1P, TANH, SIGMOID, ERF, FUNCTIONS };
static const char *const names[FUNCTIONS] = {"exp",  "expm1",   "log", "log1p",
                                             "tanh", "sigmoid", "erf"};
static const double bounds_f32[FUNCTIONS] = {1.0, 1.5, 1.0, 1.5, 1.5, 1.5, 1.5};
static const double bounds_f64[FUNCTIONS] = {1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5};

/* Inputs whose neighbourhood deserves a look: limits of range, splits, and points of change. */
static const double edges[] = {0.0,
                               0x1p-1074,
                               0x1p-1022,
                               0x1p-1021,
                               0x1p-54,
                               0x1p-53,
                               0x1p-27,
                               0x1p-26,
                               0.25,
                               0.34657,
                               0.5,
                               0.70710678118654752,
                               0.9,
                               1.0,
                               1.0397,
                               1.4142135623730951,
                               2.0,
                               4.0,
                               5.9,
                               6.0,
                               9.0,
                               18.0,
                               19.0,
                               20.0,
                               36.0,
                               37.4,
                               38.0,
                               40.0,
                               88.7228,
                               103.97,
                               104.0,
                               708.3964,
                               709.0,
                               709.782712893384,
                               710.0,
                               744.44,
                               745.1332,
                               746.0,
                               0x1p52,
                               0x1p53,
                               0x1p1022,
                               DBL_MAX,
                               (double)INFINITY};

typedef struct {
    double error;
    uint64_t worst;
    uint64_t hash;
    int64_t wrong; /* NaN, sign of zero */
} result;

/* A well-mixed function of a counter (splitmix64's finaliser). */
static uint64_t mixed(uint64_t i) {
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double from_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A uniform number in [-1, 1), exact, so the same for every build. */
static double uniform(uint64_t bits) { return (double)((int64_t)bits >> 11) * 0x1p-52; }

/* Random mantissa and sign, exponent between low and high. */
static double spread(uint64_t a, uint64_t b, int low, int high) {
    uint64_t exponent = (uint64_t)(1023 + low) + b % (uint64_t)(high - low + 1);
    return from_bits((a & 0x800fffffffffffffu) | (exponent << 52));
}

static double sample(uint64_t i) {
    uint64_t a = mixed(2 * i), b = mixed(2 * i + 1);
    switch (i % 8) {
        case 0: return from_bits(a);
        case 1: return 750 * uniform(a);
        case 2: return 2 * uniform(a);
        case 3: return spread(a, b, -60, 10);
        case 4: return 1 + spread(a, b, -53, -1);
        case 5: return 40 * uniform(a);
        case 6: /* near odd multiples of ln(2)/2, where the reduction of exp changes its integer */
            return (double)(int64_t)(2 * (a % 2200) - 2199) * 0x1.62e42fefa39efp-2 +
                   0x1p-40 * uniform(b);
        default: {
            uint64_t bits;
            double edge = edges[a % (sizeof edges / sizeof edges[0])];
            memcpy(&bits, &edge, sizeof bits);
            bits += (b >> 1) % 129 - 64;
            return from_bits(bits ^ (b << 63));
        }
    }
}

#define NNL_GENERIC_FILE "../tests/tools/prove_math_pass.h"
#include "core/dtype.h"

static int report(int f, const char *type, double bound, result r, uint64_t count) {
    int good = r.error <= bound && r.wrong == 0;
    printf(
        "%-8s%s %11llu inputs  max %.4f ulp at 0x%llx  bound %.1f  wrong %lld  hash %016llx  %s\n",
        names[f], type, (unsigned long long)count, r.error, (unsigned long long)r.worst, bound,
        (long long)r.wrong, (unsigned long long)r.hash, good ? "ok" : "FAIL");
    fflush(stdout);
    return good ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4 || (strcmp(argv[2], "f32") && strcmp(argv[2], "f64"))) {
        fprintf(stderr, "usage: prove_math <function|all> f32 [stride] | f64 [samples]\n");
        return 2;
    }
    int is_float = !strcmp(argv[2], "f32"), bad = 0, known = 0;
    uint64_t number = argc == 4 ? strtoull(argv[3], NULL, 10) : is_float ? 1 : 10000000;
    number = number > 0 ? number : 1;
    printf("%s\n", NNL_ISA_NAME);
    for (int f = 0; f < FUNCTIONS; f++) {
        if (strcmp(argv[1], "all") && strcmp(argv[1], names[f])) {
            continue;
        }
        known = 1;
        uint64_t count = is_float ? (((uint64_t)1 << 32) + number - 1) / number : number;
        if (is_float) {
            bad |= report(f, "f32", bounds_f32[f], prove_f32(f, count, number), count);
        } else {
            bad |= report(f, "f64", bounds_f64[f], prove_f64(f, count, number), count);
        }
    }
    if (!known) {
        fprintf(stderr, "prove_math: no function %s\n", argv[1]);
        return 2;
    }
    return bad;
}
