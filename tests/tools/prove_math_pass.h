/* prove_math_pass.h: the part of prove_math.c that is compiled for float and for double. */

#if REAL_IS_FLOAT
#define wide double
#define W_(name) name
typedef uint32_t bits_f32;
#define HALF_LIMIT 0x1p127
#define SMALLEST_EXPONENT (-126)
#define MANTISSA 23
#else
#define wide long double
#define W_(name) name##l
typedef uint64_t bits_f64;
#define HALF_LIMIT 0x1p1023
#define SMALLEST_EXPONENT (-1022)
#define MANTISSA 52
#endif

static wide T_(reference)(int f, wide x) {
    switch (f) {
        case EXP: return W_(exp)(x);
        case EXPM1: return W_(expm1)(x);
        case LOG: return W_(log)(x);
        case LOG1P: return W_(log1p)(x);
        case TANH: return W_(tanh)(x);
        case SIGMOID: return x > 0 ? 1 / (1 + W_(exp)(-x)) : W_(exp)(x) / (1 + W_(exp)(x));
        default: return W_(erf)(x);
    }
}

static void T_(apply)(int f, const real *x, real *y) {
#define EACH(function)                                   \
    for (int i = 0; i < BLOCK; i += VLANES) {            \
        V_(store)(y + i, V_(function)(V_(load)(x + i))); \
    }                                                    \
    break
    switch (f) {
        case EXP: EACH(exp);
        case EXPM1: EACH(expm1);
        case LOG: EACH(log);
        case LOG1P: EACH(log1p);
        case TANH: EACH(tanh);
        case SIGMOID: EACH(sigmoid);
        default: EACH(erf);
    }
#undef EACH
}

/* Input number i: bit pattern i * stride for float, a sample for double. */
static real T_(input)(uint64_t i, uint64_t stride) {
#if REAL_IS_FLOAT
    uint32_t bits = (uint32_t)(i * stride);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
#else
    (void)stride;
    return sample(i);
#endif
}

static T_(bits) T_(bits_of)(real x) {
    T_(bits) bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* |y - exact| in units in the last place of exact; -1 where y is wrong in kind. */
static double T_(ulps)(real y, wide exact) {
    if (isnan(exact) || isnan(y)) {
        return isnan(exact) && isnan(y) ? 0 : -1;
    }
    if (y == 0 && !signbit(y) != !signbit(exact)) {
        return -1;
    }
    wide limit = (wide)2 * (wide)HALF_LIMIT;
    wide got = isinf(y) ? (y > 0 ? limit : -limit) : (wide)y;
    exact = exact > limit ? limit : exact < -limit ? -limit : exact;
    int exponent = SMALLEST_EXPONENT;
    if (exact != 0) {
        int e = W_(ilogb)(exact);
        exponent = e > exponent ? e : exponent;
    }
    if (exponent > -SMALLEST_EXPONENT + 1) {
        exponent = -SMALLEST_EXPONENT + 1;
    }
    return (double)W_(scalbn)(W_(fabs)(got - exact), MANTISSA - exponent);
}

/* One block of inputs [first, first + n). The hash starts from the block's number, so the sum over
 * the blocks, in any order, depends on every byte and its place. */
static result T_(prove_block)(int f, uint64_t first, int n, uint64_t stride, real *x, real *y) {
    result r = {0, 0, 0xcbf29ce484222325u ^ first, 0};
    for (int i = 0; i < BLOCK; i++) {
        x[i] = T_(input)(first + (uint64_t)(i < n ? i : 0), stride);
    }
    T_(apply)(f, x, y);
    for (int i = 0; i < n; i++) {
        double error = T_(ulps)(y[i], T_(reference)(f, (wide)x[i]));
        if (error < 0) {
            r.wrong++;
        }
        if (error > r.error || (error < 0 && r.wrong == 1)) {
            r.error = error < 0 ? r.error : error;
            r.worst = T_(bits_of)(x[i]);
        }
        r.hash = (r.hash ^ T_(bits_of)(isnan(y[i]) ? (real)NAN : y[i])) * 0x100000001b3u;
    }
    return r;
}

static result T_(prove)(int f, uint64_t count, uint64_t stride) {
    result total = {0, 0, 0, 0};
    int64_t blocks = (int64_t)((count + BLOCK - 1) / BLOCK);
#pragma omp parallel
    {
        real *x = malloc(BLOCK * sizeof *x), *y = malloc(BLOCK * sizeof *y);
        if (!x || !y) {
            abort();
        }
#pragma omp for schedule(dynamic)
        for (int64_t b = 0; b < blocks; b++) {
            uint64_t first = (uint64_t)b * BLOCK;
            int n = count - first < BLOCK ? (int)(count - first) : BLOCK;
            result r = T_(prove_block)(f, first, n, stride, x, y);
#pragma omp critical
            {
                if (r.error > total.error || (r.wrong && !total.wrong)) {
                    total.worst = r.worst;
                }
                total.error = r.error > total.error ? r.error : total.error;
                total.hash += r.hash;
                total.wrong += r.wrong;
            }
        }
        free(x);
        free(y);
    }
    return total;
}

#undef wide
#undef W_
#undef HALF_LIMIT
#undef SMALLEST_EXPONENT
#undef MANTISSA
