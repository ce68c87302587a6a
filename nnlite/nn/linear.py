"""The Linear module."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import autograd
from .._core import check
from ..ops import Linear as LinearOp
from .init import INITIALISERS
from .module import Module
from .parameter import Parameter, gather


class Linear(Module):
    """y = x W + b for rows x.

    Args:
        in_features: length of an input row, at least 1.
        out_features: length of an output row, at least 1.
        bias: whether b is there.
        dtype: np.float32 or np.float64.
        init: "he_uniform" (default; for layers before a ReLU), "he_normal", "glorot_uniform" or
            "glorot_normal" (for tanh, sigmoid and linear outputs); formulas in nnlite.nn.init.
            The bias starts at zero.

    Attributes:
        weight: Parameter (in_features, out_features).
        bias: Parameter (out_features,), or None.

    Raises:
        TypeError: sizes are not integers, or the dtype is another.
        ValueError: a size is below 1 or their product too large, or init is unknown.

    Source: Goodfellow, Bengio, Courville, "Deep Learning" (2016), section 6.5.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = np.float32,
        *,
        init: str = "he_uniform",
    ) -> None:
        inputs = check.size("Linear", "in_features", in_features)
        outputs = check.size("Linear", "out_features", out_features)
        kind = check.float_dtype("Linear", dtype)
        sizes = {"in_features": inputs, "out_features": outputs}
        check.elements("Linear", sizes, kind.itemsize)
        if init not in INITIALISERS:
            known = ", ".join(map(repr, INITIALISERS))
            raise ValueError(f"Linear: init: expected one of {known}, got {init!r}")
        self.init = init
        values = INITIALISERS[init](inputs, outputs, kind)
        self.weight = Parameter(values, "weight")
        self.bias = Parameter(np.zeros(outputs, kind), "bias") if bias else None
        gather(self.parameters())

    @property
    def in_features(self) -> int:
        """Columns of the input: those that the weight has rows for."""
        return self.weight.shape[0]

    @property
    def out_features(self) -> int:
        """Columns of the output."""
        return self.weight.shape[1]

    def config(self) -> dict[str, Any]:
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias is not None,
            "dtype": str(self.weight.dtype),
            "init": self.init,
        }

    def _run(self, x: np.ndarray, keep: bool, activation: str | None = None) -> np.ndarray:
        bias = None if self.bias is None else self.bias._data
        y, saved = LinearOp.forward(x, self.weight._data, bias, activation)
        if keep:
            self._keep(saved)
        return y

    def _graph(self, x: Any) -> Any:
        if type(self)._run is not Linear._run:
            return super()._graph(x)
        return autograd.linear(x, self.weight, self.bias)

    def _check_grad(self, saved: np.ndarray, grad_output: np.ndarray) -> None:
        LinearOp.check_grad(saved, grad_output, self.weight._data)

    def _grad(
        self,
        saved: np.ndarray,
        grad_output: np.ndarray,
        want_input: bool,
        activation: str | None = None,
    ) -> Any:
        weight, bias = self.weight, self.bias
        grad_input = None
        if want_input:
            grad_input = LinearOp.grad_input(saved, grad_output, weight._data, activation)
        LinearOp.acc_grad_parameters(
            saved, grad_output,
            weight._grad if weight._requires_grad else None,
            bias._grad if bias is not None and bias._requires_grad else None,
        )  # fmt: skip
        return grad_input

    def _backward_through(
        self, grad_output: np.ndarray, activation: Module, fits: bool
    ) -> np.ndarray:
        """Backward of this layer and of the activation that made its input, in one kernel."""
        saved = self._take() if fits else self._take_for(grad_output)
        activation._drop()
        return self._grad(saved, grad_output, True, activation.fused)  # type: ignore[attr-defined]

    def _describe(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_features}, {self.out_features}{bias}, dtype={self.weight.dtype}"
