"""What networks are made of: softmax, the affine map, dropout. Kernels compute the arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional, ops
from .elementary import contiguous, exp
from .foreign import refuse
from .operation import Linear, Multilinear, Operation, apply
from .products import matmul
from .shaping import expand, one_axis, sum, swapaxes


class Softmax(Operation):
    """y_k = e^x_k / sum_j e^x_j along the last axis; dx = y (g - sum_k g_k y_k)."""

    keeps_output = True

    @staticmethod
    def forward(x: Any) -> Any:
        return functional.softmax(contiguous(x))

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        return y * (g - sum(g * y, -1, True))

    @staticmethod
    def vjp_arrays(g: Any, need: Any, y: Any) -> Any:
        return ops.SoftMax.grad_input(y, contiguous(g))

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return cls.vjp(tangents[0], None, out)  # the Jacobian is symmetric


class LogSoftmax(Operation):
    """y_k = x_k - log sum_j e^x_j along the last axis; dx = g - e^y sum_k g_k."""

    name = "log_softmax"
    keeps_output = True

    @staticmethod
    def forward(x: Any) -> Any:
        return functional.log_softmax(contiguous(x))

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        return g - exp(y) * sum(g, -1, True)

    @staticmethod
    def vjp_arrays(g: Any, need: Any, y: Any) -> Any:
        return ops.LogSoftMax.grad_input(y, contiguous(g))

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


class Affine(Multilinear):
    """x W + b for rows x; dx = G W^T, dW = x^T G, db = sum of G over rows. One kernel forward."""

    name = "linear"
    crosswise = True

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
    def vjp(g: Any, need: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        grads = (
            None if need[0] is None else matmul(g, weight.T),
            None if need[1] is None else matmul(x.T, g),
        )
        if len(need) == 2:
            return grads
        return (*grads, None if need[2] is None else sum(g, (0,)))

    @staticmethod
    def vjp_arrays(g: Any, need: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        g = contiguous(g)
        dx = dw = None
        db = None if len(need) == 2 or need[2] is None else np.zeros(need[2].shape, g.dtype)
        if need[0] is not None:
            dx = functional.matmul(g, contiguous(weight), False, True, gradient=True)
        if need[1] is not None:  # one pass over g for both
            dw = np.zeros(need[1].shape, g.dtype)
            ops.Linear.acc_grad_parameters(contiguous(x), g, dw, db)
        elif db is not None:
            db = sum(g, (0,))
        return (dx, dw) if len(need) == 2 else (dx, dw, db)

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
    def forward(x: Any, p: float, seed: int, stream: int, step: int) -> Any:
        return functional.dropout(contiguous(x), p, seed, stream, step)

    @staticmethod
    def vjp(g: Any, need: Any, p: float, seed: int, stream: int, step: int) -> Any:
        return apply(Dropout, g, params=(p, seed, stream, step))


def dropout(x: Any, p: float, seed: int, stream: int = 0, step: int = 0) -> Any:
    """x / (1 - p) where an element is kept, else 0; the arguments of functional.dropout."""
    return apply(Dropout, x, params=(p, seed, stream, step))
