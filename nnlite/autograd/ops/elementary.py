"""Elementary functions of elements. Where a kernel exists it computes; sin and cos are NumPy's.

Kernels give the same bits on every machine; NumPy's functions are as exact as NumPy's are there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import functional
from ..._core import check, native
from ..._core.config import _State
from ..operation import Elementwise, Operation, apply, unary
from .arithmetic import square

TWO_OVER_ROOT_PI = 1.1283791670955126  # 2 / sqrt(pi), rounded to double


def kernel(function: Any) -> Any:
    """A kernel of one array, for arrays of any layout."""

    def forward(x: Any) -> Any:
        flags = x.flags
        if flags.carray:
            return function(x)
        return function(np.array(x, order="C"))

    return staticmethod(forward)


def of_output(name: str, *numbers: float, rows: bool = False) -> Any:
    """The kernel (y, g) of a gradient that the output y and its own gradient g determine, for
    contiguous arrays: of elements, or of rows; `numbers` are its settings."""

    def gradient(y: np.ndarray, g: np.ndarray) -> np.ndarray:
        out = np.empty(y.shape, y.dtype)
        if g.size != out.size:
            check.unfit(name, g, y)
        sizes: tuple[int, ...] = (out.size,)
        if rows:
            sizes = out.size // max(y.shape[-1], 1), y.shape[-1]
        kernels, pointer = native.F32 if y.dtype.itemsize == 4 else native.F64, native.from_buffer
        kind = kernels.array
        status = getattr(kernels, name)(
            *sizes, pointer(kind, y), pointer(kind, g), pointer(kind, out), *numbers,
            _State.threads,
        )  # fmt: skip
        if status:
            native.fail(name, status)
        return out

    return staticmethod(gradient)


def gradient_kernel(op: Any) -> Any:
    """The function (y, g) of a gradient kernel that is an operation."""
    kernel = op.kernel

    def call(y: Any, g: Any) -> Any:
        if type(g) is np.ndarray and type(y) is np.ndarray:
            return kernel(y, contiguous(g))
        return apply(op, y, g)

    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = op.__doc__
    return call


class FromOutput(Elementwise):
    """y_i = f(x_i) whose gradient a kernel computes from g and y: `gradient(y, g)`."""

    keeps_output = True
    walk = "elements"
    gradient: Any

    @classmethod
    def vjp(cls, g: Any, need: Any, y: Any) -> Any:
        return cls.gradient(y, g)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return cls.gradient(out, tangents[0])


class GradientKernel(Operation):
    """The gradient of the input from the output y and its own gradient g; linear in g."""

    keeps_inputs = True
    walk = "elements"
    kernel: Any

    @classmethod
    def forward(cls, y: Any, g: Any) -> Any:
        return cls.kernel(contiguous(y), contiguous(g))


def contiguous(x: Any) -> Any:
    """A plain, writable, C-contiguous array: x itself where it is one."""
    if type(x) is np.ndarray and x.flags.carray:
        return x
    return np.array(x, order="C")


class Exp(Elementwise):
    """e^x; dx = g y."""

    instruction, walk = "EXP", "elements"
    keeps_output = True
    forward = kernel(functional.exp)
    numpy = "np.exp({0})"

    @staticmethod
    def derivative(y: Any) -> Any:
        return y


class Expm1(Elementwise):
    """e^x - 1, exact near 0; dx = g (y + 1)."""

    instruction, walk = "EXPM1", "elements"
    keeps_output = True
    forward = kernel(functional.expm1)
    numpy = "np.expm1({0})"

    @staticmethod
    def derivative(y: Any) -> Any:
        return y + 1.0


class Log(Elementwise):
    """The natural logarithm; dx = g / x."""

    instruction, walk = "LOG", "elements"
    keeps_inputs = True
    forward = kernel(functional.log)
    numpy = "np.log({0})"

    @staticmethod
    def derivative(x: Any) -> Any:
        return 1.0 / x

    @staticmethod
    def vjp(g: Any, need: Any, x: Any) -> Any:
        return g / x


class Log1p(Elementwise):
    """log(1 + x), exact near 0; dx = g / (1 + x)."""

    instruction, walk = "LOG1P", "elements"
    keeps_inputs = True
    forward = kernel(functional.log1p)
    numpy = "np.log1p({0})"

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
    numpy = "np.sin({0})"

    @staticmethod
    def derivative(x: Any) -> Any:
        return cos(x)


class Cos(Elementwise):
    """cos x; dx = -g sin x."""

    keeps_inputs = True
    forward = np.cos
    numpy = "np.cos({0})"

    @staticmethod
    def derivative(x: Any) -> Any:
        return -sin(x)


class Erf(Elementwise):
    """The error function; dx = g 2 / sqrt(pi) e^(-x^2)."""

    instruction, walk = "ERF", "elements"
    keeps_inputs = True
    forward = kernel(functional.erf)
    numpy = "erf({0})"

    @staticmethod
    def derivative(x: Any) -> Any:
        return exp(-square(x)) * TWO_OVER_ROOT_PI


class SigmoidGrad(GradientKernel):
    """g y (1 - y); by y: u g (1 - 2 y), by g: u y (1 - y)."""

    name = "sigmoid_grad"
    instruction = "SIGMOID_GRAD"
    kernel = of_output("Sigmoid_updateGradInput")
    numpy = "{1} * {0} * (1 - {0})"

    @staticmethod
    def vjp(u: Any, need: Any, y: Any, g: Any) -> Any:
        return (
            None if need[0] is None else u * g * (1.0 - (y + y)),
            None if need[1] is None else sigmoid_grad(y, u),
        )


class Sigmoid(FromOutput):
    """1 / (1 + e^-x), without overflow; dx = g y (1 - y)."""

    instruction = "SIGMOID"
    forward = kernel(functional.sigmoid)
    gradient = staticmethod(gradient_kernel(SigmoidGrad))
    numpy = "1 / (1 + np.exp(-{0}))"


class TanhGrad(GradientKernel):
    """g (1 - y^2); by y: -2 u g y, by g: u (1 - y^2)."""

    name = "tanh_grad"
    instruction = "TANH_GRAD"
    kernel = of_output("Tanh_updateGradInput")
    numpy = "{1} * (1 - {0} * {0})"

    @staticmethod
    def vjp(u: Any, need: Any, y: Any, g: Any) -> Any:
        return (
            None if need[0] is None else -(u * g * (y + y)),
            None if need[1] is None else tanh_grad(y, u),
        )


class Tanh(FromOutput):
    """tanh x; dx = g (1 - y^2)."""

    instruction = "TANH"
    forward = kernel(functional.tanh)
    gradient = staticmethod(gradient_kernel(TanhGrad))
    numpy = "np.tanh({0})"


class ReluGrad(GradientKernel):
    """g where y > 0 or y is NaN, else 0; by g: u there, else 0."""

    name = "relu_grad"
    instruction = "RELU_GRAD"
    kernel = of_output("Threshold_updateGradInput", 0.0)
    numpy = "np.where({0} <= 0, 0.0, {1})"

    @staticmethod
    def vjp(u: Any, need: Any, y: Any, g: Any) -> Any:
        return None, None if need[1] is None else relu_grad(y, u)


class Relu(FromOutput):
    """max(x, 0); dx = g where y > 0, else 0: the gradient at 0 is 0, NaN stays NaN."""

    instruction = "RELU"
    forward = kernel(functional.relu)
    gradient = staticmethod(gradient_kernel(ReluGrad))
    numpy = "np.maximum({0}, 0)"


class LeakyReluGrad(Operation):
    """g where x > 0 or x is NaN, else s g; linear in g, and flat in x."""

    name = "leaky_relu_grad"
    keeps_inputs = True

    @staticmethod
    def numpy(x: Any, g: Any, slope: float) -> Any:
        return "np.where({0} <= 0, {p0} * {1}, {1})", {}

    @staticmethod
    def forward(x: Any, g: Any, slope: float) -> Any:
        return of_output("LeakyReLU_updateGradInput", slope)(contiguous(x), contiguous(g))

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, slope: float) -> Any:
        return low.elements("LEAKY_RELU_GRAD", *inputs, number=slope)

    @staticmethod
    def vjp(u: Any, need: Any, x: Any, g: Any, slope: float) -> Any:
        return None, None if need[1] is None else apply(LeakyReluGrad, x, u, params=(slope,))


class LeakyRelu(Elementwise):
    """x where x > 0, else s x; dx = g where x > 0, else s g: s g at 0, NaN stays NaN."""

    name = "leaky_relu"
    keeps_inputs = True

    @staticmethod
    def numpy(x: Any, slope: float) -> Any:
        return "np.where({0} <= 0, {p0} * {0}, {0})", {}

    @staticmethod
    def forward(x: Any, slope: float) -> Any:
        return functional.leaky_relu(contiguous(x), slope)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, slope: float) -> Any:
        return low.elements("LEAKY_RELU", *inputs, number=slope)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, slope: float) -> Any:
        return apply(LeakyReluGrad, x, g, params=(slope,))

    @staticmethod
    def jvp(tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return apply(LeakyReluGrad, inputs[0], tangents[0], params=params)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else negative_slope x; dx = g there, else negative_slope g (also at 0).

    Raises:
        TypeError, ValueError: negative_slope is no finite number.
    """
    slope = check.number("leaky_relu", "negative_slope", negative_slope, -math.inf)
    return apply(LeakyRelu, x, params=(slope,))


class Softplus(Elementwise):
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|), without overflow; dx = g sigmoid(x)."""

    keeps_inputs = True
    numpy = "np.log1p(np.exp(-np.abs({0}))) + np.maximum({0}, 0)"

    @staticmethod
    def forward(x: Any) -> Any:
        return functional.log1p(functional.exp(contiguous(-np.abs(x)))) + np.maximum(x, 0)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        (x,) = inputs
        small = low.elements("EXP", low.each("NEG", low.each("ABS", x)))
        positive = low.each("MAXIMUM", x, low.number(0.0))
        return low.each("ADD", low.elements("LOG1P", small), positive)

    @staticmethod
    def derivative(x: Any) -> Any:
        return sigmoid(x)


exp, expm1, log, log1p = unary(Exp), unary(Expm1), unary(Log), unary(Log1p)
sin, cos, erf = unary(Sin), unary(Cos), unary(Erf)
sigmoid, tanh, relu, softplus = unary(Sigmoid), unary(Tanh), unary(Relu), unary(Softplus)
sigmoid_grad, tanh_grad, relu_grad = Sigmoid.gradient, Tanh.gradient, Relu.gradient
