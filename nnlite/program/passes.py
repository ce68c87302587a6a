"""A module's forward in training, and its backward, as a program: one call of C each.

Every forward has memory of its own until its backward is done, or it is forgotten. What the caller
gave and got is kept as it is: no copy, and no pointer to it in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core import check, native
from .._core.config import _State
from ..autograd.engine import run as run_backward
from ..autograd.node import Node, Unsupported, state
from ..autograd.tensor import Tensor
from ..nn._pending import Pending, leaf_of
from ..nn.dropout import STEPS
from ..nn.module import Module
from .emit import Call
from .network import Recording, only_writer, parts_of, traced, written_to
from .rewrite import rewritten
from .run import Memory, Program, live
from .values import Buffer, Value
from .watch import Watch

_from_buffer = native.from_buffer
_NULL = native.NULL


def recorded(model: Module, x: np.ndarray) -> Pass | None:
    """The program of a model for such rows, or None."""
    try:
        return Pass(model, x)
    except Unsupported:
        return None


class Pass:
    """A model's forward and backward, for any number of rows.

    Raises:
        Unsupported: why there is no program.
    """

    def __init__(self, model: Module, x: np.ndarray) -> None:
        self.dtype, self.width, self.ndim = x.dtype, x.shape[1:], x.ndim
        modules = parts_of(model)
        r = self._recording(model, modules, x)
        self.watch = Watch(modules, model.parameters(), modes=False)
        self.module: Any = model
        self.name, self.spaces = type(model).__name__, model._spaces()
        low = r.lowering
        self.counters = [(m, r.tape.counts[id(m)][1]) for m in low.counters if m is not None]
        if len(self.counters) != len(low.counters):
            raise Unsupported("a random stream that is no module's")
        out, dx = self._ends(r)
        self.shape = out.shape[1:]
        self._gradients(r, model, [out.buffer, dx.buffer])
        self._finish(r, out.buffer, dx.buffer)

    def _recording(self, model: Module, modules: list[Any], x: np.ndarray) -> Recording:
        try:
            y = model._values(x[:1])
        except Exception as error:  # which the call itself will raise
            raise Unsupported(str(error)) from None

        def call(x: Any, g: Any) -> dict[str, Any]:
            model.train()
            leaf = leaf_of(x)
            out = model(leaf)
            if type(out) is not Tensor or type(out._edge) is not Node:
                raise Unsupported("no gradient flows to the output")
            mark = len(state.tape.entries)
            grads = run_backward([(out._edge, traced(g))], True, False)
            found = {edge: d._data if type(d) is Tensor else d for edge, d in grads.items()}
            return {"x": x, "out": out._data, "mark": mark, "dx": found.pop(leaf._edge, None),
                    "grads": found}  # fmt: skip

        return Recording(call, {"x": x, "g": y}, None, modules, self.dtype)

    def _ends(self, r: Recording) -> tuple[Value, Value]:
        """The output, and the gradient of the input, each a buffer of its own."""
        low, found = r.lowering, r.results
        out = r.value(found["out"])
        if found["dx"] is None:
            dx = low.new(*low.shape_of(found["x"]))
            low._walk("COPY", dx, [low._spread(low.number(0.0), dx.shape, dx.batch)])
        else:
            dx = low.owned(r.value(found["dx"]))
        out = r.owned(out)
        if any(v.batch != 0 or v.shape[0] != 1 for v in (out, dx)):
            raise Unsupported("the output has not one row for each row of the batch")
        if any(v.offset or v.buffer.size != v.size for v in (out, dx)):
            raise Unsupported("the output is part of another value")
        return out, dx

    def _gradients(self, r: Recording, model: Module, ends: list[Buffer]) -> None:
        """Adds to the gradients of the parameters: by the product that computes one where it is
        alone, else as a value."""
        low, found = r.lowering, r.results["grads"]
        by_owner = {id(edge.owner()): g for edge, g in found.items() if edge.owner is not None}
        self.trained = [(p, p._grad) for p in model.parameters() if id(p) in by_owner]
        self.arenas = list({id(p._arena): p._arena for p in model.parameters()}.values())
        made = [low.array(by_owner[id(p)], "a gradient") for p, _ in self.trained]
        self.targets = [Buffer(p.size, False, array=grad) for p, grad in self.trained]
        writers = []
        for i, v in enumerate(made):
            others = [*ends, *[w.buffer for k, w in enumerate(made) if k != i]]
            call = only_writer(low, v, self.targets[i], others)
            writers.append(call if call is not None and call.op == "GEMM" else None)
        for (p, grad), v, target, call in zip(
            self.trained, made, self.targets, writers, strict=True
        ):
            if call is not None and sum(c is call for c in writers) == len(call.writes()):
                written_to(call, v.buffer, target)
                call.fields["flag"] |= native.ACCUMULATE
            else:
                to = Value(target, p.shape, tuple([s // grad.itemsize for s in grad.strides]))
                low._walk("ADD", to, [to, low._spread(v, p.shape, None)])

    def _finish(self, r: Recording, out: Buffer, dx: Buffer) -> None:
        low, mark = r.lowering, r.lowering.marked
        out.name, dx.name = "output", "gradient"
        wanted = [out, *self.targets, dx]
        head = low.calls[:mark]
        calls = live(low.calls, wanted)
        calls, mark = rewritten(calls, wanted, sum(any(c is h for h in head) for c in calls))
        calls, rest = _input_last(calls, mark, [out, *self.targets])
        made = {id(b) for c in calls[:mark] for b in c.writes()}
        crossing = [b for c in calls[mark:] for b in c.reads() if id(b) in made]
        self.keeps_output = any(b is out for b in crossing)
        self.needs_input = any(b is dx for c in calls[mark:rest] for b in c.writes())
        self.program = Program(calls, [*wanted, *r.inputs.values(), *crossing], self.dtype,
                               self.counters)  # fmt: skip
        places = self.program.places
        self._ends_in_c = {
            "mark": mark, "rest": rest, "input": places[r.inputs["x"]], "output": places[out],
            "target": places[r.inputs["g"]], "gradient": places[dx],
        }  # fmt: skip
        kernels = native.KERNELS[self.dtype]
        self.array = kernels.array
        self.run_forward, self.run_backward = kernels.Program_forward, kernels.Program_backward
        self.free: list[Memory] = []  # that no forward has now

    def takes(self, x: np.ndarray) -> bool:
        """True for plain rows of the dtype and shape that were recorded."""
        return (
            type(x) is np.ndarray
            and x.dtype is self.dtype
            and x.shape[1:] == self.width
            and x.ndim == self.ndim
            and len(x) > 0
            and x.flags.carray
        )

    def fits(self, x: np.ndarray) -> bool:
        """True for rows that it takes, while the model is as it was recorded."""
        return self.takes(x) and self.watch.holds()

    def moved(self) -> list[tuple[Any, np.ndarray]]:
        """(parameter, gradient that the program adds to) where one may have moved, or been frozen,
        since it was recorded."""
        for arena in self.arenas:
            if arena.retired:
                return self.trained
        return []

    def memory(self, rows: int) -> Memory:
        """Memory for so many rows that no other forward has."""
        try:
            found = self.free.pop()
        except IndexError:
            found = None
        if found is None or found.rows < rows:
            found = Memory(self.program, rows)
            for name, number in self._ends_in_c.items():
                setattr(found.struct, name, number)
        return found

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Forwarded]:
        """The output for rows that `takes` accepts, and what waits for its backward."""
        rows = len(x)
        memory = self.memory(rows)
        y = np.empty((rows, *self.shape), self.dtype)
        done = Forwarded(self, memory, x, y)
        for i, (module, _) in enumerate(self.counters):
            memory.counters[i] = module.step
        status = self.run_forward(memory.struct, rows, done.source, done.result, _State.threads)
        if status:
            native.fail(f"{self.name}.forward", status)
        for module, calls in self.counters:
            module.step = (module.step + calls) % STEPS
        return y, done


def _input_last(calls: list[Call], mark: int, wanted: list[Buffer]) -> tuple[list[Call], int]:
    """The calls, last those that only the gradient of the input needs, and where these begin."""
    needed = {id(c) for c in live(calls, wanted)}
    first = [c for c in calls[mark:] if id(c) in needed]
    last = [c for c in calls[mark:] if id(c) not in needed]
    return [*calls[:mark], *first, *last], mark + len(first)


class Forwarded(Pending):
    """One forward of a program, with its memory."""

    __slots__ = ("memory", "program", "result", "rows", "shape", "source", "spaces", "width",
                 "x", "y")  # fmt: skip

    def __init__(self, program: Pass, memory: Memory, x: np.ndarray, y: np.ndarray) -> None:
        self.program, self.memory, self.rows = program, memory, len(x)
        self.x, self.width, self.spaces = x, x.shape, program.spaces
        self.y, self.shape = (y if program.keeps_output else None), y.shape
        self.source = _from_buffer(program.array, x)
        self.result = _from_buffer(program.array, y)

    def __del__(self) -> None:
        self.program.free.append(self.memory)

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return self.program.dtype

    def backward(self, grad_output: np.ndarray, want_input: bool) -> Any:
        program = self.program
        for array, shape in ((self.x, self.width), (self.y, self.shape)):
            if array is not None and array.shape != shape:  # the caller's, changed since
                check.unfit(f"{program.name}.backward", grad_output, array)
        moved = program.moved()
        for p, grad in moved:
            if p._grad is not grad:
                grad[...] = p._grad
        wanted = want_input or program.needs_input
        dx = np.empty(self.x.shape, program.dtype) if wanted else None
        status = program.run_backward(
            self.memory.struct, self.rows, self.source, self.result,
            _from_buffer(program.array, grad_output),
            _NULL if dx is None else _from_buffer(program.array, dx), _State.threads,
        )  # fmt: skip
        for p, grad in moved:
            if not p._requires_grad:
                p._grad.fill(0)
            elif p._grad is not grad:
                p._grad[...] = grad
        if status:
            native.fail(f"{program.name}.backward", status)
        return dx if want_input else None

    def rewound(self) -> list[tuple[Any, int]]:
        """Sets random streams back to this forward; where they stood."""
        before = [(module, module.step) for module, _ in self.program.counters]
        for i, (module, _) in enumerate(self.program.counters):
            module.step = int(self.memory.counters[i])
        return before

    def unfold(self) -> None:
        self.program.module._unfold(self)
