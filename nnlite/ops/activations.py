"""Element-wise activations; each gradient is computed from the output alone."""

from __future__ import annotations

import numpy as np

from .. import functional
from .._core import check, native
from .._core.config import _State

_pointer = native.pointer


def _grad_from_output(kernel: str, saved: np.ndarray, grad: np.ndarray) -> np.ndarray:
    out = np.empty(saved.shape, saved.dtype)
    if grad.size != out.size:
        check.unfit(kernel, grad, saved)
    function = getattr(native.KERNELS[saved.dtype], kernel)
    status = function(out.size, _pointer(saved), _pointer(grad), _pointer(out), _State.threads)
    if status:
        native.fail(kernel, status)
    return out


class Threshold:
    """y = x where x > threshold, else value; ReLU is (0, 0). dx = dy where x > threshold, else 0.

    For ReLU the output stands for the input: it is positive exactly where the input is.
    """

    @staticmethod
    def forward(
        x: np.ndarray, threshold: float = 0.0, value: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """(y, y for ReLU, else x)."""
        y = functional.threshold(x, threshold, value)
        return y, (y if threshold == 0 and value == 0 else x)

    @staticmethod
    def grad_input(saved: np.ndarray, grad: np.ndarray, threshold: float = 0.0) -> np.ndarray:
        """dy where saved > threshold, else 0."""
        out = np.empty(saved.shape, saved.dtype)
        if grad.size != out.size:
            check.unfit("Threshold.backward", grad, saved)
        status = native.KERNELS[saved.dtype].Threshold_updateGradInput(
            out.size, _pointer(saved), _pointer(grad), _pointer(out), threshold, _State.threads
        )
        if status:
            native.fail("Threshold.backward", status)
        return out


class Sigmoid:
    """y = 1 / (1 + e^-x); dx = dy y (1 - y)."""

    @staticmethod
    def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(y, y)."""
        y = functional.sigmoid(x)
        return y, y

    @staticmethod
    def grad_input(y: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """dy y (1 - y)."""
        return _grad_from_output("Sigmoid_updateGradInput", y, grad)


class Tanh:
    """y = tanh(x); dx = dy (1 - y^2)."""

    @staticmethod
    def forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(y, y)."""
        y = functional.tanh(x)
        return y, y

    @staticmethod
    def grad_input(y: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """dy (1 - y^2)."""
        return _grad_from_output("Tanh_updateGradInput", y, grad)
