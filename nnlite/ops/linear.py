"""The affine map of rows."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from .. import functional
from .._core import check, native
from .._core.config import _State

_pointer = native.pointer


class Linear:
    """y = act(x W + b), samples as rows; W (D, K).

    dx = dy W^T, dW += x^T (s dy), db += s sum_i dy_i. The gradient of the activation is taken by
    the activation's own operation; see csrc/layers/Linear.c.
    """

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
        rows = x.shape[0]
        if grad.shape != (rows, outputs) or x.shape != (rows, inputs):
            _unfit(x, grad, weight)
        out = np.empty((rows, inputs), weight.dtype)
        status = native.KERNELS[weight.dtype].Linear_updateGradInput(
            rows, inputs, outputs, _pointer(grad), _pointer(out), _pointer(weight),
            native.NULL if activation is None else _pointer(x),
            functional.ACTIVATIONS[activation], _State.threads,
        )  # fmt: skip
        if status:
            native.fail("Linear.backward", status)
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
        if x.shape[0] != rows:
            _unfit(x, grad, grad_weight if grad_bias is None else grad_bias)
        if grad_bias is not None and grad_bias.size != outputs:
            _unfit(x, grad, grad_bias)
        if grad_weight is None:
            inputs = 0  # no rows of the product: only the sums
        else:
            inputs = x.shape[1]
            if x.ndim != 2 or grad_weight.shape != (inputs, outputs):
                _unfit(x, grad, grad_weight)
        status = native.KERNELS[grad.dtype].Linear_accGradParameters(
            rows, inputs, outputs, _pointer(x), _pointer(grad),
            native.NULL if grad_weight is None else _pointer(grad_weight),
            native.NULL if grad_bias is None else _pointer(grad_bias), scale, _State.threads,
        )  # fmt: skip
        if status:
            native.fail("Linear.backward", status)

    @staticmethod
    def check_grad(x: np.ndarray, grad: np.ndarray, weight: np.ndarray) -> None:
        """Requires the gradient of an output for this x."""
        check.matrix(
            "Linear.backward", "grad_output", grad, weight.dtype, weight.shape[1], "features"
        )
        if grad.shape[0] != x.shape[0]:
            raise ValueError(
                f"Linear.backward: grad_output has {grad.shape[0]} rows, the input of forward had "
                f"{x.shape[0]}; pass the gradient for that batch"
            )


def _unfit(x: np.ndarray, grad: np.ndarray, parameter: Any) -> NoReturn:
    raise ValueError(
        f"Linear.backward: x has shape {x.shape}, grad_output {grad.shape}, the parameter "
        f"{parameter.shape}: they are not of one call of forward. Give each thread a module of its "
        "own (copy.deepcopy), and replace no parameter between forward and backward"
    )
