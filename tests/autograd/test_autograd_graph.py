"""The graph: sums of gradients, freeing, deep chains, gradients as values."""

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


# What it tells.


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


def test_functions_of_operations_are_pickled_by_name():
    for function in (ag.exp, ag.neg, ag.maximum, ag.leaky_relu):
        assert pickle.loads(pickle.dumps(function)) is function
