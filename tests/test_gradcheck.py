"""gradcheck and gradgradcheck of every operation over every class of shapes, and of themselves."""

from __future__ import annotations

import inspect

import derivative_table as table
import numpy as np
import pytest
from derivative_table import IDS, LINES, Line

import nnlite as nn
from nnlite import autograd as ag
from nnlite.autograd.function import _Call
from nnlite.autograd.node import Node
from nnlite.autograd.operation import Operation


@pytest.mark.parametrize("line", LINES, ids=IDS)
def test_gradcheck(line: Line) -> None:
    assert ag.gradcheck(line.call, line.inputs(), rtol=1e-8, tangent_rtol=1e-14)


@pytest.mark.parametrize("line", LINES, ids=IDS)
def test_gradgradcheck(line: Line) -> None:
    assert ag.gradgradcheck(line.call, line.inputs(), rtol=1e-8, tangent_rtol=1e-14)


# Nothing is missing.


def operations(base: type) -> set[type]:
    """All operations below a class that can be called."""
    found = set()
    for op in base.__subclasses__():
        if op.__module__.startswith("nnlite.autograd.") and not issubclass(op, _Call):
            found |= {op} if hasattr(op, "forward") else set()
            found |= operations(op)
    return found


def called(line: Line) -> set[type]:
    """The operations that a line calls."""
    outs = line.call(*[nn.tensor(x, requires_grad=True) for x in line.inputs()])
    stack = [y._edge for y in (outs if isinstance(outs, tuple) else (outs,))]
    found = set()
    while stack:
        node = stack.pop()
        if type(node) is Node:
            found.add(node.op)
            stack.extend(node.parents)
    return found


def test_every_operation_has_a_line() -> None:
    covered = set().union(*[called(line) for line in LINES])
    missing = {
        op.__qualname__
        for op in operations(Operation)
        if op not in covered and op.__name__ not in table.STAND_INS
    }
    assert not missing, f"no line in tests/derivative_table.py for {sorted(missing)}"


def test_every_function_has_a_line() -> None:
    functions = {n: getattr(ag, n) for n in ag.__all__ if inspect.isfunction(getattr(ag, n))}
    names = {n for n, f in functions.items() if f.__module__.split(".")[-1] in table.MODULES}
    assert len(names) > 80
    missing = names - {line.name for line in LINES} - table.NO_GRADIENT
    assert not missing, f"no line in tests/derivative_table.py for {sorted(missing)}"


@pytest.mark.parametrize("name", sorted(table.NO_GRADIENT))
def test_no_gradient(name: str) -> None:
    x = nn.tensor(np.array([1.0, -2.0]), requires_grad=True)
    y = getattr(ag, name)(*[x, x][: 1 if name == "sign" else 2])
    assert not y.requires_grad
