"""Modules without arithmetic: Identity and Flatten."""

from __future__ import annotations

import math
from typing import Any

from .._core import check
from .branches import MOST_AXES
from .module import Module


class Identity(Module):
    """y = x, dx = dy: a place that is to be empty, or a branch of Concat that keeps x."""

    def _formula(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Several axes as one: by default each row as one row of numbers, (N, C, H) to (N, C H).

    Args:
        start_dim: the first of the axes; 1 (default) leaves the rows of the batch; never 0.
        end_dim: the last of them; -1 (default): of all.

    Raises:
        TypeError: they are no integers.
        ValueError: start_dim is 0. When it is called: x has no such axes.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = check.size("Flatten", "start_dim", start_dim, -MOST_AXES, MOST_AXES)
        self.end_dim = check.size("Flatten", "end_dim", end_dim, -MOST_AXES, MOST_AXES)
        if self.start_dim == 0 or self.end_dim == 0:
            raise ValueError(
                "Flatten: axis 0 is that of the rows of the batch, which stay; expected "
                "start_dim and end_dim other than 0"
            )

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        ndim = len(shape)
        first = self.start_dim + ndim * (self.start_dim < 0)
        last = self.end_dim + ndim * (self.end_dim < 0)
        if ndim == 1 and (self.start_dim, self.end_dim) == (1, -1):
            return (*shape, 1)  # rows of one number
        if not 0 < first <= last < ndim:
            raise ValueError(
                f"Flatten: x has shape {shape}, which has no axes {self.start_dim} to "
                f"{self.end_dim} after the first, the rows; expected more dimensions"
            )
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])

    def _formula(self, x: Any) -> Any:
        return x.reshape(self._shape(x.shape))

    def _describe(self) -> str:
        standard = (self.start_dim, self.end_dim) == (1, -1)
        return "" if standard else f"start_dim={self.start_dim}, end_dim={self.end_dim}"
