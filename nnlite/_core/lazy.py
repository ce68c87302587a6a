"""Names that are imported when they are first used (PEP 562): `import nnlite` stays quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def later(
    package: str, homes: Mapping[str, str], modules: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Args:
        package: its `__name__`.
        homes: the module inside it that defines each name.
        modules: names that are modules themselves, and where they are.
    """
    places = {**homes, **(modules or {})}

    def attribute(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = places[name]
        try:
            module = importlib.import_module(f"{package}.{home}")
        except ImportError as error:
            if "failed to map segment" not in str(error):  # what the loader says without memory
                raise
            raise MemoryError(f"{package}.{name} cannot be loaded: {error}") from error
        value = getattr(module, name) if name in homes else module
        setattr(sys.modules[package], name, value)
        return value

    return attribute
