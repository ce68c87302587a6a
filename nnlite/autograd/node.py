"""The graph: nodes, leaves, the clock that orders them, and the mode of the running thread.

A node is one call of an operation that led to a value with a gradient. It points at the nodes its
inputs came from and never at its own output, so that the graph has no cycles: it is freed the
moment its last output is dropped, or node by node during backward.

The clock gives every node a number when it is made. Inputs are older than outputs, so descending
numbers are a topological order; and a value that was changed in place carries the time of the
change, so that a node finds out with one comparison that what it kept is no longer what it saw.
"""

from __future__ import annotations

import itertools
import threading
from types import MappingProxyType, TracebackType
from typing import Any, NoReturn

import numpy as np

tick = itertools.count(1).__next__  # the time: ever larger, one count for all threads

GRAD, FORWARD, ANOMALY, PLAIN, RECORD = 1, 2, 4, 8, 16  # bits of `state.mode`


class State(threading.local):
    """What the running thread is doing: attributes of the class are the start of every thread."""

    # GRAD: build the graph; FORWARD: carry tangents; ANOMALY: look for NaN; PLAIN: what computes a
    # tangent is not recorded, so that tangents are values without history. RECORD: calls note
    # themselves on `tape`, from which nnlite.program makes a C program.
    mode = GRAD
    tape: Any = None
    duals: Any = MappingProxyType(
        {}
    )  # leaves of Parameters -> the Tensors that carry their tangents
    block: Any = None  # the named block around the call, or None


state = State()


class Node:
    """One recorded call: its operation, where its inputs came from, what backward needs.

    Attributes:
        time: its place in the topological order.
        op: the Operation.
        parents: for each input a Node, a Leaf, or None where no gradient is needed; None when the
            graph was freed.
        saved: the inputs as Tensors or numbers: those that backward needs, constants always (for
            pictures and flat code), None elsewhere; the whole is None when nothing is kept.
        out: the output without its history, where backward needs it, else None.
        params: the arguments that are not differentiated: axes, shapes, indices.
        shape, dtype: of the output; of an operation with several outputs: a tuple of each.
        block: the named block in which the call happened, or None.
        kept: a Leaf that receives this node's gradient (`retain_grad`), or None.
    """

    __slots__ = (
        "__weakref__", "block", "dtype", "kept", "op", "out", "params", "parents", "saved",
        "shape", "time",
    )  # fmt: skip

    def __init__(
        self, op: Any, parents: Any, saved: Any, out: Any, params: Any, shape: Any, dtype: Any
    ) -> None:
        self.time = tick()
        self.op = op
        self.parents = parents
        self.saved = saved
        self.out = out
        self.params = params
        self.shape = shape
        self.dtype = dtype
        self.block = state.block
        self.kept: Any = None

    def free(self) -> None:
        """Drops what backward needed and the way to the inputs."""
        self.parents = self.saved = self.out = None

    def __repr__(self) -> str:
        return f"Node({self.op.name}, shape={self.shape})"


class Leaf:
    """Where a gradient ends: a Tensor that requires one and was not computed.

    Attributes:
        shape, dtype: of the tensor and its gradient.
        grad: None, an array that may be shared and is therefore never written, or a Tensor.
        owner: a weak reference to the Tensor, or None.
    """

    __slots__ = ("__weakref__", "dtype", "grad", "owner", "shape")
    op = None
    parents = ()

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        self.grad: Any = None
        self.owner: Any = None

    def add(self, grad: Any) -> None:
        """Adds a gradient, an array or (create_graph) a Tensor; never writes into the old one."""
        old = self.grad
        self.grad = grad if old is None else old + grad

    def __repr__(self) -> str:
        return f"Leaf(shape={self.shape})"


TANGENT = Leaf((), np.dtype(np.float64))  # stands as producer of a Tensor that has only a tangent
TRACED = Leaf((), np.dtype(np.float64))  # and of one that is only recorded
FLOWLESS = (None, TANGENT, TRACED)  # producers through which no gradient flows


class Unsupported(Exception):  # noqa: N818 - a reason, not a fault: what is recorded runs as it is
    """Why a function cannot be a program; it then runs as it is, with the same bits."""


def unsupported(reason: str) -> NoReturn:
    """Ends the recording of this thread, also where the function catches what is raised here."""
    reason = state.tape.located(reason)
    state.tape.broken = state.tape.broken or reason
    raise Unsupported(reason)


class Mode:
    """Sets and clears bits of the thread's mode: a context manager and a decorator."""

    def __init__(self, on: int = 0, off: int = 0) -> None:
        self._on, self._off = on, off
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(state.mode)
        state.mode = (state.mode & ~self._off) | self._on

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state.mode = self._before.pop()

    def __call__(self, function: Any) -> Any:
        import functools

        on, off = self._on, self._off

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with Mode(on, off):
                return function(*args, **kwargs)

        return wrapped


def no_grad() -> Mode:
    """Calls inside build no graph: `with nn.no_grad(): ...`, or `@nn.no_grad()` on a function.

    For this thread only; blocks nest. Values are the same, nothing is kept for backward.
    """
    return Mode(off=GRAD)


def enable_grad() -> Mode:
    """Calls inside build the graph again, within `no_grad`."""
    return Mode(on=GRAD)


def is_grad_enabled() -> bool:
    """Whether calls of this thread build the graph."""
    return bool(state.mode & GRAD)
