"""Metrics of predicted labels: precision, recall, F1, balanced and multi-label accuracy.

With weights w of the rows, of each label c
    hit_c = sum_i w_i [t_i = p_i = c],  predicted_c = sum_i w_i [p_i = c],  true_c likewise of t.
Sums run row after row, so they do not depend on the batches.
"""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any

import numpy as np

from .._core.criteria import IGNORE_INDEX
from .base import chain, ratio
from .labels import NONE, LabelMetric, checked_labels, one_of

AVERAGES = ("auto", "binary", "micro", "macro", "weighted", "samples", None)


class UndefinedMetricWarning(UserWarning):
    """A figure is 0 / 0: no row has, or no row was given, the label."""


class _Counts(LabelMetric):
    """Counts of each label: `_sums` are hits, predicted and true weight."""

    _keeps_weightless = True

    def _clear(self) -> None:
        self._labels = np.zeros(0, np.int64)
        self._sums = np.zeros((3, 0))

    def _add_labels(
        self, output: np.ndarray, labels: np.ndarray, weight: np.ndarray | None
    ) -> None:
        predicted = self._predicted(output, labels)
        known = np.union1d(self._labels, np.union1d(labels, predicted[predicted != NONE]))
        self._require_labels(known)
        w = np.ones(len(labels)) if weight is None else weight
        sums = np.zeros((3, len(known)))
        sums[:, np.searchsorted(known, self._labels)] = self._sums
        hit, some = labels == predicted, predicted != NONE
        for total, values, kept in (
            (sums[0], labels, hit), (sums[1], predicted, some), (sums[2], labels, slice(None)),
        ):  # fmt: skip
            np.add.at(total, np.searchsorted(known, values[kept]), w[kept])
        self._labels, self._sums = known, sums

    def _require_labels(self, known: np.ndarray) -> None:
        pass


class Rate(_Counts):
    """A share of counts for each label, and its average over the labels.

    Args:
        average: "binary": of the label pos_label, where there are two; "micro": of the counts of
            all labels added up; "macro": the mean over the labels; "weighted": the mean by the
            labels' true weight; "samples": the mean over the rows, of sets of labels only; None:
            an array of one figure for each label; "auto": "binary" for labels 0 and 1, else
            "macro".
        labels: those that count, in their order; None: all found in target or predictions, also
            in rows of weight 0.
        pos_label: the label of "binary".
        zero_division: the figure where a label's is 0 / 0: 0, 1 or NaN, which averages leave out;
            "warn" is 0 with an UndefinedMetricWarning.
        ignore_index, from_logits: as for LabelMetric. Scores predict the first greatest class;
            one score, or that of a label of a set, predicts it above 1/2, a logit above 0.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    _missing = ""  # what there is none of where the figure is 0 / 0

    def __init__(
        self,
        average: str | None = "auto",
        *,
        labels: Any = None,
        pos_label: int = 1,
        zero_division: Any = 0.0,
        ignore_index: int = IGNORE_INDEX,
        from_logits: bool | None = None,
    ) -> None:
        kind = type(self).name
        self.average = one_of(kind, "average", average, AVERAGES)
        self.labels = checked_labels(kind, labels)
        self.pos_label = pos_label
        self.zero_division = _zero_division(kind, zero_division)
        self.name = kind if average in ("auto", "binary") else f"{kind}_{average or 'labels'}"
        super().__init__(ignore_index, from_logits)

    def _clear(self) -> None:
        super()._clear()
        self._rows = np.zeros(4)  # of "samples": weighted figures, weight, figures, rows
        self._undefined = False

    def _require_labels(self, known: np.ndarray) -> None:
        if self.average == "samples":
            raise ValueError(
                f"{self.name}: average: 'samples' is for sets of labels, targets of shape (rows, "
                "labels); choose another one"
            )
        if self.average == "binary" and len(known) > 2:
            self._refuse_binary("multiclass", AVERAGES[2:5])

    def _refuse_binary(self, kind: str, others: tuple[Any, ...]) -> None:
        raise ValueError(
            f"{self.name}: Target is {kind} but average='binary'. Please choose another average "
            f"setting, one of {', '.join(map(repr, (*others, None)))}"
        )

    def _add_sets(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        if self.average == "binary":
            self._refuse_binary("multilabel-indicator", AVERAGES[2:6])
        count = target.shape[1]
        wrong = [k for k in self.labels or () if not 0 <= k < count]
        if wrong:
            raise ValueError(
                f"{self.name}: labels: {wrong[0]} is none of a set of {count}; expected "
                f"0..{count - 1}"
            )
        predicted = self._predicted_sets(output, target)
        sums = self._sums if self._labels.size else np.zeros((3, count))
        w = np.ones(len(target)) if weight is None else weight
        terms = np.stack([target & predicted, predicted, target], axis=1)
        if self.average == "samples":
            self._add_rows(terms[:, :, self.labels] if self.labels else terms, w)
        self._sums = chain(sums, terms * w[:, None, None])
        self._labels = np.arange(count)

    def _add_rows(self, terms: np.ndarray, weight: np.ndarray) -> None:
        figure = self._figures(*terms.sum(axis=2).astype(np.float64).T)
        some = ~np.isnan(figure)
        figure, weight = figure[some], weight[some]
        each = np.stack([figure * weight, weight, figure, np.ones(len(figure))], axis=1)
        self._rows = chain(self._rows, each)

    def _figures(self, hit: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        part, whole = self._share(hit, predicted, true)
        empty = whole == 0
        self._undefined |= bool(empty.any())
        value = 0.0 if self.zero_division == "warn" else self.zero_division
        return np.where(empty, value, part / np.where(empty, 1, whole))

    def _share(self, hit: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def _average(self) -> str | None:
        if self.average != "auto":
            return self.average
        plain = not self._sets and (self._width or 0) <= 2
        return "binary" if plain and np.isin(self._labels, (0, 1)).all() else "macro"

    def _of(self, average: str | None) -> np.ndarray:
        """(3, labels): the counts that go into an average."""
        labels = self.labels
        if average == "binary":
            labels = [self.pos_label]
            if self.pos_label not in self._labels and len(self._labels) >= 2:
                raise ValueError(
                    f"{self.name}: pos_label={self.pos_label} is not a valid label; it should be "
                    f"one of {self._labels.tolist()}"
                )
        if labels is None:
            return self._sums
        position = {int(label): index for index, label in enumerate(self._labels)}
        none = np.zeros(3)
        return np.stack(
            [self._sums[:, position[k]] if k in position else none for k in labels], axis=1
        )

    def value(self) -> Any:
        """The figure, in [0, 1]; with average=None one for each label."""
        if self._width is None:
            return math.nan
        found: Any
        average = self._average()
        counts = self._of(average)
        if average == "samples":
            found = _mean_of(self._rows)
        else:
            self._undefined = False
            if average == "micro":
                counts = counts.sum(axis=1, keepdims=True)
            figures = self._figures(*counts)
            by = counts[2] if average == "weighted" else None
            found = figures if average is None else _average(figures, by)
        if self._undefined and self.zero_division == "warn":
            what = "sample" if average != "samples" else "label"
            warnings.warn(
                f"{self.name} is ill-defined and being set to 0.0 where there are no "
                f"{self._missing} {what}s; pass zero_division to control this behavior",
                UndefinedMetricWarning,
                stacklevel=3,
            )
        return found


def _zero_division(operation: str, value: Any) -> Any:
    if isinstance(value, str) and value == "warn":
        return value
    if isinstance(value, Real) and (value in (0, 1) or math.isnan(value)):
        return float(value)
    raise ValueError(f"{operation}: zero_division: expected 'warn', 0, 1 or NaN, got {value!r}")


def _average(figures: np.ndarray, weight: np.ndarray | None) -> float:
    """The mean of what is not NaN; by the weights, unless all of them are 0."""
    some = ~np.isnan(figures)
    figures = figures[some]
    if not figures.size:
        return math.nan
    if weight is None or not weight[some].any():
        return float(figures.mean())
    return float((figures * weight[some]).sum() / weight[some].sum())


def _mean_of(rows: np.ndarray) -> float:
    weighted, weight, plain, count = rows
    return float(weighted / weight) if weight else ratio(float(plain), float(count))


class Precision(Rate):
    """Of the rows that were given a label, the share that has it: hit / predicted; see Rate."""

    name, _missing = "precision", "predicted"

    def _share(self, hit: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        return hit, predicted


class Recall(Rate):
    """Of the rows that have a label, the share that was given it: hit / true; see Rate."""

    name, _missing = "recall", "true"

    def _share(self, hit: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        return hit, true


class F1(Rate):
    """The harmonic mean of precision and recall, 2 hit / (true + predicted); see Rate."""

    name, _missing = "f1", "true nor predicted"

    def _share(self, hit: Any, predicted: Any, true: Any) -> tuple[Any, Any]:
        return 2 * hit, true + predicted


class BalancedAccuracy(_Counts):
    """The mean of the recall of the labels that have rows.

    Args:
        adjusted: 0 for chance, 1 for all right: (a - 1/K) / (1 - 1/K) of K such labels.
        ignore_index, from_logits: as for LabelMetric.
    """

    name = "balanced_accuracy"

    def __init__(
        self,
        adjusted: bool = False,
        *,
        ignore_index: int = IGNORE_INDEX,
        from_logits: bool | None = None,
    ) -> None:
        self.adjusted = bool(adjusted)
        super().__init__(ignore_index, from_logits)

    @property
    def unseen(self) -> bool:
        """Whether a label was predicted that no row has."""
        return bool((self._sums[2] == 0).any() and self._sums.any())

    def value(self) -> float:
        """At most 1."""
        hit, _, true = self._sums
        some = true > 0
        if not some.any():
            return math.nan
        score = float((hit[some] / true[some]).mean())
        if not self.adjusted:
            return score
        chance = 1 / np.count_nonzero(some)
        with np.errstate(divide="ignore", invalid="ignore"):  # one label alone
            return float(np.float64(score - chance) / (1 - chance))


class MultilabelAccuracy(LabelMetric):
    """Accuracy of sets of labels, targets (rows, labels) of 0 and 1.

    Args:
        average: "subset": the share of the rows whose whole set is right; "macro": the mean over
            the labels of the share of the rows that are right in it; None: an array of these.
        from_logits: as for LabelMetric.
    """

    name = "multilabel_accuracy"

    def __init__(self, average: str | None = "subset", *, from_logits: bool | None = None) -> None:
        self.average = one_of(self.name, "average", average, ("subset", "macro", None))
        if average != "subset":
            self.name = f"multilabel_accuracy_{average or 'labels'}"
        super().__init__(IGNORE_INDEX, from_logits)

    def _clear(self) -> None:
        self._right: Any = np.zeros(0)  # of the whole set, then of each label
        self._total = 0.0

    def _add(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        if target.ndim != 2 or not target.shape[1]:
            raise ValueError(
                f"{self.name}: target: expected sets of labels, shape (rows, labels), got "
                f"{target.shape}; for one class a row take accuracy"
            )
        self._require_sets(output, target)
        if self._width not in (None, target.shape[1]):
            raise ValueError(
                f"{self.name}: target: expected {self._width} labels as before, got "
                f"{target.shape[1]}"
            )
        right = self._predicted_sets(output, target != 0) == (target != 0)
        right = np.concatenate([right.all(axis=1, keepdims=True), right], axis=1)
        w = np.ones(len(target)) if weight is None else weight
        if self._width is None:
            self._right = np.zeros(right.shape[1])
        self._right = chain(self._right, right * w[:, None])
        self._total = float(chain(self._total, w))
        self._width = target.shape[1]

    def value(self) -> Any:
        """The share, in [0, 1]; with average=None one for each label."""
        if not self._total:
            return math.nan
        shares = self._right / self._total
        if self.average is None:
            return shares[1:]
        return float(shares[0] if self.average == "subset" else shares[1:].mean())
