"""What a trainer is made of and told, checked: model and optimiser, schedule, early stopping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._core import check
from ..nn.module import Module
from ..optim import LBFGS, Optimizer, Schedule
from .callbacks import EarlyStopping


def require_parts(model: Any, optimizer: Any) -> None:
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


def require_unfrozen(operation: str, optimizer: Optimizer) -> None:
    """Raises where every parameter of the optimiser is frozen."""
    if not any(p.requires_grad for p in optimizer.parameters):
        raise ValueError(
            f"{operation}: every parameter of the optimiser is frozen: nothing to train; set "
            "requires_grad = True, or call model.requires_grad_(True)"
        )


def require_held(
    operation: str, model: Module, optimizer: Optimizer, left_out: Iterable[Any]
) -> None:
    """Raises where the optimiser holds a parameter that was replaced, or lacks one that the model
    got later than those that were left out on purpose."""
    optimizer._require_held()
    known = {id(p) for p in (*optimizer.parameters, *left_out)}
    for name, p in model.named_parameters():
        if p.requires_grad and id(p) not in known:
            raise ValueError(
                f"{operation}: the model got the parameter {name} after the trainer was made, "
                "and the optimiser does not have it; make the optimiser anew from "
                "model.parameters(), trainer.optimizer = ..., or set its requires_grad = False"
            )


def stopping_of(wanted: Any, validates: bool) -> EarlyStopping:
    """An EarlyStopping, from one or from its patience."""
    if isinstance(wanted, EarlyStopping):
        return wanted
    if wanted is True:
        raise TypeError(
            "fit: early_stopping: expected a number of epochs or an EarlyStopping, got True; "
            "pass the epochs without improvement to wait for, such as 10"
        )
    patience = check.size("fit", "early_stopping", wanted)
    return EarlyStopping("val_loss" if validates else "loss", patience)


def schedule_of(schedule: Any, optimizer: Optimizer) -> Schedule | None:
    """A schedule over this optimiser, or None."""
    if schedule is None:
        return None
    if not isinstance(schedule, Schedule):
        raise TypeError(
            f"fit: schedule: expected a schedule of nnlite.optim, got {check.describe(schedule)}"
        )
    if schedule.optimizer is not optimizer:
        raise ValueError(
            "fit: schedule: it belongs to another optimiser; make it from trainer.optimizer"
        )
    return schedule
