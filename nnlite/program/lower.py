"""From recorded calls to instructions: shapes, reductions, products, losses.

An operation's class says what it becomes (`instruction` and `walk`, or `lower`); here is what they
are made with. What only repeats, reshapes or slices a value costs no instruction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core import native
from ..autograd.node import Unsupported
from ..autograd.ops.shaping import axis_groups
from ..autograd.tape import Counter, Entry, located
from .emit import Emitter
from .unify import Rows
from .values import MASK, REAL, Buffer, Value, is_packed, packed_strides


class Lowering(Emitter):
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
        super().__init__(shapes, dtype)
        self.marked = 0
        self.counters: list[Any] = []  # modules with a random stream
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
