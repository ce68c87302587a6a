"""Arithmetic of elements: + - * / **, absolute value, square, reciprocal, root.

Operands are broadcast as NumPy's; `sum_to` undoes it. Different dtypes meet in NumPy's common
dtype by a recorded conversion; a Python number takes the dtype of the tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..operation import (
    Elementwise,
    Linear,
    Multilinear,
    Operation,
    apply,
    as_tensor,
    binary,
    on_graph,
    reflected,
    unary,
    value_of,
    zeros_like,
)  # fmt: skip
from ..tensor import Tensor
from .choices import full, sign, where
from .shaping import sum_to


class Add(Linear):
    """a + b; da = g, db = g."""

    instruction = "ADD"
    forward = np.add
    numpy = "{0} + {1}"

    @staticmethod
    def vjp(g: Any, need: Any) -> Any:
        left, right = need
        return (
            None if left is None else sum_to(g, left.shape),
            None if right is None else sum_to(g, right.shape),
        )

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        a, b = tangents
        return full(b if a is None else a if b is None else a + b, out)


class Sub(Operation):
    """a - b; da = g, db = -g."""

    instruction = "SUB"
    forward = np.subtract
    numpy = "{0} - {1}"

    @staticmethod
    def vjp(g: Any, need: Any) -> Any:
        left, right = need
        return (
            None if left is None else sum_to(g, left.shape),
            None if right is None else sum_to(-g, right.shape),
        )

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        a, b = tangents
        return full(-b if a is None else a if b is None else a - b, out)


class Mul(Multilinear):
    """a b; da = g b, db = g a."""

    instruction = "MUL"
    crosswise = True
    forward = np.multiply
    numpy = "{0} * {1}"

    @staticmethod
    def vjp(g: Any, need: Any, a: Any, b: Any) -> Any:
        left, right = need
        return (
            None if left is None else sum_to(g * b, left.shape),
            None if right is None else sum_to(g * a, right.shape),
        )


class Div(Operation):
    """a / b; da = g / b, db = -g a / b^2."""

    instruction = "DIV"
    keeps_inputs = True
    forward = np.true_divide
    numpy = "{0} / {1}"

    @staticmethod
    def vjp(g: Any, need: Any, a: Any, b: Any) -> Any:
        left, right = need
        return (
            None if left is None else sum_to(g / b, left.shape),
            None if right is None else sum_to(-g * a / (b * b), right.shape),
        )

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        (ta, tb), (_, b) = tangents, inputs
        if tb is None:
            return full(ta / b, out)
        return (-out * tb if ta is None else ta - out * tb) / b


class Power(Operation):
    """a^b; da = g b a^(b-1), db = g a^b log a, and 0 where a = 0 <= b.

    A number as exponent: `x ** 2` is a product, `x ** 0.5` the square root.
    """

    keeps_inputs = True
    keeps_output = True
    forward = np.power
    numpy = "{0} ** {1}"

    @staticmethod
    def vjp(g: Any, need: Any, a: Any, b: Any, y: Any) -> Any:
        left, right = need
        return (
            None if left is None else sum_to(g * _power_slope(a, b), left.shape),
            None if right is None else sum_to(g * _power_growth(a, b, y), right.shape),
        )

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        (ta, tb), (a, b) = tangents, inputs
        base = None if ta is None else ta * _power_slope(a, b)
        exponent = None if tb is None else tb * _power_growth(a, b, out)
        return base if exponent is None else exponent if base is None else base + exponent


def _power_slope(a: Any, b: Any) -> Any:
    """b a^(b-1), and 0 for b = 0."""
    exponent = value_of(b)
    if np.all(exponent != 0):
        return b * a ** (b - 1)
    return where(exponent == 0, 0.0, b * a ** where(exponent == 0, 1.0, b - 1))


def _power_growth(a: Any, b: Any, y: Any) -> Any:
    """a^b log a, and 0 where a = 0 <= b."""
    from .elementary import log

    if type(a) is float or type(a) is int:
        a = np.asarray(a, value_of(y).dtype)
    flat = (value_of(a) == 0) & (np.asarray(value_of(b)) >= 0)
    if not flat.any():
        return y * log(a)
    return where(flat, 0.0, y * log(where(flat, 1.0, a)))


class PowerOf(Elementwise):
    """x^p for a number p; dx = g p x^(p-1)."""

    name = "power"
    keeps_inputs = True
    numpy = "{0} ** {p0}"

    @staticmethod
    def forward(x: Any, p: float) -> Any:
        return x**p

    @staticmethod
    def derivative(x: Any, p: float) -> Any:
        return p * x ** (p - 1)


class Constant(Operation):
    """A number in the shape of x; dx = 0. It is x^0, for a number 0."""

    numpy = "np.full_like({0}, {p0})"

    @staticmethod
    def forward(x: Any, value: float) -> Any:
        return np.full(x.shape, value, x.dtype)

    @staticmethod
    def vjp(g: Any, need: Any, value: float) -> Any:
        return apply(Constant, g, params=(0,))

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return zeros_like(out)


class Neg(Linear):
    """-x; dx = -g."""

    instruction = "NEG"
    forward = np.negative
    numpy = "-{0}"

    @staticmethod
    def vjp(g: Any, need: Any) -> Any:
        return -g


class Abs(Elementwise):
    """|x|; dx = g sign(x), 0 at 0."""

    instruction = "ABS"
    keeps_inputs = True
    forward = np.absolute
    numpy = "np.abs({0})"

    @staticmethod
    def derivative(x: Any) -> Any:
        return sign(x)


class Square(Elementwise):
    """x^2; dx = 2 g x."""

    keeps_inputs = True
    forward = np.square
    numpy = "{0} * {0}"

    @staticmethod
    def derivative(x: Any) -> Any:
        return x + x

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        return low.each("MUL", *inputs, *inputs)


class Reciprocal(Elementwise):
    """1 / x; dx = -g y^2."""

    keeps_output = True
    numpy = "1.0 / {0}"

    @staticmethod
    def forward(x: Any) -> Any:
        return 1.0 / x

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        return low.each("DIV", low.number(1.0), *inputs)

    @staticmethod
    def derivative(y: Any) -> Any:
        return -(y * y)


class Sqrt(Elementwise):
    """The square root; dx = g / (2 y), inf at 0."""

    instruction = "SQRT"
    keeps_output = True
    forward = np.sqrt
    numpy = "np.sqrt({0})"

    @staticmethod
    def derivative(y: Any) -> Any:
        return 0.5 / y


add, sub, mul, div = binary(Add), binary(Sub), binary(Mul), binary(Div)
_power = binary(Power)
neg, abs, square = unary(Neg), unary(Abs), unary(Square)
reciprocal, sqrt = unary(Reciprocal), unary(Sqrt)
radd, rsub, rmul, rdiv = reflected(add), reflected(sub), reflected(mul), reflected(div)


def power(x: Any, p: Any) -> Any:
    """x^p with NumPy's rules; a number p: 2 is `square`, 0.5 is `sqrt`."""
    if type(p) is int or type(p) is float:
        if type(x) is not Tensor:
            if not on_graph(x):
                return np.power(x, p)
            x = as_tensor(x)
        if p == 2:
            return square(x)
        if p == 1:
            return apply(PowerOf, x, params=(1,))
        if p == 0.5:
            return sqrt(x)
        if p == 0:
            return apply(Constant, x, params=(1,))
        return apply(PowerOf, x, params=(p,))
    return _power(x, p)


rpower = reflected(power)
