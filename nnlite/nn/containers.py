"""Lists and dicts of modules, for modules that call them in an order of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from .._core import check
from .module import Module


def _module(operation: str, value: Any) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{operation}: expected a Module, got {check.describe(value)}")
    return value


class _Container(Module):
    """What both have: no forward."""

    def forward(self, *args: Any) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"{name}: it has no forward; call its modules, or use nn.Sequential")

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        lines = "".join(f"\n({name}) {module!r}" for name, module in self.children())
        body = lines.replace("\n", "\n  ") + "\n" if lines else ""
        return f"{type(self).__name__}({body})"


class ModuleList(_Container):
    """Modules in a list, which `parameters`, `state_dict` and files see.

    Args:
        modules: any number of modules.

    Raises:
        TypeError: an item is not a Module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._items: list[Module] = []
        self.extend(modules)

    def children(self) -> Iterator[tuple[str, Module]]:
        for index, module in enumerate(self._items):
            yield str(index), module

    def config(self) -> dict[str, Any]:
        return {"modules": list(self._items)}

    def append(self, module: Module) -> ModuleList:
        """Adds a module at the end; returns the list."""
        self._items.append(_module("ModuleList.append", module))
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Adds modules at the end; returns the list."""
        if isinstance(modules, Module) and not isinstance(modules, ModuleList):
            raise TypeError(
                "ModuleList: modules: expected a list of modules, got one; use [module]"
            )
        self._items += [_module("ModuleList", module) for module in modules]
        return self

    def insert(self, index: int, module: Module) -> None:
        """Puts a module before the one of that index."""
        self._items.insert(index, _module("ModuleList.insert", module))

    def pop(self, index: int = -1) -> Module:
        """Takes a module away."""
        return self._items.pop(index)

    def __getitem__(self, index: Any) -> Any:
        found = self._items[index]
        return ModuleList(found) if isinstance(found, list) else found

    def __setitem__(self, index: int, module: Module) -> None:
        self._items[index] = _module("ModuleList", module)

    def __delitem__(self, index: Any) -> None:
        del self._items[index]

    def __iter__(self) -> Iterator[Module]:
        return iter(self._items)

    def __contains__(self, module: object) -> bool:
        return any(module is item for item in self._items)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> ModuleList:
        return self.extend(other)


class ModuleDict(_Container):
    """Modules by name, which `parameters`, `state_dict` and files see, in the order of insertion.

    Args:
        modules: a dict, or pairs, of names and modules.

    Raises:
        TypeError: a name is no text, or a value is not a Module.
        ValueError: a name is empty or has a "." or "/".
    """

    def __init__(self, modules: Any = ()) -> None:
        self._items: dict[str, Module] = {}
        self.update(modules)

    def children(self) -> Iterator[tuple[str, Module]]:
        yield from list(self._items.items())

    def config(self) -> dict[str, Any]:
        return {"modules": dict(self._items)}

    def update(self, modules: Any) -> None:
        """Adds or replaces modules."""
        mapped = isinstance(modules, (Mapping, ModuleDict))
        for name, module in modules.items() if mapped else modules:
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str):
            raise TypeError(f"ModuleDict: expected a name, got {check.describe(name)}")
        if not name or "." in name or "/" in name:
            raise ValueError(f"ModuleDict: {name!r} is no name: expected a text without . and /")
        self._items[name] = _module("ModuleDict", module)

    def __getitem__(self, name: str) -> Module:
        return self._items[name]

    def __delitem__(self, name: str) -> None:
        del self._items[name]

    def pop(self, name: str) -> Module:
        """Takes a module away."""
        return self._items.pop(name)

    def clear(self) -> None:
        """Takes all modules away."""
        self._items.clear()

    def keys(self) -> Any:
        """The names."""
        return self._items.keys()

    def values(self) -> Any:
        """The modules."""
        return self._items.values()

    def items(self) -> Any:
        """Names and modules."""
        return self._items.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items
