"""Functions of the user's own: forward and backward with a context."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(values, requires_grad=True, dtype=dtype)


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
