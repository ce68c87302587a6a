"""The base of all optimisers: parameters, their segments in the arenas, and state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _check
from ..nn.parameter import Parameter, Segment, aligned_zeros, padded, segments


class Optimizer:
    """Changes parameters by their gradients.

    A subclass defines `_update(segment, state)`, one kernel call for parameters that lie side by
    side, and names its state arrays in `_state_names`.

    Args:
        params: Parameters, or an iterable of them, as from `model.parameters()`.

    Raises:
        TypeError: an item is not a Parameter, or dtypes are mixed.
        ValueError: there is none, or one stands twice.
    """

    _state_names: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Parameter] | Parameter) -> None:
        name = type(self).__name__
        if hasattr(params, "parameters"):
            raise TypeError(
                f"{name}: params: expected Parameters, got a module; pass model.parameters()"
            )
        self.parameters = [params] if isinstance(params, Parameter) else list(params)
        for p in self.parameters:
            if not isinstance(p, Parameter):
                raise TypeError(
                    f"{name}: params: expected Parameters, got {_check.describe(p)}; "
                    "pass model.parameters()"
                )
        if not self.parameters:
            raise ValueError(f"{name}: params: expected at least one Parameter, got none")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError(f"{name}: params: a Parameter stands twice; pass each once")
        self.dtype = self.parameters[0].dtype
        if any(p.dtype != self.dtype for p in self.parameters):
            raise TypeError(f"{name}: params: expected one dtype; make an optimiser for each")
        total = sum(padded(p.size, p.dtype) for p in self.parameters)
        self.state = {key: aligned_zeros(total, self.dtype) for key in self._state_names}
        self._segments: list[Segment] = []

    def segments(self) -> list[Segment]:
        """The parameters as they lie in the arenas now."""
        found = self._segments
        if not found or any(part.arena.retired for part in found):
            found = self._segments = segments(self.parameters)
        return found

    def step(self) -> None:
        """Changes every parameter by its gradient, once."""
        for part in self.segments():
            end = part.offset + part.count
            self._update(part, {key: array[part.offset : end] for key, array in self.state.items()})

    def zero_grad(self) -> None:
        """Sets the gradients of the parameters to zero."""
        for part in self.segments():
            part.grad.fill(0)

    def _update(self, part: Segment, state: dict[str, np.ndarray]) -> None:
        raise TypeError(f"{type(self).__name__} must define _update")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_segments": []}
