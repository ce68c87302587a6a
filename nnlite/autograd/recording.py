"""How a call is recorded: in the graph, with tangents, and on the tape of a program.

The output of a call whose inputs have a producer (`_edge`) gets one too, as the mode of the thread
wants it (`node.py`). A call costs microseconds, so what is usual, gradients alone, is looked for
first and goes through as few functions as it can.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .node import (
    ANOMALY,
    FLOWLESS,
    FORWARD,
    GRAD,
    PLAIN,
    RECORD,
    TANGENT,
    TRACED,
    Node,
    state,
)  # fmt: skip
from .tensor import Tensor, shared, wrap

_new = object.__new__


def record(op: Any, out: Tensor, inputs: tuple, params: tuple) -> None:
    """Makes the node of a call whose inputs have a producer, as the thread's mode wants it."""
    mode = state.mode
    if mode == GRAD:
        attach(op, out, inputs, params)
    elif mode:
        _record_specially(op, out, inputs, params, mode)


def attach(op: Any, out: Tensor, inputs: tuple, params: tuple) -> None:
    """Makes the node of a call and puts it on the output."""
    parents = tuple([x._edge if type(x) is Tensor else None for x in inputs])
    saved: Any
    if op.keeps_inputs:
        saved = op.kept(inputs, parents) if op.crosswise else inputs
    elif None in parents:
        saved = tuple([x if p is None else None for p, x in zip(parents, inputs, strict=True)])
    else:
        saved = None
    data = out._data
    alias = None
    if op.keeps_output:
        alias = wrap(data)
        alias._changed = out._changed = [0]
    out._edge = Node(op, parents, saved, alias, params, data.shape, data.dtype)


def attach_to_one(op: Any, out: Tensor, x: Tensor, params: tuple) -> None:
    """`attach` for an operation with one input."""
    data = out._data
    alias = None
    if op.keeps_output:
        alias = wrap(data)
        alias._changed = out._changed = [0]
    saved = (x,) if op.keeps_inputs else None
    out._edge = Node(op, (x._edge,), saved, alias, params, data.shape, data.dtype)


def share(out: Tensor, base: Tensor) -> None:
    """Makes changes in place of a view and of its base visible to both."""
    out._changed = shared(base)


def without_gradient(op: Any, out: Tensor, inputs: tuple, params: tuple = ()) -> Tensor:
    """The result of a call through which no gradient flows; noted while a program is recorded."""
    if state.mode & RECORD and any([type(x) is Tensor and x._edge is not None for x in inputs]):
        state.tape.note(op, inputs, (out._data,), params)
        out._edge = TRACED
    return out


def _trace(op: Any, out: Tensor, inputs: tuple, params: tuple, mode: int) -> None:
    """A call while a program is recorded: on the tape, and in the graph where a gradient flows."""
    state.tape.note(op, inputs, (out._data,), params)
    if mode & GRAD and any([type(x) is Tensor and x._edge not in FLOWLESS for x in inputs]):
        attach(op, out, inputs, params)
        node = out._edge
        node.parents = tuple([None if p is TRACED else p for p in node.parents])
    else:
        out._edge = TRACED


def _record_specially(op: Any, out: Tensor, inputs: tuple, params: tuple, mode: int) -> None:
    """Recording with tangents, with a look for NaN, or of a program."""
    if mode & RECORD:
        _trace(op, out, inputs, params, mode)
        return
    if mode & ANOMALY:
        from .check.anomaly import check_forward

        check_forward(op, out._data, inputs)
    tangents = tuple([getattr(x, "_tangent", None) for x in inputs]) if mode & FORWARD else ()
    if any(t is not None for t in tangents):
        primal = tuple([without_tangent(x) for x in inputs])
        if mode & GRAD and any(type(x) is Tensor and x._edge is not None for x in primal):
            attach(op, out, primal, params)
            out._edge.saved = inputs if op.keeps_inputs else out._edge.saved
        with np.errstate(all="ignore"):
            tangent = op.jvp(tangents, *without_history(mode, primal, copy_of(out)), params)
        out._tangent = tangent
        if out._edge is None:
            out._edge = TANGENT
        elif out._edge.out is not None:
            out._edge.out._tangent = tangent
    elif mode & GRAD:
        attach(op, out, inputs, params)


def without_tangent(x: Any) -> Any:
    """The same Tensor, as forward mode sees its value."""
    if type(x) is not Tensor or (getattr(x, "_tangent", None) is None and x._edge is not TANGENT):
        return x
    t = copy_of(x)
    if t._edge is TANGENT:
        t._edge = None
    return t


def without_history(mode: int, inputs: tuple, out: Any) -> tuple[tuple, Any]:
    """What a tangent is computed from: without history where it shall have none itself."""
    if not mode & PLAIN:
        return inputs, out
    values = tuple([wrap(x._data) if type(x) is Tensor else x for x in inputs])
    return values, tuple([wrap(y._data) for y in out]) if type(out) is tuple else wrap(out._data)


def copy_of(x: Tensor) -> Tensor:
    """Another Tensor of the same array and history, without its tangent."""
    t = _new(Tensor)
    t._data, t._edge, t._changed = x._data, x._edge, x._changed
    return t
