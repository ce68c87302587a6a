"""Looks for weights and optimiser states that are no longer finite, one pass over each array, and
for the gradient that may have made them so."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..nn.module import Module
from ..nn.parameter import padded
from ..optim import Optimizer

PART = 1 << 16  # elements that are looked at together, in cache

ADVICE = (
    "Lower the learning rate, clip gradients (clip_norm=1.0 in the optimiser), or look for inf and "
    "NaN in the data"
)


def is_finite(array: np.ndarray) -> bool:
    """Whether no element is infinite or NaN."""
    flat = array.reshape(-1)
    if flat.size <= PART:
        return bool(np.isfinite(flat).all())
    return all(np.isfinite(flat[i : i + PART]).all() for i in range(0, flat.size, PART))


def not_finite(model: Module, optimizer: Optimizer | None) -> str | None:
    """What is infinite or NaN, the first things of a kind first; None where nothing is."""
    arenas = {id(p._arena): p._arena.data for p in model.parameters()}
    states = {} if optimizer is None else optimizer.state
    if all(map(is_finite, arenas.values())) and all(map(is_finite, states.values())):
        return None
    found = _weights(model)
    for name in states if not found else ():
        found = found or _state(model, optimizer, name)
    return found or None


def largest_gradient(model: Module) -> tuple[str, float]:
    """(name, size) of the parameter with the largest gradient; NaN counts as largest."""
    sizes = [
        (name, float(np.abs(p.grad).max(initial=0)))
        for name, p in model.named_parameters()
        if p.requires_grad
    ]
    return max(sizes, key=lambda item: (np.isnan(item[1]), item[1]))


def _described(what: str, array: np.ndarray) -> str:
    wrong = array[~np.isfinite(array)]
    return f"{what} holds {wrong.flat[0]} ({wrong.size} of {array.size} elements)"


def _weights(model: Module) -> str:
    """The first weight that is not finite; an arena may hold others, which do not count."""
    for name, p in model.named_parameters():
        if not is_finite(p.data):
            return f"the weights are not finite: {_described(name, p.data)}"
    return ""


def _state(model: Module, optimizer: Any, name: str) -> str:
    """The first part of a state that is not finite."""
    array = optimizer.state[name]
    if is_finite(array):
        return ""
    names = {id(p): key for key, p in model.named_parameters()}
    begin = 0
    for p in optimizer.parameters:
        part = array[begin : begin + p.size]
        begin += padded(p.size, p.dtype)
        if not is_finite(part):
            what = f"{name} of {names.get(id(p), p.name)}"
            return (
                f"the state of {type(optimizer).__name__} is not finite, and what it belongs to "
                f"learns no more: {_described(what, part)}"
            )
    return ""
