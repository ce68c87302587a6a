"""Where a fit stands: with model and optimiser, all that going on exactly needs."""

from __future__ import annotations

from typing import Any

from .. import _check
from ..history import History
from .rows import Sums

LARGEST = 2**53  # epochs, batches and rows that a file may claim


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
        sizes = {name: _check.size("resume", name, state[name], 0) for name in whole}
        made = cls(sizes["first"], sizes["epochs"], dict(state["settings"]))
        made.epoch, made.batch, made.steps = sizes["epoch"], sizes["batch"], sizes["steps"]
        made.seconds = _check.number("resume", "seconds", state["seconds"], 0)
        loss, weight, *counts = state["sums"]
        correct, counted = (_check.size("resume", "sums", count, 0) for count in counts)
        made.sums = Sums(float(loss), float(weight), correct, counted)
        if not made.first <= made.epoch <= made.end:
            raise ValueError(f"resume: epoch {made.epoch} is not in {made.first}..{made.end}")
        if max(made.end, made.batch, made.steps, correct, counted) > LARGEST:
            raise ValueError("resume: a number is larger than any fit has")
        made.history = History(state["history"])
        return made

    def differences(self, settings: dict[str, Any]) -> list[str]:
        """What stands in the way of going on with these settings."""
        return [
            f"{name} was {self.settings.get(name)!r} and is {value!r}"
            for name, value in settings.items()
            if self.settings.get(name) != value
        ]
