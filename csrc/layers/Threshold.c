/* Threshold.c: y = x where x > threshold, else value; ReLU is Threshold(0, 0).
 *
 * forward   y = x > threshold ? x : value
 * d-input   dx = x > threshold ? dy : 0; at x = threshold the gradient is 0 (THNN, PyTorch, CS231n)
 * NaN       is kept in both directions: the test is x <= threshold, which NaN fails, so that
 *           an error upstream stays visible.
 * Since ReLU(x) > 0 exactly where x > 0, its output may serve as its input in the backward pass. */
#ifndef NNL_GENERIC_PASS

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/Threshold.c"
#include "core/dtype.h"
#else

#include "layers/pointwise.inc"

static inline vreal T_(threshold_forward)(vreal x, vreal unused, const T_(pointwise) *p) {
    (void)unused;
    return V_(select)(V_(le)(x, V_(set)(p->s)), V_(set)(p->t), x);
}

static void T_(threshold_output)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(threshold_forward));
}

NNL_API int NNL_(Threshold_updateOutput)(int64_t n, const real *input, real *output, real threshold,
                                         real value, int threads) {
    T_(pointwise) p = {.x = input, .out = output, .s = threshold, .t = value};
    return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(threshold_output));
}

static inline vreal T_(threshold_backward)(vreal x, vreal dy, const T_(pointwise) *p) {
    return V_(select)(V_(le)(x, V_(set)(p->s)), V_(zero)(), V_(flush)(dy));
}

static void T_(threshold_grad)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(threshold_backward));
}

NNL_API int NNL_(Threshold_updateGradInput)(int64_t n, const real *input, const real *gradOutput,
                                            real *gradInput, real threshold, int threads) {
    T_(pointwise) p = {.x = input, .y = gradOutput, .out = gradInput, .s = threshold};
    return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(threshold_grad));
}

int NNL_(op_relu)(const nnl_work *w) {
    return NNL_(Threshold_updateOutput)(nnl_elements(w), w->at[NNL_A], w->at[NNL_OUT], 0, 0,
                                        w->threads);
}
int NNL_(op_relu_grad)(const nnl_work *w) {
    return NNL_(Threshold_updateGradInput)(nnl_elements(w), w->at[NNL_A], w->at[NNL_B],
                                           w->at[NNL_OUT], 0, w->threads);
}

#endif
