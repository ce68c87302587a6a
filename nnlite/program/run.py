"""A program as C has it: its calls, and the memory of one run of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._core import native
from ..nn.parameter import aligned_zeros
from .emit import Call
from .plan import placed
from .values import INTEGER, MASK, REAL, Buffer, Value


def live(calls: Sequence[Call], wanted: Iterable[Buffer]) -> list[Call]:
    """The calls that the wanted buffers need, in their order."""
    needed = {id(b) for b in wanted}
    found = []
    for call in reversed(calls):
        if any(id(b) in needed for b in call.writes()):
            needed.update(id(b) for b in call.reads())
            found.append(call)
    return found[::-1]


class Program:
    """Calls over a table of buffers.

    Args:
        calls: in the order of their run.
        kept: buffers that are read after a run, or bound before it.
        dtype: of the real values.
        counters: modules with a random stream that the calls read, with the calls of one run.

    Attributes:
        places: {buffer: its number in the table}.
    """

    def __init__(
        self, calls: Sequence[Call], kept: Iterable[Buffer], dtype: np.dtype,
        counters: Sequence[tuple[Any, int]] = (),
    ) -> None:  # fmt: skip
        self.dtype, self.list, self.counters = dtype, list(calls), list(counters)
        self.kept = list(dict.fromkeys(kept))
        found: dict[Buffer, None] = dict.fromkeys(self.kept)
        for call in calls:
            found.update(dict.fromkeys(call.writes() + call.reads()))
        self.buffers = list(found)
        self.places = {b: i for i, b in enumerate(self.buffers)}
        sizes = [b.size * b.bytes_of(dtype) for b in self.buffers]
        own = [b.array is None and b.name is None for b in self.buffers]
        self._tables = (
            native.integers(
                [n if b.batched else 0 for b, n in zip(self.buffers, sizes, strict=True)]
            ),
            native.integers(
                [0 if b.batched else n for b, n in zip(self.buffers, sizes, strict=True)]
            ),
            native.bytes_of(own),
            native.counters([calls for _, calls in self.counters]),
        )
        self.calls = native.structs("call", max(len(calls), 1))
        for target, call in zip(self.calls, calls, strict=False):
            self._write(target, call)

    def _write(self, target: Any, call: Call) -> None:
        target.op = getattr(native, f"OP_{call.op}")
        target.batch, target.by_row = call.batch, call.by_row
        target.size = call.sizes
        target.weight = 0 if call.weight is None else 1 + self.places[call.weight]
        for name, value in call.fields.items():
            setattr(target, name, value)
        for slot, operand in zip(target.slot, call.slots, strict=True):
            slot.buffer = -1
            if operand is not None:
                buffer, offset, strides = operand
                slot.buffer = self.places[buffer]
                slot.offset = offset * buffer.bytes_of(self.dtype)
                slot.stride = strides

    def fill(self, target: Any) -> None:
        """Writes what all runs have in common into a nnl_program."""
        target.count, target.buffers = len(self.list), len(self.buffers)
        target.calls = self.calls
        target.row_bytes, target.fixed_bytes, target.own, target.counts = self._tables
        target.counter_count = len(self.counters)
        target.input = target.target = target.weight = target.output = target.loss = -1

    def bytes_of(self, b: Buffer, rows: int) -> int:
        """Bytes of a buffer for batches of so many rows."""
        return b.size * b.bytes_of(self.dtype) * (rows if b.batched else 1)


class Memory:
    """The buffers of one run of a program, for batches of at most `rows` rows.

    Args:
        apart: no two buffers share memory, as threads need that share a batch.
        target: the nnl_program to write; a new one unless it is given.

    Attributes:
        struct: the nnl_program.
        nbytes: of all that it owns.
    """

    def __init__(
        self, program: Program, rows: int = 1, apart: bool = False, target: Any = None
    ) -> None:
        self.program, self.rows = program, rows
        self.table = native.places(max(len(program.buffers), 1))
        self.counters = native.counters([0] * len(program.counters))
        self.bad_row = native.cell("int64_t")
        self._checked = native.cell("int64_t")
        self.thread_tables: Any = None  # of threads over which a batch is split
        sizes = {
            b: program.bytes_of(b, rows) for b in program.buffers if b.array is None and not b.name
        }
        offsets, self.nbytes = placed(program.list, sizes, program.kept, apart)
        block = aligned_zeros(self.nbytes, np.dtype(np.uint8))
        self._views: dict[Buffer, np.ndarray] = {}
        for i, b in enumerate(program.buffers):
            if b.array is not None:
                self._views[b] = b.array
            elif b in offsets:
                self._views[b] = block[offsets[b] : offsets[b] + sizes[b]]
            if b in self._views:
                self.table[i] = native.address(self._views[b])
        self.struct = native.struct("program") if target is None else target
        self.fill(self.struct)

    def fill(self, target: Any) -> None:
        """Writes the program into a nnl_program."""
        self.program.fill(target)
        target.table, target.counters, target.bad_row = self.table, self.counters, self.bad_row
        target.checked = self._checked

    def bind(self, buffer: Buffer, array: np.ndarray) -> None:
        """Says where a named buffer lies; the caller keeps the array."""
        place = self.program.places.get(buffer)
        if place is not None:
            self.table[place] = native.address(array)

    def view(self, v: Value, rows: int = 1) -> np.ndarray:
        """A value as an array, in the program's memory."""
        kinds = {REAL: self.program.dtype, MASK: np.dtype(bool), INTEGER: np.dtype(np.int64)}
        dtype = kinds[v.kind]
        shape = [n * rows if i == v.batch else n for i, n in enumerate(v.shape)]
        strides = [s * dtype.itemsize for s in v.strides]
        flat = self._views[v.buffer].reshape(-1).view(np.uint8)
        return np.ndarray(shape, dtype, flat.data, v.offset * dtype.itemsize, strides)

    def run(self, threads: int, rows: int = 1) -> int:
        """Runs all calls; the status."""
        return int(native.KERNELS[self.program.dtype].Program_run(self.struct, rows, threads))
