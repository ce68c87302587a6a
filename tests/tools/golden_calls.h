/* golden_calls.h: programs written call by call, for the groups that run them; once for each type. */

enum { T_(LIST_CALLS) = 40, T_(LIST_BUFFERS) = 48, T_(LIST_COUNTERS) = 4 };

/* A program with the memory of its description. `rows`: of the buffers that it makes; 0: they are the
 * program's own, which only Program_predict gives memory to. */
typedef struct {
    nnl_program p;
    int64_t rows;
    nnl_call calls[T_(LIST_CALLS)];
    void *table[T_(LIST_BUFFERS)], *thread_tables[16 * T_(LIST_BUFFERS)];
    int64_t row_bytes[T_(LIST_BUFFERS)], fixed_bytes[T_(LIST_BUFFERS)], bad_row;
    uint8_t own[T_(LIST_BUFFERS)];
    uint32_t counters[T_(LIST_COUNTERS)], counts[T_(LIST_COUNTERS)];
} T_(list);

static T_(list) *T_(new_list)(int64_t rows) {
    T_(list) *l = take(sizeof *l, 0, true);
    memset(l, 0, sizeof *l);
    l->rows = rows;
    l->bad_row = -1;
    nnl_program *p = &l->p;
    p->calls = l->calls;
    p->table = l->table;
    p->row_bytes = l->row_bytes;
    p->fixed_bytes = l->fixed_bytes;
    p->own = l->own;
    p->counters = l->counters;
    p->counts = l->counts;
    p->bad_row = &l->bad_row;
    p->input = p->target = p->weight = p->output = p->loss = -1;
    return l;
}

/* A buffer that lies at some memory, or is bound to it later; `row`: bytes of one row, or 0. */
static int32_t T_(bound)(T_(list) *l, const void *memory, int64_t row) {
    l->table[l->p.buffers] = (void *)(uintptr_t)memory;
    l->row_bytes[l->p.buffers] = row;
    return (int32_t)l->p.buffers++;
}

/* A buffer of the list's rows. */
static int32_t T_(buffer)(T_(list) *l, int64_t width, size_t unit) {
    int64_t bytes = width * (int64_t)unit;
    void *memory = l->rows > 0 ? (void *)T_(out)(l->rows * width) : NULL;
    int32_t made = T_(bound)(l, memory, bytes);
    l->own[made] = l->rows == 0;
    return made;
}

/* A call whose operands are walked from their beginnings; -1: none. */
static nnl_call *T_(add_call)(T_(list) *l, int op, int32_t out, int32_t a, int32_t b, int32_t c) {
    nnl_call *call = &l->calls[l->p.count++];
    const int32_t slots[6] = {out, -1, a, b, c, -1};
    *call = (nnl_call){.op = op, .size = {1, 1, 1, 1}};
    for (int i = 0; i < 6; i++) call->slot[i].buffer = slots[i];
    return call;
}

/* A call on the rows of the batch: of contiguous elements, of rows, or with steps of 1. */
static nnl_call *T_(row_call)(T_(list) *l, int op, int64_t width, int32_t out, int32_t a,
                              int32_t b) {
    bool rows = op >= NNL_OP_SOFTMAX && op <= NNL_OP_LOG_SOFTMAX_GRAD;
    nnl_call *call = T_(add_call)(l, op, out, a, b, -1);
    call->size[rows ? 3 : 0] = width;
    call->batch = 1;
    call->by_row = 1;
    return call;
}

static void T_(walk)(nnl_call *call, int slot, int64_t i, int64_t j, int64_t k, int64_t l) {
    const int64_t stride[4] = {i, j, k, l};
    memcpy(call->slot[slot].stride, stride, sizeof stride);
}

/* ---- networks ---- */

/* A layer: NNL_OP_GEMM is a Linear. x and y: buffers of its input and output. */
typedef struct {
    int op, activation;
    int64_t in, out;
    real *weight, *bias, *grad_weight, *grad_bias;
    int32_t x, y, weight_buffer;
    uint32_t purpose;
} T_(layer);

/* Calls of a Linear for the rows of the batch; also of its input's gradient, with W transposed. */
static nnl_call *T_(linear_call)(T_(list) *l, int64_t D, int64_t K, int32_t y, int32_t x,
                                 int32_t weight, bool transposed) {
    nnl_call *call = T_(add_call)(l, NNL_OP_GEMM, y, x, weight, -1);
    call->size[2] = K;
    call->size[3] = D;
    call->batch = 2;
    call->by_row = 1;
    T_(walk)(call, 0, 0, K, 1, 0);
    T_(walk)(call, 2, 0, D, 1, 0);
    T_(walk)(call, 3, 0, transposed ? 1 : K, transposed ? D : 1, 0);
    return call;
}

/* The calls of all layers from buffer x on; without `training`, Dropout passes its input on. */
static int32_t T_(forward_calls)(T_(list) *l, T_(layer) *layers, int count, int32_t x,
                                 bool training) {
    for (int i = 0; i < count; i++) {
        T_(layer) *s = &layers[i];
        s->x = x;
        if (s->op == NNL_OP_DROPOUT && !training) continue;
        x = s->y = T_(buffer)(l, s->out, sizeof(real));
        if (s->op == NNL_OP_GEMM) {
            s->weight_buffer = T_(bound)(l, s->weight, 0);
            nnl_call *call = T_(linear_call)(l, s->in, s->out, s->y, s->x, s->weight_buffer, false);
            call->activation = s->activation;
            call->slot[4].buffer = s->bias ? T_(bound)(l, s->bias, 0) : -1;
            continue;
        }
        nnl_call *call = T_(row_call)(l, s->op, s->out, s->y, s->x, -1);
        if (s->op != NNL_OP_DROPOUT) continue;
        call->number = 0.25;
        call->seed = SEED;
        call->purpose = s->purpose;
        call->integer = l->p.counter_count;
        l->counts[l->p.counter_count++] = 1;
    }
    return x;
}

/* The gradients of a Linear's parameters, from that of its output; `early`: no later call reads W. */
static void T_(weight_calls)(T_(list) *l, const T_(layer) *s, int32_t grad, bool early) {
    nnl_call *call = T_(add_call)(l, NNL_OP_GEMM, T_(bound)(l, s->grad_weight, 0), s->x, grad, -1);
    call->size[1] = s->in;
    call->size[2] = s->out;
    call->batch = 8;
    call->flag = NNL_GRADIENT;
    call->weight = early ? 1 + s->weight_buffer : 0;
    T_(walk)(call, 0, 0, s->out, 1, 0);
    T_(walk)(call, 2, 0, 1, s->in, 0);
    T_(walk)(call, 3, 0, s->out, 1, 0);
    if (s->grad_bias) call->slot[1].buffer = T_(bound)(l, s->grad_bias, 0);
}

static int T_(grad_op)(int activation) {
    return activation == NNL_RELU      ? NNL_OP_RELU_GRAD
           : activation == NNL_SIGMOID ? NNL_OP_SIGMOID_GRAD
                                       : NNL_OP_TANH_GRAD;
}

/* The gradient of a layer's input. A Linear above another one takes the derivative of that one's
 * activation with it, where `epilogues` says so. */
static int32_t T_(input_grad)(T_(list) *l, const T_(layer) *s, int32_t grad, bool epilogues) {
    int32_t grad_input = T_(buffer)(l, s->in, sizeof(real));
    if (s->op == NNL_OP_GEMM) {
        nnl_call *call =
            T_(linear_call)(l, s->out, s->in, grad_input, grad, s->weight_buffer, true);
        call->flag = NNL_GRADIENT;
        if (epilogues && s[-1].op == NNL_OP_GEMM && s[-1].activation) {
            call->slot[5].buffer = s->x;
            call->activation = s[-1].activation;
        }
    } else if (s->op == NNL_OP_DROPOUT) {
        nnl_call *forward = l->calls;
        while (forward->op != s->op || forward->purpose != s->purpose) forward++;
        nnl_call *call = T_(row_call)(l, s->op, s->in, grad_input, grad, -1);
        const nnl_slot slots[2] = {call->slot[0], call->slot[2]};
        *call = *forward;
        call->slot[0] = slots[0];
        call->slot[2] = slots[1];
        call->flag = 1;
    } else {
        int op = s->op == NNL_OP_SOFTMAX       ? NNL_OP_SOFTMAX_GRAD
                 : s->op == NNL_OP_LOG_SOFTMAX ? NNL_OP_LOG_SOFTMAX_GRAD
                 : s->op == NNL_OP_RELU        ? NNL_OP_RELU_GRAD
                 : s->op == NNL_OP_SIGMOID     ? NNL_OP_SIGMOID_GRAD
                                               : NNL_OP_TANH_GRAD;
        T_(row_call)(l, op, s->in, grad_input, s->y, grad);
    }
    return grad_input;
}

/* All gradients from that of the last output: by rows first, and then of the weights, which may be
 * updated early; or without `epilogues` layer by layer. */
static void T_(backward_calls)(T_(list) *l, const T_(layer) *layers, int count, int32_t grad,
                               bool epilogues) {
    int32_t grads[8] = {0};
    for (int i = count - 1; i >= 0; i--) {
        const T_(layer) *s = &layers[i];
        bool in_epilogue = epilogues && i + 1 < count && s[1].op == NNL_OP_GEMM;
        if (s->op == NNL_OP_GEMM && s->activation && !in_epilogue) {
            int32_t activation_grad = T_(buffer)(l, s->out, sizeof(real));
            T_(row_call)(l, T_(grad_op)(s->activation), s->out, activation_grad, s->y, grad);
            grad = activation_grad;
        }
        grads[i] = grad;
        if (s->op == NNL_OP_GEMM && !epilogues) T_(weight_calls)(l, s, grad, false);
        if (i > 0) grad = T_(input_grad)(l, s, grad, epilogues);
    }
    for (int i = count - 1; epilogues && i >= 0; i--) {
        if (layers[i].op == NNL_OP_GEMM) T_(weight_calls)(l, &layers[i], grads[i], true);
    }
}

/* A loss of the batch's rows: its own buffer, and the gradient of `output` where it is wanted. */
static nnl_call *T_(loss_call)(T_(list) *l, int op, int64_t K, int32_t output, int32_t target,
                               int32_t weight, bool gradient) {
    real *loss = T_(out)(2);
    int32_t grad = gradient ? T_(buffer)(l, K, sizeof(real)) : -1;
    nnl_call *call = T_(add_call)(l, op, T_(bound)(l, loss, 0), output, target, -1);
    call->size[3] = K;
    call->batch = 1;
    call->reduction = NNL_MEAN;
    call->integer = -100;
    call->slot[1].buffer = grad;
    call->slot[5].buffer = weight;
    l->p.loss = call->slot[0].buffer;
    l->p.weighed = 1;
    return call;
}
