"""NumPy: the baseline. Its matrix products run in the BLAS that NumPy was built with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nnlite.bench import baseline
from nnlite.bench.cases import Case
from nnlite.bench.peers import Kernel
from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task


def training(task: Task) -> Callable[[], float]:
    optimizer: baseline.Optimizer
    if task.workload.optimizer == "adam":
        optimizer = baseline.Adam(LEARNING_RATE)
    else:
        optimizer = baseline.SGD(LEARNING_RATE, MOMENTUM, WEIGHT_DECAY)
    model = baseline.MLP(task.layers, optimizer, task.workload.residual)
    return lambda: model.train_step(task.x, task.y)


def inference(task: Task) -> Callable[[], NDArray[np.floating]]:
    model = baseline.MLP(task.layers, residual=task.workload.residual)
    return lambda: model.predict(task.x)


def _sigmoid(x: NDArray, out: NDArray) -> None:
    np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    np.reciprocal(out, out=out)


def _relu(x: NDArray, out: NDArray) -> None:
    np.maximum(x, 0, out=out)


def _softmax(x: NDArray, out: NDArray) -> None:
    np.subtract(x, x.max(axis=1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=1, keepdims=True)


def _log_softmax(x: NDArray, out: NDArray) -> None:
    largest = x.max(axis=1, keepdims=True)
    np.subtract(x, largest, out=out)
    np.exp(out, out=out)
    np.subtract(x, largest + np.log(out.sum(axis=1, keepdims=True)), out=out)


def _softmax_ce(x: NDArray, target: NDArray, out: NDArray) -> float:
    """The mean loss; its gradient in `out`."""
    row = np.arange(len(x))
    np.subtract(x, x.max(axis=1, keepdims=True), out=out)
    correct = out[row, target]
    np.exp(out, out=out)
    total = out.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - correct))
    out /= total
    out[row, target] -= 1
    out *= x.dtype.type(1 / len(x))
    return loss


FUNCTIONS: dict[str, Callable[..., object]] = {
    **{name: getattr(np, name) for name in ("exp", "log", "tanh", "expm1", "log1p")},
    **{"sigmoid": _sigmoid, "relu": _relu},
    **{"softmax": _softmax, "log_softmax": _log_softmax, "softmax_ce": _softmax_ce},
}


def kernel(case: Case, inputs: tuple[NDArray, ...]) -> Kernel:
    """The kernel as a good NumPy programmer would write it."""
    if case.flops:
        a, b = inputs
        a = a.T if case.kernel == "tn" else a
        b = b.T if case.kernel == "nt" else b
        product = np.empty((len(a), b.shape[1]), a.dtype)
        return Kernel(partial(np.matmul, a, b, out=product), lambda: product)
    if case.kernel not in FUNCTIONS:
        raise NotImplementedError(f"NumPy has no {case.kernel}")
    out = np.empty_like(inputs[0])
    return Kernel(partial(FUNCTIONS[case.kernel], *inputs, out=out), lambda: out)
