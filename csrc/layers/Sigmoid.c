/* Sigmoid.c: y = 1 / (1 + e^-x), the logistic function.
 *
 * forward   y = sigmoid(x), without overflow for any x (vec/math.h)
 * d-input   dx = dy y (1 - y), from the output alone */
#ifndef NNL_GENERIC_PASS

#include "vec/interleave.h"

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/Sigmoid.c"
#include "core/dtype.h"
#else

#include "layers/pointwise.inc"

static inline vreal T_(sigmoid_forward)(vreal x, vreal unused, const T_(pointwise) *p) {
    (void)unused, (void)p;
    return V_(sigmoid)(x);
}

static void T_(sigmoid_output)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(sigmoid_forward));
}

NNL_API int NNL_(Sigmoid_updateOutput)(int64_t n, const real *input, real *output, int threads) {
    T_(pointwise) p = {.x = input, .out = output};
    return T_(run_pointwise)(n, p, NNL_GRAIN_FUNCTION, threads, T_(sigmoid_output));
}

static inline vreal T_(sigmoid_backward)(vreal y, vreal dy, const T_(pointwise) *p) {
    (void)p;
    return T_(times_derivative)(dy, V_(mul)(y, V_(sub)(V_(set)(1), y)));
}

static void T_(sigmoid_grad)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(sigmoid_backward));
}

NNL_API int NNL_(Sigmoid_updateGradInput)(int64_t n, const real *output, const real *gradOutput,
                                          real *gradInput, int threads) {
    T_(pointwise) p = {.x = output, .y = gradOutput, .out = gradInput};
    return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(sigmoid_grad));
}

NNL_ELEMENTS_OP(sigmoid, Sigmoid_updateOutput)
NNL_ELEMENTS_GRAD_OP(sigmoid_grad, Sigmoid_updateGradInput)

#endif
