/* Linear.c: y = act(x W + b), samples as rows, W [D, K].
 *
 * forward       y = x W + b, one chain per output that starts from the bias; then the activation
 * d-input       dx = dy W^T, and where x = act(z) also dz = dx act'(z), from x alone
 * d-parameters  dW += x^T (s dy),  db += s sum_i dy_i
 * All three products are gemm() with the strides of the factor exchanged where it is transposed. */
#ifndef NNL_GENERIC_PASS

#include "base.h"
#include "generic/grain.h"
#include "parallel.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "generic/Linear.c"
#include "dtype.h"
#else

NNL_API int NNL_(Linear_updateOutput)(int64_t N, int64_t D, int64_t K, const real *input,
                                      real *output, const real *weight, const real *bias,
                                      int activation, int threads) {
    return NNL_(gemm)(N, K, D, input, D, 1, weight, K, 1, output, K, bias, NULL, 0, activation,
                      threads);
}

NNL_API int NNL_(Linear_updateGradInput)(int64_t N, int64_t D, int64_t K, const real *gradOutput,
                                         real *gradInput, const real *weight, const real *gate,
                                         int activation, int threads) {
    return NNL_(gemm)(N, D, K, gradOutput, K, 1, weight, 1, K, gradInput, D, NULL, gate, 0,
                      activation, threads);
}

typedef struct {
    int64_t N, K;
    const real *gradOutput;
    real *gradBias;
} T_(columns);

/* gradBias[j] += chain over the rows of gradOutput, for j in [begin, end). */
static void T_(column_sums)(void *context, int64_t begin, int64_t end) {
    const T_(columns) *c = context;
    for (int64_t j = begin; j < end; j += 4 * VLANES) {
        vreal sum[4];
        int lanes[4];
        for (int u = 0; u < 4; u++) {
            lanes[u] = (int)nnl_max(0, nnl_min(VLANES, end - j - u * VLANES));
            sum[u] = V_(load_n)(c->gradBias + j + (lanes[u] ? u * VLANES : 0), lanes[u]);
        }
        for (int64_t i = 0; i < c->N; i++) {
            const real *row = c->gradOutput + i * c->K + j;
            for (int u = 0; u < 4 && lanes[u]; u++) {
                sum[u] = V_(add)(sum[u], V_(load_n)(row + u * VLANES, lanes[u]));
            }
        }
        for (int u = 0; u < 4 && lanes[u]; u++) {
            V_(store_n)(c->gradBias + j + u * VLANES, sum[u], lanes[u]);
        }
    }
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
    int status = NNL_(gemm)(D, K, N, input, 1, D, gradOutput, K, 1, gradWeight, K, NULL, NULL, 1,
                            NNL_IDENTITY, threads);
    if (status == NNL_OK && gradBias) {
        T_(columns) c = {N, K, gradOutput, gradBias};
        nnl_parallel_for(K, nnl_ceil_div(NNL_GRAIN_CHEAP, nnl_max(N, 1)), threads, T_(column_sums),
                         &c);
    }
    nnl_free(scaled);
    return status;
}

#endif
