"""Standardisation: columns with mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..nn.module import converted, rows_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FLOAT64 = np.dtype(np.float64)
BLOCK_ROWS = 4096


class Standardizer:
    """Columns with mean 0 and standard deviation 1: z = (x - mean) / std.

    Attributes:
        mean, std: float64, shape (columns,), after fit. The standard deviation is that of the rows
            themselves (divided by their number); 1 for a column of one value.

    Notes:
        Sums are trees of plain additions, so that the same rows give the same bits on every
        machine.
    """

    def __init__(self) -> None:
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None

    def fit(self, X: ArrayLike) -> Standardizer:
        """Measures the columns of X, shape (rows, columns); returns itself.

        Raises:
            ValueError: X is not of rank 2, has no rows, or holds what is not finite.
            TypeError: X holds no numbers.
        """
        rows = _matrix("fit", X)
        if not len(rows):
            raise ValueError("Standardizer.fit: X has 0 rows; pass at least one")
        wrong = np.flatnonzero(~np.isfinite(rows).all(axis=0))
        if wrong.size:
            raise ValueError(
                f"Standardizer.fit: X: column {wrong[0]} holds NaN or inf; fill or remove it"
            )
        mean = _column_sums(rows) / len(rows)
        constant = (rows == rows[0]).all(axis=0)
        mean[constant] = rows[0, constant]  # exactly, so that the column becomes 0
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = rows - mean
            std = np.sqrt(_column_sums(deviation * deviation) / len(rows))
        std[constant | (std == 0)] = 1
        if not (np.isfinite(mean) & np.isfinite(std)).all():
            raise ValueError("Standardizer.fit: X: its numbers are too large to be squared")
        self.mean, self.std = mean, std
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """(X - mean) / std, float64, a new array of X's shape.

        Raises:
            ValueError: not fitted, or X has other columns.
        """
        mean, std = self._fitted("transform")
        return (self._columns("transform", X) - mean) / std

    def inverse_transform(self, Z: ArrayLike) -> np.ndarray:
        """Z std + mean, float64: what transform was given.

        Raises:
            ValueError: not fitted, or Z has other columns.
        """
        mean, std = self._fitted("inverse_transform")
        return self._columns("inverse_transform", Z) * std + mean

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of mean and std."""
        mean, std = self._fitted("state_dict")
        return {"mean": mean.copy(), "std": std.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> Standardizer:
        """Takes over what `state_dict` gave, arrays or lists; returns itself.

        Raises:
            ValueError: mean and std are missing or do not fit each other, or a number is not
                finite or, in std, not above 0.
        """
        try:
            mean, std = (np.array(state[name], FLOAT64) for name in ("mean", "std"))
        except (KeyError, TypeError, ValueError):
            mean, std = np.zeros(0), np.zeros(1)
        if mean.ndim != 1 or mean.shape != std.shape or not np.isfinite([mean, std]).all():
            std = np.zeros(1)
        if not (std > 0).all():
            raise ValueError(
                "Standardizer.load_state_dict: expected mean and std, one finite number for each "
                "column, std above 0"
            )
        self.mean, self.std = mean, std
        return self

    def _fitted(self, operation: str) -> tuple[np.ndarray, np.ndarray]:
        if self.mean is None or self.std is None:
            raise ValueError(f"Standardizer.{operation}: not fitted yet; call fit(X) first")
        return self.mean, self.std

    def _columns(self, operation: str, X: ArrayLike) -> np.ndarray:
        rows = _matrix(operation, X)
        columns = len(self._fitted(operation)[0])
        if rows.shape[1] != columns:
            raise ValueError(
                f"Standardizer.{operation}: X has {rows.shape[1]} columns, fit saw {columns}"
            )
        return rows


def _matrix(operation: str, X: Any) -> np.ndarray:
    rows = converted(rows_of(f"Standardizer.{operation}", "X", X), FLOAT64)
    if rows.ndim != 2:
        raise ValueError(
            f"Standardizer.{operation}: X: expected shape (rows, columns), got {rows.shape}"
        )
    return rows


def _column_sums(rows: np.ndarray) -> np.ndarray:
    """Sums over rows, by halving: every addition is one of whole rows, in a fixed order."""
    total = np.zeros(rows.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            while len(part) > 1:
                half = (len(part) + 1) // 2
                upper = part[half:]
                part = part[:half].copy()
                part[: len(upper)] += upper
            total += part[0]
    return total
