"""Metrics of scores and probabilities: the area under the ROC curve, and the log loss."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import functional
from .._core import check
from .._core.criteria import IGNORE_INDEX
from .base import chain, ratio
from .labels import (
    LabelMetric,
    checked_labels,
    of_two,
    one_of,
    require_numbers,
    require_probabilities,
    scores,
    softmax,
)


class _OfProbabilities(LabelMetric):
    """A metric of labels that may stand for the columns of the output in their order."""

    labels: list[int] | None = None

    def _take_labels(self, labels: Any) -> None:
        self.labels = checked_labels(self.name, labels)
        if self.labels is not None and self.labels != sorted(self.labels):
            raise ValueError(f"{self.name}: labels: must be ordered, got {self.labels}")

    def _encoded(self, labels: np.ndarray) -> np.ndarray:
        if self.labels is None:
            return labels
        unknown = np.setdiff1d(labels, self.labels)
        if unknown.size:
            raise ValueError(
                f"{self.name}: target: contains the label {unknown[0]}, which is not in labels "
                f"{self.labels}"
            )
        return np.searchsorted(self.labels, labels)

    def _require_columns(self, output: np.ndarray) -> None:
        columns = output.shape[1] if output.ndim == 2 else 2
        if self.labels is not None and len(self.labels) != columns:
            raise ValueError(
                f"{self.name}: labels: {len(self.labels)} labels were given, the output has "
                f"{columns} columns"
            )


class AUC(_OfProbabilities):
    """The area under the ROC curve: how probable it is that a row of the label scores higher than
    one without it; ties count 1/2.

    Two labels: of the score of the second. More: of each label against the rest, or of each pair.
    Keeps the scores of all rows until `reset`.

    Args:
        average: over the labels: "macro", "weighted" (by their true weight), "micro" (all columns
            as one; not of pairs), None (an array; not of pairs), "samples" (over the rows, of sets
            of labels only).
        multi_class: for more than two classes "ovr", each against the rest, or "ovo", each pair.
        max_fpr: for two labels and sets: the area up to this false positive rate alone,
            standardised so that chance is 1/2.
        labels: the classes that the columns stand for, ascending; None: 0, 1, 2, ...
        ignore_index, from_logits: as for LabelMetric. For more than two classes the rows are
            probabilities.

    Raises:
        TypeError, ValueError: an argument is none of these.

    Source: Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27 (2006);
    pairs: Hand, Till, Machine Learning 45 (2001); part of the area: McClish, Medical Decision
    Making 9 (1989).
    """

    name = "auc"

    def __init__(
        self,
        average: str | None = "macro",
        *,
        multi_class: str = "ovr",
        max_fpr: float | None = None,
        labels: Any = None,
        ignore_index: int = IGNORE_INDEX,
        from_logits: bool | None = None,
    ) -> None:
        known = ("macro", "weighted", "micro", "samples", None)
        self.average = one_of(self.name, "average", average, known)
        self.multi_class = one_of(self.name, "multi_class", multi_class, ("raise", "ovr", "ovo"))
        if max_fpr is not None:
            max_fpr = check.number(self.name, "max_fpr", max_fpr, 0, 1, above=True)
        self.max_fpr = None if max_fpr == 1 else max_fpr
        self._take_labels(labels)
        super().__init__(ignore_index, from_logits)

    def _clear(self) -> None:
        self._true: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._weight: list[np.ndarray] = []
        self._weighted = False
        self._seen: list[int] = []

    def _keep(self, output: np.ndarray, true: np.ndarray, weight: np.ndarray | None) -> None:
        self._weighted |= weight is not None
        self._true.append(true)
        self._scores.append(output)
        self._weight.append(np.ones(len(true)) if weight is None else weight)

    def _add_labels(
        self, output: np.ndarray, labels: np.ndarray, weight: np.ndarray | None
    ) -> None:
        require_numbers(self.name, output)
        self._require_columns(output)
        if output.ndim == 2:
            output = softmax(output) if self._logits else scores(output)
            require_probabilities(self.name, output)
            if output.shape[1] == 2:
                output = output[:, 1].copy()
            else:
                self._require_multi_class(weight)
        else:
            seen = np.union1d(self._seen, labels)
            if len(seen) > 2:
                raise ValueError(
                    f"{self.name}: output: expected shape (rows, classes), since target contains "
                    f"the classes {seen.astype(int).tolist()}, got {output.shape}"
                )
            self._seen = [int(label) for label in seen]
            output = scores(output)
        self._keep(output, labels, weight)

    def _require_multi_class(self, weight: np.ndarray | None) -> None:
        """Refuses settings that more than two classes do not have."""
        if self.max_fpr is not None:
            raise ValueError(
                f"{self.name}: max_fpr: must be None for more than two classes, got {self.max_fpr}"
            )
        if self.multi_class == "raise":
            raise ValueError(f"{self.name}: multi_class must be in ('ovo', 'ovr'), got 'raise'")
        allowed: tuple[str | None, ...] = ("macro", "weighted", None, "micro")
        if self.multi_class == "ovo":
            allowed = allowed[:2]
            if weight is not None:
                raise ValueError(
                    f"{self.name}: sample_weight is not supported for multi_class='ovo'; take 'ovr'"
                )
        if self.average not in allowed:
            raise ValueError(
                f"{self.name}: average must be one of {allowed} for classes with "
                f"multi_class={self.multi_class!r}, got {self.average!r}"
            )

    def _add_sets(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        require_numbers(self.name, output)
        self._keep(scores(output), target, weight)

    def value(self) -> Any:
        """In [0, 1]; NaN where a label has no row, or all of them."""
        if not self._true:
            return math.nan
        true, weight = np.concatenate(self._true), np.concatenate(self._weight)
        found = np.concatenate(self._scores)
        if self._sets:
            return self._averaged(true, found, weight)
        if found.ndim == 1:
            positive = max(self._seen) if self._width == 0 else 1
            if self._width == 0 and len(self._seen) < 2:
                return math.nan
            return area(true == positive, found, weight, self.max_fpr)
        if self.multi_class == "ovo":
            return _pairs(true, found, self.average == "weighted")
        return self._averaged(true[:, None] == np.arange(found.shape[1]), found, weight)

    def _averaged(self, true: np.ndarray, found: np.ndarray, weight: np.ndarray) -> Any:
        if self.average == "micro":
            repeated = np.repeat(weight, true.shape[1])
            return area(true.ravel(), found.ravel(), repeated, self.max_fpr)
        by: np.ndarray | None = None
        rows: Iterable[Any] = zip(true.T, found.T, itertools.repeat(weight))
        if self.average == "samples":
            rows = zip(true, found, itertools.repeat(np.ones(true.shape[1])))
            by = weight if self._weighted else None
        elif self.average == "weighted":
            by = (true * weight[:, None]).sum(axis=0)
            if by.sum() == 0:
                return 0.0
        areas = np.array([area(t, s, w, self.max_fpr) for t, s, w in rows])
        if self.average is None:
            return areas
        if by is None:
            return float(areas.mean())
        areas[by == 0] = 0
        return float((areas * by).sum() / by.sum())


def area(
    positive: np.ndarray, score: np.ndarray, weight: np.ndarray, most: float | None = None
) -> float:
    """The area under the ROC curve, of all of it or up to a false positive rate."""
    order = np.argsort(-score, kind="stable")
    s, p, w = score[order], positive[order], weight[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], True))  # of equal scores
    y, x = (np.append(0.0, np.cumsum(w * kept)[last]) for kept in (p, ~p))
    if not x[-1] or not y[-1]:
        return math.nan
    x, y = x / x[-1], y / y[-1]
    if most is None:
        return _under(x, y)
    stop = int(np.searchsorted(x, most, "right"))
    y = np.append(y[:stop], np.interp(most, x[stop - 1 : stop + 1], y[stop - 1 : stop + 1]))
    least = most**2 / 2
    return (1 + (_under(np.append(x[:stop], most), y) - least) / (most - least)) / 2


def _under(x: np.ndarray, y: np.ndarray) -> float:
    return float(((x[1:] - x[:-1]) * (y[1:] + y[:-1])).sum() / 2)


def _pairs(true: np.ndarray, found: np.ndarray, weighted: bool) -> float:
    """The mean over the pairs of classes, or that by their rows."""
    areas, rows = [], []
    for pair in itertools.combinations(np.unique(true), 2):
        both = np.isin(true, pair)
        t, s, w = true[both], found[both], np.ones(np.count_nonzero(both))
        areas.append(sum(area(t == c, s[:, c], w) for c in pair) / 2)
        rows.append(len(t) if weighted else 1)
    return float(np.average(areas, weights=rows)) if areas else math.nan


class LogLoss(_OfProbabilities):
    """The negative logarithm of the probability of the true class, the mean over the rows in nats.

    Probabilities are kept eps off 0 and 1, as scikit-learn's log_loss does, with eps the rounding
    of their type; logits need none of it.

    Args:
        normalize: the mean; False: the sum.
        labels: the classes that the columns stand for, ascending; None: 0, 1, 2, ... One
            probability a row is that of the second of two.
        ignore_index, from_logits: as for LabelMetric.

    Warns:
        UserWarning: probabilities do not add up to 1.
    """

    name = "log_loss"
    larger_is_better = False

    def __init__(
        self,
        *,
        normalize: bool = True,
        labels: Any = None,
        ignore_index: int = IGNORE_INDEX,
        from_logits: bool | None = None,
    ) -> None:
        self.normalize = bool(normalize)
        self._take_labels(labels)
        super().__init__(ignore_index, from_logits)

    def _clear(self) -> None:
        self._total = self._mass = 0.0

    def _add_labels(
        self, output: np.ndarray, labels: np.ndarray, weight: np.ndarray | None
    ) -> None:
        require_numbers(self.name, output)
        self._require_columns(output)
        output = scores(output)
        if output.ndim == 1:
            wrong = np.flatnonzero((labels != 0) & (labels != 1))
            if wrong.size:
                raise ValueError(
                    f"{self.name}: output: one score a row is for the classes 0 and 1, and target "
                    f"holds {labels[wrong[0]]}; pass one for each class, or labels"
                )
            output = of_two(output) if self._logits else np.stack([1 - output, output], axis=1)
        each = functional.log_softmax(output) if self._logits else self._logarithms(output)
        terms = -each[np.arange(len(labels)), labels].astype(np.float64)
        w = np.ones(len(labels)) if weight is None else weight
        self._total = float(chain(self._total, terms * w))
        self._mass = float(chain(self._mass, w))

    def _logarithms(self, output: np.ndarray) -> np.ndarray:
        for sign, bound, wrong in (("greater than", 1, output > 1), ("lower than", 0, output < 0)):
            rows = np.flatnonzero(wrong.any(axis=1))
            if rows.size:
                raise ValueError(
                    f"{self.name}: output: contains values {sign} {bound}: row {rows[0]}; pass "
                    "probabilities, or from_logits=True"
                )
        eps = np.finfo(output.dtype).eps
        if not np.isclose(output.sum(axis=1), 1, rtol=math.sqrt(eps)).all():
            warnings.warn(
                f"{self.name}: the rows of output do not sum to one; pass probabilities",
                UserWarning,
                stacklevel=5,
            )
        return functional.log(np.clip(output, eps, 1 - eps))

    def value(self) -> float:
        """At least 0."""
        return ratio(self._total, self._mass) if self.normalize else self._total
