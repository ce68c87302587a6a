"""Stateless functions on arrays: one checked call of a C kernel each.

Arrays are C-contiguous float32 or float64; results are new arrays unless `out` is given. What the
kernels refuse is listed in `nnlite._check`; nothing is written when an exception is raised.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from . import _check, _native
from ._config import _State

_pointer = _native.pointer
_KERNELS = _native.KERNELS
_empty = np.empty
_ndarray = np.ndarray
_from_buffer = _native.from_buffer
_FLOAT32 = _check.FLOAT32
_NULL = _native.NULL

ACTIVATIONS = {
    None: _native.IDENTITY,
    "relu": _native.RELU,
    "sigmoid": _native.SIGMOID,
    "tanh": _native.TANH,
}
_REDUCTIONS = {"mean": _native.MEAN, "sum": _native.SUM}


_IN_PART = "out overlaps x in part; pass another array, or x itself"


def _kernels_of(operation: str, name: str, value: Any) -> Any:
    """The kernels for the dtype of an array; refuses what is no plain float array."""
    return _native.F32 if _check.floats(operation, name, value).itemsize == 4 else _native.F64


def _failed(operation: str, status: int, overlap: str) -> NoReturn:
    """Raises for a status; `overlap` says which arguments may not share memory."""
    _native.fail(operation, status, overlap if status == _native.EOVERLAP else "")


def _activation(operation: str, name: Any) -> int:
    try:
        return ACTIVATIONS[name]
    except (KeyError, TypeError):
        known = ", ".join(repr(key) for key in ACTIVATIONS)
        raise ValueError(
            f"{operation}: activation: expected one of {known}, got {name!r}"
        ) from None


def reduction(operation: str, name: Any) -> int:
    """The kernel's code for "mean" or "sum"."""
    if not isinstance(name, str) or name not in _REDUCTIONS:
        raise ValueError(f"{operation}: reduction: expected 'mean' or 'sum', got {name!r}")
    return _REDUCTIONS[name]


def matmul(
    a: np.ndarray,
    b: np.ndarray,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Matrix product: op(a) op(b), where op transposes when asked.

    C_ij = sum_p op(a)_ip op(b)_pj, each a single chain of fused multiply-adds over ascending p, so
    the bits do not depend on threads, instruction set or the other rows.

    Args:
        a: (m, k), or (k, m) with transpose_a; float32 or float64.
        b: (k, n), or (n, k) with transpose_b; the dtype of a.
        transpose_a: use the transpose of a; nothing is copied.
        transpose_b: use the transpose of b.
        out: array (m, n) for the result; must not overlap a or b.

    Returns:
        The product (m, n): `out` when given.

    Raises:
        TypeError: dtypes are not equal float32 or float64.
        ValueError: an argument is not a matrix, inner sizes differ, or out has another shape.
        MemoryError: no memory for packed blocks.
    """
    if (  # the shortest way for plain arrays: on small products the checks are most of the time
        type(a) is _ndarray
        and type(b) is _ndarray
        and a.dtype is _FLOAT32
        and b.dtype is _FLOAT32
        and a.flags.carray
        and b.flags.carray
    ):
        kernels = _native.F32
    else:
        kernels = _kernels_of("matmul", "a", a)
        _check.array("matmul", "b", b, kernels.dtype)
    try:
        (k, m) = a.shape if transpose_a else a.shape[::-1]
        (n, terms) = b.shape if transpose_b else b.shape[::-1]
    except ValueError:
        message = f"matmul: expected two matrices, got shapes {a.shape} and {b.shape}"
        raise ValueError(message) from None
    if k != terms:
        raise ValueError(
            f"matmul: inner sizes differ: op(a) is ({m}, {k}), op(b) is ({terms}, {n}); "
            "check transpose_a and transpose_b"
        )
    if out is None:
        out = _empty((m, n), kernels.dtype)
    elif not (
        type(out) is _ndarray
        and out.dtype is kernels.dtype
        and out.flags.carray
        and out.shape == (m, n)
    ):
        _check.output("matmul", out, (m, n), kernels.dtype)
    a_row, a_col = (1, m) if transpose_a else (k, 1)
    b_row, b_col = (1, k) if transpose_b else (n, 1)
    kind = kernels.array
    status = kernels.gemm(
        m, n, k, _from_buffer(kind, a), a_row, a_col, _from_buffer(kind, b), b_row, b_col,
        _from_buffer(kind, out), n, _NULL, _NULL, 0, 0, _State.threads,
    )  # fmt: skip
    if status:
        _failed("matmul", status, "out overlaps a or b; pass another array")
    return out


def linear(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Affine map of rows, and an activation in the same pass: act(x W + b).

    Args:
        x: (N, in_features), float32 or float64; N may be 0.
        weight: (in_features, out_features), the dtype of x.
        bias: (out_features,), or None.
        activation: None, "relu", "sigmoid" or "tanh".
        out: array (N, out_features) for the result; must not overlap the others.

    Returns:
        (N, out_features): `out` when given.

    Raises:
        TypeError: dtypes are not equal float32 or float64.
        ValueError: shapes do not fit, or the activation is unknown.
    """
    kernels = _kernels_of("linear", "weight", weight)
    dtype = kernels.dtype
    if weight.ndim != 2:
        raise ValueError(
            f"linear: weight: expected (in_features, out_features), got shape {weight.shape}"
        )
    inputs, outputs = weight.shape
    _check.matrix("linear", "x", x, dtype, inputs, "features")
    if bias is not None:
        _check.array("linear", "bias", bias, dtype)
        if bias.shape != (outputs,):
            raise ValueError(f"linear: bias: expected shape ({outputs},), got {bias.shape}")
    rows = x.shape[0]
    if out is None:
        out = _empty((rows, outputs), dtype)
    else:
        _check.output("linear", out, (rows, outputs), dtype)
    kind = kernels.array
    status = kernels.Linear_updateOutput(
        rows, inputs, outputs, _from_buffer(kind, x), _from_buffer(kind, out),
        _from_buffer(kind, weight), _NULL if bias is None else _from_buffer(kind, bias),
        _activation("linear", activation), _State.threads,
    )  # fmt: skip
    if status:
        _failed("linear", status, "out overlaps x, weight or bias; pass another array")
    return out


def _prepared(name: str, x: np.ndarray, out: np.ndarray | None) -> tuple[Any, np.ndarray, Any, Any]:
    """The kernels for x, the output, and pointers to both, for functions that keep the shape."""
    kernels = _kernels_of(name, "x", x)
    if out is None:
        out = _empty(x.shape, kernels.dtype)
    else:
        _check.output(name, out, x.shape, kernels.dtype)
    return kernels, out, _from_buffer(kernels.array, x), _from_buffer(kernels.array, out)


def _pointwise(name: str, kernel: str, x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    kernels, out, source, to = _prepared(name, x, out)
    status = getattr(kernels, kernel)(x.size, source, to, _State.threads)
    if status:
        _failed(name, status, _IN_PART)
    return out


def exp(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """e^x of each element; `out` may be x. Error bound: csrc/vec/math.h."""
    return _pointwise("exp", "Exp_updateOutput", x, out)


def expm1(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """e^x - 1 of each element, exact near 0; `out` may be x. Error bound: csrc/vec/math.h."""
    return _pointwise("expm1", "Expm1_updateOutput", x, out)


def log(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Natural logarithm of each element; `out` may be x. Error bound: csrc/vec/math.h."""
    return _pointwise("log", "Log_updateOutput", x, out)


def log1p(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """log(1 + x) of each element, exact near 0; `out` may be x. Error bound: csrc/vec/math.h."""
    return _pointwise("log1p", "Log1p_updateOutput", x, out)


def erf(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The error function of each element; `out` may be x. Error bound: csrc/vec/math.h."""
    return _pointwise("erf", "Erf_updateOutput", x, out)


def sigmoid(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """1 / (1 + e^-x) of each element, without overflow; `out` may be x."""
    return _pointwise("sigmoid", "Sigmoid_updateOutput", x, out)


def tanh(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Hyperbolic tangent of each element; `out` may be x."""
    return _pointwise("tanh", "Tanh_updateOutput", x, out)


def threshold(
    x: np.ndarray, threshold: float, value: float, out: np.ndarray | None = None
) -> np.ndarray:
    """x where x > threshold, else value; NaN stays NaN; `out` may be x."""
    kernels, out, source, to = _prepared("threshold", x, out)
    status = kernels.Threshold_updateOutput(x.size, source, to, threshold, value, _State.threads)
    if status:
        _failed("threshold", status, _IN_PART)
    return out


def relu(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """max(x, 0) of each element; NaN stays NaN; `out` may be x."""
    kernels, out, source, to = _prepared("relu", x, out)
    status = kernels.Threshold_updateOutput(x.size, source, to, 0.0, 0.0, _State.threads)
    if status:
        _failed("relu", status, _IN_PART)
    return out


def _rowwise(name: str, kernel: str, x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    kernels, out, source, to = _prepared(name, x, out)
    if x.ndim == 0:
        raise ValueError(f"{name}: x: expected at least one dimension, got a scalar")
    classes = x.shape[-1]
    rows = x.size // classes if classes else 0
    status = getattr(kernels, kernel)(rows, classes, source, to, _State.threads)
    if status:
        _failed(name, status, _IN_PART)
    return out


def softmax(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """e^x_k / sum_j e^x_j along the last axis, stable for logits of any finite size.

    A row of -inf alone, or with +inf or NaN, gives NaN. `out` may be x.
    """
    return _rowwise("softmax", "SoftMax_updateOutput", x, out)


def log_softmax(x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """x_k - log sum_j e^x_j along the last axis, stable for logits of any finite size.

    A row of -inf alone, or with +inf or NaN, gives NaN. `out` may be x.
    """
    return _rowwise("log_softmax", "LogSoftMax_updateOutput", x, out)


def _rows(operation: str, name: str, x: Any) -> np.dtype:
    dtype = _check.floats(operation, name, x)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"{operation}: {name}: expected (rows, classes), got shape {x.shape}")
    return dtype


def _loss_status(operation: str, status: int, target: np.ndarray, classes: int, bad: Any) -> None:
    if status == _native.EINDEX:
        row = bad[0]
        raise IndexError(
            f"{operation}: target: row {row} holds {target[row]}, expected a class in "
            f"0..{classes - 1}; the output has {classes} columns"
        )
    if status:
        _failed(operation, status, "grad overlaps logits or target; pass another array")


def _mean_of_something(operation: str, count: int, reduction: str) -> None:
    if count == 0 and reduction == "mean":
        raise ValueError(
            f"{operation}: the mean loss of 0 rows does not exist; pass at least one row"
        )


def softmax_ce(
    logits: np.ndarray,
    target: np.ndarray,
    reduction: str = "mean",
    grad: np.ndarray | None = None,
) -> float:
    """Cross-entropy of softmax(logits) against the target, in nats, from logits in one kernel.

    l_i = log sum_j e^x_ij - x_i,t_i for class indices t; l_i = sum_k T_ik (log sum_j e^x_ij - x_ik)
    for probabilities T. Gradient: (softmax(x) sum_k T_k - T) / N for the mean.

    Args:
        logits: (N, K), float32 or float64, any finite size.
        target: (N,) class indices as int64, or (N, K) probabilities in the dtype of logits.
        reduction: "mean" over the N rows, or "sum".
        grad: array (N, K) that receives the gradient of the loss by the logits, in the same pass.

    Returns:
        The loss.

    Raises:
        TypeError: wrong dtypes; class indices must be integers.
        ValueError: shapes do not fit, or the mean of 0 rows.
        IndexError: a class index outside 0..K-1; names the first bad row. grad is unchanged.
    """
    operation = "softmax_ce"
    dtype = _rows(operation, "logits", logits)
    rows, classes = logits.shape
    indices, probabilities = _NULL, _NULL
    if isinstance(target, np.ndarray) and target.ndim == 2:
        _check.same_shape(operation, "target", target, logits, "logits")
        probabilities = _pointer(target)
    else:
        _check.class_targets(operation, target, rows)
        indices = _pointer(target)
    if grad is not None:
        _check.output(operation, grad, logits.shape, dtype)
    code = _reduction(operation, reduction)
    _mean_of_something(operation, rows, reduction)
    loss, bad = _cells(dtype)
    status = _KERNELS[dtype].CrossEntropyCriterion_updateOutput(
        rows, classes, _pointer(logits), indices, probabilities, loss,
        _NULL if grad is None else _pointer(grad), bad, code, _State.threads,
    )  # fmt: skip
    if status:
        _loss_status(operation, status, target, classes, bad)
    return loss[0]


_reduction = reduction


def _cells(dtype: np.dtype) -> tuple[Any, Any]:
    """One new number of the dtype and one int64, for C to write."""
    return _native.cell("float" if dtype.itemsize == 4 else "double"), _native.cell("int64_t")


def nll_loss(log_probabilities: np.ndarray, target: np.ndarray, reduction: str = "mean") -> float:
    """Negative log likelihood -x_i,t_i of class indices t, mean or sum over rows, in nats.

    Args:
        log_probabilities: (N, K), as from log_softmax; float32 or float64.
        target: (N,) class indices as int64.
        reduction: "mean" or "sum".

    Raises:
        TypeError, ValueError, IndexError: as softmax_ce.
    """
    operation = "nll_loss"
    dtype = _rows(operation, "log_probabilities", log_probabilities)
    rows, classes = log_probabilities.shape
    _check.class_targets(operation, target, rows)
    code = _reduction(operation, reduction)
    _mean_of_something(operation, rows, reduction)
    loss, bad = _cells(dtype)
    status = _KERNELS[dtype].ClassNLLCriterion_updateOutput(
        rows, classes, _pointer(log_probabilities), _pointer(target), loss, bad, code
    )
    if status:
        _loss_status(operation, status, target, classes, bad)
    return loss[0]


def mse_loss(x: np.ndarray, target: np.ndarray, reduction: str = "mean") -> float:
    """(x - target)^2, mean or sum over all elements.

    Args:
        x: any shape, float32 or float64.
        target: the shape and dtype of x.
        reduction: "mean" or "sum".

    Raises:
        TypeError, ValueError: dtypes or shapes do not fit, or the mean of nothing.
    """
    operation = "mse_loss"
    dtype = _check.floats(operation, "x", x)
    _check.same_shape(operation, "target", target, x, "x")
    code = _reduction(operation, reduction)
    _mean_of_something(operation, x.size, reduction)
    loss, _ = _cells(dtype)
    status = _KERNELS[dtype].MSECriterion_updateOutput(
        x.size, _pointer(x), _pointer(target), loss, code, _State.threads
    )
    if status:
        _native.fail(operation, status)
    return loss[0]
