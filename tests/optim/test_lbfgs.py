"""L-BFGS: what it finds on convex problems, and what it does when something fails."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers import F32, F64, same_bytes

import nnlite as nn


def regression(dtype=F64):
    """A linear model, its closure, and the exact solution of least squares with decay."""
    random = np.random.RandomState(0)
    X = random.standard_normal((40, 6)).astype(dtype)
    y = (X @ random.standard_normal((6, 2)) + 0.1 * random.standard_normal((40, 2))).astype(dtype)
    model, loss = nn.Sequential(nn.Linear(6, 2, dtype=dtype)), nn.MSELoss()

    def closure() -> float:
        for p in model.parameters():
            p.grad = np.zeros(p.shape)
        value = loss(model(X), y)
        model.backward(loss.backward())
        return value

    def exact(decay: float) -> np.ndarray:
        ones = np.column_stack([X, np.ones(len(X))]).astype(F64)
        ridge = decay * np.diag([1.0] * 6 + [0.0]) * y.size / 2  # biases are exempt
        return np.linalg.solve(ones.T @ ones + ridge, ones.T @ y.astype(F64))

    return model, closure, exact


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype, tolerance", [(F32, 2e-4), (F64, 1e-7)], ids=str)
def test_least_squares(dtype, tolerance, decay):
    pytest.importorskip("scipy", reason="SciPy is not installed")
    model, closure, exact = regression(dtype)
    optimizer = nn.optim.LBFGS(
        model.parameters(), max_iter=200, weight_decay=decay,
        tolerance_grad=1e-12, tolerance_change=1e-16,
    )  # fmt: skip
    first = closure()
    assert optimizer.step(closure) == first > closure()
    found = np.vstack([model[0].weight.data, model[0].bias.data])
    np.testing.assert_allclose(found, exact(decay), rtol=tolerance, atol=tolerance)
    assert optimizer.steps == 1


def test_the_result_is_pytorchs():
    pytest.importorskip("scipy", reason="SciPy is not installed")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, closure, _ = regression()
    random = np.random.RandomState(0)
    X = torch.tensor(random.standard_normal((40, 6)))
    y = X @ torch.tensor(random.standard_normal((6, 2)))
    y = y + 0.1 * torch.tensor(random.standard_normal((40, 2)))
    layer = torch.nn.Linear(6, 2).double()
    with torch.no_grad():  # from the same weights: the module's own are another in every run
        layer.weight.copy_(torch.tensor(model[0].weight.data.T))
        layer.bias.copy_(torch.tensor(model[0].bias.data))
    theirs = torch.optim.LBFGS(
        layer.parameters(), max_iter=100, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def their_closure():
        theirs.zero_grad()
        value = torch.nn.functional.mse_loss(layer(X), y)
        value.backward()
        return value

    theirs.step(their_closure)
    nn.optim.LBFGS(model.parameters(), max_iter=100, tolerance_change=1e-14).step(closure)
    np.testing.assert_allclose(model[0].weight.data, layer.weight.detach().numpy().T, rtol=1e-5)
    np.testing.assert_allclose(model[0].bias.data, layer.bias.detach().numpy(), rtol=1e-5)


def test_few_calls_and_a_failure_that_changes_nothing():
    pytest.importorskip("scipy", reason="SciPy is not installed")
    model, closure, _ = regression()
    optimizer = nn.optim.LBFGS(model.parameters(), max_iter=3)
    calls = []

    def failing() -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return closure()

    before = [p.data.copy() for p in model.parameters()]
    with pytest.raises(KeyboardInterrupt):
        optimizer.step(failing)
    for p, kept in zip(model.parameters(), before, strict=True):
        same_bytes(p.data, kept)
    state = optimizer.state_dict()
    twin = nn.optim.LBFGS(model.parameters())
    twin.load_state_dict(state)
    assert repr(twin) == repr(optimizer) and twin.max_iter == 3


def test_without_scipy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"LBFGS needs SciPy, .* pip install 'nnlite\[lbfgs\]'"):
        nn.optim.LBFGS([nn.Parameter(np.ones(2))])
