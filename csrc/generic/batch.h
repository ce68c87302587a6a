/* batch.h: one batch of a training program: its rows, its loss, and each recorded layer forward and
 * backward on any rows of it. Training.c, which includes it for each type, goes through all rows layer
 * by layer; team.h shares them between threads. */

/* loss [OUT] [2]; grad [OUT] [N, K] or NULL: the gradient of the loss by the output. */
static int T_(run_loss)(const nnl_loss *l, int64_t N, int64_t K, const real *output,
                        const void *target, const real *weight, real *loss, real *grad,
                        int64_t *bad_row, int threads) {
    const int64_t *classes = l->classes ? target : NULL;
    const real *values = l->classes ? NULL : target;
    int status;
    switch (l->criterion) {
        case NNL_CROSS_ENTROPY:
            return NNL_(CrossEntropyCriterion_updateOutput)(
                N, K, output, classes, values, loss, grad, l->class_weight, weight, bad_row,
                l->smoothing, l->ignore_index, l->reduction, threads);
        case NNL_NLL:
            status = NNL_(ClassNLLCriterion_updateOutput)(N, K, output, classes, loss,
                                                          l->class_weight, weight, bad_row,
                                                          l->ignore_index, l->reduction);
            if (status != NNL_OK || !grad) return status;
            return NNL_(ClassNLLCriterion_updateGradInput)(N, K, classes, grad, l->class_weight,
                                                           weight, bad_row, 1, l->ignore_index,
                                                           l->reduction);
        case NNL_MSE:
            status = NNL_(MSECriterion_updateOutput)(N, K, output, values, loss, weight,
                                                     l->reduction, threads);
            if (status != NNL_OK || !grad) return status;
            return NNL_(MSECriterion_updateGradInput)(N, K, output, values, grad, weight, 1,
                                                      l->reduction, threads);
        default: return NNL_EINVAL;
    }
}

/* One batch as the kernels take it. */
typedef struct {
    int64_t N;
    const int64_t *order; /* the rows' numbers in the data; NULL: as they lie, and not copied */
    const real *input, *weight;
    const void *target;
} T_(batch);

/* Numbers [row, row + N) of the order, in the subset where there is one, to t->index; false where
 * one is out of range. */
static bool T_(take_order)(nnl_training *t, int64_t row, int64_t N) {
    const nnl_data *d = &t->data;
    for (int64_t i = 0; i < N; i++) {
        int64_t at = t->order_bytes == 4 ? ((const uint32_t *)t->order)[row + i]
                                         : ((const int64_t *)t->order)[row + i];
        if (d->subset && (at < 0 || at >= d->rows)) {
            t->bad_row = i;
            return false;
        }
        t->index[i] = d->subset ? d->subset[at] : at;
    }
    return true;
}

/* Rows [row, row + N) of an order, or of the data as they lie: all of them but the inputs. */
static int T_(begin_batch)(nnl_training *t, int64_t row, T_(batch) *b) {
    const nnl_data *d = &t->data;
    int64_t columns = t->steps[t->count - 1].outputs;
    b->N = nnl_min(t->batch, d->rows - row);
    b->order = NULL;
    if (!t->order && !d->subset) {
        b->input = (const real *)d->input + row * t->steps[0].inputs;
        b->weight = d->weight ? (const real *)d->weight + row : NULL;
        b->target = t->loss.classes ? (const void *)((const int64_t *)d->target + row)
                                    : (const void *)((const real *)d->target + row * columns);
        return NNL_OK;
    }
    const int64_t *order = d->subset + row;
    if (t->order) {
        if (!T_(take_order)(t, row, b->N)) return NNL_EINDEX;
        order = t->index;
    }
    b->order = order;
    b->input = t->input;
    b->weight = d->weight ? t->weight : NULL;
    b->target = t->target;
    int status = nnl_check_targets(b->N, d->source, order, &t->bad_row);
    if (status == NNL_OK && d->weight) {
        status = NNL_(gather_rows)(b->N, 1, d->source, d->weight, order, t->weight, &t->bad_row);
    }
    if (status == NNL_OK && !t->loss.classes) {
        return NNL_(gather_rows)(b->N, columns, d->source, d->target, order, t->target,
                                 &t->bad_row);
    }
    for (int64_t i = 0; status == NNL_OK && i < b->N; i++) {
        ((int64_t *)t->target)[i] = ((const int64_t *)d->target)[order[i]];
    }
    return status;
}

/* The inputs of a batch that goes by an order, whose numbers have been checked, to `to` [N, inputs]. */
static int T_(gather_inputs)(const nnl_training *t, const T_(batch) *b, real *to) {
    int64_t bad_row;
    return NNL_(gather_rows)(b->N, t->steps[0].inputs, t->data.source, t->data.input, b->order, to,
                             &bad_row);
}

/* What layer i takes in, from row `begin` of the batch on; and the gradient of the loss by what it
 * gives, in its place. */
static const real *T_(input_of)(const nnl_training *t, int64_t i, const T_(batch) *b,
                                int64_t begin) {
    return (i > 0 ? (const real *)t->steps[i - 1].output : b->input) + begin * t->steps[i].inputs;
}
static real *T_(grad_of)(const nnl_step *s, int64_t begin) {
    return (real *)s->gradOutput + begin * s->outputs;
}

/* A Dropout, forward or backward, on N rows from row `begin` of the batch on. */
static int T_(drop)(const nnl_step *s, int64_t begin, int64_t N, const real *input, real *output,
                    bool gradient, int threads) {
    return NNL_(dropout_part)(begin * s->inputs, N * s->inputs, input, output, s->rate, s->seed,
                              s->purpose, s->counter, gradient, threads);
}

/* N rows of the batch from row `begin` on through the layers from `first` on. */
static int T_(forward)(nnl_training *t, int64_t first, const T_(batch) *b, int64_t begin, int64_t N,
                       int threads) {
    for (int64_t i = first; i < t->count; i++) {
        const nnl_step *s = &t->steps[i];
        const real *input = T_(input_of)(t, i, b, begin);
        real *output = (real *)s->output + begin * s->outputs;
        int status = s->layer == NNL_DROPOUT ? T_(drop)(s, begin, N, input, output, false, threads)
                                             : T_(run_step)(s, N, input, output, threads);
        if (status != NNL_OK) return status;
    }
    return NNL_OK;
}

/* grad [INOUT] [n]: by an activation's output -> by its input. */
static int T_(through_activation)(int activation, int64_t n, const real *output, real *grad,
                                  int threads) {
    switch (activation) {
        case NNL_RELU: return NNL_(Threshold_updateGradInput)(n, output, grad, grad, 0, threads);
        case NNL_SIGMOID: return NNL_(Sigmoid_updateGradInput)(n, output, grad, grad, threads);
        case NNL_TANH: return NNL_(Tanh_updateGradInput)(n, output, grad, grad, threads);
        default: return NNL_OK;
    }
}

/* A layer without parameters backward, N rows from row `begin` of the batch on: grad [N, outputs] ->
 * next [N, inputs], which may be grad for all but the softmaxes. */
static int T_(plain_backward)(const nnl_step *s, int64_t begin, int64_t N, const real *input,
                              const real *output, const real *grad, real *next, int threads) {
    int64_t n = N * s->inputs;
    bool relu = s->threshold == 0 && s->value == 0; /* the output is then positive like the input */
    switch (s->layer) {
        case NNL_THRESHOLD:
            return NNL_(Threshold_updateGradInput)(n, relu ? output : input, grad, next,
                                                   (real)s->threshold, threads);
        case NNL_LAYER_SIGMOID:
            return NNL_(Sigmoid_updateGradInput)(n, output, grad, next, threads);
        case NNL_LAYER_TANH: return NNL_(Tanh_updateGradInput)(n, output, grad, next, threads);
        case NNL_DROPOUT: return T_(drop)(s, begin, N, grad, next, true, threads);
        case NNL_SOFTMAX:
            return NNL_(SoftMax_updateGradInput)(N, s->inputs, output, grad, next, threads);
        case NNL_LOGSOFTMAX:
            return NNL_(LogSoftMax_updateGradInput)(N, s->inputs, output, grad, next, threads);
        default: return NNL_EINVAL;
    }
}

/* True for a layer that is trained: the gradient of a frozen parameter has no place. */
static bool T_(is_trained)(const nnl_step *s) {
    return s->layer == NNL_LINEAR && (s->gradWeight || s->gradBias);
}

/* The first layer that is trained: no gradient is needed below it. */
static int64_t T_(first_trained)(const nnl_training *t) {
    int64_t first = 0;
    while (first < t->count && !T_(is_trained)(&t->steps[first])) first++;
    return first;
}

/* N rows from row `begin` on: from the gradient of layer i's output to that of its input, which is
 * the output of layer i - 1. Between two Linears the activation of the lower one goes with the
 * product. */
static int T_(grad_input)(nnl_training *t, int64_t i, bool lowest, const T_(batch) *b,
                          int64_t begin, int64_t N, int threads) {
    const nnl_step *s = &t->steps[i];
    const real *input = T_(input_of)(t, i, b, begin);
    const real *output = (const real *)s->output + begin * s->outputs;
    real *grad = T_(grad_of)(s, begin), *next = lowest ? NULL : T_(grad_of)(s - 1, begin);
    if (s->layer != NNL_LINEAR) {
        return T_(plain_backward)(s, begin, N, input, output, grad, next, threads);
    }
    bool through = i + 1 < t->count && s[1].layer == NNL_LINEAR;
    int activation = through ? NNL_IDENTITY : s->activation;
    int status = T_(through_activation)(activation, N * s->outputs, output, grad, threads);
    if (status != NNL_OK || lowest) return status;
    int below = s[-1].layer == NNL_LINEAR ? s[-1].activation : NNL_IDENTITY;
    return NNL_(Linear_updateGradInput)(N, s->inputs, s->outputs, grad, next, s->weight,
                                        below ? input : NULL, below, threads);
}

/* Rows [d0, d1) of the gradient of a Linear's weight, at gradWeight; and with row 0, of its bias. As
 * accGradParameters adds to zeros; but the zeros of the weights are neither written nor read. A frozen
 * weight has no gradient: the product has no rows, and the sums for the bias are left. */
static int T_(grad_weight)(const nnl_step *s, int64_t d0, int64_t d1, int64_t N, const real *input,
                           real *gradWeight, int threads) {
    int64_t D = s->inputs, K = s->outputs;
    real *sums = d0 == 0 ? s->gradBias : NULL;
    if (sums) memset(sums, 0, (size_t)K * sizeof(real));
    if (!gradWeight) d1 = d0;
    return NNL_(gemm_and_sums)(d1 - d0, K, N, input + d0, 1, D, s->gradOutput, K, 1, gradWeight, K,
                               NULL, NULL, sums, NNL_GRADIENT, NNL_IDENTITY, threads);
}

/* Multiply-adds of vectors in one row of a batch, forward. A weight of few columns makes vectors of
 * its rows. */
static int64_t T_(row_work)(const nnl_step *s) {
    if (s->layer != NNL_LINEAR) return 0;
    bool wide = s->outputs >= VLANES;
    int64_t vectors = nnl_ceil_div(wide ? s->outputs : s->inputs, VLANES);
    return (wide ? s->inputs : s->outputs) * vectors;
}
