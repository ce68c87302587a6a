"""Going on: how a fit begins, anew or where the last one was interrupted, with the states it had
then; and what a checkpoint of a trainer holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._core import check
from .._core.config import check_seed
from ._fit import Plan
from ._losses import FunctionLoss
from ._position import EPOCHS, LARGEST, Position

if TYPE_CHECKING:
    from .trainer import Trainer


def begin(trainer: Trainer, plan: Plan, epochs: int, resume: bool) -> Position:
    """A new position; or that of the interrupted fit, whose states are taken over."""
    trainer.require_trained("fit")
    if trainer.checkpoint is not None and isinstance(trainer.loss, FunctionLoss):
        trainer.loss.config()  # raises: better now than at the first save
    settings = {
        "batch_size": plan.batch_size, "shuffle": plan.shuffle,
        "data": plan.data.source.signature(plan.batch_size),
    }  # fmt: skip
    attached = _attached(plan)

    def accept() -> None:
        _require_resumable(trainer, settings, attached, plan)
        for name, part in attached.items() if trainer._position is not None else ():
            if trainer._attached.get(name) is not part and name in trainer._attached:
                _take_part(name, part, trainer._attached[name])

    if resume and trainer.checkpoint is not None and os.path.exists(trainer.checkpoint):
        from ..checkpoint.save_load import restore_if

        restore_if(trainer.checkpoint, trainer.model, trainer.optimizer, trainer, accept)
    elif resume:
        accept()
    position = trainer._position if resume else None
    if position is not None:
        position.epochs = epochs
    trainer._attached = attached
    return position or Position(trainer.epoch, epochs, settings)


def _attached(plan: Plan) -> dict[str, Any]:
    """What else has a state that a fit goes on with: schedule, callbacks and metrics."""
    parts = {"schedule": plan.schedule} if plan.schedule is not None else {}
    parts["callbacks"] = plan.callbacks
    parts |= {f"metric{i}": metric for i, metric in enumerate(plan.metrics)}
    return {name: part for name, part in parts.items() if hasattr(part, "state_dict")}


def _require_resumable(
    trainer: Trainer, settings: dict[str, Any], attached: dict[str, Any], plan: Plan
) -> None:
    """Refuses other settings than those of the interrupted fit, where there was one."""
    at = trainer._position
    if at is None:
        return
    wrong = at.differences(settings)
    if wrong:
        raise ValueError(
            f"fit: resume: the interrupted fit had other settings: {'; '.join(wrong)}; "
            "pass the same, or resume=False to begin a new fit"
        )
    rows = plan.data.rows
    batches = None if rows is None else -(-rows // plan.batch_size)
    if batches is not None and at.batch > batches:
        from ..checkpoint.save_load import CheckpointError

        raise CheckpointError(f"fit: resume: it stands at batch {at.batch}, an epoch has {batches}")
    if "schedule" in trainer._attached.keys() - attached:
        raise ValueError(
            "fit: resume: the interrupted fit had a schedule; pass the same one, made from "
            "trainer.optimizer, or resume=False to begin a new fit"
        )


def _take_part(name: str, part: Any, old: Any) -> None:
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


def state_of(trainer: Trainer) -> dict[str, Any]:
    """See Trainer.state_dict."""
    attached = {
        name: part if isinstance(part, dict) else part.state_dict()
        for name, part in trainer._attached.items()
    }
    position = trainer._position
    return {
        "seed": trainer.seed, "epoch": trainer.epoch, "steps": trainer.steps,
        "every": trainer.every,
        "position": None if position is None else position.state(), "attached": attached,
    }  # fmt: skip


def take_state(trainer: Trainer, state: dict[str, Any]) -> None:
    """See Trainer.load_state_dict: checks all of the state, then takes it over."""
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
    trainer.seed, trainer.epoch, trainer.steps = seed, epoch, steps
    trainer._position, trainer._attached = made, attached
