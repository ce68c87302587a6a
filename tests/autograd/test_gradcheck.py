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
from nnlite.nn.activations import Activation


@pytest.mark.parametrize("line", LINES, ids=IDS)
def test_gradcheck(line: Line) -> None:
    assert ag.gradcheck(line.call, line.inputs(), rtol=1e-8, tangent_rtol=1e-14)


@pytest.mark.parametrize("line", LINES, ids=IDS)
def test_gradgradcheck(line: Line) -> None:
    assert ag.gradgradcheck(line.call, line.inputs(), rtol=1e-8, tangent_rtol=1e-14)


# Nothing is missing.


def operations(base: type) -> set[type]:
    """All operations below a class that can be called; what begins with _ is a family of them."""
    found = set()
    for op in base.__subclasses__():
        if op.__module__.startswith("nnlite.autograd.") and not issubclass(op, _Call):
            whole = hasattr(op, "forward") and hasattr(op, "vjp")
            found |= {op} if whole and not op.__name__.startswith("_") else set()
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


# Modules and losses.

F64 = np.float64
MODULES = [
    nn.Linear(3, 3, dtype=F64), nn.Linear(3, 2, bias=False, dtype=F64),
    *[kind() for kind in Activation.__subclasses__()], nn.Dropout(0.3),
    nn.Sequential(nn.Linear(3, 4, dtype=F64), nn.Tanh(), nn.Linear(4, 2, dtype=F64)),
    nn.Residual(nn.Linear(3, 3, dtype=F64)), nn.Concat(nn.Tanh(), nn.Linear(3, 2, dtype=F64)),
    nn.Identity(), nn.Flatten(), nn.Lambda(lambda x: x * x),
]  # fmt: skip
PROBABILITIES = np.abs(table.TARGET) / np.abs(table.TARGET).sum(1, keepdims=True)
ROWS = np.array([1.0, 0, 2, 1])
LOSSES = [
    (nn.SoftmaxCE(), table.LABELS), (nn.SoftmaxCE("sum", label_smoothing=0.1), table.LABELS),
    (nn.SoftmaxCE(weight=[1.0, 2, 0.5], ignore_index=1), table.LABELS),
    (nn.SoftmaxCE(), PROBABILITIES), (nn.NLLLoss(), table.LABELS), (nn.MSELoss(), table.TARGET),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_modules(module: nn.Module) -> None:
    x = np.linspace(-1, 2, 12).reshape(4, 3)

    def call(x: nn.Tensor) -> nn.Tensor:
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.step = 0  # the same mask each time
        return module(x)

    for check in (ag.gradcheck, ag.gradgradcheck):
        assert check(call, x, rtol=1e-8)
        if module.parameters():
            assert check(lambda: call(nn.tensor(x)), module, rtol=1e-8)


@pytest.mark.parametrize(("loss", "target"), LOSSES, ids=lambda v: repr(v)[:60])
@pytest.mark.parametrize("weight", [None, ROWS], ids=["", "weighted rows"])
def test_losses(loss: nn.Loss, target: np.ndarray, weight: np.ndarray | None) -> None:
    x = np.cos(np.arange(12.0)).reshape(4, 3)
    for check in (ag.gradcheck, ag.gradgradcheck):
        assert check(lambda x: loss(x, target, weight), x, rtol=1e-8)


def test_every_module_and_loss_is_checked() -> None:
    known = {type(m) for m in MODULES} | {type(loss) for loss, _ in LOSSES} | {nn.Module, nn.Loss}
    known |= {nn.ModuleDict, nn.ModuleList}  # which hold modules and have no forward
    public = {v for v in vars(nn).values() if inspect.isclass(v)}
    named = {v for v in public if issubclass(v, (nn.Module, nn.Loss))}
    assert named <= known, f"not checked: {sorted(v.__name__ for v in named - known)}"


@pytest.mark.parametrize("name", sorted(table.NO_GRADIENT))
def test_no_gradient(name: str) -> None:
    x = nn.tensor(np.array([1.0, -2.0]), requires_grad=True)
    y = getattr(ag, name)(*[x, x][: 1 if name == "sign" else 2])
    assert not y.requires_grad
