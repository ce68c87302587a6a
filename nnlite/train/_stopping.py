"""An EarlyStopping that C follows by itself, so that epochs run on without Python between them.

C compares the figure of each epoch as the callback does (csrc/program/stopping.inc), keeps the
weights of the best one, and ends the run where the callback would end the fit. The callback then
goes through the epochs that ended, comes to the same decisions from the same numbers, and takes
over what C has kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .._core import native
from ..nn.dropout import Dropout
from ..nn.module import Module
from .callbacks import EarlyStopping

if TYPE_CHECKING:
    from ..program.train import Program
    from ._fit import Plan


def rule_of(plan: Plan, model: Module) -> EarlyStopping | None:
    """The only callback of a plan, where it is one that C can follow."""
    found = list(plan.callbacks)
    if len(found) != 1 or type(found[0]) is not EarlyStopping:
        return None
    stopping: EarlyStopping = found[0]
    if any(callable(value) for value in vars(stopping).values()):  # a method of the user's own
        return None
    figure = stopping.monitor.removeprefix("val_")
    measured = figure == "loss" or (figure == "accuracy" and plan.data.classes)
    if not measured or (figure != stopping.monitor and plan.data.held_out is None):
        return None
    if len(model._state_arrays()) != len(dict(model.named_parameters())):
        return None  # buffers, which C does not keep
    states = [part for part in model.modules() if part.extra_state() is not None]
    return stopping if all(type(part) is Dropout for part in states) else None


class StoppingRule:
    """What C needs to follow a callback through one run of epochs."""

    def __init__(self, callback: EarlyStopping, runner: Program, model: Module) -> None:
        self.callback, self.runner, self.model = callback, runner, model
        figure = callback.monitor.removeprefix("val_")
        s = self._struct = native.struct("stopping")
        s.figure = native.FIGURE_LOSS if figure == "loss" else native.FIGURE_ACCURACY
        s.held_out, s.larger = figure != callback.monitor, callback._sign < 0
        s.factor, s.min_delta = 1.0, callback.min_delta
        s.patience = callback.patience
        self._best: np.ndarray | None = None
        self._counters = np.zeros(len(runner.counters) + 1, np.uint32)

    def prepare(self) -> None:
        """Tells C where the callback stands; after `Program.prepare`."""
        s, callback, runner = self._struct, self.callback, self.runner
        s.best = math.nan if callback.best is None else callback.best
        s.epoch = -1 if callback.best is None else 0
        s.wait, s.stopped = callback.wait, 0
        self._before = callback.best_epoch
        if callback.restore_best:
            count = sum(part.count for part in runner.optimizer.segments())
            if self._best is None or len(self._best) != count:
                self._best = np.empty(count, runner.dtype)
            s.best_weights = native.pointer(self._best)
            s.best_counters = native.pointer(self._counters)
        runner.training.stopping = s

    def begin_replay(self) -> None:
        """The callback keeps no weights for now: they are not those of the epoch."""
        self.callback._kept_in_c = True

    def end_replay(self) -> None:
        """Gives the callback the best weights, where there are new ones."""
        callback = self.callback
        callback._kept_in_c = False
        if callback.restore_best and callback.best_epoch != self._before:
            self._exchange()
            try:
                callback._keep(self.model)
            finally:
                self._exchange()

    def _exchange(self) -> None:
        """The weights and random streams that C has kept against those that there are."""
        best, begin = self._best, 0
        assert best is not None
        for part in self.runner.optimizer.segments():
            kept = best[begin : begin + part.count]
            now = part.data.copy()
            part.data[...], kept[...] = kept, now
            begin += part.count
        for i, module in enumerate(self.runner.counters):
            if module is not None:
                step = int(module.step)
                module.step, self._counters[i] = int(self._counters[i]), step
