"""Callbacks: what a fit calls between its epochs and batches.

A callback looks at the trainer and the figures; `trainer.stop = True` ends the fit after the batch
or epoch that is running. `fit` takes callbacks and plain functions, which are called after each
epoch: `fit(..., callbacks=[lambda trainer, epoch, values: print(epoch, values["loss"])])`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import metrics
from .._core import check


class Callback:
    """Base of all callbacks; each method does nothing until a subclass defines it.

    Attributes:
        every: on_batch_end is called after every so many batches; between two calls the batches
            run in one piece, as without a callback.
    """

    every = 1

    def on_fit_begin(self, trainer: Any) -> None:
        """Before the first batch."""

    def on_batch_end(self, trainer: Any, step: int, values: dict[str, Any]) -> None:
        """After a batch.

        Args:
            trainer: the Trainer.
            step: counted from 1 in this fit.
            values: what was measured so far, as the trainer says.
        """

    def on_epoch_end(self, trainer: Any, epoch: int, values: dict[str, Any]) -> None:
        """After an epoch and its validation.

        Args:
            trainer: the Trainer.
            epoch: counted from 0 in this fit.
            values: the figures that History gets.
        """

    def on_fit_end(self, trainer: Any, history: Any) -> None:
        """After the last epoch, also when the fit was stopped."""

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs: dicts, lists, what JSON knows, and arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned."""


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_end: f(trainer, epoch, values), or None; likewise the others, with the arguments
            of Callback's methods.
        every: batches between two calls of on_batch_end.

    Raises:
        TypeError, ValueError: what was given cannot be called, or every < 1.
    """

    def __init__(
        self,
        on_epoch_end: Callable[..., Any] | None = None,
        on_batch_end: Callable[..., Any] | None = None,
        on_fit_begin: Callable[..., Any] | None = None,
        on_fit_end: Callable[..., Any] | None = None,
        every: int = 1,
    ) -> None:
        self.every = check.size("LambdaCallback", "every", every)
        given = {"on_epoch_end": on_epoch_end, "on_batch_end": on_batch_end}
        given |= {"on_fit_begin": on_fit_begin, "on_fit_end": on_fit_end}
        for name, function in given.items():
            if function is not None:
                if not callable(function):
                    raise TypeError(
                        f"LambdaCallback: {name}: expected a function, got {function!r}"
                    )
                setattr(self, name, function)


class EarlyStopping(Callback):
    """Stops a fit whose monitored figure no longer improves, and puts the best weights back.

    An epoch improves when its figure is better than the best one so far by more than min_delta;
    after `patience` epochs in a row without, the fit stops. NaN is never better.

    Args:
        monitor: the figure's name: "val_loss", "val_accuracy", "loss" and so on.
        patience: epochs without improvement before the stop, at least 1.
        min_delta: what an improvement must exceed, >= 0, in units of the figure.
        mode: "min", "max", or "auto": "max" for accuracy, top_k and r2, else "min".
        restore_best: give the model the weights of its best epoch when the fit ends, also when it
            was not stopped.

    Attributes:
        best: the best figure, or None. best_epoch: its epoch, from 0 in this fit, or None.
        stopped_epoch: the epoch of the stop, likewise, or None.

    Raises:
        TypeError, ValueError: an argument of another kind or out of range.

    Source: Prechelt, "Early stopping: but when?", Neural Networks: Tricks of the Trade (1998).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f"EarlyStopping: monitor: expected a name such as 'val_loss', got {monitor!r}"
            )
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"EarlyStopping: mode: expected 'auto', 'min' or 'max', got {mode!r}")
        self.monitor, self.mode, self.restore_best = monitor, mode, bool(restore_best)
        self.patience = check.size("EarlyStopping", "patience", patience)
        self.min_delta = check.number("EarlyStopping", "min_delta", min_delta, 0)
        largest = metrics.larger_is_better(monitor) if mode == "auto" else mode == "max"
        self._sign = -1.0 if largest else 1.0
        self._resumed = False
        self._kept_in_c = False  # while epochs that ran in C are gone through again
        self._clear()

    def _clear(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self.wait = 0
        self._weights: dict[str, np.ndarray] | None = None
        self._modules: dict[str, Any] = {}

    def on_fit_begin(self, trainer: Any) -> None:
        """Forgets an earlier fit, unless its state has just been loaded to go on with it."""
        if not self._resumed:
            self._clear()
        else:
            self._require_fitting(trainer.model)
            if self.stopped_epoch is not None:
                trainer.stop = True  # a fit that it has stopped does not go on
        self._resumed = False

    def _require_fitting(self, model: Any) -> None:
        """Requires best weights and states that the model takes, before it is trained."""
        try:
            self._try_best(model)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            from ..checkpoint.header import CheckpointError

            raise CheckpointError(
                "fit: resume: the best weights that EarlyStopping kept are not this model's: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _try_best(self, model: Any) -> None:
        if self._weights is not None:
            before = model.state_dict()
            try:
                model.load_state_dict(self._weights)
            finally:
                model.load_state_dict(before)
        for name, module in model.named_modules():
            if name in self._modules:
                state = copy.deepcopy(module.extra_state())
                module.load_extra_state(copy.deepcopy(self._modules[name]))
                module.load_extra_state(state)

    def on_epoch_end(self, trainer: Any, epoch: int, values: dict[str, Any]) -> None:
        """Compares the epoch's figure with the best one."""
        figure = self._figure(values)
        if self._improves(figure):
            self.best, self.best_epoch, self.wait = figure, epoch, 0
            if self.restore_best:
                self._keep(trainer.model)
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            trainer.stop = True

    def on_fit_end(self, trainer: Any, history: Any) -> None:
        """Puts the best weights back."""
        if self.restore_best and self._weights is not None:
            trainer.model.load_state_dict(self._weights)
            for name, module in trainer.model.named_modules():
                if name in self._modules:
                    module.load_extra_state(copy.deepcopy(self._modules[name]))

    def _figure(self, values: Mapping[str, Any]) -> float:
        if self.monitor not in values:
            cure = (
                "; pass validation data to fit, or monitor='loss'"
                if self.monitor.startswith("val_")
                else ""
            )
            raise ValueError(
                f"EarlyStopping: monitor: {self.monitor!r} was not measured, only "
                f"{', '.join(values)}{cure}"
            )
        figure = values[self.monitor]
        if np.ndim(figure) != 0:
            raise ValueError(
                f"EarlyStopping: monitor: {self.monitor!r} is no number; monitor another figure"
            )
        return float(figure)

    def _improves(self, figure: float) -> bool:
        if math.isnan(figure):
            return False
        return self.best is None or self._sign * (self.best - figure) > self.min_delta

    def _keep(self, model: Any) -> None:
        if self._kept_in_c:
            return
        states = {name: module.extra_state() for name, module in model.named_modules()}
        self._weights = model.state_dict()
        self._modules = copy.deepcopy({k: v for k, v in states.items() if v is not None})

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, with the best weights."""
        return {
            "best": None if self.best is None else _jsonable(self.best),
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "wait": self.wait,
            "weights": None if self._weights is None else dict(self._weights),
            "modules": copy.deepcopy(self._modules),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there; the next fit does not start anew.

        Raises:
            TypeError, ValueError: not the names and kinds of `state_dict()`. Nothing has changed
                then.
        """
        operation = "EarlyStopping.load_state_dict"
        names = {"best", "best_epoch", "stopped_epoch", "wait", "weights", "modules"}
        if not isinstance(state, Mapping) or set(state) != names:
            raise ValueError(
                f"EarlyStopping.load_state_dict: state: expected {sorted(names)}, got "
                f"{sorted(state) if isinstance(state, Mapping) else type(state).__name__}; "
                "take it from state_dict()"
            )
        best, weights = state["best"], state["weights"]
        if isinstance(best, str) and best in ("inf", "-inf", "nan"):
            best = float(best)
        elif best is not None:
            best = check.number(operation, "best", best, -math.inf)
        epochs = [
            None if state[name] is None else check.size(operation, name, state[name], 0, 2**32)
            for name in ("best_epoch", "stopped_epoch")
        ]
        wait = check.size(operation, "wait", state["wait"], 0, 2**32)
        for name in ("weights", "modules"):
            if not isinstance(state[name], Mapping) and (state[name] or name == "modules"):
                raise TypeError(
                    f"{operation}: {name}: expected a dict, got {check.describe(state[name])}"
                )
        self._weights = None if weights is None else {k: np.array(v) for k, v in weights.items()}
        self._modules = copy.deepcopy(dict(state["modules"]))
        self.best, self.wait = best, wait
        self.best_epoch, self.stopped_epoch = epochs
        self._resumed = True

    def __repr__(self) -> str:
        return f"EarlyStopping({self.monitor!r}, patience={self.patience})"


def _jsonable(number: float) -> float | str:
    """The number, or its name where JSON has none for it; float() reads both."""
    return number if math.isfinite(number) else repr(number)


class Callbacks(Callback):
    """Several callbacks as one; made by `resolve`."""

    def __init__(self, callbacks: list[Callback]) -> None:
        self.callbacks = callbacks
        self._of_batches = [c for c in callbacks if _wants_batches(c)]

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __len__(self) -> int:
        return len(self.callbacks)

    def batches_until_call(self, step: int) -> int | None:
        """How many batches run after `step` (0 at the beginning) until one wants to be called.

        Returns:
            At least 1, or None when no callback wants batches.
        """
        return min((c.every - step % c.every for c in self._of_batches), default=None)

    def on_fit_begin(self, trainer: Any) -> None:
        for callback in self.callbacks:
            callback.on_fit_begin(trainer)

    def on_batch_end(self, trainer: Any, step: int, values: dict[str, Any]) -> None:
        """Calls those whose turn it is at this step."""
        for callback in self._of_batches:
            if step % callback.every == 0:
                callback.on_batch_end(trainer, step, values)

    def on_epoch_end(self, trainer: Any, epoch: int, values: dict[str, Any]) -> None:
        for callback in self.callbacks:
            callback.on_epoch_end(trainer, epoch, values)

    def on_fit_end(self, trainer: Any, history: Any) -> None:
        for callback in self.callbacks:
            callback.on_fit_end(trainer, history)

    def state_dict(self) -> dict[str, Any]:
        """The states in their order."""
        return {"callbacks": [callback.state_dict() for callback in self.callbacks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Gives each its state.

        Raises:
            ValueError: another number of callbacks. Nothing has changed then.
        """
        states = state["callbacks"] if isinstance(state, Mapping) and "callbacks" in state else []
        if len(states) != len(self.callbacks):
            raise ValueError(
                f"callbacks: the state is that of {len(states)} callbacks, this fit has "
                f"{len(self.callbacks)}; pass the same ones as before"
            )
        for callback, one in zip(self.callbacks, states, strict=True):
            callback.load_state_dict(one)


def _wants_batches(callback: Callback) -> bool:
    own = getattr(callback.on_batch_end, "__func__", callback.on_batch_end)
    return own is not Callback.on_batch_end


def resolve(callbacks: Any) -> Callbacks:
    """One object that calls them all.

    Args:
        callbacks: a Callback, a function f(trainer, epoch, values) to call after each epoch, a
            list of these, or None.

    Raises:
        TypeError, ValueError: something else, or one whose `every` is no positive integer.
    """
    if isinstance(callbacks, Callbacks):
        return callbacks
    several = isinstance(callbacks, (list, tuple))
    given = list(callbacks) if several else [] if callbacks is None else [callbacks]
    found = []
    for callback in given:
        if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
            made = f"; pass {callback.__name__}()" if isinstance(callback, type) else ""
            raise TypeError(
                f"callbacks: expected a Callback or a function of (trainer, epoch, values), "
                f"got {callback!r}{made}"
            )
        one = callback if isinstance(callback, Callback) else LambdaCallback(callback)
        check.size(type(one).__name__, "every", one.every)
        found.append(one)
    return Callbacks(found)
