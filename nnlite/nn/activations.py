"""Modules without parameters around one operation."""

from __future__ import annotations

import math
from typing import Any

from .. import autograd
from .._core import check
from .module import Module


class Activation(Module):
    """The function of nnlite.autograd that has the name `_operation`."""

    def _formula(self, x: Any) -> Any:
        return getattr(autograd, self._operation)(x)


class ReLU(Activation):
    """max(x, 0) of each element; the gradient at 0 is 0, NaN stays NaN."""

    _operation = "relu"


class LeakyReLU(Activation):
    """x where x > 0, else negative_slope x; dx = dy where x > 0, else negative_slope dy.

    Args:
        negative_slope: any finite number; default 0.01.

    Raises:
        TypeError, ValueError: negative_slope is no finite number.

    Source: Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models",
    ICML 2013.
    """

    recorded = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        slope = check.number("LeakyReLU", "negative_slope", negative_slope, -math.inf)
        self.negative_slope = slope

    def _formula(self, x: Any) -> Any:
        return autograd.leaky_relu(x, self.negative_slope)


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
