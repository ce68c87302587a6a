"""What a part of a network is made of: its class and the arguments of its constructor.

Modules, losses and optimisers are written to files as a class name and a dict of arguments, and
built from them again. Most keep each argument as the attribute of the same name, so that the dict
needs no code; the others define `config()`.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def settings(part: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """{argument: value} of the constructor, read from the attributes of the same names.

    Args:
        part: a module, loss or optimiser.
        skip: arguments to leave out.

    Raises:
        TypeError: an argument has no such attribute, or the constructor takes *args or **kwargs.
    """
    found: dict[str, Any] = {}
    name = type(part).__name__
    for key, argument in inspect.signature(type(part)).parameters.items():
        if key in skip:
            continue
        if argument.kind not in _BY_NAME or not hasattr(part, key):
            raise TypeError(
                f"{name}: its argument {key} cannot be saved: keep it as the attribute self.{key}, "
                "or define config(self) -> dict of constructor arguments"
            )
        value = getattr(part, key)
        is_dtype = isinstance(value, np.dtype) or (
            isinstance(value, type) and issubclass(value, np.generic)
        )
        found[key] = str(np.dtype(value)) if is_dtype else value
    return found


def configuration(part: Any) -> dict[str, Any]:
    """The constructor arguments of a part: its `config()`, else its settings."""
    if not hasattr(part, "config") or _has_newer_constructor(type(part), "config"):
        return settings(part)
    found = part.config()
    if not isinstance(found, dict):
        name = type(part).__name__
        raise TypeError(f"{name}.config: expected a dict, got {type(found).__name__}")
    return found


def build(cls: type, config: dict[str, Any]) -> Any:
    """A part from its class and its configuration."""
    if not hasattr(cls, "from_config") or _has_newer_constructor(cls, "from_config"):
        return cls(**config)
    return cls.from_config(config)


def _has_newer_constructor(cls: type, method: str) -> bool:
    """Whether a subclass replaced the constructor for which an inherited method was written."""

    def depth(name: str) -> int:
        return next(i for i, base in enumerate(cls.__mro__) if name in vars(base))

    return depth("__init__") < depth(method)
