/* nnlite.h: the whole C ABI of nnlite. The Python binding is generated from this file alone
 * (nnlite/_core/build.py), so nothing is declared twice.
 *
 * Layout.  Matrices are row-major and contiguous unless a stride is an argument. Samples are rows.
 * Alphabet. N batch rows, D in-features, K out-features or classes, n number of elements.
 * Markers.  [OUT] overwritten, may be uninitialised; [INOUT] read and overwritten; [ACC] added to;
 *           [OPTIONAL] may be NULL. Unmarked pointers are read only. Shapes are in brackets.
 * Order.    sizes | input, gradOutput or target | output or gradInput | weight, bias | gradWeight,
 *           gradBias | saved values | scalars and flags. `threads` is the largest number of
 *           threads a call may use (>= 1); a call uses fewer when more would not pay.
 * Status.   Every function returns NNL_OK or an NNL_E... code, and has then changed nothing (but
 *           see NNL_EINTR).
 * Bits.     Results do not depend on `threads`, on the instruction set of the build, or on which
 *           rows share a batch. The arithmetic contract is in docs/design.md.
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
    NNL_EFINITE = 6,  /* a loss is not finite; its batch changed no weight */
    NNL_EINTR = 7     /* interrupted (Ctrl-C); outputs hold anything, but see nnl_Training_run */
};

enum nnl_activation { NNL_IDENTITY = 0, NNL_RELU = 1, NNL_SIGMOID = 2, NNL_TANH = 3 };

/* Choices among ways that give the same bits, and their ways (core/autotune.h). */
enum nnl_choice {
    NNL_CHOICE_TRANSPOSE = 0, /* a product: 0 A B, 1 (B^T A^T)^T */
    NNL_CHOICE_THREADS = 1,   /* of a product: 0 one, 1 all, 2 half of them */
    NNL_CHOICE_PACK_A = 2,    /* 0 unpacked, 1 packed */
    NNL_CHOICE_PACK_B = 3,
    NNL_CHOICE_KC = 4,             /* block size of k: 0 short, 1 medium, 2 long */
    NNL_CHOICE_PREFETCH = 5,       /* the next panel of B before it is packed: 0 off, 1 on */
    NNL_CHOICE_BATCH_PARALLEL = 6, /* threads share: 0 each call, 1 the rows of the batch */
    NNL_CHOICES = 7,
    NNL_TUNE_WAYS = 3
};

/* A choice that was made or is being made, for the computations of a class. */
typedef struct {
    int32_t choice, ways; /* enum nnl_choice; 0 ways: there is none here */
    int32_t decision;     /* 0: none yet; 1: the rule's; 2 + way */
    int32_t log2_size[3]; /* of m, n, k; or of rows, vector FMAs of a row, calls */
    int32_t threads, flags;
    double cost[3]; /* quickest trial of each way, time by work; 0: none */
} nnl_tuned_choice;

/* How a product starts and ends; bits that may be combined. */
enum nnl_product_mode {
    NNL_ACCUMULATE = 1, /* the chains start from the stored values */
    NNL_GRADIENT = 2,   /* results below the normal range become 0 */
    NNL_PACKED = 4      /* b is what nnl_gemm_pack made; its strides do not count */
};

enum nnl_reduction { NNL_MEAN = 1, NNL_SUM = 2 };

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
    NNL_CENTERED = 16, /* RMSprop */
    NNL_EPS_HAT = 32   /* Adam: eps is added to the root of the uncorrected second moment */
};

/* An optimiser: its rule, its settings, and the running scalars of its state. Before the first step
 * steps is 0, and power1, power2, momentum_decay_power and mu_product are 1. */
typedef struct {
    int32_t rule, flags;          /* enum nnl_rule, enum nnl_rule_flags */
    int64_t steps;                /* updates done */
    double lr;                    /* learning rate; set before each step by a schedule */
    double momentum, dampening;   /* SGD; momentum also RMSprop */
    double beta1, beta2, eps;     /* Adam, Adamax, NAdam; eps of every rule that divides */
    double alpha, rho, lr_decay;  /* RMSprop, Adadelta, Adagrad */
    double momentum_decay_factor; /* NAdam: 0.96^momentum_decay */
    double eta_minus, eta_plus, step_min, step_max; /* Rprop */
    double clip_value, clip_norm; /* of the gradient, elementwise and then in all; 0: none */
    double power1, power2;        /* beta1^steps, beta2^steps */
    /* NAdam: momentum_decay_factor^steps, and the product of the momenta of all steps */
    double momentum_decay_power, mu_product;
    double grad_norm; /* with clip_norm: the norm before clipping by it */
} nnl_optimizer;

/* Contiguous parameters with the same decay. state: the rule's arrays in its order,
 * each [count]; unused ones may be NULL. */
typedef struct {
    int64_t count;
    void *weight, *grad; /* grad is only read */
    void *state[4];
    double weight_decay; /* decay / 2 ||w||^2 in the loss, or decoupled */
    double l1;           /* l1 ||w||_1 in the loss */
    int64_t late;        /* steps for which the parameters were frozen */
    /* [INOUT] running scalars of their own, where late > 0 */
    double power1, power2, momentum_decay_power, mu_product;
} nnl_segment;
/* ==== training ==== */

/* Rows to learn from or to measure on. */
typedef struct {
    int64_t rows, source;  /* rows to go through, in all or by an order; rows that there are */
    const void *input;     /* [source, inputs of the first layer]; of sparse rows: their values */
    const void *target;    /* int64_t [source], or [source, outputs of the last layer] */
    const void *weight;    /* [source] [OPTIONAL] */
    const int64_t *subset; /* [rows] [OPTIONAL]: numbers of the rows that count, for training */
    /* Sparse rows (CSR): row i has its values, and their columns, at starts[i] to
     * starts[i + 1] - 1; values of one column are added, in this order. */
    const void *starts, *columns; /* [source + 1], [starts[source]] [OPTIONAL] */
    int32_t index_bytes, unused;  /* of starts and columns: int32_t (4) or int64_t (8) */
} nnl_data;

/* Sums over the batches of one pass through some data. */
typedef struct {
    double loss, weight;      /* the mean loss is loss / weight; a summed loss is loss alone */
    int64_t correct, counted; /* rows classified correctly, of `counted` */
} nnl_sums;

/* The figure of an epoch by which a run ends early. */
enum nnl_figure {
    NNL_FIGURE_LOSS = 1,    /* offset + factor x the mean loss; with `lenient` NaN where that is not
                              * finite */
    NNL_FIGURE_ACCURACY = 2 /* correct / counted */
};

/* When a run ends early: after `patience` epochs in a row without improvement. An improvement
 * exceeds the best figure so far by more than min_delta. With `lenient` min_delta is enough, NaN is
 * no failure, any gain makes a new best figure, and only one more epoch than `patience` ends the
 * run. */
typedef struct {
    int32_t figure, held_out, larger, lenient; /* enum nnl_figure; 1: of the rows held out; ... */
    double offset, factor, min_delta;
    double best;      /* [INOUT] infinite, the worst way, at first */
    int64_t patience; /* epochs */
    int64_t wait;     /* [INOUT] epochs in a row without improvement */
    int64_t epoch;    /* [INOUT] of the best figure; -1 while there is none */
    int32_t stopped;  /* [OUT] 1: the last epoch has ended the run */
    int32_t unused;
    /* [OUT] [OPTIONAL] at the best figure, of all segments and of all random streams: */
    void *best_weights;
    uint32_t *best_counters;
} nnl_stopping;

/* ==== programs ==== */

/* An operand: element (i, j, k, l) is stride[0] i + ... elements after `offset` bytes of a
 * buffer; buffer -1: none. Slots of a call: out, second output, a, b, c, d. */
typedef struct {
    int32_t buffer, unused;
    int64_t offset;
    int64_t stride[4];
} nnl_slot;

/* One call of an operation (enum nnl_op of ops.h). What the sizes mean:
 *   elements, contiguous elements  the four axes of the output
 *   rows                           the last axis is a row
 *   reductions                     outer, reduced, inner, 1
 *   GEMM                           products, m, n, k; out [m, n] = act(a [m, k] b [k, n] + c [n]);
 *                                  d [m, n]: the result is multiplied by the derivative of act at
 *                                  its output d instead; second output [n]: the column sums of b
 *   losses                         rows, 1, 1, classes; a: input, b: target, c: class weights
 *                                  [classes], d: sample weights [rows]; out [2]; second output:
 *                                  gradient of a */
typedef struct {
    int32_t op;
    int32_t batch;  /* bit i: size[i] is the size for one row of the batch */
    int32_t by_row; /* 1: every slot with rows has them first, and no other row is needed */
    /* of a loss: 1 when targets are reals; of a product: enum nnl_product_mode; of a dropout: 1 for
     * the gradient */
    int32_t flag;
    int32_t activation, reduction;
    int64_t integer; /* ignored class of a loss; index of a random stream's counter */
    /* smoothing of labels; rate of a dropout; slope of a leaky ReLU; factor of a count */
    double number;
    uint64_t seed;          /* of a dropout */
    uint32_t purpose, step; /* step: added to the counter */
    /* 1 + the buffer of the weight whose whole gradient this is, which no later call reads; or 0 */
    int64_t weight;
    int64_t size[4];
    nnl_slot slot[6];
} nnl_call;

/* A recorded list of calls. What is bound before a run, and read after it, are buffers by their
 * number; -1: none. */
typedef struct {
    int64_t count, buffers;
    const nnl_call *calls;
    void **table;             /* [buffers] */
    const int64_t *row_bytes; /* [buffers]: of one row of the batch; 0: the same for all rows */
    uint32_t *counters;       /* of random streams */
    const uint32_t *counts;   /* what one run in training adds to each counter */
    int64_t counter_count;
    int64_t *bad_row; /* [OUT] on NNL_EINDEX */
    int64_t *checked; /* [BUFFER] [OPTIONAL] 0 at first: 1 + rows for which calls were checked */
    int64_t rows;     /* of the only batch that it is for; 0: of any */
    int32_t input, target, weight; /* of the batch; weight [rows] */
    int32_t output, loss;          /* loss [1], or [2] with the weight of the rows */
    int32_t weighed;               /* 1: loss [2] */
    int32_t gradient; /* of the input: of a module's pass, whose target is that of the output */
    int64_t mark;     /* of a step: the call after the loss; of a pass: after its output */
    int64_t rest;     /* of a pass: from this call on only the gradient of the input is computed */
    void **thread_tables; /* [BUFFER] [16, buffers] for a batch-parallel step, or NULL: none */
    const int64_t *fixed_bytes; /* [buffers]: of its own memory that has no rows */
    const uint8_t *own; /* [buffers]: 1 for memory of the program, 0 for what is bound to it */
} nnl_program;

/* A network, its loss, its optimiser, its data, and the position of training in it. */
typedef struct {
    int64_t batch; /* rows of a full batch */
    /* programs: a step: forward, loss and backward, for the batch's rows. Outside training
     * `forward` gives the output of the model, and `measure` the loss of an output, its input. */
    int64_t program_count;
    nnl_program *programs;
    nnl_program *forward, *measure;               /* [OPTIONAL] */
    int64_t input_size, output_size, target_size; /* elements of a row; target_size 0: a class */
    int32_t reduction;                            /* enum nnl_reduction */
    int32_t by_rows;      /* 1: sums weigh each batch's mean by its rows, not by their weight */
    int64_t ignore_index; /* rows of this class do not count */
    int32_t binary; /* 1: targets are 0 or 1; in a correct row outputs > 0 are just at the 1s */
    int32_t unused;
    int64_t segment_count;
    nnl_segment *segments;
    /* [segment_count] [OPTIONAL]: penalty / 2 ||w||^2, over its rows' weight, is added to the loss
     * of a batch, and weight_decay is set to that */
    const double *penalties;
    double penalty_factor;  /* of that term in the sums */
    double penalty;         /* [BUFFER] of the batch */
    nnl_stopping *stopping; /* [OPTIONAL] */
    nnl_optimizer *optimizer;
    void *input, *target, *weight; /* [BUFFER] one gathered batch */
    int64_t *index;                /* [BUFFER] [batch] */
    nnl_data data, held_out;       /* held_out.rows may be 0 */
    void *held_output;             /* [BUFFER] [min(held_out.rows, 4096), outputs of the last] */
    void *outputs;                 /* [OUT] [data.rows, outputs] [OPTIONAL]: of every batch */
    void *order;                   /* [OPTIONAL] [data.rows]: of the rows, or of the subset; */
    int32_t order_bytes;           /* ... uint32_t (4) or int64_t (8) */
    int32_t shuffle;               /* 1: each epoch writes a new order from (seed, epoch) */
    int64_t order_step;  /* numbers from one epoch's order to the next one's; 0: one for all */
    int64_t orders_done; /* [BUFFER] epochs that ended in this run */
    uint64_t seed;
    int64_t epoch, position; /* the next batch: its epoch and its number in it */
    /* One run: */
    int64_t todo, done;  /* batches to train on; batches trained on [OUT] */
    const double *rates; /* [todo] [OPTIONAL]: the learning rate of each */
    nnl_sums *sums;      /* [INOUT] one for each epoch touched; the first resumes from its value */
    nnl_sums *held_sums; /* [OUT] likewise, for each epoch that ends */
    double last_loss;    /* [OUT] of the last batch */
    int32_t shared;      /* [OUT] threads over which the last batch was split; 1: not split */
    int64_t bad_row;     /* [OUT] on NNL_EINDEX */
    int32_t status;      /* [OUT] enum nnl_status */
} nnl_training;

/* A string for a status code; never NULL. */
const char *nnl_status_text(int status);

/* What this extension was compiled for: "portable", "avx2", "avx512" or "neon". */
const char *nnl_build_isa(void);

/* Compiler name and version. */
const char *nnl_build_compiler(void);

/* Where the threads of this extension come from: its own pool (the default, in a build that has
 * it), OpenMP, or nowhere. `openmp` is the runner of csrc/core/openmp.h, or 0. To be set before any
 * thread has called; NNL_EINVAL where the build lacks it. */
enum nnl_threading { NNL_THREADING_NONE = 0, NNL_THREADING_POOL = 1, NNL_THREADING_OPENMP = 2 };
int nnl_get_threading(void);
int nnl_set_threading(int threading, uintptr_t openmp);

/* Whether choices are autotuned (the default), or made by rules alone. A way may be forced, -1: no
 * longer. nnl_tuned reports what was chosen: index from 0; NNL_EINDEX behind the last. */
void nnl_set_autotune(int on);
int nnl_force_choice(int choice, int way);
int nnl_tuned(int64_t index, nnl_tuned_choice *choice);

/* 1 when one of the functions below has been called by way of the binding, else 0. */
int nnl_was_called(void);

/* 1 when this processor and operating system can run a build by that name, else 0. */
int nnl_cpu_supports(const char *isa);

/* How calls of the functions below are interrupted: `ask` is called every 50 ms from a long call,
 * in that thread alone (pthread_self); what it returns other than 0 ends the call. */
void nnl_watch(int (*ask)(void), uint64_t thread);

/* Sets the calling thread's arithmetic mode to round to nearest, with subnormal numbers and without
 * traps, and returns the mode before; and back to that. Every function below does both by
 * itself. */
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
 * mode: enum nnl_product_mode. activation: enum nnl_activation, applied once the chain is complete.
 * activation_output [m, n] [OPTIONAL], rows c_row apart: of an earlier layer; the result is then a
 * gradient, multiplied by the activation's derivative there instead. */
int NNL_(gemm)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,
               const real *b, int64_t b_row, int64_t b_col, real *c, int64_t c_row,
               const real *bias, const real *activation_output, int mode, int activation,
               int threads);

/* A matrix b [k, n] in the order in which gemm of this build reads it, once for many products.
 * packed_size: elements [OUT] [1] of it; 0 where gemm gains nothing from it, and pack is not to be
 * called. packed [OUT] [size], aligned to 64 bytes. */
int NNL_(gemm_packed_size)(int64_t k, int64_t n, int64_t *size);
int NNL_(gemm_pack)(int64_t k, int64_t n, const real *b, int64_t b_row, int64_t b_col,
                    real *packed);

/* Gradients (gradInput, gradWeight, gradBias) are never stored below the normal range of their
 * type: a result that lies there becomes 0 with its sign, once it is complete. */

/* Linear: output = act(input weight + bias). input [N, D], output [OUT] [N, K],
 * weight [D, K], bias [K] [OPTIONAL]. */
int NNL_(Linear_updateOutput)(int64_t N, int64_t D, int64_t K, const real *input, real *output,
                              const real *weight, const real *bias, int activation, int threads);
/* gradInput = gradOutput weight^T. gradOutput [N, K], gradInput [OUT] [N, D]. activation_output
 * [N, D] [OPTIONAL]: input, when it is the output of that activation; gradInput is then the
 * gradient of the activation's input. */
int NNL_(Linear_updateGradInput)(int64_t N, int64_t D, int64_t K, const real *gradOutput,
                                 real *gradInput, const real *weight, const real *activation_output,
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

/* LeakyReLU: output = input <= 0 ? negative_slope * input : input (NaN stays NaN). */
int NNL_(LeakyReLU_updateOutput)(int64_t n, const real *input, real *output, real negative_slope,
                                 int threads);
/* gradInput [OUT] [n] = input <= 0 ? negative_slope * gradOutput : gradOutput. */
int NNL_(LeakyReLU_updateGradInput)(int64_t n, const real *input, const real *gradOutput,
                                    real *gradInput, real negative_slope, int threads);

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
 * [OPTIONAL]: finite and >= 0, else NNL_EWEIGHT. A row whose target is ignore_index weighs 0; rows
 * of weight 0 add nothing to the loss and have a gradient of 0, whatever they hold. When all rows
 * weigh 0, the mean is NaN and its gradient 0. bad_row [OUT] [1] is written on NNL_EINDEX alone. */

/* Negative log likelihood: loss is the reduction over rows of -input[i, target[i]] times the
 * weight; input [N, K] log-probabilities, target [N] in [0, K) or ignore_index. */
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

/* correct [OUT] [1]: rows of input [N, K] whose first maximum is at target[i]. A row with NaN is
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

/* c [OUT] [count, m, n]: c_i = a_i b_i for matrices [m, k] and [k, n] whose elements lie at
 * i * next + row * a_row + col * a_col; next 0 broadcasts an operand. mode: 0 or NNL_GRADIENT. */
int NNL_(matmul)(int64_t count, int64_t m, int64_t n, int64_t k, const real *a, int64_t a_next,
                 int64_t a_row, int64_t a_col, const real *b, int64_t b_next, int64_t b_row,
                 int64_t b_col, real *c, int mode, int threads);

/* output [OUT] [outer, inner] = the sum of input [outer, n, inner] over n: with inner = 1 pairwise,
 * in NumPy's order; else chains over n. */
int NNL_(sum)(int64_t outer, int64_t n, int64_t inner, const real *input, real *output,
              int threads);

/* output [OUT] [N, ...] of a program with a bound input and output; it runs in memory of its
 * own. */
int NNL_(Program_predict)(const nnl_program *program, int64_t N, const real *input, real *output,
                          int threads);

/* A module's pass: input [N, width of the first], output [OUT] [N, width of the last]. The
 * program's own memory keeps what backward needs, but for input and output, which are its arguments
 * again. */
int NNL_(Program_forward)(const nnl_program *program, int64_t N, const real *input, real *output,
                          int threads);

/* The backward of that pass: gradOutput [N, width of the last], gradInput [OUT] [OPTIONAL]
 * [N, width of the first]; adds to the gradients of the parameters. */
int NNL_(Program_backward)(const nnl_program *program, int64_t N, const real *input,
                           const real *output, const real *gradOutput, real *gradInput,
                           int threads);

/* Runs all calls of a program on a batch of `rows` rows. */
int NNL_(Program_run)(const nnl_program *program, int64_t rows, int threads);

/* Trains `models` networks, each for its own number of batches, side by side where there are
 * several. Each has its status; returns the first that is not NNL_OK. A network whose loss is not
 * finite has stopped with NNL_EFINITE after backward and before the update; one that was
 * interrupted, with NNL_EINTR: the batches done are done, the next has changed only buffers and
 * gradients, and where the position is after an epoch's last batch, its evaluation is still to
 * do. */
int NNL_(Training_run)(int64_t models, nnl_training *const *trainings, int threads);

/* One network's step on one batch as it lies, with t->todo = 1: input [N, inputs of the first
 * layer]; target int64_t [N], or [N, outputs of the last layer]. The shortest way from Python. */
int NNL_(Training_step)(nnl_training *t, int64_t N, const real *input, const void *target,
                        int threads);

/* Sums of the loss and of correct rows over some data, in blocks of 4096 rows; t->held_output holds
 * min(rows, 4096) outputs. Dropout passes its input on. sums [OUT] [1]. */
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
