"""Values as Python writes them, and functions that flat code defines where it uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# What NumPy has no function for, in the order in which they use each other.
HELPERS = {
    "erf": """
def erf(x):
    from math import erf
    return np.vectorize(erf, otypes=[x.dtype])(x)
""",
    "log_softmax": """
def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))
""",
    "softmax": """
def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
""",
    "logsumexp": """
def logsumexp(x, axes, keepdims):
    top = x.max(axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    y = np.log(np.exp(x - top).sum(axes, keepdims=True)) + top
    return y if keepdims else y.squeeze(axes)
""",
    "first": """
def first(x, axes, place):
    # True at the first extremum along the axes
    axes = tuple(range(x.ndim)) if axes is None else axes
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    turned = x.transpose(rest + axes)
    flat = turned.reshape(*turned.shape[:len(rest)], -1)
    mask = np.zeros(flat.shape, bool)
    np.put_along_axis(mask, place(flat, -1)[..., None], True, -1)
    return mask.reshape(turned.shape).transpose(np.argsort(rest + axes))
""",
    "logdet": """
def logdet(x):
    sign, value = np.linalg.slogdet(x)
    return np.where(sign < 0, np.nan, value)
""",
    "scatter": """
def scatter(g, shape, index):
    # zeros with g added at the places of the index
    out = np.zeros(shape, g.dtype)
    np.add.at(out, index, g)
    return out
""",
    "put": """
def put(x, v, index):
    # x with v at the places of the index
    out = np.array(x)
    out[index] = v
    return out
""",
}  # fmt: skip


class Field:
    """A parameter of a call in the line that its operation states.

    `{p0}` is the value; `{p0:index}` an index as it stands between brackets.
    """

    def __init__(self, value: Any, text: Callable[[Any], str]) -> None:
        self._value, self._text = value, text

    def __format__(self, kind: str) -> str:
        return self._index(self._value) if kind == "index" else self._text(self._value)

    def _index(self, index: Any) -> str:
        parts = index if isinstance(index, tuple) else (index,)
        return ", ".join([self._part(i) for i in parts]) or "()"

    def _part(self, i: Any) -> str:
        if isinstance(i, slice):
            ends = ["" if v is None else str(v) for v in (i.start, i.stop, i.step)]
            return ":".join(ends[:2] if i.step is None else ends)
        return "..." if i is Ellipsis else self._text(i)


def literal(value: Any) -> str:
    """A number, a dtype or a tuple of them."""
    if isinstance(value, np.dtype):
        return dtype_name(value)
    if isinstance(value, (tuple, list)):
        return tuple_text(tuple(value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return repr(value)
    return f"({value!r})" if value < 0 else repr(value)


def dtype_name(dtype: np.dtype) -> str:
    """The name of a dtype with its module."""
    return "np.bool_" if dtype.kind == "b" else f"np.{dtype.name}"


def tuple_text(values: tuple[Any, ...]) -> str:
    """A shape or axes."""
    return repr(tuple([v.item() if isinstance(v, np.generic) else v for v in values]))
