"""Modules without parameters around one operation."""

from __future__ import annotations

from typing import Any

from .. import autograd
from .module import Module


class Activation(Module):
    """The function of nnlite.autograd that has the name `_operation`."""

    def _formula(self, x: Any) -> Any:
        return getattr(autograd, self._operation)(x)


class ReLU(Activation):
    """max(x, 0) of each element; the gradient at 0 is 0, NaN stays NaN."""

    _operation = "relu"


class Sigmoid(Activation):
    """1 / (1 + e^-x) of each element; dx = dy y (1 - y)."""

    _operation = "sigmoid"


class Tanh(Activation):
    """tanh(x) of each element; dx = dy (1 - y^2)."""

    _operation = "tanh"


class Softmax(Activation):
    """e^x_k / sum_j e^x_j along the last axis, stable for logits of any finite size.

    For training a classifier use SoftmaxCE on the logits instead, which is stable and faster.
    """

    _operation = "softmax"


class LogSoftmax(Activation):
    """x_k - log sum_j e^x_j along the last axis; followed by NLLLoss it is SoftmaxCE."""

    _operation = "log_softmax"
