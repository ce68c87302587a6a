"""predict's program: found once for a model and a kind of rows, also where there is none."""

from __future__ import annotations

import numpy as np

from ..autograd.node import Unsupported
from ..nn.module import Module
from .network import Forward


def predictor(model: Module, x: np.ndarray) -> Forward | None:
    """The program of a model's output for such rows, or None."""
    if len(x) == 0 or next(iter(model.parameters()), None) is None:
        return None
    try:
        return Forward(model, x, x.dtype)
    except Unsupported:
        return None
