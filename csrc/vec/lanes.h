/* lanes.h: sixteen virtual lanes (NNL_LANES) for reductions along a contiguous axis.
 *
 * Sixteen lanes are one AVX-512 register of floats, two of doubles, four NEON registers or sixteen
 * scalars. Element i of a row always goes to lane i mod 16, and the lanes are combined at the end
 * by one fixed tree, (i, i + 8), (i, i + 4), (i, i + 2), (i, i + 1): the order of the additions,
 * hence every bit of the result, does not depend on the instruction set.
 *
 * Include it once at the top of a file, outside the type pass: it defines lanes_f32 and l_<op>_f32,
 * lanes_f64 and l_<op>_f64. Inside the pass, write T_(lanes) and L_(op). A maximum of lanes follows
 * v_max: the second operand wins when either is NaN, so max(a, row) keeps a NaN of the row only
 * until the next number; look for NaN apart where it matters. */
#ifndef NNL_VEC_LANES_H
#define NNL_VEC_LANES_H

#include "core/base.h"
#include "vec.h"

#define L_(name) T_(l_##name)

#define NNL_LANES_PASS
#define NNL_GENERIC_FILE "vec/lanes.h"
#include "core/dtype.h"
#undef NNL_LANES_PASS

#elif defined(NNL_LANES_PASS)

#define REGISTERS (NNL_LANES / VLANES)

typedef struct {
    vreal v[REGISTERS];
} T_(lanes);

static inline T_(lanes) L_(set)(real a) {
    T_(lanes) r;
    for (int i = 0; i < REGISTERS; i++) {
        r.v[i] = V_(set)(a);
    }
    return r;
}

static inline T_(lanes) L_(load)(const real *p) {
    T_(lanes) r;
    for (int i = 0; i < REGISTERS; i++) {
        r.v[i] = V_(load)(p + i * VLANES);
    }
    return r;
}

/* The first n of 16 elements (0 <= n <= 16); the other lanes are `fill`. */
static inline T_(lanes) L_(load_n)(const real *p, int64_t n, real fill) {
    T_(lanes) r;
    for (int i = 0; i < REGISTERS; i++) {
        int64_t here = nnl_max(0, nnl_min(VLANES, n - i * VLANES));
        r.v[i] = V_(load_fill)(p + (here ? i * VLANES : 0), here, fill);
    }
    return r;
}

static inline T_(lanes) L_(add)(T_(lanes) a, T_(lanes) b) {
    for (int i = 0; i < REGISTERS; i++) {
        a.v[i] = V_(add)(a.v[i], b.v[i]);
    }
    return a;
}

static inline T_(lanes) L_(sub)(T_(lanes) a, T_(lanes) b) {
    for (int i = 0; i < REGISTERS; i++) {
        a.v[i] = V_(sub)(a.v[i], b.v[i]);
    }
    return a;
}

static inline T_(lanes) L_(mul)(T_(lanes) a, T_(lanes) b) {
    for (int i = 0; i < REGISTERS; i++) {
        a.v[i] = V_(mul)(a.v[i], b.v[i]);
    }
    return a;
}

static inline T_(lanes) L_(max)(T_(lanes) a, T_(lanes) b) {
    for (int i = 0; i < REGISTERS; i++) {
        a.v[i] = V_(max)(a.v[i], b.v[i]);
    }
    return a;
}

static inline T_(lanes) L_(flush)(T_(lanes) a) {
    for (int i = 0; i < REGISTERS; i++) {
        a.v[i] = V_(flush)(a.v[i]);
    }
    return a;
}

/* a b + c */
static inline T_(lanes) L_(fma)(T_(lanes) a, T_(lanes) b, T_(lanes) c) {
    for (int i = 0; i < REGISTERS; i++) {
        c.v[i] = V_(fma)(a.v[i], b.v[i], c.v[i]);
    }
    return c;
}

/* The sum of the lanes by the fixed tree. */
static inline real L_(sum)(T_(lanes) a) {
    for (int width = REGISTERS; width > 1; width /= 2) {
        for (int i = 0; i < width / 2; i++) {
            a.v[i] = V_(add)(a.v[i], a.v[i + width / 2]);
        }
    }
    return V_(total)(a.v[0]);
}

/* The largest lane by the same tree of v_max: a NaN is not reliably kept. */
static inline real L_(max_all)(T_(lanes) a) {
    for (int width = REGISTERS; width > 1; width /= 2) {
        for (int i = 0; i < width / 2; i++) {
            a.v[i] = V_(max)(a.v[i], a.v[i + width / 2]);
        }
    }
    return V_(largest)(a.v[0]);
}

#undef REGISTERS

#endif
