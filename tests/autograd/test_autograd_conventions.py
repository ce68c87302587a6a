"""What operations do at the edges: dtypes, singular matrices, arrays instead of Tensors, names."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(values, requires_grad=True, dtype=dtype)


@pytest.mark.parametrize("matrix", [
    [[1.0, 2.0], [2.0, 4.0]], np.arange(1.0, 10).reshape(3, 3), np.zeros((2, 2)), [[3.0]],
    np.zeros((3, 3)),
])  # fmt: skip
def test_determinant_of_singular_matrices_has_the_cofactors_as_gradient(matrix):
    a = leaf(matrix)
    n = a.shape[0]
    ag.det(a).backward()
    data = np.asarray(a.detach())
    cofactors = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            minor = np.delete(np.delete(data, i, 0), j, 1)
            cofactors[i, j] = (-1) ** (i + j) * (np.linalg.det(minor) if n > 1 else 1)
    np.testing.assert_allclose(a.grad, cofactors, atol=1e-13)


def test_second_derivative_of_a_singular_determinant_is_refused():
    y = ag.det(leaf([[1.0, 2.0], [2.0, 4.0]]))
    with pytest.raises(np.linalg.LinAlgError, match=r"det\.backward: a matrix is singular"):
        y.backward(create_graph=True)


@pytest.mark.parametrize("call", [
    lambda x, y: x + y, lambda x, y: ag.maximum(x, y), lambda x, y: x @ y,
    lambda x, y: ag.solve(x @ x + np.eye(2, dtype="f4") * 3, y), lambda x, y: ag.where(x > 0, x, y),
    lambda x, y: ag.concatenate([x, y]), lambda x, y: ag.einsum("ij,jk", x, y),
    lambda x, y: ag.stack([x, y]), lambda x, y: ag.outer(x, y), lambda x, y: x**y,
])  # fmt: skip
def test_mixed_dtypes(call, rng):
    a, b = np.abs(rng.normal(size=(2, 2, 2))) + 0.5
    x, y = leaf(a, np.float32), leaf(b, F64)
    out = call(x, y)
    assert out.dtype == F64
    out.sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, F64)
    expected = [leaf(x.detach(), F64), leaf(b)]
    call(*expected).sum().backward()
    np.testing.assert_allclose(x.grad, expected[0].grad, rtol=1e-6)
    np.testing.assert_allclose(y.grad, expected[1].grad, rtol=1e-6)


@pytest.mark.parametrize("call", [
    lambda x: ag.exp(x), lambda x: ag.sum(x, 0), lambda x: ag.softmax(x), lambda x: x @ x,
    lambda x: ag.matmul(x, x), lambda x: ag.where(x > 0, x, 0.0), lambda x: ag.less(x, 1.0),
    lambda x: ag.einsum("ij->ji", x), lambda x: ag.concatenate([x, x]), lambda x: ag.inv(x),
    lambda x: ag.logsumexp(x, 1), lambda x: ag.reshape(x, -1), lambda x: ag.norm(x), ag.var,
    lambda x: ag.clip(x, 0, 1), lambda x: ag.stack([x, x]), lambda x: ag.eigh(x)[0],
    lambda x: ag.svd(x)[1], lambda x: ag.diag(x), lambda x: ag.trace(x), lambda x: ag.cumsum(x),
    lambda x: ag.power(x, 2), lambda x: ag.relu(x), lambda x: ag.tile(x, 2), ag.cholesky,
    lambda x: ag.split(x, 2)[0], lambda x: ag.repeat(x, 2), lambda x: ag.solve(x, x),
])  # fmt: skip
def test_functions_of_arrays_give_arrays(call):
    x = np.array([[2.0, 0.5], [0.5, 3.0]])
    got = call(x)
    assert isinstance(got, np.ndarray) or np.isscalar(got)
    as_tensor = call(nn.tensor(x))
    assert isinstance(as_tensor, nn.Tensor)
    np.testing.assert_allclose(got, as_tensor)


def test_integers_and_booleans_take_part_without_gradient():
    x, n = leaf([1.0, 2.0, 3.0]), nn.tensor([0, 2, 2])
    mask = x > 1.5
    assert (mask.dtype, n.dtype) == (bool, np.int64)
    (x[n] * n + x * mask).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 5])
    assert n.sum().item() == 4 and (~mask).any() and not (mask & ~mask).any()
    assert not n.astype(F64).requires_grad and not x.astype(np.int64).requires_grad


def test_requires_grad_and_zero():
    x = nn.tensor([1.0]).requires_grad_()
    (x * 2).backward()
    x.grad.zero_()
    assert x.grad.item() == 0
    (x * 2).backward()
    assert x.grad.item() == 2
    with pytest.raises(RuntimeError, match="zero_: this tensor requires"):
        x.zero_()
    with pytest.raises(RuntimeError, match="was computed"):
        (x * 2).requires_grad = False
    x.requires_grad = False
    assert x.grad is None and not (x * 2).requires_grad


def test_gradient_can_be_set():
    x = leaf([1.0, 2.0])
    x.grad = np.array([5.0, 6.0])
    (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [7, 8])
    with pytest.raises(ValueError, match=r"expected shape \(2,\)"):
        x.grad = np.ones(3)
    x.grad = None
    assert x.grad is None


class Twice(ag.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def test_function_that_returns_its_input_or_nothing_useful():
    class Same(Twice):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, grad):
            return grad * 10

    class Bad(Twice):
        @staticmethod
        def forward(ctx, x):
            return "x"

    x = leaf([1.0])
    y = Same.apply(x)
    assert y is not x
    y.backward()
    assert x.grad.item() == 10
    with pytest.raises(TypeError, match=r"Bad\.forward: expected a Tensor or an array, got str"):
        Bad.apply(x)
    with pytest.raises(NotImplementedError, match="static method forward"):
        ag.Function.apply(x)
    assert not Twice.apply(nn.tensor([1.0])).requires_grad


def test_einsum_refuses_what_it_does_not_know():
    x = leaf(np.ones((2, 3)))
    for text, message in [
        ("i..->i", "expected letters"), ("i......->i", "expected letters"),
        ("i...->i", "lacks the axes of the ellipsis"), ("ijk...->i", "its term is 'ijk...'"),
        ("ij,jk->ik", "2 terms"), ("ijk->i", "its term is 'ijk'"),
        ("ij->ii", "needs each letter once"), ("ij->k", "needs each letter once"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            ag.einsum(text, x)
    with pytest.raises(ValueError, match=r"'i' is . and . long"):
        ag.einsum("ij,ki->jk", x, nn.tensor(np.ones((4, 3))))
    for shape in ((1, 3), (3, 1)):
        with pytest.raises(ValueError, match=r"'i' is . and . long"):
            ag.einsum("ii->i", np.ones(shape))
    assert ag.einsum("ji", x).shape == (3, 2)  # without ->: letters in alphabetical order


@pytest.mark.parametrize("text, shapes", [
    ("...ij,...jk->...ik", [(2, 1, 2, 3), (4, 3, 2)]), ("...ij,jk", [(5, 2, 3), (3, 4)]),
    ("i...,i...->...", [(3, 2), (3, 4, 1)]), ("b...i->...b", [(2, 3, 4)]), ("...", [(2, 3)]),
    ("...,...->...", [(), (2, 3)]), ("ij,ij->ij", [(1, 3), (2, 1)]), ("ij,ij->", [(1, 3), (2, 3)]),
    ("...i->...i", [(3,)]), ("ba...->...ab", [(2, 3, 4)]),
])  # fmt: skip
def test_einsum_with_ellipsis_and_repeated_axes(text, shapes, rng):
    arrays = [rng.normal(size=shape) for shape in shapes]
    np.testing.assert_allclose(ag.einsum(text, *arrays), np.einsum(text, *arrays), atol=1e-14)
    leaves = [nn.tensor(a, requires_grad=True) for a in arrays]
    assert ag.gradcheck(lambda *xs: ag.einsum(text, *xs), leaves)


def test_a_set_element_inside_the_graph():
    x, v = leaf([1.0, 2.0, 3.0]), leaf([10.0, 20.0])
    y = x * 2
    y[1:] = v * v
    y[np.array([True, False, False])] = 5.0
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.detach(), [5, 100, 400])
    np.testing.assert_array_equal(x.grad, [0, 0, 0])
    np.testing.assert_array_equal(v.grad, 4 * np.array([10.0, 20]) ** 3)
    z = nn.tensor(np.zeros(3))
    z[1] = v[0]  # a constant becomes part of the graph
    (z * 3).sum().backward()
    assert v.grad[0].item() == 4000 + 3
    with pytest.raises(ValueError):
        z[0] = np.ones(2)
