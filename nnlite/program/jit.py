"""Functions of Tensors as C programs: recorded once for each kind of arguments, then one C call."""

from __future__ import annotations

import functools
import math
import struct
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .._core import check as _check
from .._core import native
from .._core.config import _State
from ..autograd.engine import run as run_backward
from ..autograd.node import GRAD, RECORD, TRACED, Leaf, Node, Unsupported, state
from ..autograd.operands import as_tensor, on_graph
from ..autograd.operation import Operation
from ..autograd.tape import recording
from ..autograd.tensor import Tensor, wrap
from .emit import KIND_OF
from .lower import Lowering
from .rewrite import rewritten
from .run import Memory, Program, live
from .values import Buffer, Value
from .watch import Watch

F = TypeVar("F", bound=Callable[..., Any])
_bits = struct.Struct("d").pack
MOST_PROGRAMS = 64  # of one function; more kinds of arguments run as they are
CONSTANTS = (int, float, bool, str, type(None))


def jit_program(function: F | None = None, *, check: bool = False) -> Any:
    """A function of Tensors that runs as one C program, forward, and one more, backward.

        @nn.jit_program
        def loss(x, target):
            return nn.functional.softmax_ce(model(x), target)

        loss(x, target).backward()

    The first call for each kind of arguments records a run; later calls replay it. Results and
    gradients are those of the function, bit for bit. The contract is that of jax.jit: the function
    computes its result from its arguments, from parameters, modules and losses, and from constants,
    and has no other effect. It is recorded once for each combination of shapes, dtypes and
    requires_grad of the tensors, of values of numbers and texts, and of the attributes of the
    modules and losses that it calls (train and eval mode among them); Python runs only then. What
    it reads besides, such as globals and closures, is as it was at that time. Values of parameters
    and of tensors may change freely.

    Args:
        function: of Tensors, arrays (which it gets as Tensors), numbers and texts; it returns one
            Tensor.
        check: True runs the function beside its program at each call and raises RuntimeError where
            they differ: for tests.

    What cannot be a program runs as the plain function, each time, and `why` says so: control flow
    that depends on values (`if x.sum() > 0`, `float(x)`), changes in place, random numbers of
    Dropout, and operations that have no instruction (csrc/ops.h lists those that have). All
    tensors must have one float dtype. Gradients are first derivatives: a second one
    (create_graph) raises.

    Attributes of the result:
        why: why the last kind of arguments is not a program, or None.
        programs: how many programs there are.

    Raises:
        TypeError: not a function.
    """
    if function is None:
        return functools.partial(jit_program, check=check)
    return JitProgram(function, check)


class JitProgram:
    """What `jit_program` makes."""

    why: str | None = None

    def __init__(self, function: Any, check: bool = False) -> None:
        if not callable(function):
            raise TypeError(f"jit_program: expected a function, got {type(function).__name__}")
        self.function, self._check = function, check
        self._programs: dict[Any, Any] = {}
        functools.update_wrapper(self, function, updated=())

    @property
    def programs(self) -> int:
        """How many programs there are."""
        return sum(isinstance(p, Recorded) for p in self._programs.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            return self._as_it_is(args, kwargs, "arguments by keyword")
        key: list[Any] = [state.mode]
        tensors: list[Tensor] = []
        for x in args:
            if type(x) is not Tensor:
                kind = type(x)
                if kind is float:  # by bits: 0.0 and -0.0 are two, NaN is one
                    key.append((float, _bits(x)))
                    continue
                if kind in CONSTANTS:
                    key.append((kind, x))
                    continue
                if not (isinstance(x, np.ndarray) or on_graph(x)):
                    return self._as_it_is(args, kwargs, f"an argument of {type(x).__name__}")
                x = as_tensor(x)
            data = x._data
            if not data.dtype.isnative:
                return self._as_it_is(args, kwargs, "an argument in foreign byte order")
            flags = data.flags
            if not (flags.c_contiguous and flags.aligned):
                return self._as_it_is(args, kwargs, "an argument that is not contiguous")
            tensors.append(x)
            key.append((data.shape, data.dtype.num, x._edge is None))
        place = tuple(key)
        found = self._programs.get(place)
        if type(found) is Recorded:
            if found.watch.holds():
                out = found.run(tensors)
                if out is None:
                    return self.function(*_as_tensors(args))  # which says what is wrong
                return self._checked(out, args) if self._check else out
        elif found is not None and found[1].holds():
            return self._as_it_is(args, kwargs, found[0])
        return self._record(place, args, tensors)

    def _as_it_is(self, args: Any, kwargs: Any, why: str) -> Any:
        self.why = why
        return self.function(*_as_tensors(args), **kwargs)

    def _checked(self, out: Tensor, args: Any) -> Tensor:
        """The result of a program, when the function gives it too."""
        plain = self.function(*_as_tensors(args))
        if not _same(out._data, plain._data):
            raise RuntimeError(
                "jit_program: the function gives another result than its program: it reads what "
                "changes besides its arguments and parameters"
            )
        return out

    def _record(self, place: Any, args: Any, tensors: list[Tensor]) -> Any:
        """The result of a call, and the program for more of its kind."""
        full = _as_tensors(args)
        if state.mode & ~GRAD:
            return self.function(*full)
        if len(self._programs) >= MOST_PROGRAMS and place not in self._programs:
            return self._as_it_is(args, {}, f"more than {MOST_PROGRAMS} kinds of arguments")
        out = self.function(*full)
        try:
            made = Recorded(self.function, full, tensors)
            if type(out) is not Tensor or not _same(made.first, out._data):
                raise Unsupported("its program gives other values than the call")
        except Unsupported as error:
            self.why = str(error)
            self._programs[place] = self.why, Watch([])
        else:
            self.why, self._programs[place] = None, made
        return out

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: the program of the function bound to its object."""
        if instance is None:
            return self
        raise TypeError(
            "jit_program: a method has its object as argument; use nn.jit_program(object.method)"
        )

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"jit_program({name}), {self.programs} programs" + (
            f", plain calls because of {self.why}" if self.why else ""
        )


def _as_tensors(args: Any) -> list[Any]:
    return [as_tensor(x) if isinstance(x, np.ndarray) else x for x in args]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """The same bits, but for which NaN it is."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    numbers = ~(np.isnan(a) & np.isnan(b))
    return bool(a[numbers].tobytes() == b[numbers].tobytes())


class Recorded:
    """The program of a function for one kind of arguments."""

    def __init__(self, function: Any, full: list[Any], tensors: list[Tensor]) -> None:
        self._parts = _Parts(function, full, bool(state.mode & GRAD))
        parts, low = self._parts, self._parts.lowering
        self.first, self.shape, self.dtype = parts.out, parts.out.shape, low.dtype
        tape = parts.tape
        self.watch = Watch(tape.read.values(), tape.parameters.values(), parts.leaves)
        forward, end = parts.forward_calls, len(low.calls)
        self._result = low.owned(low.value_of(parts.out))
        low.calls[forward:] = low.calls[end:] + low.calls[forward:end]
        forward += len(low.calls) - end
        self._gradients: list[Value | None] = [None] * len(parts.leaves)
        for i, g in enumerate(parts.gradients):
            if g is not None:
                self._gradients[i] = low.owned(low.array(g, "a gradient"))
        wanted = [v.buffer for v in [self._result, *self._gradients] if v is not None]
        wanted += [b for _, b in parts.losses]
        head, tail = low.calls[:forward], low.calls[forward:]
        calls = live([*head, *tail], wanted)
        self._forward_count = sum(any(c is h for h in head) for c in calls)
        calls, self._forward_count = rewritten(calls, wanted, self._forward_count)
        forward_ = [b for c in calls[: self._forward_count] for b in c.writes()]
        read = {id(b) for c in calls[self._forward_count :] for b in c.reads()}
        kept = [b for b in forward_ if id(b) in read]  # backward may run again
        buffers = [*wanted, *kept, *parts.arguments, parts.start]
        self.program = Program(calls, buffers, low.dtype)
        self._pool: list[Workspace] = []
        self._sources = [parts.sources.get(leaf, leaf) for leaf in parts.leaves]
        self._needed = [i for i, b in enumerate(parts.arguments) if id(b) in read]
        self._held = [
            leaf.owner() for leaf in parts.leaves
            if leaf not in parts.sources and leaf.owner is not None
        ]  # fmt: skip

    def run(self, tensors: list[Tensor]) -> Tensor | None:
        """The result for the arguments; None when C refuses, for the function to say why."""
        try:
            work = self._pool.pop()
        except IndexError:  # also where another thread was quicker
            work = Workspace(self)
        for buffer, x in zip(self._parts.arguments, tensors, strict=True):
            work.memory.bind(buffer, x._data)
        status = native.KERNELS[self.dtype].Program_run(work.forward, 1, _State.threads)
        if status:
            self._pool.append(work)
            return None
        out = wrap(work.result.copy())
        for loss, view in work.losses:
            loss.total_weight = float(view[1])
        if self._gradients:
            self._attach(out, tensors, work)
        else:
            self._pool.append(work)
        return out

    def _attach(self, out: Tensor, tensors: list[Tensor], work: Workspace) -> None:
        """Puts one node on the result whose backward is the program's."""
        parents = tuple([tensors[x]._edge if type(x) is int else x for x in self._sources])
        saved = tuple([tensors[i] for i in self._needed] + [as_tensor(x) for x in self._held])
        out._edge = Node(Run, parents, saved, None, (Lease(work),), self.shape, self.dtype)

    def backward(self, work: Workspace, g: np.ndarray) -> list[np.ndarray | None]:
        """The gradients of the leaves, as arrays of their own."""
        g = np.array(g, self.dtype, order="C", ndmin=0).reshape(self.shape)
        with work.lock:  # of a graph that is kept, two threads may ask at once
            work.memory.bind(self._parts.start, g)
            status = native.KERNELS[self.dtype].Program_run(work.backward, 1, _State.threads)
            native.check(status, "jit_program: backward")
            return [None if view is None else view.copy() for view in work.gradients]


class _Parts:
    """A recorded call: its tape, what went in and what came out."""

    def __init__(self, function: Any, full: list[Any], grad: bool) -> None:
        self.arguments: list[Buffer] = []
        self.sources: dict[Leaf, int] = {}
        known: dict[int, tuple[np.ndarray, Buffer]] = {}
        args = []
        for x in full:
            if type(x) in CONSTANTS:
                args.append(x)
                continue
            x = as_tensor(x)
            t = wrap(x._data.view())
            t._edge = TRACED
            if grad and x._edge is not None:
                t._edge = Leaf(t.shape, t.dtype)
                self.sources[t._edge] = len(self.arguments)
            kind = KIND_OF.get(t.dtype.kind)
            if kind is None:
                raise Unsupported(f"an argument of {t.dtype}")
            buffer = Buffer(t.size, False, kind, None, f"argument {len(self.arguments)}")
            known[id(t._data)] = t._data, buffer
            self.arguments.append(buffer)
            args.append(t)
        self._record(function, args, grad)
        seed = self.seed
        known[id(seed)] = seed, self.start
        dtype = self.out.dtype
        if dtype not in _check.FLOATS:
            raise Unsupported(f"its result is of {dtype}, not float32 or float64")
        for buffer, (array, _) in zip(self.arguments, known.values(), strict=False):
            if buffer.kind == "real" and array.dtype != dtype:
                raise Unsupported(f"it mixes {array.dtype} and {dtype}")
        for leaf in self.leaves:
            if leaf not in self.sources and leaf.owner is None:
                raise Unsupported("it makes a tensor that requires a gradient")
        self.lowering = Lowering(self.tape.entries, {}, dtype, known, self.mark)
        self.forward_calls = self.lowering.marked
        self.losses = [
            (loss, self.lowering.value_of(value).buffer) for loss, value in self.tape.losses
        ]

    def _record(self, function: Any, args: list[Any], grad: bool) -> None:
        self.start = Buffer(1, False, name="start")
        self.mark = -1

        def call() -> Any:
            if not grad:
                state.mode = RECORD
            out = function(*args)
            if type(out) is not Tensor:
                raise Unsupported(f"it returns {type(out).__name__}, not a Tensor")
            self.mark = len(state.tape.entries)
            if out._edge is None:
                raise Unsupported("its result does not depend on an argument or a parameter")
            if type(out._edge) is not Node:
                if grad and type(out._edge) is Leaf and out._edge is not TRACED:
                    raise Unsupported("its result is no computed tensor")
                return out, {}
            seed = wrap(np.ones(out.shape, out.dtype))
            seed._edge = TRACED
            self.seed = seed._data
            return out, run_backward([(out._edge, seed)], True, False)

        self.seed = np.zeros(1)
        (out, found), self.tape = recording(call)
        if self.tape.counts:
            for owner, _ in self.tape.counts.values():
                raise Unsupported(f"{type(owner).__name__} draws random numbers in training")
        self.out = out._data
        self.start = Buffer(math.prod(self.seed.shape), False, name="start")
        self.leaves = list(found)
        self.gradients = [
            None if g is None else g._data if type(g) is Tensor else g for g in found.values()
        ]


class Workspace:
    """The memory of one run of a program."""

    def __init__(self, recorded: Recorded) -> None:
        self.program, self.lock = recorded, threading.Lock()
        self.memory = Memory(recorded.program)
        self.forward, self.backward = (native.struct("program") for _ in range(2))
        count = recorded._forward_count
        self.memory.fill(self.forward)
        self.memory.fill(self.backward)
        self._checked = native.cell("int64_t"), native.cell("int64_t")
        self.forward.checked, self.backward.checked = self._checked
        self.forward.count = count
        self.backward.calls = self.memory.program.calls + count
        self.backward.count = len(recorded.program.list) - count
        self.result = self.memory.view(recorded._result)
        self.gradients = [None if v is None else self.memory.view(v) for v in recorded._gradients]
        self.losses = [
            (loss, self.memory.view(Value(b, (2,), (1,)))) for loss, b in recorded._parts.losses
        ]


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
        if type(g) is Tensor:
            raise NotImplementedError(
                "jit_program: a program has first derivatives only; for more call the function "
                "itself"
            )
        lease = rest[-1]
        return tuple(lease.work.program.backward(lease.work, g))

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        raise NotImplementedError("jit_program: a program has first derivatives only")
