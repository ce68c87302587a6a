"""nnlite itself, used as its README shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import nnlite as nn
from nnlite._core import native
from nnlite.bench.cases import STEPS, Case
from nnlite.bench.peers import Kernel
from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task

# Products inside one C call: enough that the call is lost among them.
REPEATS = 100


def _model(task: Task) -> nn.Sequential:
    linears = [nn.Linear(*weight.shape) for weight, _ in task.layers]
    for linear, values in zip(linears, task.layers, strict=True):
        for parameter, value in zip(linear.parameters(), values, strict=True):
            parameter.data[...] = value
    *hidden, last = linears
    if task.workload.residual:
        pairs = zip(hidden[::2], hidden[1::2], strict=True)
        blocks = [nn.Residual(nn.Sequential(a, nn.ReLU(), b)) for a, b in pairs]
        return nn.Sequential(*blocks, last)
    return nn.Sequential(*[m for linear in hidden for m in (linear, nn.ReLU())], last)


def training(task: Task) -> Callable[[], float]:
    model, optim = _model(task), cast(Any, nn.optim)  # Adam may be there or not
    if task.workload.optimizer == "adam":
        optimizer = optim.Adam(model.parameters(), lr=LEARNING_RATE)
    else:
        optimizer = optim.SGD(
            model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY, decay_bias=True,  # as the peers do
        )  # fmt: skip
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    return lambda: trainer.train_step(task.x, task.y)


def inference(task: Task) -> Callable[[], NDArray[np.float32]]:
    model = _model(task)
    model.eval()
    return lambda: model.predict(task.x)


def frozen(task: Task) -> Callable[[], NDArray[np.float32]]:
    model = _model(task).freeze()
    return lambda: model.predict(task.x)


def kernel(case: Case, inputs: tuple[NDArray, ...]) -> Kernel:
    if case.flops:
        return _product(case, *inputs)
    if case.kernel in STEPS:
        return _step(case, *inputs)
    out = np.empty_like(inputs[0])
    if case.kernel == "softmax_ce":
        x, target = inputs
        return Kernel(partial(nn.functional.softmax_ce, x, target, grad=out), lambda: out)
    if case.kernel == "dropout":
        return Kernel(partial(nn.functional.dropout, inputs[0], 0.5, 0, out=out), lambda: out)
    return Kernel(partial(getattr(nn.functional, case.kernel), inputs[0], out), lambda: out)


def _step(case: Case, weight: NDArray, grad: NDArray) -> Kernel:
    parameter = nn.Parameter(weight)
    parameter.grad[...] = grad
    options = {"momentum": MOMENTUM} if case.kernel == "SGD" else {}
    optimizer = getattr(nn.optim, case.kernel)(parameter, lr=LEARNING_RATE, **options)
    return Kernel(optimizer.step, lambda: parameter.data)


def _product(case: Case, a: NDArray, b: NDArray) -> Kernel:
    m, k, n = case.shape
    out = np.empty((m, n), a.dtype)
    if case.door == "functional":
        turned = case.kernel == "tn", case.kernel == "nt"
        return Kernel(partial(nn.functional.matmul, a, b, *turned, out), lambda: out)
    a_steps = (1, m) if case.kernel == "tn" else (k, 1)
    b_steps = (1, k) if case.kernel == "nt" else (n, 1)
    # A pointer keeps its array alive, and the partial keeps the pointers.
    pointers = [native.pointer(array) for array in (a, b, out)]
    words = m, n, k, pointers[0], *a_steps, pointers[1], *b_steps, pointers[2], n
    kernels = native.kernels(a.dtype)
    if case.door == "pointers":
        start = native.NULL, native.NULL, 0, native.IDENTITY
        return Kernel(partial(kernels.gemm, *words, *start, case.threads), lambda: out)
    run = partial(kernels.roofline_gemm, REPEATS, *words, case.threads)
    return Kernel(run, lambda: out, REPEATS)
