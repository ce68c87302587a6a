/* ops.h: the table of operations that a program can hold; the only list of them.
 *
 * X(NAME, function, inputs, outputs, flags): `function` is what computes it,
 * int nnl_op_<function>_f32 and _f64 of a nnl_work (program/call.h); it is in the file of the
 * kernel that it calls. The enum nnl_op, the dispatch, and the constants of the binding are made
 * from this table.
 *
 * Flags.
 *   ROWS   each row of the output needs the same row of the inputs alone: rows may be split
 *   PLACE  the output may be in place of the first input, if that has its shape and layout
 *   ALL    the output depends on how many rows the whole batch has, or on a row's index in it */
#ifndef NNL_OPS_H
#define NNL_OPS_H

enum nnl_op_flags { NNL_OP_ROWS = 1, NNL_OP_PLACE = 2, NNL_OP_ALL = 4 };

/* clang-format off */
#define NNL_OPS(X) \
    /* elements with strides: broadcasting, transposes, slices */ \
    X(COPY, copy, 1, 1, NNL_OP_ROWS) \
    X(ADD, add, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(SUB, sub, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(MUL, mul, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(DIV, div, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(MAXIMUM, maximum, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(MINIMUM, minimum, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(NEG, neg, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(ABS, abs, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(SIGN, sign, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(SQRT, sqrt, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    /* masks: one byte an element, 0 or 1 */ \
    X(EQUAL, equal, 2, 1, NNL_OP_ROWS) \
    X(NOT_EQUAL, not_equal, 2, 1, NNL_OP_ROWS) \
    X(LESS, less, 2, 1, NNL_OP_ROWS) \
    X(LESS_EQUAL, less_equal, 2, 1, NNL_OP_ROWS) \
    X(LOGICAL_NOT, logical_not, 1, 1, NNL_OP_ROWS) \
    X(LOGICAL_AND, logical_and, 2, 1, NNL_OP_ROWS) \
    X(LOGICAL_OR, logical_or, 2, 1, NNL_OP_ROWS) \
    X(LOGICAL_XOR, logical_xor, 2, 1, NNL_OP_ROWS) \
    X(WHERE, where, 3, 1, NNL_OP_ROWS) \
    X(FROM_MASK, from_mask, 1, 1, NNL_OP_ROWS) \
    /* contiguous elements by a layer's kernel */ \
    X(EXP, exp, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(EXPM1, expm1, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(LOG, log, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(LOG1P, log1p, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(ERF, erf, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(RELU, relu, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(RELU_GRAD, relu_grad, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(LEAKY_RELU, leaky_relu, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(LEAKY_RELU_GRAD, leaky_relu_grad, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(SIGMOID, sigmoid, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(SIGMOID_GRAD, sigmoid_grad, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(TANH, tanh, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(TANH_GRAD, tanh_grad, 2, 1, NNL_OP_ROWS | NNL_OP_PLACE) \
    X(DROPOUT, dropout, 1, 1, NNL_OP_ROWS | NNL_OP_PLACE | NNL_OP_ALL) \
    /* contiguous rows */ \
    X(SOFTMAX, softmax, 1, 1, NNL_OP_ROWS) \
    X(SOFTMAX_GRAD, softmax_grad, 2, 1, NNL_OP_ROWS) \
    X(LOG_SOFTMAX, log_softmax, 1, 1, NNL_OP_ROWS) \
    X(LOG_SOFTMAX_GRAD, log_softmax_grad, 2, 1, NNL_OP_ROWS) \
    /* reductions of a [outer, n, inner] over n */ \
    X(SUM, sum, 1, 1, NNL_OP_ROWS) \
    X(MAX, max, 1, 1, NNL_OP_ROWS) \
    X(MIN, min, 1, 1, NNL_OP_ROWS) \
    X(FIRST_MAX, first_max, 1, 1, NNL_OP_ROWS) \
    X(FIRST_MIN, first_min, 1, 1, NNL_OP_ROWS) \
    /* products */ \
    X(GEMM, gemm, 4, 2, NNL_OP_ROWS) \
    /* losses: the loss and its rows' weight [2], and the gradient of the input */ \
    X(CROSS_ENTROPY, cross_entropy, 4, 2, NNL_OP_ALL) \
    X(NLL, nll, 4, 2, NNL_OP_ALL) \
    X(MSE, mse, 4, 2, NNL_OP_ALL) \
    /* out [1] = number times the rows of the batch */ \
    X(COUNT, count, 0, 1, NNL_OP_ALL)
/* clang-format on */

#define NNL_OP_ENUM(name, function, inputs, outputs, flags) NNL_OP_##name,
enum nnl_op { NNL_OPS(NNL_OP_ENUM) NNL_OP_COUNT_OF_ALL };
#undef NNL_OP_ENUM

#endif
