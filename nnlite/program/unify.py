"""Two recordings as one: what holds for any rows of a batch.

A recording is of one batch size. Two of different sizes are one program for every size when they
differ in nothing but sizes that are c times the rows of their batch, with the same c.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..autograd.node import Unsupported
from ..autograd.tape import Counter, Entry, Shape, Tape, at
from ..autograd.tensor import Tensor


class Rows(NamedTuple):
    """A size that is `factor` times the rows of the batch."""

    factor: int


class Unifier:
    """Compares two tapes of the same function at different batch sizes.

    Args:
        one, two: the tapes; `rows` are the rows of their batches.
        pairs: (array, array) of arguments, which are known to correspond.
    """

    def __init__(self, one: Tape, two: Tape, rows: tuple[int, int], pairs: Any) -> None:
        self.rows = rows
        self.shapes: dict[int, tuple[Any, ...]] = {}
        self._same: dict[int, int] = {}
        for a, b in pairs:
            self._bind(a, b)
        if len(one.entries) != len(two.entries):
            raise Unsupported("it makes other calls for another batch size")
        self.entries = [self._entry(x, y) for x, y in zip(one.entries, two.entries, strict=True)]

    def _entry(self, x: Entry, y: Entry) -> Entry:
        if x.op is not y.op or len(x.inputs) != len(y.inputs) or len(x.outs) != len(y.outs):
            raise Unsupported(f"it makes other calls for another batch size{at(x.line)}")
        try:
            filled = getattr(x.op, "fills", None)
            if filled is not None and x.params[filled] is not None:
                self._bind(x.params[filled], y.params[filled])
            inputs = tuple([self._value(a, b) for a, b in zip(x.inputs, y.inputs, strict=True)])
            params = self._value(x.params, y.params)
            for a, b in zip(x.outs, y.outs, strict=True):
                self._bind(a, b)
        except Unsupported as reason:
            raise Unsupported(f"{reason}{at(x.line)}") from None
        return Entry(x.op, inputs, params, x.outs, x.line)

    def _bind(self, a: np.ndarray, b: np.ndarray) -> None:
        """Two arrays that are the same value in the two recordings."""
        if a.ndim != b.ndim or a.dtype != b.dtype:
            raise Unsupported("a value has another shape for another batch size")
        self._same[id(a)] = id(b)
        self.shapes[id(a)] = tuple([self.size(m, n) for m, n in zip(a.shape, b.shape, strict=True)])

    def size(self, m: int, n: int) -> Any:
        """A size: a number, or so many for each row."""
        if m == n:
            return m
        first, second = self.rows
        if m % first == 0 and n % second == 0 and m // first == n // second:
            return Rows(m // first)
        raise Unsupported(f"a size is {m} for {first} rows and {n} for {second}")

    def _value(self, a: Any, b: Any) -> Any:
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return self._array(a, b)
        if type(a) is not type(b):
            raise Unsupported("an argument of a call differs between two recordings")
        if type(a) is Tensor:
            self._array(a._data, b._data)
            return a
        if isinstance(a, tuple | list):
            if len(a) != len(b):
                raise Unsupported("an argument of a call differs between two recordings")
            kind = tuple if type(a) is Shape else type(a)
            return kind([self._value(x, y) for x, y in zip(a, b, strict=True)])
        if type(a) is Counter:
            return a
        if type(a) is int:
            return self.size(a, b)
        if type(a) is slice:
            parts = [(a.start, b.start), (a.stop, b.stop), (a.step, b.step)]
            if any(x != y for x, y in parts):
                raise Unsupported("a slice depends on the batch size")
            return a
        if a is b or _same_constant(a, b):
            return a
        raise Unsupported("a number differs between two recordings: it was computed from values")

    def _array(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        known = self._same.get(id(a))
        if known is None and a is not b:  # a constant that each call makes anew
            if a.shape != b.shape or a.dtype != b.dtype or a.tobytes() != b.tobytes():
                raise Unsupported(
                    "an array is made anew by each call, from values that change or with the rows "
                    "of the batch"
                )
            self._same[id(a)] = id(b)
        elif known is not None and known != id(b):
            raise Unsupported("it makes other calls for another batch size")
        return a


def _same_constant(a: Any, b: Any) -> bool:
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    try:
        return bool(a == b)
    except Exception:
        return False
