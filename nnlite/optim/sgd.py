"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from .._core import native
from ..nn.parameter import Parameter
from .optimizer import Common, Optimizer, Setting


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    v = momentum v + (1 - dampening) g;  w = w - lr v, with v = g when momentum is 0 and at the
    first step. Nesterov: w = w - lr (g + momentum v). g is the gradient with clipping and decay as
    Optimizer describes it.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        momentum: share of the last velocity that is kept, 0 <= momentum < 1.
        dampening: share of the gradient that stays out of the velocity, 0 <= dampening < 1.
        weight_decay: factor of w in the gradient, at least 0; biases are exempt.
        nesterov: look ahead by one velocity; needs momentum, and no dampening.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in
    deep learning", ICML 2013, with the rate outside the velocity as in PyTorch.
    """

    momentum, dampening, nesterov = Setting(), Setting(), Setting()

    _rule = native.RULE_SGD

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **common)
        self._add(
            momentum=self._number("momentum", momentum, below=1),
            dampening=self._number("dampening", dampening, below=1),
            nesterov=self._flag("nesterov", nesterov),
        )
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                "SGD: nesterov: expected momentum above 0 and dampening 0, got "
                f"momentum={momentum}, dampening={dampening}"
            )
        self._set(
            native.NESTEROV if nesterov else 0,
            momentum=self.momentum, dampening=self.dampening,
        )  # fmt: skip
        if self.momentum:
            self._keep("momentum_buffer")
