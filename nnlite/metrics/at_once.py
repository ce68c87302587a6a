"""The figures at once, in scikit-learn's order of arguments: (y_true, output)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .._core.criteria import IGNORE_INDEX
from .base import Metric
from .classes import Accuracy, ConfusionMatrix, TopK
from .counts import F1, BalancedAccuracy, MultilabelAccuracy, Precision, Recall
from .counts import UndefinedMetricWarning as UndefinedMetricWarning
from .numbers import MAE, MSE, R2
from .probabilities import AUC, LogLoss


def _of(metric: Metric, y_true: Any, output: Any, sample_weight: Any) -> Any:
    metric.update(output, y_true, sample_weight)
    return metric.value()


def accuracy(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """The share of right rows; see Accuracy.

    Args:
        y_true: (N,) class indices.
        output: (N, K) logits or probabilities, or (N,) predicted classes.
        sample_weight: (N,) weights, or None.
    """
    return _of(Accuracy(), y_true, output, sample_weight)


def top_k_accuracy(y_true: Any, output: Any, k: int = 5, sample_weight: Any = None) -> float:
    """The share of rows whose class is among the k greatest scores; see TopK."""
    return _of(TopK(k), y_true, output, sample_weight)


def confusion_matrix(y_true: Any, output: Any, sample_weight: Any = None) -> np.ndarray:
    """Rows by true class, columns by predicted class; see ConfusionMatrix."""
    return _of(ConfusionMatrix(), y_true, output, sample_weight)


def mean_squared_error(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """mean (output - y_true)^2; see MSE."""
    return _of(MSE(), y_true, output, sample_weight)


def mean_absolute_error(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """mean |output - y_true|; see MAE."""
    return _of(MAE(), y_true, output, sample_weight)


def r2_score(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """1 - squared error / variance; see R2."""
    return _of(R2(), y_true, output, sample_weight)


def precision_score(
    y_true: Any,
    output: Any,
    sample_weight: Any = None,
    *,
    average: str | None = "binary",
    labels: Any = None,
    pos_label: int = 1,
    zero_division: Any = "warn",
    from_logits: bool | None = None,
) -> Any:
    """Of the rows that were given a label, the share that has it; see Precision.

    Args:
        y_true: (N,) labels, or (N, labels) of 0 and 1.
        output: (N,) predicted labels, (N, K) scores, or sets or scores of y_true's shape.
        sample_weight: (N,) weights, or None.
        average, labels, pos_label, zero_division, from_logits: see Rate.
    """
    metric = Precision(
        average, labels=labels, pos_label=pos_label, zero_division=zero_division,
        from_logits=from_logits,
    )  # fmt: skip
    return _of(metric, y_true, output, sample_weight)


def recall_score(
    y_true: Any,
    output: Any,
    sample_weight: Any = None,
    *,
    average: str | None = "binary",
    labels: Any = None,
    pos_label: int = 1,
    zero_division: Any = "warn",
    from_logits: bool | None = None,
) -> Any:
    """Of the rows that have a label, the share that was given it; arguments of precision_score."""
    metric = Recall(
        average, labels=labels, pos_label=pos_label, zero_division=zero_division,
        from_logits=from_logits,
    )  # fmt: skip
    return _of(metric, y_true, output, sample_weight)


def f1_score(
    y_true: Any,
    output: Any,
    sample_weight: Any = None,
    *,
    average: str | None = "binary",
    labels: Any = None,
    pos_label: int = 1,
    zero_division: Any = "warn",
    from_logits: bool | None = None,
) -> Any:
    """The harmonic mean of precision and recall; arguments of precision_score."""
    metric = F1(
        average, labels=labels, pos_label=pos_label, zero_division=zero_division,
        from_logits=from_logits,
    )  # fmt: skip
    return _of(metric, y_true, output, sample_weight)


def balanced_accuracy_score(
    y_true: Any, output: Any, sample_weight: Any = None, *, adjusted: bool = False
) -> float:
    """The mean of the recall of the classes; see BalancedAccuracy.

    Warns:
        UserWarning: a class was predicted that no row has.
    """
    metric = BalancedAccuracy(adjusted)
    value = _of(metric, y_true, output, sample_weight)
    if metric.unseen:
        warnings.warn(
            "balanced_accuracy: output contains classes not in y_true", UserWarning, stacklevel=2
        )
    return value


def multilabel_accuracy(
    y_true: Any,
    output: Any,
    sample_weight: Any = None,
    *,
    average: str | None = "subset",
    from_logits: bool | None = None,
) -> Any:
    """Accuracy of sets of labels: of whole sets, or of each label; see MultilabelAccuracy."""
    metric = MultilabelAccuracy(average, from_logits=from_logits)
    return _of(metric, y_true, output, sample_weight)


def _columns(y_true: Any, output: Any) -> Any:
    """The labels that the columns of the output stand for, where y_true has as many."""
    true, columns = np.asarray(y_true), np.shape(output)[1:]
    if true.ndim != 1 or true.dtype.kind not in "iub" or len(columns) != 1:
        return None
    found = np.unique(true[true != IGNORE_INDEX])
    return found if len(found) == columns[0] > 1 else None


def roc_auc_score(
    y_true: Any,
    output: Any,
    sample_weight: Any = None,
    *,
    average: str | None = "macro",
    multi_class: str = "raise",
    max_fpr: float | None = None,
    labels: Any = None,
    from_logits: bool | None = None,
) -> Any:
    """The area under the ROC curve; see AUC.

    Args:
        y_true: (N,) labels, or (N, labels) of 0 and 1.
        output: (N,) scores of the second of two labels, (N, K) probabilities of classes, or scores
            of y_true's shape.
        sample_weight: (N,) weights, or None.
        average, multi_class, max_fpr, labels, from_logits: see AUC. The columns stand for the
            labels in y_true, in their order, where these are as many.

    Warns:
        UndefinedMetricWarning: a label has no row, or all: its area is NaN.
    """
    labels = _columns(y_true, output) if labels is None else labels
    metric = AUC(
        average, multi_class=multi_class, max_fpr=max_fpr, labels=labels, from_logits=from_logits
    )
    value = _of(metric, y_true, output, sample_weight)
    if np.isnan(value).any():
        warnings.warn(
            "auc: only one class is present in y_true, or in one of its labels: its area is not "
            "defined, NaN",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    return value


def log_loss(
    y_true: Any,
    output: Any,
    sample_weight: Any = None,
    *,
    normalize: bool = True,
    labels: Any = None,
    from_logits: bool | None = None,
) -> float:
    """The negative logarithm of the true class's probability; see LogLoss.

    Args:
        y_true: (N,) classes.
        output: (N, K) probabilities or logits; (N,) those of the second of two classes.
        sample_weight: (N,) weights, or None.
        normalize, labels, from_logits: see LogLoss.
    """
    labels = _columns(y_true, output) if labels is None else labels
    metric = LogLoss(normalize=normalize, labels=labels, from_logits=from_logits)
    return _of(metric, y_true, output, sample_weight)


precision, recall, f1 = precision_score, recall_score, f1_score
balanced_accuracy, auc = balanced_accuracy_score, roc_auc_score
