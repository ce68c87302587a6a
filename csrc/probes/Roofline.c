/* Roofline: what this machine can do at most, measured by the same vectors the layers use.
 *
 * fma:  x = a x + b in independent chains held in registers, nothing else. Two FMA units with a
 *       latency of five cycles (Haswell) need 10 chains to stay busy, four units with a latency of
 *       four (Neoverse V) need 16: hence 12 with sixteen registers and 24 with thirty-two.
 *       With a = -1, b = 1 a chain swings between s and 1 - s without rounding, never reaching
 *       a denormal: the sum of the chains is known in advance and proves that the work was done.
 * copy: output = input, vector by vector. Streaming stores go past the caches, so the lines of
 *       output are not read first; the figure then is the ceiling of kernels whose output exceeds
 *       the last-level cache.
 * gemm: the layers' own product, again and again: what it takes without a call from outside.
 * Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
 */
#ifndef NNL_GENERIC_PASS
#include "core/base.h"
#include "core/parallel.h"
#include "vec/vec.h"

#if VEC_LANES_f32 == 8 || VEC_LANES_f32 == 1
#define CHAINS 12
#else
#define CHAINS 24
#endif

/* Bytes a thread copies at least: less does not pay for waking it. */
#define COPY_GRAIN (1 << 18)

#define NNL_GENERIC_FILE "probes/Roofline.c"
#include "core/dtype.h"
#else

typedef struct {
    int64_t iterations;
    real factor, summand;
    real *ends; /* [threads, VLANES]: the sum of all chains of each thread */
} T_(fma_run);

/* Items are threads: each runs the same chains. factor and summand come from memory, so the
 * compiler cannot know that the chains only swing. */
static void T_(fma_chains)(void *context, int64_t begin, int64_t end) {
    const T_(fma_run) *run = context;
    const vreal a = V_(set)(run->factor), b = V_(set)(run->summand);
    for (int64_t item = begin; item < end; item++) {
        vreal x[CHAINS];
#pragma GCC unroll 24
        for (int c = 0; c < CHAINS; c++) x[c] = V_(set)((real)c);
        for (int64_t i = 0; i < run->iterations; i++) {
#pragma GCC unroll 24
            for (int c = 0; c < CHAINS; c++) x[c] = V_(fma)(a, x[c], b);
        }
#pragma GCC unroll 24
        for (int c = 1; c < CHAINS; c++) x[0] = V_(add)(x[0], x[c]);
        V_(store)(run->ends + item * VLANES, x[0]);
    }
}

NNL_API int NNL_(roofline_fma)(int64_t iterations, double *flops, int threads) {
    const int starts = CHAINS * (CHAINS - 1) / 2; /* 0 + 1 + ... */
    const real expected = (real)(iterations % 2 ? CHAINS - starts : starts);
    if (iterations < 0 || threads < 1) return NNL_EINVAL;
    if (!nnl_size_ok(iterations, 2 * CHAINS * VLANES, threads)) return NNL_EINVAL;
    real *ends = nnl_alloc((int64_t)threads * VLANES, (int64_t)sizeof(real));
    if (ends == NULL) return NNL_ENOMEM;

    T_(fma_run) run = {iterations, (real)-1, (real)1, ends};
    nnl_parallel_for(threads, 1, threads, T_(fma_chains), &run);
    int status = NNL_OK;
    for (int64_t i = 0; i < (int64_t)threads * VLANES; i++)
        if (!(ends[i] == expected)) status = NNL_EINVAL;
    if (status == NNL_OK) *flops = 2.0 * VLANES * CHAINS * (double)iterations * threads;
    nnl_free(ends);
    return status;
}

typedef struct {
    const real *input;
    real *output;
} T_(copy_run);

/* Items are whole vectors. The empty statement keeps gcc from making a memcpy of the loop, which
 * would choose streaming stores by its own threshold. */
static void T_(copy_plain)(void *context, int64_t begin, int64_t end) {
    const T_(copy_run) run = *(const T_(copy_run) *)context;
    for (int64_t i = begin * VLANES; i < end * VLANES; i += VLANES) {
        V_(store)(run.output + i, V_(load)(run.input + i));
        __asm__ volatile("");
    }
}

/* Streaming stores are ordered with nothing: the fence makes them visible before the task ends. */
static void T_(copy_stream)(void *context, int64_t begin, int64_t end) {
    const T_(copy_run) run = *(const T_(copy_run) *)context;
    for (int64_t i = begin * VLANES; i < end * VLANES; i += VLANES) {
        V_(stream)(run.output + i, V_(load)(run.input + i));
        __asm__ volatile("");
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

NNL_API int NNL_(roofline_copy)(int64_t n, const real *input, real *output, int streaming,
                                int threads) {
    if (n < 0 || threads < 1) return NNL_EINVAL;
    /* Elements before the first vector boundary of output, and after the last whole vector. */
    const int64_t width = VLANES * (int64_t)sizeof(real);
    const int64_t past = (int64_t)((uintptr_t)output % (uintptr_t)width) / (int64_t)sizeof(real);
    const int64_t head = nnl_min(n, (VLANES - past) % VLANES);
    const int64_t vectors = (n - head) / VLANES;
    const int64_t tail = n - head - vectors * VLANES;

    T_(copy_run) run = {input + head, output + head};
    V_(store_n)(output, V_(load_n)(input, (int)head), (int)head);
    nnl_parallel_for(vectors, COPY_GRAIN / width, threads,
                     streaming ? T_(copy_stream) : T_(copy_plain), &run);
    V_(store_n)(run.output + vectors * VLANES, V_(load_n)(run.input + vectors * VLANES, (int)tail),
                (int)tail);
    return NNL_OK;
}

NNL_API int NNL_(roofline_gemm)(int64_t repeats, int64_t m, int64_t n, int64_t k, const real *a,
                                int64_t a_row, int64_t a_col, const real *b, int64_t b_row,
                                int64_t b_col, real *c, int64_t c_row, int threads) {
    int status = repeats < 0 ? NNL_EINVAL : NNL_OK;
    for (int64_t i = 0; i < repeats && status == NNL_OK; i++)
        status = NNL_(gemm)(m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, NULL, NULL, 0,
                            NNL_IDENTITY, threads);
    return status;
}

#endif
