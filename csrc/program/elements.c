/* elements.c: operations on strided elements: broadcasting, transposes, slices.
 *
 * out [i, j, k, l] = f(a [i, j, k, l], b [i, j, k, l]): each operand has four strides, 0 where it
 * is repeated. The exact operations of IEEE 754, so the bits are those of NumPy's. Masks are bytes,
 * 0 or 1. Maximum and minimum of equal numbers (0 and -0) give the second, NaN in either gives
 * NaN. */
#ifndef NNL_GENERIC_PASS

#include "core/small_code.h"

#include <math.h>
#include <string.h>

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/vec.h"

/* Where an operand lies: its first element and how to walk it. */
typedef struct {
    const char *first;
    const int64_t *stride; /* in elements */
    int64_t unit;          /* bytes of an element */
} nnl_operand;

static nnl_operand operand(const nnl_work *w, int slot, int64_t unit) {
    return (nnl_operand){w->at[slot], w->call->slot[slot].stride, unit};
}

/* Computes n contiguous elements. */
typedef void nnl_line(int64_t n, void *out, const void *a, const void *b, const void *c);

typedef struct {
    const nnl_work *w;
    nnl_operand out, a, b, c;
    nnl_line *line;
} nnl_lines;

/* Elements that are gathered at a time where an operand's are not contiguous. */
#define NNL_CHUNK 256

static void gather(char *to, const char *from, int64_t step, int64_t unit, int64_t n) {
    if (unit == 8) {
        for (int64_t i = 0; i < n; i++) memcpy(to + i * 8, from + i * step * 8, 8);
    } else if (unit == 4) {
        for (int64_t i = 0; i < n; i++) memcpy(to + i * 4, from + i * step * 4, 4);
    } else {
        for (int64_t i = 0; i < n; i++) to[i] = from[i * step];
    }
}

static void scatter(char *to, int64_t step, const char *from, int64_t unit, int64_t n) {
    for (int64_t i = 0; i < n; i++) memcpy(to + i * step * unit, from + i * unit, (size_t)unit);
}

/* The n elements of an operand, contiguous: where they are, or gathered in `buffer`. */
static const void *contiguous(const nnl_operand *x, const char *at, char *buffer, int64_t n) {
    if (x->stride[3] == 1) return at;
    gather(buffer, at, x->stride[3], x->unit, n);
    return buffer;
}

/* n elements of a line. */
static void run_line(const nnl_lines *l, int64_t n, char *out, const char *a, const char *b,
                     const char *c) {
    _Alignas(NNL_ALIGNMENT) char buffer[4][NNL_CHUNK * sizeof(double)];
    bool plain =
        l->out.stride[3] == 1 && l->a.stride[3] == 1 && l->b.stride[3] == 1 && l->c.stride[3] == 1;
    int64_t most = plain ? n : NNL_CHUNK;
    for (int64_t i = 0; i < n; i += most) {
        int64_t part = nnl_min(most, n - i);
        const void *x = contiguous(&l->a, a + i * l->a.stride[3] * l->a.unit, buffer[1], part);
        const void *y = contiguous(&l->b, b + i * l->b.stride[3] * l->b.unit, buffer[2], part);
        const void *z = contiguous(&l->c, c + i * l->c.stride[3] * l->c.unit, buffer[3], part);
        char *to = out + i * l->out.stride[3] * l->out.unit;
        l->line(part, l->out.stride[3] == 1 ? to : buffer[0], x, y, z);
        if (l->out.stride[3] != 1) scatter(to, l->out.stride[3], buffer[0], l->out.unit, part);
    }
}

static const char *line_of(const nnl_operand *x, const int64_t *at) {
    const int64_t *s = x->stride;
    return x->first + (at[0] * s[0] + at[1] * s[1] + at[2] * s[2]) * x->unit;
}

static void run_lines(void *context, int64_t begin, int64_t end) {
    const nnl_lines *l = context;
    const int64_t *size = l->w->size;
    for (int64_t i = begin; i < end; i++) {
        const int64_t at[3] = {i / (size[1] * size[2]), i / size[2] % size[1], i % size[2]};
        run_line(l, size[3], (char *)(uintptr_t)line_of(&l->out, at), line_of(&l->a, at),
                 line_of(&l->b, at), line_of(&l->c, at));
    }
}

static const char *element_of(const nnl_operand *x, int64_t i) {
    return x->first + i * x->stride[3] * x->unit;
}

/* A part of the only line. */
static void run_part(void *context, int64_t begin, int64_t end) {
    const nnl_lines *l = context;
    run_line(l, end - begin, (char *)(uintptr_t)element_of(&l->out, begin),
             element_of(&l->a, begin), element_of(&l->b, begin), element_of(&l->c, begin));
}

static int each(const nnl_work *w, nnl_operand out, nnl_operand a, nnl_operand b, nnl_operand c,
                nnl_line *line) {
    nnl_lines l = {.w = w, .out = out, .a = a, .b = b, .c = c, .line = line};
    int64_t lines = w->size[0] * w->size[1] * w->size[2];
    if (lines == 1) {
        nnl_parallel_for(w->size[3], NNL_GRAIN_CHEAP, w->threads, run_part, &l);
        return NNL_OK;
    }
    int64_t grain = nnl_ceil_div(NNL_GRAIN_CHEAP, nnl_max(w->size[3], 1));
    nnl_parallel_for(lines, grain, w->threads, run_lines, &l);
    return NNL_OK;
}

typedef unsigned char mask;

/* The loop of an operation; in place is allowed. */
#define NNL_LINE(name, A, B, C, OUT, formula)                                             \
    static void name(int64_t n, void *out, const void *a, const void *b, const void *c) { \
        OUT *o = out;                                                                     \
        const A *p = a;                                                                   \
        const B *q = b;                                                                   \
        const C *r = c;                                                                   \
        (void)q, (void)r;                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                 \
            const A x = p[i];                                                             \
            const B y = q[i];                                                             \
            const C z = r[i];                                                             \
            (void)y, (void)z;                                                             \
            o[i] = (OUT)(formula);                                                        \
        }                                                                                 \
    }

NNL_LINE(not_line, mask, mask, mask, mask, !x)
NNL_LINE(and_line, mask, mask, mask, mask, x &&y)
NNL_LINE(or_line, mask, mask, mask, mask, x || y)
NNL_LINE(xor_line, mask, mask, mask, mask, x != y)

static int masks(const nnl_work *w, int second, nnl_line *line) {
    nnl_operand a = operand(w, NNL_A, 1), b = operand(w, second, 1);
    return each(w, operand(w, NNL_OUT, 1), a, b, b, line);
}

#define NNL_GENERIC_FILE "program/elements.c"
#include "core/dtype.h"
#else

NNL_LINE(T_(copy_line), real, real, real, real, x)
NNL_LINE(T_(add_line), real, real, real, real, x + y)
NNL_LINE(T_(sub_line), real, real, real, real, x - y)
NNL_LINE(T_(mul_line), real, real, real, real, x *y)
NNL_LINE(T_(div_line), real, real, real, real, x / y)
NNL_LINE(T_(maximum_line), real, real, real, real, x != x || x > y ? x : y)
NNL_LINE(T_(minimum_line), real, real, real, real, x != x || x < y ? x : y)
NNL_LINE(T_(neg_line), real, real, real, real, -x)
NNL_LINE(T_(abs_line), real, real, real, real, fabs((double)x)) /* exact */
NNL_LINE(T_(sign_line), real, real, real, real, x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x)
#if REAL_IS_FLOAT
NNL_LINE(T_(sqrt_line), real, real, real, real, sqrtf(x))
#else
NNL_LINE(T_(sqrt_line), real, real, real, real, sqrt(x))
#endif
NNL_LINE(T_(equal_line), real, real, real, mask, x == y)
NNL_LINE(T_(not_equal_line), real, real, real, mask, x != y)
NNL_LINE(T_(less_line), real, real, real, mask, x < y)
NNL_LINE(T_(less_equal_line), real, real, real, mask, x <= y)
NNL_LINE(T_(where_line), mask, real, real, real, x ? y : z)
NNL_LINE(T_(from_mask_line), mask, mask, mask, real, x)

#define NNL_EACH1(name, in, out)                                            \
    int NNL_(op_##name)(const nnl_work *w) {                                \
        nnl_operand a = operand(w, NNL_A, in);                              \
        return each(w, operand(w, NNL_OUT, out), a, a, a, T_(name##_line)); \
    }
#define NNL_EACH2(name, in, out)                                            \
    int NNL_(op_##name)(const nnl_work *w) {                                \
        nnl_operand a = operand(w, NNL_A, in), b = operand(w, NNL_B, in);   \
        return each(w, operand(w, NNL_OUT, out), a, b, b, T_(name##_line)); \
    }
#define REAL (int64_t)sizeof(real)

NNL_EACH1(copy, REAL, REAL)
NNL_EACH2(add, REAL, REAL)
NNL_EACH2(sub, REAL, REAL)
NNL_EACH2(mul, REAL, REAL)
NNL_EACH2(div, REAL, REAL)
NNL_EACH2(maximum, REAL, REAL)
NNL_EACH2(minimum, REAL, REAL)
NNL_EACH1(neg, REAL, REAL)
NNL_EACH1(abs, REAL, REAL)
NNL_EACH1(sign, REAL, REAL)
NNL_EACH1(sqrt, REAL, REAL)
NNL_EACH2(equal, REAL, 1)
NNL_EACH2(not_equal, REAL, 1)
NNL_EACH2(less, REAL, 1)
NNL_EACH2(less_equal, REAL, 1)
NNL_EACH1(from_mask, 1, REAL)

int NNL_(op_logical_not)(const nnl_work *w) { return masks(w, NNL_A, not_line); }
int NNL_(op_logical_and)(const nnl_work *w) { return masks(w, NNL_B, and_line); }
int NNL_(op_logical_or)(const nnl_work *w) { return masks(w, NNL_B, or_line); }
int NNL_(op_logical_xor)(const nnl_work *w) { return masks(w, NNL_B, xor_line); }

int NNL_(op_where)(const nnl_work *w) {
    return each(w, operand(w, NNL_OUT, REAL), operand(w, NNL_A, 1), operand(w, NNL_B, REAL),
                operand(w, NNL_C, REAL), T_(where_line));
}

int NNL_(op_count)(const nnl_work *w) {
    *(real *)w->at[NNL_OUT] = (real)(w->call->number * (double)w->all);
    return NNL_OK;
}

#undef NNL_EACH1
#undef NNL_EACH2
#undef REAL

#endif
