"""Joining and splitting: concatenate, stack, split, repeat, tile; slices undo a concatenation."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..foreign import refuse
from ..operation import Linear, apply, as_tensor, on_graph, promoted
from .shaping import expand, flatten, one_axis, reshape, shaped, unsqueeze


class Concatenate(Linear):
    """Tensors joined along an axis, whose ends along it are `ends`; each gets its part of g."""

    numpy = "np.concatenate([{inputs}], axis={p0})"

    @staticmethod
    def forward(*args: Any) -> Any:
        *arrays, axis, _ = args
        return np.concatenate(arrays, axis=axis)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, axis: int, ends: Any) -> Any:
        return low.concatenate(inputs, axis, out)

    @staticmethod
    def vjp(g: Any, need: Any, axis: int, ends: tuple[int, ...]) -> Any:
        before = (slice(None),) * axis
        starts = (0, *ends[:-1])
        return tuple(
            None if p is None else g[(*before, slice(i, j))]
            for p, i, j in zip(need, starts, ends, strict=True)
        )


def concatenate(tensors: Any, axis: int = 0, **unknown: Any) -> Any:
    """Tensors joined along an existing axis."""
    if unknown:
        refuse("concatenate", unknown)
    tensors = _several("concatenate", tensors)
    if not on_graph(*tensors):
        return np.concatenate(tensors, axis=axis)
    tensors = promoted(*[as_tensor(x) for x in tensors])
    first = tensors[0]
    place = one_axis("concatenate", axis, first.ndim)
    for i, x in enumerate(tensors):
        same = x.shape[:place] + first.shape[place : place + 1] + x.shape[place + 1 :]
        if x.ndim != first.ndim or same != first.shape:
            raise ValueError(
                f"concatenate: tensor {i} has shape {x.shape}, tensor 0 {first.shape}; they must "
                f"agree in every axis but {axis}"
            )
    ends = tuple(itertools.accumulate([x.shape[place] for x in tensors]))
    return apply(Concatenate, *tensors, params=(place, ends))


def stack(tensors: Any, axis: int = 0, **unknown: Any) -> Any:
    """Tensors of one shape joined along a new axis."""
    if unknown:
        refuse("stack", unknown)
    tensors = _several("stack", tensors)
    if not on_graph(*tensors):
        return np.stack(tensors, axis=axis)
    tensors = [as_tensor(x) for x in tensors]
    for i, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise ValueError(f"stack: tensor {i} has shape {x.shape}, tensor 0 {tensors[0].shape}")
    ndim = tensors[0].ndim + 1
    if type(axis) is int and not -ndim <= axis < ndim:
        raise ValueError(f"stack: axis {axis} does not exist; the result has {ndim} dimensions")
    return concatenate([unsqueeze(x, axis) for x in tensors], axis)


def _several(operation: str, tensors: Any) -> Any:
    if not isinstance(tensors, (list, tuple)) or not tensors:
        raise ValueError(f"{operation}: tensors: expected a list of at least one")
    return tensors


def split(x: Any, parts: Any, axis: int = 0, **unknown: Any) -> list[Any]:
    """x cut along an axis, as NumPy's: into that many equal parts, or at the places of a list.

    Raises:
        ValueError: the axis cannot be cut into that many equal parts.
    """
    if unknown:
        refuse("split", unknown)
    x = shaped(x)
    place = one_axis("split", axis, x.ndim)
    length = x.shape[place]
    if isinstance(parts, (int, np.integer)):
        if parts < 1 or length % parts:
            raise ValueError(f"split: parts: {length} elements are not {parts} equal parts")
        cuts = [length // parts * i for i in range(1, parts)]
    else:
        cuts = [int(c) for c in parts]
    before = (slice(None),) * place
    return [x[(*before, slice(i, j))] for i, j in zip([0, *cuts], [*cuts, length], strict=True)]


def repeat(x: Any, repeats: int, axis: int | None = None, **unknown: Any) -> Any:
    """Each element that many times in a row, as NumPy's repeat; None: of the flattened tensor."""
    if unknown:
        refuse("repeat", unknown)
    x = shaped(x)
    if axis is None:
        x, axis = flatten(x), 0
    place = one_axis("repeat", axis, x.ndim)
    shape = x.shape
    wide = expand(unsqueeze(x, place + 1), shape[: place + 1] + (repeats,) + shape[place + 1 :])
    return reshape(wide, shape[:place] + (shape[place] * repeats,) + shape[place + 1 :])


def tile(x: Any, counts: Any) -> Any:
    """The whole tensor that many times along each axis, as NumPy's tile and PyTorch's repeat."""
    x = shaped(x)
    counts = tuple(counts) if isinstance(counts, (list, tuple)) else (counts,)
    shape = (1,) * (len(counts) - x.ndim) + tuple(x.shape)
    counts = (1,) * (len(shape) - len(counts)) + counts
    inner = [n for size in shape for n in (1, size)]
    outer = [n for pair in zip(counts, shape, strict=True) for n in pair]
    wide = expand(reshape(x, tuple(inner)), tuple(outer))
    return reshape(wide, tuple([c * n for c, n in zip(counts, shape, strict=True)]))
