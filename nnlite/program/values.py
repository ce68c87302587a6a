"""Where the values of a program lie: buffers, and values as strided parts of them.

A value has a shape and strides like an array of NumPy, and perhaps one axis that is the batch: its
length in `shape` is then that for one row. Buffers of such values have the rows one after another,
so that a program may run on any rows: values lie with the batch outermost, whatever axis it is.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

REAL, MASK, INTEGER = "real", "mask", "integer"


class Buffer:
    """Memory of a program.

    Attributes:
        size: elements; of one row of the batch where `batched`.
        kind: REAL, MASK (bytes) or INTEGER (int64).
        array: the array that it is, of the user or of a constant; None for memory of the program.
        name: what it is bound to before a run ("x", "y"), or where it is read after it; None for
            what lives between calls.
        frozen: whether the array is a number of the code, which nothing changes, unlike a
            parameter's or a user's array.
    """

    __slots__ = ("array", "batched", "frozen", "kind", "name", "number", "size")

    def __init__(
        self, size: int, batched: bool, kind: str = REAL, array: Any = None, name: str | None = None
    ) -> None:
        self.size, self.batched, self.kind = size, batched, kind
        self.array, self.name = array, name
        self.frozen = False
        self.number = -1  # its place in the table

    def bytes_of(self, dtype: np.dtype) -> int:
        """Bytes of an element."""
        return {REAL: dtype.itemsize, MASK: 1, INTEGER: 8}[self.kind]


class Value(NamedTuple):
    """A strided part of a buffer; `batch` is the axis that is the batch, or None."""

    buffer: Buffer
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    batch: int | None = None
    offset: int = 0

    @property
    def size(self) -> int:
        """Elements; of one row where it is batched."""
        return math.prod(self.shape)

    @property
    def kind(self) -> str:
        return self.buffer.kind


def packed_strides(shape: tuple[int, ...], batch: int | None) -> tuple[int, ...]:
    """The strides of contiguous elements, with the axis of the batch outermost."""
    order = [i for i in range(len(shape)) if i != batch]
    strides, step = [0] * len(shape), 1
    for i in reversed(order):
        strides[i] = step
        step *= shape[i]
    if batch is not None:
        strides[batch] = step
    return tuple(strides)


def is_packed(v: Value) -> bool:
    """True when the elements are contiguous, with the axis of the batch outermost."""
    wanted = packed_strides(v.shape, v.batch)
    return all(
        s == w or (n == 1 and i != v.batch)
        for i, (n, s, w) in enumerate(zip(v.shape, v.strides, wanted, strict=True))
    )
