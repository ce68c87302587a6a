/* LeakyReLU.c: y = x where x > 0, else s x; s is the slope on the negative side.
 *
 * forward   y = x <= 0 ? s x : x
 * d-input   dx = x <= 0 ? s dy : dy; at 0 the gradient is s dy (THNN, PyTorch)
 * NaN       is kept in both directions, for it fails the test; with a NaN in x, dx is dy.
 * Source: Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML
 * 2013. The input decides and not the output: with s < 0 the sign of y says nothing. */
#ifndef NNL_GENERIC_PASS

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/LeakyReLU.c"
#include "core/dtype.h"
#else

#include "layers/pointwise.inc"

static inline vreal T_(leaky_relu_forward)(vreal x, vreal unused, const T_(pointwise) *p) {
    (void)unused;
    return V_(select)(V_(le)(x, V_(zero)()), V_(mul)(x, V_(set)(p->s)), x);
}

static void T_(leaky_relu_output)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(leaky_relu_forward));
}

NNL_API int NNL_(LeakyReLU_updateOutput)(int64_t n, const real *input, real *output,
                                         real negative_slope, int threads) {
    T_(pointwise) p = {.x = input, .out = output, .s = negative_slope};
    return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(leaky_relu_output));
}

static inline vreal T_(leaky_relu_backward)(vreal x, vreal dy, const T_(pointwise) *p) {
    dy = V_(flush)(dy);
    vreal scaled = V_(flush)(V_(mul)(dy, V_(set)(p->s)));
    return V_(select)(V_(le)(x, V_(zero)()), scaled, dy);
}

static void T_(leaky_relu_grad)(void *context, int64_t begin, int64_t end) {
    T_(map)(context, begin, end, T_(leaky_relu_backward));
}

NNL_API int NNL_(LeakyReLU_updateGradInput)(int64_t n, const real *input, const real *gradOutput,
                                            real *gradInput, real negative_slope, int threads) {
    T_(pointwise) p = {.x = input, .y = gradOutput, .out = gradInput, .s = negative_slope};
    return T_(run_pointwise)(n, p, NNL_GRAIN_CHEAP, threads, T_(leaky_relu_grad));
}

int NNL_(op_leaky_relu)(const nnl_work *w) {
    return NNL_(LeakyReLU_updateOutput)(nnl_elements(w), w->at[NNL_A], w->at[NNL_OUT],
                                        (real)w->call->number, w->threads);
}
int NNL_(op_leaky_relu_grad)(const nnl_work *w) {
    return NNL_(LeakyReLU_updateGradInput)(nnl_elements(w), w->at[NNL_A], w->at[NNL_B],
                                           w->at[NNL_OUT], (real)w->call->number, w->threads);
}

#endif
