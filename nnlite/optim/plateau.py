"""A schedule that watches a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .._core import check
from .optimizer import Optimizer
from .schedule import Schedule


class ReduceLROnPlateau(Schedule):
    """Multiplies the rate by factor when a metric has not improved for more than patience steps.

    "min": better means below best (1 - threshold) ("rel") or best - threshold ("abs"); "max": above
    best (1 + threshold) or best + threshold. After a reduction `cooldown` steps are not counted. A
    NaN is never better.

    Args:
        optimizer: the optimiser whose rate is set.
        mode: "min" or "max".
        factor: 0 < factor < 1.
        patience: steps without improvement that are borne, at least 0.
        threshold: at least 0.
        threshold_mode: "rel" or "abs".
        cooldown: at least 0.
        min_lr: lowest rate, at least 0.
        eps: a change smaller than this is not made, at least 0.
        monitor: the figure of an epoch that a Trainer passes, as "val_accuracy"; default val_loss
            where there is one, else loss.

    Attributes:
        best: the best metric so far; inf or -inf at first.
        num_bad_epochs: steps without improvement.

    Raises:
        TypeError, ValueError: an argument is of another kind or out of range.
    """

    pure = False

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
        monitor: str | None = None,
    ) -> None:
        for name, value, known in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            if value not in known:
                raise ValueError(
                    f"ReduceLROnPlateau: {name}: expected {known[0]!r} or {known[1]!r}, "
                    f"got {value!r}"
                )
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = self._number("factor", factor, above=True)
        if self.factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor: expected below 1, got {factor}")
        self.patience = self._count("patience", patience, 0)
        self.threshold = self._number("threshold", threshold)
        self.cooldown = self._count("cooldown", cooldown, 0)
        self.min_lr, self.eps = self._number("min_lr", min_lr), self._number("eps", eps)
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"ReduceLROnPlateau: monitor: expected a name, got {monitor!r}")
        self.monitor = monitor
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        self.optimizer = optimizer  # rate, called by the constructor below, looks at it
        super().__init__(optimizer)

    def rate(self, t: int) -> float:
        """The current rate: this schedule knows no others."""
        return self.optimizer.lr

    def _better(self, metric: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            limit = self.best + sign * self.threshold
        else:
            limit = self.best * (1 + sign * self.threshold)
        return metric > limit if sign > 0 else metric < limit

    def step(self, metrics: float | None = None) -> None:
        """Looks at the metric of one more epoch, and may reduce the optimiser's rate.

        Raises:
            TypeError: no metric was given.
        """
        if metrics is None:
            raise TypeError("ReduceLROnPlateau.step: metrics: expected a number, got nothing")
        metric = float(metrics)
        self.last_epoch += 1
        if self._better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def end_epoch(self, values: Mapping[str, Any]) -> None:
        """Looks at the monitored figure of an epoch."""
        name = self.monitor or ("val_loss" if "val_loss" in values else "loss")
        if name not in values:
            raise ValueError(
                f"ReduceLROnPlateau: monitor: expected one of {', '.join(values)}, got {name!r}"
            )
        self.step(values[name])

    def advance(self, count: int) -> None:
        raise TypeError("ReduceLROnPlateau: pass a metric to each step")

    def _reduce(self) -> None:
        rate = max(self.optimizer.lr * self.factor, self.min_lr)
        if self.optimizer.lr - rate > self.eps:
            self.optimizer._set_rate(rate)

    def state_dict(self) -> dict[str, Any]:
        """As Schedule.state_dict, with the metric's history; best is None before the first step."""
        found = super().state_dict()
        watched = {"num_bad_epochs": self.num_bad_epochs, "cooldown_counter": self.cooldown_counter}
        best = self.best if math.isfinite(self.best) else None
        return {**found, **watched, "best": best, "lr": self.optimizer.lr}

    def _restored(self, state: Mapping[str, Any]) -> tuple[Schedule, float]:
        operation = "ReduceLROnPlateau.load_state_dict"
        names = ("num_bad_epochs", "cooldown_counter", "best", "lr")
        check.keys(operation, state, {"schedule", "settings", "base_lr", "last_epoch", *names})
        twin, _ = super()._restored({k: v for k, v in state.items() if k not in names})
        assert isinstance(twin, ReduceLROnPlateau)
        for name in names[:2]:
            setattr(twin, name, check.size(operation, name, state[name], 0))
        if state["best"] is not None:
            twin.best = check.number(operation, "best", state["best"], -math.inf)
        return twin, check.number(operation, "lr", state["lr"], 0)
