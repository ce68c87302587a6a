/* Tanh.c: y = tanh(x), the hyperbolic tangent.
 *
 * forward   y = tanh(x) (vec/math.h)
 * d-input   dx = dy (1 - y^2), from the output alone; 1 - y^2 by one fused multiply-add, which
 *           keeps its digits where |y| is close to 1 */
#ifndef NNL_GENERIC_PASS

#include "vec/interleave.h"

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/Tanh.c"
#include "core/dtype.h"
#else

#include "layers/pointwise.inc"

static inline vreal T_(tanh_forward)(vreal x, vreal unused, const T_(pointwise) *p) {
    (void)unused, (void)p;
    return V_(tanh)(x);
}

static void T_(tanh_output)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(tanh_forward));
}

NNL_API int NNL_(Tanh_updateOutput)(int64_t n, const real *input, real *output, int threads) {
    T_(pointwise) p = {.x = input, .out = output};
    return T_(run_pointwise)(n, p, NNL_GRAIN_FUNCTION, threads, T_(tanh_output));
}

static inline vreal T_(tanh_backward)(vreal y, vreal dy, const T_(pointwise) *p) {
    (void)p;
    return T_(times_derivative)(dy, V_(fnma)(y, y, V_(set)(1)));
}

static void T_(tanh_grad)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(tanh_backward));
}

NNL_API int NNL_(Tanh_updateGradInput)(int64_t n, const real *output, const real *gradOutput,
                                       real *gradInput, int threads) {
    T_(pointwise) p = {.x = output, .y = gradOutput, .out = gradInput};
    return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(tanh_grad));
}

NNL_ELEMENTS_OP(tanh, Tanh_updateOutput)
NNL_ELEMENTS_GRAD_OP(tanh_grad, Tanh_updateGradInput)

#endif
