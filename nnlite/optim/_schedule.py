"""What a trainer asks of a learning-rate schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Schedule:
    """Base of schedules over one optimiser.

    Attributes:
        optimizer: whose `lr` it sets.
        interval: "epoch" or "batch": how often the rate changes.
    """

    optimizer: Any
    interval = "epoch"

    def rates(self, count: int) -> list[float]:
        """By batch: the rates of the next `count` batches, the present one first."""
        raise NotImplementedError

    def advance(self, count: int) -> None:
        """By batch: goes on by `count` batches and sets the optimiser's rate."""
        raise NotImplementedError

    def end_epoch(self, values: Mapping[str, Any]) -> None:
        """By epoch: goes on by one epoch, whose figures are given, and sets the rate."""
        raise NotImplementedError
