/* dtype.h: compiles a generic file once for float and once for double.
 *
 * A layer's file is written against `real`, `vreal` and the macros below:
 *     #ifndef NNL_GENERIC_PASS
 *     ...includes and code that does not depend on the type...
 *     #define NNL_GENERIC_FILE "layers/Sigmoid.c"
 *     #include "core/dtype.h"
 *     #else
 *     ...the layer, once...
 *     #endif
 */
#ifndef NNL_GENERIC_FILE
#error "define NNL_GENERIC_FILE before including dtype.h"
#endif

#define NNL_GENERIC_PASS

#define real float
#define REAL_IS_FLOAT 1
#define REAL_MIN_NORMAL 0x1p-126f
#define VLANES VEC_LANES_f32        /* lanes of one vector register */
#define vreal vec_f32               /* a vector of reals */
#define vmask vmask_f32             /* the result of a comparison */
#define NNL_(name) nnl_##name##_f32 /* a public function */
#define V_(name) v_##name##_f32     /* a vector operation */
#define T_(name) name##_f32         /* a private function or type of this file */
#include NNL_GENERIC_FILE
#undef real
#undef REAL_IS_FLOAT
#undef REAL_MIN_NORMAL
#undef VLANES
#undef vreal
#undef vmask
#undef NNL_
#undef V_
#undef T_

#define real double
#define REAL_IS_FLOAT 0
#define REAL_MIN_NORMAL 0x1p-1022
#define VLANES VEC_LANES_f64
#define vreal vec_f64
#define vmask vmask_f64
#define NNL_(name) nnl_##name##_f64
#define V_(name) v_##name##_f64
#define T_(name) name##_f64
#include NNL_GENERIC_FILE
#undef real
#undef REAL_IS_FLOAT
#undef REAL_MIN_NORMAL
#undef VLANES
#undef vreal
#undef vmask
#undef NNL_
#undef V_
#undef T_

#undef NNL_GENERIC_PASS
#undef NNL_GENERIC_FILE
