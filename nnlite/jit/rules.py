"""What each operation becomes in a program: its value, and the gradients of its inputs.

A rule is (module, forward(low, node, inputs, *params), backward(low, node, g, need, inputs,
*params)): `low` is the Lowering, `inputs` and `g` are Values, `need` has None where no gradient is
asked for. Each computes what the operation's forward and vjp_arrays compute, in the same order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _native
from ..autograd.indexing import is_basic
from ..autograd.node import Node
from .lowering import Lowering, Place, UnfitError, Value

MEAN, SUM = _native.MEAN, _native.SUM


def _binary(code: str, back: Any) -> Any:
    def forward(low: Lowering, node: Node, x: list[Value]) -> Value:
        return low.each(code, *x)

    def backward(low: Lowering, node: Node, g: Value, need: Any, x: list[Value]) -> Any:
        parts = back(low, g, need, *x)
        return [
            None if p is None else low.sum_to(make(), v.shape)
            for p, make, v in zip(need, parts, x, strict=True)
        ]

    return "nnlite.autograd.arithmetic", forward, backward


def _div_back(low: Lowering, g: Value, need: Any, a: Value, b: Value) -> Any:
    return (
        lambda: low.each("div", g, b),
        lambda: low.each("div", low.each("mul", low.each("neg", g), a), low.each("mul", b, b)),
    )


def _unary(module: str, forward: Any, slope: Any) -> Any:
    """An operation on elements; slope(low, g, x, y) is the gradient."""

    def run(low: Lowering, node: Node, x: list[Value], *params: Any) -> Value:
        return forward(low, x[0])

    def back(low: Lowering, node: Node, g: Value, need: Any, x: list[Value], *params: Any) -> Any:
        return [slope(low, g, x[0], low.values[node])]

    return f"nnlite.autograd.{module}", run, back


def _kernel(code: str) -> Any:
    return lambda low, x: low.function(code, x)


def _kernel_back(code: str) -> Any:
    return lambda low, g, x, y: low.function(code, y, g)


def _softplus(low: Lowering, x: Value) -> Value:
    small = low.function("exp", low.each("neg", low.each("abs", x)))
    return low.each("add", low.function("log1p", small), low.each("positive", x))


def _mean(low: Lowering, node: Node, x: list[Value], axes: Any, keepdims: bool) -> Value:
    total = low.sum(x[0], axes, node.shape)
    return low.each("div", total, low.number(_count(x[0].shape, axes)))


def _count(shape: tuple[int, ...], axes: Any) -> int:
    return math.prod(shape if axes is None else [shape[a] for a in axes])


def _mean_back(low: Any, node: Node, g: Value, need: Any, x: Any, axes: Any, keepdims: bool) -> Any:
    each = low.each("div", g, low.number(_count(x[0].shape, axes)))
    return [low.spread(each, x[0].shape, axes, keepdims)]


def _matmul(low: Lowering, node: Node, x: list[Value]) -> Value:
    if len(x[0].shape) != 2 or len(x[1].shape) != 2:
        raise UnfitError("a product of vectors or stacks has no C program; use matrices")
    return low.gemm(x[0], x[1])


def _turned(v: Value) -> Value:
    return Value(v.place, v.shape[::-1], v.strides[::-1])


def _matmul_back(low: Lowering, node: Node, g: Value, need: Any, x: list[Value]) -> Any:
    a, b = x
    g = low.materialized(g)
    return [
        None if need[0] is None else low.gemm(g, _turned(b), gradient=True),
        None if need[1] is None else low.gemm(_turned(a), g, gradient=True),
    ]


def _linear(low: Lowering, node: Node, x: list[Value]) -> Value:
    a, w, *bias = [low.materialized(v) for v in x]
    (m, k), (_, n) = a.shape, w.shape
    c = bias[0].place if bias else -1
    return low.emit("linear", low.room(m, n), a, w, m=m, n=n, k=k, c=c)


def _linear_back(low: Lowering, node: Node, g: Value, need: Any, x: list[Value]) -> Any:
    a, w = (low.materialized(v) for v in x[:2])
    (m, k), (_, n) = a.shape, w.shape
    g = low.materialized(g)
    dx = None if need[0] is None else low.gemm(g, _turned(w), gradient=True)
    dw = None
    db = None if len(need) == 2 or need[2] is None else low.room(n)
    if need[1] is not None:
        c = -1 if db is None else db.place
        dw = low.emit("linear_grad", low.room(k, n), a, g, m=m, n=n, k=k, c=c)
    elif db is not None:
        db = low.sum(g, (0,), (n,))
    return [dx, dw, db][: len(need)]


def _transpose(low: Lowering, node: Node, x: list[Value], axes: Any) -> Value:
    uses = [user.op.__name__ for user, _ in low.graph.uses[node]]
    parent = node.parents[0]
    if len(x[0].shape) != 2 or set(uses) != {"MatMul"} or type(parent) is Node:
        raise UnfitError("a transpose that is no argument or parameter in a product of matrices")
    return x[0] if axes == (0, 1) else _turned(x[0])


def _transpose_back(low: Any, node: Node, g: Value, need: Any, x: Any, axes: Any) -> Any:
    return [g if axes == (0, 1) else _turned(g)]


def _index(low: Lowering, node: Node, x: list[Value], index: Any) -> Value:
    if not is_basic(index):
        raise UnfitError("an index array has no C program")
    v = low.materialized(x[0])
    places = np.arange(math.prod(v.shape)).reshape(v.shape)[index]
    if not (places.size and np.array_equal(places.ravel(), np.arange(places.size) + places.min())):
        raise UnfitError("an index whose elements do not lie side by side")
    low.extra[node] = int(places.min())
    return low.part(v, node.shape, low.extra[node])


def _index_back(low: Any, node: Node, g: Value, need: Any, x: Any, index: Any) -> Any:
    g, shape = low.materialized(g), x[0].shape
    zeros = low.number(0.0).expanded(shape)
    full = low.each("copy", zeros)
    count = math.prod(g.shape)
    low.emit("copy", low.part(full, g.shape, low.extra[node]), g, m=1, n=count, a_row=0, a_col=1)
    return [full]


def _loss(
    low: Lowering, node: Node, x: list[Value], code: str, target: Any, settings: Any
) -> Value:
    """A loss of rows against classes or numbers; the gradient is made in the same pass."""
    v = low.materialized(x[0])
    reduction, weight, smoothing, ignore, sample_weight = settings
    if sample_weight is not None:
        raise UnfitError("sample weights have no C program")
    if len(v.shape) != 2 and code != "mse":
        raise UnfitError(f"{node.op.name} of shape {v.shape}")
    t = low.constant(target, "the target")
    classes = target.dtype == np.int64 and code != "mse"
    if not classes and (target.dtype != low.dtype or target.shape != v.shape):
        raise UnfitError("a target of another dtype or shape")
    d = -1
    if weight is not None:
        array = np.ascontiguousarray(weight, low.dtype)
        d = low.at(Place("array", array), array.shape).place
    m, n = v.shape[0] if v.shape else 1, math.prod(v.shape[1:])
    out, grad = low.room(2), low.room(*v.shape)
    low.emit(
        code, out, v, t, c=grad.place if low.wanted else -1, d=d, m=m, n=n, k=ignore,
        number=smoothing, flag=int(not classes), reduction=MEAN if reduction == "mean" else SUM,
    )  # fmt: skip
    low.extra[node] = grad
    return Value(out.place, (), ())


def _softmax_ce(
    low: Any, node: Node, x: Any, target: Any, settings: Any, grad: Any, module: Any = None
) -> Value:
    if module is None and settings[1] is not None:
        raise UnfitError("class weights have no C program but in SoftmaxCE")
    out = _loss(low, node, x, "softmax_ce", target, settings)
    if module is not None:
        low.losses.append((module, out.place))
    return out


def _nll(
    low: Any, node: Node, x: Any, target: Any, settings: Any, grad: Any, module: Any = None
) -> Value:
    if module is None:
        raise UnfitError("nll_loss has no C program; use NLLLoss")
    reduction, weight, ignore, sample_weight = settings
    settings = (reduction, weight, 0.0, ignore, sample_weight)
    out = _loss(low, node, x, "nll", target, settings)
    low.losses.append((module, out.place))
    return out


def _mse(
    low: Any, node: Node, x: Any, target: Any, settings: Any, grad: Any, module: Any = None
) -> Value:
    reduction, sample_weight = settings
    out = _loss(low, node, x, "mse", target, (reduction, None, 0.0, 0, sample_weight))
    if module is not None:
        low.losses.append((module, out.place))
    return out


def _loss_back(low: Any, node: Node, g: Value, need: Any, x: Any, *params: Any) -> Any:
    return [low.each("mul", low.extra[node], g)]


def _mse_back(
    low: Any, node: Node, g: Value, need: Any, x: Any, target: Any, settings: Any, grad: Any,
    module: Any = None,
) -> Any:  # fmt: skip
    if module is not None:
        return _loss_back(low, node, g, need, x)
    (v,) = x
    slope = low.each("sub", v, low.constant(target, "the target"))
    scale = 2.0 / math.prod(v.shape) if settings[0] == "mean" else 2.0
    return [low.each("mul", g, low.each("mul", slope, low.number(scale)))]


RULES: dict[str, tuple[str, Any, Any]] = {
    "Add": _binary("add", lambda low, g, need, a, b: (lambda: g, lambda: g)),
    "Sub": _binary("sub", lambda low, g, need, a, b: (lambda: g, lambda: low.each("neg", g))),
    "Mul": _binary(
        "mul",
        lambda low, g, need, a, b: (lambda: low.each("mul", g, b), lambda: low.each("mul", g, a)),
    ),
    "Div": _binary("div", _div_back),
    "Neg": _unary(
        "arithmetic", lambda low, x: low.each("neg", x), lambda low, g, x, y: low.each("neg", g)
    ),
    "Abs": _unary(
        "arithmetic", lambda low, x: low.each("abs", x),
        lambda low, g, x, y: low.each("mul", g, low.each("sign", x)),
    ),
    "Square": _unary(
        "arithmetic", lambda low, x: low.each("mul", x, x),
        lambda low, g, x, y: low.each("mul", g, low.each("add", x, x)),
    ),
    "Reciprocal": _unary(
        "arithmetic", lambda low, x: low.each("div", low.number(1.0), x),
        lambda low, g, x, y: low.each("mul", g, low.each("neg", low.each("mul", y, y))),
    ),
    "Sqrt": _unary(
        "arithmetic", lambda low, x: low.each("sqrt", x),
        lambda low, g, x, y: low.each("mul", g, low.each("div", low.number(0.5), y)),
    ),
    "Deviation": _unary(
        "reductions", lambda low, x: low.each("sqrt", x),
        lambda low, g, x, y: low.function(
            "relu_grad", y, low.each("mul", g, low.each("div", low.number(0.5), y))
        ),
    ),
    "Exp": _unary("elementary", _kernel("exp"), lambda low, g, x, y: low.each("mul", g, y)),
    "Expm1": _unary(
        "elementary", _kernel("expm1"),
        lambda low, g, x, y: low.each("mul", g, low.each("add", y, low.number(1.0))),
    ),
    "Log": _unary("elementary", _kernel("log"), lambda low, g, x, y: low.each("div", g, x)),
    "Log1p": _unary(
        "elementary", _kernel("log1p"),
        lambda low, g, x, y: low.each("div", g, low.each("add", x, low.number(1.0))),
    ),
    "Sigmoid": _unary("elementary", _kernel("sigmoid"), _kernel_back("sigmoid_grad")),
    "Tanh": _unary("elementary", _kernel("tanh"), _kernel_back("tanh_grad")),
    "Relu": _unary("elementary", _kernel("relu"), _kernel_back("relu_grad")),
    "Softplus": _unary(
        "elementary", _softplus,
        lambda low, g, x, y: low.each("mul", g, low.function("sigmoid", x)),
    ),
    "Softmax": _unary(
        "neural", lambda low, x: low.rows("softmax", x),
        lambda low, g, x, y: low.rows("softmax_grad", y, g),
    ),
    "LogSoftmax": _unary(
        "neural", lambda low, x: low.rows("log_softmax", x),
        lambda low, g, x, y: low.rows("log_softmax_grad", y, g),
    ),
    "Sum": (
        "nnlite.autograd.shaping",
        lambda low, node, x, axes, keepdims: low.sum(x[0], axes, node.shape),
        lambda low, node, g, need, x, axes, keepdims: [low.spread(g, x[0].shape, axes, keepdims)],
    ),
    "Mean": ("nnlite.autograd.reductions", _mean, _mean_back),
    "Reshape": (
        "nnlite.autograd.shaping",
        lambda low, node, x, shape: low.reshaped(x[0], node.shape),
        lambda low, node, g, need, x, shape: [low.reshaped(g, x[0].shape)],
    ),
    "Expand": (
        "nnlite.autograd.shaping",
        lambda low, node, x, shape: low.each("copy", x[0].expanded(node.shape)),
        lambda low, node, g, need, x, shape: [low.sum_to(g, x[0].shape)],
    ),
    "Transpose": ("nnlite.autograd.shaping", _transpose, _transpose_back),
    "IndexView": ("nnlite.autograd.indexing", _index, _index_back),
    "MatMul": ("nnlite.autograd.products", _matmul, _matmul_back),
    "Affine": ("nnlite.autograd.neural", _linear, _linear_back),
    "SoftmaxCE": ("nnlite.autograd.losses", _softmax_ce, _loss_back),
    "NLL": ("nnlite.autograd.losses", _nll, _loss_back),
    "MSE": ("nnlite.autograd.losses", _mse, _mse_back),
}  # fmt: skip
