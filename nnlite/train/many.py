"""Many independent networks trained side by side: one C call, threads over networks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core import check, native
from .._core.config import _State
from ..nn.module import PREDICT_ROWS, Module
from ..optim import Optimizer
from ..program.rows import Rows
from . import _side_by_side as side_by_side
from . import callbacks as _callbacks
from ._dataset import Dataset
from ._epochs import EpochRun
from ._fit import Fit, Plan
from ._interrupts import Interrupts
from ._progress import Progress
from ._resume import begin
from ._settings import schedule_of, stopping_of
from .history import History
from .trainer import Trainer

ROUND_SECONDS = 0.05  # of all threads between two looks from Python


@native.in_standard_mode
def fit_many(
    models: Sequence[Module],
    loss: Any,
    optimizers: Sequence[Optimizer],
    X: Any,
    y: Any,
    epochs: int,
    batch_size: int,
    *,
    seeds: Sequence[int] | None = None,
    folds: Sequence[Any] | None = None,
    validation_data: tuple[Any, Any] | None = None,
    early_stopping: Any = None,
    schedules: Sequence[Any] | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    shuffle: bool = True,
    verbose: int = 1,
) -> list[History]:
    """Trains independent networks at the same time, each to the same bits as trained alone.

    Each thread takes whole networks, so that small ones, which have no work for two threads in a
    step, use every core. Training network i alone is
    `Trainer(models[i], loss, optimizers[i], seeds[i]).fit(X, y, epochs, batch_size, ...)`.

    Args:
        models: the networks: different seeds, widths, depths. All of one dtype share one copy of X.
        loss: a Loss for all, or one for each.
        optimizers: one for each, over its parameters.
        X, y: rows in RAM, as for `Trainer.fit`.
        epochs, batch_size: as there.
        seeds: of the orders of the rows; default 0, 1, 2, ...
        folds: for each network the numbers of its rows, an integer array, or a pair
            (rows to train on, rows to validate on), as scikit-learn's KFold.split gives.
        validation_data: (X, y) for all; not together with pairs in `folds`.
        early_stopping: as for `Trainer.fit`; each network stops by its own figures.
        schedules: a learning-rate schedule or None for each.
        sample_weight, class_weight, shuffle: as for `Trainer.fit`.
        verbose: 1 shows a progress bar, 0 nothing.

    Returns:
        A History for each network. Its seconds are the network's share of the time of all threads.

    Raises:
        TypeError, ValueError, IndexError: bad data or settings; nothing is trained then.

    Notes:
        A network whose loss is no longer finite stops with a RuntimeWarning that names it; the
        others go on. Networks that have no training program are trained one after the other.
    """
    for name, several in (("models", models), ("optimizers", optimizers)):
        if not isinstance(several, Sequence):
            raise TypeError(
                f"fit_many: {name}: expected a list, got {check.describe(several)}; "
                "for one network call Trainer(...).fit"
            )
    count = len(models)
    losses = [loss] * count if not isinstance(loss, (list, tuple)) else list(loss)
    seeds = range(count) if seeds is None else seeds
    chosen = [None] * count if folds is None else list(folds)
    planned = [None] * count if schedules is None else list(schedules)
    for name, values in (
        ("optimizers", optimizers), ("loss", losses), ("seeds", seeds), ("folds", chosen),
        ("schedules", planned),
    ):  # fmt: skip
        if len(values) != count:
            raise ValueError(
                f"fit_many: {name}: expected one for each of {count} models, got {len(values)}"
            )
    own = [id(p) for model in models for p in model.parameters()]
    if len(set(own)) < len(own):
        raise ValueError(
            "fit_many: models: two of them share parameters, or one stands twice; "
            "networks that are trained at the same time must be independent"
        )
    epochs = check.size("fit_many", "epochs", epochs)
    batch_size = check.size("fit_many", "batch_size", batch_size)
    shared: dict[np.dtype, Rows] = {}
    fits = []
    for number, model in enumerate(models):
        trainer = Trainer(model, losses[number], optimizers[number], seeds[number])
        dtype = trainer.optimizer.dtype
        if dtype not in shared:  # converted once
            shared[dtype] = trainer.inputs.rows("fit_many", X, y)
        rows = shared[dtype]
        data = Dataset(trainer.inputs, rows.x, rows.y, 1)
        data.weigh(sample_weight, class_weight)
        _take_fold(data, chosen[number], number)
        if validation_data is not None:
            if data.held_out is not None:
                raise ValueError("fit_many: pass validation_data or pairs in folds, not both")
            data.hold_out(validation_data, 0.0, 0)
        plan = Plan(
            data, batch_size, bool(shuffle), schedule_of(planned[number], trainer.optimizer), (),
            _callbacks.resolve(_stopping(early_stopping, data)), False,
        )  # fmt: skip
        fits.append(Fit(trainer, plan, begin(trainer, plan, epochs, False)))
    return _run(fits, bool(verbose))


def _take_fold(data: Dataset, fold: Any, number: int) -> None:
    """Leaves a network the rows of its fold."""
    if fold is None:
        return
    pair = fold if isinstance(fold, tuple) and len(fold) == 2 else (fold, None)
    train, held = (None if part is None else _index(part, data, number) for part in pair)
    if train is None or not len(train):
        raise ValueError(f"fit_many: folds: {number} has no rows to train on")
    data.take(train, held if held is not None and len(held) else None)


def _index(part: Any, data: Dataset, number: int) -> np.ndarray:
    """Numbers of rows as int64; a mask gives the numbers of its True rows."""
    found = np.asarray(part)
    rows = data.source.rows
    if found.dtype == np.bool_ and found.shape == (rows,):
        return np.flatnonzero(found).astype(np.int64)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
        raise TypeError(
            f"fit_many: folds: {number}: expected numbers of rows or a mask of {rows}, got an "
            f"array of {found.dtype} and shape {found.shape}"
        )
    wrong = np.flatnonzero((found < 0) | (found >= rows))
    if wrong.size:
        raise IndexError(
            f"fit_many: folds: {number} holds row {found[wrong[0]]}, expected 0..{rows - 1}"
        )
    return np.ascontiguousarray(found, np.int64)


def _stopping(wanted: Any, data: Dataset) -> list[Any]:
    """An EarlyStopping of the network's own."""
    if wanted is None or wanted is False:
        return []
    return [copy.deepcopy(stopping_of(wanted, data.held_out is not None))]


def _run(fits: list[Fit], verbose: bool) -> list[History]:
    runs = []
    for fit in fits:
        runner = fit.whole_epochs()
        if runner is not None:
            fit.begin()
            runs.append(EpochRun(fit, runner))
    total = sum((fit.plan.data.rows or 0) * fit.at.epochs for fit in fits)
    with Interrupts() as interrupts, Progress(total, 0, len(fits), verbose) as progress:
        for dtype in {run.runner.dtype for run in runs}:
            _run_side_by_side(
                [run for run in runs if run.runner.dtype == dtype], fits, progress, interrupts
            )
    in_c = {id(run.fit): run.failed for run in runs}
    return [
        _ended(number, fit, id(fit) in in_c, in_c.get(id(fit), False))
        for number, fit in enumerate(fits)
    ]


def _ended(number: int, fit: Fit, in_c: bool, failed: bool) -> History:
    """The history of a network that ran in C, or that is trained now, alone."""
    try:
        return fit.finish(look=not failed) if in_c else fit.run()
    except FloatingPointError as error:  # the others go on
        warnings.warn(f"fit_many: model {number}: {error}", RuntimeWarning, stacklevel=5)
        return fit.at.history


def _run_side_by_side(
    runs: list[EpochRun], fits: list[Fit], progress: Progress, interrupts: Interrupts
) -> None:
    """Slice after slice of all networks, until each has ended or stopped."""
    active = runs
    while active := [run for run in active if run.ready]:
        interrupts.answer()
        stopped = [run for run in active if run.unevaluated]
        if stopped:
            for run in stopped:
                run.evaluate(interrupts)
            continue
        threads = min(_State.threads, len(active))
        for run in active:
            run.fit.slice_seconds = ROUND_SECONDS * threads / len(active)
            run.begin(run.fit.due(run.most()))
        start = side_by_side.clock()
        with interrupts.stoppable():
            side_by_side.train([run.runner for run in active])
        seconds = (side_by_side.clock() - start) * threads
        batches = max(sum(run.runner.done for run in active), 1)
        for run in active:
            run.runner.settle()
            try:
                run.end(run.runner.status, seconds * run.runner.done / batches)
            except FloatingPointError as error:
                run.fit.trainer.stop = run.failed = True
                number = fits.index(run.fit)
                warnings.warn(f"fit_many: model {number}: {error}", RuntimeWarning, stacklevel=4)
            progress.advance(run.runner.done * run.fit.plan.batch_size)
        native.raise_kept()


class Ensemble:
    """Averages the predictions of several models.

    p(x) = 1/M sum_m f_m(x), added up in the order of the models.

    Args:
        models: at least one.
        softmax: True averages softmax(f_m(x)), the probabilities of classifiers that give logits.

    Raises:
        TypeError, ValueError: there is no model, or something else among them.
    """

    def __init__(self, models: Sequence[Module], softmax: bool = False) -> None:
        if isinstance(models, Module):
            raise TypeError(
                f"Ensemble: models: expected several models, got one {type(models).__name__}; "
                "pass a list"
            )
        self.models, self.softmax = list(models), bool(softmax)
        if not self.models:
            raise ValueError("Ensemble: models: expected at least one")
        for number, model in enumerate(self.models):
            if not isinstance(model, Module):
                raise TypeError(
                    f"Ensemble: models: {number}: expected a Module, got {check.describe(model)}"
                )

    def predict(self, X: Any, batch_size: int = PREDICT_ROWS) -> np.ndarray:
        """The mean over the models of their outputs for all rows of X.

        Args:
            X, batch_size: as for `Module.predict`.

        Returns:
            (rows, outputs) in the models' dtype.

        Raises:
            ValueError: the models' outputs have different shapes.
        """
        from .. import functional

        total: Any = None
        for number, model in enumerate(self.models):
            found = model.predict(X, batch_size)
            if self.softmax:
                found = functional.softmax(found)
            if total is None:
                total = found
            elif found.shape != total.shape:
                raise ValueError(
                    f"Ensemble.predict: model {number} gives shape {found.shape}, the first "
                    f"{total.shape}; average models of equal outputs"
                )
            else:
                total = total + found
        return np.asarray(total / total.dtype.type(len(self.models)))

    def __repr__(self) -> str:
        return f"Ensemble({len(self.models)} models, softmax={self.softmax})"
