"""The trainer: fits a model to data in a reproducible order, measures it, and goes on exactly."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._core import check, native
from .._core.config import check_seed
from ..autograd.node import Unsupported
from ..data._source import MEMORY_BUDGET
from ..nn.losses import Loss
from ..nn.module import Module, converted
from ..nn.parameter import Structure
from ..optim import Optimizer
from ..program.rows import NotFiniteError, Rows, Sums
from ..program.train import Program, compiled
from . import callbacks as _callbacks
from ._dataset import Dataset
from ._eager import Eager, train_batch
from ._finite import largest_gradient
from ._fit import Fit, Plan
from ._inputs import Inputs
from ._losses import as_loss, warn_of_twice
from ._measure import measure, resolved, values_of
from ._memory import memory
from ._position import Position
from ._resume import begin, state_of, take_state
from ._settings import require_held, require_parts, require_unfrozen, schedule_of, stopping_of
from .history import History


class Trainer:
    """Trains a model: forward, loss, backward, optimiser, batch after batch.

    Where every layer can be recorded, a whole slice of batches is one call of C (the training
    program); else the modules are called one by one. The results and their bits are the same.

    Data are converted here, once and explicitly, to what the kernels take: X to C-contiguous rows
    in the model's dtype; class indices of any integer dtype to int64. The order of the samples is a
    pure function of (seed, epoch), so the same seed and data give the same weights, bit for bit,
    with any number of threads on any machine. A last, smaller batch counts with its own size.

    Weights of 16 MiB and more are updated while their gradient is produced (unless the optimiser
    clips by the global norm): `parameter.grad` of such a weight then holds scratch values.

    Args:
        model: the Module to train; it stays in its mode between calls. This and the next two may be
            replaced later, and are checked again then.
        loss: SoftmaxCE, NLLLoss, MSELoss or another Loss; or a function (output, target) of the
            output as a Tensor, that returns the mean loss of the rows, a Tensor of one number.
        optimizer: an optimiser over the model's parameters.
        seed: seed of the order of the samples, 0 <= seed < 2^64.
        checkpoint: a path: `fit` saves model, optimiser and its own position there, and
            `fit(..., resume=True)` goes on from it, to the same bits as without interruption.
        every: batches between two saves; None: after every epoch. The end of a fit saves as well.

    Attributes:
        epoch: epochs begun by all calls of fit; each has its own order.
        steps: batches trained on by all calls of fit.
        why_eager: why the last batches were not trained by a program in C, with the line of the
            user's code, or None.
        stop: a callback sets it to True to end the fit.

    Raises:
        TypeError, ValueError: an argument is of another kind or out of range.

    Warns:
        UserWarning, once: the model ends in what the loss computes too, as Softmax before
        SoftmaxCE.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss | Callable[..., Any],
        optimizer: Optimizer,
        seed: int = 0,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        every: int | None = None,
    ) -> None:
        require_parts(model, optimizer)
        loss = as_loss("Trainer", loss)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self._warned = warn_of_twice(model, loss)
        self.seed = check_seed("Trainer", "seed", seed)
        self.checkpoint = None if checkpoint is None else os.fspath(checkpoint)
        self.every = None if every is None else check.size("Trainer", "every", every)
        self.epoch, self.steps, self.stop = 0, 0, False
        self.why_eager: str | None = None
        self._owner, self._fits = threading.RLock(), False  # programs have one set of buffers
        self._position: Position | None = None  # of the last fit
        self._attached: dict[str, Any] = {}  # schedule, callbacks of the last fit
        self.inputs = Inputs(model, loss, optimizer.dtype)
        self._programs: dict[Any, Program] = {}
        self._refused: dict[Any, tuple[Any, str]] = {}
        self._left_out: list[Any] = []
        self._structure: Any = None
        self._note_parameters()

    def __setattr__(self, name: str, value: Any) -> None:
        """Another model, loss or optimiser is used from the next step on."""
        replaces = name in ("model", "loss", "optimizer") and "_programs" in vars(self)
        if replaces:
            value = as_loss("Trainer", value) if name == "loss" else value
            parts = {"model": self.model, "optimizer": self.optimizer}
            require_parts(**parts | ({} if name == "loss" else {name: value}))
        super().__setattr__(name, value)
        if replaces:
            vars(self)["_warned"] = self._warned or warn_of_twice(self.model, self.loss)
            self.inputs = Inputs(self.model, self.loss, self.optimizer.dtype)
            self._programs, self._refused = {}, {}
            self._note_parameters()

    def __getstate__(self) -> dict[str, Any]:
        state = {**vars(self), "_programs": {}, "_refused": {}, "_fits": False, "_structure": None}
        del state["_owner"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._owner = threading.RLock()

    def __repr__(self) -> str:
        parts = f"{self.loss!r}, {self.optimizer!r}, seed={self.seed}"
        return f"Trainer({parts})  # {self.epoch} epochs begun, {self.steps} steps"

    @contextmanager
    def _alone(self, operation: str) -> Iterator[None]:
        """Keeps other threads out, who would train the same weights from the same buffers."""
        if not self._owner.acquire(False):
            raise _in_use(operation)
        try:
            if self._fits:
                raise RuntimeError(
                    f"{operation}: a fit of this trainer is running, and a callback of it began "
                    "another; end it with trainer.stop = True, or make a second Trainer"
                )
            yield
        finally:
            self._owner.release()

    # Steps.

    def train_step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """One step on one batch; returns its loss before the update.

        Args:
            x: (N, features), N at least 1.
            y: (N,) class indices, or targets of the output's shape.
            sample_weight: (N,) weights of at least 0, or None.

        Raises:
            TypeError, ValueError, IndexError: bad data; no parameter has changed.
            FloatingPointError: the loss is not finite; no parameter has changed.
        """
        if not self._owner.acquire(False):
            raise _in_use("train_step")
        try:
            step = self._programs.get("step")
            if step is not None and sample_weight is None:
                loss = step.step(x, y)
                if loss is not None:
                    return loss
            return self._train_step(x, y, sample_weight)
        finally:
            self._owner.release()

    def _train_step(self, x: Any, y: Any, sample_weight: Any) -> float:
        """`train_step` of any input."""
        rows = self.inputs.rows("train_step", x, y, sample_weight)
        if len(rows.x) == 0:
            raise ValueError("train_step: x has 0 rows; pass at least one")
        self.require_trained("train_step")
        x = rows.x if isinstance(rows.x, np.ndarray) else rows.x[:]  # sparse rows become dense
        rows = Rows(converted(x, self.optimizer.dtype), rows.y, rows.weight)
        runner = self.runner(rows, len(rows.x), "step")
        try:
            if isinstance(runner, Program):
                runner.run(rows, None, 0, 1, Sums())
                return float(runner.last_loss)
            return train_batch(self.model, self.loss, self.optimizer, rows)[0]
        except NotFiniteError as error:
            name, size = largest_gradient(self.model)
            raise FloatingPointError(
                f"train_step: the loss is {error.loss}; the largest gradient is {size:.3g}, of "
                f"{name}. No parameter has changed. Lower the learning rate, clip gradients, or "
                "look for inf and NaN in the data"
            ) from None
        except native.Stopped:
            native.raise_kept()
            raise

    def runner(
        self, rows: Rows, batch: int, key: Any = "fit", count: int | None = None
    ) -> Program | Eager:
        """What trains on such rows, `count` of them (None: all): the program, compiled once, or the
        modules."""
        key = key if rows.weight is None else (key, "weighted")
        found = self._programs.get(key)
        classes = bool(rows.y.dtype == check.INT64)
        larger = "step" in (key, key[0])  # steps up to the largest share a program
        if (
            found is not None
            and found.fits(self, rows, classes, count)
            and (batch <= found.batch if larger else batch == found.batch)
        ):
            return found
        kind = rows.x.shape[1:], rows.y.shape[1:], classes, batch, Structure.token
        refused, why = self._refused.get(key, (None, ""))
        if refused != kind:
            try:
                made = compiled(self.model, self.loss, self.optimizer, rows, batch, classes, count)
                if made is None:
                    raise Unsupported("programs are switched off")
            except Unsupported as reason:
                why = str(reason)
                self._refused[key] = kind, why
                self._programs.pop(key, None)
            else:
                self._programs[key], self.why_eager = made, None
                return made
        self.why_eager = why
        return Eager(self.model, self.loss, self.optimizer, batch)

    # Fit.

    @native.in_standard_mode
    def fit(
        self,
        X: Any,
        y: Any = None,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        verbose: int = 1,
        *,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: Any = None,
        schedule: Any = None,
        early_stopping: Any = None,
        metrics: Sequence[Any] = (),
        callbacks: Sequence[Any] = (),
        resume: bool = False,
        memory_budget: int = MEMORY_BUDGET,
    ) -> History:
        """Trains for some epochs; a further call goes on with the next epoch's order.

        Args:
            X: rows of numbers: an array (anything but C-contiguous arrays of the model's dtype is
                converted), a sparse matrix of SciPy, whose rows become dense one batch at a time,
                a memory map or the path of a .npy file, which may be larger than memory (blocks of
                rows are shuffled, see nnlite.data.source), or an iterable of (x, y) batches, with
                y None.
            y: (rows,) class indices, or targets of the output's shape.
            epochs: passes over the data, at least 1.
            batch_size: rows of one step, at least 1; the last batch of an epoch may have fewer.
            validation_data: (X, y) to evaluate after each epoch.
            shuffle: a new order in each epoch, from (seed, epoch); else the given order.
            verbose: 1 shows a progress bar, 0 nothing.
            validation_split: share of the rows, 0 <= share < 1, that is not trained on but
                evaluated after each epoch; drawn by the seed, for classes in equal shares of each.
            sample_weight: (rows,) weight of each row in the loss, at least 0.
            class_weight: "balanced", a dict class -> weight, or one weight for each class; a row's
                weight is multiplied by that of its class.
            schedule: a learning-rate schedule of nnlite.optim over this optimiser.
            early_stopping: epochs without improvement of val_loss (without validation data, of
                loss) after which to stop, the best weights restored; or an EarlyStopping.
            metrics: names or metrics of nnlite.metrics, measured on the batches (before each
                update) and on the validation data.
            callbacks: Callbacks; what they do never slows the batches between.
            resume: go on where the last fit was interrupted: from the file `checkpoint`, where
                there is one, else from this trainer's own position. All other arguments must be
                those of the interrupted fit. What was finished is returned at once.
            memory_budget: bytes of RAM for the rows of a file.

        Returns:
            History with one entry for each epoch: loss, accuracy for classes, metrics, the same of
            the validation data with val_ before, lr with a schedule, and seconds.

        Raises:
            TypeError, ValueError, IndexError: bad data. Targets are checked before the first step.
            FloatingPointError: the loss of a batch is not finite; the message names the place and
                the largest gradient. The weights are those before that batch.
            CheckpointError: resume from a file that is no checkpoint of this training.
            KeyboardInterrupt: after Ctrl-C, also within a batch that takes long, which is then as
                if it had not begun: weights, optimiser, random streams and position belong
                together, and `resume=True` goes on to the same bits.
        """
        epochs = check.size("fit", "epochs", epochs)
        batch_size = check.size("fit", "batch_size", batch_size)
        data = Dataset(self.inputs, X, y, memory_budget)
        data.weigh(sample_weight, class_weight)
        data.hold_out(validation_data, validation_split, self.seed)
        wanted = list(_callbacks.resolve(callbacks))
        if early_stopping is not None and early_stopping is not False:
            wanted.append(stopping_of(early_stopping, data.held_out is not None))
        plan = Plan(
            data, batch_size, bool(shuffle), schedule_of(schedule, self.optimizer),
            resolved(metrics, self.loss), _callbacks.resolve(wanted),
            bool(verbose),
        )  # fmt: skip
        with self._alone("fit"):
            position = begin(self, plan, epochs, resume)
            self._position, self.stop, self._fits = position, False, True
            try:
                return Fit(self, plan, position).run()
            finally:
                self._fits = False

    # What is trained.

    def require_trained(self, operation: str) -> None:
        """Raises where every parameter is frozen, or the optimiser lacks one of the model."""
        require_unfrozen(operation, self.optimizer)
        if self._structure is not Structure.token:
            token = Structure.token
            require_held(operation, self.model, self.optimizer, self._left_out)
            self._structure = token

    def _note_parameters(self) -> None:
        """Takes the model's parameters that the optimiser does not have now as meant to stay."""
        own = {id(p) for p in self.optimizer.parameters}
        found = [p for p in self.model.parameters() if id(p) not in own]
        vars(self).update(_left_out=found, _structure=None)

    # Saving.

    def state_dict(self) -> dict[str, Any]:
        """All that going on exactly needs beside model and optimiser; numbers, texts and arrays in
        nested dicts and lists."""
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        take_state(self, state)

    def save_checkpoint(self) -> None:
        """Saves to `checkpoint`, where there is one."""
        if self.checkpoint is not None:
            from ..checkpoint.save_load import save

            save(self.checkpoint, self.model, self.optimizer, self)

    # Measuring.

    @native.in_standard_mode
    def evaluate(
        self, X: Any, y: Any, sample_weight: Any = None, metrics: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """Loss, with class targets accuracy, and metrics, over all rows; changes nothing.

        Args:
            X, y: rows and targets in RAM, as for `fit`; at least one row.
            sample_weight: (rows,) weight of each row in the loss and metrics, at least 0.
            metrics: names or metrics of nnlite.metrics.

        Returns:
            {"loss": ..., "accuracy": ..., and each metric by its name}.

        Raises:
            TypeError, ValueError, IndexError: bad data, or 0 rows.
        """
        rows = self.inputs.rows("evaluate", X, y, sample_weight)
        if len(rows.x) == 0:
            raise ValueError("evaluate: X has 0 rows; the mean loss of 0 rows does not exist")
        self.inputs.check_fits("evaluate", rows)
        wanted = resolved(metrics, self.loss)
        return values_of(self.measure(rows, wanted), self.loss, rows.y, wanted)

    def measure(self, rows: Rows, metrics: Sequence[Any]) -> Sums:
        program = self._programs.get("fit")
        classes = bool(rows.y.dtype == check.INT64)
        if not metrics and program is not None and self._owner.acquire(False):
            try:  # where another thread trains, the modules measure
                if program.measures(self, rows, classes):
                    return program.measure(rows)
            finally:
                self._owner.release()
        return measure(self.model, self.loss, self.optimizer.dtype, rows, metrics)

    def memory(self, batch_size: int | None = None) -> dict[str, int]:
        """Bytes that training takes, by what they hold; known before the first step.

        Args:
            batch_size: rows of a batch; default: that of the last fit, else 32.

        Returns:
            parameters, gradients, optimizer; where there is a training program: activations
            (and their gradients), gathered batch; and total. Kernels need besides at most a few
            hundred kilobytes for each thread.
        """
        size = check.size("memory", "batch_size", batch_size) if batch_size else 0
        return memory(self, self._programs.get("fit"), size)


def _in_use(operation: str) -> RuntimeError:
    return RuntimeError(
        f"{operation}: another thread trains with this Trainer; give each thread a model, an "
        "optimiser and a Trainer of its own (copy.deepcopy(model)), or let one wait for the other"
    )
