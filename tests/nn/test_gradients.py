"""Gradients against central differences in float64: each layer, each loss, whole networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers import F64

import nnlite as nn

STEP = 1e-5  # of the differences; within the range that the lecture notes give for double
BOUND = 1e-7

# One row, one feature, one of each, several; more than a tile.
SHAPES = [(1, 1), (1, 5), (6, 1), (2, 3), (7, 4), (33, 19)]


def differences(f: Callable[[], float], x: np.ndarray) -> np.ndarray:
    """df/dx by (f(x + h) - f(x - h)) / 2h in each element; x is changed and put back."""
    gradient = np.empty_like(x)
    for place in np.ndindex(x.shape):
        old = x[place]
        x[place] = old + STEP
        above = f()
        x[place] = old - STEP
        gradient[place] = (above - f()) / (2 * STEP)
        x[place] = old
    return gradient


def agree(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Asserts a relative error, in norm, of at most BOUND."""
    assert found.shape == expected.shape, what
    scale = max(np.linalg.norm(found), np.linalg.norm(expected), 1e-3)
    error = np.linalg.norm(found - expected) / scale
    assert error <= BOUND, f"{what}: relative error {error:.1e}"


def check_module(module: nn.Module, x: np.ndarray, rng: np.random.Generator) -> None:
    """d sum(weights * module(x)) by x and by every parameter; gradients add to what is there."""
    weights = rng.normal(size=module(x).shape)
    module.forget()

    def f() -> float:
        return float((weights * module.predict(x)).sum())

    start = {name: rng.normal(size=p.shape) for name, p in module.named_parameters()}
    for name, p in module.named_parameters():
        p.grad = start[name]
    module(x)
    dx = module.backward(weights)
    agree(dx, differences(f, x), "input")
    for name, p in module.named_parameters():
        agree(p.grad - start[name], differences(f, p.data), name)


def apart(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers at least 0.01 away from 0, where ReLU has no derivative."""
    x = rng.normal(size=shape)
    return x + np.where(x < 0, -0.01, 0.01)


LAYERS = {
    "linear": lambda D: nn.Linear(D, 4, dtype=F64),
    "linear to one": lambda D: nn.Linear(D, 1, dtype=F64),
    "linear without bias": lambda D: nn.Linear(D, 5, bias=False, dtype=F64),
    "relu": lambda D: nn.ReLU(),
    "sigmoid": lambda D: nn.Sigmoid(),
    "tanh": lambda D: nn.Tanh(),
    "softmax": lambda D: nn.Softmax(),
    "log-softmax": lambda D: nn.LogSoftmax(),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer, shape, rng):
    check_module(LAYERS[layer](shape[1]), apart(rng, *shape), rng)


NETWORKS = {
    "sigmoid": lambda D: [nn.Linear(D, 7, dtype=F64), nn.Sigmoid(), nn.Linear(7, 3, dtype=F64)],
    "tanh": lambda D: [
        nn.Linear(D, 5, dtype=F64),
        nn.Tanh(),
        nn.Linear(5, 1, dtype=F64),
        nn.Tanh(),
    ],
    "softmax": lambda D: [nn.Linear(D, 6, dtype=F64), nn.Softmax(), nn.Linear(6, 2, dtype=F64)],
    "nested": lambda D: [
        nn.Sequential(nn.Linear(D, 4, dtype=F64), nn.Tanh()),
        nn.Sequential(nn.Sigmoid(), nn.Linear(4, 3, bias=False, dtype=F64)),
        nn.LogSoftmax(),
    ],
}


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (6, 3)], ids=str)
@pytest.mark.parametrize("network", NETWORKS)
def test_networks(network, shape, rng):
    check_module(nn.Sequential(*NETWORKS[network](shape[1])), rng.normal(size=shape), rng)


def test_relu_network(rng):
    """No unit may cross its kink within a step: the data are chosen so."""
    model = nn.Sequential(
        nn.Linear(3, 8, dtype=F64), nn.ReLU(), nn.Linear(8, 8, dtype=F64), nn.ReLU(),
        nn.Linear(8, 2, dtype=F64),
    )  # fmt: skip
    x = rng.normal(size=(4, 3))
    hidden = [model[0].predict(x), nn.Sequential(*list(model)[:3]).predict(x)]
    assert min(np.abs(h).min() for h in hidden) > 100 * STEP
    check_module(model, x, rng)


def classes(rng, N, K) -> np.ndarray:
    return rng.integers(0, K, N)


def probabilities(rng, N, K) -> np.ndarray:
    t = rng.exponential(size=(N, K))
    return t / t.sum(axis=1, keepdims=True)


def unnormalised(rng, N, K) -> np.ndarray:
    return rng.exponential(size=(N, K))


def numbers(rng, N, K) -> np.ndarray:
    return rng.normal(size=(N, K))


LOSSES = {
    "softmax, classes": (nn.SoftmaxCE, classes),
    "softmax, probabilities": (nn.SoftmaxCE, probabilities),
    "softmax, any mass": (nn.SoftmaxCE, unnormalised),
    "nll": (nn.NLLLoss, classes),
    "mse": (nn.MSELoss, numbers),
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", LOSSES)
def test_losses(case, shape, reduction, rng):
    kind, targets = LOSSES[case]
    loss, x, target = kind(reduction=reduction), rng.normal(size=shape), targets(rng, *shape)
    loss(x, target)
    agree(loss.backward(), differences(lambda: loss.evaluate(x, target), x), case)


@pytest.mark.parametrize("case", LOSSES)
def test_networks_with_losses(case, rng):
    kind, targets = LOSSES[case]
    model = nn.Sequential(nn.Linear(4, 6, dtype=F64), nn.Tanh(), nn.Linear(6, 3, dtype=F64))
    loss, x, target = kind(), rng.normal(size=(5, 4)), targets(rng, 5, 3)
    loss(model(x), target)
    agree(
        model.backward(loss.backward()),
        differences(lambda: loss.evaluate(model.predict(x), target), x),
        "input",
    )
    for name, p in model.named_parameters():
        expected = differences(lambda: loss.evaluate(model.predict(x), target), p.data)
        agree(p.grad, expected, name)


def test_the_check_notices_a_wrong_gradient(rng):
    class Wrong(nn.Tanh):
        def _grad(self, saved, grad_output, want_input):
            return super()._grad(saved, grad_output, want_input) * (1 + 1e-6)

    with pytest.raises(AssertionError, match="relative error"):
        check_module(Wrong(), rng.normal(size=(3, 2)), rng)


def test_log_softmax_and_nll_is_softmax_ce(rng):
    x, target = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    layer, nll, both = nn.LogSoftmax(), nn.NLLLoss(), nn.SoftmaxCE()
    assert nll(layer(x), target) == pytest.approx(both(x, target), rel=1e-14)
    np.testing.assert_allclose(layer.backward(nll.backward()), both.backward(), atol=1e-15)
