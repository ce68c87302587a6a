"""Activation modules: state around the operations of nnlite.ops."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import autograd, ops
from .module import Module


class _Activation(Module):
    """A module without parameters around one operation whose gradient needs one saved array."""

    op: ClassVar[Any]
    function: ClassVar[str]  # the same in nnlite.autograd, for Tensors
    fused: ClassVar[str | None] = None  # the name under which a Linear before it computes it

    def _run(self, x: np.ndarray, keep: bool) -> np.ndarray:
        y, saved = self.op.forward(x)
        if keep:
            self._keep(saved)
        return y

    def _graph(self, x: Any) -> Any:
        function = getattr(autograd, self.function)
        return super()._graph(x) if type(self)._run is not _Activation._run else function(x)

    def _grad(self, saved: np.ndarray, grad_output: np.ndarray, want_input: bool) -> Any:
        return self.op.grad_input(saved, grad_output) if want_input else None


class ReLU(_Activation):
    """max(x, 0) of each element; the gradient at 0 is 0, NaN stays NaN."""

    op = ops.Threshold
    function = "relu"
    fused = "relu"


class Sigmoid(_Activation):
    """1 / (1 + e^-x) of each element; dx = dy y (1 - y)."""

    op = ops.Sigmoid
    function = "sigmoid"
    fused = "sigmoid"


class Tanh(_Activation):
    """tanh(x) of each element; dx = dy (1 - y^2)."""

    op = ops.Tanh
    function = "tanh"
    fused = "tanh"


class Softmax(_Activation):
    """e^x_k / sum_j e^x_j along the last axis, stable for logits of any finite size.

    For training a classifier use SoftmaxCE on the logits instead, which is stable and faster.
    """

    op = ops.SoftMax
    function = "softmax"


class LogSoftmax(_Activation):
    """x_k - log sum_j e^x_j along the last axis; followed by NLLLoss it is SoftmaxCE."""

    op = ops.LogSoftMax
    function = "log_softmax"
