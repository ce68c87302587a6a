"""Reductions over any axes: mean, max, min, prod, var, norm, logsumexp; the sum is in shaping.

`axis` is None (all), a number, or a tuple; `keepdims` keeps reduced axes with length 1. Both as in
NumPy.
"""

from __future__ import annotations

import builtins
import math
import numbers
from typing import Any

import numpy as np

from ..foreign import refuse
from ..operation import (
    Linear,
    Operation,
    apply,
    as_tensor,
    on_graph,
    value_of,
    without_gradient,
    wrap,
)  # fmt: skip
from ..tensor import Tensor
from .arithmetic import abs, square
from .choices import equal, sign, where
from .elementary import exp, log
from .shaping import (
    astype,
    axes_of,
    expand,
    kept_shape,
    reshape,
    spread,
    sum,
    sum_of,
    transpose,
)  # fmt: skip

_reduce: Any = np.add.reduce
_greatest: Any = np.maximum.reduce
_least: Any = np.minimum.reduce
_product: Any = np.multiply.reduce


def _count(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> int:
    return math.prod(shape if axes is None else [shape[a] for a in axes])


class Mean(Linear):
    """The mean over n elements; dx = g / n, repeated along the axes."""

    numpy = "np.mean({0}, axis={p0}, keepdims={p1})"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool) -> Any:
        total = sum_of(x, axes, keepdims)
        return total / total.dtype.type(_count(x.shape, axes))

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, axes: Any, keepdims: bool) -> Any:
        return low.mean(*inputs, axes, out)

    @staticmethod
    def vjp(g: Any, need: Any, axes: Any, keepdims: bool) -> Any:
        shape = need[0].shape
        return spread(g / _count(shape, axes), shape, axes, keepdims)


class _Extremum(Operation):
    """The largest or smallest element; the gradient goes to the first of them. NaN is larger."""

    keeps_inputs = True
    place: Any
    mask: Any

    @classmethod
    def lower(cls, low: Any, inputs: list[Any], out: Any, axes: Any, keepdims: bool) -> Any:
        return low.extremum(cls.instruction, *inputs, axes, out)

    @classmethod
    def first(cls, x: Any, axes: Any) -> Any:
        """True at the first extremum along the axes, in the shape of x; no gradient."""
        if type(x) is not Tensor:
            return cls.mask.forward(x, axes)
        return without_gradient(cls.mask, wrap(cls.mask.forward(x._data, axes)), (x,), (axes,))

    @classmethod
    def vjp(cls, g: Any, need: Any, x: Any, axes: Any, keepdims: bool) -> Any:
        return where(cls.first(x, axes), spread(g, x.shape, axes, keepdims), 0.0)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        axes, keepdims = params
        return sum(where(cls.first(inputs[0], axes), tangents[0], 0.0), axes, keepdims)


class _First(Operation):
    """The mask of the first extremum along axes, where the gradient goes."""

    place: Any

    @classmethod
    def lower(cls, low: Any, inputs: list[Any], out: Any, axes: Any) -> Any:
        return low.first(cls.instruction, *inputs, axes)

    @classmethod
    def forward(cls, x: Any, axes: Any) -> np.ndarray:
        axes = tuple(range(x.ndim)) if axes is None else axes
        rest = tuple([i for i in range(x.ndim) if i not in axes])
        order = rest + axes
        turned = x.transpose(order)
        flat = turned.reshape(*[x.shape[i] for i in rest], -1)
        mask = np.zeros(flat.shape, bool)
        np.put_along_axis(mask, cls.place(flat, -1)[..., None], True, -1)
        return mask.reshape(turned.shape).transpose([order.index(i) for i in range(x.ndim)])


class FirstMax(_First):
    """True at the first maximum; the first NaN where there is one."""

    instruction = "FIRST_MAX"
    place = np.argmax
    numpy = "first({0}, {p0}, np.argmax)"


class FirstMin(_First):
    """True at the first minimum; the first NaN where there is one."""

    instruction = "FIRST_MIN"
    place = np.argmin
    numpy = "first({0}, {p0}, np.argmin)"


class Max(_Extremum):
    """The maximum over axes; the gradient goes to the first one."""

    instruction, mask = "MAX", FirstMax
    numpy = "np.max({0}, axis={p0}, keepdims={p1})"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool) -> Any:
        return _greatest(x, axes, None, None, keepdims)


class Min(_Extremum):
    """The minimum over axes; the gradient goes to the first one."""

    instruction, mask = "MIN", FirstMin
    numpy = "np.min({0}, axis={p0}, keepdims={p1})"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool) -> Any:
        return _least(x, axes, None, None, keepdims)


class Prod(Operation):
    """The product over axes; dx_i = g times the product of the others, exact at zeros too."""

    keeps_inputs = True
    keeps_output = True
    numpy = "np.prod({0}, axis={p0}, keepdims={p1})"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool) -> Any:
        return _product(x, axes, None, None, keepdims)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, y: Any, axes: Any, keepdims: bool) -> Any:
        g = spread(g, x.shape, axes, keepdims)
        if value_of(x).all():
            return g * (spread(y, x.shape, axes, keepdims) / x)
        return g * products_of_others(x, axes)


def products_of_others(x: Any, axes: Any) -> Any:
    """For each element the product of the others along the axes: n products of n factors."""
    axes = tuple(range(x.ndim)) if axes is None else axes
    rest = tuple([i for i in range(x.ndim) if i not in axes])
    order = rest + axes
    turned = transpose(x, order)
    lead = tuple([x.shape[i] for i in rest])
    n = _count(x.shape, axes)
    square_ = expand(reshape(turned, (*lead, 1, n)), (*lead, n, n))
    others = prod(where(np.eye(n, dtype=bool), 1.0, square_), -1)
    back = tuple([order.index(i) for i in range(x.ndim)])
    return transpose(reshape(others, turned.shape), back)


class Norm(Operation):
    """sqrt(sum of x^2); dx = g x / y, and 0 where y = 0."""

    keeps_inputs = True
    keeps_output = True
    numpy = "np.sqrt(np.sum({0} * {0}, axis={p0}, keepdims={p1}))"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool) -> Any:
        return np.sqrt(sum_of(x * x, axes, keepdims))

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, y: Any, axes: Any, keepdims: bool) -> Any:
        zero = equal(y, 0.0)
        scaled = where(zero, 0.0, g / where(zero, 1.0, y))
        return x * spread(scaled, x.shape, axes, keepdims)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, axes: Any, keepdims: bool) -> Any:
        (x,) = inputs
        return low.each("SQRT", low.sum(low.each("MUL", x, x), axes, out))


class PNorm(Operation):
    """(sum of |x|^p)^(1/p), p > 0; dx = g sign(x) (|x| / y)^(p-1), and 0 where x = 0."""

    name = "norm"
    keeps_inputs = True
    keeps_output = True
    numpy = "np.sum(np.abs({0}) ** {p2}, axis={p0}, keepdims={p1}) ** (1 / {p2})"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool, p: float) -> Any:
        return _reduce(np.absolute(x) ** p, axes, None, None, keepdims) ** (1.0 / p)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, y: Any, axes: Any, keepdims: bool, p: float) -> Any:
        size = where(value_of(x) == 0, 1.0, abs(x))  # sign(x) = 0 there
        y = where(value_of(y) == 0, 1.0, y)
        g, y = (spread(v, x.shape, axes, keepdims) for v in (g, y))
        return g * sign(x) * (size / y) ** (p - 1)


class Deviation(Operation):
    """sqrt(v) of a variance v; dv = g / (2 y), and 0 where y = 0, where the variance is flat."""

    name = "std"
    keeps_output = True
    instruction = "SQRT"
    forward = np.sqrt
    numpy = "np.sqrt({0})"

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        zero = equal(y, 0.0)
        return where(zero, 0.0, g * (0.5 / where(zero, 1.0, y)))

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return cls.vjp(tangents[0], None, out)  # of elements: its own transpose


class LogSumExp(Operation):
    """log of the sum of e^x, without overflow; dx = g e^(x - y)."""

    keeps_inputs = True
    keeps_output = True
    numpy = "logsumexp({0}, {p0}, {p1})"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool) -> Any:
        top = _greatest(x, axes, None, None, True)
        top = np.where(np.isfinite(top), top, top.dtype.type(0))
        with np.errstate(divide="ignore"):  # log 0 = -inf is the sum of nothing
            y = log(sum_of(np.asarray(exp(x - top)), axes, True)) + top
        return y if keepdims else y.reshape(_dropped(x.shape, axes))

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, axes: Any, keepdims: bool) -> Any:
        return low.logsumexp(*inputs, axes, out)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, y: Any, axes: Any, keepdims: bool) -> Any:
        y, g = (spread(v, x.shape, axes, keepdims) for v in (y, g))
        dead = equal(y, -np.inf)  # where a difference of infinities would be NaN
        return g * exp(where(dead, -np.inf, x) - where(dead, 0.0, y))


def _dropped(shape: tuple[int, ...], axes: Any) -> tuple[int, ...]:
    return () if axes is None else tuple([n for i, n in enumerate(shape) if i not in axes])


def _reduction(operation: str, op: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return apply(op, x, params=(axes_of(operation, axis, np.ndim(x)), keepdims))


def mean(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """The mean; of no elements it is NaN, as NumPy's."""
    if unknown:
        refuse("mean", unknown)
    return _reduction("mean", Mean, x, axis, keepdims)


def _not_empty(operation: str, x: Any) -> None:
    if 0 in np.shape(x):
        raise ValueError(
            f"{operation}: the {operation} of no elements does not exist (shape {np.shape(x)})"
        )


def max(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """The maximum; the gradient goes to the first one in the order of the elements.

    Raises:
        ValueError: x has no elements.
    """
    if unknown:
        refuse("max", unknown)
    _not_empty("max", x)
    return _reduction("max", Max, x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """The minimum; the gradient goes to the first one in the order of the elements.

    Raises:
        ValueError: x has no elements.
    """
    if unknown:
        refuse("min", unknown)
    _not_empty("min", x)
    return _reduction("min", Min, x, axis, keepdims)


def prod(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """The product; its gradient is exact at zeros too."""
    if unknown:
        refuse("prod", unknown)
    return _reduction("prod", Prod, x, axis, keepdims)


def var(x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0, **unknown: Any) -> Any:
    """The variance: sum of (x - mean)^2 over (n - ddof), as NumPy's (PyTorch's has ddof = 1)."""
    if unknown:
        refuse("var", unknown)
    return _variance("var", x, axis, keepdims, ddof)


def _variance(operation: str, x: Any, axis: Any, keepdims: bool, ddof: int) -> Any:
    x = as_tensor(x) if on_graph(x) else np.asarray(x)
    axes = axes_of(operation, axis, x.ndim)
    n = _count(x.shape, axes)
    if n <= ddof:
        raise ValueError(
            f"{operation}: expected more than ddof={ddof} elements, got {n} (shape {x.shape})"
        )
    return sum(square(x - mean(x, axes, True)), axes, keepdims) / (n - ddof)


def std(x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0, **unknown: Any) -> Any:
    """The standard deviation, sqrt(var); its gradient is 0 where it is 0."""
    if unknown:
        refuse("std", unknown)
    return apply(Deviation, _variance("std", x, axis, keepdims, ddof))


def norm(x: Any, ord: Any = 2, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """(sum of |x|^ord)^(1/ord) of the elements; inf and -inf are max and min of |x|.

    For matrices ord = 2 is the Frobenius norm. The gradient at 0 is 0. Integers become float64.
    """
    if unknown:
        refuse("norm", unknown)
    number = isinstance(ord, numbers.Real) and not isinstance(ord, builtins.bool)
    p = float(ord) if number else math.nan
    if not (p > 0 or p == -math.inf):
        raise ValueError(f"norm: ord: expected a positive number, inf or -inf, got {ord!r}")
    x = as_tensor(x) if on_graph(x) else np.asarray(x)
    if x.dtype.kind in "iub":
        x = astype(x, np.float64)
    axes = axes_of("norm", axis, x.ndim)
    if p == 2:
        return apply(Norm, x, params=(axes, keepdims))
    if p == 1:
        return sum(abs(x), axes, keepdims)
    if math.isinf(p):
        return (max if p > 0 else min)(abs(x), axes, keepdims)
    return apply(PNorm, x, params=(axes, keepdims, p))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """log of the sum of e^x, for x of any finite size; -inf for nothing but -inf."""
    if unknown:
        refuse("logsumexp", unknown)
    x = as_tensor(x) if on_graph(x) else np.asarray(x)
    axes = axes_of("logsumexp", axis, x.ndim)
    if 0 in x.shape and _count(x.shape, axes) == 0:
        raise ValueError(f"logsumexp: expected at least one element to sum, got shape {x.shape}")
    return _reduction("logsumexp", LogSumExp, x, axis, keepdims)


__all__ = [
    "kept_shape", "logsumexp", "max", "mean", "min", "norm", "prod", "std", "var",
]  # fmt: skip
