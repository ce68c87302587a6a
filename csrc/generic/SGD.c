/* SGD.c: stochastic gradient descent with momentum, over a flat arena of parameters.
 *
 * g = grad + weight_decay w     the gradient of loss + weight_decay / 2 ||w||^2
 * v = momentum v + g            only with momentum; v starts at 0
 * w = w - lr v                  (or lr g)
 * Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in
 * deep learning", ICML 2013, in the form in which the rate is outside the velocity. */
#ifndef NNL_GENERIC_PASS

#include "base.h"
#include "generic/grain.h"
#include "parallel.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "generic/SGD.c"
#include "dtype.h"
#else

typedef struct {
    const real *grad;
    real *weight, *velocity;
    real lr, momentum, weight_decay;
} T_(sgd);

static void T_(sgd_range)(void *context, int64_t begin, int64_t end) {
    const T_(sgd) s = *(const T_(sgd) *)context;
    const vreal lr = V_(set)(s.lr), momentum = V_(set)(s.momentum), decay = V_(set)(s.weight_decay);
    for (int64_t i = begin; i < end; i += VLANES) {
        int lanes = (int)nnl_min(VLANES, end - i);
        vreal w = V_(load_n)(s.weight + i, lanes);
        vreal step = V_(fma)(decay, w, V_(load_n)(s.grad + i, lanes));
        if (s.velocity) {
            step = V_(fma)(momentum, V_(load_n)(s.velocity + i, lanes), step);
            V_(store_n)(s.velocity + i, step, lanes);
        }
        V_(store_n)(s.weight + i, V_(fnma)(lr, step, w), lanes);
    }
}

NNL_API int NNL_(SGD_update)(int64_t n, const real *grad, real *weight, real *velocity, real lr,
                             real momentum, real weight_decay, int threads) {
    if (!nnl_size_ok(n, 1, sizeof(real)) || threads < 1 || (momentum != 0 && !velocity)) {
        return NNL_EINVAL;
    }
    T_(sgd) s = {grad, weight, momentum != 0 ? velocity : NULL, lr, momentum, weight_decay};
    nnl_parallel_for(n, NNL_GRAIN_CHEAP, threads, T_(sgd_range), &s);
    return NNL_OK;
}

#endif
