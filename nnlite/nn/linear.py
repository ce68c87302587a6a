"""The Linear module."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import autograd
from .._core import check
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

    def _formula(self, x: Any) -> Any:
        return autograd.linear(x, self.weight, self.bias)

    def _check_input(self, x: Any) -> None:
        check.array("linear", "x", x, self.weight.dtype)

    def _check_grad(self, saved: Any, grad_output: np.ndarray) -> None:
        rows, features = saved.shape
        operation = "Linear.backward"
        check.matrix(operation, "grad_output", grad_output, saved.dtype, features, "features")
        if len(grad_output) != rows:
            raise ValueError(
                f"{operation}: grad_output has {len(grad_output)} rows, the input of forward had "
                f"{rows}; pass the gradient for that batch"
            )

    def _describe(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_features}, {self.out_features}{bias}, dtype={self.weight.dtype}"
