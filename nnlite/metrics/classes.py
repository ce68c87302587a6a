"""Metrics of class targets: accuracy, top-k, confusion matrix."""

from __future__ import annotations

import math

import numpy as np

from .. import functional
from .._core import check
from .._core.criteria import IGNORE_INDEX
from .base import Metric, ratio


class ClassMetric(Metric):
    """A metric of class targets; rows whose target is ignore_index do not count."""

    def __init__(self, ignore_index: int = IGNORE_INDEX) -> None:
        self.ignore_index = ignore_index
        self.reset()

    def _add(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        if target.ndim == 2 and target.shape == output.shape and target.shape[1] > 1:
            target = target.argmax(axis=1)  # probabilities: the likeliest class
        classes = _indices(self.name, "target", target)
        if output.ndim == 2 and output.shape[1] > 0:
            scores = output if output.dtype in check.FLOATS else output.astype(np.float64)
            scores = np.array(scores, scores.dtype.newbyteorder("="), order="C", copy=None)
        elif output.ndim == 1:
            scores = _indices(self.name, "output", output)
        else:
            raise ValueError(
                f"{self.name}: output: expected scores of shape (rows, classes), or (rows,) "
                f"predicted classes, got {output.shape}"
            )
        kept = classes != self.ignore_index
        limit = scores.shape[1] if scores.ndim == 2 else math.inf
        wrong = np.flatnonzero(kept & ((classes < 0) | (classes >= limit)))
        if wrong.size:
            raise IndexError(
                f"{self.name}: target: row {wrong[0]} holds {classes[wrong[0]]}, expected a class "
                f"in 0..{limit - 1}"
            )
        if not kept.all():
            scores, classes = scores[kept], classes[kept]
            weight = None if weight is None else weight[kept]
        self._count(scores, classes, weight)

    def _count(self, scores: np.ndarray, classes: np.ndarray, weight: np.ndarray | None) -> None:
        raise NotImplementedError


def _indices(operation: str, name: str, values: np.ndarray) -> np.ndarray:
    """(rows,) class indices as int64; a column of them counts as such too."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"{operation}: {name}: expected shape (rows,), one class for each row, "
            f"got {values.shape}"
        )
    if values.dtype.kind not in "iub":
        raise TypeError(
            f"{operation}: {name}: expected class indices as integers, got {values.dtype}; "
            f"convert with {name}.astype(np.int64)"
        )
    return values.astype(np.int64)


class _Share(ClassMetric):
    """The share of the rows, by weight, for which `_right` is true."""

    larger_is_better = True

    def reset(self) -> None:
        self._correct: float = 0
        self._total: float = 0

    def _count(self, scores: np.ndarray, classes: np.ndarray, weight: np.ndarray | None) -> None:
        if weight is None:
            self._correct += self._number_right(scores, classes)
            self._total += len(classes)
        else:
            self._correct += float(weight[self._right(scores, classes)].sum())
            self._total += float(weight.sum())

    def _number_right(self, scores: np.ndarray, classes: np.ndarray) -> int:
        return int(np.count_nonzero(self._right(scores, classes)))

    def _right(self, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def value(self) -> float:
        """The share, in [0, 1]."""
        return ratio(self._correct, self._total)


class Accuracy(_Share):
    """The share of rows whose first maximum is the target class; a row with NaN is wrong.

    Args:
        ignore_index: rows with this target do not count.
    """

    name = "accuracy"

    def _number_right(self, scores: np.ndarray, classes: np.ndarray) -> int:
        if scores.ndim == 1:
            return super()._number_right(scores, classes)
        return functional.count_correct(scores, classes, self.ignore_index)

    def _right(self, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
        return _rank(scores, classes) < 1 if scores.ndim == 2 else scores == classes


def _rank(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How many classes stand before the target: greater ones, and equal ones with a lower index."""
    own = scores[np.arange(len(scores)), classes][:, None]
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < classes[:, None]))
    rank = before.sum(axis=1)
    rank[np.isnan(scores).any(axis=1)] = scores.shape[1]  # wrong for every k
    return rank


class TopK(_Share):
    """The share of rows whose target is among the k classes of the greatest scores.

    Args:
        k: at least 1; 1 is the accuracy. A k beyond the number of classes is that number.
        ignore_index: rows with this target do not count.
    """

    def __init__(self, k: int = 5, ignore_index: int = IGNORE_INDEX) -> None:
        self.k = check.size("TopK", "k", k)
        self.name = f"top_{self.k}"
        super().__init__(ignore_index)

    def _right(self, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
        if scores.ndim != 2:
            raise ValueError(
                f"{self.name}: output: expected scores of shape (rows, classes), got {scores.shape}"
            )
        return _rank(scores, classes) < min(self.k, scores.shape[1])


class ConfusionMatrix(ClassMetric):
    """How many rows of each true class (row of the matrix) were predicted as which (column).

    int64, or float64 when rows have weights. A row of scores with NaN predicts nothing and is left
    out.

    Args:
        classes: their number; None: the number of scores, or the greatest class seen plus 1.
        ignore_index: rows with this target do not count.
    """

    name = "confusion_matrix"
    larger_is_better = True  # when it is followed by its trace; it is no number itself

    def __init__(self, classes: int | None = None, ignore_index: int = IGNORE_INDEX) -> None:
        self.classes = (
            None if classes is None else check.size("ConfusionMatrix", "classes", classes)
        )
        super().__init__(ignore_index)

    def reset(self) -> None:
        size = self.classes or 0
        self._matrix: np.ndarray = np.zeros((size, size), np.int64)

    def _count(self, scores: np.ndarray, classes: np.ndarray, weight: np.ndarray | None) -> None:
        predicted = scores
        if scores.ndim == 2:
            sound = ~np.isnan(scores).any(axis=1)
            predicted, classes = scores[sound].argmax(axis=1), classes[sound]
            weight = None if weight is None else weight[sound]
        if predicted.size and predicted.min() < 0:
            raise IndexError(f"{self.name}: output: holds {predicted.min()}, which is no class")
        size = scores.shape[1] if scores.ndim == 2 else 0
        size = max(size, *(int(v.max(initial=-1)) + 1 for v in (predicted, classes)))
        if self.classes is not None and size > self.classes:
            raise IndexError(
                f"{self.name}: classes up to {size - 1} were given, expected 0..{self.classes - 1}"
            )
        size = max(size, len(self._matrix))
        matrix = np.zeros((size, size), np.int64 if weight is None else np.float64)
        np.add.at(matrix, (classes, predicted), 1 if weight is None else weight)
        old = len(self._matrix)
        matrix = matrix.astype(np.result_type(matrix, self._matrix))
        matrix[:old, :old] += self._matrix
        self._matrix = matrix

    def value(self) -> np.ndarray:
        """(classes, classes): a copy."""
        return self._matrix.copy()
