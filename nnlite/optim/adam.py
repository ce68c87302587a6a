"""Adam and its kin: AdamW, Adamax, NAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

import numpy as np

from .._core import native
from ..nn.parameter import Parameter
from ._power import power
from .optimizer import Common, Optimizer, Setting


class _Adaptive(Optimizer):
    """What the rules with two moments share: betas and eps."""

    betas, eps = Setting(), Setting()

    def _moments(self, betas: Any, eps: Any, flags: int = 0) -> None:
        name = type(self).__name__
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"{name}: betas: expected two numbers (beta1, beta2), got {betas!r}")
        first, second = (self._number("betas", beta, below=1) for beta in betas)
        self._add(betas=(first, second), eps=self._number("eps", eps))
        self._set(flags, beta1=first, beta2=second, eps=self.eps)


class Adam(_Adaptive):
    """Adaptive moments: steps divided by the root mean square of the gradients.

    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
    w = w - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) at step t = 1, 2, ...
    g is the gradient with clipping and decay as Optimizer describes it.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        betas: (beta1, beta2), shares of the old moments that are kept, each in [0, 1).
        eps: added to the root, at least 0.
        weight_decay: factor of w in the gradient, at least 0; biases are exempt. AdamW decays
            apart from the gradient, which usually generalises better.
        amsgrad: divide by the largest v so far instead of v.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1;
    Reddi, Kale, Kumar, "On the Convergence of Adam and Beyond", ICLR 2018.
    """

    amsgrad = Setting()

    _rule = native.RULE_ADAM
    _flags = 0

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **common)
        self._add(amsgrad=self._flag("amsgrad", amsgrad))
        self._moments(betas, eps, self._flags | (native.AMSGRAD if amsgrad else 0))
        self._keep("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if amsgrad else []))


class AdamW(Adam):
    """Adam with decoupled weight decay: w = (1 - lr weight_decay) w before each of Adam's steps.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        betas: (beta1, beta2), shares of the old moments that are kept, each in [0, 1).
        eps: added to the root, at least 0.
        weight_decay: share of w, times lr, that a step takes away; at least 0; biases are exempt.
        amsgrad: divide by the largest v so far instead of v.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.
    """

    _flags = native.DECOUPLED

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **common)


class Adamax(_Adaptive):
    """Adam with the largest recent gradient in place of the root mean square.

    m = beta1 m + (1 - beta1) g;  s = max(beta2 s, |g| + eps);  w = w - lr / (1 - beta1^t) m / s.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        betas: (beta1, beta2), each in [0, 1).
        eps: added to |g|, at least 0.
        weight_decay: factor of w in the gradient, at least 0; biases are exempt.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, section 7.1.
    """

    _rule = native.RULE_ADAMAX

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **common)
        self._moments(betas, eps)
        self._keep("exp_avg", "exp_inf")


class NAdam(_Adaptive):
    """Adam with Nesterov's look ahead.

    mu_t = beta1 (1 - 0.5 x 0.96^(t momentum_decay)); m and v as in Adam;
    w = w - lr ((1 - mu_t) / (1 - mu_1...mu_t) g + mu_(t+1) / (1 - mu_1...mu_(t+1)) m)
    / (sqrt(v / (1 - beta2^t)) + eps).

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        betas: (beta1, beta2), each in [0, 1).
        eps: added to the root, at least 0.
        weight_decay: factor of w in the gradient, at least 0; biases are exempt.
        momentum_decay: how fast the momentum warms up, at least 0.
        decoupled_weight_decay: decay as AdamW does, apart from the gradient.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", ICLR workshop 2016.
    """

    momentum_decay, decoupled_weight_decay = Setting(), Setting()

    _rule = native.RULE_NADAM

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, weight_decay=weight_decay, **common)
        self._add(
            momentum_decay=self._number("momentum_decay", momentum_decay),
            decoupled_weight_decay=self._flag("decoupled_weight_decay", decoupled_weight_decay),
        )
        self._moments(betas, eps, native.DECOUPLED if decoupled_weight_decay else 0)
        factor = float(power(np.array([0.96]), self.momentum_decay)[0])
        self._set(momentum_decay_factor=factor)
        self._keep("exp_avg", "exp_avg_sq")
