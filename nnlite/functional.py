"""Stateless functions on arrays: one checked call of a C kernel each.

Arrays are C-contiguous float32 or float64; results are new arrays unless `out` is given. What the
kernels refuse is listed in `nnlite/_core/check.py`; nothing is written when an exception is raised,
but where Ctrl-C ends a long call: `out` then holds anything.
Called with a Tensor or Parameter, a function gives a Tensor and records the call (nnlite.autograd).
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from ._core import check, criteria, native
from ._core.config import _State
from ._core.criteria import IGNORE_INDEX

_empty = np.empty
_ndarray = np.ndarray
_from_buffer = native.from_buffer
_FLOAT32, _FLOAT64 = check.FLOAT32, check.FLOAT64
_NULL = native.NULL
_GRADIENT = native.GRADIENT

ACTIVATIONS = {
    None: native.IDENTITY,
    "relu": native.RELU,
    "sigmoid": native.SIGMOID,
    "tanh": native.TANH,
}


def _traced(*values: Any) -> bool:
    """Whether a value is a Tensor or Parameter, which the functions of nnlite.autograd take."""
    return any(hasattr(type(value), "__tensor__") for value in values)


def _recorded(name: str, out: Any) -> Any:
    """The same function of nnlite.autograd; what is recorded cannot be written into an array."""
    if out is not None:
        raise TypeError(f"{name}: out: expected None with a Tensor, got {check.describe(out)}")
    return getattr(import_module("nnlite.autograd"), name)


_IN_PART = "out overlaps x in part; pass another array, or x itself"


def _kernels_of(operation: str, name: str, value: Any) -> Any:
    """The kernels for the dtype of an array; refuses what is no plain float array."""
    return native.F32 if check.floats(operation, name, value).itemsize == 4 else native.F64


def _failed(operation: str, status: int, overlap: str) -> NoReturn:
    """Raises for a status; `overlap` says which arguments may not share memory."""
    native.fail(operation, status, overlap if status == native.EOVERLAP else "")


def _activation(operation: str, name: Any) -> int:
    try:
        return ACTIVATIONS[name]
    except (KeyError, TypeError):
        known = ", ".join(repr(key) for key in ACTIVATIONS)
        raise ValueError(
            f"{operation}: activation: expected one of {known}, got {name!r}"
        ) from None


def matmul(
    a: np.ndarray,
    b: np.ndarray,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: np.ndarray | None = None,
    gradient: bool = False,
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
        gradient: the product is a gradient, whose values below the normal range become 0.

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
        and (dtype := a.dtype) is b.dtype
        and (dtype is _FLOAT32 or dtype is _FLOAT64)
        and a.flags.carray
        and b.flags.carray
    ):
        kernels = native.F32 if dtype is _FLOAT32 else native.F64
    else:
        if _traced(a, b):
            call = _recorded("matmul", out)
            return call(a.T if transpose_a else a, b.T if transpose_b else b)
        kernels = _kernels_of("matmul", "a", a)
        check.array("matmul", "b", b, kernels.dtype)
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
        check.output("matmul", out, (m, n), kernels.dtype)
    a_row, a_col = (1, m) if transpose_a else (k, 1)
    b_row, b_col = (1, k) if transpose_b else (n, 1)
    kind = kernels.array
    status = kernels.gemm(
        m, n, k, _from_buffer(kind, a), a_row, a_col, _from_buffer(kind, b), b_row, b_col,
        _from_buffer(kind, out), n, _NULL, _NULL, _GRADIENT if gradient else 0, 0, _State.threads,
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
    if (type(x) is not _ndarray or type(weight) is not _ndarray) and _traced(x, weight, bias):
        return _recorded("linear", out)(x, weight, bias, activation)
    kernels = _kernels_of("linear", "weight", weight)
    dtype = kernels.dtype
    if weight.ndim != 2:
        raise ValueError(
            f"linear: weight: expected (in_features, out_features), got shape {weight.shape}"
        )
    inputs, outputs = weight.shape
    check.matrix("linear", "x", x, dtype, inputs, "features")
    if bias is not None:
        check.array("linear", "bias", bias, dtype)
        if bias.shape != (outputs,):
            raise ValueError(f"linear: bias: expected shape ({outputs},), got {bias.shape}")
    rows = x.shape[0]
    if out is None:
        out = _empty((rows, outputs), dtype)
    else:
        check.output("linear", out, (rows, outputs), dtype)
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
        check.output(name, out, x.shape, kernels.dtype)
    return kernels, out, _from_buffer(kernels.array, x), _from_buffer(kernels.array, out)


def _pointwise(name: str, kernel: str, x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if type(x) is not _ndarray and _traced(x):
        return _recorded(name, out)(x)
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
    if type(x) is not _ndarray and _traced(x):
        return _recorded("relu", out)(x)
    kernels, out, source, to = _prepared("relu", x, out)
    status = kernels.Threshold_updateOutput(x.size, source, to, 0.0, 0.0, _State.threads)
    if status:
        _failed("relu", status, _IN_PART)
    return out


def leaky_relu(
    x: np.ndarray, negative_slope: float = 0.01, out: np.ndarray | None = None
) -> np.ndarray:
    """x where x > 0, else negative_slope x; NaN stays NaN; `out` may be x.

    Raises:
        TypeError, ValueError: negative_slope is no finite number; x or out do not fit.
    """
    if type(x) is not _ndarray and _traced(x):
        return _recorded("leaky_relu", out)(x, negative_slope)
    slope = check.number("leaky_relu", "negative_slope", negative_slope, -math.inf)
    kernels, out, source, to = _prepared("leaky_relu", x, out)
    status = kernels.LeakyReLU_updateOutput(x.size, source, to, slope, _State.threads)
    if status:
        _failed("leaky_relu", status, _IN_PART)
    return out


def _rowwise(name: str, kernel: str, x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if type(x) is not _ndarray and _traced(x):
        return _recorded(name, out)(x)
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


def softmax_ce(
    logits: np.ndarray,
    target: np.ndarray,
    reduction: str = "mean",
    grad: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Cross-entropy of softmax(logits) against the target, in nats, from logits in one kernel.

    l_i = log sum_j e^x_ij - x_i,t_i for class indices t; l_i = sum_k T_ik (log sum_j e^x_ij - x_ik)
    for probabilities T. Gradient: (softmax(x) sum_k T_k - T) / N for the mean. With weights the
    loss is sum_i s_i w_t l_i, for the mean divided by sum_i s_i w_t; with smoothing e, T becomes
    (1 - e) T + e / K, a class index counting as probability 1.

    Args:
        logits: (N, K), float32 or float64, any finite size.
        target: (N,) class indices as int64, or (N, K) probabilities in the dtype of logits.
        reduction: "mean" over the rows by their weight, or "sum".
        grad: array (N, K) that receives the gradient of the loss by the logits, in the same pass.
        weight: (K,) weights w of the classes in the dtype of logits, finite and >= 0; each class of
            T is multiplied by its own. None: 1 each. With probabilities the mean does not divide by
            these.
        label_smoothing: e in [0, 1].
        ignore_index: rows with this class index count for nothing and have a gradient of 0.
        sample_weight: (N,) weights s of the rows in the dtype of logits, finite and >= 0; a row of
            weight 0 counts for nothing, whatever it holds. None: 1 each.

    Returns:
        The loss; NaN for a mean of which every row is ignored or weighs 0 (its gradient is 0).

    Raises:
        TypeError: wrong dtypes; class indices must be integers.
        ValueError: shapes do not fit, a weight is negative or not finite, or the mean of 0 rows.
        IndexError: a class index outside 0..K-1; names the first bad row. grad is unchanged.

    Source: Szegedy et al., "Rethinking the inception architecture for computer vision" (2016), for
    the smoothing.
    """
    if type(logits) is not _ndarray and _traced(logits):
        call = _recorded("softmax_ce", grad)
        settings = (weight, label_smoothing, ignore_index, sample_weight)
        return call(logits, target, reduction, *settings)
    return criteria.softmax_ce(
        "softmax_ce", logits, target, criteria.reduction("softmax_ce", reduction), grad, weight,
        label_smoothing, ignore_index, sample_weight,
    )[0]  # fmt: skip


def nll_loss(
    log_probabilities: np.ndarray,
    target: np.ndarray,
    reduction: str = "mean",
    weight: np.ndarray | None = None,
    ignore_index: int = IGNORE_INDEX,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Negative log likelihood -x_i,t_i of class indices t, mean or sum over rows, in nats.

    Args:
        log_probabilities: (N, K), as from log_softmax; float32 or float64.
        target: (N,) class indices as int64.
        reduction: "mean" by the weights of the rows, or "sum".
        weight, ignore_index, sample_weight: as in softmax_ce.

    Raises:
        TypeError, ValueError, IndexError: as softmax_ce.
    """
    if type(log_probabilities) is not _ndarray and _traced(log_probabilities):
        settings = (weight, ignore_index, sample_weight)
        return _recorded("nll_loss", None)(log_probabilities, target, reduction, *settings)
    return criteria.nll(
        "nll_loss", log_probabilities, target, criteria.reduction("nll_loss", reduction), weight,
        ignore_index, sample_weight,
    )[0]  # fmt: skip


def mse_loss(
    x: np.ndarray,
    target: np.ndarray,
    reduction: str = "mean",
    sample_weight: np.ndarray | None = None,
) -> float:
    """s_i (x - target)^2, mean or sum over all elements; the mean divides by the sum of weights.

    Args:
        x: any shape, float32 or float64; the first axis counts the samples.
        target: the shape and dtype of x.
        reduction: "mean" or "sum".
        sample_weight: weights s of the samples in the dtype of x, finite and >= 0; a sample of
            weight 0 counts for nothing. None: 1 each.

    Raises:
        TypeError, ValueError: dtypes or shapes do not fit, or the mean of nothing.
    """
    if (type(x) is not _ndarray or type(target) is not _ndarray) and _traced(x, target):
        return _recorded("mse_loss", None)(x, target, reduction, sample_weight)
    code = criteria.reduction("mse_loss", reduction)
    return criteria.mse("mse_loss", x, target, code, sample_weight)[0]


def count_correct(output: np.ndarray, target: np.ndarray, ignore_index: int = IGNORE_INDEX) -> int:
    """The number of rows whose first maximum stands at their target.

    A row with NaN is wrong; a row whose target is ignore_index, or no class, does not count.

    Args:
        output: (N, K), float32 or float64: logits or probabilities.
        target: (N,) class indices as int64.
        ignore_index: see above.

    Raises:
        TypeError, ValueError: dtypes or shapes do not fit.
    """
    return criteria.count_correct("count_correct", output, target, ignore_index)


def dropout(
    x: np.ndarray,
    p: float,
    seed: int,
    stream: int = 0,
    step: int = 0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """x / (1 - p) where an element is kept, with probability 1 - p, else 0; `out` may be x.

    Which elements are kept is a pure function of (seed, stream, step, index of the element), the
    same for every dtype, number of threads and build. Elements are dropped also where they are NaN.

    Args:
        x: any shape, float32 or float64.
        p: probability of dropping an element, in [0, 1], in units of 2^-32.
        seed: 0 <= seed < 2^64.
        stream: 0 <= stream < 2^31, one for each place of a network.
        step: 0 <= step < 2^32, one for each forward pass.
        out: array of the shape and dtype of x for the result.

    Raises:
        TypeError, ValueError: an argument of another kind or outside its range.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to
    prevent neural networks from overfitting", Journal of Machine Learning Research 15 (2014).
    """
    if type(x) is not _ndarray and _traced(x):
        return _recorded("dropout", out)(x, p, seed, stream, step)
    kernels, out, source, to = _prepared("dropout", x, out)
    p = check.number("dropout", "p", p, 0, 1)
    for name, value, bits in (("seed", seed, 64), ("stream", stream, 31), ("step", step, 32)):
        if check.size("dropout", name, value, 0) >= 2**bits:
            raise ValueError(f"dropout: {name}: expected 0 <= {name} < 2**{bits}, got {value}")
    purpose = native.DROPOUT_PURPOSE + stream
    status = kernels.Dropout_updateOutput(
        x.size, source, to, p, seed, purpose, step, _State.threads
    )
    if status:
        _failed("dropout", status, _IN_PART)
    return out
