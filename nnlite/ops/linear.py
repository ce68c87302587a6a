"""The affine map of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check, _native, functional
from .._config import _State

_pointer = _native.pointer


class Linear:
    """y = act(x W + b), samples as rows; W (D, K).

    dx = dy W^T, dW += x^T (s dy), db += s sum_i dy_i. The gradient of the activation is taken by
    the activation's own operation; see csrc/generic/Linear.c.
    """

    @staticmethod
    def record(
        step: Any, weight: np.ndarray, bias: np.ndarray | None, activation: str | None
    ) -> None:
        """Writes this call into a step of a C program; the caller keeps the arrays alive."""
        step.layer, step.outputs = _native.LINEAR, weight.shape[1]
        step.activation = functional.ACTIVATIONS[activation]
        step.weight = _pointer(weight)
        step.bias = _native.NULL if bias is None else _pointer(bias)

    @staticmethod
    def forward(
        x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(act(x W + b), x): backward needs x."""
        return functional.linear(x, weight, bias, activation), x

    @staticmethod
    def grad_input(
        x: np.ndarray, grad: np.ndarray, weight: np.ndarray, activation: str | None = None
    ) -> np.ndarray:
        """dy W^T, shape of x; where x is the output of `activation`, the gradient of its input."""
        inputs, outputs = weight.shape
        out = np.empty(x.shape, weight.dtype)
        status = _native.KERNELS[weight.dtype].Linear_updateGradInput(
            x.shape[0], inputs, outputs, _pointer(grad), _pointer(out), _pointer(weight),
            _native.NULL if activation is None else _pointer(x),
            functional.ACTIVATIONS[activation], _State.threads,
        )  # fmt: skip
        if status:
            _native.fail("Linear.backward", status)
        return out

    @staticmethod
    def acc_grad_parameters(
        x: np.ndarray,
        grad: np.ndarray,
        grad_weight: np.ndarray | None,
        grad_bias: np.ndarray | None,
        scale: float = 1.0,
    ) -> None:
        """Adds x^T (scale dy) to grad_weight and scale sum_i dy_i to grad_bias, where they are."""
        if grad_weight is None and grad_bias is None:
            return
        rows, outputs = grad.shape
        inputs = 0 if grad_weight is None else x.shape[1]  # no rows of the product: only the sums
        status = _native.KERNELS[grad.dtype].Linear_accGradParameters(
            rows, inputs, outputs, _pointer(x), _pointer(grad),
            _native.NULL if grad_weight is None else _pointer(grad_weight),
            _native.NULL if grad_bias is None else _pointer(grad_bias), scale, _State.threads,
        )  # fmt: skip
        if status:
            _native.fail("Linear.backward", status)

    @staticmethod
    def check_grad(x: np.ndarray, grad: np.ndarray, weight: np.ndarray) -> None:
        """Requires the gradient of an output for this x."""
        _check.matrix(
            "Linear.backward", "grad_output", grad, weight.dtype, weight.shape[1], "features"
        )
        if grad.shape[0] != x.shape[0]:
            raise ValueError(
                f"Linear.backward: grad_output has {grad.shape[0]} rows, the input of forward had "
                f"{x.shape[0]}; pass the gradient for that batch"
            )
