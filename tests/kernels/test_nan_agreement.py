"""NaN, infinities, both zeros, ties and numbers below the normal range: arrays, the graph, programs
and flat code agree on them, in value and gradient.

Arrays, graph and program have the same bits (of NaN only that it is one). Flat code has them where
NumPy computes the same way, and is as exact as NumPy elsewhere; always with the same NaN,
infinities and signs of zero.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

DTYPES = [np.float32, np.float64]
NAN, INF = np.nan, np.inf
SPECIAL = [NAN, -0.0, 0.0, INF, -INF, 1.0, 1.0, -1.0, 2.5, -3.0]
GRADIENTS = [1.0, -0.0, 0.0, INF, NAN, -2.0, -INF]

UNARY = {
    **{
        name: getattr(ag, name)
        for name in (
            "neg", "abs", "square", "reciprocal", "sqrt", "exp", "expm1", "log", "log1p", "sin",
            "cos", "erf", "sigmoid", "tanh", "relu", "softplus", "sign", "flip", "cumsum", "clone",
        )
    },
    **{f"power {p}": lambda x, p=p: x**p for p in (-1, -0.5, 0, 0.5, 1, 2, 2.5, 3)},
    **{
        f"clip {low} {high}": lambda x, low=low, high=high: ag.clip(x, low, high)
        for low, high in [
            (-1.0, 1.0), (0.0, None), (-0.0, None), (None, 0.0), (None, -0.0), (1.0, -1.0),
            (NAN, 1.0), (-1.0, NAN), (-INF, INF),
        ]
    },
    **{
        f"{name} {number}": lambda x, name=name, number=number: getattr(ag, name)(x, number)
        for name in ("maximum", "minimum", "add", "sub", "mul", "div")
        for number in (0.0, -0.0, 1.0, NAN, INF)
    },
    **{f"leaky relu {s}": lambda x, s=s: ag.leaky_relu(x, s) for s in (0.01, 0.0, -2.0)},
    "number / x": lambda x: 0.0 / x,
    "number - x": lambda x: INF - x,
    "maximum of a number": lambda x: ag.maximum(-0.0, x),
    "where x > 0": lambda x: ag.where(x > 0, x, 0.0),
    "where x <= 0": lambda x: ag.where(x <= 0, -x, x * x),
    "where x is x": lambda x: ag.where(ag.equal(x, x), x, -x),
    "where x is not x": lambda x: ag.where(ag.not_equal(x, x), 0.0, x),
    "where and, or, not": lambda x: ag.where(((x > 0) & (x < 2)) | ~(x < 9), x, -0.0),
}  # fmt: skip

BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "maximum": ag.maximum,
    "minimum": ag.minimum,
    "where <": lambda a, b: ag.where(a < b, a, b),
    "where >=": lambda a, b: ag.where(ag.greater_equal(a, b), a, b),
    "where >": lambda a, b: ag.where(ag.greater(a, b), a, b),
    "clip from": lambda a, b: ag.clip(a, b, 1.0),
    "clip to": lambda a, b: ag.clip(a, -1.0, b),
}

REDUCTIONS = {
    **{
        f"{name} {axis}": lambda x, name=name, axis=axis: getattr(ag, name)(x, axis)
        for name in ("sum", "mean", "max", "min", "prod", "var", "std", "logsumexp")
        for axis in (None, 0, 1, 2, (1, 2))
    },
    **{
        f"norm {order} {axis}": lambda x, order=order, axis=axis: ag.norm(x, order, axis)
        for order in (1, 2, 3, 1.5, INF, -INF)
        for axis in (None, -1)
    },
    **{
        f"{name} {axis}": lambda x, name=name, axis=axis: getattr(ag, name)(x, axis)
        for name in ("softmax", "log_softmax")
        for axis in (-1, 0)
    },
}  # fmt: skip

ROUNDED = {  # functions that kernels compute in their own way, and sums in the kernels' order
    "exp", "expm1", "log", "log1p", "erf", "sigmoid", "tanh", "softplus", "sum", "mean", "prod",
    "var", "std", "logsumexp", "norm", "softmax", "log_softmax",
}  # fmt: skip


def special(dtype) -> np.ndarray:
    """What stands at the edges of a type, with normal numbers and ties."""
    least, normal = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny
    return np.array([*SPECIAL, least, -least, normal, -normal], dtype)


def same(got, wanted, what: str) -> None:
    """The same bits, but for which NaN it is."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape and got.dtype == wanted.dtype, what
    differ = (got != wanted) | (np.signbit(got) != np.signbit(wanted))
    differ &= ~(np.isnan(got) & np.isnan(wanted))
    assert not differ.any(), f"{what}: {got[differ][:3]} for {wanted[differ][:3]}"


def close(got, wanted, what: str, signs: bool = True) -> None:
    """The same NaN, infinities and (`signs`) signs of zero; finite numbers to rounding.

    Differences that cancel are compared with the size of what was subtracted, which is about 1.
    That of a softmax's gradient may cancel to either zero.
    """
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape and got.dtype == wanted.dtype, what
    limits = np.finfo(got.dtype)
    finite = np.isfinite(got) & np.isfinite(wanted)
    near = finite & (np.abs(got - wanted) <= 64 * limits.eps * (1 + np.abs(wanted)))
    zeros = (got == 0) & (wanted == 0)
    fits = np.where(
        zeros, (not signs) | (np.signbit(got) == np.signbit(wanted)), near | (got == wanted)
    )
    fits |= np.isnan(got) & np.isnan(wanted)
    assert fits.all(), f"{what}: {got[~fits][:3]} for {wanted[~fits][:3]}"


def leaves(arrays) -> list:
    return [nn.tensor(x.copy(), requires_grad=True) for x in arrays]


def four_agree(function, arrays, name: str) -> None:
    """Compares arrays, graph, program and flat code."""
    operation = name.split()[0]
    alike = close if operation in ROUNDED else same
    if operation == "softmax":
        alike = functools.partial(close, signs=False)
    plain = np.asarray(function(*arrays))
    rng = np.random.default_rng(0)
    program = nn.jit_program(function)
    program(*leaves(arrays))
    for gradient in (rng.normal(size=plain.shape), np.resize(GRADIENTS, plain.shape)):
        gradient = gradient.astype(plain.dtype)
        xs, again = leaves(arrays), leaves(arrays)
        graph, run = function(*xs), program(*again)
        same(graph.detach(), plain, "the graph, for arrays")
        same(run.detach(), plain, "the program, for arrays")
        if not graph.requires_grad:
            continue
        names = {f"x{i}": x for i, x in enumerate(xs)}
        space = ag.flat(graph, names, gradient).run()
        graph.backward(gradient)
        run.backward(gradient)
        alike(space["loss" if plain.size == 1 else "output"], plain, "flat code")
        for (name, x), other in zip(names.items(), again, strict=True):
            same(other.grad.detach(), x.grad.detach(), f"the program's gradient of {name}")
            alike(space[f"d_{name}"], x.grad.detach(), f"flat code's gradient of {name}")


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_elements(name, dtype):
    four_agree(UNARY[name], [special(dtype)], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_pairs(name, dtype):
    x = special(dtype)
    four_agree(BINARY[name], [np.repeat(x, len(x)), np.tile(x, len(x))], name)
    four_agree(BINARY[name], [x[:, None], x], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, dtype):
    x = special(dtype)
    rng = np.random.default_rng(1)
    finite = x[np.isfinite(x)]
    rows = [rng.permutation(x) for _ in range(3)]
    rows += [rng.choice(finite, len(x)) for _ in range(5)]
    rows += [rng.choice(values, len(x)) for values in ([0.0, -0.0], [-INF, 1.0], [1.0, 3.0])]
    rows += [np.full(len(x), value) for value in (-INF, INF, -0.0, 0.0)]
    rows += [np.r_[NAN, np.zeros(len(x) - 1)]]
    four_agree(REDUCTIONS[name], [np.array(rows, dtype).reshape(4, 4, len(x))], name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"])
def test_modules_and_functions(name, dtype):
    module = getattr(nn, name)()
    op = getattr(ag, {"LogSoftmax": "log_softmax"}.get(name, name.lower()))
    x = special(dtype)
    x = np.array([x, np.resize([0.0, -0.0], len(x)), np.resize([1.0, -INF], len(x))], dtype)
    gradient = np.resize(np.array(GRADIENTS, dtype), x.shape)
    (leaf,) = leaves([x])
    graph = op(leaf)
    graph.backward(gradient)
    same(getattr(nn.functional, op.__name__)(x), graph.detach(), "the function")
    same(module.forward(x), graph.detach(), "the module")
    same(module.backward(gradient), leaf.grad.detach(), "the module's gradient")
    (leaf,) = leaves([x])
    module(leaf).backward(gradient)
    same(module.forward(x), module(leaf).detach(), "the module on Tensors")
    same(module.backward(gradient), leaf.grad.detach(), "the module's gradient on Tensors")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_activations_in_the_product_before_them(activation, dtype):
    """Programs compute an activation and its derivative as the product is stored."""
    x = special(dtype)[:, None]
    weight = np.array([[1.0, -1.0, 0.0, 2.0]], dtype)
    back = np.array([[1.0], [0.5], [-2.0], [1.0]], dtype)

    def network(x, weight, bias, back):
        hidden = ag.linear(x, weight, bias)
        return ag.matmul(getattr(ag, activation)(hidden), back)

    four_agree(network, [x, weight, np.array([0.0, -0.0, 1.0, -1.0], dtype), back], "sum")


def test_conventions():
    """As PyTorch: relu passes gradients at NaN; clip does not, and keeps the sign of zero."""
    x = nn.tensor([NAN, -0.0, 0.0, 1.0, -1.0], requires_grad=True)
    x.relu().sum().backward()
    same(x.grad.detach(), np.array([1, 0, 0, 1, 0], np.float32), "relu")
    x = nn.tensor([NAN, -0.0, 0.0, 1.0, -1.0], requires_grad=True)
    y = ag.clip(x, 0.0)
    y.sum().backward()
    same(y.detach(), np.array([NAN, -0.0, 0.0, 1.0, 0.0], np.float32), "clip")
    same(x.grad.detach(), np.array([0, 1, 1, 1, 0], np.float32), "clip's gradient")
    a, b = nn.tensor([NAN, 1.0, 1.0], requires_grad=True), nn.tensor([1.0, NAN, 1.0])
    b.requires_grad = True
    ag.maximum(a, b).sum().backward()
    same(a.grad.detach(), np.array([1, 0, 1], np.float32), "maximum, first")
    same(b.grad.detach(), np.array([0, 1, 0], np.float32), "maximum, second")
