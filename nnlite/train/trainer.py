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
from ..optim import LBFGS, Optimizer, Schedule
from ..program.train import Program, compiled
from . import callbacks as _callbacks
from ._dataset import Dataset
from ._eager import Eager, train_batch
from ._fit import Fit, Plan
from ._inputs import Inputs
from ._losses import FunctionLoss, as_loss, warn_of_twice
from ._measure import measure, resolved, values_of
from ._position import EPOCHS, LARGEST, Position
from ._rows import NotFiniteError, Rows, Sums
from .history import History


def _require_parts(model: Any, optimizer: Any) -> None:
    """Raises unless this is a model and an optimiser of the model."""
    for name, value, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
        if not isinstance(value, kind):
            made = f"; pass {value.__name__}(...), not the class" if isinstance(value, type) else ""
            raise TypeError(
                f"Trainer: {name}: expected {kind.__name__}, got {check.describe(value)}{made}"
            )
    if isinstance(optimizer, LBFGS):
        raise TypeError(
            "Trainer: optimizer: LBFGS computes the loss several times in a step, over all "
            "rows; call optimizer.step(closure) as its docstring shows, or take another one"
        )
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for p in optimizer.parameters):
        raise ValueError(
            "Trainer: optimizer: none of its parameters belongs to the model; "
            "make it from model.parameters()"
        )


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
        _require_parts(model, optimizer)
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
            _require_parts(**parts | ({} if name == "loss" else {name: value}))
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
        self._require_trained("train_step")
        x = rows.x if isinstance(rows.x, np.ndarray) else rows.x[:]  # sparse rows become dense
        rows = Rows(converted(x, self.optimizer.dtype), rows.y, rows.weight)
        runner = self.runner(rows, len(rows.x), "step")
        try:
            if isinstance(runner, Program):
                runner.run(rows, None, 0, 1, Sums())
                return float(runner.last_loss)
            return train_batch(self.model, self.loss, self.optimizer, rows)[0]
        except NotFiniteError as error:
            name, size = self.largest_gradient()
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
            wanted.append(self.checked_stopping(early_stopping, data.held_out is not None))
        plan = Plan(
            data, batch_size, bool(shuffle), self.checked_schedule(schedule),
            resolved(metrics, self.loss), _callbacks.resolve(wanted),
            bool(verbose),
        )  # fmt: skip
        with self._alone("fit"):
            position = self.begin(plan, epochs, resume)
            self._position, self.stop, self._fits = position, False, True
            try:
                return Fit(self, plan, position).run()
            finally:
                self._fits = False

    # Checks of settings, for fit and fit_many.

    def _require_trained(self, operation: str) -> None:
        """Raises where every parameter of the optimiser is frozen."""
        if not any(p.requires_grad for p in self.optimizer.parameters):
            raise ValueError(
                f"{operation}: every parameter of the optimiser is frozen: nothing to train; set "
                "requires_grad = True, or call model.requires_grad_(True)"
            )
        if self._structure is Structure.token:
            return
        token = Structure.token
        self.optimizer._require_held()
        known = {id(p) for p in (*self.optimizer.parameters, *self._left_out)}
        for name, p in self.model.named_parameters():
            if p.requires_grad and id(p) not in known:
                raise ValueError(
                    f"{operation}: the model got the parameter {name} after the trainer was made, "
                    "and the optimiser does not have it; make the optimiser anew from "
                    "model.parameters(), trainer.optimizer = ..., or set its requires_grad = False"
                )
        self._structure = token

    def _note_parameters(self) -> None:
        """Takes the model's parameters that the optimiser does not have now as meant to stay."""
        own = {id(p) for p in self.optimizer.parameters}
        found = [p for p in self.model.parameters() if id(p) not in own]
        vars(self).update(_left_out=found, _structure=None)

    def checked_stopping(self, wanted: Any, validates: bool) -> Any:
        """An EarlyStopping, from one or from its patience."""
        if isinstance(wanted, _callbacks.EarlyStopping):
            return wanted
        if wanted is True:
            raise TypeError(
                "fit: early_stopping: expected a number of epochs or an EarlyStopping, got True; "
                "pass the epochs without improvement to wait for, such as 10"
            )
        patience = check.size("fit", "early_stopping", wanted)
        return _callbacks.EarlyStopping("val_loss" if validates else "loss", patience)

    def checked_schedule(self, schedule: Any) -> Any:
        """A schedule over this optimiser, or None."""
        if schedule is None:
            return None
        if not isinstance(schedule, Schedule):
            raise TypeError(
                "fit: schedule: expected a schedule of nnlite.optim, "
                f"got {check.describe(schedule)}"
            )
        if schedule.optimizer is not self.optimizer:
            raise ValueError(
                "fit: schedule: it belongs to another optimiser; make it from trainer.optimizer"
            )
        return schedule

    # Going on.

    def begin(self, plan: Plan, epochs: int, resume: bool) -> Position:
        """A new position; or that of the interrupted fit, whose states are taken over."""
        self._require_trained("fit")
        if self.checkpoint is not None and isinstance(self.loss, FunctionLoss):
            self.loss.config()  # raises: better now than at the first save
        settings = {
            "batch_size": plan.batch_size, "shuffle": plan.shuffle,
            "data": plan.data.source.signature(plan.batch_size),
        }  # fmt: skip
        attached = {"schedule": plan.schedule} if plan.schedule is not None else {}
        attached["callbacks"] = plan.callbacks
        attached |= {f"metric{i}": metric for i, metric in enumerate(plan.metrics)}
        attached = {k: part for k, part in attached.items() if hasattr(part, "state_dict")}

        def accept() -> None:
            self._require_resumable(settings, attached, plan)
            for name, part in attached.items() if self._position is not None else ():
                if self._attached.get(name) is not part and name in self._attached:
                    _take_state(name, part, self._attached[name])

        if resume and self.checkpoint is not None and os.path.exists(self.checkpoint):
            from ..checkpoint.save_load import restore_if

            restore_if(self.checkpoint, self.model, self.optimizer, self, accept)
        elif resume:
            accept()
        position = self._position if resume else None
        if position is not None:
            position.epochs = epochs
        self._attached = attached
        return position or Position(self.epoch, epochs, settings)

    def _require_resumable(
        self, settings: dict[str, Any], attached: dict[str, Any], plan: Plan
    ) -> None:
        """Refuses other settings than those of the interrupted fit, where there was one."""
        wrong = [] if self._position is None else self._position.differences(settings)
        if wrong:
            raise ValueError(
                f"fit: resume: the interrupted fit had other settings: {'; '.join(wrong)}; "
                "pass the same, or resume=False to begin a new fit"
            )
        rows, at = plan.data.rows, self._position
        batches = None if rows is None else -(-rows // plan.batch_size)
        if at is not None and batches is not None and at.batch > batches:
            from ..checkpoint.save_load import CheckpointError

            raise CheckpointError(
                f"fit: resume: it stands at batch {at.batch}, an epoch has {batches}"
            )
        if self._position is not None and "schedule" in self._attached.keys() - attached:
            raise ValueError(
                "fit: resume: the interrupted fit had a schedule; pass the same one, made from "
                "trainer.optimizer, or resume=False to begin a new fit"
            )

    def state_dict(self) -> dict[str, Any]:
        """All that going on exactly needs beside model and optimiser; numbers, texts and arrays in
        nested dicts and lists."""
        attached = {
            name: part if isinstance(part, dict) else part.state_dict()
            for name, part in self._attached.items()
        }
        position = self._position
        return {
            "seed": self.seed, "epoch": self.epoch, "steps": self.steps, "every": self.every,
            "position": None if position is None else position.state(), "attached": attached,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        position = state["position"]
        made = None if position is None else Position.of(position)
        seed = check_seed("Trainer", "seed", state["seed"])
        epoch = check.size("Trainer", "epoch", state["epoch"], 0, EPOCHS)
        steps = check.size("Trainer", "steps", state["steps"], 0, LARGEST)
        if state["every"] is not None:  # kept to be looked at
            check.size("Trainer", "every", state["every"], 1, LARGEST)
        attached = dict(state["attached"])
        if not all(isinstance(part, dict) for part in attached.values()):
            raise TypeError("Trainer.load_state_dict: attached: expected a dict for each part")
        self.seed, self.epoch, self.steps = seed, epoch, steps
        self._position, self._attached = made, attached

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
        program = self._programs.get("fit")
        size = check.size("memory", "batch_size", batch_size) if batch_size else 0
        if program is None or (size and size != program.batch):
            program = self._recorded_for(size or 32)
        values = sum(p.data.nbytes for p in self.model.parameters())
        found = {"parameters": values, "gradients": values}
        found["optimizer"] = sum(array.nbytes for array in self.optimizer.state.values())
        if program is not None:
            found |= program.nbytes
        return found | {"total": sum(found.values())}

    def _recorded_for(self, batch: int) -> Program | None:
        """A program for rows of the model's width, with targets as its loss takes first."""
        widths = (getattr(module, "in_features", 0) for module in self.model.modules())
        width = next((width for width in widths if width), 0)
        if not width:
            return None
        x = np.zeros((1, width), self.optimizer.dtype)
        output = self.inputs.example(x)
        y = np.zeros(1, np.int64) if self.loss.classifies else output
        return compiled(self.model, self.loss, self.optimizer, Rows(x, y), batch, y.ndim == 1)

    def largest_gradient(self) -> tuple[str, float]:
        """(name, size) of the parameter with the largest gradient; NaN counts as largest."""
        sizes = [
            (name, float(np.abs(p.grad).max(initial=0)))
            for name, p in self.model.named_parameters()
            if p.requires_grad
        ]
        return max(sizes, key=lambda item: (np.isnan(item[1]), item[1]))


def _in_use(operation: str) -> RuntimeError:
    return RuntimeError(
        f"{operation}: another thread trains with this Trainer; give each thread a model, an "
        "optimiser and a Trainer of its own (copy.deepcopy(model)), or let one wait for the other"
    )


def _take_state(name: str, part: Any, old: Any) -> None:
    """Gives a schedule, the callbacks or a metric the state of its forerunner, or of a file."""
    if not isinstance(old, dict):
        part.load_state_dict(old.state_dict())
        return
    try:
        part.load_state_dict(old)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        from ..checkpoint.save_load import CheckpointError

        raise CheckpointError(
            f"fit: resume: the state of {name} is none: {type(error).__name__}: {error}"
        ) from error
