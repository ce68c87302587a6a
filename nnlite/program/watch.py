"""Whether what a recording hangs on is still as it was."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from ..autograd.tensor import Tensor
from ..nn._steps import is_own_layer
from ..nn.module import Module
from ..nn.parameter import Structure

# What the library itself changes between calls, and what no program freezes.
CHANGES = {"_saved", "_forwards", "_program", "_refused", "_forward_program", "_forward_rows"}
CHANGES |= {"step", "total_weight", "training"}


class Watch:
    """The attributes of modules and losses, and the arrays of parameters, as they were recorded.

    Compared by identity: an attribute that was set again is a change, whatever its value. The
    library's own layers and losses name in `recorded` what may change; their parts are looked at
    when any module has got or lost one.

    Args:
        modes: also watch whether modules are in training mode.
    """

    def __init__(
        self, parts: Iterable[Any], parameters: Iterable[Any] = (), leaves: Iterable[Any] = (),
        modes: bool = True,
    ) -> None:  # fmt: skip
        self._token = Structure.token
        self._attributes: list[tuple[dict[str, Any], str, Any]] = []
        self._structure: list[tuple[dict[str, Any], str, Any]] = []
        self._spaces: list[tuple[dict[str, Any], int, set[str]]] = []
        self._lists: list[tuple[Any, tuple[Any, ...]]] = []
        parts = list(parts)
        watched = [p for p in parts if modes and hasattr(p, "training")]
        self._modes = [(part, part.training) for part in watched]
        for part in parts:
            self._add(part)
        self._arenas = list({id(p._arena): p._arena for p in parameters}.values())
        owners = [edge.owner() for edge in leaves if edge.owner is not None]
        self._leaves = [(weakref.ref(x), x._data) for x in owners if type(x) is Tensor]
        self._by_token = not (self._attributes or self._modes or self._leaves or self._spaces)

    def _add(self, part: Any) -> None:
        space = vars(part)
        own = not type(part).__module__.startswith("nnlite.")
        own = own and not (isinstance(part, Module) and is_own_layer(part))
        names = set(space) - CHANGES
        if own:
            self._spaces.append((space, len(space), set(space)))
        for name in names if own else type(part).recorded:
            self._attributes.append((space, name, space.get(name)))
        for name in names:
            value = space[name]
            self._structure.append((space, name, value))
            if own and isinstance(value, list | dict):
                self._lists.append((value, _items(value)))

    def holds(self) -> bool:
        """True while nothing has changed."""
        if self._token is not Structure.token and not self._same_structure():
            return False
        if self._by_token:  # most models of the library's own layers
            return True
        for space, name, value in self._attributes:
            if space.get(name) is not value:
                return False
        for part, mode in self._modes:
            if part.training is not mode:
                return False
        for owner, data in self._leaves:
            found = owner()
            if found is None or found._data is not data or not found.requires_grad:
                return False
        for space, count, names in self._spaces:
            if len(space) != count and space.keys() - names - CHANGES:
                return False
        for value, items in self._lists:
            now = _items(value)
            if len(now) != len(items) or any(a is not b for a, b in zip(now, items, strict=True)):
                return False
        return True

    def _same_structure(self) -> bool:
        """Looks at what changes the token."""
        token = Structure.token
        for arena in self._arenas:
            if arena.retired:
                return False
        for space, name, value in self._structure:
            if space.get(name) is not value:
                return False
        self._token = token
        return True


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (*value, *value.values())
