"""Edges of operations: broadcast and empty inputs, limits of derivatives, axes, small integers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag
from nnlite.autograd.operation import Operation, apply

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(values, requires_grad=True, dtype=dtype)


def gradient(call, values, dtype=F64):
    """The gradient of the sum of a call, as a list."""
    x = leaf(values, dtype)
    call(x).sum().backward()
    assert x.grad.shape == x.shape
    return x.grad.tolist()


# Shapes of gradients.


class Wrong(Operation):
    """An operation whose gradient has the shape of its output."""

    @staticmethod
    def forward(x, shape):
        return np.broadcast_to(x, shape).copy()

    @staticmethod
    def vjp(g, need, shape):
        return g


def test_a_gradient_of_another_shape_never_reaches_a_leaf():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"wrong gave .* shape \(3, 2\) for .* shape \(2,\)"):
        apply(Wrong, x, params=((3, 2),)).sum().backward()
    assert x.grad is None
    with pytest.raises(RuntimeError, match="wrong gave a gradient of shape"):
        ag.grad(apply(Wrong, x, params=((3, 2),)).sum(), x)
    y = x * 2
    y.retain_grad()
    with pytest.raises(RuntimeError, match=r"shape \(1, 2\) for a tensor of shape \(2,\)"):
        apply(Wrong, y, params=((1, 2),)).sum().backward()
    assert x.grad is None and y.grad is None
    weight = nn.Parameter(np.ones(2, np.float32))
    with pytest.raises(RuntimeError, match="wrong gave a gradient of shape"):
        apply(Wrong, weight, params=((3, 2),)).sum().backward()
    assert weight.grad.tolist() == [0, 0]


@pytest.mark.parametrize("k", [-2, -1, 0, 1, 3])
@pytest.mark.parametrize("call", [ag.tril, ag.triu])
def test_triangles_of_a_vector_are_those_of_its_rows(call, k):
    numpy = {ag.tril: np.tril, ag.triu: np.triu}[call]
    values = np.array([1.0, 2.0, 3.0])
    assert call(leaf(values), k).tolist() == numpy(values, k).tolist()
    weight = np.arange(9.0).reshape(3, 3)
    expected = (numpy(np.ones((3, 3)), k) * weight).sum(0).tolist()
    assert gradient(lambda x: call(x, k) * weight, values) == expected
    assert ag.jvp(lambda x: call(x, k), values, values)[1].tolist() == numpy(values, k).tolist()
    x = leaf(values)
    code = ag.flat((call(x, k) * weight).sum(), {"x": x})
    space = dict(code.inputs)
    exec(code, space)
    assert space["d_x"].tolist() == expected
    with pytest.raises(ValueError, match=r"expected matrices .* or a vector, got a number"):
        call(nn.tensor(1.0))


LIMITS = [
    (np.zeros((2, 1)), None), (None, np.full((4, 1, 1), 2.5)), (np.zeros(3), np.ones((2, 3))),
    (0.5, np.array([[1.0], [3.0]])), ([0.0, 1.0, 2.0], None), (np.zeros((0, 3)), 5.0),
]  # fmt: skip


@pytest.mark.parametrize("low, high", LIMITS)
@pytest.mark.parametrize("dtype", [np.float32, F64])
def test_limits_broadcast(low, high, dtype):
    values = np.array([0.25, 1.5, 2.75])
    x = leaf(values, dtype)
    y = ag.clip(x * 1.0, low, high)
    expected = np.clip(values.astype(dtype), low, high)
    assert y.dtype == expected.dtype and y.tolist() == expected.tolist()
    (y * y).sum().backward()
    wide = np.broadcast_to(values, expected.shape)
    inside = (wide == expected) & (wide == np.clip(wide, low, high))
    assert x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad, (2 * wide * inside).sum(tuple(range(wide.ndim - 1))))
    tangent = ag.jvp(lambda v: ag.clip(v, low, high), values, np.ones(3))[1]
    assert tangent.tolist() == inside.astype(float).tolist()


def test_limits_that_require_a_gradient_receive_it():
    x, low, high = leaf([0.0, 2.0, 9.0]), leaf(1.0), leaf([5.0, 6.0, 7.0])
    y = ag.clip(x, low, high)
    assert y.tolist() == [1.0, 2.0, 7.0]
    (y * np.array([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [0.0, 10.0, 0.0]
    assert low.grad.item() == 1.0 and high.grad.tolist() == [0.0, 0.0, 100.0]


@pytest.mark.parametrize("shape, to", [
    ((1, 3), (3,)), ((1, 1), ()), ((3,), (3, 2)), ((3,), ()), ((2,), (-1, 2)), ((1, 1, 2), 2),
])  # fmt: skip
@pytest.mark.parametrize("call", [ag.expand, ag.broadcast_to])
def test_expand_refuses_what_is_no_broadcasting(call, shape, to):
    for x in (leaf(np.ones(shape)), nn.tensor(np.ones(shape)), np.ones(shape)):
        with pytest.raises(ValueError, match=r"expand: shape .* cannot be broadcast to"):
            call(x, to)


@pytest.mark.parametrize("to", [3, (3,), [2, 3], (0, 3), (2, 1, 3)])
def test_expand_takes_every_broadcasting(to):
    values = np.array([1.0, 2.0, 3.0])
    expected = np.broadcast_to(values, to)
    assert ag.expand(nn.tensor(values), to).tolist() == expected.tolist()
    assert gradient(lambda x: ag.expand(x, to), values) == [expected.size / 3] * 3


@pytest.mark.parametrize("call", [ag.max, ag.min])
@pytest.mark.parametrize("shape, axis", [
    ((0, 3), 1), ((0, 3), 0), ((3, 0), 1), ((0,), None), ((2, 0, 3), (0, 2)), ((0, 3), -1),
])  # fmt: skip
def test_extrema_of_no_elements_raise_in_forward(call, shape, axis):
    for x in (leaf(np.ones(shape)), nn.tensor(np.ones(shape)), np.ones(shape)):
        with pytest.raises(ValueError, match=r"of no elements does not exist \(shape"):
            call(x, axis)


# Limits of derivatives, as PyTorch has them.


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [2.0], [0.0, 0.0]])
@pytest.mark.parametrize("dtype", [np.float32, F64])
def test_standard_deviation_of_equal_numbers_has_the_gradient_0(values, dtype):
    assert ag.std(leaf(values, dtype)).item() == 0
    assert gradient(ag.std, values, dtype) == [0.0] * len(values)
    assert gradient(lambda x: ag.std(x, 0, True) + ag.var(x), values, dtype) == [0.0] * len(values)
    x = leaf(values)
    (slope,) = ag.grad(ag.std(x), x, create_graph=True)
    assert ag.grad(slope.sum(), x, allow_unused=True)[0].tolist() == [0.0] * len(values)
    assert ag.jvp(ag.std, np.array(values), np.ones(len(values)))[1].item() == 0


def test_standard_deviation_in_programs_and_flat_code():
    program = nn.jit_program(lambda x: x.std(1).sum())
    x = leaf([[1.0, 2.0, 4.0], [3.0, 3.5, 9.0]])
    for values in ([[1.0, 2.0, 4.0], [3.0, 3.5, 9.0]], [[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]]):
        x.data = values
        x.grad = None
        program(x).backward()
        assert x.grad.tolist() == gradient(lambda x: x.std(1), values)
    assert program.programs == 1
    code = ag.flat(x.std(1).sum(), {"x": x})
    space = dict(code.inputs)
    exec(code, space)
    np.testing.assert_allclose(space["d_x"], gradient(lambda x: x.std(1), x.tolist()))


ORDERS = [0.5, 1, 1.5, 2, 3, 4.5, math.inf]
ROWS = [[0.0, 0.0, 0.0], [1.0, 0.0, -2.0], [0.5, -4.0, 3.0], [0.0, 0.0, 1e-300]]


@pytest.mark.parametrize("order", ORDERS)
def test_norms_of_every_order_have_a_gradient_at_0(order):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    other = torch.tensor(ROWS, dtype=torch.float64, requires_grad=True)
    expected = torch.linalg.vector_norm(other, order, dim=1)
    weight = np.array([1.0, 2.0, -3.0, 0.5])
    (expected * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(ag.norm(leaf(ROWS), order, 1).detach(), expected.detach())
    got = gradient(lambda x: ag.norm(x, order, 1) * weight, ROWS)
    rows = slice(0, 3 if order in (1.5, 3, 4.5) else 4)  # there |x|^p underflows
    np.testing.assert_allclose(got[rows], other.grad[rows], rtol=1e-12)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("order", ORDERS)
def test_distances_to_oneself_have_the_gradient_0(order):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    points = [[0.0, 1.0], [0.0, 1.0], [3.0, 5.0]]
    other = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    expected = torch.cdist(other, other, p=float(order))
    expected.sum().backward()

    def distances(x):
        return ag.norm(x[:, None] - x[None], order, -1)

    np.testing.assert_allclose(distances(nn.tensor(points, dtype=F64)), expected.detach())
    got = gradient(distances, points)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, other.grad, rtol=1e-12)


@pytest.mark.parametrize("order", [0.5, 1.5, 3.0])
def test_norms_have_second_derivatives_tangents_and_flat_code(order):
    values = np.array([[1.0, -2.0], [0.5, 3.0]])
    ag.gradgradcheck(lambda x: ag.norm(x, order, 1), values)
    x = leaf([[0.0, 0.0], [3.0, -4.0]])
    code = ag.flat(ag.norm(x, order, 1).sum(), {"x": x})
    space = dict(code.inputs)
    exec(code, space)
    np.testing.assert_allclose(space["d_x"], gradient(lambda x: ag.norm(x, order, 1), x.tolist()))


@pytest.mark.parametrize("order", [np.int64(3), np.float32(3), np.float64(3), 3])
def test_orders_of_norms_may_be_numbers_of_numpy(order):
    assert ag.norm(nn.tensor([1.0, 2.0], dtype=F64), order).item() == pytest.approx(9 ** (1 / 3))


@pytest.mark.parametrize("order", [0, -1, math.nan, True, "fro", None, 2j])
def test_other_orders_are_refused(order):
    with pytest.raises(ValueError, match="norm: ord: expected a positive number, inf or -inf"):
        ag.norm(nn.tensor([1.0, 2.0]), order)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64, bool])
@pytest.mark.parametrize("order", ORDERS)
def test_norms_of_integers_do_not_wrap(dtype, order):
    values = np.array([100, 90, 0, 120], dtype)
    expected = ag.norm(values.astype(F64), order)
    for x in (values, nn.tensor(values)):
        got = ag.norm(x, order)
        assert got.dtype == F64 and np.asarray(got).tolist() == expected
    assert ag.norm(np.array([-128], np.int8), order) == pytest.approx(128)


# Axes.


@pytest.mark.parametrize("call, error, text", [
    (lambda x: ag.moveaxis(x, 5, 0), ValueError, "moveaxis: axis 5 does not exist"),
    (lambda x: ag.moveaxis(x, 0, -3), ValueError, "moveaxis: axis -3 does not exist"),
    (lambda x: ag.moveaxis(x, (0, 1), (0,)), ValueError, "moveaxis: .* got 2 and 1"),
    (lambda x: ag.moveaxis(x, (0, 0), (0, 1)), ValueError, "moveaxis: axis: .* names one twice"),
    (lambda x: ag.moveaxis(x, 0.0, 1), TypeError, "moveaxis: axis: expected integers, got float"),
    (lambda x: ag.flatten(x, 2), ValueError, "flatten: axis 2 does not exist"),
    (lambda x: ag.flatten(x, -3), ValueError, "flatten: axis -3 does not exist"),
    (lambda x: ag.softmax(x, 5), ValueError, "^softmax: axis 5 does not exist; .* 2 dim"),
    (lambda x: ag.softmax(x, None), TypeError, "softmax: axis: expected an integer, got NoneType"),
    (lambda x: ag.softmax(x, (0, 1)), TypeError, "softmax: axis: expected an integer, got tuple"),
    (lambda x: ag.log_softmax(x, -3), ValueError, "^log_softmax: axis -3 does not exist"),
    (lambda x: ag.softmax(x[0, 0]), ValueError, r"softmax: x: .* got a number; x.reshape\(1\)"),
    (lambda x: ag.log_softmax(x[0, 0], 0), ValueError, "log_softmax: x: .* got a number"),
    (lambda x: ag.concatenate([x, x], None), TypeError, r"concatenate: axis: .*; .*reshape\(-1\)"),
    (lambda x: ag.concatenate([x, x], 2), ValueError, "concatenate: axis 2 does not exist"),
    (lambda x: ag.stack([x, x], None), TypeError, "axis: expected an integer, got NoneType"),
    (lambda x: ag.split(x, 1, None), TypeError, "split: axis: expected an integer, got NoneType"),
    (lambda x: ag.swapaxes(x, None, 0), TypeError, "swapaxes: axis: expected an integer"),
    (lambda x: ag.unsqueeze(x, 3), ValueError, "unsqueeze: axis 3 does not exist"),
    (lambda x: ag.transpose(x, None, 0), TypeError, "transpose: axis: expected an integer"),
    (lambda x: ag.sum(x, True), TypeError, "sum: axis: expected integers, got bool"),
    (lambda x: ag.trace(x[0]), ValueError, r"trace: expected matrices .* shape \(3,\); diag"),
    (lambda x: ag.diagonal(x[0]), ValueError, r"diagonal: expected matrices .* shape \(3,\)"),
    (lambda x: ag.logsumexp(x[:0]), ValueError, r"logsumexp: .* at least one element.* \(0, 3\)"),
    (lambda x: ag.std(x[:0]), ValueError, r"^std: expected more than ddof=0 elements, got 0"),
    (lambda x: ag.std(x[0], ddof=3), ValueError, r"^std: expected more than ddof=3 .* got 3"),
    (lambda x: ag.var(x, 1, ddof=5), ValueError, r"^var: expected more than ddof=5 .* got 3"),
    (lambda x: x @ 2.0, ValueError, r"matmul: a number has no matrix product; use \*"),
    (lambda x: 2 @ x, ValueError, r"matmul: a number has no matrix product; use \*"),
    (lambda x: x @ np.float32(2), ValueError, r"matmul: a number has no matrix product; use \*"),
])  # fmt: skip
def test_messages(call, error, text):
    x = nn.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for requires_grad in (False, True):
        x.requires_grad = requires_grad
        with pytest.raises(error, match=text):
            call(x)


def test_messages_for_lists():
    for call in (ag.std, ag.logsumexp):
        with pytest.raises(ValueError, match=f"^{call.__name__}: expected"):
            call([])


def test_axes_that_exist():
    x = nn.tensor(np.arange(24.0).reshape(2, 3, 4))
    for source, destination in ((0, -1), ((0, 1), (-1, 0)), (-1, 0), ((2, 0), (0, 1))):
        expected = np.moveaxis(np.asarray(x), source, destination)
        np.testing.assert_array_equal(ag.moveaxis(x, source, destination), expected)
    assert ag.flatten(x, -2).shape == (2, 12) and ag.flatten(x, 2).shape == (2, 3, 4)
    assert ag.flatten(nn.tensor(1.0)).shape == (1,) and ag.flatten(x, -3).shape == (24,)
    np.testing.assert_allclose(ag.softmax(x, np.int64(1)).sum(1), np.ones((2, 4)), rtol=1e-6)


# where of numbers.


@pytest.mark.parametrize("a, b, dtype", [
    (1.0, 0.0, np.float32), (1.0, 0, np.float32), (2, 1, np.int64), (True, False, bool),
    (np.float64(1), 0.0, F64), (np.ones(2, np.float32), 0.0, np.float32), (1.0, np.zeros(2), F64),
])  # fmt: skip
def test_where_of_a_tensor_is_a_tensor(a, b, dtype):
    for condition in (nn.tensor([True, False]), leaf([1.0, -1.0]) > 0):
        got = ag.where(condition, a, b)
        assert type(got) is nn.Tensor and got.dtype == dtype
        assert got.tolist() == np.where([True, False], a, b).tolist()
    assert type(ag.where(np.array([True, False]), a, b)) is np.ndarray
    empty = ag.where(nn.tensor(np.zeros(0, bool)), 1.0, 0.0)
    assert empty.dtype == np.float32 and empty.shape == (0,)


# Powers of numbers, and what is no operand.


@pytest.mark.parametrize("base", [2, 2.5, 0, 1, np.float64(2.5), np.int64(3)])
@pytest.mark.parametrize("dtype", [np.float32, F64])
def test_powers_of_a_number(base, dtype):
    values = [0.0, 1.0, 2.5]
    x = leaf(values, dtype)
    inner = x * 1.0
    inner.retain_grad()
    (base**inner).sum().backward()
    growth = [0.0 if base == 0 else base**v * math.log(base) for v in values]
    assert inner.grad.dtype == x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad, growth, rtol=1e-6)
    if base:
        (slope,) = ag.grad((base**x).sum(), x, create_graph=True)
        (second,) = ag.grad(slope.sum(), x, allow_unused=True)
        expected = [g * math.log(base) for g in growth]
        np.testing.assert_allclose(second, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", [
    "add", "sub", "mul", "div", "power", "matmul", "maximum", "minimum", "equal", "not_equal",
    "less", "less_equal", "greater", "greater_equal", "outer", "dot",
])  # fmt: skip
def test_functions_raise_where_operators_give_way(name):
    x = leaf([1.0, 2.0])
    for other in (None, "a", object()):
        with pytest.raises(TypeError, match="expected Tensors, arrays or numbers, got Tensor and"):
            getattr(ag, name)(x, other)
    assert np.shape(getattr(ag, name)(x, [1.0, 2.0])) == np.shape(getattr(ag, name)([1, 2], x))
    with pytest.raises(TypeError):
        x + None


def test_operators_give_way_to_other_types():
    class Other:
        __array_ufunc__ = None

        def __radd__(self, x):
            return "radd"

    assert leaf([1.0]) + Other() == "radd"


@pytest.mark.parametrize("call, error, text", [
    (lambda x: ag.tril(x, 1.5), TypeError, "tril: k: expected an integer, got float"),
    (lambda x: ag.diag(x, None), TypeError, "diag: k: expected an integer, got NoneType"),
    (lambda x: ag.diagonal(x, 0.0), TypeError, "diagonal: k: expected an integer, got float"),
    (lambda x: ag.solve(x, 2.0), ValueError, "solve: b: expected matrices .* got a number"),
    (lambda x: ag.concatenate([x, x[0]]), ValueError, r"tensor 1 has shape \(2,\), tensor 0"),
    (lambda x: ag.concatenate([x[0], x[0, 0]]), ValueError, r"tensor 1 has shape \(\), tensor 0"),
    (lambda x: ag.concatenate([x[0], x]), ValueError, r"tensor 1 has shape \(2, 2\), tensor 0"),
    (lambda x: x.astype("S3"), TypeError, r"astype: dtype: expected real numbers, got \|S3"),
    (lambda x: x.astype(complex), TypeError, "astype: dtype: expected real numbers, got complex"),
    (lambda x: x.astype(object), TypeError, "astype: dtype: expected real numbers, got object"),
])  # fmt: skip
def test_messages_of_matrices_and_dtypes(call, error, text):
    with pytest.raises(error, match=text):
        call(nn.tensor([[1.0, 2.0], [3.0, 4.0]]))


def test_lists_of_tensors_that_require_a_gradient_are_refused():
    x = leaf(1.5)
    for items in ([x, x], [1.0, x], (nn.Parameter(np.ones(2)),)):
        with pytest.raises(TypeError, match=r"tensor: data: a list .*autograd\.stack"):
            nn.tensor(items)
    assert nn.tensor([x.detach(), x.detach() * 2]).tolist() == [1.5, 3.0]
