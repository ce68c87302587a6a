/* Linear.c: y = act(x W + b), samples as rows, W [D, K].
 *
 * forward       y = x W + b, one chain per output that starts from the bias; then the activation
 * d-input       dx = dy W^T, and where x = act(z) also dz = dx act'(z), from x alone
 * d-parameters  dW += x^T (s dy),  db += s sum_i dy_i
 * All three products are gemm() with the strides of the factor exchanged where it is transposed;
 * the third takes db from the same pass over dy. */
#ifndef NNL_GENERIC_PASS

#include "core/base.h"
#include "gemm/gemm.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/Linear.c"
#include "core/dtype.h"
#else

NNL_API int NNL_(Linear_updateOutput)(int64_t N, int64_t D, int64_t K, const real *input,
                                      real *output, const real *weight, const real *bias,
                                      int activation, int threads) {
    return NNL_(gemm)(N, K, D, input, D, 1, weight, K, 1, output, K, bias, NULL, 0, activation,
                      threads);
}

NNL_API int NNL_(Linear_updateGradInput)(int64_t N, int64_t D, int64_t K, const real *gradOutput,
                                         real *gradInput, const real *weight,
                                         const real *activation_output, int activation,
                                         int threads) {
    return NNL_(gemm)(N, D, K, gradOutput, K, 1, weight, 1, K, gradInput, D, NULL,
                      activation_output, NNL_GRADIENT, activation, threads);
}

NNL_API int NNL_(Linear_accGradParameters)(int64_t N, int64_t D, int64_t K, const real *input,
                                           const real *gradOutput, real *gradWeight, real *gradBias,
                                           real scale, int threads) {
    if (!nnl_size_ok(N, K, sizeof(real)) || threads < 1) return NNL_EINVAL;
    real *scaled = NULL;
    if (scale != 1) {
        scaled = nnl_alloc(N * K, sizeof(real));
        if (!scaled) return NNL_ENOMEM;
        for (int64_t i = 0; i < N * K; i++) scaled[i] = scale * gradOutput[i];
        gradOutput = scaled;
    }
    int status =
        NNL_(gemm_and_sums)(D, K, N, input, 1, D, gradOutput, K, 1, gradWeight, K, NULL, NULL,
                            gradBias, NNL_ACCUMULATE | NNL_GRADIENT, NNL_IDENTITY, threads);
    nnl_free(scaled);
    return status;
}

#endif
