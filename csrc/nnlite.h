/* nnlite.h: the whole C ABI of nnlite. The Python binding is generated from this file alone
 * (nnlite/_build.py), so nothing is declared twice.
 *
 * Layout.  Matrices are row-major and contiguous unless a stride is an argument. Samples are rows.
 * Alphabet. N batch rows, D in-features, K out-features or classes, n number of elements.
 * Markers.  [OUT] overwritten, may be uninitialised; [INOUT] read and overwritten; [ACC] added to;
 *           [OPTIONAL] may be NULL. Unmarked pointers are read only. Shapes stand in brackets.
 * Order.    sizes | input, gradOutput or target | output or gradInput | weight, bias | gradWeight,
 *           gradBias | saved values | scalars and flags. `threads` is the largest number of
 *           threads a call may use (>= 1); a call uses fewer when more would not pay.
 * Status.   Every function returns NNL_OK or an NNL_E... code, and has then changed nothing (but see
 *           NNL_EINTR).
 * Bits.     Results do not depend on `threads`, on the instruction set of the build, or on which
 *           rows share a batch. The arithmetic contract is in CONTRIBUTING.md.
 */
#ifndef NNL_REAL_PASS
#ifndef NNLITE_H
#define NNLITE_H

#include <stdint.h>

#if defined(__GNUC__)
#define NNL_API __attribute__((visibility("default")))
#else
#define NNL_API
#endif

/* ---- begin: common ---- */
enum nnl_status {
    NNL_OK = 0,
    NNL_EINVAL = 1,   /* a size is negative, overflows, or an argument is out of range */
    NNL_ENOMEM = 2,   /* scratch memory could not be had */
    NNL_EINDEX = 3,   /* a class index lies outside [0, K); its row is reported */
    NNL_EOVERLAP = 4, /* an output shares memory with an argument, other than wholly in place */
    NNL_EWEIGHT = 5,  /* the weight of a class or of a sample is negative or not finite */
    NNL_EFINITE = 6,  /* a loss is not finite; the batch that made it changed no weight */
    NNL_EINTR = 7     /* told to end (Ctrl-C); outputs hold anything, but see nnl_Training_run */
};

enum nnl_activation { NNL_IDENTITY = 0, NNL_RELU = 1, NNL_SIGMOID = 2, NNL_TANH = 3 };

/* How a product starts and ends; bits that may be combined. */
enum nnl_product_mode {
    NNL_ACCUMULATE = 1, /* the chains start from the stored values */
    NNL_GRADIENT = 2    /* results below the normal range become 0 */
};

enum nnl_reduction { NNL_MEAN = 1, NNL_SUM = 2 };

/* Layers that a program can hold. */
enum nnl_layer {
    NNL_LINEAR = 1,
    NNL_THRESHOLD = 2,
    NNL_LAYER_SIGMOID = 3,
    NNL_LAYER_TANH = 4,
    NNL_SOFTMAX = 5,
    NNL_LOGSOFTMAX = 6,
    NNL_DROPOUT = 7
};

/* One recorded layer call: rows of `inputs` columns become rows of `outputs` columns. */
typedef struct {
    int32_t layer;      /* enum nnl_layer */
    int32_t activation; /* enum nnl_activation, computed in the same pass by a Linear */
    int64_t inputs, outputs;
    const void *weight; /* [inputs, outputs], for a Linear */
    const void *bias;   /* [outputs] [OPTIONAL], for a Linear */
    double threshold, value;
    double rate;               /* for a Dropout, which only training applies */
    uint64_t seed;             /* its random stream: (seed, purpose, counter) */
    uint32_t purpose, counter; /* counter: one for each forward pass in training */
    /* For training only: */
    void *output;     /* [BUFFER] [batch, outputs]: kept for backward */
    void *gradOutput; /* [BUFFER] [batch, outputs]: two layers' may be one, see nnl_training */
    void *gradWeight; /* [inputs, outputs] [OPTIONAL], for a Linear; NULL: not trained */
    void *gradBias;   /* [outputs] [OPTIONAL], for a Linear; NULL: not trained */
} nnl_step;

/* Rules of optimisers; AdamW is NNL_RULE_ADAM with NNL_DECOUPLED. */
enum nnl_rule {
    NNL_RULE_SGD = 1,
    NNL_RULE_ADAM = 2,
    NNL_RULE_ADAMAX = 3,
    NNL_RULE_NADAM = 4,
    NNL_RULE_RMSPROP = 5,
    NNL_RULE_ADAGRAD = 6,
    NNL_RULE_ADADELTA = 7,
    NNL_RULE_RPROP = 8
};

enum nnl_rule_flags {
    NNL_MAXIMIZE = 1,  /* ascend: the gradient is negated */
    NNL_DECOUPLED = 2, /* weight decay shrinks the weights and stays out of the gradient */
    NNL_NESTEROV = 4,  /* SGD */
    NNL_AMSGRAD = 8,   /* Adam */
    NNL_CENTERED = 16  /* RMSprop */
};

/* An optimiser: its rule, its settings, and the running scalars of its state. Before the first step
 * steps is 0, power1, power2, warmth and mu_product are 1; every step moves them on. */
typedef struct {
    int32_t rule, flags;         /* enum nnl_rule, enum nnl_rule_flags */
    int64_t steps;               /* updates done */
    double lr;                   /* learning rate; set before each step by a schedule */
    double momentum, dampening;  /* SGD; momentum also RMSprop */
    double beta1, beta2, eps;    /* Adam, Adamax, NAdam; eps of every rule that divides */
    double alpha, rho, lr_decay; /* RMSprop, Adadelta, Adagrad */
    double warming;              /* NAdam: 0.96^momentum_decay */
    double eta_minus, eta_plus, step_min, step_max; /* Rprop */
    double clip_value, clip_norm; /* of the gradient, elementwise and then in all; 0: none */
    double power1, power2;        /* beta1^steps, beta2^steps */
    double warmth, mu_product;    /* NAdam: warming^steps, the product of the momenta */
    double grad_norm;             /* with clip_norm: the norm before clipping by it */
} nnl_optimizer;

/* Parameters that lie side by side, with the same decay. state: the rule's arrays in its order,
 * each [count]; unused ones may be NULL. */
typedef struct {
    int64_t count;
    void *weight, *grad; /* grad is only read */
    void *state[4];
    double weight_decay; /* decay / 2 ||w||^2 in the loss, or decoupled */
    double l1;           /* l1 ||w||_1 in the loss */
    int64_t late;        /* steps for which the parameters were frozen; where above 0, they have */
    double power1, power2, warmth, mu_product; /* running scalars of their own [INOUT] */
} nnl_segment;
/* ==== training ==== */

enum nnl_criterion { NNL_CROSS_ENTROPY = 1, NNL_NLL = 2, NNL_MSE = 3 };

/* The loss of a network's outputs. */
typedef struct {
    int32_t criterion;        /* enum nnl_criterion */
    int32_t reduction;        /* enum nnl_reduction */
    int32_t classes;          /* 1: targets are class indices; 0: rows of reals */
    double smoothing;         /* of labels, for cross-entropy */
    int64_t ignore_index;     /* rows of this class do not count */
    const void *class_weight; /* [classes] [OPTIONAL] */
} nnl_loss;

/* Rows to learn from or to measure on. */
typedef struct {
    int64_t rows, source;  /* rows to go through, in all or by an order; rows that there are */
    const void *input;     /* [source, inputs of the first layer] */
    const void *target;    /* int64_t [source], or [source, outputs of the last layer] */
    const void *weight;    /* [source] [OPTIONAL] */
    const int64_t *subset; /* [rows] [OPTIONAL]: numbers of the rows that count, for training */
} nnl_data;

/* Sums over the batches of one pass through some data. */
typedef struct {
    double loss, weight;      /* the mean loss is loss / weight; a summed loss is loss alone */
    int64_t correct, counted; /* rows classified right, of so many */
} nnl_sums;

/* How long a row takes with its batch shared by threads, and layer by layer; kept by Training_run. */
typedef struct {
    int32_t turn; /* batches of this period so far */
    int32_t shared_is_quicker;
    double shared, alone; /* seconds of the quickest trial */
} nnl_pace;

/* A network, its loss, its optimiser, its data, and where in them training stands. */
typedef struct {
    int64_t count, batch; /* layers; rows of a full batch */
    nnl_step *steps;
    nnl_loss loss;
    int64_t segment_count;
    nnl_segment *segments;
    nnl_optimizer *optimizer;
    void *input, *target, *weight; /* [BUFFER] one gathered batch */
    int64_t *index;                /* [BUFFER] [batch] */
    int32_t team;  /* threads that may share a batch, or 0. With them `input` has room for as many
                   * copies, and no two Linears share a gradOutput */
    nnl_pace pace; /* [BUFFER] zero at first; of no result a bit depends on it */
    nnl_data data, held_out; /* held_out.rows may be 0 */
    void *held_output;       /* [BUFFER] [min(held_out.rows, 4096), outputs of the last] */
    void *outputs;           /* [OUT] [data.rows, outputs] [OPTIONAL]: of every batch */
    void *order;             /* [OPTIONAL] [data.rows]: of the rows, or of the subset; */
    int32_t order_bytes;     /* ... uint32_t (4) or int64_t (8) */
    int32_t shuffle;         /* 1: each epoch writes a new order from (seed, epoch) */
    uint64_t seed;
    int64_t epoch, position; /* the next batch: its epoch and its number in it */
    /* One run: */
    int64_t todo, done;  /* batches to train on; batches trained on [OUT] */
    const double *rates; /* [todo] [OPTIONAL]: the learning rate of each */
    nnl_sums *sums;      /* [INOUT] one for each epoch touched; the first goes on from its value */
    nnl_sums *held_sums; /* [OUT] likewise, for each epoch that ends */
    double last_loss;    /* [OUT] of the last batch */
    int32_t shared;      /* [OUT] threads that shared the last batch; 1: each layer for itself */
    int64_t bad_row;     /* [OUT] on NNL_EINDEX */
    int32_t status;      /* [OUT] enum nnl_status */
} nnl_training;

/* ==== graphs ==== */

/* What an instruction of a recorded graph computes. */
enum nnl_code {
    /* out [m, n] = a op b; a and b have elements at i * row + j * col, strides may be 0. */
    NNL_CODE_ADD = 1,
    NNL_CODE_SUB = 2,
    NNL_CODE_MUL = 3,
    NNL_CODE_DIV = 4,
    /* out [m, n] = op a */
    NNL_CODE_COPY = 5,
    NNL_CODE_NEG = 6,
    NNL_CODE_ABS = 7,
    NNL_CODE_SIGN = 8,
    NNL_CODE_SQRT = 9,
    NNL_CODE_POSITIVE = 10, /* max(a, 0), NaN stays */
    /* out [n] = f(a [n]) */
    NNL_CODE_EXP = 11,
    NNL_CODE_EXPM1 = 12,
    NNL_CODE_LOG = 13,
    NNL_CODE_LOG1P = 14,
    NNL_CODE_ERF = 15,
    NNL_CODE_RELU = 16,
    NNL_CODE_SIGMOID = 17,
    NNL_CODE_TANH = 18,
    /* out [n]: the gradient of the input from a, the output, and b, its gradient */
    NNL_CODE_RELU_GRAD = 19,
    NNL_CODE_SIGMOID_GRAD = 20,
    NNL_CODE_TANH_GRAD = 21,
    /* rows: out [m, n] from a [m, n], and the gradient of the input likewise */
    NNL_CODE_SOFTMAX = 22,
    NNL_CODE_LOGSOFTMAX = 23,
    NNL_CODE_SOFTMAX_GRAD = 24,
    NNL_CODE_LOGSOFTMAX_GRAD = 25,
    /* sums of a [m, n], in the order in which NumPy adds */
    NNL_CODE_SUM_COLUMNS = 26, /* out [m]: of each row */
    NNL_CODE_SUM_ROWS = 27,    /* out [n]: of each column */
    /* products */
    NNL_CODE_GEMM = 28,   /* out [m, n] = a [m, k] b [k, n], with strides; flag: NNL_GRADIENT */
    NNL_CODE_LINEAR = 29, /* out [m, n] = a [m, k] b [k, n] + c [n] [OPTIONAL] */
    NNL_CODE_LINEAR_GRAD =
        30, /* out [k, n] = a^T b, c [n] [OPTIONAL] = sum of b; a [m, k] b [m, n] */
    /* losses: out [2]; c [m, n] [OPTIONAL]: the gradient of a [m, n] */
    NNL_CODE_CROSS_ENTROPY = 31, /* b: classes int64_t [m], with flag 1 reals [m, n] */
    NNL_CODE_NLL = 32,           /* b: classes int64_t [m] */
    NNL_CODE_MSE = 33            /* b: reals [m, n] */
};

/* One instruction; out, a, b, c and d are places in a table of pointers, -1 for none. */
typedef struct {
    int32_t code, flag;      /* enum nnl_code */
    int32_t out, a, b, c, d; /* d: class weights [n] [OPTIONAL] of a loss */
    int32_t reduction;       /* enum nnl_reduction, for a loss */
    int64_t m, n, k;         /* k: also the ignored class of a loss */
    int64_t a_row, a_col, b_row, b_col;
    double number; /* smoothing of labels, for a loss */
} nnl_instruction;

/* Text for a status code; never NULL. */
const char *nnl_status_text(int status);

/* What this extension was compiled for: "portable", "avx2", "avx512" or "neon". */
const char *nnl_build_isa(void);

/* Compiler name and version. */
const char *nnl_build_compiler(void);

/* Where threads come from: "own pool", "OpenMP", or "none". */
const char *nnl_build_threads(void);

/* 1 when this processor and operating system can run a build by that name, else 0. */
int nnl_cpu_supports(const char *isa);

/* Says how calls of the functions below learn that they are to end: `ask` is called every 50 ms from a
 * long call, in that thread alone (pthread_self), and answers with other than 0. */
void nnl_watch(int (*ask)(void), uint64_t thread);

/* The calling thread's arithmetic mode, after it was set to round to nearest, with subnormal numbers
 * and without traps; and back to that mode. Every function below does so by itself. */
uint64_t nnl_enter_standard_mode(void);
void nnl_restore_mode(uint64_t mode);

/* Philox4x32-10: element i of the stream (seed, purpose, step) is word i % 4 of block i / 4.
 * out [OUT] [n] */
int nnl_random_bits(int64_t n, uint32_t *out, uint64_t seed, uint32_t purpose, uint32_t step);

/* A permutation of 0..n-1 by Fisher and Yates from that stream. out [OUT] [n] */
int nnl_random_permutation(int64_t n, void *out, int out_bytes, uint64_t seed, uint32_t purpose,
                           uint32_t step);
/* ---- end: common ---- */

#define NNL_REAL_PASS
#define real float
#define NNL_(name) nnl_##name##_f32
#include "nnlite.h"
#undef real
#undef NNL_
#define real double
#define NNL_(name) nnl_##name##_f64
#include "nnlite.h"
#undef real
#undef NNL_
#undef NNL_REAL_PASS

#endif /* NNLITE_H */
#else

/* ---- begin: for each real (float as _f32, double as _f64) ---- */

/* C = act(start + A B): each element one chain of fused multiply-adds over k in ascending order.
 * a [m, k] with element (i, p) at a[i * a_row + p * a_col]; b [k, n] likewise;
 * c [m, n] [OUT], or [INOUT] with NNL_ACCUMULATE: the chain then starts from the stored value;
 * rows c_row apart. bias [n] [OPTIONAL]: the chain starts from it. At most one start is given.
 * mode: enum nnl_product_mode. activation: enum nnl_activation, applied once after the last term.
 * gate [m, n] [OPTIONAL], rows c_row apart: the activation's output of an earlier layer; the result
 * is then a gradient, multiplied by the activation's derivative there instead. */
int NNL_(gemm)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,
               const real *b, int64_t b_row, int64_t b_col, real *c, int64_t c_row,
               const real *bias, const real *gate, int mode, int activation, int threads);

/* Gradients (gradInput, gradWeight, gradBias) are never stored below the normal range of their type:
 * a result that lies there becomes 0 with its sign, once it is complete. */

/* Linear: output = act(input weight + bias). input [N, D], output [OUT] [N, K],
 * weight [D, K], bias [K] [OPTIONAL]. */
int NNL_(Linear_updateOutput)(int64_t N, int64_t D, int64_t K, const real *input, real *output,
                              const real *weight, const real *bias, int activation, int threads);
/* gradInput = gradOutput weight^T. gradOutput [N, K], gradInput [OUT] [N, D]. gate [N, D]
 * [OPTIONAL]: input, when it is the output of that activation; gradInput is then the gradient of the
 * activation's input. */
int NNL_(Linear_updateGradInput)(int64_t N, int64_t D, int64_t K, const real *gradOutput,
                                 real *gradInput, const real *weight, const real *gate,
                                 int activation, int threads);
/* gradWeight [ACC] [D, K] += input^T (scale gradOutput);
 * gradBias [ACC] [K] [OPTIONAL] += column sums of scale gradOutput. */
int NNL_(Linear_accGradParameters)(int64_t N, int64_t D, int64_t K, const real *input,
                                   const real *gradOutput, real *gradWeight, real *gradBias,
                                   real scale, int threads);

/* Element-wise functions. input [n], output [OUT] [n]; in place is allowed. */
int NNL_(Exp_updateOutput)(int64_t n, const real *input, real *output, int threads);
int NNL_(Expm1_updateOutput)(int64_t n, const real *input, real *output, int threads);
int NNL_(Log_updateOutput)(int64_t n, const real *input, real *output, int threads);
int NNL_(Log1p_updateOutput)(int64_t n, const real *input, real *output, int threads);
int NNL_(Erf_updateOutput)(int64_t n, const real *input, real *output, int threads);

/* Threshold: output = input > threshold ? input : value (NaN stays NaN). ReLU is (0, 0). */
int NNL_(Threshold_updateOutput)(int64_t n, const real *input, real *output, real threshold,
                                 real value, int threads);
/* gradInput [OUT] [n] = input > threshold ? gradOutput : 0; for ReLU, output may serve as input. */
int NNL_(Threshold_updateGradInput)(int64_t n, const real *input, const real *gradOutput,
                                    real *gradInput, real threshold, int threads);

/* Sigmoid: output = 1 / (1 + e^-input); gradInput [OUT] = gradOutput * output (1 - output). */
int NNL_(Sigmoid_updateOutput)(int64_t n, const real *input, real *output, int threads);
int NNL_(Sigmoid_updateGradInput)(int64_t n, const real *output, const real *gradOutput,
                                  real *gradInput, int threads);

/* Tanh: output = tanh(input); gradInput [OUT] = gradOutput (1 - output^2). */
int NNL_(Tanh_updateOutput)(int64_t n, const real *input, real *output, int threads);
int NNL_(Tanh_updateGradInput)(int64_t n, const real *output, const real *gradOutput,
                               real *gradInput, int threads);

/* SoftMax over rows: input [N, K], output [OUT] [N, K];
 * gradInput [OUT] = output (gradOutput - sum_k gradOutput output). */
int NNL_(SoftMax_updateOutput)(int64_t N, int64_t K, const real *input, real *output, int threads);
int NNL_(SoftMax_updateGradInput)(int64_t N, int64_t K, const real *output, const real *gradOutput,
                                  real *gradInput, int threads);

/* LogSoftMax over rows; gradInput [OUT] = gradOutput - e^output sum_k gradOutput. */
int NNL_(LogSoftMax_updateOutput)(int64_t N, int64_t K, const real *input, real *output,
                                  int threads);
int NNL_(LogSoftMax_updateGradInput)(int64_t N, int64_t K, const real *output,
                                     const real *gradOutput, real *gradInput, int threads);

/* Losses. loss [OUT] [2]: the loss, then the total weight of its rows. A mean is the weighted sum
 * divided by that total: N, or where weights are given, the sum over rows of
 * class_weight[target[i]] sample_weight[i]. class_weight [K] [OPTIONAL], sample_weight [N]
 * [OPTIONAL]: finite and >= 0, else NNL_EWEIGHT. A row whose target is ignore_index weighs 0; rows of
 * weight 0 add nothing to the loss and have a gradient of 0, whatever they hold. When all rows weigh
 * 0, the mean is NaN and its gradient 0. bad_row [OUT] [1] is written on NNL_EINDEX alone. */

/* Negative log likelihood: loss is the reduction over rows of -input[i, target[i]] times the weight;
 * input [N, K] log-probabilities, target [N] in [0, K) or ignore_index. */
int NNL_(ClassNLLCriterion_updateOutput)(int64_t N, int64_t K, const real *input,
                                         const int64_t *target, real *loss,
                                         const real *class_weight, const real *sample_weight,
                                         int64_t *bad_row, int64_t ignore_index, int reduction);
/* gradInput [OUT] [N, K] = -gradOutput weight / total weight at (i, target[i]), for the mean; 0
 * elsewhere. */
int NNL_(ClassNLLCriterion_updateGradInput)(int64_t N, int64_t K, const int64_t *target,
                                            real *gradInput, const real *class_weight,
                                            const real *sample_weight, int64_t *bad_row,
                                            real gradOutput, int64_t ignore_index, int reduction);

/* Mean (or sum) of squares over the N K elements of (input - target)^2, each times its row's
 * sample_weight; the mean divides by K times the total weight. */
int NNL_(MSECriterion_updateOutput)(int64_t N, int64_t K, const real *input, const real *target,
                                    real *loss, const real *sample_weight, int reduction,
                                    int threads);
/* gradInput [OUT] [N, K] = 2 gradOutput weight (input - target), divided likewise for the mean. */
int NNL_(MSECriterion_updateGradInput)(int64_t N, int64_t K, const real *input, const real *target,
                                       real *gradInput, const real *sample_weight, real gradOutput,
                                       int reduction, int threads);

/* Softmax and cross-entropy in one, from logits. input [N, K]; exactly one of target [N] (class
 * indices, or ignore_index) and probabilities [N, K] is given. gradInput [OUT] [N, K] [OPTIONAL] is
 * written in the same pass, while the row is in cache: (softmax(input) - T) / N for the mean.
 * smoothing in [0, 1]: T becomes (1 - smoothing) T + smoothing / K. class_weight multiplies each
 * class of T; the total weight of rows of probabilities is N, or the sum of sample_weight. */
int NNL_(CrossEntropyCriterion_updateOutput)(int64_t N, int64_t K, const real *input,
                                             const int64_t *target, const real *probabilities,
                                             real *loss, real *gradInput, const real *class_weight,
                                             const real *sample_weight, int64_t *bad_row,
                                             double smoothing, int64_t ignore_index, int reduction,
                                             int threads);

/* correct [OUT] [1]: rows of input [N, K] whose first maximum stands at target[i]. A row with NaN is
 * wrong; rows whose target is ignore_index or no class do not count. */
int NNL_(count_correct)(int64_t N, int64_t K, const real *input, const int64_t *target,
                        int64_t ignore_index, int64_t *correct);

/* Dropout: output [OUT] [n] = 0 where word i of the Philox stream (seed, purpose, step) lies below
 * rate 2^32, else input / (1 - rate); 0 <= rate <= 1. In place is allowed. */
int NNL_(Dropout_updateOutput)(int64_t n, const real *input, real *output, double rate,
                               uint64_t seed, uint32_t purpose, uint32_t step, int threads);
/* gradInput [OUT] [n] = gradOutput / (1 - rate) where the element was kept, else 0. */
int NNL_(Dropout_updateGradInput)(int64_t n, const real *gradOutput, real *gradInput, double rate,
                                  uint64_t seed, uint32_t purpose, uint32_t step, int threads);

/* One step of an optimiser over all its segments: clipping, the rule, running scalars.
 * segments [count]: weight and state [INOUT], grad is only read; optimizer [INOUT] [1].
 * State arrays, in this order, 0 at first unless said:
 *   SGD       velocity, with momentum
 *   Adam      mean, mean square, largest mean square with NNL_AMSGRAD
 *   Adamax    mean, largest gradient          NAdam     mean, mean square
 *   RMSprop   mean square, mean with NNL_CENTERED, velocity with momentum
 *   Adagrad   sum of squares, any value >= 0 at first
 *   Adadelta  mean squares of gradients and of steps
 *   Rprop     last gradient, step size, lr at first */
int NNL_(Optimizer_update)(int64_t count, nnl_segment *segments, nnl_optimizer *optimizer,
                           int threads);

/* norm [OUT] [1]: the Euclidean norm of all gradients together, each element first clipped to
 * +-clip_value unless that is 0. */
int NNL_(gradient_norm)(int64_t count, const nnl_segment *segments, double clip_value, double *norm,
                        int threads);

/* Runs `count` >= 1 recorded layers forward: output [OUT] [N, outputs of the last] from
 * input [N, inputs of the first]. */
int NNL_(Program_updateOutput)(int64_t N, int64_t count, const nnl_step *steps, const real *input,
                               real *output, int threads);

/* Runs `count` instructions in their order. places [size]: what they read and write; outputs overlap
 * no input. */
int NNL_(Graph_run)(int64_t count, const nnl_instruction *list, int64_t size, void *const *places,
                    int threads);

/* Trains `models` networks, each for its own number of batches, side by side where there are
 * several. Each has its status; returns the first that is not NNL_OK. A network whose loss is not
 * finite has stopped with NNL_EFINITE after backward and before the update; one that was told to end, with
 * NNL_EINTR: the batches done are done, the next has changed only buffers and gradients, and where the
 * position is behind an epoch's last batch, its evaluation is still to do. */
int NNL_(Training_run)(int64_t models, nnl_training *const *trainings, int threads);

/* One network's step on one batch as it lies, with t->todo = 1: input [N, inputs of the first layer];
 * target int64_t [N], or [N, outputs of the last layer]. The shortest way from Python. */
int NNL_(Training_step)(nnl_training *t, int64_t N, const real *input, const void *target,
                        int threads);

/* Sums of the loss and of correct rows over some data, in blocks of 4096 rows; t->held_output has
 * room for min(rows, 4096) outputs. Dropout passes its input on. sums [OUT] [1]. */
int NNL_(Training_evaluate)(nnl_training *t, const nnl_data *data, nnl_sums *sums, int threads);

/* output [OUT] [rows, width] = input[index[i], :], every index in [0, source_rows);
 * bad_row [OUT] [1] on NNL_EINDEX. */
int NNL_(gather_rows)(int64_t rows, int64_t width, int64_t source_rows, const real *input,
                      const int64_t *index, real *output, int64_t *bad_row);

/* out [OUT] [n]: uniform between low and high from the Philox stream (seed, purpose, step). */
int NNL_(random_uniform)(int64_t n, real *out, real low, real high, uint64_t seed, uint32_t purpose,
                         uint32_t step);

/* out [OUT] [n]: normal with that mean and standard deviation. */
int NNL_(random_normal)(int64_t n, real *out, real mean, real std, uint64_t seed, uint32_t purpose,
                        uint32_t step);

/* Roofline probes, for the benchmark only. flops [OUT] [1]: number of floating-point operations
 * of a run of independent FMA chains in registers, per thread `iterations` rounds. */
int NNL_(roofline_fma)(int64_t iterations, double *flops, int threads);
/* Copies input [n] to output [OUT] [n], with streaming stores when asked. */
int NNL_(roofline_copy)(int64_t n, const real *input, real *output, int streaming, int threads);
/* Computes the product C = A B of gemm `repeats` times, so that no call from outside is timed. */
int NNL_(roofline_gemm)(int64_t repeats, int64_t m, int64_t n, int64_t k, const real *a,
                        int64_t a_row, int64_t a_col, const real *b, int64_t b_row, int64_t b_col,
                        real *c, int64_t c_row, int threads);

/* ---- end: for each real ---- */
#endif
