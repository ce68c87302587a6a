"""Values and slopes known beforehand: the numbers of a lecture, and what was settled at corners."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(values, requires_grad=True, dtype=dtype)


# The numbers of the lecture.


def test_sigmoid_neuron():
    w, x = leaf([2.0, -3.0, -3.0]), leaf([-1.0, -2.0])
    y = (w[0] * x[0] + w[1] * x[1] + w[2]).sigmoid()
    y.backward()
    assert round(y.item(), 2) == 0.73
    np.testing.assert_array_equal(np.round(w.grad, 2), [-0.20, -0.39, 0.20])
    np.testing.assert_array_equal(np.round(x.grad, 2), [0.39, -0.59])


def test_exponential_of_a_line():
    w, x, b = leaf(2.0), leaf(3.0), leaf(-4.0)
    y = (w * x + b).exp()
    y.backward()
    got = [round(v.item(), 2) for v in (y, b.grad, x.grad, w.grad)]
    assert got == [7.39, 7.39, 14.78, 22.17]


def test_matrix_example():
    x = leaf([[2, 1, -3], [-3, 4, 2]])
    W = leaf([[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]])
    y = x @ W
    y.backward(np.array([[2.0, 3, -3, 9], [-8, 1, 4, 6]]))
    np.testing.assert_array_equal(y.detach(), [[-1, -1, 2, 6], [5, 2, 11, 7]])
    np.testing.assert_array_equal(x.grad, [[0, 16, -9], [-24, 9, -30]])
    np.testing.assert_array_equal(W.grad, [[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]])


def test_squared_norm_of_a_product():
    W, x = leaf([[0.1, 0.5], [-0.3, 0.8]]), leaf([0.2, 0.4])
    f = ((W @ x) ** 2).sum()
    f.backward()
    np.testing.assert_allclose(f.item(), 0.116, atol=1e-15)
    np.testing.assert_allclose(W.grad, [[0.088, 0.176], [0.104, 0.208]], atol=1e-15)
    np.testing.assert_allclose(x.grad, [-0.112, 0.636], atol=1e-15)


def test_relu_gate():
    x = leaf([1.0, -2.0, 3.0, -1.0])
    y = x.relu()
    y.backward(np.array([4.0, -1.0, 5.0, 9.0]))
    np.testing.assert_array_equal(y.detach(), [1, 0, 3, 0])
    np.testing.assert_array_equal(x.grad, [4, 0, 5, 0])


def test_softplus_does_not_overflow():
    x = nn.tensor([-1.0, -2, -5, -10, -100, -1000, -2000], dtype=F64)
    expected = [1.3133, 2.1269, 5.0067, 10.0000, 100, 1000, 2000]
    np.testing.assert_array_equal(np.round(ag.softplus(-x), 4), expected)


# Settled questions.


@pytest.mark.parametrize(
    ("function", "at", "slope"),
    [
        (ag.abs, 0.0, 0.0), (ag.relu, 0.0, 0.0), (ag.sqrt, 0.0, np.inf),
        (lambda x: ag.clip(x, -1, 1), 1.0, 1.0), (lambda x: x**0, 0.0, 0.0),
        (lambda x: x**1, 0.0, 1.0), (lambda x: x**2, 0.0, 0.0), (lambda x: x.norm(), 0.0, 0.0),
        (lambda x: ag.maximum(x, 0.0), 0.0, 1.0), (lambda x: ag.maximum(0.0, x), 0.0, 0.0),
    ],
)  # fmt: skip
def test_slope_at_the_special_point(function, at, slope):
    x = leaf(at)
    function(x).backward()
    assert x.grad.item() == slope


def test_first_maximum_gets_the_gradient():
    x = leaf([[1.0, 5.0, 5.0], [5.0, 2.0, 5.0]])
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [[0, 1, 0], [0, 0, 0]])
    x.grad = None
    x.max(1).backward(np.array([2.0, 3.0]))
    np.testing.assert_array_equal(x.grad, [[0, 2, 0], [3, 0, 0]])
    x.grad = None
    x.min(0).backward(np.array([1.0, 1.0, 7.0]))
    np.testing.assert_array_equal(x.grad, [[1, 0, 7], [0, 1, 0]])
