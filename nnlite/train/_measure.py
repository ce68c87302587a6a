"""Measures a model on rows: loss, accuracy and metrics. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core import check
from ..metrics import resolve
from ..nn.losses import Loss
from ..nn.module import PREDICT_ROWS, Module, converted
from ..program.rows import Rows, Sums, ignored
from . import _losses
from ._eager import add_batch


def measure(
    model: Module, loss: Loss, dtype: np.dtype, rows: Rows, metrics: Sequence[Any] = ()
) -> Sums:
    """The sums over all rows, in the blocks of the C program; the metrics are of these rows."""
    sums = Sums()
    for metric in metrics:
        metric.reset()
    for begin in range(0, len(rows.x), PREDICT_ROWS):
        part = rows.part(begin, begin + PREDICT_ROWS)
        y = converted(part.y, part.y.dtype)
        output = model._call(converted(part.x, dtype), False)
        value, weight = _losses.evaluate(loss, output, Rows(part.x, y, part.weight))
        add_batch(sums, loss, value, weight, output, y)
        for metric in metrics:
            metric.update(output, y, part.weight)
    return sums


def resolved(metrics: Any, loss: Loss) -> list[Any]:
    """Metrics from names or metrics, told what the loss says of outputs and targets."""
    one_hot = loss.takes_probabilities and not _losses.is_open(loss)
    return resolve(metrics, ignored(loss), loss.takes_logits, one_hot)


def values_of(sums: Sums, loss: Loss, y: np.ndarray, metrics: Sequence[Any]) -> dict[str, Any]:
    """loss, accuracy where y are classes, and each metric by its name."""
    found: dict[str, Any] = sums.values(loss.reduction == "mean", y.dtype == check.INT64)
    return found | {metric.name: metric.value() for metric in metrics}
