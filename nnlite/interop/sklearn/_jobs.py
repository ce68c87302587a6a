"""From an estimator's parameters and data to what nnlite trains: models, optimisers, arguments.

`jobs` makes one Job for each member of an ensemble, and `train` trains them. A search makes the
jobs of many estimators and trains them side by side by `nnlite.fit_many`, which takes what a Job
holds.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import optim
from ..._core.config import seeded
from ...data import train_test_split
from ...nn import Linear, Loss, Module, MSELoss, ReLU, Sequential, SoftmaxCE
from ...nn.init import INITIALISERS
from ...optim import Optimizer, Schedule
from ...train.callbacks import EarlyStopping
from ...train.history import History
from ...train.many import fit_many
from ...train.trainer import Trainer
from ._losses import BinaryLogLoss

HIDDEN = 100  # units of the default model's hidden layer


@dataclass
class Job:
    """One network, and how it is to be trained.

    Attributes:
        seed: of the orders of its rows, and of those held out.
        history: of the last training.
    """

    model: Module
    loss: Any
    optimizer: Optimizer
    schedule: Schedule | None
    seed: int
    history: History | None = None


@dataclass
class Plan:
    """The jobs of one fit, and what they share.

    Attributes:
        y: (rows,) class numbers, or (rows, outputs) numbers in the models' dtype.
        share: of the rows, held out by each job's seed; 0: none.
        The others are arguments of `Trainer.fit` and `fit_many`.
    """

    jobs: list[Job]
    X: Any
    y: np.ndarray
    epochs: int
    batch_size: int
    shuffle: bool
    verbose: int
    validation_data: Any = None
    share: float = 0.0
    early_stopping: Any = None
    sample_weight: np.ndarray | None = None
    class_weight: Any = None
    callbacks: Sequence[Any] = ()
    metrics: Sequence[Any] = ()


def default_model(inputs: int, outputs: int, dtype: np.dtype) -> Module:
    """One hidden layer of ReLU units."""
    return Sequential(
        Linear(inputs, HIDDEN, dtype=dtype), ReLU(),
        Linear(HIDDEN, outputs, dtype=dtype, init="glorot_uniform"),
    )  # fmt: skip


def built(operation: str, model: Any, inputs: int, outputs: int, dtype: Any, member: int) -> Module:
    """A network of its own for a fit.

    Args:
        model: a Module, which is copied; a function (inputs, outputs) that makes one; or None.
        member: number in an ensemble; the layers of a copy other than the first are drawn anew.

    Raises:
        TypeError: it is nothing of the kind.
        ValueError: its outputs are not as many as the targets need.
    """
    if model is None:
        return default_model(inputs, outputs, dtype)
    made: Any = model
    if isinstance(model, Module):
        made = copy.deepcopy(model)
        if member:
            _draw_anew(made)
    elif callable(model):
        made = model(inputs, outputs)
    if not isinstance(made, Module) or not made.parameters():
        raise TypeError(
            f"{operation}: model: expected a Module with parameters, or a function (n_features, "
            f"n_outputs) that makes one, got {made!r}"
        )
    own = made.parameters()[0].dtype
    found = made._call(np.zeros((1, inputs), own), False).shape[1:]
    if found != (outputs,):
        raise ValueError(
            f"{operation}: model: gives outputs of shape {found} for each row, the targets need "
            f"({outputs},): change its last layer, or pass a function (n_features, n_outputs)"
        )
    return made


def _draw_anew(model: Module) -> None:
    for layer in model.modules():
        if isinstance(layer, Linear):
            shape = layer.in_features, layer.out_features
            layer.weight.data = INITIALISERS[layer.init](*shape, layer.weight.dtype)


def optimizer_of(operation: str, wanted: Any, settings: Any, model: Module) -> Optimizer:
    """An optimiser over the model's parameters.

    Args:
        wanted: the name of a class of nnlite.optim in any case, such a class, or a function of the
            parameters; None: Adam.
        settings: its keyword arguments, or None.

    Raises:
        TypeError, ValueError: it is nothing of the kind.
    """
    kind: Any = optim.Adam if wanted is None else wanted
    if isinstance(kind, str):
        classes = {name.lower(): getattr(optim, name) for name in optim.__all__}
        kinds = {
            name: one for name, one in classes.items()
            if isinstance(one, type) and issubclass(one, Optimizer) and one is not Optimizer
        }  # fmt: skip
        if kind.lower() not in kinds:
            raise ValueError(
                f"{operation}: optimizer: expected one of {', '.join(sorted(kinds))}, got {kind!r}"
            )
        kind = kinds[kind.lower()]
    if not callable(kind) or isinstance(kind, Optimizer):
        raise TypeError(
            f"{operation}: optimizer: expected a name, a class of nnlite.optim or a function of "
            f"the parameters, got {kind!r}: an optimiser belongs to one model, and each fit has "
            "its own"
        )
    made = kind(model.parameters(), **dict(settings or {}))
    if not isinstance(made, Optimizer):
        raise TypeError(f"{operation}: optimizer: expected it to make an Optimizer, got {made!r}")
    return made


def loss_of(loss: Any, classes: bool, labels: bool) -> Any:
    """The loss as given, a copy; or what is usual for classes, several labels, or numbers."""
    if loss is not None:
        return copy.deepcopy(loss) if isinstance(loss, Loss) else loss
    if labels:
        return BinaryLogLoss()
    return SoftmaxCE() if classes else MSELoss()


def train(plan: Plan) -> None:
    """Trains the jobs: one by Trainer.fit; several side by side, where nothing is called between
    their epochs."""
    if len(plan.jobs) > 1 and not plan.callbacks and not plan.metrics:
        _train_together(plan)
        return
    for job in plan.jobs:
        trainer = Trainer(job.model, job.loss, job.optimizer, job.seed)
        job.history = trainer.fit(
            plan.X, plan.y, plan.epochs, plan.batch_size, plan.validation_data, plan.shuffle,
            plan.verbose, validation_split=plan.share, sample_weight=plan.sample_weight,
            class_weight=plan.class_weight, schedule=job.schedule,
            early_stopping=copy.deepcopy(plan.early_stopping), metrics=plan.metrics,
            callbacks=plan.callbacks,
        )  # fmt: skip


def _train_together(plan: Plan) -> None:
    jobs = plan.jobs
    folds = [hold_out(plan.y, plan.share, job.seed) for job in jobs] if plan.share else None
    histories = fit_many(
        [job.model for job in jobs], [job.loss for job in jobs], [job.optimizer for job in jobs],
        plan.X, plan.y, plan.epochs, plan.batch_size,
        seeds=[job.seed for job in jobs],
        folds=folds,
        validation_data=plan.validation_data, early_stopping=plan.early_stopping,
        schedules=[job.schedule for job in jobs], sample_weight=plan.sample_weight,
        class_weight=plan.class_weight, shuffle=plan.shuffle, verbose=plan.verbose,
    )  # fmt: skip
    for job, history in zip(jobs, histories, strict=True):
        job.history = history


def hold_out(y: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows to train on, and of a share held out, as Trainer.fit holds them out."""
    numbers = np.arange(len(y)).reshape(-1, 1)
    stratify = y.ndim == 1
    train_rows, held, _, _ = train_test_split(
        numbers, y, test_size=float(share), seed=seed, stratify=stratify
    )
    return train_rows[:, 0], held[:, 0]


def make_jobs(
    operation: str, estimator: Any, inputs: int, outputs: int, dtype: np.dtype, classes: bool,
    labels: bool, seeds: Sequence[int],
) -> list[Job]:  # fmt: skip
    """A job for each seed, from the estimator's model, loss, optimizer and schedule.

    Args:
        classes, labels: whether the targets are classes, and several for each row.
    """
    found = []
    for member, seed in enumerate(seeds):
        with seeded(seed):
            model = built(operation, estimator.model, inputs, outputs, dtype, member)
        loss = loss_of(estimator.loss, classes, labels)
        optimizer = optimizer_of(
            operation, estimator.optimizer, estimator.optimizer_settings, model
        )
        if estimator.lr is not None:
            optimizer.lr = estimator.lr
        schedule = _schedule_of(operation, estimator.schedule, optimizer)
        found.append(Job(model, loss, optimizer, schedule, seed))
    return found


def _schedule_of(operation: str, wanted: Any, optimizer: Optimizer) -> Schedule | None:
    """A schedule over the optimiser, from a function that makes one."""
    if wanted is None:
        return None
    made = wanted(optimizer) if callable(wanted) else wanted
    if not isinstance(made, Schedule) or made.optimizer is not optimizer:
        raise TypeError(
            f"{operation}: schedule: expected a function of the optimiser that makes a schedule, "
            "such as functools.partial(nnlite.optim.StepLR, step_size=10), got "
            f"{wanted!r}"
        )
    return made


def stopping_of(operation: str, wanted: Any, validates: bool) -> EarlyStopping | None:
    """An EarlyStopping from one, from its patience, or from True."""
    if wanted is None or wanted is False:
        return None
    if isinstance(wanted, EarlyStopping):
        return copy.deepcopy(wanted)
    monitor = "val_loss" if validates else "loss"
    return EarlyStopping(monitor) if wanted is True else EarlyStopping(monitor, wanted)
