"""Metrics: how good predictions are, over batches or at once.

A `Metric` is fed batch after batch and gives the exact figure over all rows, whatever the batches
were: counts are integers, sums are float64. Those of labels and probabilities give the same bits
for any batches. The functions take (y_true, output) in scikit-learn's order and give the figure at
once.

    name in fit, evaluate         metric              function
    accuracy                      Accuracy            accuracy
    top_5 (any number)            TopK                top_k_accuracy
    confusion_matrix              ConfusionMatrix     confusion_matrix
    precision, recall, f1         Precision, ...      precision_score, ... (also precision, ...)
      with _micro, _macro, _weighted, _samples
    balanced_accuracy             BalancedAccuracy    balanced_accuracy_score (balanced_accuracy)
    multilabel_accuracy           MultilabelAccuracy  multilabel_accuracy
      with _macro
    auc, roc_auc                  AUC                 roc_auc_score (auc)
      with _ovr, _ovo, _ovr_weighted, _ovo_weighted
    log_loss                      LogLoss             log_loss
    mse, mae, r2                  MSE, MAE, R2        mean_squared_error, mean_absolute_error,
                                                      r2_score
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._core.criteria import IGNORE_INDEX
from .at_once import (
    accuracy,
    auc,
    balanced_accuracy,
    balanced_accuracy_score,
    confusion_matrix,
    f1,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    multilabel_accuracy,
    precision,
    precision_score,
    r2_score,
    recall,
    recall_score,
    roc_auc_score,
    top_k_accuracy,
)
from .base import Metric
from .classes import Accuracy, ClassMetric, ConfusionMatrix, TopK
from .counts import F1, BalancedAccuracy, MultilabelAccuracy, Precision, Rate, Recall
from .counts import UndefinedMetricWarning as UndefinedMetricWarning
from .labels import LabelMetric
from .numbers import MAE, MSE, R2
from .probabilities import AUC, LogLoss

__all__ = [
    "AUC",
    "F1",
    "MAE",
    "MSE",
    "R2",
    "Accuracy",
    "BalancedAccuracy",
    "ConfusionMatrix",
    "LogLoss",
    "Metric",
    "MultilabelAccuracy",
    "Precision",
    "Rate",
    "Recall",
    "TopK",
    "UndefinedMetricWarning",
    "accuracy",
    "auc",
    "balanced_accuracy",
    "balanced_accuracy_score",
    "confusion_matrix",
    "f1",
    "f1_score",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "multilabel_accuracy",
    "precision",
    "precision_score",
    "r2_score",
    "recall",
    "recall_score",
    "resolve",
    "roc_auc_score",
    "top_k_accuracy",
]

NAMES: dict[str, Callable[[], Metric]] = {
    "accuracy": Accuracy,
    "mse": MSE,
    "mae": MAE,
    "r2": R2,
    "confusion_matrix": ConfusionMatrix,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "balanced_accuracy": BalancedAccuracy,
    "multilabel_accuracy": MultilabelAccuracy,
    "auc": AUC,
    "log_loss": LogLoss,
}
# Averages by their ends, as in the names of scikit-learn's scorers.
VARIANTS: dict[str, Callable[[], Metric]] = {
    f"{kind.name}_{average}": partial(kind, average)
    for kind in (Precision, Recall, F1)
    for average in ("micro", "macro", "weighted", "samples")
}
VARIANTS["multilabel_accuracy_macro"] = partial(MultilabelAccuracy, "macro")
for _auc in ("auc", "roc_auc"):
    VARIANTS[_auc] = AUC
    for _way in ("ovr", "ovo"):
        VARIANTS[f"{_auc}_{_way}"] = partial(AUC, multi_class=_way)
        VARIANTS[f"{_auc}_{_way}_weighted"] = partial(AUC, "weighted", multi_class=_way)
SMALLER = ("mse", "mae", "log_loss")  # these should fall


def resolve(
    names: Any,
    ignore_index: int = IGNORE_INDEX,
    logits: bool | None = None,
    one_hot: bool = False,
) -> list[Metric]:
    """Metrics from names, from metrics, or from a list of both.

    Args:
        names: one of the names above, a Metric, several of these, or None.
        ignore_index: for the metrics of classes that are made from names.
        logits: whether the outputs are logits, for metrics that were not told; None: unknown.
        one_hot: whether targets of the output's shape are probabilities of classes.

    Returns:
        One Metric for each, with nothing in it.

    Raises:
        TypeError, ValueError: an unknown or doubled name.
    """
    given: Sequence[Any] = (
        [] if names is None else [names] if isinstance(names, (str, Metric)) else list(names)
    )
    found = [_one(name, ignore_index) for name in given]
    seen: set[str] = set()
    for metric in found:
        if metric.name in seen:
            raise ValueError(f"metrics: {metric.name!r} stands twice; give it once")
        seen.add(metric.name)
        metric.reset()
        if isinstance(metric, LabelMetric):
            metric.told(logits, one_hot)
    return found


def _one(name: Any, ignore_index: int) -> Metric:
    if isinstance(name, Metric):
        return name
    known = ", ".join([*map(repr, NAMES), "'top_5'"])
    if not isinstance(name, str):
        made = f"; pass {name.__name__}()" if isinstance(name, type) else ""
        raise TypeError(f"metrics: expected one of {known}, or a Metric, got {name!r}{made}")
    plain = name.lower()
    if re.fullmatch(r"top_[1-9]\d{0,8}", plain):
        return TopK(int(plain[4:]), ignore_index)
    make = NAMES.get(plain) or VARIANTS.get(plain)
    if make is None:
        raise ValueError(f"metrics: expected one of {known}, or a Metric, got {name!r}")
    metric = make()
    metric.name = plain
    if isinstance(metric, (ClassMetric, LabelMetric)):
        metric.ignore_index = ignore_index
    return metric


def larger_is_better(name: str) -> bool:
    """Whether a figure of that name, with or without val_, should grow: as accuracy and r2."""
    plain = name.removeprefix("val_")
    return plain.startswith("top_") or (plain in {**NAMES, **VARIANTS} and plain not in SMALLER)
