"""Reverse mode as functions: vjp and jacobian.

    vjp(f, x, u) = J^T u         one pass forward and one backward, whatever the size of x
    jacobian(f, x) = J           one pass backward for each element of f(x)

Source: Griewank, Walther, "Evaluating Derivatives" (2008), chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import grad
from ..node import FORWARD, GRAD, Mode, state
from ..tensor import Tensor, wrap
from .arguments import Inputs, like, settled


def vjp(
    f: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = True,
) -> tuple[Any, Any]:
    """The values of f and J^T v: the gradient of the inputs when v is that of the outputs.

    Args:
        f: a function of Tensors that gives a Tensor or a tuple of them.
        inputs: a Tensor or array (float32 or float64), or a tuple of them, for f(*inputs); or
            Parameters or a Module that f() uses.
        v: an array like each output; default 1, for an f that gives one number.
        create_graph: record the result, for derivatives of it.
        strict: False: inputs that f does not depend on get zeros.

    Returns:
        (outputs, J^T v), the latter in the form of the inputs.

    Raises:
        RuntimeError: f does not depend on an input, and strict.
        TypeError, ValueError: an argument or what f returns is not as described.
    """
    given = Inputs("vjp", f, inputs)
    with Mode(on=GRAD):
        xs = given.leaves(create_graph)
        ys, alone = given.call(xs)
        us = _upstream(given, v, ys, alone)
        found = pull(given, ys, xs, us, create_graph, strict)
    if not create_graph:
        ys = tuple([settled(y) for y in ys])
    return ys[0] if alone else ys, given.form(found)


def _upstream(given: Inputs, v: Any, ys: tuple[Tensor, ...], alone: bool) -> tuple[Tensor, ...]:
    if v is not None:
        return like(given.operation, "v", v, ys, "output", alone)
    if len(ys) != 1 or ys[0].size != 1:
        raise ValueError(
            f"{given.operation}: v: f gives more than one number, shape {ys[0].shape}; pass v, an "
            "array like each output"
        )
    return (wrap(np.ones(ys[0].shape, ys[0].dtype)),)


def pull(
    given: Inputs,
    ys: tuple[Tensor, ...],
    xs: tuple[Tensor, ...],
    us: tuple[Tensor, ...],
    create_graph: bool,
    strict: bool,
    retain: bool = False,
) -> tuple[Tensor, ...]:
    """J^T u from a graph that was built; zeros where no gradient arrives and not strict."""
    pairs = [(y, u) for y, u in zip(ys, us, strict=True) if y.requires_grad]
    found: tuple[Any, ...] = (None,) * len(xs)
    if pairs:
        found = grad(
            [y for y, _ in pairs], xs, [u for _, u in pairs], retain or create_graph, create_graph,
            allow_unused=True,
        )  # fmt: skip
    for i, g in enumerate(found):
        if g is None and strict:
            raise given.unused(i)
    return tuple(
        [
            wrap(np.zeros(x.shape, x.dtype)) if g is None else g if create_graph else settled(g)
            for g, x in zip(found, xs, strict=True)
        ]
    )


def jacobian(
    f: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = True,
    strategy: str = "reverse-mode",
) -> Any:
    """The matrix of all first derivatives: rows are outputs, columns inputs.

    Args:
        f: a function of Tensors that gives a Tensor or a tuple of them.
        inputs: a Tensor or array (float32 or float64), or a tuple of them, for f(*inputs); or
            Parameters or a Module that f() uses.
        create_graph: record the result, for derivatives of it; reverse mode only.
        strict: False: derivatives by inputs that f does not depend on are 0.
        strategy: "reverse-mode", a pass for each element of the outputs; or "forward-mode", one
            for each element of the inputs, which is less work when these are fewer.

    Returns:
        A Tensor of shape (*output.shape, *input.shape); a tuple over the inputs where these are a
        tuple; around that a tuple over the outputs where f gives a tuple.

    Raises:
        RuntimeError: f does not depend on an input, and strict.
        TypeError, ValueError: an argument or what f returns is not as described.
    """
    given = Inputs("jacobian", f, inputs)
    if strategy == "forward-mode":
        if create_graph:
            raise ValueError('jacobian: create_graph: expected False with strategy "forward-mode"')
        from .forward_mode import jacobian_by_columns

        return jacobian_by_columns(given, strict)
    if strategy != "reverse-mode":
        raise ValueError(
            f'jacobian: strategy: expected "reverse-mode" or "forward-mode", got {strategy!r}'
        )
    with Mode(on=GRAD):
        xs = given.leaves(create_graph)
        ys, alone = given.call(xs)
        blocks = [given.form(_rows(given, y, xs, create_graph, strict)) for y in ys]
    return blocks[0] if alone else tuple(blocks)


def _rows(
    given: Inputs, y: Tensor, xs: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[Tensor, ...]:
    """The derivatives of one output by all inputs, row by row."""
    if not y.requires_grad and strict:
        raise given.unused(None)
    rows = []
    for place in range(y.size):
        u = np.zeros(y.size, y.dtype)
        u[place] = 1
        us = (wrap(u.reshape(y.shape)),)
        rows.append(pull(given, (y,), xs, us, create_graph, strict, retain=True))
    if create_graph or state.mode & FORWARD:
        return tuple([_stacked([row[i] for row in rows], y, x) for i, x in enumerate(xs)])
    return tuple([
        wrap(np.array([row[i]._data for row in rows], x.dtype).reshape(y.shape + x.shape))
        for i, x in enumerate(xs)
    ])  # fmt: skip


def _stacked(rows: list[Tensor], y: Tensor, x: Tensor) -> Tensor:
    """The rows of one block as a Tensor with history."""
    from ..ops.joining import stack

    if not rows:
        return wrap(np.zeros(y.shape + x.shape, x.dtype))
    return stack(rows).reshape(y.shape + x.shape)
