"""Softmax and its logarithm along the last axis; gradients from the output alone."""

from __future__ import annotations

import numpy as np

from .. import functional
from .._core import check, native
from .._core.config import _State

_pointer = native.pointer


def _grad_from_output(kernel: str, y: np.ndarray, grad: np.ndarray) -> np.ndarray:
    out = np.empty(y.shape, y.dtype)
    classes = out.shape[-1]
    if grad.size != out.size:
        check.unfit(kernel, grad, y)
    status = getattr(native.KERNELS[y.dtype], kernel)(
        out.size // classes if classes else 0, classes, _pointer(y), _pointer(grad), _pointer(out),
        _State.threads,
    )  # fmt: skip
    if status:
        native.fail(kernel, status)
    return out


class SoftMax:
    """y_k = e^x_k / sum_j e^x_j; dx = y (dy - sum_k dy_k y_k)."""

    @staticmethod
    def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(y, y)."""
        y = functional.softmax(x)
        return y, y

    @staticmethod
    def grad_input(y: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """y (dy - sum_k dy_k y_k)."""
        return _grad_from_output("SoftMax_updateGradInput", y, grad)


class LogSoftMax:
    """y_k = x_k - log sum_j e^x_j; dx = dy - e^y sum_k dy_k."""

    @staticmethod
    def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(y, y)."""
        y = functional.log_softmax(x)
        return y, y

    @staticmethod
    def grad_input(y: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """dy - e^y sum_k dy_k."""
        return _grad_from_output("LogSoftMax_updateGradInput", y, grad)
