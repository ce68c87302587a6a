"""The numbers of the lecture notes that the project grew from, through the public functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F64, In, InOut, Out, call

import nnlite as nn
from nnlite import functional as F

X = np.array([[2, 1, -3], [-3, 4, 2]], F64)
W = np.array([[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]], F64)
DY = np.array([[2, 3, -3, 9], [-8, 1, 4, 6]], F64)
PRODUCT = [[-1, -1, 2, 6], [5, 2, 11, 7]]
DX = [[0, 16, -9], [-24, 9, -30]]
DW = [[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]]


def linear(weight, bias=None) -> nn.Linear:
    """A Linear in float64 with these values."""
    weight = np.asarray(weight, F64)
    layer = nn.Linear(*weight.shape, bias=bias is not None, dtype=F64)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias
    return layer


def test_sigmoid_neuron():
    """w = (2, -3, -3), the last the bias; x = (-1, -2)."""
    layer = linear([[2], [-3]], [-3])
    model = nn.Sequential(layer, nn.Sigmoid())
    y = model(np.array([[-1, -2]], F64))
    dx = model.backward(np.ones((1, 1)))
    assert y.round(2).tolist() == [[0.73]]
    assert layer.weight.grad.round(2).tolist() == [[-0.20], [-0.39]]
    assert layer.bias.grad.round(2).tolist() == [0.20]
    assert dx.round(2).tolist() == [[0.39, -0.59]]
    assert y[0, 0] == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-15)


def test_exponential_of_a_line():
    """y = exp(w x + b) at w, x, b = 2, 3, -4."""
    line = linear([[2]], [-4])
    y = F.exp(line(np.array([[3.0]])))
    dx = line.backward(y)  # dy/d(w x + b) = y
    assert round(y[0, 0], 2) == round(line.bias.grad[0], 2) == 7.39
    assert round(dx[0, 0], 2) == 14.78
    assert round(line.weight.grad[0, 0], 2) == 22.17


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matrix_example(dtype):
    layer = nn.Linear(3, 4, bias=False, dtype=dtype)
    layer.weight.data = W
    assert layer(X.astype(dtype)).tolist() == PRODUCT
    assert layer.backward(DY.astype(dtype)).tolist() == DX
    assert layer.weight.grad.tolist() == DW
    x, w, dy = (np.ascontiguousarray(v, dtype) for v in (X, W, DY))
    assert F.matmul(x, w).tolist() == PRODUCT
    assert F.matmul(dy, w, transpose_b=True).tolist() == DX
    assert F.matmul(x, dy, transpose_a=True).tolist() == DW
    assert F.matmul(w, x, transpose_a=True, transpose_b=True).T.tolist() == PRODUCT


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matrix_example_by_kernels(isa, dtype):
    x, w, dy = (np.ascontiguousarray(v, dtype) for v in (X, W, DY))
    name = "Linear_updateOutput"
    y = call(isa, dtype, name, 2, 3, 4, In(x), Out((2, 4)), In(w), In(None), 0)[0]
    name = "Linear_updateGradInput"
    dx = call(isa, dtype, name, 2, 3, 4, In(dy), Out((2, 3)), In(w), In(None), 0)[0]
    name, db = "Linear_accGradParameters", InOut(np.ones(4, dtype))
    dw, db = call(isa, dtype, name, 2, 3, 4, In(x), In(dy), InOut(np.zeros_like(w)), db, 2.0)
    assert (y.tolist(), dx.tolist(), (dw / 2).tolist()) == (PRODUCT, DX, DW)
    assert db.tolist() == [-11, 9, 3, 31]  # 1 + 2 (column sums)


def test_squared_norm():
    """f = ||W x||^2 = 0.116; as rows, y = x W^T, and df/dy = 2 y."""
    layer = linear(np.array([[0.1, 0.5], [-0.3, 0.8]]).T)
    loss = nn.MSELoss(reduction="sum")
    f = loss(layer(np.array([[0.2, 0.4]])), np.zeros((1, 2)))
    dx = layer.backward(loss.backward())
    assert f == pytest.approx(0.116, rel=1e-14)
    np.testing.assert_allclose(layer.weight.grad.T, [[0.088, 0.176], [0.104, 0.208]], rtol=1e-14)
    np.testing.assert_allclose(dx, [[-0.112, 0.636]], rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_relu(dtype):
    relu = nn.ReLU()
    x = np.array([[1, -2, 3, -1]], dtype)
    assert relu(x).tolist() == [[1, 0, 3, 0]]
    assert relu.backward(np.array([[4, -1, 5, 9]], dtype)).tolist() == [[4, 0, 5, 0]]
    assert F.relu(x).tolist() == [[1, 0, 3, 0]]
    relu(np.zeros((1, 1), dtype))
    assert relu.backward(np.ones((1, 1), dtype)).tolist() == [[0]]  # the gradient at 0 is 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_softplus_of_large_numbers(dtype):
    """ln(1 + e^-x), by the fused loss of the logits (x, 0) and by log_softmax."""
    table = {-1: 1.3133, -2: 2.1269, -5: 5.0067, -10: 10, -100: 100, -1000: 1000, -2000: 2000}
    for x, expected in table.items():
        logits = np.array([[x, 0]], dtype)
        loss = nn.SoftmaxCE()(logits, np.array([0]))
        assert loss == pytest.approx(expected, abs=5.1e-5)
        assert -F.log_softmax(logits)[0, 0] == pytest.approx(expected, abs=5.1e-5)
        assert nn.NLLLoss()(F.log_softmax(logits), np.array([0])) == pytest.approx(loss, rel=1e-6)


def test_formulas_of_the_initialisers():
    """Bounds sqrt(6 / fan), deviations sqrt(2 / fan), and nothing outside the bound."""
    for name, spread, bounded in (
        ("he_uniform", math.sqrt(6 / 300), True),
        ("glorot_uniform", math.sqrt(6 / 500), True),
        ("he_normal", math.sqrt(2 / 300), False),
        ("glorot_normal", math.sqrt(2 / 500), False),
    ):
        w = nn.Linear(300, 200, init=name).weight.data.astype(F64)
        deviation = spread / math.sqrt(3) if bounded else spread
        assert w.std() == pytest.approx(deviation, rel=0.02)
        assert abs(w.mean()) < 5 * deviation / math.sqrt(w.size)
        if bounded:
            assert 0.999 * spread < np.abs(w).max() <= spread * (1 + 1e-7)
        assert not nn.Linear(3, 2, init=name).bias.data.any()
    assert nn.init.normal(200, 200, F64, std=0.01).std() == pytest.approx(0.01, rel=0.02)
