"""Setting a module's state from a dict or a file, of nnlite or of PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._core import check
from .linear import Linear
from .module import Module

FIX = (
    "pass from_torch=True, which transposes the weights of Linear layers: PyTorch keeps them as "
    "(out_features, in_features)"
)


def load_state(model: Module, state: Any, from_torch: bool) -> None:
    """See Module.load_state_dict."""
    if not isinstance(from_torch, bool):
        raise TypeError(
            f"load_state_dict: from_torch: expected True or False, got {check.describe(from_torch)}"
        )
    state = _mapping(state, from_torch)
    own = model._state_arrays()
    _require_names(own, state)
    arrays = {name: _array(name, state[name], from_torch) for name in own}
    if from_torch:
        for name in _weights_of_linear(model):
            arrays[name] = arrays[name].T
    _require_shapes(own, arrays, from_torch)
    for name, old in own.items():
        if arrays[name].dtype != old.dtype:
            raise TypeError(
                f"load_state_dict: {name} is {arrays[name].dtype}, expected {old.dtype}; "
                f"convert it with .astype(np.{old.dtype})"
            )
        if not old.flags.writeable:
            raise ValueError(
                f"load_state_dict: the buffer {name} is read-only; assign a copy of it"
            )
    parameters = dict(model.named_parameters())
    for name, old in own.items():
        if name in parameters:
            parameters[name].data = arrays[name]
        else:
            old[...] = arrays[name]


def _mapping(state: Any, from_torch: bool) -> Mapping[Any, Any]:
    """The state as names and arrays; refuses what is PyTorch's unless that was said."""
    if isinstance(state, (str, bytes, bytearray, memoryview, os.PathLike)) or hasattr(
        state, "read"
    ):
        from ..checkpoint.save_load import read_arrays

        arrays, metadata = read_arrays(state, "load_state_dict")
        if metadata.get("format") == "pt" and not from_torch:
            raise ValueError(f"load_state_dict: PyTorch wrote this file; {FIX}")
        return arrays
    if not isinstance(state, Mapping):
        raise TypeError(
            "load_state_dict: state: expected a dict of names and arrays, got "
            f"{check.describe(state)}"
        )
    if not from_torch:
        for name, value in state.items():
            if is_torch(value):
                raise TypeError(
                    f"load_state_dict: {name} is a tensor of PyTorch, expected an array; {FIX}"
                )
    return state


def is_torch(value: Any) -> bool:
    """Whether it is a tensor of PyTorch, which need not be importable."""
    return any(
        base.__module__.partition(".")[0] == "torch" and base.__name__ == "Tensor"
        for base in type(value).__mro__
    )


def _array(name: str, value: Any, from_torch: bool) -> np.ndarray:
    if from_torch and is_torch(value):
        try:
            return value.detach().cpu().numpy()
        except (RuntimeError, TypeError) as error:
            raise TypeError(f"load_state_dict: {name}: {error}; convert it with .float()") from None
    return np.asarray(value)


def _require_names(own: Mapping[str, Any], state: Mapping[Any, Any]) -> None:
    missing = sorted(own.keys() - state.keys())
    extra = sorted(state.keys() - own.keys(), key=str)
    if missing or extra:
        raise ValueError(
            f"load_state_dict: missing: {missing or 'none'}; "
            f"not in the model: {extra or 'none'}; take the state of an equal architecture"
        )


def _require_shapes(
    own: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray], from_torch: bool
) -> None:
    wrong, turned = [], False
    for name, old in own.items():
        found = arrays[name].shape
        if found != old.shape:
            fits = found == old.shape[::-1]
            turned = turned or fits
            text = f"{name} has shape {found}, expected {old.shape}"
            wrong.append(text + ", which it has transposed" * fits)
    if not wrong:
        return
    cure = ""
    if turned:
        cure = (
            "; from_torch=True has transposed weights: leave it out for weights of nnlite"
            if from_torch
            else f"; for weights of PyTorch {FIX}"
        )
    raise ValueError("load_state_dict: " + "; ".join(wrong) + cure)


def _weights_of_linear(model: Module) -> list[str]:
    """The names of the weights of Linear layers."""
    weights = {id(m.weight) for m in model.modules() if isinstance(m, Linear)}
    return [name for name, p in model.named_parameters() if id(p) in weights]
