"""One call of fit: epochs, chunks of data, slices of batches, and what happens between them.

The batches of a slice run without Python in between (one C call where there is a program). A slice
ends where something is due: a callback, a checkpoint, the end of the epoch, or SLICE_SECONDS, so
that Ctrl-C is answered between two batches; a batch that takes longer is stopped (_interrupts.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from .._core import native
from ..data import permutation
from ..program.rows import NotFiniteError, Rows, Sums
from ..program.train import Program
from . import _side_by_side as side_by_side
from ._dataset import Dataset
from ._eager import Eager
from ._epochs import EpochRun, run_alone
from ._finite import ADVICE, largest_gradient, not_finite
from ._interrupts import Interrupts
from ._position import Position
from ._progress import Progress
from ._stopping import rule_of
from .callbacks import Callbacks
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

SLICE_SECONDS = 0.02


class Plan(NamedTuple):
    """What a fit trains on and with."""

    data: Dataset
    batch_size: int
    shuffle: bool
    schedule: Any
    metrics: Sequence[Any]
    callbacks: Callbacks
    verbose: bool


class Chunk(NamedTuple):
    """Rows in RAM, the order in which they are trained, and the first batch that is still to do."""

    rows: Rows
    order: np.ndarray | None
    first: int

    @property
    def size(self) -> int:
        """Rows to train on."""
        return len(self.rows.x) if self.order is None else len(self.order)


class Fit:
    """Runs a plan from a position to its end."""

    def __init__(self, trainer: Trainer, plan: Plan, position: Position) -> None:
        self.trainer, self.plan, self.at = trainer, plan, position
        self._slice = 1
        self.slice_seconds = SLICE_SECONDS
        self._by_batch = plan.schedule is not None and plan.schedule.interval == "batch"
        self._has_batch_callbacks = plan.callbacks.batches_until_call(0) is not None
        by_epoch = plan.schedule is not None and not self._by_batch
        self.rule = None if by_epoch else rule_of(plan, trainer.model)
        self.acts_at_epoch_ends = by_epoch or (self.rule is None and len(plan.callbacks) > 0)
        self._progress = Progress(None, 0, position.epochs, False)
        self.interrupts = Interrupts()

    def run(self) -> History:
        """Trains to the end, or until `trainer.stop`."""
        trainer, plan, at = self.trainer, self.plan, self.at
        self.begin()
        rows = plan.data.rows or 0
        done = (at.epoch - at.first) * rows + min(at.batch * plan.batch_size, rows)
        total = rows * at.epochs if rows else None
        with (
            Interrupts() as self.interrupts,
            Progress(total, done, at.epochs, plan.verbose) as self._progress,
        ):
            while at.epoch < at.end and not trainer.stop:
                runner = self.whole_epochs()
                if runner is None:
                    self._epoch()
                else:
                    run_alone(EpochRun(self, runner), side_by_side.clock)
        return self.finish()

    def begin(self) -> None:
        """Tells the callbacks that the fit begins."""
        self.plan.callbacks.on_fit_begin(self.trainer)

    def finish(self, look: bool = True) -> History:
        """Tells the callbacks that the fit has ended, looks at the weights, and saves them.

        Raises:
            FloatingPointError: a weight, or a state of the optimiser, is not finite. Nothing is
                saved.
        """
        self.plan.callbacks.on_fit_end(self.trainer, self.at.history)
        if look:
            self.require_finite()
        self.trainer.save_checkpoint()
        return self.at.history

    def whole_epochs(self) -> Program | None:
        """The program that goes through epochs in C, where no output of a batch is needed here."""
        plan = self.plan
        if not plan.data.in_ram or plan.metrics or self._has_batch_callbacks:
            return None
        rows = Rows(plan.data.source.X, plan.data.source.y, plan.data.weight)
        subset = plan.data.subset
        count = None if subset is None else len(subset)
        runner = self.trainer.runner(rows, plan.batch_size, count=count)
        if not isinstance(runner, Program):
            return None
        held = plan.data.held_out
        return runner if held is None or runner.measurable(held) else None

    # One epoch with Python between its slices.

    def _chunks(self) -> Iterator[Chunk]:
        plan, at, seed = self.plan, self.at, self.trainer.seed
        data, source = plan.data, plan.data.source
        if data.in_ram:
            rows, order = Rows(source.X, source.y, data.weight), None
            if plan.shuffle:
                count = source.rows if data.subset is None else len(data.subset)
                order = permutation(count, seed, at.epoch)
            if data.subset is not None:
                order = data.subset if order is None else data.subset[order]
            yield Chunk(rows, order, at.batch)
            return
        for x, y, order in source.epoch(seed, at.epoch, plan.batch_size, plan.shuffle, at.batch):
            yield Chunk(data.weighted(Rows(x, y)), order, 0)

    def _epoch(self) -> None:
        at, trainer = self.at, self.trainer
        self.interrupts.answer()
        trainer.epoch = at.epoch + 1
        if at.batch == 0:
            for metric in self.plan.metrics:
                metric.reset()
        for chunk in self._chunks():
            size = chunk.size if self.plan.data.source.own_batches else self.plan.batch_size
            runner = trainer.runner(chunk.rows, size, count=chunk.size)
            self._run_chunk(chunk, runner, -(-chunk.size // size))
            if trainer.stop:
                return
        start = time.perf_counter()
        try:
            held = self._measure_held_out()
        except native.Stopped:
            return  # and again from here on
        at.seconds += time.perf_counter() - start
        self.end_epoch(held, at.steps)
        self.checkpoint_if_due(epoch_ended=True)

    def _measure_held_out(self) -> Sums | None:
        """The sums on the rows held out. What a metric has counted cannot be counted again, nor can
        rows that have gone by be had again: there Ctrl-C waits."""
        plan, measure = self.plan, self.trainer.measure
        if plan.data.held_out is None:
            return None
        if plan.metrics or not plan.data.in_ram:
            self._metric_values = {metric.name: metric.value() for metric in plan.metrics}
            return measure(plan.data.held_out, plan.metrics)
        with self.interrupts.stoppable():
            return measure(plan.data.held_out, ())

    def _run_chunk(self, chunk: Chunk, runner: Program | Eager, batches: int) -> None:
        outputs = self._room(chunk) if self.plan.metrics else None
        first, size = chunk.first, runner.batch
        while first < batches and not self.trainer.stop:
            count = self.due(batches - first if isinstance(runner, Program) else 1)
            start = time.perf_counter()
            rates = self.rates(count)
            try:
                with self.interrupts.stoppable():
                    runner.run(chunk.rows, chunk.order, first, count, self.at.sums, rates, outputs)
            except NotFiniteError as error:
                self.advance(error.batch - first, 0.0)
                self.at.batch += error.batch - first
                self.not_finite(error)
            except native.Stopped:
                count = runner.done
            seconds = time.perf_counter() - start
            self.advance(count, seconds)
            self.at.seconds += seconds
            self.at.batch += count
            if count == 0:
                native.raise_kept()
                continue
            begin, first = first * size, first + count
            end = min(first * size, chunk.size)
            self.show_running()
            self._progress.advance(end - begin)
            if outputs is not None:
                self._update_metrics(chunk, outputs, begin, end, size)
            self._after_batches()
            native.raise_kept()

    def _room(self, chunk: Chunk) -> np.ndarray:
        """Where the outputs of a chunk's rows go, for the metrics."""
        shape = self.trainer.inputs.example(chunk.rows.x).shape[1:]
        return np.empty((chunk.size, *shape), self.trainer.optimizer.dtype)

    def _update_metrics(
        self, chunk: Chunk, outputs: np.ndarray, begin: int, end: int, size: int
    ) -> None:
        """Batch by batch, so that slices, which depend on time, change no rounding."""
        for row in range(begin, end, size):
            part = slice(row, min(row + size, end))
            index: Any = part if chunk.order is None else chunk.order[part]
            weight = None if chunk.rows.weight is None else chunk.rows.weight[index]
            for metric in self.plan.metrics:
                metric.update(outputs[part], chunk.rows.y[index], weight)

    def _after_batches(self) -> None:
        if self.plan.callbacks.batches_until_call(self.at.steps - 1) == 1:
            values = self._values(self.at.sums)
            self.plan.callbacks.on_batch_end(self.trainer, self.at.steps, values)
        self.checkpoint_if_due(epoch_ended=False)

    # Where an epoch ends.

    def _values(self, sums: Sums) -> dict[str, Any]:
        return sums.values(self.trainer.loss.reduction == "mean", self.plan.data.classes)

    def end_epoch(self, held: Sums | None, steps: int) -> None:
        """Takes the figures of the epoch into the history, and goes to the next epoch.

        Args:
            held: the sums on the rows held out; the metrics then hold theirs.
            steps: batches of the fit when the epoch ended.
        """
        plan, at, trainer = self.plan, self.at, self.trainer
        values = self._values(at.sums)
        measured = {metric.name: metric.value() for metric in plan.metrics}
        if held is None:
            values |= measured
        else:
            values |= self._metric_values if plan.metrics else {}
            values |= {f"val_{k}": v for k, v in (self._values(held) | measured).items()}
        if plan.schedule is not None:
            values["lr"] = self._rate_of(steps - 1)
            if not self._by_batch:
                plan.schedule.end_epoch(values)
        seconds = at.seconds
        at.history.append(**values, seconds=seconds)
        at.epoch, at.batch, at.seconds, at.sums = at.epoch + 1, 0, 0.0, Sums()
        trainer.epoch = at.epoch
        self._progress.show(at.epoch - at.first, lambda: values)
        plan.callbacks.on_epoch_end(trainer, at.epoch - at.first - 1, values)

    # Between slices.

    def due(self, left: int) -> int:
        """Batches until something is due. Everything fits together here: Ctrl-C is answered."""
        self.interrupts.answer()
        trainer = self.trainer
        count = min(left, self._slice)
        if trainer.checkpoint is not None and trainer.every:
            count = min(count, trainer.every - trainer.steps % trainer.every)
        return min(count, self.plan.callbacks.batches_until_call(self.at.steps) or count)

    def rates(self, count: int) -> np.ndarray | None:
        """The learning rate of each of the next batches, where a schedule changes it."""
        if not self._by_batch:
            return None
        return np.ascontiguousarray(self.plan.schedule.rates(count), np.float64)

    def _rate_of(self, step: int) -> float:
        """The learning rate of a batch of this fit, where it is a schedule's; else the present."""
        schedule = self.plan.schedule
        if not self._by_batch:
            return float(self.trainer.optimizer.lr)
        return float(schedule.rate(schedule.last_epoch - self.at.steps + step))

    def show_running(self) -> None:
        """Shows the sums of the epoch that runs."""
        self._progress.show(self.at.epoch - self.at.first + 1, lambda: self._values(self.at.sums))

    def samples(self, begin: int, end: int) -> None:
        """Adds the samples of the batches begin..end - 1 of an epoch to the progress bar."""
        rows, size = self.plan.data.rows or 0, self.plan.batch_size
        self._progress.advance(min(end * size, rows) - min(begin * size, rows))

    def advance(self, count: int, seconds: float) -> None:
        """Counts batches that are done, and sets the length of the next slice."""
        self.trainer.steps += count
        self.at.steps += count
        if self._by_batch:
            self.plan.schedule.advance(count)
        each = max(seconds / max(count, 1), 1e-7)
        self._slice = max(1, min(2 * self._slice, int(self.slice_seconds / each)))

    def checkpoint_if_due(self, epoch_ended: bool) -> None:
        """Saves where the trainer's `every` says so."""
        trainer = self.trainer
        if epoch_ended if trainer.every is None else trainer.steps % trainer.every == 0:
            if trainer.checkpoint is not None:
                self.require_finite()
            trainer.save_checkpoint()

    def require_finite(self) -> None:
        """Raises where the last step has overflowed: the next one's loss would say it too late."""
        found = not_finite(self.trainer.model, self.trainer.optimizer)
        if found is None:
            return
        at = self.at
        where = f"at epoch {at.epoch - at.first + 1}, before batch {at.batch + 1}"
        if not at.batch:
            where = f"after epoch {at.epoch - at.first}"
        raise FloatingPointError(f"fit: {where}, {found}; {self._largest()}. {ADVICE}")

    def _largest(self) -> str:
        name, size = largest_gradient(self.trainer.model)
        return f"the largest gradient is {size:.3g}, of {name}"

    def not_finite(self, error: NotFiniteError) -> NoReturn:
        """Ends the fit with a message that names the place and the largest gradient."""
        at = self.at
        raise FloatingPointError(
            f"fit: the loss is {error.loss} at epoch {at.epoch - at.first + 1}, "
            f"batch {at.batch + 1}; {self._largest()}. The model is as it was before this batch. "
            f"{ADVICE}"
        ) from None
