"""Dropout; the mask is never stored."""

from __future__ import annotations

import numpy as np

from .. import functional
from .._core import native
from .._core.config import _State

_pointer = native.pointer
Place = tuple[float, int, int, int]  # p, seed, stream, step


class Dropout:
    """y = x / (1 - p) where the element is kept, else 0; dx = dy / (1 - p) there, else 0.

    The mask is computed again in the backward pass from (p, seed, stream, step).
    """

    @staticmethod
    def forward(
        x: np.ndarray, p: float, seed: int, stream: int, step: int
    ) -> tuple[np.ndarray, Place]:
        """(y, what the mask is made of)."""
        return functional.dropout(x, p, seed, stream, step), (p, seed, stream, step)

    @staticmethod
    def grad_input(saved: Place, grad: np.ndarray) -> np.ndarray:
        """dy / (1 - p) where the element was kept, else 0."""
        p, seed, stream, step = saved
        out = np.empty(grad.shape, grad.dtype)
        status = native.KERNELS[grad.dtype].Dropout_updateGradInput(
            out.size, _pointer(grad), _pointer(out), p, seed, native.DROPOUT_PURPOSE + stream,
            step, _State.threads,
        )  # fmt: skip
        if status:
            native.fail("Dropout.backward", status)
        return out
