/* Functions.c: exp, expm1, log, log1p and erf of each element, by the vector functions of
 * vec/math.h, which states formulas and error bounds. Layers use those directly; these functions
 * serve arrays. */
#ifndef NNL_GENERIC_PASS

#include "core/base.h"
#include "core/grain.h"
#include "core/parallel.h"
#include "program/call.h"
#include "vec/math.h"
#include "vec/vec.h"

#define NNL_GENERIC_FILE "layers/Functions.c"
#include "core/dtype.h"
#else

#include "layers/pointwise.inc"

#define NNL_FUNCTION(Name, name)                                                            \
    static inline vreal T_(name##_forward)(vreal x, vreal unused, const T_(pointwise) *p) { \
        (void)unused, (void)p;                                                              \
        return V_(name)(x);                                                                 \
    }                                                                                       \
    static void T_(name##_output)(void *context, int64_t begin, int64_t end) {              \
        T_(map)(context, begin, end, T_(name##_forward));                                   \
    }                                                                                       \
    NNL_API int NNL_(Name##_updateOutput)(int64_t n, const real *input, real *output,       \
                                          int threads) {                                    \
        T_(pointwise) p = {.x = input, .out = output};                                      \
        return T_(run_pointwise)(n, p, NNL_GRAIN_FUNCTION, threads, T_(name##_output));     \
    }

NNL_FUNCTION(Exp, exp)
NNL_FUNCTION(Expm1, expm1)
NNL_FUNCTION(Log, log)
NNL_FUNCTION(Log1p, log1p)
NNL_FUNCTION(Erf, erf)

#undef NNL_FUNCTION

NNL_ELEMENTS_OP(exp, Exp_updateOutput)
NNL_ELEMENTS_OP(expm1, Expm1_updateOutput)
NNL_ELEMENTS_OP(log, Log_updateOutput)
NNL_ELEMENTS_OP(log1p, Log1p_updateOutput)
NNL_ELEMENTS_OP(erf, Erf_updateOutput)

#endif
