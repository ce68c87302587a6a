"""What networks are made of: softmax, the affine map, dropout. Kernels compute the arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional
from ..._core import check, native
from ..._core.config import _State
from ..foreign import refuse
from ..node import RECORD, state
from ..operation import Linear, Multilinear, Operation, apply, apply_many, on_graph, placeholder
from .elementary import GradientKernel, contiguous, exp, gradient_kernel, of_output
from .products import matmul, matmul_gradient
from .shaping import expand, one_axis, sum, swapaxes


class SoftmaxGrad(GradientKernel):
    """y (g - sum_k g_k y_k); by y: u (g - sum g y) - g sum u y, by g: y (u - sum_k u_k y_k)."""

    name = "softmax_grad"
    instruction, walk = "SOFTMAX_GRAD", "rows"
    kernel = of_output("SoftMax_updateGradInput", rows=True)
    numpy = "{0} * ({1} - np.sum({1} * {0}, -1, keepdims=True))"

    @staticmethod
    def vjp(u: Any, need: Any, y: Any, g: Any) -> Any:
        dy = None
        if need[0] is not None:
            dy = u * (g - sum(g * y, -1, True)) - g * sum(u * y, -1, True)
        return dy, None if need[1] is None else softmax_grad(y, u)


softmax_grad = gradient_kernel(SoftmaxGrad)


class Softmax(Operation):
    """y_k = e^x_k / sum_j e^x_j along the last axis; dx = y (g - sum_k g_k y_k)."""

    keeps_output = True
    instruction, walk = "SOFTMAX", "rows"
    numpy = "softmax({0})"

    @staticmethod
    def forward(x: Any) -> Any:
        return functional.softmax(contiguous(x))

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        return softmax_grad(y, g)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return softmax_grad(out, tangents[0])  # the Jacobian is symmetric


class LogSoftmaxGrad(GradientKernel):
    """g - e^y sum_k g_k; by y: -u e^y sum_k g_k, by g: u - sum_k u_k e^y_k."""

    name = "log_softmax_grad"
    instruction, walk = "LOG_SOFTMAX_GRAD", "rows"
    kernel = of_output("LogSoftMax_updateGradInput", rows=True)
    numpy = "{1} - np.exp({0}) * np.sum({1}, -1, keepdims=True)"

    @staticmethod
    def vjp(u: Any, need: Any, y: Any, g: Any) -> Any:
        scaled = u * exp(y)
        return (
            None if need[0] is None else -(scaled * sum(g, -1, True)),
            None if need[1] is None else u - sum(scaled, -1, True),
        )


log_softmax_grad = gradient_kernel(LogSoftmaxGrad)


class LogSoftmax(Operation):
    """y_k = x_k - log sum_j e^x_j along the last axis; dx = g - e^y sum_k g_k."""

    name = "log_softmax"
    keeps_output = True
    instruction, walk = "LOG_SOFTMAX", "rows"
    numpy = "log_softmax({0})"

    @staticmethod
    def forward(x: Any) -> Any:
        return functional.log_softmax(contiguous(x))

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        return log_softmax_grad(y, g)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        t = tangents[0]
        return t - sum(exp(out) * t, -1, True)


def _along(op: Any, x: Any, axis: int) -> Any:
    ndim = np.ndim(x)
    if ndim == 0:
        raise ValueError(
            f"{op.name}: x: expected at least one dimension, got a number; x.reshape(1) is a row"
        )
    last = type(axis) is int and axis in (-1, ndim - 1)  # the usual case
    if last or one_axis(op.name, axis, ndim) == ndim - 1:
        return apply(op, x)
    return swapaxes(apply(op, swapaxes(x, axis, -1)), axis, -1)


def softmax(x: Any, axis: int = -1, **unknown: Any) -> Any:
    """e^x_k / sum_j e^x_j along an axis, for x of any finite size."""
    if unknown:
        refuse("softmax", unknown)
    return _along(Softmax, x, axis)


def log_softmax(x: Any, axis: int = -1, **unknown: Any) -> Any:
    """x_k - log sum_j e^x_j along an axis, for x of any finite size."""
    if unknown:
        refuse("log_softmax", unknown)
    return _along(LogSoftmax, x, axis)


class LinearGrad(Operation):
    """x^T g and the sum of g over rows, in one pass over g."""

    name = "linear_grad"
    keeps_inputs = True
    numpy = "{0}.T @ {1}, {1}.sum(0)"

    @staticmethod
    def forward(x: Any, g: Any) -> Any:
        if state.mode & RECORD:
            shape = x.shape[1], g.shape[1]
            return placeholder(shape, g.dtype), placeholder(shape[1:], g.dtype)
        if x.ndim != 2 or len(x) != len(g):  # arrays of the caller, changed since
            check.unfit("linear", g, x)
        x, g, (rows, inputs), outputs = contiguous(x), contiguous(g), x.shape, g.shape[1]
        dw, db = np.zeros((inputs, outputs), g.dtype), np.zeros(outputs, g.dtype)
        kernels, pointer = native.F32 if g.dtype.itemsize == 4 else native.F64, native.from_buffer
        kind = kernels.array
        status = kernels.Linear_accGradParameters(
            rows, inputs, outputs, pointer(kind, x), pointer(kind, g), pointer(kind, dw),
            pointer(kind, db), 1.0, _State.threads,
        )  # fmt: skip
        if status:
            native.fail("linear: backward", status)
        return dw, db

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        x, g = inputs
        return low.gemm(low.transposed(x), g, sums=True, gradient=True)

    @staticmethod
    def vjp(u: Any, need: Any, x: Any, g: Any, dw: Any = None, db: Any = None) -> Any:
        by_weight, by_bias = u
        dx = dg = None
        if need[0] is not None and by_weight is not None:
            dx = matmul(g, by_weight.T)
        if need[1] is not None:
            parts = [matmul(x, by_weight)] if by_weight is not None else []
            parts += [expand(by_bias, g.shape)] if by_bias is not None else []
            dg = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        return dx, dg


def linear_grad(x: Any, g: Any) -> Any:
    """The gradients of the weight and of the bias of x W + b from that of the output."""
    if not on_graph(x, g):
        return LinearGrad.forward(x, g)
    return apply_many(LinearGrad, x, g)


class Affine(Multilinear):
    """x W + b for rows x; dx = G W^T, dW = x^T G, db = sum of G over rows. One kernel forward."""

    name = "linear"
    crosswise = True

    @staticmethod
    def numpy(x: Any, weight: Any, bias: Any = None) -> Any:
        return "{0} @ {1}" + ("" if bias is None else " + {2}"), {}

    @staticmethod
    def forward(x: Any, weight: Any, bias: Any = None) -> Any:
        return functional.linear(contiguous(x), contiguous(weight), bias)

    @classmethod
    def kept(cls, inputs: tuple, parents: tuple) -> tuple:
        """x for the gradient of W, W for that of x; constants."""
        needed = (parents[1] is not None, parents[0] is not None, False)
        cases = zip(inputs, parents, needed[: len(inputs)], strict=True)
        return tuple([x if p is None or wanted else None for x, p, wanted in cases])

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any) -> Any:
        return low.gemm(*inputs)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        dx = None if need[0] is None else matmul_gradient(g, weight.T)
        if len(need) == 2:
            return dx, None if need[1] is None else matmul_gradient(x.T, g)
        dw = db = None
        if need[1] is not None and need[2] is not None:  # one pass over g for both
            dw, db = linear_grad(x, g)
        elif need[1] is not None:
            dw = matmul_gradient(x.T, g)
        elif need[2] is not None:
            db = sum(g, (0,))
        return dx, dw, db

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        tx, tw, *tb = tangents
        x, weight = inputs[:2]
        terms = [] if tx is None else [matmul(tx, weight)]
        if tw is not None:
            terms.append(matmul(x, tw))
        if tb and tb[0] is not None:
            terms.append(tb[0])
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total if total.shape == out.shape else expand(total, out.shape)


def linear(x: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Any:
    """act(x W + b) for rows x (N, in); weight (in, out), bias (out,) or None."""
    functional._activation("linear", activation)
    args = (x, weight) if bias is None else (x, weight, bias)
    y = apply(Affine, *args)
    return y if activation is None else getattr(y, activation)()


class Dropout(Linear):
    """x / (1 - p) where an element is kept, else 0; dx = g / (1 - p) there, else 0.

    The mask is a function of (seed, stream, step) and is computed again for the gradient.
    """

    @staticmethod
    def numpy(x: Any, *params: Any) -> Any:
        return "{0} * {mask}", {"mask": Dropout.forward(np.ones(x.shape, x.dtype), *params)}

    @staticmethod
    def forward(x: Any, p: float, seed: int, stream: int, step: int) -> Any:
        return functional.dropout(contiguous(x), p, seed, stream, step)

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, *params: Any) -> Any:
        return low.dropout(*inputs, *params)

    @staticmethod
    def vjp(g: Any, need: Any, *params: Any) -> Any:
        return apply(DropoutGrad, g, params=params)


class DropoutGrad(Linear):
    """g / (1 - p) where an element was kept, else 0; as a gradient, so nothing is subnormal."""

    name = "dropout_grad"
    numpy = Dropout.numpy

    @staticmethod
    def forward(g: Any, p: float, seed: int, stream: int, step: int) -> Any:
        g = contiguous(g)
        out = np.empty(g.shape, g.dtype)
        status = native.KERNELS[g.dtype].Dropout_updateGradInput(
            out.size, native.pointer(g), native.pointer(out), p, seed,
            native.DROPOUT_PURPOSE + stream, step, _State.threads,
        )  # fmt: skip
        native.check(status, "dropout: backward")
        return out

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, *params: Any) -> Any:
        return low.dropout(*inputs, *params, gradient=True)

    @staticmethod
    def vjp(g: Any, need: Any, *params: Any) -> Any:
        return apply(DropoutGrad, g, params=params)


def dropout(x: Any, p: float, seed: int, stream: int = 0, step: int = 0) -> Any:
    """x / (1 - p) where an element is kept, else 0; the arguments of functional.dropout."""
    return apply(Dropout, x, params=(p, seed, stream, step))
