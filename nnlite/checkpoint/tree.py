"""Values as JSON and arrays: what a checkpoint holds besides the weights.

A tree is made of dicts with texts as keys, lists, texts, numbers, booleans, None, arrays and parts
(modules, losses). Packed, it is JSON in which a dict with one of these keys stands for more:

    {"$array": name}               an array of the file
    {"$floats": name}              a long list of floats, kept as an array
    {"$float": "nan"}              nan, inf or -inf, which JSON does not know
    {"$part": class, "config": tree, "own": bool}     a part; own: of a class that is not nnlite's
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._core.check import describe
from .._core.dtypes import NAMES
from .._core.settings import build, configuration
from .header import CheckpointError

FLOATS = 32  # a list of so many floats is kept as an array
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Classes:
    """The classes that a file may name: nnlite's own, and those that the caller gives.

    Args:
        own: the caller's classes.
        operation: for messages.
    """

    def __init__(self, own: Any = (), operation: str = "load") -> None:
        self.operation = operation
        self.library = library()
        self.own: dict[str, type] = {}
        for cls in own:
            if not isinstance(cls, type):
                raise TypeError(
                    f"{operation}: classes: expected classes, got {describe(cls)}; "
                    "pass classes=[Mine], not an object or a name"
                )
            if self.own.setdefault(cls.__name__, cls) is not cls:
                raise ValueError(f"{operation}: classes: two have the name {cls.__name__}")

    def name(self, cls: type) -> dict[str, Any]:
        """How a file names a class."""
        if self.own.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(
                f"{self.operation}: two classes have the name {cls.__name__}; rename one"
            )
        return {"$part": cls.__name__, "own": self.library.get(cls.__name__) is not cls}

    def find(self, named: Any, *kinds: type) -> type:
        """The class that a file names, of one of these kinds; nothing is imported for it."""
        name, own = named["$part"], named["own"]
        if not isinstance(name, str) or not isinstance(own, bool):
            raise CheckpointError("a class in it has no name")
        cls = (self.own if own else self.library).get(name)
        if cls is None:
            cure = f"pass classes=[{name}]" if own else "a newer nnlite may know it"
            raise CheckpointError(
                f"it holds an object of class {name[:100]}, not known here; {cure}"
            )
        if not issubclass(cls, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds) or "value without class"
            raise CheckpointError(f"it has a {name} where a {wanted} is needed")
        return cls


def library() -> dict[str, type]:
    """nnlite's own modules, losses, optimisers and trainer by name."""
    from .. import nn, optim
    from ..train import trainer

    found = (value for package in (nn, optim, trainer) for value in vars(package).values())
    return {
        value.__name__: value
        for value in found
        if isinstance(value, type) and value.__module__.startswith("nnlite.")
    }


def inside(cls: type) -> tuple[type, ...]:
    """Kinds of parts among the arguments of a part: elsewhere the weights of a module are lost."""
    from ..nn import Loss, Module

    return (Module, Loss) if issubclass(cls, Module) else (Loss,)


# ---- packing ----


class Packer:
    """Packs trees; `arrays` collects what goes beside the JSON."""

    def __init__(self, arrays: dict[str, np.ndarray], classes: Classes) -> None:
        self.arrays, self.classes = arrays, classes
        self._allowed: tuple[type, ...] = ()

    def pack(self, value: Any, path: str) -> Any:
        """JSON for a tree; `path` names it in messages and in the file.

        Raises:
            TypeError: something in the tree cannot be kept.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, np.ndarray):
            return {"$array": self._add(value, path)}
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"$float": str(float(value))}
        if isinstance(value, (list, tuple)):
            if len(value) >= FLOATS and all(type(item) is float for item in value):
                return {"$floats": self._add(np.array(value), path)}
            return [self.pack(item, f"{path}/{index}") for index, item in enumerate(value)]
        if isinstance(value, Mapping):
            return self._pack_mapping(value, path)
        if isinstance(value, self._allowed):
            return self.pack_part(value, path)
        raise TypeError(
            f"save: {path}: expected numbers, texts, lists, dicts and arrays, "
            f"got {describe(value)}; convert it"
        )

    def pack_part(self, part: Any, path: str) -> dict[str, Any]:
        """A module or loss as its class and the arguments of its constructor."""
        allowed, self._allowed = self._allowed, inside(type(part))
        try:
            config = self.pack(configuration(part), path)
        finally:
            self._allowed = allowed
        return {**self.classes.name(type(part)), "config": config}

    def _pack_mapping(self, value: Mapping[Any, Any], path: str) -> dict[str, Any]:
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(
                    f"save: {path}: expected names that are texts and do not begin with $, "
                    f"got {key!r}"
                )
        return {key: self.pack(item, f"{path}/{key}") for key, item in value.items()}

    def _add(self, array: np.ndarray, path: str) -> str:
        native = array.dtype.newbyteorder("=")
        if native not in NAMES or np.ma.isMaskedArray(array):
            kinds = ", ".join(str(dtype) for dtype in NAMES)
            raise TypeError(f"save: {path}: expected an array of {kinds}, got {describe(array)}")
        name = path
        while name in self.arrays:
            name += "+"
        self.arrays[name] = np.asarray(array, native, order="C")
        return name


# ---- unpacking ----


class Unpacker:
    """Makes trees again; `read(name)` gives an array of the file."""

    def __init__(self, read: Callable[[Any], np.ndarray], classes: Classes) -> None:
        self.read, self.classes = read, classes
        self._allowed: tuple[type, ...] = ()

    def unpack(self, packed: Any) -> Any:
        """The tree of which `packed` is the JSON; tuples have become lists."""
        if isinstance(packed, list):
            return [self.unpack(item) for item in packed]
        if not isinstance(packed, dict):
            return packed
        if not any(key.startswith("$") for key in packed):
            return {key: self.unpack(item) for key, item in packed.items()}
        match packed:
            case {"$array": name} if len(packed) == 1:
                return self.read(name)
            case {"$floats": name} if len(packed) == 1:
                return self._floats(name)
            case {"$float": str(name)} if len(packed) == 1 and name in SPECIAL:
                return SPECIAL[name]
            case {"$part": _, "own": _, "config": _} if len(packed) == 3:
                return self.unpack_part(packed, *self._allowed)
        raise CheckpointError(f"its JSON has an unknown kind of value: {sorted(packed)[:3]}")

    def unpack_part(self, packed: Any, *kinds: type) -> Any:
        """A module or loss of one of these kinds, without its weights and state."""
        if not isinstance(packed, dict) or packed.keys() != {"$part", "own", "config"}:
            raise CheckpointError("a part of its architecture has no class and config")
        cls = self.classes.find(packed, *kinds)
        allowed, self._allowed = self._allowed, inside(cls)
        try:
            config = self.unpack(packed["config"])
        finally:
            self._allowed = allowed
        if not isinstance(config, dict):
            raise CheckpointError(f"the config of {cls.__name__} in it is not a dict")
        return build(cls, config)

    def _floats(self, name: Any) -> list[float]:
        array = self.read(name)
        if array.dtype != np.float64 or array.ndim != 1:
            raise CheckpointError(f"{str(name)[:100]} is no list of float64")
        return array.tolist()
