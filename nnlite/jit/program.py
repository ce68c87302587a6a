"""The program of a function for one kind of arguments: how it is made, proved and run."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from .. import _native
from .._config import _State
from ..autograd.engine import run as run_backward
from ..autograd.node import GRAD, Leaf, Node, state
from ..autograd.operation import Operation, as_tensor
from ..autograd.tensor import Tensor, wrap
from ..autograd.walk import Graph
from ..nn.parameter import aligned_zeros
from .lowering import Lowering, Place, UnfitError, Value
from .reads import PLAIN, Reads
from .rules import RULES

OTHER_SEED = 0.7310585786300049  # a second gradient to try a program with


class Program:
    """The instructions of a function for one kind of arguments."""

    def __init__(
        self, function: Any, reads: Reads, full: Any, tensors: Any, out: Any, every: bool
    ) -> None:
        if type(out) is not Tensor:
            raise UnfitError(f"it returns {type(out).__name__}, not a Tensor")
        self.reads = reads
        graph, leaves, arrays = _recorded(function, full, every)
        held = [as_tensor(x) for x in reads.tensors]
        self._held = [(x, t._data, t._edge) for x, t in zip(reads.tensors, held, strict=True)]
        known = {id(t._data): Place("tensor", t) for t in held}
        places = {t._edge: Place("tensor", t) for t in held if t._edge is not None}
        known |= {id(array): Place("argument", i) for i, array in enumerate(arrays)}
        for leaf, i in leaves.items():
            places[leaf] = Place("argument", i)
        asked = {leaf: tensors[i] for leaf, i in leaves.items() if tensors[i]._edge is not None}
        asked |= {t._edge: t for t in held if t._edge is not None}
        wanted = set(asked) if state.mode & GRAD else set()
        lowering = Lowering(graph, known, places, wanted & set(graph.leaves), RULES)
        self._order = [leaf for leaf in graph.leaves if leaf in wanted]
        self._sources = [leaves.get(leaf, asked[leaf]) for leaf in self._order]
        self.gradients = [lowering.gradients.get(leaf) for leaf in self._order]
        self._set_up(lowering)
        used = [self.places[i] for i in sorted(self._read_by(lowering.backward)) if i >= 0]
        self._needed = [p.what for p in used if p.kind in ("argument", "tensor")]
        self._prove(graph, out, tensors)

    # Setting up.

    def _set_up(self, lowering: Lowering) -> None:
        self.dtype, self.shape = lowering.dtype, lowering.graph.output.shape
        self.places, self.losses = lowering.places, lowering.losses
        self.result = lowering.result
        self._kernel = _native.KERNELS[self.dtype].Graph_run
        self._forward, self._backward = (
            (len(part), _instructions(part)) for part in (lowering.forward, lowering.backward)
        )
        self._start = next((i for i, p in enumerate(self.places) if p.kind == "start"), -1)
        self._arguments = [
            (i, p.what, self.parts_of(i)) for i, p in enumerate(self.places) if p.kind == "argument"
        ]
        self._parts_of_start = self.parts_of(self._start)
        self._pool: list[Workspace] = []

    def parts_of(self, place: int) -> list[tuple[int, int]]:
        """(place, first element) of the parts of a place, and of their parts."""
        found = [(i, p.first) for i, p in enumerate(self.places)
                 if p.kind == "part" and p.what == place]  # fmt: skip
        inner = [(j, first + more) for i, first in found for j, more in self.parts_of(i)]
        return found + inner

    def _read_by(self, part: list[dict[str, Any]]) -> set[int]:
        """The places that backward reads, whole for their parts."""
        used = {step[name] for step in part for name in ("a", "b", "d")}
        found = set(used)
        for i in used:
            while i >= 0 and self.places[i].kind == "part":
                i = self.places[i].what
                found.add(i)
        return found

    def in_place(self) -> bool:
        """True while the tensors that the function holds lie where they lay."""
        for x, data, edge in self._held:
            if x._data is not data:
                return False
            if (x._edge is not edge) if type(x) is Tensor else (x.requires_grad is (edge is None)):
                return False
        return True

    # Running.

    def run(self, tensors: list[Tensor]) -> Tensor | None:
        """The result for the arguments; None when C refuses, for the function to say why."""
        try:
            work = self._pool.pop()
        except IndexError:  # also where another thread was quicker
            work = Workspace(self)
        table, arrays = work.table, _native.pointer
        for place, number, parts in self._arguments:
            where = arrays(tensors[number]._data)
            table[place] = where
            for part, first in parts:
                table[part] = where + first
        count, steps = self._forward
        status = self._kernel(count, steps, len(self.places), table, _State.threads)
        if status:
            self._pool.append(work)
            if status == _native.EINTR:
                raise _native.interruption()
            return None
        out = wrap(work.result.copy())
        for module, place in self.losses:
            module.total_weight = float(work.rooms[place][1])
        if self._order:
            self._attach(out, tensors, work)
        else:
            self._pool.append(work)
        return out

    def _attach(self, out: Tensor, tensors: list[Tensor], work: Workspace) -> None:
        """Puts one node on the result whose backward is the program's."""
        parents = tuple([(tensors[x] if type(x) is int else x)._edge for x in self._sources])
        saved = tuple([tensors[x] if type(x) is int else x for x in self._needed])
        out._edge = Node(Run, parents, saved, None, (Lease(work),), self.shape, self.dtype)

    def backward(self, work: Workspace, g: np.ndarray) -> list[np.ndarray | None]:
        """The gradients of the leaves, as arrays of their own."""
        if type(g) is not np.ndarray or not g.flags.c_contiguous:
            g = np.array(g, self.dtype, order="C")
        with work.lock:  # of a graph that is kept, two threads may ask at once
            if self._start >= 0:
                where = _native.pointer(g)
                work.table[self._start] = where
                for part, first in self._parts_of_start:
                    work.table[part] = where + first
            count, steps = self._backward
            status = self._kernel(count, steps, len(self.places), work.table, _State.threads)
            _native.check(status, "jit_program: backward")
            return [
                None if v is None else (g.reshape(v.shape) if view is None else view).copy()
                for v, view in zip(self.gradients, work.gradients, strict=True)
            ]

    # Checking.

    def _prove(self, graph: Graph, out: Tensor, tensors: list[Tensor]) -> None:
        """Runs the program on the recorded call: it must give the same bits."""
        again = self.run(tensors)
        if again is None or not _same(again._data, out._data):
            raise UnfitError("its program gives other bits than the calls")
        if not self._order:
            return
        lease = again._edge.params[0]
        for value in (1.0, OTHER_SEED):
            start = np.full(out.shape, value, self.dtype)
            found = run_backward([(graph.root, wrap(start))], True, False)
            for leaf, g in zip(self._order, self.backward(lease.work, start), strict=True):
                expected = found.get(leaf)
                if (g is None) != (expected is None) or (g is not None and not _same(g, expected)):
                    raise UnfitError("its program gives other gradients than the calls")


def _recorded(
    function: Any, full: Any, every: bool
) -> tuple[Graph, dict[Leaf, int], list[np.ndarray]]:
    """The graph of a call, the leaves of the arguments, and their arrays, each a new object.

    With `every`, gradients flow through all arguments of floats, so that all calls are recorded;
    without, through those that ask for one, for functions that refuse it for others (targets).
    """
    leaves: dict[Leaf, int] = {}
    arrays: list[np.ndarray] = []
    args = []
    for x in full:
        if type(x) in PLAIN:
            args.append(x)
            continue
        x = as_tensor(x)
        t = wrap(x._data.view())
        if t.dtype.kind == "f" and (every or x._edge is not None):
            t._edge = Leaf(t.shape, t.dtype)
            leaves[t._edge] = len(arrays)
        args.append(t)
        arrays.append(t._data)
    told: list[str] = []
    before = state.mode
    state.mode, state.watch = GRAD, told.append
    try:
        out = function(*args)
    except Exception as error:
        raise UnfitError(f"it raises {type(error).__name__} while it is recorded") from None
    finally:
        state.mode, state.watch = before, None
    if told:
        raise UnfitError(f"it depends on the values of a tensor ({told[0]})")
    if type(out) is not Tensor:
        raise UnfitError(f"it returns {type(out).__name__}, not a Tensor")
    if type(out._edge) is not Node:
        raise UnfitError("its result is no computed tensor")
    return Graph("jit_program", out), leaves, arrays


def _same(a: np.ndarray, b: Any) -> bool:
    """The same bits, but for which NaN it is."""
    b = np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    numbers = ~(np.isnan(a) & np.isnan(b))
    return bool(a[numbers].tobytes() == b[numbers].tobytes())


def _instructions(part: list[dict[str, Any]]) -> Any:
    """C instructions from their fields."""
    made = _native.structs("instruction", max(len(part), 1))
    for step, fields in zip(made, part, strict=False):
        for name, value in fields.items():
            setattr(step, name, value)
    return made


class Workspace:
    """The buffers of one run of a program, and the table of all its places."""

    def __init__(self, program: Program) -> None:
        self.program, self.lock = program, threading.Lock()
        dtype = program.dtype
        self.table = _native.places(max(len(program.places), 1))
        self.rooms: dict[int, np.ndarray] = {}
        self._keep: list[Any] = []
        sizes = [-(-p.what * dtype.itemsize // 64) * 64 for p in program.places if p.kind == "room"]
        block = aligned_zeros(sum(sizes) // dtype.itemsize, dtype)
        start = 0
        pointers: dict[int, Any] = {}
        for i, place in enumerate(program.places):
            if place.kind == "room":
                self.rooms[i] = block[start : start + place.what]
                start += -(-place.what * dtype.itemsize // 64) * 64 // dtype.itemsize
                array = self.rooms[i]
            elif place.kind in ("array", "tensor"):
                array = place.what if place.kind == "array" else place.what._data
            else:
                continue
            self._keep.append(array)
            pointers[i] = self.table[i] = _native.pointer(array)
        for i, where in pointers.items():
            for part, first in program.parts_of(i):
                self.table[part] = where + first
                if i in self.rooms:
                    self.rooms[part] = self.rooms[i][first:]
        self.result = self._view(program.result)
        self.gradients = [self._view(v) for v in program.gradients]

    def _view(self, v: Value | None) -> Any:
        """The buffer of a value, as an array of its shape; None where it has none."""
        if v is None or v.place not in self.rooms:
            return None
        return self.rooms[v.place][: math.prod(v.shape)].reshape(v.shape)


class Lease:
    """The workspace of a run whose backward may still come; gives it back when it goes."""

    __slots__ = ("work",)

    def __init__(self, work: Workspace) -> None:
        self.work = work

    def __del__(self) -> None:
        try:  # noqa: SIM105 (what else takes memory may fail here too)
            self.work.program._pool.append(self.work)
        except Exception:  # without memory, or as the interpreter ends: the next run makes another
            pass


class Run(Operation):
    """A run of a program, as one call of the graph."""

    name = "jit_program"
    keeps_inputs = True
    repeatable = False

    @staticmethod
    def forward(*args: Any) -> Any:
        raise NotImplementedError("jit_program: a run has no code of its own; call the function")

    @staticmethod
    def vjp(g: Any, need: Any, *rest: Any) -> Any:
        raise NotImplementedError(
            "jit_program: a program has first derivatives only; for more call the function itself"
        )

    @staticmethod
    def vjp_arrays(g: Any, need: Any, *rest: Any) -> Any:
        lease = rest[-1]
        return tuple(lease.work.program.backward(lease.work, g))

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return cls.vjp(None, None)
