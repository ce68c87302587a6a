"""Runs programs of csrc/ops.h call by call, on guarded copies of arrays of any layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from helpers import Guarded

from nnlite._core import native

OUT, OUT2, A, B, C, D = range(6)


def owner(view: np.ndarray) -> np.ndarray:
    """The array whose memory a view shows."""
    while view.base is not None:
        view = view.base
    return view


def step_of(view: np.ndarray) -> tuple[int, ...]:
    """Strides in elements, of the last four axes."""
    steps = [s // view.itemsize for s in view.strides]
    return (*([0] * (4 - len(steps))), *steps)


@dataclass
class Walk:
    """A view and its strides in a call."""

    view: np.ndarray
    steps: tuple[int, ...]


class Bench:
    """A program that is written call by call, in one build, with the memory of its buffers.

    Every array that a call names becomes a buffer: a copy of its owner between guards, so that two
    views of one array share a buffer. `arrays` are the copies, in order.
    """

    def __init__(self, isa: str, dtype: np.dtype, offset: int = 0) -> None:
        self.build, self.dtype, self._offset = native.load_build(isa), np.dtype(dtype), offset
        self.ffi = self.build.ffi
        self._owners: list[np.ndarray] = []
        self._copies: list[Guarded] = []
        self.calls: list[dict[str, Any]] = []
        self.row_bytes: dict[int, int] = {}
        self.own: set[int] = set()
        self.counters: list[int] = []
        self.fields: dict[str, Any] = dict.fromkeys(
            ("input", "target", "weight", "output", "loss"), -1
        )

    def buffer(self, array: np.ndarray, row_bytes: int = 0, own: bool = False) -> int:
        """The number of an array's buffer."""
        base = owner(array)
        for i, known in enumerate(self._owners):
            if known is base:
                return i
        self._owners.append(base)
        self._copies.append(Guarded(base, self._offset))
        number = len(self._owners) - 1
        self.row_bytes[number] = row_bytes
        self.own |= {number} if own else set()
        return number

    def slot(self, x: Any) -> dict[str, Any]:
        """A slot of a view, of a Walk, or empty for -1."""
        if isinstance(x, int):
            return {"buffer": x}
        view, steps = (x.view, x.steps) if isinstance(x, Walk) else (x, step_of(x))
        base = owner(view)
        offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        offset = 0 if view.size == 0 else offset
        return {"buffer": self.buffer(view), "offset": offset, "stride": steps}

    def add(
        self, op: str | int, sizes: tuple[int, ...], slots: dict[int, Any], **fields: Any
    ) -> None:
        """A call, by the name or the number of its operation."""
        number = getattr(native, f"OP_{op}") if isinstance(op, str) else op
        found = [{"buffer": -1}] * 6
        for i, x in slots.items():
            found[i] = self.slot(x)
        self.calls.append({"op": number, "size": sizes, "slot": found, **fields})

    def program(self) -> tuple[Any, list[Any]]:
        """The nnl_program, and what must live as long."""
        new, count = self.ffi.new, max(len(self._owners), 1)
        table = new("void *[]", count)
        for i, copy in enumerate(self._copies):
            table[i] = self.ffi.cast("void *", copy.array.ctypes.data)
        parts = {
            "calls": new("nnl_call[]", self.calls or 1),
            "table": table,
            "row_bytes": new(
                "int64_t[]", [self.row_bytes[i] for i in range(len(self._owners))] or 1
            ),
            "fixed_bytes": new("int64_t[]", count),
            "own": new("uint8_t[]", [i in self.own for i in range(count)]),
            "counters": new("uint32_t[]", self.counters or 1),
            "counts": new("uint32_t[]", max(len(self.counters), 1)),
            "bad_row": new("int64_t *", -1),
        }
        fields = {
            "count": len(self.calls), "buffers": len(self._owners),
            "counter_count": len(self.counters),
        }  # fmt: skip
        return new("nnl_program *", {**fields, **parts, **self.fields}), [parts]

    def run(self, rows: int = 1, threads: int = 1, status: int = 0) -> list[np.ndarray]:
        """Runs all calls; the arrays after them, in the order in which they were first named."""
        struct, alive = self.program()
        got = self.build.kernels[self.dtype].Program_run(struct, rows, threads)
        assert got == status, (self.build.text(self.build.common.status_text(got)), len(alive))
        return self.arrays()

    def predict(
        self, x: np.ndarray, out: np.ndarray, threads: int = 1, status: int = 0
    ) -> np.ndarray:
        """Runs Program_predict; the output."""
        struct, alive = self.program()
        array = self.ffi.typeof("float[]" if self.dtype == np.float32 else "double[]")
        places = [Guarded(a, self._offset) for a in (x, out)]
        pointers = [self.ffi.from_buffer(array, place.array) for place in places]
        kernel = self.build.kernels[self.dtype].Program_predict
        assert kernel(struct, len(x), *pointers, threads) == status, len(alive)
        for place in places:
            place.check("Program_predict")
        return places[1].array.reshape(out.shape).copy()

    def arrays(self) -> list[np.ndarray]:
        for copy in self._copies:
            copy.check("Program_run")
        pairs = zip(self._copies, self._owners, strict=True)
        return [copy.array.reshape(base.shape).copy() for copy, base in pairs]


def one(
    isa: str, dtype: np.dtype, op: str | int, sizes: tuple[int, ...], slots: dict[int, Any], *,
    rows: int = 1, threads: int = 1, status: int = 0, counters: tuple[int, ...] = (),
    offset: int = 0, **fields: Any,
) -> list[np.ndarray]:  # fmt: skip
    """Runs one call; its arrays afterwards, in the order of `slots`."""
    bench = Bench(isa, dtype, offset)
    bench.counters = list(counters)
    bench.add(op, sizes, slots, **fields)
    return bench.run(rows, threads, status)
