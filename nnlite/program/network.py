"""A model, its loss and its gradients as programs: one training step, the output, the loss alone.

Each is recorded on a few rows, at two batch sizes, and holds for every batch; where the two
recordings differ in more than sizes, the program holds for one batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import native
from .._core.config import available_cores
from ..autograd.engine import run as run_backward
from ..autograd.node import RECORD, TRACED, Node, Unsupported, state
from ..autograd.operands import as_tensor, on_graph
from ..autograd.tape import Tape, located, recording
from ..autograd.tensor import Tensor, wrap
from ..nn._graph import calls_alone
from ..nn._steps import is_own_layer
from ..nn.losses import Loss
from ..nn.module import Module
from .effects import Effects
from .emit import KIND_OF, OUT, OUT2, Call
from .lower import Lowering
from .rewrite import ordered, rewritten
from .run import Memory, Program, live
from .unify import Rows, Unifier
from .values import Buffer, Value, is_packed
from .watch import Watch

SIZES = (3, 5)  # rows of the two recordings
SHARED_BYTES = 1 << 20  # a batch is shared by threads where its values take no more
MOST_THREADS = 16


class Recording:
    """What a call did at one batch size, or at two, and the program of it.

    Args:
        call: given the arrays of a batch; returns the Tensors or arrays that are the results.
        batch: the arrays of a batch, by name; None where there is none.
        rows: the batch size that the program shall be for; None for any.
        modules: the modules whose attributes the call must not change.
    """

    def __init__(
        self, call: Callable[..., Any], batch: dict[str, np.ndarray | None], rows: int | None,
        modules: list[Any], dtype: np.dtype,
    ) -> None:  # fmt: skip
        self.dtype, self.rows = dtype, rows
        first, inputs, tape = self._once(call, batch, SIZES[0] if rows is None else rows, modules)
        self.results, self.tape = first, tape
        sizes = SIZES if rows is None else (rows, rows)
        again, others, second = self._once(call, batch, sizes[1], modules, other=True)
        if rows is None and tape.rows_read and second.rows_read:
            raise Unsupported(located("it looks at the number of rows", tape.rows_read))
        pairs = [(inputs[k], others[k]) for k in inputs]
        pairs += [(a, b) for a, b in zip(_fixed(first), _fixed(again), strict=True)]
        unified = Unifier(tape, second, sizes, pairs)
        entries, self.shapes = unified.entries, unified.shapes
        self.inputs = {name: self._buffer(name, array) for name, array in inputs.items()}
        known = {id(a): (a, self.inputs[name]) for name, a in inputs.items()}
        for seed in _fixed(first):
            ones = Buffer(seed.size, False, array=seed)
            ones.frozen = True
            known[id(seed)] = seed, ones
        self.lowering = Lowering(entries, self.shapes, dtype, known, first.get("mark", -1))

    def _buffer(self, name: str, array: np.ndarray) -> Buffer:
        shape = self.shapes.get(id(array), array.shape)
        sizes = [n.factor if type(n) is Rows else n for n in shape]
        batched = any(type(n) is Rows for n in shape)
        return Buffer(math.prod(sizes), batched, KIND_OF[array.dtype.kind], None, name)

    def _once(
        self, call: Any, batch: Any, rows: int, modules: list[Any], other: bool = False
    ) -> tuple[dict[str, Any], dict[str, np.ndarray], Tape]:
        arrays = {
            name: _some(array, rows, other) for name, array in batch.items() if array is not None
        }
        with calls_alone():  # another's recording would take modes set here for the modules' own
            kept = Effects(modules)
            try:
                found, tape = recording(lambda: call(**arrays), rows)
            except KeyboardInterrupt:
                kept.interrupted()
                raise
            except BaseException:
                kept.undone()
                raise
            effect = kept.undone()
        if effect is not None:
            raise Unsupported(effect.reason(tape))
        return found, arrays, tape

    def value(self, array: np.ndarray) -> Value:
        """A recorded array in the program."""
        return self.lowering.array(array, "a result")

    def owned(self, v: Value) -> Value:
        """A value of the part before the mark with contiguous elements in memory of the program."""
        low = self.lowering
        end = len(low.calls)
        found = low.owned(v)
        moved = low.calls[end:]
        low.calls[low.marked : end + len(moved)] = moved + low.calls[low.marked : end]
        low.marked += len(moved)
        return found


def _some(array: np.ndarray, rows: int, other: bool) -> np.ndarray:
    """So many rows of some: others, and other numbers, for a second recording."""
    index = (np.arange(rows) + other) % len(array)
    part = np.ascontiguousarray(array[index])
    if other and part.dtype.kind == "f":
        part = part * part.dtype.type(0.75) + part.dtype.type(0.125)
    return part


def _fixed(results: dict[str, Any]) -> list[np.ndarray]:
    """Arrays that no call makes: the gradient that backward begins with."""
    return [results["seed"]] if "seed" in results else []


def traced(array: np.ndarray) -> Tensor:
    t = wrap(array)
    t._edge = TRACED
    return t


def _output(model: Module, x: np.ndarray) -> Tensor:
    out = model(traced(x))
    if type(out) is not Tensor:
        raise Unsupported(f"the model returns {type(out).__name__}, not a Tensor")
    return out


def _loss(loss: Loss, out: Tensor, y: np.ndarray, w: np.ndarray | None) -> Tensor:
    forward: Any = loss.forward
    own = type(loss).forward is Loss.forward  # the library's, which takes arrays as targets
    made = forward(out, *[x if own else traced(x) for x in (y, w) if x is not None])
    if not on_graph(made):
        raise Unsupported("the loss is not a Tensor")
    value = as_tensor(made)
    if value._data.size != 1 or value._edge is None:
        raise Unsupported("the loss is no number computed from the output")
    return value


def parts_of(model: Module, loss: Loss | None = None) -> list[Any]:
    """The modules and losses whose attributes a recording hangs on."""
    found: list[Any] = list(model.modules())
    if loss is not None:
        found.append(loss)
        function = getattr(loss, "function", None)
        found += list(function.modules()) if isinstance(function, Module) else []
    return found


def only_writer(low: Lowering, made: Value, target: Buffer, others: list[Buffer]) -> Call | None:
    """The product or sum that alone computes all of a gradient, which nobody reads, and that may
    write it where it belongs; None where there is none."""
    source = made.buffer
    if source.array is not None or source.name or source.size != target.size or made.offset:
        return None
    writers = [c for c in low.calls if any(b is source for b in c.writes())]
    if len(writers) != 1 or writers[0].op not in ("GEMM", "SUM") or not is_packed(made):
        return None
    if any(b is source for c in low.calls for b in c.reads()) or any(b is source for b in others):
        return None
    return writers[0]


def written_to(call: Call, source: Buffer, target: Buffer) -> None:
    """Makes a call write another buffer."""
    for i in (OUT, OUT2):
        slot = call.slots[i]
        if slot is not None and slot[0] is source:
            call.slots[i] = (target, *slot[1:])


class Step:
    """One training step: forward, the loss and the gradients of the parameters, as a program.

    Args:
        model, loss: recorded in training mode.
        trained: the parameters whose gradients are wanted.
        x, y, weight: some rows.
        batch: rows of the largest batch.
        rows: the batch size that the program is for; None for any.

    Raises:
        Unsupported: why there is no program.
    """

    def __init__(
        self, model: Module, loss: Loss, trained: list[Any], x: np.ndarray, y: np.ndarray,
        weight: np.ndarray | None, dtype: np.dtype, batch: int, rows: int | None = None,
    ) -> None:  # fmt: skip
        self.rows, self.batch = rows, batch if rows is None else rows
        modules = parts_of(model, loss)
        self._require_library_backward(modules)

        def call(x: Any, y: Any, weight: Any = None) -> dict[str, Any]:
            model.train()
            out = _output(model, x)
            value = _loss(loss, out, y, weight)
            mark = len(state.tape.entries)
            if type(value._edge) is not Node:
                raise Unsupported("no parameter takes part in the loss")
            seed = traced(np.ones(value.shape, value.dtype))
            grads = run_backward([(value._edge, seed)], True, False)
            return {
                "out": out._data, "loss": value._data, "seed": seed._data, "mark": mark,
                "grads": {edge: g._data if type(g) is Tensor else g for edge, g in grads.items()},
            }  # fmt: skip

        given = {"x": x, "y": y, "weight": weight}
        r = Recording(call, given, rows, modules, dtype)
        self.inputs = r.inputs
        low, found = r.lowering, r.results
        inner = {id(m) for m in model.modules()}
        others = [m for m in modules if isinstance(m, Module) and id(m) not in inner]  # the loss's
        held = [p for m in (model, *others) for p in m.parameters()]
        self.watch = Watch(modules, [*held, *trained], modes=False)
        self.counters = [(m, r.tape.counts.get(id(m), (m, 0))[1]) for m in low.counters]
        self._trained = trained
        self.shape = x.shape[1:]
        out = r.value(found["out"])
        self._require_rows(out, rows)
        self.loss_value, self.weighed = self._loss_value(r, found["loss"])
        self._gradients(low, trained, found["grads"])
        self.output = r.owned(out)
        self.mark = low.marked
        self._finish(low, dtype)

    def _require_library_backward(self, modules: list[Any]) -> None:
        """A backward of the user's may be another gradient than that of its forward."""
        for m in modules:
            if (
                isinstance(m, Module)
                and not is_own_layer(m)
                and type(m).backward is not Module.backward
            ):
                raise Unsupported(f"{type(m).__name__} has a backward of its own")

    def _require_rows(self, out: Value, rows: int | None) -> None:
        """The output must have a row for each row of the batch, first."""
        if rows is None and (out.batch != 0 or out.shape[0] != 1):
            raise Unsupported("the output has not one row for each row of the batch")

    def _loss_value(self, r: Recording, array: np.ndarray) -> tuple[Value, bool]:
        """Where the loss lies, and whether the weight of its rows is behind it."""
        low = r.lowering
        v = low.value_of(array)
        weighed = any(v.buffer is low.value_of(a).buffer for _, a in r.tape.losses)
        if not weighed:
            v = low.owned(v)
        return v, weighed

    def _gradients(self, low: Lowering, trained: list[Any], grads: dict[Any, np.ndarray]) -> None:
        """Makes the buffers of parameters' gradients what the calls write."""
        by_owner = {id(edge.owner()): g for edge, g in grads.items() if edge.owner is not None}
        self.grad_buffers: dict[int, Buffer] = {}
        for p in trained:
            target = Buffer(p.size, False, array=p._grad)
            self.grad_buffers[id(p)] = target
            g = by_owner.get(id(p))
            strides = tuple(s // p._grad.itemsize for s in p._grad.strides)
            v = Value(target, p.shape, strides)
            if g is None:
                zero = low.number(0.0)
                low._walk("COPY", v, [low._spread(zero, v.shape, None)])
                continue
            made = low.array(g, "a gradient")
            others = [b for b in self.grad_buffers.values() if b is not target]
            writer = only_writer(low, made, target, others)
            if writer is not None:
                written_to(writer, made.buffer, target)
            else:  # a gradient starts from 0, so -0 becomes 0
                zero = low._spread(low.number(0.0), v.shape, None)
                low._walk("ADD", v, [low._spread(made, v.shape, None), zero])

    def _finish(self, low: Lowering, dtype: np.dtype) -> None:
        wanted = [self.output.buffer, self.loss_value.buffer, *self.grad_buffers.values()]
        head = low.calls[: self.mark]
        calls = live(low.calls, wanted)
        self.mark = sum(any(c is h for h in head) for c in calls)
        calls, self.mark = rewritten(calls, wanted, self.mark)
        self.kept = [*wanted, *self.inputs.values()]
        self.program = Program(calls, self.kept, dtype, self.counters)
        values = sum(
            self.program.bytes_of(b, self.batch) for b in self.program.buffers
            if b.array is None
        )  # fmt: skip
        weights = sum(b.size * dtype.itemsize for b in self.grad_buffers.values())
        self.shared = max(values, weights) <= SHARED_BYTES and available_cores() > 1
        self.shared = self.shared and self.rows is None
        if self.shared:
            calls = [*calls[: self.mark], *ordered(calls[self.mark :])]
        self._mark_weights(calls)
        self.program = Program(calls, self.kept, dtype, self.counters)

    def _mark_weights(self, calls: list[Any]) -> None:
        """Says which product is the whole gradient of a weight that no later call reads."""
        arrays = {}
        for call in calls:
            for b in call.reads():
                if b.array is not None:
                    arrays[id(b.array)] = b
        owners = {id(g): i for i, g in self.grad_buffers.items()}
        trained = {id(p): p for p in self._trained}
        for i, call in enumerate(calls):
            out = call.slots[OUT][0]
            if call.op != "GEMM" or id(out) not in owners or call.batch != 8 or call.sizes[0] != 1:
                continue
            p = trained.get(owners[id(out)])
            weight = None if p is None else arrays.get(id(p._data))
            written = sum(any(b is out for b in c.writes()) for c in calls)
            if weight is None or written > 1:
                continue
            if not any(b is weight for c in calls[i + 1 :] for b in c.reads()):
                call.weight = weight

    def memory(self, target: Any = None) -> Memory:
        """The memory of the step, and its nnl_program."""
        made = Memory(self.program, self.batch, self.shared, target)
        s, places = made.struct, self.program.places
        inputs = self.inputs
        s.rows, s.mark, s.weighed = self.rows or 0, self.mark, self.weighed
        s.input, s.target = places[inputs["x"]], places[inputs["y"]]
        s.weight = places[inputs["weight"]] if "weight" in inputs else -1
        s.output, s.loss = places[self.output.buffer], places[self.loss_value.buffer]
        if self.shared:
            made.thread_tables = native.places(MOST_THREADS * len(self.program.buffers))
            s.thread_tables = made.thread_tables
        return made


class Forward:
    """A model's output in evaluation mode, as a program for any number of rows.

    Raises:
        Unsupported: why there is no program.
    """

    def __init__(self, model: Module, x: np.ndarray, dtype: np.dtype) -> None:
        modules = parts_of(model)

        def call(x: Any) -> dict[str, Any]:
            state.mode = RECORD
            model.eval()
            return {"out": _output(model, x)._data}

        r = Recording(call, {"x": x}, None, modules, dtype)
        self.watch = Watch(modules, model.parameters(), modes=False)
        v = r.value(r.results["out"])
        if v.batch != 0 or v.shape[0] != 1:
            raise Unsupported("the output has not one row for each row of the batch")
        v = r.lowering.owned(v)
        v.buffer.name = "output"
        calls, _ = rewritten(live(r.lowering.calls, [v.buffer]), [v.buffer])
        calls = self._prepared(calls)
        self.dtype, self.shape, self.width = dtype, v.shape[1:], x.shape[1:]
        self.program = Program(calls, [v.buffer, r.inputs["x"]], dtype)
        self.memory = Memory(self.program, 0)
        struct = self.memory.struct
        struct.input = self.program.places[r.inputs["x"]]
        struct.output = self.program.places[v.buffer]
        kernels = native.KERNELS[dtype]
        self._kernel, self._array, self._struct = kernels.Program_predict, kernels.array, struct

    def _prepared(self, calls: list[Call]) -> list[Call]:
        """The calls as they shall run."""
        return calls

    def takes(self, x: np.ndarray) -> bool:
        """True for rows of the dtype and shape that were recorded."""
        return x.dtype is self.dtype and x.shape[1:] == self.width

    def run(self, x: np.ndarray, threads: int) -> np.ndarray:
        """The output for C-contiguous rows of the dtype and width."""
        rows = len(x)
        out = np.empty((rows, *self.shape), self.dtype)
        status = self._kernel(
            self._struct, rows, native.from_buffer(self._array, x),
            native.from_buffer(self._array, out), threads,
        )  # fmt: skip
        if status:
            native.fail("predict", status)
        return out


class Measure:
    """The loss of an output, without its gradient, as a program.

    Raises:
        Unsupported: why there is no program.
    """

    def __init__(
        self, loss: Loss, out: np.ndarray, y: np.ndarray, weight: np.ndarray | None,
        dtype: np.dtype, batch: int,
    ) -> None:  # fmt: skip
        def call(out: Any, y: Any, weight: Any = None) -> dict[str, Any]:
            state.mode = RECORD
            return {"loss": _loss(loss, traced(out), y, weight)._data}

        given = {"out": out, "y": y, "weight": weight}
        r = Recording(call, given, None, [loss], dtype)
        low = r.lowering
        v = low.value_of(r.results["loss"])
        weighed = any(v.buffer is low.value_of(a).buffer for _, a in r.tape.losses)
        v = v if weighed else low.owned(v)
        for c in low.calls:  # the gradient of a loss is not needed
            if c.slots[OUT2] is not None and c.op in ("CROSS_ENTROPY", "NLL", "MSE"):
                c.slots[OUT2] = None
        calls = live(low.calls, [v.buffer])
        program = Program(calls, [v.buffer, *r.inputs.values()], dtype)
        self.memory = Memory(program, batch)
        s = self.memory.struct
        s.input, s.target = program.places[r.inputs["out"]], program.places[r.inputs["y"]]
        s.weight = program.places[r.inputs["weight"]] if weight is not None else -1
        s.loss, s.weighed = program.places[v.buffer], weighed
