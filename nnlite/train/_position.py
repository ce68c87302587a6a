"""Where a fit stands: with model and optimiser, all that going on exactly needs."""

from __future__ import annotations

import math
from typing import Any

from .._core import check
from ..program.rows import Sums
from .history import History

LARGEST = 2**53  # batches and rows that a file may claim
EPOCHS = 2**32  # each has an order of its own
FIGURES = {"loss", "seconds", "accuracy", "lr", "val_loss", "val_accuracy"}  # always numbers


class Position:
    """The next batch of a fit, and what was measured before it.

    Args:
        first: number of the fit's first epoch, over all fits of the trainer.
        epochs: how many the fit has.
        settings: what must be equal when the fit goes on: batch size, order, data.

    Attributes:
        epoch, batch: the next batch: its epoch and its number in it.
        steps: batches done in this fit.
        sums: of the epoch so far.
        seconds: spent in the epoch so far.
        history: of the epochs that ended.
    """

    def __init__(self, first: int, epochs: int, settings: dict[str, Any]) -> None:
        self.first, self.epochs, self.settings = first, epochs, settings
        self.epoch, self.batch, self.steps, self.seconds = first, 0, 0, 0.0
        self.sums = Sums()
        self.history = History()

    @property
    def end(self) -> int:
        """The epoch after the last."""
        return self.first + self.epochs

    def state(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "first": self.first, "epochs": self.epochs, "settings": self.settings,
            "epoch": self.epoch, "batch": self.batch, "steps": self.steps, "seconds": self.seconds,
            "sums": self.sums.state(), "history": dict(self.history),
        }  # fmt: skip

    @classmethod
    def of(cls, state: dict[str, Any]) -> Position:
        """The position that gave this state.

        Raises:
            KeyError, TypeError, ValueError: the state is none; it may come from a hostile file.
        """
        whole = ("first", "epochs", "epoch", "batch", "steps")
        sizes = {name: check.size("resume", name, state[name], 0) for name in whole}
        made = cls(sizes["first"], sizes["epochs"], dict(state["settings"]))
        made.epoch, made.batch, made.steps = sizes["epoch"], sizes["batch"], sizes["steps"]
        made.seconds = check.number("resume", "seconds", state["seconds"], 0)
        loss, weight, *counts = state["sums"]
        correct, counted = (check.size("resume", "sums", n, 0) for n in counts)
        weight = check.number("resume", "sums", weight, 0)
        made.sums = Sums(_number("sums", loss), weight, correct, counted)
        if not made.first <= made.epoch <= made.end:
            raise ValueError(f"resume: epoch {made.epoch} is not in {made.first}..{made.end}")
        if made.end > EPOCHS or max(made.batch, made.steps, correct, counted) > LARGEST:
            raise ValueError("resume: a number is larger than any fit has")
        made.history = History(state["history"])
        for name in FIGURES & made.history.keys():
            made.history[name] = [_number(name, value) for value in made.history[name]]
        return made

    def differences(self, settings: dict[str, Any]) -> list[str]:
        """What stands in the way of going on with these settings."""
        return [
            f"{name} was {self.settings.get(name)!r} and is {value!r}"
            for name, value in settings.items()
            if self.settings.get(name) != value
        ]


def _number(name: str, value: Any) -> float:
    """Requires a number, finite or not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"resume: {name}: expected a number, got {check.describe(value)}")
    return check.number("resume", name, value, -math.inf) if isinstance(value, int) else value
