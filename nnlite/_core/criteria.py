"""Checked calls of the loss kernels: each returns the loss and the total weight of its rows."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from . import check, native
from .config import _State

IGNORE_INDEX = -100  # PyTorch's default: a class index that no row has by accident

_REDUCTIONS = {"mean": native.MEAN, "sum": native.SUM}
_pointer = native.pointer
_NULL = native.NULL


def reduction(operation: str, name: Any) -> int:
    """The kernel's code for "mean" or "sum"."""
    if not isinstance(name, str) or name not in _REDUCTIONS:
        raise ValueError(f"{operation}: reduction: expected 'mean' or 'sum', got {name!r}")
    return _REDUCTIONS[name]


def class_index(operation: str, value: Any) -> int:
    """`ignore_index` as an integer of 64 bits."""
    index = check.integer(operation, "ignore_index", value)
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"{operation}: ignore_index: expected a 64-bit integer, got {value}")
    return index


def _kernels_of_rows(operation: str, name: str, x: Any) -> Any:
    dtype = check.floats(operation, name, x)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"{operation}: {name}: expected (rows, classes), got shape {x.shape}")
    return native.F32 if dtype.itemsize == 4 else native.F64


def _weights(operation: str, name: str, value: Any, kernels: Any, count: int, what: str) -> Any:
    """A pointer to weights of that count, or NULL."""
    if value is None:
        return _NULL
    check.array(operation, name, value, kernels.dtype)
    if value.shape != (count,):
        raise ValueError(
            f"{operation}: {name}: expected shape ({count},), one weight for each {what}, "
            f"got {value.shape}"
        )
    return _pointer(value)


def _some_rows(operation: str, count: int, code: int) -> None:
    if count == 0 and code == native.MEAN:
        raise ValueError(
            f"{operation}: the mean loss of 0 rows does not exist; pass at least one row"
        )


def _fail(
    operation: str,
    status: int,
    weight: Any = None,
    sample_weight: Any = None,
    target: Any = None,
    classes: int = 0,
    bad: Any = None,
) -> NoReturn:
    """Raises for a status, naming the row or class that is wrong."""
    if status == native.EINDEX:
        row = bad[0]
        raise IndexError(
            f"{operation}: target: row {row} holds {target[row]}, expected a class in "
            f"0..{classes - 1}; the output has {classes} columns"
        )
    if status == native.EWEIGHT:
        for name, values in (("weight", weight), ("sample_weight", sample_weight)):
            if values is None:
                continue
            wrong = np.flatnonzero(~(values >= 0) | ~(values < math.inf))
            if wrong.size:
                where = f"{'class' if name == 'weight' else 'row'} {wrong[0]}"
                raise ValueError(
                    f"{operation}: {name}: {where} has {values[wrong[0]]}, expected a finite "
                    "number >= 0; to leave rows out, give them weight 0"
                )
    overlap = "grad overlaps logits or target; pass another array"
    native.fail(operation, status, overlap if status == native.EOVERLAP else "")


def softmax_ce(
    operation: str,
    logits: np.ndarray,
    target: np.ndarray,
    code: int,
    grad: np.ndarray | None,
    weight: np.ndarray | None,
    smoothing: float,
    ignore_index: int,
    sample_weight: np.ndarray | None,
) -> tuple[float, float]:
    """See functional.softmax_ce."""
    kernels = _kernels_of_rows(operation, "logits", logits)
    rows, classes = logits.shape
    indices, probabilities = _NULL, _NULL
    if isinstance(target, np.ndarray) and target.ndim == 2:
        if target.shape == (rows, 1) and target.dtype.kind in "iu" and classes > 1:
            raise TypeError(
                f"{operation}: target: expected {logits.dtype}, got {target.dtype} of shape "
                f"({rows}, 1); for class indices, shape ({rows},), use target.ravel()"
            )
        check.same_shape(operation, "target", target, logits, "logits")
        probabilities = _pointer(target)
    else:
        check.class_targets(operation, target, rows)
        indices = _pointer(target)
    if grad is not None:
        check.output(operation, grad, logits.shape, kernels.dtype)
    if smoothing:
        smoothing = check.number(operation, "label_smoothing", smoothing, 0, 1)
    if ignore_index != IGNORE_INDEX:
        ignore_index = class_index(operation, ignore_index)
    _some_rows(operation, rows, code)
    loss, bad = native.numbers(kernels, 2), native.cell("int64_t")
    status = kernels.CrossEntropyCriterion_updateOutput(
        rows, classes, _pointer(logits), indices, probabilities, loss,
        _NULL if grad is None else _pointer(grad),
        _weights(operation, "weight", weight, kernels, classes, "class"),
        _weights(operation, "sample_weight", sample_weight, kernels, rows, "row"),
        bad, smoothing, ignore_index, code, _State.threads,
    )  # fmt: skip
    if status:
        _fail(operation, status, weight, sample_weight, target, classes, bad)
    return loss[0], loss[1]


def nll(
    operation: str,
    x: np.ndarray,
    target: np.ndarray,
    code: int,
    weight: np.ndarray | None,
    ignore_index: int,
    sample_weight: np.ndarray | None,
) -> tuple[float, float]:
    """See functional.nll_loss."""
    kernels = _kernels_of_rows(operation, "log_probabilities", x)
    rows, classes = x.shape
    check.class_targets(operation, target, rows)
    ignore_index = class_index(operation, ignore_index)
    _some_rows(operation, rows, code)
    loss, bad = native.numbers(kernels, 2), native.cell("int64_t")
    status = kernels.ClassNLLCriterion_updateOutput(
        rows, classes, _pointer(x), _pointer(target), loss,
        _weights(operation, "weight", weight, kernels, classes, "class"),
        _weights(operation, "sample_weight", sample_weight, kernels, rows, "row"),
        bad, ignore_index, code,
    )  # fmt: skip
    if status:
        _fail(operation, status, weight, sample_weight, target, classes, bad)
    return loss[0], loss[1]


def rows_and_columns(x: np.ndarray) -> tuple[int, int]:
    """The sizes of x as rows of a matrix: a number is one row of one, a vector rows of one."""
    rows = len(x) if x.ndim else 1
    return rows, x.size // rows if rows else 0


def mse(
    operation: str, x: np.ndarray, target: np.ndarray, code: int, sample_weight: np.ndarray | None
) -> tuple[float, float]:
    """See functional.mse_loss."""
    dtype = check.floats(operation, "x", x)
    kernels = native.F32 if dtype.itemsize == 4 else native.F64
    check.same_shape(operation, "target", target, x, "x")
    _some_rows(operation, x.size, code)
    rows, columns = rows_and_columns(x)
    loss = native.numbers(kernels, 2)
    status = kernels.MSECriterion_updateOutput(
        rows, columns, _pointer(x), _pointer(target), loss,
        _weights(operation, "sample_weight", sample_weight, kernels, rows, "row"),
        code, _State.threads,
    )  # fmt: skip
    if status:
        _fail(operation, status, None, sample_weight)
    return loss[0], loss[1]


def count_correct(operation: str, output: np.ndarray, target: np.ndarray, ignore_index: int) -> int:
    """See functional.count_correct."""
    kernels = _kernels_of_rows(operation, "output", output)
    rows, classes = output.shape
    check.class_targets(operation, target, rows)
    correct = native.cell("int64_t")
    status = kernels.count_correct(
        rows, classes, _pointer(output), _pointer(target), class_index(operation, ignore_index),
        correct,
    )  # fmt: skip
    if status:
        native.fail(operation, status)
    return correct[0]
