"""What a recording has changed besides its result, which is undone: attributes of modules, what
lies in them, and random numbers."""

from __future__ import annotations

import copy
import random
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from ..autograd.tape import Tape, located
from ..nn._steps import is_own_layer
from ..nn.module import Module
from .watch import CHANGES

_HOLDERS = (list, dict, set, deque, bytearray)
_MISSING = object()
DEPTH = 3  # of containers in containers that are looked at


class Effect(NamedTuple):
    """A change by the user's code: of an attribute of a module, or of random numbers."""

    part: Any
    name: str

    def reason(self, tape: Tape) -> str:
        """What happened, with the line of the user's code."""
        if self.part is None:
            return located(f"it draws random numbers with {self.name}", tape.last_line)
        kind = type(self.part)
        code = getattr(kind.forward, "__code__", None)
        line = tape.set_at.get((id(self.part), self.name))
        if line is None:
            what = f"forward of {kind.__name__} changes what its attribute {self.name} holds"
            return located(what, f"{code.co_filename}:{code.co_firstlineno}" if code else "")
        return located(f"forward of {kind.__name__} sets the attribute {self.name}", line)


class Effects:
    """The state of modules and of NumPy's and Python's random numbers before a recording."""

    def __init__(self, modules: list[Any]) -> None:
        self._modules = [
            (m, {k: (v, _contents(v)) for k, v in list(vars(m).items())}) for m in modules
        ]
        self._random: Any = None  # looking at it takes longer than recording a layer
        if not all(map(is_librarys, modules)):
            self._random = np.random.get_state(), random.getstate()

    def interrupted(self) -> None:
        """Sets back what the library changes; what the user's code did stays, as after Ctrl-C
        anywhere else."""
        for part, before in self._modules:
            space = vars(part)
            for name in CHANGES & {*before, *space}:
                if name in before:
                    space[name] = before[name][0]
                else:
                    space.pop(name, None)

    def undone(self) -> Effect | None:
        """Sets all back as it was; the first change that is the user's, or None."""
        found = None
        for part, before in self._modules:
            for name in _restored(vars(part), before):
                if name not in CHANGES:
                    found = found or Effect(part, name)
        if self._random is None:
            return found
        by_numpy, by_python = self._random
        if not _same_random(np.random.get_state(), by_numpy):
            np.random.set_state(by_numpy)
            found = found or Effect(None, "np.random")
        if random.getstate() != by_python:
            random.setstate(by_python)
            found = found or Effect(None, "random")
        return found


def is_librarys(part: Any) -> bool:
    """Whether no code of the user's runs in a module or loss."""
    if isinstance(part, Module):
        return is_own_layer(part) and not part._runs_user_code
    return type(part).__module__.startswith("nnlite.nn.")


def _same_random(a: Any, b: Any) -> bool:
    """Whether two legacy states are equal: (name, words, and three numbers)."""
    return bool(a[2:] == b[2:] and a[0] == b[0] and a[1].tobytes() == b[1].tobytes())


def _restored(space: dict[str, Any], before: dict[str, tuple[Any, Any]]) -> list[str]:
    """Sets the attributes back; the names of those that had changed."""
    changed = []
    for name in [*before, *set(space) - set(before)]:
        value, contents = before.get(name, (_MISSING, None))
        if value is _MISSING:
            space.pop(name, None)
        elif space.get(name, _MISSING) is not value:
            space[name] = value
        elif _is_as_before(value, contents):
            continue
        if value is not _MISSING and not _is_as_before(value, contents):
            _put_back(value, contents)
        changed.append(name)
    return changed


def _contents(value: Any, depth: int = 0) -> Any:
    """A copy of what may change in place; None where nothing can."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, _HOLDERS):
        return copy.copy(value), [_contents(v, depth + 1) for v in _items(value) if depth < DEPTH]
    if isinstance(value, np.random.Generator):
        return copy.deepcopy(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return value.get_state()
    return value.getstate() if isinstance(value, random.Random) else None


def _items(value: Any) -> list[Any]:
    """The containers in a container."""
    values = value.values() if isinstance(value, dict) else value
    kinds = (np.ndarray, *_HOLDERS)
    return [v for v in values if isinstance(v, kinds) and v is not value]


def _is_as_before(value: Any, contents: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.shape == contents.shape and value.tobytes() == contents.tobytes())
    if isinstance(value, _HOLDERS):
        kept, inner = contents
        if isinstance(value, set | bytearray):
            return bool(value == kept)
        pairs = zip(_flat(value), _flat(kept), strict=False)
        if len(value) != len(kept) or any(a is not b for a, b in pairs):
            return False
        return all(map(_is_as_before, _items(value), inner))
    if isinstance(value, np.random.Generator):
        return bool(str(value.bit_generator.state) == str(contents))
    if isinstance(value, np.random.RandomState):
        return _same_random(value.get_state(), contents)
    return not isinstance(value, random.Random) or value.getstate() == contents


def _flat(value: Any) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else [*value]


def _put_back(value: Any, contents: Any) -> None:
    """What a recording has changed in place, as it was."""
    if isinstance(value, np.ndarray):
        value[...] = contents
    elif isinstance(value, _HOLDERS):
        kept, inner = contents
        if isinstance(value, list | bytearray):
            value[:] = kept
        elif isinstance(value, deque):
            value.clear()
            value.extend(kept)
        else:
            value.clear()
            value.update(kept)
        for item, before in zip(_items(value), inner, strict=False):
            if not _is_as_before(item, before):
                _put_back(item, before)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = contents
    elif isinstance(value, np.random.RandomState):
        value.set_state(contents)
    else:
        value.setstate(contents)
