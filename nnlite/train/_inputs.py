"""The entrance of training data: what users have becomes what the kernels take, or an exception."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._core import check
from ..data.sparse import SparseRows, is_sparse
from ..nn.losses import Loss
from ..nn.module import Module, converted, rows_of
from ..program.rows import Rows, ignored
from ._losses import is_open, takes_weights


class Inputs:
    """Checks and converts rows for one model, loss and dtype."""

    def __init__(self, model: Module, loss: Loss, dtype: np.dtype) -> None:
        self.model, self.loss, self.dtype = model, loss, dtype

    def rows(self, operation: str, X: Any, y: Any, weight: Any = None) -> Rows:
        """(X, y) and weights as arrays, of equal length; X that is right is not copied.

        Raises:
            TypeError, ValueError, IndexError: what does not fit, with the cure.
        """
        x = self._features(operation, X)
        y = self.targets(operation, y, x)
        return Rows(x, y, None if weight is None else self.weights(operation, weight, len(x)))

    def _features(self, operation: str, X: Any) -> Any:
        if is_sparse(X):
            return SparseRows(operation, X, self.dtype)
        if isinstance(X, SparseRows) and X.dtype == self.dtype:
            return X
        found = rows_of(operation, "X", X)
        if found.dtype == self.dtype and found.flags.c_contiguous and found.dtype.isnative:
            return found  # also a memory map or read-only: only its rows are copied
        return converted(found, self.dtype)

    def takes_classes(self, y: np.ndarray, x: np.ndarray) -> bool:
        """True when these targets are class indices, False when they are rows of numbers. A loss
        that does not say has classes where integers meet several outputs."""
        if is_open(self.loss):
            return y.ndim == 1 and y.dtype.kind in "iub" and len(x) > 0 and self.outputs(x) != (1,)
        probabilities = self.loss.takes_probabilities and y.ndim == 2 and y.dtype.kind == "f"
        return self.loss.classifies and not probabilities

    def outputs(self, x: np.ndarray) -> tuple[int, ...]:
        """The shape of an output row."""
        return self.example(x).shape[1:]

    def targets(self, operation: str, y: Any, x: np.ndarray) -> np.ndarray:
        """Targets as int64 class indices, or as numbers in the model's dtype; one number for each
        row becomes a column."""
        check.unmasked(operation, "y", y)
        found, rows = np.asarray(y), len(x)
        if found.dtype.kind not in "fiub":
            raise TypeError(
                f"{operation}: y: expected numbers, got an array of {found.dtype}; encode classes "
                "as integers, for example with np.unique(y, return_inverse=True)[1]"
            )
        if found.ndim == 0 or len(found) != rows:
            raise ValueError(
                f"{operation}: y has {len(found) if found.ndim else 'no'} rows, X has {rows}; "
                "pass one target for each row"
            )
        if self.takes_classes(found, x):
            return self._classes(operation, found)
        return self.columns(operation, converted(found, self.dtype), x)

    def columns(self, operation: str, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Numbers as rows: one for each row as a column, for a model of one output."""
        if y.ndim != 1 or not len(x):
            return y
        outputs = self.outputs(x)
        if outputs == (1,):
            return y.reshape(-1, 1)
        if outputs:
            count = outputs[0] if len(outputs) == 1 else outputs
            raise ValueError(
                f"{operation}: y: expected rows of shape {outputs} like the model's output, got "
                f"one number for each row, shape {y.shape}: the model has {count} outputs; pass "
                f"y of shape {(len(y), *outputs)}, or take a model with one output"
            )
        return y

    def _classes(self, operation: str, found: np.ndarray) -> np.ndarray:
        if found.dtype.kind == "f":
            bad = found[~np.isfinite(found)]
            also = f", and it holds {bad.flat[0]}" if bad.size else ""
            raise TypeError(
                f"{operation}: y: expected class indices as integers, got {found.dtype}{also}; "
                "check the values and convert with y.astype(np.int64)"
            )
        if found.ndim != 1:
            column = found.size == len(found)
            raise ValueError(
                f"{operation}: y: expected shape ({len(found)},), one class for each row, got "
                f"{found.shape}; "
                + ("use y.ravel()" if column else "for one-hot rows use y.argmax(axis=1)")
            )
        if found.dtype.kind == "u" and found.size and found.max() > np.iinfo(np.int64).max:
            raise IndexError(
                f"{operation}: y: row {int(found.argmax())} holds {found.max()}, not a class"
            )
        return converted(found, check.INT64)

    def weights(self, operation: str, weight: Any, rows: int) -> np.ndarray:
        """A finite weight of at least 0 for each row, in the model's dtype."""
        self.require_weighing(operation, "sample_weight")
        check.unmasked(operation, "sample_weight", weight)
        found = np.asarray(weight)
        if found.dtype.kind not in "fiub":
            raise TypeError(
                f"{operation}: sample_weight: expected numbers, got an array of {found.dtype}"
            )
        if found.shape != (rows,):
            raise ValueError(
                f"{operation}: sample_weight: expected shape ({rows},), one weight for each row, "
                f"got {found.shape}"
            )
        bad = np.flatnonzero(~np.isfinite(found) | (found < 0))
        if bad.size:
            raise ValueError(
                f"{operation}: sample_weight: row {bad[0]} holds {found[bad[0]]}; expected finite "
                "weights of at least 0"
            )
        return converted(found, self.dtype)

    def require_weighing(self, operation: str, name: str) -> None:
        """Requires a loss that can be given weights of the rows."""
        if not takes_weights(self.loss):
            raise TypeError(
                f"{operation}: {name}: the loss {self.loss!r} takes no weights of rows; give its "
                "forward, or the function, a third argument sample_weight"
            )

    def check_fits(self, operation: str, rows: Rows) -> None:
        """Runs one row, so that what does not fit is refused before the first step."""
        self.check_targets(operation, rows.y, self.example(rows.x))

    def example(self, x: np.ndarray) -> np.ndarray:
        """The model's output for the first row."""
        return self.model._call(converted(x[:1], self.dtype), False)

    def check_targets(
        self, operation: str, y: np.ndarray, output: np.ndarray, first: int = 0
    ) -> None:
        """Requires targets that fit an output; `first` is the number of y's first row."""
        if y.dtype != check.INT64:
            if y.shape[1:] != output.shape[1:] and not (is_open(self.loss) and y.ndim > 1):
                fix = ""
                if self.loss.classifies and y.size == len(y):
                    fix = "; for class indices use y.ravel().astype(np.int64)"
                raise ValueError(
                    f"{operation}: y: expected rows of shape {output.shape[1:]} like the model's "
                    f"output, got {y.shape[1:]}{fix}"
                )
            return
        classes = output.shape[-1]
        if y.size and y.min() >= 0 and y.max() < classes:  # without arrays as long as y
            return
        wrong = np.flatnonzero(((y < 0) | (y >= classes)) & (y != ignored(self.loss)))
        if wrong.size:
            raise IndexError(
                f"{operation}: y: row {first + wrong[0]} holds {y[wrong[0]]}, expected a class in "
                f"0..{classes - 1}; the model has {classes} outputs"
            )


def class_weights(
    weight: Any, targets: Iterable[tuple[int, np.ndarray]], classes: int
) -> np.ndarray:
    """The weight of each class.

    Args:
        weight: "balanced": rows / (classes found * rows of that class), as scikit-learn's; a dict
            class -> weight, 1 for the others; or one weight for each class.
        targets: all targets in parts, for "balanced".

    Raises:
        TypeError, ValueError: it is nothing of the kind, or a weight is negative or not finite.
    """
    if isinstance(weight, str):
        if weight != "balanced":
            raise ValueError(f"fit: class_weight: expected 'balanced' or weights, got {weight!r}")
        counts = np.zeros(classes, np.int64)
        for _, y in targets:
            counts += np.bincount(y[(y >= 0) & (y < classes)], minlength=classes)
        return counts.sum() / (max(np.count_nonzero(counts), 1) * np.maximum(counts, 1))
    if isinstance(weight, dict):
        given = {check.size("fit", "class_weight key", key, 0): v for key, v in weight.items()}
        if given and max(given) >= classes:
            raise ValueError(
                f"fit: class_weight: {max(given)} is no class; expected 0..{classes - 1}"
            )
        found = [given.get(key, 1.0) for key in range(classes)]
    elif np.ndim(weight) == 0:
        raise TypeError(
            "fit: class_weight: expected 'balanced', a dict or one weight for each of "
            f"{classes} classes, got {check.describe(weight)}"
        )
    else:
        found = list(weight)
        if len(found) != classes:
            raise ValueError(
                f"fit: class_weight: expected one weight for each of {classes} classes, got "
                f"{len(found)}"
            )
    return np.array([check.number("fit", f"class_weight[{k}]", v, 0) for k, v in enumerate(found)])
