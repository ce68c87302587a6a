"""Resilient propagation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

from .._core import check, native
from ..nn.parameter import Parameter
from .optimizer import Common, Optimizer, Setting


class Rprop(Optimizer):
    """Steps by the sign of the gradient alone, each weight with its own size; for full batches.

    The size d grows by eta_plus while the sign stays and shrinks by eta_minus when it turns, within
    step_sizes; w = w - sign(g) d, and a weight whose gradient has turned waits for one step.

    Args:
        params: Parameters, as from `model.parameters()`.
        lr: first size of the steps, above 0. Setting `lr` later has no effect.
        etas: (eta_minus, eta_plus), 0 < eta_minus < 1 < eta_plus.
        step_sizes: (smallest, largest) size, 0 <= smallest <= largest.
        common: decay_bias, l1, clip_norm, clip_value, maximize, as in Optimizer.

    Raises:
        TypeError: params are not Parameters, or a number is not a number.
        ValueError: a number is out of range or not finite, or params are empty.

    Source: Riedmiller, Braun, "A Direct Adaptive Method for Faster Backpropagation Learning: The
    RPROP Algorithm", ICNN 1993, without taking weights back, as in PyTorch.
    """

    etas, step_sizes = Setting(), Setting()

    _rule = native.RULE_RPROP

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(params, lr, **common)
        minus, plus = _pair("etas", etas)
        if not 0 < minus < 1 < plus:
            raise ValueError(f"Rprop: etas: expected 0 < etas[0] < 1 < etas[1], got {etas}")
        least, most = _pair("step_sizes", step_sizes)
        if least > most:
            raise ValueError(f"Rprop: step_sizes: expected (smallest, largest), got {step_sizes}")
        self._add(etas=(minus, plus), step_sizes=(least, most))
        self._set(eta_minus=minus, eta_plus=plus, step_min=least, step_max=most)
        self._keep("prev", "step_size")
        self.state["step_size"].fill(self.lr)


def _pair(name: str, values: Any) -> tuple[float, float]:
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        raise TypeError(f"Rprop: {name}: expected two numbers, got {values!r}")
    first, second = (check.number("Rprop", name, value, 0) for value in values)
    return first, second
