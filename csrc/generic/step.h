/* step.h: one recorded layer, forward, outside training; included once for each type. */

/* output [N, outputs] from input [N, inputs]. */
static int T_(run_step)(const nnl_step *s, int64_t N, const real *input, real *output,
                        int threads) {
    int64_t n = N * s->inputs;
    switch (s->layer) {
        case NNL_LINEAR:
            return NNL_(Linear_updateOutput)(N, s->inputs, s->outputs, input, output, s->weight,
                                             s->bias, s->activation, threads);
        case NNL_THRESHOLD:
            return NNL_(Threshold_updateOutput)(n, input, output, (real)s->threshold,
                                                (real)s->value, threads);
        case NNL_LAYER_SIGMOID: return NNL_(Sigmoid_updateOutput)(n, input, output, threads);
        case NNL_LAYER_TANH: return NNL_(Tanh_updateOutput)(n, input, output, threads);
        case NNL_SOFTMAX: return NNL_(SoftMax_updateOutput)(N, s->inputs, input, output, threads);
        case NNL_LOGSOFTMAX:
            return NNL_(LogSoftMax_updateOutput)(N, s->inputs, input, output, threads);
        case NNL_DROPOUT: /* drops only in training */
            if (n > 0) memcpy(output, input, (size_t)n * sizeof *output);
            return NNL_OK;
        default: return NNL_EINVAL;
    }
}
