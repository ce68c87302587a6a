"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .. import _check, _native
from .._config import _State
from ..nn.parameter import Parameter, Segment
from .optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay.

    g = grad + weight_decay w;  v = momentum v + g;  w = w - lr v, with v = g when momentum is 0.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, above 0.
        momentum: share of the last velocity that is kept, 0 <= momentum < 1.
        weight_decay: factor of w in the gradient, at least 0: the gradient of
            weight_decay / 2 ||w||^2, for all parameters given.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in
    deep learning", ICML 2013, with the rate outside the velocity as in PyTorch.
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self._lr = _check.number("SGD", "lr", lr, 0, above=True)
        self.momentum = _check.number("SGD", "momentum", momentum, 0, 1)
        self.weight_decay = _check.number("SGD", "weight_decay", weight_decay, 0)
        if self.momentum == 1:
            raise ValueError("SGD: momentum: expected a number below 1, got 1")
        self._state_names = ("velocity",) if self.momentum else ()
        super().__init__(params)

    @property
    def lr(self) -> float:
        """The learning rate; may be set between steps."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = _check.number("SGD", "lr", value, 0, above=True)

    def _update(self, part: Segment, state: dict[str, np.ndarray]) -> None:
        pointer = _native.pointer
        velocity = pointer(state["velocity"]) if state else _native.NULL
        status = _native.KERNELS[self.dtype].SGD_update(
            part.count, pointer(part.grad), pointer(part.data), velocity,
            self._lr, self.momentum, self.weight_decay, _State.threads,
        )  # fmt: skip
        if status:
            _native.fail("SGD.step", status)

    def __repr__(self) -> str:
        return f"SGD(lr={self.lr}, momentum={self.momentum}, weight_decay={self.weight_decay})"
