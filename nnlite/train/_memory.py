"""What training takes of memory, by what holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..program.rows import Rows
from ..program.train import Program, compiled

if TYPE_CHECKING:
    from .trainer import Trainer


def memory(trainer: Trainer, program: Program | None, batch: int) -> dict[str, int]:
    """See Trainer.memory.

    Args:
        program: that of the last fit, or None.
        batch: rows of a batch; 0: those of the last fit, else 32.
    """
    if program is None or (batch and batch != program.batch):
        program = _recorded_for(trainer, batch or 32)
    values = sum(p.data.nbytes for p in trainer.model.parameters())
    found = {"parameters": values, "gradients": values}
    found["optimizer"] = sum(array.nbytes for array in trainer.optimizer.state.values())
    if program is not None:
        found |= program.nbytes
    return found | {"total": sum(found.values())}


def _recorded_for(trainer: Trainer, batch: int) -> Program | None:
    """A program for rows of the model's width, with targets as its loss takes first."""
    model, loss, optimizer = trainer.model, trainer.loss, trainer.optimizer
    widths = (getattr(module, "in_features", 0) for module in model.modules())
    width = next((width for width in widths if width), 0)
    if not width:
        return None
    x = np.zeros((1, width), optimizer.dtype)
    output = trainer.inputs.example(x)
    y = np.zeros(1, np.int64) if loss.classifies else output
    return compiled(model, loss, optimizer, Rows(x, y), batch, y.ndim == 1)
