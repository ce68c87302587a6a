"""The graph: sums of gradients, freeing, changes in place, deep chains, bad input, the lecture."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag
from nnlite.autograd.node import Node

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(values, requires_grad=True, dtype=dtype)


def nodes_alive() -> int:
    gc.collect()
    return sum(type(o) is Node for o in gc.get_objects())


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


# Gradients add.


def test_diamonds_sharing_and_repeated_backward_add():
    x = leaf([1.0, -2.0])
    a = x * 3
    b = a.sin() + a.cos() * a
    (b * a).sum().backward()
    z = 3 * x.detach().numpy()
    once = 3 * (2 * z * np.cos(z) - z * z * np.sin(z) + np.sin(z) + z * np.cos(z))
    np.testing.assert_allclose(x.grad, once, rtol=1e-13)
    (x * 2).sum().backward()
    np.testing.assert_allclose(x.grad, once + 2, rtol=1e-13)


def test_leaves_that_get_the_same_gradient_do_not_share_memory():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    upstream = np.array([1.0, 1.0])
    (x + y).backward(upstream)
    with nn.no_grad():
        x.grad *= 5
    np.testing.assert_array_equal(x.grad, [5, 5])
    np.testing.assert_array_equal(y.grad, [1, 1])
    np.testing.assert_array_equal(upstream, [1, 1])


def test_control_flow_is_pythons():
    x = leaf(1.5)
    y, n = x, 0
    while y.item() < 100:
        y = y * y if n % 2 else y + 3
        n += 1
    y.backward()
    assert (n, y.item()) == (4, (1.5 + 3) ** 2 + 3 if False else ((1.5 + 3) ** 2 + 3) ** 2)
    assert x.grad.item() == 2 * ((1.5 + 3) ** 2 + 3) * 2 * (1.5 + 3)


# When the graph is built, and when it is freed.


def test_no_graph_without_need():
    before = nodes_alive()
    x = nn.tensor([1.0, 2.0])
    y = (x * 2 + x.exp()).sum()
    assert (y.requires_grad, y.is_leaf, nodes_alive()) == (False, True, before)
    w = leaf([1.0, 2.0])
    with nn.no_grad():
        y = (w * 2).sum()
        with ag.enable_grad():
            z = w * 2
    assert (y.requires_grad, z.requires_grad, nodes_alive()) == (False, True, before + 1)

    @nn.no_grad()
    def double(v):
        return v * 2

    assert not double(w).requires_grad
    assert (w * 2).requires_grad


def test_no_grad_is_for_one_thread():
    w, seen = leaf([1.0]), []
    with nn.no_grad():
        thread = threading.Thread(target=lambda: seen.append((w * 2).requires_grad))
        thread.start()
        thread.join()
        assert not (w * 2).requires_grad
    assert seen == [True]


def test_backward_frees_nodes_and_values():
    before = nodes_alive()
    x = leaf(np.ones((50, 40)))
    hidden = x.exp()
    middle = weakref.ref(hidden)
    loss = (hidden * hidden.tanh()).sum()
    kept = sum(
        t.nbytes for n in gc.get_objects() if type(n) is Node
        for t in (*(n.saved or ()), n.out) if isinstance(t, nn.Tensor)
    )  # fmt: skip
    assert kept == 4 * x.nbytes  # exp's output, tanh's output, both factors of the product
    del hidden
    assert nodes_alive() == before + 4
    assert middle() is not None  # the product needs it
    loss.backward()
    assert middle() is None  # freed without the garbage collector
    assert nodes_alive() == before + 1  # the output's own node, empty
    assert loss.producer.saved is None and loss.producer.parents is None
    del loss
    assert nodes_alive() == before


def test_graph_is_freed_without_the_collector_when_dropped():
    gc.collect()
    gc.disable()
    try:
        x = leaf(np.ones(3))
        y = (x * 2).exp().softmax().sum()
        node = weakref.ref(y.producer)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_chain_of_a_hundred_thousand_nodes():
    x = leaf([1.0, 2.0])
    y = x
    for _ in range(100_000):
        y = y + 1e-5
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])
    y = x
    for _ in range(100_000):
        y = y * 1.0
    del y  # dropping it does not recurse either


def test_second_backward_needs_retain_graph():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, [4, 8])
    with pytest.raises(RuntimeError, match=r"graph of sum was freed.*retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad, [4, 8])


def test_second_loss_through_a_freed_part():
    x = leaf([1.0])
    shared = x * 2
    first, second = shared * 3, shared * 4
    first.backward()
    with pytest.raises(RuntimeError, match="graph of mul was freed"):
        second.backward()
    assert x.grad.item() == 6


def test_retain_grad_keeps_that_of_a_computed_tensor():
    x = leaf([1.0, 2.0])
    h = x * 3
    assert h.grad is None
    h.retain_grad()
    (h * h).sum().backward()
    np.testing.assert_array_equal(h.grad, [6, 12])


# Changes in place.


@pytest.mark.parametrize("change", [
    lambda x: x.__iadd__(1), lambda x: x.__imul__(2), lambda x: x.__setitem__(0, 5.0),
    lambda x: setattr(x, "data", [1.0, 2.0]), lambda x: x.data.__setitem__(0, 5.0),
    lambda x: x[1:].__isub__(1), lambda x: x.detach().reshape(2, 1).__iadd__(3),
])  # fmt: skip
@pytest.mark.parametrize(("use", "name"), [
    (lambda x, w: x * w, "mul"), (lambda x, w: w / x, "div"),
    (lambda x, w: (x * 1.0).log() * w, None),
])  # fmt: skip
def test_change_of_a_needed_value_is_noticed(change, use, name):
    x, w = nn.tensor([3.0, 4.0], dtype=F64), leaf([1.0, 2.0])
    y = use(x, w).sum()
    change(x)
    if name is None:  # the product kept a value of its own
        y.backward()
        np.testing.assert_array_equal(w.grad, nn.functional.log(np.array([3.0, 4.0])))
        return
    with pytest.raises(RuntimeError, match=f"a value that {name} needs was changed in place"):
        y.backward()
    assert w.grad is None


def test_change_of_an_output_that_is_needed_is_noticed():
    x = leaf([1.0, 2.0])
    y = x.exp()
    y += 1
    with pytest.raises(RuntimeError, match="a value that exp needs was changed"):
        y.sum().backward()


def test_change_of_a_value_that_nobody_needs_is_right():
    x, w = leaf([1.0, 2.0]), leaf([5.0, 7.0])
    y = x + 1
    y += w
    y *= x
    y[0] = w[1] * 3
    y.sum().backward()
    np.testing.assert_array_equal(y.detach(), [21, 20])
    np.testing.assert_array_equal(x.grad, [0, 12])
    np.testing.assert_array_equal(w.grad, [0, 5])


def test_changes_that_backward_cannot_know_are_refused():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"a leaf .* cannot be changed in place"):
        x += 1
    with pytest.raises(RuntimeError, match=r"a leaf .* cannot be changed in place"):
        x[0] = 1.0
    y = x * 1
    view = y[:1]
    with pytest.raises(RuntimeError, match="shares memory with others"):
        y *= 2
    np.testing.assert_array_equal(view.detach(), [1])
    with nn.no_grad():
        x += 1
        x[0] = 7.0
    np.testing.assert_array_equal(x.detach(), [7, 3])


def test_optimiser_step_between_forward_and_backward_is_noticed():
    model = nn.Linear(2, 2)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    loss = model(leaf(np.ones((1, 2)), np.float32)).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="a value that linear needs was changed in place"):
        loss.backward()
    assert not model.weight.grad.any()


# Bad input.


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


def test_a_tensor_tells_what_it_is():
    x = leaf([1.0, 2.0])
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 4.], made by mul)"
    assert repr(nn.tensor([1.0])) == "tensor([1.], float32)"
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        bool(x > 1)
    assert bool((x > 0).all()) and not bool((x > 1).all())
    assert [v.item() for v in x] == [1, 2]
    again = pickle.loads(pickle.dumps(x))
    assert again.requires_grad and again.tolist() == [1, 2]


# Functions of the user's own.


class Multiply(ag.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return y * grad, x * grad


class MinMax(ag.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale, ctx.places = scale, (x.argmin(), x.argmax())
        return x.min() * scale, x.max() * scale

    @staticmethod
    def backward(ctx, low, high):
        grad = np.zeros(3)
        for place, g in zip(ctx.places, (low, high), strict=True):
            grad[place] = 0 if g is None else g.item() * ctx.scale
        return grad, None


def test_function_of_the_user():
    x, y = leaf([2.0, 3.0]), leaf([5.0, 7.0])
    z = Multiply.apply(x, y)
    (gx,) = ag.grad(z.sum() * z.sum(), x, create_graph=True)
    np.testing.assert_array_equal(gx.detach(), 2 * 31 * np.array([5, 7]))
    (gxy,) = ag.grad(gx.sum(), y)
    np.testing.assert_array_equal(gxy, 2 * 31 + 2 * 12 * np.array([2, 3]))
    z = Multiply.apply(x * 1, y)
    assert repr(z).endswith("made by Multiply)")
    z.sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 7])


def test_function_with_two_outputs_and_a_constant():
    x = leaf([2.0, -1.0, 4.0])
    low, high = MinMax.apply(x, 10.0)
    assert (low.item(), high.item()) == (-10, 40)
    high.backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad, [0, 0, 10])
    (low * high).backward()
    np.testing.assert_array_equal(x.grad, [0, 400, -90])


def test_function_refuses_what_is_wrong():
    class Wrong(Multiply):
        @staticmethod
        def backward(ctx, grad):
            return grad

    class Shape(Multiply):
        @staticmethod
        def backward(ctx, grad):
            return grad.sum(), None

    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"Wrong\.backward: expected 2 gradients.*got 1"):
        Wrong.apply(x, x).sum().backward()
    with pytest.raises(RuntimeError, match=r"Shape\.backward: gradient 0: expected shape \(2,\)"):
        Shape.apply(x, x).sum().backward()
    y = nn.tensor([3.0, 4.0], dtype=F64)
    z = Multiply.apply(x, y)
    y += 1
    with pytest.raises(RuntimeError, match="a saved tensor was changed in place"):
        z.sum().backward()


# grad: gradients as values.


def test_grad_gives_values_and_touches_nothing():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    h = x * y
    out = (h * h).sum()
    gx, gh = ag.grad(out, [x, h], retain_graph=True)
    np.testing.assert_array_equal(gh, 2 * np.array([3.0, 8.0]))
    np.testing.assert_array_equal(gx, 2 * np.array([9.0, 32.0]))
    assert x.grad is None and y.grad is None
    with pytest.raises(RuntimeError, match="do not depend on input 0"):
        ag.grad(out, leaf([1.0]), retain_graph=True)
    assert ag.grad(out, [leaf([1.0])], retain_graph=True, allow_unused=True) == (None,)
    both = ag.grad([h, out], [y], [np.ones(2), None])[0]
    np.testing.assert_array_equal(both, np.array([1.0, 2.0]) + 2 * np.array([3.0, 16.0]))


def test_a_product_keeps_only_what_a_gradient_needs():
    x, w = leaf(np.ones((4, 3))), nn.tensor(np.ones((3, 2)), dtype=F64)
    h = x * 1.0
    for y, kept in [
        (h * 2.0, (None, 2.0)), (h * np.ones((4, 3)), (None, ...)), (h @ w, (None, w)),
        (w.T @ h.T, (..., None)), (h * h, (h, h)), (ag.linear(h, w), (None, w)),
        (ag.linear(h, w, leaf([1.0, 2.0])), (None, w, None)),
        (ag.linear(w.T, h[:3], leaf([1.0, 2.0, 3.0])), (..., None, None)),
    ]:  # fmt: skip
        saved = y.producer.saved
        assert len(saved) == len(kept)
        for got, expected in zip(saved, kept, strict=True):
            assert got is expected or expected is ...
        y.sum().backward(retain_graph=True)


def test_gradients_where_only_one_operand_has_one(rng):
    shapes = [((2, 3), (3, 4)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)), ((2, 2, 3), (3, 2)),
              ((4, 1, 2, 3), (2, 3, 2)), ((4, 2, 3), (3,))]  # fmt: skip
    for a, b in shapes:
        x, y = rng.normal(size=a), rng.normal(size=b)
        both = [leaf(x), leaf(y)]
        (both[0] @ both[1]).sum().backward()
        left, right = leaf(x), leaf(y)
        (left @ y).sum().backward()
        (x @ right).sum().backward()
        np.testing.assert_array_equal(left.grad, both[0].grad)
        np.testing.assert_array_equal(right.grad, both[1].grad)


def test_many_uses_of_one_value_add_in_place_of_nobody():
    x = leaf(np.ones(3))
    upstream = np.array([1.0, 2.0, 3.0])
    y = x * 1.0
    total = y + y + y + y + x + x + x
    (gy,) = ag.grad(total, y, upstream, retain_graph=True)
    total.backward(upstream)
    np.testing.assert_array_equal(upstream, [1, 2, 3])
    np.testing.assert_array_equal(gy, 4 * upstream)
    np.testing.assert_array_equal(x.grad, 7 * upstream)


def test_large_sums():
    x, w = leaf(np.ones((300, 100))), leaf(np.full((300, 100), 2.0))
    y = (x.sum() * w.sum() + (x * w).mean(1).sum() + x.sum(0, True).expand((2, 100)).sum()) * 1.0
    y.backward()
    np.testing.assert_allclose(x.grad, 60000 + 0.02 + 2)
    np.testing.assert_allclose(w.grad, 30000 + 0.01)
    x.grad += 1  # an array of its own
