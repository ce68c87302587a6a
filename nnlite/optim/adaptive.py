"""Rules that adapt the step of each weight without Adam's first moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from .._core import native
from ..nn.parameter import Parameter
from .optimizer import Common, Optimizer, Setting


class RMSprop(Optimizer):
    """Steps divided by the root mean square of recent gradients.

    s = alpha s + (1 - alpha) g^2;  d = g / (sqrt(s) + eps);  b = momentum b + d;  w = w - lr b.
    Centred: sqrt(s - a^2) with a = alpha a + (1 - alpha) g.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        alpha: share of the old mean square that is kept, 0 <= alpha < 1.
        eps: added to the root, at least 0.
        weight_decay: factor of w in the gradient, at least 0; biases are exempt.
        momentum: share of the last step that is kept, 0 <= momentum < 1.
        centered: divide by the standard deviation of the gradients instead.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Tieleman, Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; Graves,
    "Generating Sequences With Recurrent Neural Networks", 2013, equations 38 to 45.
    """

    alpha, eps, momentum, centered = Setting(), Setting(), Setting(), Setting()

    _rule = native.RULE_RMSPROP

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **common)
        self._add(
            alpha=self._number("alpha", alpha, below=1),
            eps=self._number("eps", eps),
            momentum=self._number("momentum", momentum, below=1),
            centered=self._flag("centered", centered),
        )
        flags = native.CENTERED if centered else 0
        self._set(flags, alpha=self.alpha, eps=self.eps, momentum=self.momentum)
        names = {"square_avg": True, "grad_avg": centered, "momentum_buffer": self.momentum > 0}
        self._keep(*(name for name, used in names.items() if used))


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients.

    s = s + g^2;  w = w - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) at step t = 1, 2, ...

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        lr_decay: how fast the rate falls, at least 0.
        weight_decay: factor of w in the gradient, at least 0; biases are exempt.
        initial_accumulator_value: s at first, at least 0.
        eps: added to the root, at least 0.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", JMLR 12, 2011.
    """

    lr_decay, initial_accumulator_value, eps = Setting(), Setting(), Setting()

    _rule = native.RULE_ADAGRAD

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **common)
        self._add(
            lr_decay=self._number("lr_decay", lr_decay),
            initial_accumulator_value=self._number(
                "initial_accumulator_value", initial_accumulator_value
            ),
            eps=self._number("eps", eps),
        )
        self._set(lr_decay=self.lr_decay, eps=self.eps)
        self._keep("sum")
        self.state["sum"].fill(self.initial_accumulator_value)


class Adadelta(Optimizer):
    """Steps in the unit of the weights, from the ratio of two root mean squares.

    s = rho s + (1 - rho) g^2;  d = sqrt(a + eps) / sqrt(s + eps) g;  a = rho a + (1 - rho) d^2;
    w = w - lr d.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: factor of the step, at least 0.
        rho: share of the old mean squares that is kept, 0 <= rho < 1.
        eps: added under the roots, above 0, else the first step and all others are 0.
        weight_decay: factor of w in the gradient, at least 0; biases are exempt.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
    """

    rho, eps = Setting(), Setting()

    _rule = native.RULE_ADADELTA

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **common)
        self._add(rho=self._number("rho", rho, below=1), eps=self._number("eps", eps, True))
        self._set(rho=self.rho, eps=self.eps)
        self._keep("square_avg", "acc_delta")
