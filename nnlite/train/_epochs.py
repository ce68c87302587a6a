"""Whole epochs in C: shuffle, batches and validation; Python comes in where an epoch ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import native
from ..data import permutation
from ..program.rows import NotFiniteError, Rows
from ..program.train import Program
from ._stopping import StoppingRule

if TYPE_CHECKING:
    from ._fit import Fit
    from ._interrupts import Interrupts


class EpochRun:
    """The rest of a fit whose rows lie in RAM, run by its program in slices.

    A slice is prepared by `begin`, run by C, alone or beside other networks, and taken over by
    `end`. It goes on across the ends of epochs unless something is to be done there.
    """

    def __init__(self, fit: Fit, runner: Program) -> None:
        self.fit, self.runner, self.failed = fit, runner, False
        data, seed, at = fit.plan.data, fit.trainer.seed, fit.at
        self._rows = Rows(data.source.X, data.source.y, data.weight)
        rows = int(data.rows or 0)
        short = np.uint32 if rows < 2**32 else np.int64
        self._order = np.empty(rows, short) if fit.plan.shuffle else None
        if at.batch and self._order is not None:
            self._order[...] = permutation(rows, seed, at.epoch)
        self.batches = -(-rows // fit.plan.batch_size)
        runner.bind(self._rows, self._order, fit.plan.shuffle, seed, data.subset)
        runner.hold_out(data.held_out)
        self._rule = fit.rule and StoppingRule(fit.rule, runner, fit.trainer.model)

    @property
    def left(self) -> int:
        """Batches to the end of the fit."""
        at = self.fit.at
        return (at.end - at.epoch) * self.batches - at.batch

    def most(self) -> int:
        """Batches that may run at once."""
        if self.fit.acts_at_epoch_ends:
            return self.batches - self.fit.at.batch
        return self.left

    def begin(self, count: int) -> None:
        """Prepares the next `count` batches."""
        at = self.fit.at
        self._begin, self._count = (at.epoch, at.batch), count
        epochs = (at.batch + count) // self.batches + 1
        self.runner.prepare(at.epoch, at.batch, count, epochs, at.sums, self.fit.rates(count))
        if self._rule:
            self._rule.prepare()

    def end(self, status: int, seconds: float) -> None:
        """Takes over what C did: sums, epochs that ended, position; raises what went wrong, other
        than that it was stopped."""
        fit, at, runner = self.fit, self.fit.at, self.runner
        done = runner.done
        each = seconds / max(done, 1)
        fit.advance(done, seconds)
        behind = self._begin[1]
        ended = runner.ended(self._begin[0])
        steps = at.steps - done - behind
        if self._rule:
            self._rule.begin_replay()
        for sums, held in ended:
            at.sums, at.seconds = sums, at.seconds + (self.batches - behind) * each
            behind, steps = 0, steps + self.batches
            fit.samples(at.batch, self.batches)
            fit.end_epoch(held, steps)
        if self._rule:
            self._rule.end_replay()
        epoch, batch = runner.position
        reached, at.epoch, at.batch = at.batch, epoch, batch
        at.seconds += (batch - behind) * each
        at.sums.read(runner.unfinished(len(ended)))
        if batch:
            fit.trainer.epoch = epoch + 1
            fit.show_running()
        fit.samples(reached, batch)
        try:
            runner.require(0 if status == native.EINTR else status)
        except NotFiniteError as error:
            fit.not_finite(error)
        fit.checkpoint_if_due(epoch_ended=bool(ended))

    @property
    def ready(self) -> bool:
        """Whether something is left to do."""
        return (self.left > 0 or self.unevaluated) and not self.fit.trainer.stop

    @property
    def unevaluated(self) -> bool:
        """Whether the batches of an epoch are done, and its evaluation was stopped."""
        return bool(self.fit.at.batch == self.batches)

    def evaluate(self, interrupts: Interrupts) -> None:
        """Ends an epoch whose evaluation was stopped; does nothing where it is stopped again."""
        fit, held_out = self.fit, self.fit.plan.data.held_out
        interrupts.answer()
        with interrupts.stoppable():
            try:
                held = None if held_out is None else self.runner.measure(held_out)
            except native.Stopped:
                return
        fit.end_epoch(held, fit.at.steps)
        fit.checkpoint_if_due(epoch_ended=True)


def run_alone(run: EpochRun, clock: Any) -> None:
    """Runs one network to its end, or until its trainer is told to stop."""
    fit = run.fit
    while run.ready:
        if run.unevaluated:
            run.evaluate(fit.interrupts)
            continue
        run.begin(fit.due(run.most()))
        start = clock()
        with fit.interrupts.stoppable():
            status = run.runner.run_prepared()
        run.end(status, clock() - start)
        native.raise_kept()
