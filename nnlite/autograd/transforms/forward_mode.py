"""Forward mode: values that carry their tangents through one pass.

    jvp(f, x, v) = J v = d/dt f(x + t v) at t = 0

Each call computes its value and, by the operation's own `jvp`, the tangent of it; nothing is kept
for a way back. Inside another forward pass, where a value has no room for a second tangent, J v is
the derivative of <J^T u, v> by u instead.

Source: Griewank, Walther, "Evaluating Derivatives" (2008), chapter 3; the second way: Townsend,
"A new trick for calculating Jacobian vector products" (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import grad
from ..node import FORWARD, GRAD, PLAIN, TANGENT, Leaf, Mode, state
from ..tensor import Tensor, wrap
from .arguments import Inputs, settled
from .reverse_mode import pull


def jvp(
    f: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = True,
) -> tuple[Any, Any]:
    """The values of f and J v, the rate at which they change when the inputs move along v.

    Args:
        f: a function of Tensors that gives a Tensor or a tuple of them.
        inputs: a Tensor or array (float32 or float64), or a tuple of them, for f(*inputs); or
            Parameters or a Module that f() uses.
        v: an array like each input, or one flat array of all elements; default 1, for an input of
            one element.
        create_graph: record the result, for derivatives of it; f may then take gradients by its
            arguments.
        strict: False: J v is 0 when f does not depend on the inputs.

    Returns:
        (outputs, J v), both in the form of what f gives.

    Raises:
        RuntimeError: f does not depend on any input, and strict.
        TypeError, ValueError: an argument or what f returns is not as described.

    Notes:
        One pass; about 2 to 3 times the cost of f alone.
    """
    given = Inputs("jvp", f, inputs)
    if v is None and len(given.items) == 1 and given.items[0].size == 1:
        v = np.ones(given.items[0].shape, given.items[0].dtype)
        v = v if given.single else (v,)
    vs, _ = given.vectors("v", v)
    ys, ts, alone = _nested(given, vs, create_graph, strict) if state.mode & FORWARD else _forward(
        given, vs, create_graph, strict
    )  # fmt: skip
    return (ys[0], ts[0]) if alone else (ys, ts)


def _forward(
    given: Inputs, vs: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], bool]:
    """(outputs, tangents, whether there is one output alone) in one pass."""
    mode = Mode(FORWARD | GRAD, PLAIN) if create_graph else Mode(FORWARD | PLAIN, GRAD)
    xs = given.leaves(create_graph)
    with mode, carrying(given, xs, vs) as duals:
        ys, alone = given.call(duals)
    ts = [getattr(y, "_tangent", None) for y in ys]
    if strict and all(t is None for t in ts):
        raise given.unused(None)
    tangents = [
        wrap(np.zeros(y.shape, y.dtype)) if t is None else t for t, y in zip(ts, ys, strict=True)
    ]
    if create_graph:
        return tuple([_without(y) for y in ys]), tuple(tangents), alone
    return tuple([wrap(y._data) for y in ys]), tuple([wrap(t._data) for t in tangents]), alone


def _without(y: Tensor) -> Tensor:
    """An output with its history and without its tangent."""
    found = wrap(y._data)
    found._edge = None if y._edge is TANGENT else y._edge
    found._changed = y._changed
    return found


@contextmanager
def carrying(
    given: Inputs, xs: tuple[Tensor, ...], vs: tuple[Tensor, ...]
) -> Iterator[tuple[Tensor, ...]]:
    """The inputs as Tensors with tangents; Parameters stand for theirs while it lasts."""
    if given.parameters is None:
        yield tuple([dual(x, v) for x, v in zip(xs, vs, strict=True)])
        return
    before = state.duals
    duals = tuple([dual(x, v) for x, v in zip(xs, vs, strict=True)])
    leaves = [p._leaf for p in given.parameters]
    state.duals = {**before, **dict(zip(leaves, duals, strict=True))}
    try:
        yield duals
    finally:
        state.duals = before


def dual(x: Tensor, v: Tensor) -> Tensor:
    """The same leaf with the tangent v."""
    t = wrap(x._data)
    t._tangent, t._edge, t._changed = v, x._edge, x._changed
    return t


def _nested(
    given: Inputs, vs: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], bool]:
    """The same inside a forward pass, whose tangents flow on: d/du <J^T u, v>."""
    with Mode(on=GRAD, off=PLAIN):
        xs = given.leaves(create_graph)
        ys, alone = given.call(xs)
        probes = tuple([_probe(y) for y in ys])
        if strict and not any(y.requires_grad for y in ys):
            raise given.unused(None)
        slopes = pull(given, ys, xs, probes, True, False)
        used = [(g, v) for g, v in zip(slopes, vs, strict=True) if g.requires_grad]
        found: tuple[Any, ...] = (None,) * len(probes)
        if used:
            found = grad(
                [g for g, _ in used], probes, [v for _, v in used], True, create_graph,
                allow_unused=True,
            )  # fmt: skip
    ts = tuple(
        [
            wrap(np.zeros(y.shape, y.dtype)) if t is None else t
            for t, y in zip(found, ys, strict=True)
        ]
    )
    if create_graph:
        return ys, ts, alone
    return tuple([settled(y) for y in ys]), tuple([settled(t) for t in ts]), alone


def _probe(y: Tensor) -> Tensor:
    """Zeros like y that require a gradient."""
    u = wrap(np.zeros(y.shape, y.dtype))
    u._edge = Leaf(u.shape, u.dtype)
    return u


def jacobian_by_columns(given: Inputs, strict: bool) -> Any:
    """The Jacobian from one forward pass for each element of the inputs."""
    columns: list[list[tuple[Tensor, ...]]] = [[] for _ in given.items]
    zeros = [wrap(np.zeros(x.shape, x.dtype)) for x in given.items]
    run = _nested if state.mode & FORWARD else _forward
    outs: Any = None
    alone = True
    for i, x in enumerate(given.items):
        for place in range(x.size):
            v = np.zeros(x.size, x.dtype)
            v[place] = 1
            vs = (*zeros[:i], wrap(v.reshape(x.shape)), *zeros[i + 1 :])
            outs, ts, alone = run(given, vs, False, strict)
            columns[i].append(ts)
    if outs is None:  # no element at all: the shapes alone
        outs, _, alone = run(given, tuple(zeros), False, strict)
    blocks = [
        given.form(tuple([_columns([c[k] for c in columns[i]], y, x)
                          for i, x in enumerate(given.items)]))
        for k, y in enumerate(outs)
    ]  # fmt: skip
    return blocks[0] if alone else tuple(blocks)


def _columns(tangents: list[Tensor], y: Tensor, x: Tensor) -> Tensor:
    """The columns of one block side by side."""
    from ..ops.joining import stack

    if not tangents:
        return wrap(np.zeros(y.shape + x.shape, y.dtype))
    return stack(tangents, y.ndim).reshape(y.shape + x.shape)
