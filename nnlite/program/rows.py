"""What passes between the parts of training: rows of data, sums over batches, a bad loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._core.criteria import IGNORE_INDEX
from ..nn.losses import Loss


class Rows(NamedTuple):
    """Rows as the kernels take them: x in the model's dtype, y int64 classes or rows of numbers,
    and a weight for each row, or None."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None

    def part(self, begin: int, end: int) -> Rows:
        """Rows begin..end - 1, not copied."""
        weight = None if self.weight is None else self.weight[begin:end]
        return Rows(self.x[begin:end], self.y[begin:end], weight)

    def at(self, index: np.ndarray) -> Rows:
        """Copies of the rows of these numbers."""
        weight = None if self.weight is None else self.weight[index]
        return Rows(self.x[index], self.y[index], weight)


class Sums:
    """Sums over batches: of the loss times its rows' weight, of that weight, of right rows, and of
    the rows that count."""

    __slots__ = ("correct", "counted", "loss", "weight")

    def __init__(
        self, loss: float = 0.0, weight: float = 0.0, correct: int = 0, counted: int = 0
    ) -> None:
        self.loss, self.weight, self.correct, self.counted = loss, weight, correct, counted

    def read(self, found: Any) -> Sums:
        """Takes over the numbers of an nnl_sums."""
        self.loss, self.weight = found.loss, found.weight
        self.correct, self.counted = found.correct, found.counted
        return self

    def add(self, loss: float, weight: float, mean: bool) -> None:
        """Adds the loss of one batch, whose rows weigh so much."""
        if weight or not mean:
            self.loss += loss * weight if mean else loss
        self.weight += weight

    def values(self, mean: bool, classes: bool) -> dict[str, float]:
        """loss and, with classes, accuracy. The mean over nothing is NaN."""
        loss = self.loss
        if mean:
            loss = loss / self.weight if self.weight else float("nan")
        if not classes:
            return {"loss": loss}
        return {"loss": loss, "accuracy": self.correct / self.counted if self.counted else 0.0}

    def state(self) -> list[float]:
        """The four numbers, for a file."""
        return [self.loss, self.weight, self.correct, self.counted]


class NotFiniteError(FloatingPointError):
    """The loss of a batch is infinite or NaN. Its gradients are computed; no weight has changed."""

    def __init__(self, loss: float, batch: int) -> None:
        super().__init__(f"the loss is {loss}")
        self.loss, self.batch = loss, batch


def class_counts(target: np.ndarray, ignored: int) -> int:
    """Rows whose class is not the ignored one."""
    return int(target.size - np.count_nonzero(target == ignored))


def ignored(loss: Loss) -> int:
    """The class index that a loss ignores."""
    return int(getattr(loss, "ignore_index", IGNORE_INDEX))
