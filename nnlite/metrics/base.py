"""The base of all metrics."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core import check


class Metric:
    """A figure over all rows given to `update` since the last `reset`.

    A subclass sets `name`, and defines `reset`, `value` and `_add`, which gets checked arrays.
    """

    name = ""
    larger_is_better = False
    _keeps_weightless = False  # True where rows of weight 0 still say which labels there are

    def reset(self) -> None:
        """Forgets all rows."""
        raise TypeError(f"{type(self).__name__} must define reset, value and _add")

    def update(self, output: Any, target: Any, sample_weight: Any = None) -> None:
        """Adds the rows of one batch.

        Args:
            output: the model's output, one row for each sample.
            target: what it should have been.
            sample_weight: (N,) weights of the rows, finite and >= 0; None: 1 each. A row of weight
                0 counts for nothing, whatever it holds.

        Raises:
            TypeError, ValueError, IndexError: the arrays do not fit. Nothing has been added.
        """
        check.unmasked(self.name, "output", output)
        check.unmasked(self.name, "target", target)
        x, t = np.asarray(output), np.asarray(target)
        for name, value in (("output", x), ("target", t)):
            if value.dtype.kind not in "fiub":
                raise TypeError(f"{self.name}: {name}: expected numbers, got {value.dtype}")
        if x.ndim == 0 or t.ndim == 0 or len(x) != len(t):
            raise ValueError(
                f"{self.name}: output has shape {x.shape}, target {t.shape}; "
                "pass one row of each for each sample"
            )
        weight = None
        if sample_weight is not None:
            weight = _weights(self.name, sample_weight, len(x))
            if not self._keeps_weightless and not weight.all():
                x, t, weight = x[weight > 0], t[weight > 0], weight[weight > 0]
        self._add(x, t, weight)

    def _add(self, output: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        raise TypeError(f"{type(self).__name__} must define reset, value and _add")

    def value(self) -> Any:
        """The figure; NaN when no row was given."""
        raise TypeError(f"{type(self).__name__} must define reset, value and _add")

    def state_dict(self) -> dict[str, Any]:
        """A copy of all attributes: what an exact resume in the middle of an epoch needs."""
        return copy.deepcopy(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave.

        Raises:
            ValueError: the state is that of another kind of metric. Nothing has changed then.
        """
        if set(state) != set(vars(self)):
            raise ValueError(f"{self.name}: the state is that of another metric")
        vars(self).update(copy.deepcopy(dict(state)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}: {self.value()})"


def _weights(operation: str, weight: Any, rows: int) -> np.ndarray:
    """(rows,) weights as float64."""
    check.unmasked(operation, "sample_weight", weight)
    found = np.asarray(weight)
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{operation}: sample_weight: expected numbers, got {found.dtype}")
    if found.shape != (rows,):
        raise ValueError(
            f"{operation}: sample_weight: expected shape ({rows},), one weight for each row, got "
            f"{found.shape}"
        )
    found = found.astype(np.float64)
    wrong = np.flatnonzero(~((found >= 0) & (found < math.inf)))
    if wrong.size:
        raise ValueError(
            f"{operation}: sample_weight: row {wrong[0]} has {found[wrong[0]]}, expected a finite "
            "number >= 0"
        )
    return found


def chain(start: Any, terms: np.ndarray) -> Any:
    """start + terms[0] + terms[1] + ..., one after the other: the same bits for any batches."""
    return np.add.accumulate(np.concatenate([np.asarray(start, np.float64)[None], terms]))[-1]


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
