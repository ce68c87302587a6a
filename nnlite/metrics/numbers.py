"""Metrics of targets of the output's shape: squared and absolute error, R2."""

from __future__ import annotations

import math

import numpy as np

from .base import Metric, ratio


class _NumberMetric(Metric):
    """A metric of targets of the output's shape."""

    def __init__(self) -> None:
        self.reset()

    def _add(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        if {output.ndim, target.ndim} == {1, 2} and output.size == target.size == len(output):
            output, target = output.reshape(-1, 1), target.reshape(-1, 1)
        if output.shape != target.shape:
            raise ValueError(
                f"{self.name}: target: expected the shape of output, {output.shape}, "
                f"got {target.shape}"
            )
        columns = output.size // len(output) if len(output) else 1
        shape = (len(output), columns)
        x, t = (v.astype(np.float64).reshape(shape) for v in (output, target))
        self._sum(x, t, np.ones(len(x)) if weight is None else weight)

    def _sum(self, x: np.ndarray, t: np.ndarray, weight: np.ndarray) -> None:
        raise NotImplementedError


class _Mean(_NumberMetric):
    """The mean of a function of output - target, over all elements, by the weights of the rows."""

    def reset(self) -> None:
        self._total = self._weight = 0.0

    def _sum(self, x: np.ndarray, t: np.ndarray, weight: np.ndarray) -> None:
        self._total += float((self._of(x - t) * weight[:, None]).sum())
        self._weight += float(weight.sum()) * x.shape[1]

    def _of(self, difference: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def value(self) -> float:
        """The mean, at least 0."""
        return ratio(self._total, self._weight)


class MSE(_Mean):
    """Mean squared error, mean_ik (x_ik - t_ik)^2."""

    name = "mse"

    def _of(self, difference: np.ndarray) -> np.ndarray:
        return difference * difference


class MAE(_Mean):
    """Mean absolute error, mean_ik |x_ik - t_ik|."""

    name = "mae"

    def _of(self, difference: np.ndarray) -> np.ndarray:
        return np.abs(difference)


class R2(_NumberMetric):
    """Coefficient of determination, 1 - sum_i (x_i - t_i)^2 / sum_i (t_i - mean t)^2.

    The mean over the outputs, as scikit-learn's r2_score: an output whose targets are all equal
    counts 1 when it is hit exactly, else 0. NaN for fewer than two rows. Means and squares of the
    batches are combined without subtracting large sums.

    Source: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
    Statistician 37 (1983), equation 2.1.
    """

    name = "r2"
    larger_is_better = True

    def reset(self) -> None:
        self._rows, self._weight = 0, 0.0
        self._mean = self._square = self._error = np.zeros(0)

    def _sum(self, x: np.ndarray, t: np.ndarray, weight: np.ndarray) -> None:
        if self._rows and len(self._mean) != t.shape[1]:
            raise ValueError(
                f"r2: target: expected {len(self._mean)} outputs as before, got {t.shape[1]}"
            )
        total = float(weight.sum())
        if total == 0:
            return
        if not self._rows:
            self._mean = self._square = self._error = np.zeros(t.shape[1])
        w = weight[:, None]
        mean = (w * t).sum(axis=0) / total
        square = (w * (t - mean) ** 2).sum(axis=0)
        both, apart = self._weight + total, mean - self._mean
        self._square = self._square + square + apart**2 * (self._weight * total / both)
        self._mean = self._mean + apart * (total / both)
        self._error = self._error + (w * (x - t) ** 2).sum(axis=0)
        self._rows, self._weight = self._rows + len(t), both

    def value(self) -> float:
        """At most 1; 0 for an output that is always the mean."""
        if self._rows < 2:
            return math.nan
        constant = self._square == 0
        share = self._error / np.where(constant, 1, self._square)
        return float(np.where(constant, np.where(self._error == 0, 1, 0), 1 - share).mean())
