"""The base of learning rate schedules, and their sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._core import check
from .._core.settings import settings
from .optimizer import Optimizer

STEPS = 2**53  # at most, of a schedule and its settings


class Schedule:
    """Sets an optimiser's learning rate step by step.

    A subclass defines `rate`, a pure function of the step number, and keeps every argument of its
    constructor as an attribute of the same name. nnlite's own define `_rates`, the rates of many
    steps at once; they use no functions of the C library, so they are the same on every machine.

    The base rate is the rate that the optimiser was made with, or that was last assigned to
    `optimizer.lr`; other schedules do not change it. The constructor sets the rate of step 0.

    Args:
        optimizer: the optimiser whose rate is set.
        interval: "epoch" or "batch": after what a Trainer calls `step`.

    Attributes:
        base_lr: the base rate.
        last_epoch: the current step number, 0 at first (PyTorch's name; it counts batches too).

    Raises:
        TypeError, ValueError: an argument is of another kind or out of range.
    """

    interval = "epoch"
    pure = True  # rate(t) depends on t alone

    def __init__(self, optimizer: Optimizer, interval: str = "epoch") -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{name}: optimizer: expected an Optimizer, got {check.describe(optimizer)}"
            )
        if interval not in ("epoch", "batch"):
            raise ValueError(f"{name}: interval: expected 'epoch' or 'batch', got {interval!r}")
        self.optimizer, self.interval = optimizer, interval
        self.base_lr = optimizer.initial_lr
        self.last_epoch = 0
        optimizer._set_rate(self.rate(0))

    def rate(self, t: int) -> float:
        """The rate of step t = 0, 1, 2, ...: a pure function of t."""
        return float(self._rates(np.array([check.size("rate", "t", t, 0)], np.int64))[0])

    def _rates(self, t: np.ndarray) -> np.ndarray:
        """The rate of each step in an array."""
        if type(self).rate is Schedule.rate:
            raise TypeError(f"{type(self).__name__} must define rate(t)")
        return np.array([self.rate(int(step)) for step in t], np.float64)

    def step(self) -> None:
        """Goes on to the next step and sets the optimiser's rate."""
        self.advance(1)

    # What a Trainer calls: the first two by batch, the third by epoch.

    def rates(self, count: int) -> np.ndarray:
        """The rates of the next `count` steps, the present one first."""
        return self._rates(np.arange(self.last_epoch, self.last_epoch + count))

    def advance(self, count: int) -> None:
        """Goes on by `count` steps and sets the optimiser's rate."""
        rate = self.rate(self.last_epoch + count)
        self.last_epoch += count
        self.optimizer._set_rate(rate)

    def end_epoch(self, values: Mapping[str, Any]) -> None:
        """Goes on by one epoch, whose figures are given."""
        self.step()

    def state_dict(self) -> dict[str, Any]:
        """Class, constructor arguments, base rate and step number, as JSON can hold them."""
        return {
            "schedule": type(self).__name__,
            "settings": settings(self, skip=("optimizer",)),
            "base_lr": self.base_lr,
            "last_epoch": self.last_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned, and sets the optimiser's rate.

        Raises:
            TypeError, ValueError: the state belongs to another schedule, lacks something or holds
                something out of range; nothing has changed.
        """
        twin, rate = self._restored(state)
        vars(self).update(vars(twin))
        self.optimizer._set_rate(rate)

    def _restored(self, state: Mapping[str, Any]) -> tuple[Schedule, float]:
        """A schedule with that state, and its rate; neither this one nor the optimiser changes."""
        operation = f"{type(self).__name__}.load_state_dict"
        check.keys(operation, state, {"schedule", "settings", "base_lr", "last_epoch"})
        if state["schedule"] != type(self).__name__:
            raise ValueError(f"{operation}: the state is of {state['schedule']}")
        check.keys(operation, state["settings"], set(settings(self, skip=("optimizer",))))
        before = self.optimizer.lr
        try:
            twin = type(self)(self.optimizer, **state["settings"])
        finally:
            self.optimizer._set_rate(before)
        twin.base_lr = check.number(operation, "base_lr", state["base_lr"], 0)
        twin.last_epoch = check.size(operation, "last_epoch", state["last_epoch"], 0, STEPS)
        return twin, twin.rate(twin.last_epoch)

    def __repr__(self) -> str:
        own = settings(self, skip=("optimizer",))
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in own.items())})"

    # For the constructors of subclasses.

    def _number(self, name: str, value: Any, low: float = 0.0, above: bool = False) -> float:
        return check.number(type(self).__name__, name, value, low, above=above)

    def _count(self, name: str, value: Any, least: int = 1) -> int:
        return check.size(type(self).__name__, name, value, least, STEPS)


class SequentialLR(Schedule):
    """Several schedules one after the other: the i-th starts at milestone i, with its own step 0.

    A warm-up before cosine annealing:
    `SequentialLR(opt, [LinearLR(opt, 0.1, total_iters=5), CosineAnnealingLR(opt, 95)], [5])`.

    Args:
        optimizer: the optimiser of all of them.
        schedulers: schedules with a pure rate, all of one interval.
        milestones: the step at which each but the first begins, rising.

    Raises:
        TypeError: an item is no Schedule, or has no pure rate.
        ValueError: numbers do not fit, optimisers or intervals differ.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]
    ) -> None:
        self.schedulers = list(schedulers)
        for one in self.schedulers:
            if not isinstance(one, Schedule) or not one.pure:
                raise TypeError(
                    "SequentialLR: schedulers: expected schedules with a rate(t) that depends on "
                    f"t alone, got {check.describe(one)}"
                )
            if one.optimizer is not optimizer:
                raise ValueError("SequentialLR: schedulers: one of them has another optimizer")
        self.milestones = [self._count("milestones", at) for at in milestones]
        if len(self.milestones) + 1 != len(self.schedulers):
            raise ValueError(
                f"SequentialLR: milestones: expected {len(self.schedulers) - 1} of them, one fewer "
                f"than schedulers, got {len(self.milestones)}"
            )
        if any(a >= b for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise ValueError(f"SequentialLR: milestones: expected rising, got {self.milestones}")
        if len({one.interval for one in self.schedulers}) > 1:
            raise ValueError("SequentialLR: schedulers: expected one interval for all")
        super().__init__(optimizer, self.schedulers[0].interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        found = np.empty(t.shape)
        part = np.searchsorted(self.milestones, t, side="right")
        for index, (one, begin) in enumerate(
            zip(self.schedulers, [0, *self.milestones], strict=True)
        ):
            found[part == index] = one._rates(t[part == index] - begin)
        return found

    def state_dict(self) -> dict[str, Any]:
        """As Schedule.state_dict, with the states of the parts as the only setting."""
        return {
            "schedule": "SequentialLR",
            "settings": {
                "schedulers": [one.state_dict() for one in self.schedulers],
                "milestones": list(self.milestones),
            },
            "base_lr": self.base_lr,
            "last_epoch": self.last_epoch,
        }

    def _restored(self, state: Mapping[str, Any]) -> tuple[Schedule, float]:
        operation = "SequentialLR.load_state_dict"
        check.keys(operation, state, {"schedule", "settings", "base_lr", "last_epoch"})
        check.keys(operation, state["settings"], {"schedulers", "milestones"})
        parts = state["settings"]["schedulers"]
        if not isinstance(parts, (list, tuple)) or len(parts) != len(self.schedulers):
            raise ValueError(f"{operation}: expected {len(self.schedulers)} schedulers")
        made = [one._restored(part)[0] for one, part in zip(self.schedulers, parts, strict=True)]
        own = {"schedulers": made, "milestones": state["settings"]["milestones"]}
        return super()._restored({**state, "settings": own})
