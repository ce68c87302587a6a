"""From recorded calls to instructions: where each value lies, and how an instruction walks it.

An operation's class says what it becomes (`instruction` and `walk`, or `lower`); here is what they
are made with. What only repeats, reshapes or slices a value costs no instruction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from .._core import native
from ..autograd.node import Unsupported
from ..autograd.ops.shaping import axis_groups
from .tape import Counter, Entry, Rows, located
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


class Lowering:
    """The instructions of a tape.

    Args:
        entries: the calls, in their order.
        shapes: {id of an array: sizes} where they are not the array's own (`Unifier.shapes`).
        dtype: of all real values.
        known: {id of an array: Buffer} of arguments and parameters.
        mark: an entry; `marked` is then the number of calls before it.
    """

    def __init__(
        self, entries: list[Entry], shapes: Mapping[int, tuple[Any, ...]], dtype: np.dtype,
        known: Mapping[int, tuple[np.ndarray, Buffer]], mark: int = -1,
    ) -> None:  # fmt: skip
        self.dtype, self.shapes, self.marked = dtype, shapes, 0
        self.calls: list[Call] = []
        self.counters: list[Any] = []  # modules with a random stream
        self._values: dict[int, Value] = {}
        self._numbers: dict[Any, Value] = {}
        self._keep: list[Any] = []
        for array, buffer in known.values():
            shape, batch = self.shape_of(array)
            self._values[id(array)] = Value(buffer, shape, packed_strides(shape, batch), batch)
        for number, entry in enumerate(entries):
            if number == mark:
                self.marked = len(self.calls)
            try:
                self._lower(entry)
            except Unsupported as reason:
                raise Unsupported(located(str(reason), entry.line)) from None
        if mark >= len(entries) or mark < 0:
            self.marked = len(self.calls)

    def _lower(self, entry: Entry) -> None:
        inputs = [self.operand(x) for x in entry.inputs]
        op, out = entry.op, entry.outs
        made = op.lower(self, inputs, out[0] if len(out) == 1 else out, *entry.params)
        for array, value in zip(out, made if isinstance(made, list) else [made], strict=True):
            if self.shape_of(array) != (value.shape, value.batch):
                self.unsupported(f"{op.name} has a shape here that a program cannot follow")
            self._values[id(array)] = value

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

    # Shapes.

    def reshape(self, v: Value, out: np.ndarray) -> Value:
        shape, batch = self.shape_of(out)
        v = self.packed(v)
        for s, b in ((v.shape, v.batch), (shape, batch)):
            if (b is None) != (v.batch is None) or (b and math.prod(s[:b]) != 1):
                self.unsupported("a reshape that moves the rows of the batch")
        return Value(v.buffer, shape, packed_strides(shape, batch), batch, v.offset)

    def _reshaped(self, v: Value, shape: tuple[int, ...], batch: int | None) -> Value:
        v = self.packed(v)
        return Value(v.buffer, shape, packed_strides(shape, batch), batch, v.offset)

    def expand(self, v: Value, out: np.ndarray) -> Value:
        return self._spread(v, *self.shape_of(out))

    def transpose(self, v: Value, axes: Any) -> Value:
        axes = tuple(reversed(range(len(v.shape)))) if axes is None else axes
        return v._replace(
            shape=tuple([v.shape[i] for i in axes]), strides=tuple([v.strides[i] for i in axes]),
            batch=None if v.batch is None else axes.index(v.batch),
        )  # fmt: skip

    def transposed(self, v: Value) -> Value:
        return self.transpose(v, None)

    def flip(self, v: Value, axes: Any) -> Value:
        axes = range(len(v.shape)) if axes is None else axes
        offset, strides = v.offset, list(v.strides)
        for i in axes:
            if i == v.batch:
                self.unsupported("a flip of the batch")
            offset += (v.shape[i] - 1) * strides[i]
            strides[i] = -strides[i]
        return v._replace(offset=offset, strides=tuple(strides))

    def index(self, v: Value, index: Any) -> Value:
        """v[index] with integers, slices, None and Ellipsis."""
        parts = list(index) if isinstance(index, tuple) else [index]
        named = sum(part is not None and part is not Ellipsis for part in parts)
        if Ellipsis not in [p for p in parts if p is None or p is Ellipsis]:
            parts.append(Ellipsis)
        place = next(i for i, p in enumerate(parts) if p is Ellipsis)
        parts[place : place + 1] = [slice(None)] * (len(v.shape) - named)
        shape: list[int] = []
        strides: list[int] = []
        offset, batch, axis = v.offset, None, 0
        for part in parts:
            if part is None:
                shape.append(1)
                strides.append(0)
                continue
            n, step = v.shape[axis], v.strides[axis]
            if axis == v.batch:
                if part != slice(None):
                    self.unsupported("an index of rows of the batch")
                batch = len(shape)
                shape.append(n)
                strides.append(step)
            elif isinstance(part, slice):
                start, stop, by = part.indices(n)
                shape.append(len(range(start, stop, by)))
                strides.append(step * by)
                offset += start * step
            else:
                offset += (int(part) % n) * step
            axis += 1
        if math.prod(shape) == 0:
            self.unsupported("an empty value")
        return Value(v.buffer, tuple(shape), tuple(strides), batch, offset)

    def scatter(self, g: Value, index: Any, out: np.ndarray) -> Value:
        """Zeros with g at the places of an index of integers and slices."""
        full = self.new(*self.shape_of(out))
        self._walk("COPY", full, [self._spread(self.number(0.0), full.shape, full.batch)])
        self._write(self.index(full, index), g)
        return full

    def _write(self, part: Value, v: Value) -> None:
        """Copies a value into a part of a buffer."""
        if part.batch != v.batch or part.shape != v.shape:
            v = self._spread(v, part.shape, part.batch)
        self._walk("COPY", part, [v])

    def concatenate(self, parts: list[Value], axis: int, out: np.ndarray) -> Value:
        shape, batch = self.shape_of(out)
        if batch == axis:
            self.unsupported("a concatenation along the batch")
        full = self.new(shape, batch)
        start = 0
        for v in parts:
            end = start + v.shape[axis]
            self._write(self.index(full, (*(slice(None),) * axis, slice(start, end))), v)
            start = end
        return full

    def astype(self, v: Value, dtype: Any) -> Value:
        if v.kind == MASK and dtype == self.dtype:
            return self.each("FROM_MASK", v)
        if v.kind != REAL or dtype != self.dtype:
            self.unsupported(f"a conversion to {np.dtype(dtype)}")
        return v

    # Reductions.

    def sum(self, v: Value, axes: Any, out: np.ndarray) -> Value:
        return self._reduce("SUM", v, axes, out)

    def _reduce(self, op: str, v: Value, axes: Any, out: np.ndarray) -> Value:
        return self._reshaped(self._reduce_to(op, v, axes), *self.shape_of(out))

    def _reduce_to(self, op: str, v: Value, axes: Any) -> Value:
        """A reduction over axes, which stay with length 1, group by group, the last group first."""
        if v.batch:
            self.unsupported("a reduction of a value whose batch is not its first axis")
        found = v = self.packed(v)
        for first, last in axis_groups(len(v.shape), axes):
            sizes = [math.prod(found.shape[:first]), math.prod(found.shape[first:last]),
                     math.prod(found.shape[last:]), 1]  # fmt: skip
            over_batch = found.batch == 0 and first == 0
            mask = 0 if found.batch is None else 2 if over_batch else 1
            left = (*found.shape[:first], *(1,) * (last - first), *found.shape[last:])
            made = self.new(left, None if over_batch else found.batch)
            self.emit(op, sizes, made, [found], mask, mask == 1, [(), ()])
            found = made
        if found is v:
            found = self.each("ADD", v, self.number(0.0))
        return found

    def extremum(self, op: str, v: Value, axes: Any, out: np.ndarray) -> Value:
        """A maximum or minimum over adjacent axes: the order decides between 0 and -0."""
        if len(axis_groups(len(v.shape), axes)) > 1:
            self.unsupported(f"{op.lower()} over axes that are not adjacent")
        return self._reduce(op, v, axes, out)

    def first(self, op: str, v: Value, axes: Any) -> Value:
        """The mask of the first extremum over axes."""
        groups = axis_groups(len(v.shape), axes)
        if v.batch or len(groups) != 1 or (v.batch == 0 and groups[0][0] == 0):
            self.unsupported(f"the gradient of {op[6:].lower()} over the batch or several axes")
        v = self.packed(v)
        ((first, last),) = groups
        sizes = [math.prod(v.shape[:first]), math.prod(v.shape[first:last]),
                 math.prod(v.shape[last:]), 1]  # fmt: skip
        out, batched = self.new(v.shape, v.batch, MASK), v.batch is not None
        self.emit(op, sizes, out, [v], int(batched), batched, [(), ()])
        return out

    def logsumexp(self, v: Value, axes: Any, out: np.ndarray) -> Value:
        """log sum e^(x - top) + top, with top = 0 where the maximum is not finite."""
        shape, batch = self.shape_of(out)
        gone = range(len(v.shape)) if axes is None else axes
        if v.batch is not None and v.batch in gone:
            self.unsupported("logsumexp over the batch")
        top = self._reduce_to("MAX", v, axes)
        finite = self.each("LESS", self.each("ABS", top), self.number(math.inf))
        top = self.each("WHERE", finite, top, self.number(0.0))
        powers = self.elements("EXP", self.each("SUB", v, top))
        total = self.elements("LOG", self._reduce_to("SUM", powers, axes))
        return self._reshaped(self.each("ADD", total, top), shape, batch)

    def mean(self, v: Value, axes: Any, out: np.ndarray) -> Value:
        total = self.sum(v, axes, out)
        reduced = range(len(v.shape)) if axes is None else axes
        count: Any = math.prod(v.shape[i] for i in reduced)
        if v.batch is not None and v.batch in reduced:
            count = Rows(count)
        return self.each("DIV", total, self.number(count))

    # Products.

    def gemm(
        self, a: Value, b: Value, bias: Value | None = None, sums: bool = False,
        gradient: bool = False,
    ) -> Any:  # fmt: skip
        """The product of two matrices, either of which may be a transpose, from a bias.

        With `sums` also the column sums of b; a gradient holds nothing below the normal range.
        """
        if b.batch == 1 and a.batch is None and bias is None and not sums:
            turned = self.gemm(self.transposed(b), self.transposed(a), gradient=gradient)
            return self.transposed(turned)
        a, b = (v if _is_matrix(v) else self.copied(v) for v in (a, b))
        if sums:
            b = self.packed(b)
        if bias is not None:
            bias = self.packed(bias)
        (m, k), n = a.shape, b.shape[1]
        by_row = a.batch == 0 and b.batch is None
        over_rows = a.batch == 1 and b.batch == 0
        if not (by_row or over_rows or (a.batch is None and b.batch is None)):
            self.unsupported("a product of values with the rows of the batch in unlike places")
        out = self.new((m, n), 0 if by_row else None)
        second = self.new((n,), None) if sums else None
        walks = [(0, *v.strides) for v in (out, a, b)] + [(), ()]
        mask = 2 if by_row else 8 if over_rows else 0
        self.emit(
            "GEMM", (1, m, n, k), out, [a, b, bias, None], mask, by_row, walks, second,
            flag=native.GRADIENT if gradient else 0,
        )  # fmt: skip
        return out if second is None else [out, second]

    def matmul(self, a: Value, b: Value, out: np.ndarray, gradient: bool) -> Value:
        """NumPy's matmul: vectors, matrices, and stacks of them."""
        shape, batch = self.shape_of(out)
        left = a if len(a.shape) > 1 else self.index(a, (None, slice(None)))
        right = b if len(b.shape) > 1 else self.index(b, (slice(None), None))
        if len(right.shape) == 2 and left.batch in (None, 0) and right.batch is None:
            columns = left.shape[-1]
            if len(left.shape) > 2:
                rows = math.prod(left.shape[:-1])
                left = self._reshaped(left, (rows, columns), left.batch)
            found = self.gemm(left, right, gradient=gradient)
        elif len(left.shape) == len(right.shape) == 2:
            found = self.gemm(left, right, gradient=gradient)
        else:
            found = self._stack(left, right, gradient)
        if found.shape == shape and found.batch == batch:
            return found
        return self._reshaped(found, shape, batch)

    def _stack(self, a: Value, b: Value, gradient: bool) -> Value:
        lead_a = a._replace(shape=a.shape[:-2], strides=a.strides[:-2])
        lead_b = b._replace(shape=b.shape[:-2], strides=b.strides[:-2])
        if any(v.batch is not None and v.batch != 0 for v in (a, b)) or any(
            v.batch is not None and len(v.shape) < 3 for v in (a, b)
        ):
            self.unsupported("a stack of products whose batch is not the first axis")
        lead, batch = self._broadcast([lead_a, lead_b])
        if batch:
            self.unsupported("a stack of products whose batch is not the first axis")
        parts = []
        for v in (a, b):
            if math.prod(v.shape[:-2]) == 1 and v.batch is None:
                v = v._replace(shape=v.shape[-2:], strides=v.strides[-2:])
                v = v if _is_matrix(v) else self.copied(v)
                parts.append(v._replace(shape=(1, *v.shape), strides=(0, *v.strides)))
                continue
            full = self._spread(v, lead + v.shape[-2:], batch)
            parts.append(self._one_lead(full, len(lead)))
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        count = math.prod(lead)
        out = self.new((*lead, m, n), batch)
        walks = [(m * n, n, 1), parts[0].strides, parts[1].strides, (), ()]
        batched = batch is not None
        self.emit(
            "GEMM", (count, m, n, k), out, [*parts, None, None], int(batched), batched, walks,
            flag=native.GRADIENT if gradient else 0,
        )  # fmt: skip
        return out

    def _one_lead(self, v: Value, lead: int) -> Value:
        """A stack of matrices whose leading axes are one; the matrices may be transposes."""
        turned = v._replace(shape=(*v.shape[:-2], v.shape[-1], v.shape[-2]),
                            strides=(*v.strides[:-2], v.strides[-1], v.strides[-2]))  # fmt: skip
        for x, back in ((v, False), (turned, True)):
            if is_packed(x):
                shape = (math.prod(x.shape[:-2]), *x.shape[-2:])
                strides = packed_strides(shape, 0 if v.batch is not None else None)
                if back:
                    shape, strides = (shape[0], shape[2], shape[1]), (
                        strides[0], strides[2], strides[1],
                    )  # fmt: skip
                batch = None if v.batch is None else 0
                return Value(v.buffer, shape, strides, batch, v.offset)
        return self._one_lead(self.copied(v), lead)

    # What has numbers of its own.

    def dropout(
        self, v: Value, p: float, seed: int, stream: int, step: int, gradient: bool = False
    ) -> Value:
        if v.batch:
            self.unsupported("dropout of a value whose batch is not its first axis")
        index, offset = self._counter(step)
        return self.elements(
            "DROPOUT", v, number=float(p), seed=int(seed), integer=index, step=offset,
            purpose=native.DROPOUT_PURPOSE + int(stream), flag=int(gradient),
        )  # fmt: skip

    def _counter(self, step: int) -> tuple[int, int]:
        """Which counter a random stream reads, and what is added to it."""
        owner, offset = (step.owner, step.offset) if type(step) is Counter else (None, int(step))
        for i, other in enumerate(self.counters):
            if other is owner:
                return i, offset
        self.counters.append(owner)
        return len(self.counters) - 1, offset

    def loss(
        self, op: str, v: Value, target: Any, grad: Any, reduction: str, weight: Any,
        smoothing: float, ignore_index: int, sample_weight: Any,
    ) -> Value:  # fmt: skip
        """A loss of rows, and its gradient by them."""
        if v.batch or (len(v.shape) != 2 and op != "MSE"):
            self.unsupported(f"{op.lower()} of a value of shape {v.shape}")
        v = self.packed(v)
        t = self.packed(self.array(target, "the target"))
        reals = t.kind == REAL
        if t.batch != v.batch or (reals and t.shape != v.shape):
            self.unsupported("a target of another shape")
        weights = None
        if weight is not None:
            weights = self.packed(self.array(np.ascontiguousarray(weight, self.dtype), "weights"))
        given = None if sample_weight is None else self.packed(self.array(sample_weight, "weights"))
        out, batched = Value(Buffer(2, False), (2,), (1,)), v.batch is not None
        slope = self.new(v.shape, v.batch)
        rows = v.shape[0] if v.shape else 1
        self.emit(
            op, (rows, 1, 1, math.prod(v.shape[1:])), out, [v, t, weights, given], int(batched),
            False, [()] * 5, slope, flag=int(reals), number=smoothing, integer=int(ignore_index),
            reduction=native.MEAN if reduction == "mean" else native.SUM,
        )  # fmt: skip
        if grad is not None:
            self._values[id(grad)] = slope
            self._keep.append(grad)
        return Value(out.buffer, (), ())


def _is_matrix(v: Value) -> bool:
    """True for what a product reads as it lies: rows or columns are contiguous."""
    rows, columns = v.strides
    m, n = v.shape
    return (columns == 1 and (rows >= n or m == 1)) or (rows == 1 and (columns >= m or n == 1))
