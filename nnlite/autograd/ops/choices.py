"""Comparisons, and what chooses by them: sign, where, maximum, minimum, clip.

Comparisons and signs have no gradient; the others hand it to what was chosen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core import check
from ..foreign import named_function, refuse
from ..operation import (
    Elementwise,
    Linear,
    Operation,
    apply,
    array_of,
    as_tensor,
    binary,
    on_graph,
    operand,
    promoted,
    value_of,
    without_gradient,
)
from ..tensor import Tensor, wrap
from .shaping import astype, expand, sum_to


class _Mask(Operation):
    """Truth of elements, as an array of bool: no gradient."""


def _mask(name: str, instruction: str, line: str, swapped: bool = False) -> Any:
    """A comparison or a logical operation; `swapped` where the instruction has b before a."""
    function = getattr(np, name)

    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        return low.each(instruction, *(inputs[::-1] if swapped else inputs))

    parts = {"name": name, "forward": function, "lower": staticmethod(lower), "numpy": line}
    op = type(name.title().replace("_", ""), (_Mask,), parts)

    def call(*args: Any) -> Any:
        if not on_graph(*args):
            return function(*args)
        inputs = tuple([operand(x) for x in args])
        if NotImplemented in [x for x in inputs if type(x) is not Tensor]:
            return NotImplemented
        return without_gradient(op, wrap(function(*map(array_of, inputs))), inputs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"NumPy's {name}, element by element; no gradient."
    return call


equal = _mask("equal", "EQUAL", "{0} == {1}")
not_equal = _mask("not_equal", "NOT_EQUAL", "{0} != {1}")
less = _mask("less", "LESS", "{0} < {1}")
less_equal = _mask("less_equal", "LESS_EQUAL", "{0} <= {1}")
greater = _mask("greater", "LESS", "{0} > {1}", swapped=True)
greater_equal = _mask("greater_equal", "LESS_EQUAL", "{0} >= {1}", swapped=True)
logical_not = _mask("logical_not", "LOGICAL_NOT", "np.logical_not({0})")
logical_and = _mask("logical_and", "LOGICAL_AND", "np.logical_and({0}, {1})")
logical_or = _mask("logical_or", "LOGICAL_OR", "np.logical_or({0}, {1})")
logical_xor = _mask("logical_xor", "LOGICAL_XOR", "np.logical_xor({0}, {1})")


class Sign(Operation):
    """-1, 0 or 1; NaN stays."""

    instruction = "SIGN"
    forward = np.sign
    numpy = "np.sign({0})"


def sign(x: Any) -> Any:
    """-1, 0 or 1; no gradient."""
    if not on_graph(x):
        return np.sign(x)
    x = as_tensor(x)
    return without_gradient(Sign, wrap(np.sign(x._data)), (x,))


def full(t: Any, out: Any) -> Any:
    """The tangent in the shape of the output, when the other operand was the larger one."""
    return t if t.shape == out.shape else expand(t, out.shape)


class Where(Linear):
    """a where the condition holds, else b; each receives g where it was chosen, 0 elsewhere."""

    numpy = "np.where({p0}, {0}, {1})"

    @staticmethod
    def forward(a: Any, b: Any, condition: Any) -> Any:
        return np.where(condition, a, b)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, condition: Any) -> Any:
        return low.each("WHERE", low.array(condition, "a condition"), *inputs)

    @staticmethod
    def vjp(g: Any, need: Any, condition: Any) -> Any:
        left, right = need
        return (
            None if left is None else sum_to(where(condition, g, 0.0), left.shape),
            None if right is None else sum_to(where(condition, 0.0, g), right.shape),
        )

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        a, b = tangents
        return full(where(params[0], 0.0 if a is None else a, 0.0 if b is None else b), out)


class _Choice(Operation):
    """The larger or smaller of two; the gradient goes to the one that was chosen."""

    keeps_inputs = True
    takes_first: Any

    @classmethod
    def chosen(cls, a: Any, b: Any) -> Any:
        """Where the value is a's: at ties, and where a is NaN."""
        return logical_or(cls.takes_first(a, b), not_equal(a, a))

    @classmethod
    def vjp(cls, g: Any, need: Any, a: Any, b: Any) -> Any:
        left, right = need
        first = cls.chosen(a, b)
        return (
            None if left is None else sum_to(where(first, g, 0.0), left.shape),
            None if right is None else sum_to(where(first, 0.0, g), right.shape),
        )

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        a, b = tangents
        first = cls.chosen(*inputs)
        return full(where(first, 0.0 if a is None else a, 0.0 if b is None else b), out)


class Maximum(_Choice):
    """The larger of a and b; at ties the gradient goes to a. NaN in either gives NaN."""

    instruction = "MAXIMUM"
    forward: Any = np.maximum
    numpy = "np.maximum({0}, {1})"

    @staticmethod
    def takes_first(a: Any, b: Any) -> Any:
        return greater_equal(a, b)


class Minimum(_Choice):
    """The smaller of a and b; at ties the gradient goes to a. NaN in either gives NaN."""

    instruction = "MINIMUM"
    forward: Any = np.minimum
    numpy = "np.minimum({0}, {1})"

    @staticmethod
    def takes_first(a: Any, b: Any) -> Any:
        return less_equal(a, b)


class AtLeast(Maximum):
    """The larger of x and a limit with a gradient: of 0 and -0 it is x that stays, as in Clip."""

    name = "maximum"
    numpy = "np.maximum({1}, {0})"

    @staticmethod
    def forward(x: Any, limit: Any) -> Any:
        return np.maximum(limit, x)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        return low.each("MAXIMUM", *inputs[::-1])


class AtMost(Minimum):
    """The smaller of x and a limit with a gradient: of 0 and -0 it is x that stays, as in Clip."""

    name = "minimum"
    numpy = "np.minimum({1}, {0})"

    @staticmethod
    def forward(x: Any, limit: Any) -> Any:
        return np.minimum(limit, x)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        return low.each("MINIMUM", *inputs[::-1])


class Clip(Elementwise):
    """x limited to [low, high], which broadcast; dx = g where low <= x <= high, else 0: also where
    x is NaN, as in PyTorch. NaN stays, and where a limit is NaN the value is."""

    keeps_inputs = True

    @staticmethod
    def numpy(x: Any, low: Any, high: Any) -> Any:
        line = "{0}" if low is None else "np.maximum({p0}, {0})"
        return (line if high is None else f"np.minimum({{p1}}, {line})"), {}

    @staticmethod
    def forward(x: Any, low: Any, high: Any) -> Any:
        if x.dtype.kind != "f":
            return np.clip(x, low, high)
        if low is not None:  # of 0 and -0 it is x that stays; in np.clip it depends
            x = np.maximum(low, x)
        return x if high is None else np.minimum(high, x)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, low: Any, high: Any) -> Any:
        return sum_to(where(Clip.inside(x, low, high), g, 0.0), need[0].shape)

    @staticmethod
    def inside(x: Any, low: Any, high: Any) -> Any:
        if low is None:
            return less_equal(x, high)
        above = greater_equal(x, low)
        return above if high is None else logical_and(above, less_equal(x, high))

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, smallest: Any, largest: Any) -> Any:
        (x,) = inputs
        if smallest is not None:
            x = low.each("MAXIMUM", low.constant(smallest, "a limit"), x)
        return x if largest is None else low.each("MINIMUM", low.constant(largest, "a limit"), x)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return where(cls.inside(inputs[0], *params), tangents[0], 0.0)


maximum, minimum = named_function(binary(Maximum)), named_function(binary(Minimum))
_at_least, _at_most = binary(AtLeast), binary(AtMost)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b.

    Args:
        condition: an array or Tensor of bool; no gradient.
        a, b: Tensors, arrays or numbers; broadcast together.
    """
    if not on_graph(condition, a, b):
        return np.where(condition, a, b)
    if on_graph(condition):
        condition = as_tensor(condition)._data
    elif type(condition) is not np.ndarray:
        check.unmasked("where", "condition", condition)
    a, b = operand(a), operand(b)
    if a is NotImplemented or b is NotImplemented:
        raise TypeError("where: a, b: expected Tensors, arrays or numbers")
    if type(a) is not Tensor and type(b) is not Tensor:
        found = np.where(condition, a, b)  # Python's floats are float32, as in nn.tensor
        return wrap(found.astype(np.float32) if found.dtype == np.float64 else found)
    if type(a) is Tensor and type(b) is Tensor and a.dtype is not b.dtype:
        a, b = promoted(a, b)
    return apply(Where, a, b, params=(condition,))


def clip(x: Any, low: Any = None, high: Any = None, **unknown: Any) -> Any:
    """x limited to [low, high], numbers, arrays or Tensors that broadcast; None is no limit.

    Raises:
        ValueError: both limits are None.
    """
    if unknown:
        refuse("clip", unknown)
    if low is None and high is None:
        raise ValueError("clip: low, high: expected at least one limit, got None for both")
    low, high = (as_tensor(v) if on_graph(v) else v for v in (low, high))
    if any(type(v) is Tensor and v._edge is not None for v in (low, high)):
        x = x if low is None else _at_least(x, low)  # the gradient of a limit: where it was chosen
        return x if high is None else _at_most(x, high)
    low, high = (v if v is None or type(v) in (int, float) else _limit(v) for v in (low, high))
    if on_graph(x):
        x = as_tensor(x)
        dtype = np.result_type(x.dtype, *[v for v in (low, high) if v is not None])
        x = x if dtype == x.dtype else astype(x, dtype)
    return apply(Clip, x, params=(low, high))


def _limit(value: Any) -> np.ndarray:
    check.unmasked("clip", "limit", value)
    return np.asarray(value_of(value))
