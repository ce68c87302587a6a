"""What metrics of labels read: one label a row, or a set of labels as an indicator of 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional
from .._core import check
from .._core.criteria import IGNORE_INDEX
from .base import Metric

NONE = np.iinfo(np.int64).min  # the label of a row that predicts nothing: its scores hold NaN


class LabelMetric(Metric):
    """A metric of labels: a target is (rows,) labels, or (rows, labels) of 0 and 1, sets of labels.

    The output belongs to it: (rows, classes) scores or (rows,) labels; (rows,) or (rows, 1) scores
    of the second of two labels; (rows, labels) scores, or sets of 0 and 1.

    Args:
        ignore_index: rows with this label do not count.
        from_logits: whether scores are logits or logarithms of probabilities (True), or
            probabilities (False). None: as the loss of the Trainer says, else probabilities.
    """

    larger_is_better = True

    def __init__(self, ignore_index: int = IGNORE_INDEX, from_logits: bool | None = None) -> None:
        if from_logits not in (None, True, False):
            raise TypeError(
                f"{self.name}: from_logits: expected True, False or None, got {from_logits!r}"
            )
        self.ignore_index, self.from_logits = ignore_index, from_logits
        self._told_logits: bool | None = None
        self._one_hot = False
        self.reset()

    def told(self, logits: bool | None, one_hot: bool) -> None:
        """What the loss of a Trainer says.

        Args:
            logits: whether outputs are logits; None: it does not say.
            one_hot: whether targets of the output's shape are probabilities of classes.
        """
        self._told_logits, self._one_hot = logits, one_hot

    def reset(self) -> None:
        self._width: int | None = None  # of the output: 0 for (rows,)
        self._sets = False
        self._clear()

    def _clear(self) -> None:
        raise NotImplementedError

    @property
    def _logits(self) -> bool:
        return bool(self._told_logits if self.from_logits is None else self.from_logits)

    # Reading.

    def _add(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        if not len(target):
            return
        sets = target.ndim == 2 and target.shape[1] > 1
        if sets and self._one_hot and target.shape == output.shape:
            target, sets = target.argmax(axis=1), False
        if output.ndim == 2 and output.shape[1] == 1:
            output = output[:, 0]
        if target.ndim == 2 and target.shape[1] == 1:
            target = target[:, 0]
        width = output.shape[1] if output.ndim == 2 else 0
        if self._width is not None and (width, sets) != (self._width, self._sets):
            raise ValueError(
                f"{self.name}: output: expected {self._kind(self._width, self._sets)} as before, "
                f"got {self._kind(width, sets)}"
            )
        if sets:
            self._require_sets(output, target)
            self._add_sets(output, target != 0, weight)
        else:
            output, labels, weight = self._labelled(output, target, weight)
            self._add_labels(output, labels, weight)
        self._width, self._sets = width, sets

    @staticmethod
    def _kind(width: int, sets: bool) -> str:
        return f"sets of {width} labels" if sets else f"rows of {width or 'one'} scores"

    def _require_sets(self, output: np.ndarray, target: np.ndarray) -> None:
        if output.shape != target.shape:
            raise ValueError(
                f"{self.name}: output: expected the shape of target, {target.shape}, one score "
                f"for each label, got {output.shape}"
            )
        wrong = np.argwhere((target != 0) & (target != 1))
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"{self.name}: target: row {row} holds {target[row, column]}, expected 0 and 1: a "
                "target of several columns is a set of labels; for classes pass one label a row"
            )

    def _labelled(
        self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The rows that count, with their labels as int64."""
        if output.ndim not in (1, 2) or (output.ndim == 2 and not output.shape[1]):
            raise ValueError(
                f"{self.name}: output: expected scores of shape (rows, classes), or (rows,), "
                f"got {output.shape}"
            )
        labels = whole(self.name, "target", target)
        kept = labels != self.ignore_index
        if not kept.all():
            output, labels = output[kept], labels[kept]
            weight = None if weight is None else weight[kept]
        labels = self._encoded(labels)
        if output.ndim == 2:
            limit = output.shape[1]
            wrong = np.flatnonzero((labels < 0) | (labels >= limit))
            if wrong.size:
                row = np.flatnonzero(kept)[wrong[0]]
                raise IndexError(
                    f"{self.name}: target: row {row} holds {labels[wrong[0]]}, expected a class "
                    f"in 0..{limit - 1}"
                )
        return output, labels, weight

    def _encoded(self, labels: np.ndarray) -> np.ndarray:
        return labels

    def _add_labels(
        self, output: np.ndarray, labels: np.ndarray, weight: np.ndarray | None
    ) -> None:
        raise NotImplementedError

    def _add_sets(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        raise ValueError(
            f"{self.name}: target: multilabel-indicator is not supported, shape {target.shape}; "
            "pass one label for each row"
        )

    # Predictions.

    def _cut(self) -> float:
        return 0.0 if self._logits else 0.5

    def _predicted(self, output: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The label each row predicts; NONE where its scores hold NaN."""
        if output.ndim == 2:
            return np.where(np.isnan(output).any(axis=1), NONE, output.argmax(axis=1))
        if output.dtype.kind != "f":
            return whole(self.name, "output", output)
        wrong = np.flatnonzero((labels != 0) & (labels != 1))
        if wrong.size:
            raise ValueError(
                f"{self.name}: output: one score a row says which of the labels 0 and 1 it is, and "
                f"target holds {labels[wrong[0]]}; pass labels as integers, or one score for each "
                "class"
            )
        return np.where(np.isnan(output), NONE, output > self._cut())

    def _predicted_sets(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(rows, labels) bool; what is NaN is wrong."""
        if output.dtype.kind == "f":
            return np.where(np.isnan(output), ~target, output > self._cut())
        wrong = np.flatnonzero((output != 0) & (output != 1))
        if wrong.size:
            raise ValueError(
                f"{self.name}: output: row {wrong[0] // output.shape[1]} holds "
                f"{output.flat[wrong[0]]}, expected 0 and 1, or scores as floats"
            )
        return output != 0


def whole(operation: str, name: str, values: np.ndarray) -> np.ndarray:
    """(rows,) labels as int64; floats that are whole numbers are labels too."""
    if values.ndim != 1:
        raise ValueError(
            f"{operation}: {name}: expected shape (rows,), one label for each row, got "
            f"{values.shape}"
        )
    if values.dtype.kind == "f" and not (values == np.round(values)).all():
        row = int(np.flatnonzero(values != np.round(values))[0])
        raise ValueError(
            f"{operation}: {name}: row {row} holds {values[row]}, expected a label, a whole "
            "number; continuous targets have no labels"
        )
    if values.dtype.kind == "f" and not (np.abs(values) < 2.0**63).all():
        raise ValueError(f"{operation}: {name}: expected labels within 64 bits")
    return values.astype(np.int64)


def scores(output: np.ndarray) -> np.ndarray:
    """Plain floats as the kernels take them: float32 and float64 stay what they are."""
    dtype = output.dtype.newbyteorder("=") if output.dtype.kind == "f" else np.dtype(np.float64)
    return np.array(output, dtype if dtype in check.FLOATS else np.float64, order="C")


def require_numbers(operation: str, output: np.ndarray) -> None:
    """Refuses NaN."""
    wrong = np.flatnonzero(np.isnan(output))
    if wrong.size:
        row = wrong[0] // (output.size // len(output))
        raise ValueError(f"{operation}: output: row {row} holds NaN, which has no place in order")


def require_probabilities(operation: str, output: np.ndarray) -> None:
    """Refuses rows that do not add up to 1."""
    total = output.astype(np.float64).sum(axis=1)
    wrong = np.flatnonzero(~np.isclose(1, total))
    if wrong.size:
        raise ValueError(
            f"{operation}: output: expected probabilities, rows that add up to 1, and row "
            f"{wrong[0]} adds up to {total[wrong[0]]:g}; for logits pass from_logits=True"
        )


def of_two(output: np.ndarray) -> np.ndarray:
    """Logits of the second of two classes as logits of both."""
    return np.stack([np.zeros_like(output), output], axis=1)


def softmax(output: np.ndarray) -> np.ndarray:
    """Probabilities, in the type of the logits."""
    return functional.softmax(scores(output))


def checked_labels(operation: str, labels: Any) -> list[int] | None:
    """Labels that a metric is asked for, in their order."""
    if labels is None:
        return None
    check.unmasked(operation, "labels", labels)
    found = np.asarray(labels)
    if found.dtype.kind not in "iub" or found.ndim != 1 or not found.size:
        raise TypeError(
            f"{operation}: labels: expected integers, at least one, got {check.describe(labels)}"
        )
    if len(np.unique(found)) < len(found):
        raise ValueError(f"{operation}: labels: expected each once, got {found.tolist()}")
    return [int(label) for label in found]


def one_of(operation: str, name: str, value: Any, known: Sequence[Any]) -> Any:
    """Requires one of the known values."""
    if not any(value is k or (isinstance(value, str) and value == k) for k in known):
        raise ValueError(
            f"{operation}: {name} has to be one of {', '.join(map(repr, known))}, got {value!r}"
        )
    return value
