"""Every operation: value, gradient, second derivative and tangent.

Values and gradients against PyTorch in float64 where it is installed; gradients against central
differences; the tangent against the gradient, <u, J t> = <J^T u, t>, which needs no step; second
derivatives against central differences of the gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from autograd_cases import CASES, IDS, Case

import nnlite as nn
from nnlite import autograd as ag
from nnlite.autograd.node import FORWARD, TANGENT, Mode
from nnlite.autograd.tensor import wrap

STEP = 6e-6  # the cube root of the rounding of float64


def leaves(arrays: list[np.ndarray]) -> list[nn.Tensor]:
    return [nn.tensor(a, requires_grad=True) for a in arrays]


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    return np.cos(np.arange(1, 1 + np.prod(shape, dtype=int))).reshape(shape)


def gradients(case: Case, arrays: list[np.ndarray], create_graph: bool = False) -> tuple[Any, Any]:
    xs = leaves(arrays)
    y = case.call(*xs)
    return xs, ag.grad(y, xs, upstream(y.shape), create_graph=create_graph)


def differences(function: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Central differences of a number by every element of every array."""
    found = []
    for i, a in enumerate(arrays):
        slope = np.zeros(a.shape)
        for place in np.ndindex(a.shape):
            both = []
            for sign in (1, -1):
                moved = [np.array(b) for b in arrays]
                moved[i][place] += sign * STEP
                both.append(function(moved))
            slope[place] = (both[0] - both[1]) / (2 * STEP)
        found.append(slope)
    return found


def close(got: Any, expected: Any, error: float) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=error, atol=error)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gradient_is_the_slope(case: Case) -> None:
    arrays = case.inputs()
    _, grads = gradients(case, arrays)

    def value(moved: list[np.ndarray]) -> float:
        y = case.call(*[nn.tensor(a) for a in moved])
        return float((y.numpy() * upstream(y.shape)).sum())

    for g, slope in zip(grads, differences(value, arrays), strict=True):
        close(g, slope, 2e-8)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gradient_on_tensors_is_that_on_arrays(case: Case) -> None:
    arrays = case.inputs()
    _, grads = gradients(case, arrays)
    _, again = gradients(case, arrays, create_graph=True)
    for g, h in zip(grads, again, strict=True):
        close(h.detach(), g, 1e-13)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_second_derivative_is_the_slope_of_the_gradient(case: Case) -> None:
    arrays = case.inputs()
    xs, grads = gradients(case, arrays, create_graph=True)
    total = None
    for g in grads:
        if g.requires_grad:
            part = (g * upstream(g.shape)).sum()
            total = part if total is None else total + part

    def value(moved: list[np.ndarray]) -> float:
        _, gs = gradients(case, moved)
        return sum(float((g.numpy() * upstream(g.shape)).sum()) for g in gs)

    if total is None:
        second: Any = [None] * len(xs)
    else:
        second = ag.grad(total, xs, allow_unused=True)
    for g, x, slope in zip(second, xs, differences(value, arrays), strict=True):
        close(np.zeros(x.shape) if g is None else g, slope, 2e-6)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_tangent_is_the_transpose_of_the_gradient(case: Case) -> None:
    arrays = case.inputs()
    _, grads = gradients(case, arrays)
    with Mode(on=FORWARD):
        xs = [nn.tensor(a) for a in arrays]
        for x in xs:
            x._edge, x._tangent = TANGENT, wrap(upstream(x.shape) + 0.3)
        y = case.call(*xs)
    tangent = y._tangent
    assert tangent.shape == y.shape
    left = (tangent._data * upstream(y.shape)).sum()
    right = sum((g.numpy() * x._tangent._data).sum() for g, x in zip(grads, xs, strict=True))
    close(left, right, 1e-11)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_parity_with_torch(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays = case.inputs()
    others = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = case.torch(*others)
    ours = case.call(*[nn.tensor(a) for a in arrays])
    close(ours, y.detach().numpy(), 1e-12)
    theirs = torch.autograd.grad(y, others, torch.tensor(upstream(tuple(y.shape))))
    _, grads = gradients(case, arrays)
    for g, h in zip(grads, theirs, strict=True):
        close(g, h.numpy(), 1e-10)
