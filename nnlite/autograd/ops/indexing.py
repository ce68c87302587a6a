"""Places: x[index], its reverse, and x[index] = v. Linear; nothing is kept but the index."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..._core import check
from ..operation import Linear, apply, as_tensor, on_graph
from ..tensor import Tensor, wrap
from .shaping import sum_to


class Index(Linear):
    """x[index]; dx = g at those places, 0 elsewhere; places taken twice receive both."""

    numpy = "{0}[{p0:index}]"

    @staticmethod
    def forward(x: Any, index: Any) -> Any:
        return x[index]

    @staticmethod
    def vjp(g: Any, need: Any, index: Any) -> Any:
        return scatter(g, need[0].shape, index)


class IndexView(Index):
    """x[index] with slices and integers: a view."""

    name = "index"
    is_view = True

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, index: Any) -> Any:
        return low.index(*inputs, index)

    @staticmethod
    def forward(x: Any, index: Any) -> Any:
        part = x[index]
        if type(part) is np.ndarray:
            return part
        return x[(*(index if type(index) is tuple else (index,)), ...)]  # a view, not a number


class Scatter(Linear):
    """Zeros with g added at the places of an index; dg = the gradient at those places."""

    numpy = "scatter({0}, {p0}, np.s_[{p1:index}])"

    @staticmethod
    def forward(g: Any, shape: tuple[int, ...], index: Any) -> Any:
        out = np.zeros(shape, g.dtype)
        if is_basic(index):
            out[index] = g
        else:
            np.add.at(out, index, g)
        return out

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, shape: Any, index: Any) -> Any:
        if not is_basic(index):
            low.unsupported("an index array has no instruction of a program")
        return low.scatter(*inputs, index, out)

    @staticmethod
    def vjp(g: Any, need: Any, shape: tuple[int, ...], index: Any) -> Any:
        return g[index]


class Put(Linear):
    """x with v at the places of an index: `x[index] = v`; dx = g with 0 there, dv = g there."""

    name = "setitem"
    numpy = "put({0}, {1}, np.s_[{p0:index}])"

    @staticmethod
    def forward(x: Any, v: Any, index: Any) -> Any:
        out = np.array(x)
        out[index] = v
        return out

    @staticmethod
    def vjp(g: Any, need: Any, index: Any) -> Any:
        x, v = need
        return (
            None if x is None else apply(Put, g, wrap_like(g, 0.0), params=(index,)),
            None if v is None else sum_to(g[index], v.shape),
        )


def wrap_like(g: Any, value: float) -> Any:
    """A number in the dtype of g, as an array; as a Tensor where g is one."""
    constant = np.array(value, g.dtype)
    return wrap(constant) if type(g) is Tensor else constant


# The functions.


def is_basic(index: Any) -> bool:
    """Whether an index is made of integers, slices, None and Ellipsis alone: it gives a view."""
    if type(index) is int or type(index) is slice:
        return True
    parts = index if isinstance(index, tuple) else (index,)
    return builtins.all(
        part is None
        or part is Ellipsis
        or (isinstance(part, (slice, int, np.integer)) and not isinstance(part, (bool, np.bool_)))
        for part in parts
    )


def plain_index(index: Any) -> Any:
    """The index with arrays in the place of Tensors and lists; a copy, so that it stays."""
    if isinstance(index, tuple):
        return tuple([plain_index(part) for part in index])
    if on_graph(index):
        index = as_tensor(index)._data
    if isinstance(index, (list, np.ndarray)):
        check.unmasked("index", "index", index)
        index = np.array(index)
        if index.size == 0:
            index = index.astype(np.intp) if index.dtype.kind == "f" else index
        if index.dtype.kind not in "iub":
            raise TypeError(
                f"index: expected integers, slices or booleans, got an array of {index.dtype}"
            )
    return index


def getitem(x: Any, index: Any) -> Any:
    """x[index] with slices, integers, None, Ellipsis, integer arrays and boolean arrays."""
    if is_basic(index):
        return apply(IndexView, x, params=(index,))
    return apply(Index, x, params=(plain_index(index),))


def scatter(g: Any, shape: tuple[int, ...], index: Any) -> Any:
    """Zeros of a shape with g added at the places of an index: the reverse of x[index]."""
    if not is_basic(index):
        index = plain_index(index)
    return apply(Scatter, g, params=(shape, index))
