"""What is refused: gradients, dtypes, arrays and shapes that do not fit, singular matrices, NaN."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(values, requires_grad=True, dtype=dtype)


def test_bad_gradients():
    x = leaf([[1.0, 2.0]])
    y = x * 2
    with pytest.raises(RuntimeError, match=r"shape \(1, 2\); pass gradient"):
        y.backward()
    with pytest.raises(ValueError, match=r"expected the shape of the tensor, \(1, 2\), got \(2,\)"):
        y.backward(np.ones(2))
    with pytest.raises(TypeError, match="expected the dtype of the tensor, float64, got float32"):
        y.backward(np.ones((1, 2), np.float32))
    y.backward([[1, 2]])
    np.testing.assert_array_equal(x.grad, [[2, 4]])
    with pytest.raises(RuntimeError, match="no gradient flows to this tensor"):
        nn.tensor(1.0).backward()


def test_only_floats_have_gradients():
    with pytest.raises(
        TypeError, match=r"expected a tensor of float32 or float64, got int64.*np\.f"
    ):
        nn.tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="float16"):
        nn.tensor(np.ones(2, np.float16), requires_grad=True)
    with pytest.raises(TypeError, match="expected real numbers"):
        nn.tensor(["a"])
    with pytest.raises(ValueError, match="rows of equal length"):
        nn.tensor([[1.0], [1.0, 2.0]])


def test_arrays_do_not_lose_a_gradient_silently():
    x = leaf([1.0])
    with pytest.raises(RuntimeError, match=r"detach\(\)\.numpy\(\)"):
        np.asarray(x)
    with pytest.raises(TypeError, match=r"np\.arctan: it would lose the gradient"):
        np.arctan(x)
    with pytest.raises(TypeError, match=r"np\.add: it would lose the gradient"):
        np.add.reduce(x)
    np.testing.assert_array_equal(np.isfinite(x.detach()), [True])
    assert np.exp(x).producer.op.name == "exp" and (np.ones(2) * x).requires_grad
    total = np.ones(1)
    with pytest.raises(TypeError, match="would lose the gradient"):
        total += x
    array = x.detach().numpy()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 3


def test_dtypes_meet_in_the_larger_and_gradients_keep_their_own():
    a, b = leaf([1.5], np.float32), leaf([2.0], np.float64)
    y = a * b
    assert y.dtype == F64
    y.backward()
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, F64)
    assert (a.grad.item(), b.grad.item()) == (2.0, 1.5)
    for value in (a * 2, a + 1.5, a / nn.tensor([2], dtype=np.float32), 2**a, a.mean(), a @ a):
        assert value.dtype == np.float32
    assert (a * nn.tensor([2])).dtype == F64  # float32 and int64, as NumPy's
    assert nn.tensor([1.0]).dtype == np.float32
    assert nn.tensor(np.ones(1)).dtype == F64
    assert nn.tensor([np.float64(1)]).dtype == F64


@pytest.mark.parametrize("call", [
    lambda x: x.sum(3), lambda x: x.mean((0, 0)), lambda x: x.reshape(5), lambda x: x.max(2),
    lambda x: x @ x, lambda x: x.transpose(0, 0), lambda x: x.expand((4, 2)),
    lambda x: x.squeeze(0),
    lambda x: ag.concatenate([x, x[0]]), lambda x: ag.stack([]), lambda x: x.inv(),
    lambda x: ag.split(x, 2, 1), lambda x: ag.einsum("ij,jk", x, x), lambda x: x.clip(),
    lambda x: x[:0].max(), lambda x: x.norm(-3.0), lambda x: x.var(ddof=6), lambda x: x + x[:, :2],
])  # fmt: skip
def test_refused_shapes(call):
    x = leaf(np.ones((2, 3)))
    with pytest.raises((ValueError, IndexError)):
        call(x)


def test_singular_and_repeated():
    with pytest.raises(np.linalg.LinAlgError, match="inv: "):
        ag.inv(leaf(np.zeros((2, 2))))
    with pytest.raises(np.linalg.LinAlgError, match="cholesky: "):
        ag.cholesky(leaf(-np.eye(2)))
    w, v = ag.eigh(leaf(np.eye(3)))
    w.sum().backward(retain_graph=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"eigh\.backward: two values are equal"):
        v.sum().backward()
    u, s, _ = ag.svd(leaf(np.eye(3)))
    s.sum().backward(retain_graph=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"svd\.backward: two values are equal"):
        u.sum().backward()


def test_detect_anomaly_names_the_operation():
    x = leaf([-1.0, 2.0])
    with (
        ag.detect_anomaly(),
        pytest.raises(RuntimeError, match="log made the first NaN in forward"),
    ):
        (x * 2).log().sum()
    with ag.detect_anomaly():
        y = (x - x.detach()).abs().sqrt() * (x * 0)
        with pytest.raises(RuntimeError, match="the backward of sqrt made the first NaN"):
            y.sum().backward()
        z = leaf([0.0])
        with pytest.raises(RuntimeError, match="the backward of sqrt made the first NaN"):
            (z.sqrt() * 0).backward()
    (x * 2).sum().backward()
