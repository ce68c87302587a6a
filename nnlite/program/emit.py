"""What instructions are made with: where each value lies, and how an instruction walks it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..autograd.node import Unsupported
from .unify import Rows
from .values import INTEGER, MASK, REAL, Buffer, Value, is_packed, packed_strides

AXES = 4  # of a call in C
OUT, OUT2, A, B, C, D = range(6)  # its slots
MASKS = {
    "EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_NOT", "LOGICAL_AND", "LOGICAL_OR",
    "LOGICAL_XOR",
}  # fmt: skip
KIND_OF = {"f": REAL, "b": MASK, "i": INTEGER}


class Call:
    """One instruction: its operation, sizes, operands (None where a slot is empty) and numbers.

    `batch` has bit i set where size i is that for one row; `by_row` says that each row of the
    result needs the same row of the operands alone.
    """

    __slots__ = ("batch", "by_row", "fields", "op", "sizes", "slots", "weight")

    def __init__(
        self, op: str, sizes: Iterable[int], batch: int, by_row: bool,
        slots: Mapping[int, tuple[Buffer, int, tuple[int, ...]]], **fields: Any,
    ) -> None:  # fmt: skip
        self.op, self.batch, self.by_row = op, batch, by_row
        found = tuple(sizes)
        self.sizes = found + (1,) * (AXES - len(found))
        self.slots: list[Any] = [slots.get(i) for i in range(6)]
        self.fields = fields
        self.weight: Buffer | None = None  # whose whole gradient this is

    def reads(self) -> list[Buffer]:
        return [slot[0] for slot in self.slots[A:] if slot is not None]

    def writes(self) -> list[Buffer]:
        return [slot[0] for slot in self.slots[:A] if slot is not None]


class Emitter:
    """Calls, and the values that they read and write; the arguments are Lowering's."""

    def __init__(self, shapes: Mapping[int, tuple[Any, ...]], dtype: np.dtype) -> None:
        self.dtype, self.shapes = dtype, shapes
        self.calls: list[Call] = []
        self._values: dict[int, Value] = {}
        self._numbers: dict[Any, Value] = {}
        self._keep: list[Any] = []

    def unsupported(self, reason: str) -> NoReturn:
        raise Unsupported(reason)

    # Values.

    def shape_of(self, array: np.ndarray) -> tuple[tuple[int, ...], int | None]:
        """The shape of an array for one row, and the axis of the batch."""
        shape = self.shapes.get(id(array), array.shape)
        axes = [i for i, n in enumerate(shape) if type(n) is Rows]
        if len(axes) > 1:
            self.unsupported("a value has the rows of the batch along two axes")
        sizes = tuple([n.factor if type(n) is Rows else n for n in shape])
        if math.prod(sizes) == 0:
            self.unsupported("an empty value")
        return sizes, axes[0] if axes else None

    def value_of(self, array: np.ndarray) -> Value:
        """The value that an array was recorded as."""
        return self._values[id(array)]

    def operand(self, x: Any) -> Value:
        return self.array(x, "a value") if isinstance(x, np.ndarray) else self.number(x)

    def array(self, array: np.ndarray, what: str) -> Value:
        """A recorded value, or an array of the user's or of the library's as a constant."""
        found = self._values.get(id(array))
        if found is not None:
            return found
        if not isinstance(array, np.ndarray):
            array = np.asarray(array)
        kind = KIND_OF.get(array.dtype.kind)
        wanted = {REAL: self.dtype, MASK: np.dtype(bool), INTEGER: np.dtype(np.int64)}
        if kind is None or array.dtype != wanted[kind]:
            self.unsupported(f"{what} of {array.dtype} meets {self.dtype}")
        if not array.flags.aligned or any(s % array.itemsize for s in array.strides):
            self.unsupported(f"{what} is not aligned")
        if array.size == 0:
            self.unsupported(f"{what} is empty")
        self._keep.append(array)
        strides = tuple([s // array.itemsize for s in array.strides])
        buffer = Buffer(array.size, False, kind, array)
        found = self._values[id(array)] = Value(buffer, array.shape, strides)
        return found

    def constant(self, x: Any, what: str) -> Value:
        """A number or an array that no gradient flows to."""
        return self.array(x, what) if isinstance(x, np.ndarray) else self.number(x)

    def number(self, x: Any) -> Value:
        """A number in the dtype of the program; Rows are counted when it runs."""
        if type(x) is Rows:
            out = Value(Buffer(1, False), (), ())
            self.emit("COUNT", (1,), out, (), number=float(x.factor))
            return out
        if isinstance(x, np.ndarray):
            return self.array(x, "a value")
        if isinstance(x, bool):
            exact = np.array([x], bool)
        else:
            with np.errstate(over="ignore"):
                exact = np.array([x], self.dtype)
        key = exact.dtype, exact.tobytes()
        if key not in self._numbers:
            kind = MASK if isinstance(x, bool) else REAL
            buffer = Buffer(1, False, kind, exact)
            buffer.frozen = True
            self._numbers[key] = Value(buffer, (), ())
        return self._numbers[key]

    def new(self, shape: tuple[int, ...], batch: int | None, kind: str = REAL) -> Value:
        """A packed value in a new buffer."""
        buffer = Buffer(math.prod(shape), batch is not None, kind)
        return Value(buffer, shape, packed_strides(shape, batch), batch)

    # Instructions.

    def emit(
        self, op: str, sizes: Iterable[int], out: Value, operands: Iterable[Any],
        batch: int = 0, by_row: bool = False, walks: Any = None, second: Value | None = None,
        **fields: Any,
    ) -> None:  # fmt: skip
        """Adds a call; `walks` are the strides of out and the operands, else they are their own."""
        operands = list(operands)
        values = [out, *operands]
        strides = [v.strides if v is not None else () for v in values] if walks is None else walks
        slots: dict[int, Any] = {}
        for slot, v, walk in zip((OUT, A, B, C, D), values, strides, strict=False):
            if v is not None:
                steps = tuple(walk)[:AXES]
                slots[slot] = v.buffer, v.offset, steps + (0,) * (AXES - len(steps))
        if second is not None:
            slots[OUT2] = second.buffer, second.offset, (0,) * AXES
        self.calls.append(Call(op, sizes, batch, by_row, slots, **fields))

    def each(self, op: str, *operands: Value) -> Value:
        """An instruction on elements, with broadcasting."""
        shape, batch = self._broadcast(operands)
        out = self.new(shape, batch, MASK if op in MASKS else REAL)
        self._walk(op, out, [self._spread(v, shape, batch) for v in operands])
        return out

    def _broadcast(self, operands: Iterable[Value]) -> tuple[tuple[int, ...], int | None]:
        """The shape of operands together, and the axis of the batch."""
        operands = list(operands)
        ndim = max(len(v.shape) for v in operands)
        shape, batch = [1] * ndim, None
        for v in operands:
            if v.batch is not None:
                place = v.batch + ndim - len(v.shape)
                if batch not in (None, place):
                    self.unsupported("the batch lies along different axes of two operands")
                batch = place
                shape[place] = v.shape[v.batch]
        for v in operands:
            for i, n in enumerate(v.shape, ndim - len(v.shape)):
                if i == batch:
                    own = v.batch is not None
                    if (own and n != shape[i]) or (not own and n != 1):
                        self.unsupported("a constant has as many rows as the recorded batch")
                elif n != 1:
                    shape[i] = n
        return tuple(shape), batch

    def _spread(self, v: Value, shape: tuple[int, ...], batch: int | None) -> Value:
        """The value repeated to a larger shape."""
        more = len(shape) - len(v.shape)
        strides = [0] * more
        for i, (n, s) in enumerate(zip(v.shape, v.strides, strict=True)):
            repeated = v.batch is None if i + more == batch else n == 1 != shape[i + more]
            strides.append(0 if repeated else s)
        return v._replace(shape=shape, strides=tuple(strides), batch=batch)

    def _walk(self, op: str, out: Value, operands: list[Value], **fields: Any) -> None:
        """An instruction over all elements of `out`, whose shape the operands have."""
        order = sorted(range(len(out.shape)), key=lambda i: i != out.batch)
        values = [out, *operands]
        axes: list[tuple[int, list[int]]] = []
        for i in order:
            n, steps = out.shape[i], [v.strides[i] for v in values]
            if n == 1 and i != out.batch:
                continue
            if axes and all(a == b * n for a, b in zip(axes[-1][1], steps, strict=True)):
                axes[-1] = axes[-1][0] * n, steps
            else:
                axes.append((n, steps))
        if len(axes) > AXES:
            self.unsupported(f"elements that lie in more than {AXES} directions")
        more = AXES - len(axes)
        axes = [(1, [0] * len(values))] * more + axes
        walks = [[axis[1][k] for axis in axes] for k in range(len(values))]
        batched = out.batch is not None
        mask = int(batched) << more
        self.emit(op, [n for n, _ in axes], out, operands, mask, batched, walks, **fields)

    def copied(self, v: Value) -> Value:
        """The value in a packed buffer of its own."""
        out = self.new(v.shape, v.batch, v.kind)
        if v.kind != REAL:
            self.unsupported("a slice of truth values or integers")
        self._walk("COPY", out, [v])
        return out

    def packed(self, v: Value) -> Value:
        """The value with contiguous elements."""
        return v if is_packed(v) else self.copied(v)

    def owned(self, v: Value) -> Value:
        """The value with contiguous elements in memory of the program."""
        outside = v.buffer.name is not None or v.buffer.array is not None
        return self.copied(v) if outside or not is_packed(v) else v

    def elements(self, op: str, *operands: Value, **fields: Any) -> Value:
        """A kernel on contiguous elements; the operands have one shape."""
        shape, batch = self._broadcast(operands)
        parts = [self.packed(self._spread(v, shape, batch)) for v in operands]
        out = self.new(shape, batch)
        batched = batch is not None
        sizes = (out.size, 1, 1, 1)
        self.emit(op, sizes, out, parts, int(batched), batched, [()] * (1 + len(parts)), **fields)
        return out

    def rows(self, op: str, *operands: Value) -> Value:
        """A kernel on contiguous rows, the last axis."""
        parts = [self.packed(v) for v in operands]
        shape, batch = parts[0].shape, parts[0].batch
        if not shape or batch == len(shape) - 1:
            self.unsupported(f"{op.lower()} along the batch")
        if any(v.shape != shape or v.batch != batch for v in parts):
            self.unsupported(f"{op.lower()} of operands of different shapes")
        out = self.new(shape, batch)
        sizes = (math.prod(shape[:-1]), 1, 1, shape[-1])
        batched = batch is not None
        self.emit(op, sizes, out, parts, int(batched), batched, [()] * (1 + len(parts)))
        return out
