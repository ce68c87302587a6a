"""Central differences: derivatives from values alone.

    df/dx_j = (f(x + h e_j) - f(x - h e_j)) / 2h + O(h^2)

Too large a step h leaves the curvature in the difference, too small a one leaves rounding alone.
Two values for each element: good for checks and pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..node import GRAD, Mode
from ..operands import on_graph
from ..tensor import Tensor, wrap
from ..transforms.arguments import Inputs
from .report import GradcheckError

STEP = 6.055454452393343e-06  # the cube root of 2^-52, the spacing of float64 at 1


def numerical_gradient(f: Callable[[Any], Any], x: Any, delta: float | None = None) -> Any:
    """The gradient of f at x by central differences: (f(x + d e_i) - f(x - d e_i)) / 2d.

    Args:
        f: a function of x that gives one number, a Tensor of one, or an array of one.
        x: a float64 array or Tensor; f gets changed copies of it, of the same kind.
        delta: the step d; default: cbrt(2^-52) max(1, |x_i|) for each element.

    Returns:
        The gradient, of the shape and kind of x.

    Raises:
        TypeError: x is not float64, or f does not give a number.
        ValueError: delta is not positive and finite, or f gives more than one number.

    Notes:
        Two calls of f for each element.
    """
    is_tensor = on_graph(x)
    array = type(x).__tensor__(x)._data if is_tensor else np.asarray(x)
    if array.dtype != np.float64:
        raise TypeError(
            f"numerical_gradient: x: expected float64, got {array.dtype}; "
            "convert it with .astype(np.float64)"
        )
    if delta is not None and not (isinstance(delta, (int, float)) and 0 < delta < math.inf):
        raise ValueError(f"numerical_gradient: delta: expected a positive number, got {delta!r}")
    steps = np.maximum(1, np.abs(array)) * STEP if delta is None else np.full(array.shape, delta)
    found = np.empty(array.shape)
    with Mode(off=GRAD):
        for place in np.ndindex(array.shape):
            both = []
            for step in (steps[place], -steps[place]):
                moved = np.array(array, order="C")
                moved[place] += step
                both.append(_number(f(wrap(moved) if is_tensor else moved)))
            found[place] = (both[0] - both[1]) / (2 * steps[place])
    return wrap(found) if is_tensor else found


def _number(y: Any) -> float:
    """What f gave, as a number."""
    if isinstance(y, (Tensor, np.ndarray)):
        if y.size != 1:
            raise ValueError(
                f"numerical_gradient: f: expected one number, got shape {y.shape}; make one of it "
                "with sum() or mean()"
            )
        return float(y.item())
    if isinstance(y, (int, float, np.generic)):
        return float(y)
    raise TypeError(f"numerical_gradient: f: expected a number, got {type(y).__name__}")


def jacobian_by_differences(given: Inputs) -> list[np.ndarray]:
    """For each input the matrix (elements of all outputs, elements of the input).

    The step is cbrt(eps) max(1, |x|), and the difference is divided by the step that was taken.

    Raises:
        GradcheckError: f gives other values the second time.
    """
    values = _values(given, None)
    if not np.array_equal(_values(given, None), values, equal_nan=True):
        raise GradcheckError(
            f"{given.operation}: f gives other values when it is called again; take randomness out "
            "of it, or set it back in each call"
        )
    blocks = []
    for i, x in enumerate(given.items):
        block = np.empty((values.size, x.size))
        for place in range(x.size):
            at = x._data.reshape(-1)[place]
            step = STEP * max(1.0, abs(float(at)))
            high, low = at + step, at - step
            up = _values(given, (i, place, high))
            block[:, place] = (up - _values(given, (i, place, low))) / (high - low)
        blocks.append(block)
    return blocks


def _values(given: Inputs, change: tuple[int, int, float] | None) -> np.ndarray:
    """All outputs of f in one row, with one element of one input changed."""
    with Mode(off=GRAD), np.errstate(all="ignore"):
        if given.parameters is None:
            arrays = [np.array(x._data, order="C") for x in given.items]
            if change is not None:
                index, place, value = change
                arrays[index].reshape(-1)[place] = value
            outs, _ = given.call(tuple([wrap(a) for a in arrays]))
        else:
            outs = _with_parameter(given, change)
    return np.concatenate([np.array(y._data.ravel()) for y in outs])


def _with_parameter(given: Inputs, change: tuple[int, int, float] | None) -> tuple[Tensor, ...]:
    """The outputs of f with one element of a parameter changed; it is put back."""
    if change is None:
        return given.call(())[0]
    index, place, value = change
    assert given.parameters is not None
    with _changed(given.parameters[index], place, value):
        return given.call(())[0]


@contextmanager
def _changed(parameter: Any, place: int, value: float) -> Iterator[None]:
    """One element of a parameter has another value inside, and its old bits afterwards."""
    before = np.array(parameter.data)
    moved = np.array(before)
    moved.reshape(-1)[place] = value
    parameter.data = moved
    try:
        yield
    finally:
        parameter.data = before
