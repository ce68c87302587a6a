"""Shapes: reshape, transpose, expand and its reverse, the sum; joining and splitting.

All of these are linear and keep no values. They come in pairs, each the backward of the other:
sum and expand, concatenate and slices.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._core import check, native
from ..._core.config import _State
from ..foreign import refuse
from ..operation import Linear, apply, as_tensor, on_graph, plain_array, value_of
from ..tensor import Tensor, wrap

VIEW_FROM = 8192  # elements from which a repeated gradient is a view: making one takes 2 us
_empty = np.empty
_FLOATS = check.FLOATS
_from_buffer = native.from_buffer
_reduce: Any = np.add.reduce


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """The sum of g over the axes along which `shape` was broadcast: the reverse of `expand`."""
    got = g.shape
    if got == shape:
        return g
    extra = len(got) - len(shape)
    axes = (*range(extra), *[i + extra for i, n in enumerate(shape) if n == 1 != got[i + extra]])
    return sum(g, axes).reshape(shape)


def axes_of(operation: str, axis: Any, ndim: int) -> tuple[int, ...] | None:
    """Axes as sorted numbers from 0; None for all.

    Raises:
        ValueError: an axis does not exist, or twice.
    """
    return None if axis is None else tuple(sorted(_each_axis(operation, axis, ndim)))


def _each_axis(operation: str, axis: Any, ndim: int) -> list[int]:
    """The same in the order given."""
    found = []
    for a in axis if isinstance(axis, (tuple, list)) else (axis,):
        if not isinstance(a, (int, np.integer)) or isinstance(a, bool):
            raise TypeError(f"{operation}: axis: expected integers, got {type(a).__name__}")
        if not -ndim <= a < ndim:
            raise ValueError(
                f"{operation}: axis {a} does not exist; the tensor has {ndim} dimensions"
            )
        found.append(int(a) % ndim)
    if len(set(found)) != len(found):
        raise ValueError(f"{operation}: axis: {axis} names one twice")
    return found


def one_axis(operation: str, axis: Any, ndim: int) -> int:
    """One axis as a number from 0.

    Raises:
        TypeError: it is not an integer.
        ValueError: it does not exist.
    """
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        cure = "; for all elements flatten first, x.reshape(-1)" if axis is None else ""
        raise TypeError(f"{operation}: axis: expected an integer, got {type(axis).__name__}{cure}")
    return _each_axis(operation, axis, ndim)[0]


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a reduction that keeps its axes with length 1."""
    if axes is None:
        return (1,) * len(shape)
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def spread(g: Any, shape: tuple[int, ...], axes: Any, keepdims: bool) -> Any:
    """The gradient (or value) of a reduction, repeated along the axes that it reduced."""
    if axes is not None and not keepdims:
        g = g.reshape(kept_shape(shape, axes))
    if type(g) is Tensor:
        return apply(Expand, g, params=(shape,))
    if math.prod(shape) > VIEW_FROM:
        return np.broadcast_to(g, shape)
    return Expand.forward(g, shape)


Groups = tuple[tuple[int, int, int], ...]
_groups: dict[Any, tuple[Groups, tuple[int, ...], tuple[int, ...]]] = {}


def axis_groups(ndim: int, axes: tuple[int, ...] | None) -> list[tuple[int, int]]:
    """(first, last + 1) of each group of adjacent axes of a reduction, the last group first."""
    gone = set(range(ndim) if axes is None else axes)
    found, last = [], ndim
    while last > 0:
        first = last
        while first > 0 and first - 1 in gone:
            first -= 1
        if first < last:
            found.append((first, last))
        last = min(first, last - 1)
    return found


def _groups_of(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> Groups:
    """(outer, reduced, inner) of each group of adjacent axes that a sum goes over."""
    left, found = list(shape), []
    for first, last in axis_groups(len(shape), axes):
        sizes = math.prod(left[:first]), math.prod(left[first:last]), math.prod(left[last:])
        left[first:last] = [1] * (last - first)
        found.append(sizes)
    return tuple(found)


def sum_of(x: Any, axes: tuple[int, ...] | None, keepdims: bool) -> Any:
    """The sum of an array by the kernel (csrc/program/reduce.c): its order does not depend on how
    the array lies in memory."""
    dtype = x.dtype
    if dtype not in _FLOATS:
        return _reduce(x, axes, None, None, keepdims)
    key = x.shape, axes
    plan = _groups.get(key)
    if plan is None:
        kept = kept_shape(x.shape, axes)
        dropped = () if axes is None else tuple([n for i, n in enumerate(x.shape) if i not in axes])
        if len(_groups) > 4096:
            _groups.clear()
        plan = _groups[key] = _groups_of(x.shape, axes), kept, dropped
    groups, kept, dropped = plan
    kernels = native.KERNELS[dtype]
    if type(x) is not np.ndarray or not x.flags.c_contiguous or not x.flags.aligned:
        x = np.array(x, order="C")
    for outer, n, inner in groups:
        out = _empty(outer * inner, dtype)
        status = kernels.sum(
            outer, n, inner, _from_buffer(kernels.array, x), _from_buffer(kernels.array, out),
            _State.threads,
        )  # fmt: skip
        if status:
            native.fail("sum", status)
        x = out
    if not groups:
        x = x + dtype.type(0)  # a sum starts from 0, so -0 is no sum
    return x.reshape(kept if keepdims else dropped)


class Sum(Linear):
    """The sum over axes; dx = g, repeated along them."""

    numpy = "np.sum({0}, axis={p0}, keepdims={p1})"

    @staticmethod
    def forward(x: Any, axes: Any, keepdims: bool) -> Any:
        return sum_of(x, axes, keepdims)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, axes: Any, keepdims: bool) -> Any:
        return low.sum(*inputs, axes, out)

    @staticmethod
    def vjp(g: Any, need: Any, axes: Any, keepdims: bool) -> Any:
        return spread(g, need[0].shape, axes, keepdims)


class Expand(Linear):
    """x repeated to a larger shape, as in broadcasting; dx = the sum of g over the repetitions."""

    numpy = "np.broadcast_to({0}, {shape})"

    @staticmethod
    def forward(x: Any, shape: tuple[int, ...]) -> Any:
        out = _empty(shape, x.dtype)
        out[...] = x
        return out

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, shape: Any) -> Any:
        return low.expand(*inputs, out)

    @staticmethod
    def vjp(g: Any, need: Any, shape: tuple[int, ...]) -> Any:
        return sum_to(g, need[0].shape)


class Reshape(Linear):
    """The same elements in another shape; dx = g in the shape of x."""

    is_view = True
    numpy = "{0}.reshape({shape})"

    @staticmethod
    def forward(x: Any, shape: tuple[int, ...]) -> Any:
        return x.reshape(shape)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, shape: Any) -> Any:
        return low.reshape(*inputs, out)

    @staticmethod
    def vjp(g: Any, need: Any, shape: tuple[int, ...]) -> Any:
        return g.reshape(need[0].shape)


class Transpose(Linear):
    """Axes in another order; dx = g in the old order."""

    is_view = True
    numpy = "{0}.transpose({p0})"

    @staticmethod
    def forward(x: Any, axes: Any) -> Any:
        return x.transpose(axes)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, axes: Any) -> Any:
        return low.transpose(*inputs, axes)

    @staticmethod
    def vjp(g: Any, need: Any, axes: Any) -> Any:
        if axes is None:
            return g.transpose()
        back = [0] * len(axes)
        for i, a in enumerate(axes):
            back[a] = i
        return g.transpose(tuple(back))


class Flip(Linear):
    """The elements along axes in reverse order; dx = g reversed."""

    numpy = "np.flip({0}, {p0})"

    @staticmethod
    def forward(x: Any, axes: Any) -> Any:
        return np.flip(x, axes)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, axes: Any) -> Any:
        return low.flip(*inputs, axes)

    @staticmethod
    def vjp(g: Any, need: Any, axes: Any) -> Any:
        return flip(g, axes)


class Cumsum(Linear):
    """y_i = sum of x_j for j <= i along an axis; dx_j = sum of g_i for i >= j."""

    numpy = "np.cumsum({0}, axis={p0})"

    @staticmethod
    def forward(x: Any, axis: int) -> Any:
        return np.cumsum(x, axis=axis)

    @staticmethod
    def vjp(g: Any, need: Any, axis: int) -> Any:
        return flip(cumsum(flip(g, (axis,)), axis), (axis,))


class Astype(Linear):
    """The values in another float dtype; dx = g in the dtype of x."""

    numpy = "{0}.astype({p0})"

    @staticmethod
    def forward(x: Any, dtype: Any) -> Any:
        return x.astype(dtype)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, dtype: Any) -> Any:
        return low.astype(*inputs, dtype)

    @staticmethod
    def vjp(g: Any, need: Any, dtype: Any) -> Any:
        return astype(g, need[0].dtype)


class Clone(Linear):
    """A copy of the values; dx = g."""

    instruction = "COPY"
    numpy = "{0}.copy()"

    @staticmethod
    def forward(x: Any) -> Any:
        return x.copy()

    @staticmethod
    def vjp(g: Any, need: Any) -> Any:
        return g


# The functions.


def shaped(x: Any) -> Any:
    """The argument itself where it has dimensions; a list as an array."""
    return x if hasattr(x, "ndim") else plain_array(x)


def sum(x: Any, axis: Any = None, keepdims: bool = False, **unknown: Any) -> Any:
    """The sum over all elements, or over an axis or a tuple of axes."""
    if unknown:
        refuse("sum", unknown)
    if axis is not None:
        axis = axes_of("sum", axis, x.ndim if hasattr(x, "ndim") else np.ndim(x))
    return apply(Sum, x, params=(axis, keepdims))


def expand(x: Any, shape: Any) -> Any:
    """x repeated to a larger shape by the rules of broadcasting. Also named broadcast_to.

    Raises:
        ValueError: x cannot be broadcast to that shape.
    """
    x = as_tensor(x) if on_graph(x) else np.asarray(x)
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    try:
        if x.ndim > len(shape):  # an assignment would drop axes of length 1
            raise ValueError
        return apply(Expand, x, params=(shape,))
    except ValueError:
        raise ValueError(f"expand: shape {x.shape} cannot be broadcast to {shape}") from None


broadcast_to = expand


def reshape(x: Any, *shape: Any) -> Any:
    """The same elements in another shape; one length may be -1, which is what is left."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    return apply(Reshape, x, params=(shape,))


def transpose(x: Any, *order: Any) -> Any:
    """Axes in the order given, or reversed; as NumPy's."""
    x = shaped(x)
    axes: Any = order
    if len(order) == 1 and (order[0] is None or isinstance(order[0], (tuple, list))):
        axes = order[0] or ()
    if not axes:
        return apply(Transpose, x, params=(None,))
    ndim = x.ndim
    found = tuple([one_axis("transpose", a, ndim) for a in axes])
    if len(set(found)) != ndim:
        raise ValueError(f"transpose: axes: expected an order of {ndim} axes, got {tuple(axes)}")
    return apply(Transpose, x, params=(found,))


def swapaxes(x: Any, a: int, b: int) -> Any:
    """x with two axes exchanged."""
    x = shaped(x)
    order = list(range(x.ndim))
    i, j = one_axis("swapaxes", a, x.ndim), one_axis("swapaxes", b, x.ndim)
    order[i], order[j] = order[j], order[i]
    return apply(Transpose, x, params=(tuple(order),))


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """x with axes moved to other places, as NumPy's."""
    x = shaped(x)
    source, destination = (_each_axis("moveaxis", a, x.ndim) for a in (source, destination))
    if len(source) != len(destination):
        raise ValueError(
            f"moveaxis: source, destination: expected as many of both, got {len(source)} and "
            f"{len(destination)}"
        )
    pairs = sorted(zip(destination, source, strict=True))
    order = [i for i in range(x.ndim) if i not in source]
    for place, axis in pairs:
        order.insert(place, axis)
    return transpose(x, tuple(order))


def squeeze(x: Any, axis: Any = None, **unknown: Any) -> Any:
    """x without its axes of length 1, or without those given."""
    if unknown:
        refuse("squeeze", unknown)
    x = shaped(x)
    axes = axes_of("squeeze", axis, x.ndim)
    if axes is not None:
        for a in axes:
            if x.shape[a] != 1:
                raise ValueError(f"squeeze: axis {a} has length {x.shape[a]}, expected 1")
    keep = [n for i, n in enumerate(x.shape) if (n != 1 if axes is None else i not in axes)]
    return reshape(x, tuple(keep))


def unsqueeze(x: Any, axis: int, **unknown: Any) -> Any:
    """x with an axis of length 1 at that place."""
    if unknown:
        refuse("unsqueeze", unknown)
    x = shaped(x)
    place = one_axis("unsqueeze", axis, x.ndim + 1)
    return reshape(x, x.shape[:place] + (1,) + x.shape[place:])


def flatten(x: Any, start: int = 0, **unknown: Any) -> Any:
    """The axes from `start` on as one; of a number, a vector of one element."""
    if unknown:
        refuse("flatten", unknown)
    x = shaped(x)
    place = one_axis("flatten", start, max(x.ndim, 1))
    return reshape(x, x.shape[:place] + (math.prod(x.shape[place:]),))


def flip(x: Any, axis: Any = None, **unknown: Any) -> Any:
    """The elements along axes in reverse order."""
    if unknown:
        refuse("flip", unknown)
    x = shaped(x)
    return apply(Flip, x, params=(axes_of("flip", axis, x.ndim),))


def cumsum(x: Any, axis: int | None = None, **unknown: Any) -> Any:
    """Running sums along an axis; None: of the flattened tensor."""
    if unknown:
        refuse("cumsum", unknown)
    x = shaped(x)
    if axis is None:
        x, axis = flatten(x), 0
    place = one_axis("cumsum", axis, x.ndim)
    return apply(Cumsum, x, params=(place,))


def astype(x: Any, dtype: Any) -> Any:
    """The values in another dtype; the gradient flows between float dtypes only."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiub" and on_graph(x):
        raise TypeError(f"astype: dtype: expected real numbers, got {dtype}")
    if dtype.kind != "f" and on_graph(x):
        return wrap(value_of(as_tensor(x)).astype(dtype))
    return apply(Astype, x, params=(dtype,))


def clone(x: Any) -> Any:
    """A copy with its own memory, through which the gradient flows."""
    return apply(Clone, x)
