"""Metrics: how good predictions are, over batches or at once.

A `Metric` is fed batch after batch and gives the exact figure over all rows, whatever the batches
were: counts are integers, sums are float64. Names that `resolve` knows: "accuracy", "top_5" (any
number), "mse", "mae", "r2", "confusion_matrix". The functions below take (y_true, output) in
scikit-learn's order and give the figure at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._criteria import IGNORE_INDEX
from .base import Metric
from .classes import Accuracy, ClassMetric, ConfusionMatrix, TopK
from .numbers import MAE, MSE, R2

__all__ = [
    "MAE",
    "MSE",
    "R2",
    "Accuracy",
    "ConfusionMatrix",
    "Metric",
    "TopK",
    "accuracy",
    "confusion_matrix",
    "mean_absolute_error",
    "mean_squared_error",
    "r2_score",
    "resolve",
    "top_k_accuracy",
]

NAMES: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "mse": MSE,
    "mae": MAE,
    "r2": R2,
    "confusion_matrix": ConfusionMatrix,
}


def resolve(names: Any, ignore_index: int = IGNORE_INDEX) -> list[Metric]:
    """Metrics from names, from metrics, or from a list of both.

    Args:
        names: "accuracy", "top_5" (any number), "mse", "mae", "r2", "confusion_matrix", a Metric,
            several of these, or None.
        ignore_index: for the metrics of classes that are made from names.

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
    return found


def _one(name: Any, ignore_index: int) -> Metric:
    if isinstance(name, Metric):
        return name
    known = ", ".join([*map(repr, NAMES), "'top_5'"])
    if not isinstance(name, str):
        made = f"; pass {name.__name__}()" if isinstance(name, type) else ""
        raise TypeError(f"metrics: expected one of {known}, or a Metric, got {name!r}{made}")
    plain = name.lower()
    if plain in NAMES:
        kind = NAMES[plain]
        return kind(ignore_index=ignore_index) if issubclass(kind, ClassMetric) else kind()
    if re.fullmatch(r"top_[1-9]\d{0,8}", plain):
        return TopK(int(plain[4:]), ignore_index)
    raise ValueError(f"metrics: expected one of {known}, or a Metric, got {name!r}")


def larger_is_better(name: str) -> bool:
    """Whether a figure of that name, with or without val_, should grow: accuracy, top_k and r2."""
    plain = name.removeprefix("val_")
    return plain.startswith("top_") or (plain in NAMES and NAMES[plain].larger_is_better)


# ---- at once ----


def _at_once(metric: Metric, y_true: Any, output: Any, sample_weight: Any) -> Any:
    metric.update(output, y_true, sample_weight)
    return metric.value()


def accuracy(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """The share of right rows; see Accuracy.

    Args:
        y_true: (N,) class indices.
        output: (N, K) logits or probabilities, or (N,) predicted classes.
        sample_weight: (N,) weights, or None.
    """
    return _at_once(Accuracy(), y_true, output, sample_weight)


def top_k_accuracy(y_true: Any, output: Any, k: int = 5, sample_weight: Any = None) -> float:
    """The share of rows whose class is among the k greatest scores; see TopK."""
    return _at_once(TopK(k), y_true, output, sample_weight)


def confusion_matrix(y_true: Any, output: Any, sample_weight: Any = None) -> np.ndarray:
    """Rows by true class, columns by predicted class; see ConfusionMatrix."""
    return _at_once(ConfusionMatrix(), y_true, output, sample_weight)


def mean_squared_error(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """mean (output - y_true)^2; see MSE."""
    return _at_once(MSE(), y_true, output, sample_weight)


def mean_absolute_error(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """mean |output - y_true|; see MAE."""
    return _at_once(MAE(), y_true, output, sample_weight)


def r2_score(y_true: Any, output: Any, sample_weight: Any = None) -> float:
    """1 - squared error / variance; see R2."""
    return _at_once(R2(), y_true, output, sample_weight)
