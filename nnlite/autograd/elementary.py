"""Elementary functions of elements. Where a kernel exists it computes; sin and cos are NumPy's.

Kernels give the same bits on every machine; NumPy's functions are as exact as NumPy's are there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional, ops
from .arithmetic import square, where
from .operation import Elementwise, unary, value_of

TWO_OVER_ROOT_PI = 1.1283791670955126  # 2 / sqrt(pi), rounded to double


def kernel(function: Any) -> Any:
    """A kernel of one array, for arrays of any layout."""

    def forward(x: Any) -> Any:
        flags = x.flags
        if flags.carray:
            return function(x)
        return function(np.array(x, order="C"))

    return staticmethod(forward)


def kernel2(function: Any) -> Any:
    """A kernel gradient (saved, g) as the vjp of an operation that kept its output."""

    def vjp(g: Any, need: Any, y: Any) -> Any:
        return function(y, contiguous(g))

    return staticmethod(vjp)


def contiguous(x: Any) -> Any:
    """A plain, writable, C-contiguous array: x itself where it is one."""
    if type(x) is np.ndarray and x.flags.carray:
        return x
    return np.array(x, order="C")


class Exp(Elementwise):
    """e^x; dx = g y."""

    keeps_output = True
    forward = kernel(functional.exp)

    @staticmethod
    def derivative(y: Any) -> Any:
        return y


class Expm1(Elementwise):
    """e^x - 1, exact near 0; dx = g (y + 1)."""

    keeps_output = True
    forward = kernel(functional.expm1)

    @staticmethod
    def derivative(y: Any) -> Any:
        return y + 1.0


class Log(Elementwise):
    """The natural logarithm; dx = g / x."""

    keeps_inputs = True
    forward = kernel(functional.log)

    @staticmethod
    def derivative(x: Any) -> Any:
        return 1.0 / x

    @staticmethod
    def vjp(g: Any, need: Any, x: Any) -> Any:
        return g / x


class Log1p(Elementwise):
    """log(1 + x), exact near 0; dx = g / (1 + x)."""

    keeps_inputs = True
    forward = kernel(functional.log1p)

    @staticmethod
    def derivative(x: Any) -> Any:
        return 1.0 / (x + 1.0)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any) -> Any:
        return g / (x + 1.0)


class Sin(Elementwise):
    """sin x; dx = g cos x."""

    keeps_inputs = True
    forward = np.sin

    @staticmethod
    def derivative(x: Any) -> Any:
        return cos(x)


class Cos(Elementwise):
    """cos x; dx = -g sin x."""

    keeps_inputs = True
    forward = np.cos

    @staticmethod
    def derivative(x: Any) -> Any:
        return -sin(x)


class Erf(Elementwise):
    """The error function; dx = g 2 / sqrt(pi) e^(-x^2)."""

    keeps_inputs = True
    forward = kernel(functional.erf)

    @staticmethod
    def derivative(x: Any) -> Any:
        return exp(-square(x)) * TWO_OVER_ROOT_PI


class Sigmoid(Elementwise):
    """1 / (1 + e^-x), without overflow; dx = g y (1 - y)."""

    keeps_output = True
    forward = kernel(functional.sigmoid)
    vjp_arrays = kernel2(ops.Sigmoid.grad_input)

    @staticmethod
    def derivative(y: Any) -> Any:
        return y * (1.0 - y)


class Tanh(Elementwise):
    """tanh x; dx = g (1 - y^2)."""

    keeps_output = True
    forward = kernel(functional.tanh)
    vjp_arrays = kernel2(ops.Tanh.grad_input)

    @staticmethod
    def derivative(y: Any) -> Any:
        return 1.0 - square(y)


class Relu(Elementwise):
    """max(x, 0); dx = g where y > 0, else 0: the gradient at 0 is 0, NaN stays NaN."""

    keeps_output = True
    forward = kernel(functional.relu)
    vjp_arrays = kernel2(ops.Threshold.grad_input)

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        return where(~(value_of(y) <= 0), g, 0.0)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return where(~(value_of(out) <= 0), tangents[0], 0.0)


class Softplus(Elementwise):
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|), without overflow; dx = g sigmoid(x)."""

    keeps_inputs = True

    @staticmethod
    def forward(x: Any) -> Any:
        return functional.log1p(functional.exp(contiguous(-np.abs(x)))) + np.maximum(x, 0)

    @staticmethod
    def derivative(x: Any) -> Any:
        return sigmoid(x)


exp, expm1, log, log1p = unary(Exp), unary(Expm1), unary(Log), unary(Log1p)
sin, cos, erf = unary(Sin), unary(Cos), unary(Erf)
sigmoid, tanh, relu, softplus = unary(Sigmoid), unary(Tanh), unary(Relu), unary(Softplus)
