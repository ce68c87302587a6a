"""The tape: every call on Tensors that a thread makes while it records.

A value is known by its array: calls note the arrays that they got and made, and an array that no
call made is an argument, a parameter or a constant. What Python would freeze into the recording (a
value as a number, a mask taken as an array, a change in place) raises Unsupported, with the line of
the user's code.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .node import GRAD, RECORD, Unsupported, state
from .tensor import Tensor

T = TypeVar("T")
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Entry(NamedTuple):
    """One recorded call: the operation, what it got, its parameters, what it made."""

    op: Any
    inputs: tuple[Any, ...]
    params: tuple[Any, ...]
    outs: tuple[np.ndarray, ...]
    line: str


class Counter(int):
    """A count of a random stream that goes on with each run: the value at recording, and whose."""

    owner: Any
    offset: int

    @classmethod
    def of(cls, owner: Any, value: int, offset: int) -> Counter:
        made = cls(value)
        made.owner, made.offset = owner, offset
        return made


class Shape(tuple):
    """A shape that the user's code has asked for: it notes which of the sizes are looked at."""

    tape: Any

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        self._note(found if type(index) is slice else (found,))
        return found

    def __iter__(self) -> Any:
        self._note(self._all())
        return tuple.__iter__(self)

    def __add__(self, other: Any) -> Any:
        self._note(self._all())
        return self._all() + other

    def __eq__(self, other: object) -> bool:
        self._note(self._all())
        return tuple.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        self._note(self._all())
        return tuple.__ne__(self, other)

    __hash__ = tuple.__hash__

    def _all(self) -> tuple[int, ...]:
        return tuple.__getitem__(self, slice(None))

    def _note(self, sizes: tuple[int, ...]) -> None:
        if not _is_library(sys._getframe(2)):
            for size in sizes:
                self.tape.size_read(size)


class Tape:
    """What one thread noted in one recording.

    Args:
        rows: of the batch; 0 where there is none.
    """

    of_one_run = False  # True where what is recorded may hang on the values of this run

    def __init__(self, rows: int = 0) -> None:
        self.rows = rows
        self.rows_read = ""  # where the user's code first looked at what may be their number
        self.set_at: dict[tuple[int, str], str] = {}  # (id of a module, attribute) -> line
        self.entries: list[Entry] = []
        self.broken: str | None = None
        self.losses: list[tuple[Any, np.ndarray]] = []  # modules, arrays of their values
        self.counts: dict[int, tuple[Any, int]] = {}  # id of a module -> it, and its calls so far
        self.read: dict[int, Any] = {}  # modules and losses whose attributes it hangs on
        self.parameters: dict[int, Any] = {}  # those that it computes with

    def note(self, op: Any, inputs: tuple, outs: tuple, params: tuple) -> None:
        """One more call."""
        arrays = tuple([x._data if type(x) is Tensor else x for x in inputs])
        self.entries.append(Entry(op, arrays, params, outs, user_line()))

    def counter(self, owner: Any, value: int) -> Counter:
        """The number of this forward pass of a module with a random stream."""
        _, calls = self.counts.get(id(owner), (owner, 0))
        self.counts[id(owner)] = owner, calls + 1
        return Counter.of(owner, value, calls)

    def shape_read(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a value; for the user's code as one that notes how it is used."""
        if not self.rows or _is_library(sys._getframe(2)):
            return shape
        found = Shape(shape)
        found.tape = self
        return found

    def length_read(self, size: int) -> None:
        """Notes that something asks for a size."""
        if not _is_library(sys._getframe(2)):
            self.size_read(size)

    def size_read(self, size: int) -> None:
        """Notes that the user's code looks at a size, which may be the rows of the batch or so many
        times them."""
        if self.rows and not self.rows_read and size % self.rows == 0:
            self.rows_read = user_line()

    @property
    def last_line(self) -> str:
        """The line of the last call that has one."""
        return next((e.line for e in reversed(self.entries) if e.line), "")

    def attribute_set(self, part: Any, name: str) -> None:
        """Notes where an attribute of a module is set."""
        self.set_at.setdefault((id(part), name), user_line())

    def located(self, reason: str) -> str:
        """A reason with the line of the user's code that runs now."""
        return located(reason, user_line())

    def depends_on(self, part: Any) -> None:
        """Notes that the recording reads a module's or a loss's attributes."""
        self.read[id(part)] = part


def _is_library(frame: Any) -> bool:
    return bool(frame.f_code.co_filename.startswith(_PACKAGE))


@functools.lru_cache(4096)
def _is_users(file: str) -> bool:
    return not file.startswith((_PACKAGE, _NUMPY, "<frozen"))


def user_line() -> str:
    """Where the innermost call of the recorded code of the user stands: "file:line", or ""."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code is not recording.__code__:
        name = frame.f_code.co_filename
        if _is_users(name):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _line_of(error: BaseException) -> str:
    """Where in the user's code an error began: "file:line", or ""."""
    found, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if _is_users(name):
            found = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def recording(call: Callable[[], T], rows: int = 0) -> tuple[T, Tape]:
    """The result of a call, and its tape.

    Args:
        rows: of the batch that the call is given; 0 where there is none.

    Raises:
        Unsupported: the call cannot be recorded, or raised something while it was.
    """
    tape = Tape(rows)
    mode, before = state.mode, state.tape
    state.mode, state.tape = GRAD | RECORD, tape
    try:
        with np.errstate(all="ignore"):
            result = call()
    except Unsupported:
        raise
    except Exception as error:
        reason = f"it raises {type(error).__name__} while it is recorded: {error}"
        raise Unsupported(located(reason, _line_of(error))) from None
    finally:
        state.mode, state.tape = mode, before
    if tape.broken is not None:
        raise Unsupported(tape.broken)
    return result, tape


def at(line: str) -> str:
    """A line as it stands behind a reason; nothing for none."""
    return f" ({line})" if line else ""


def located(reason: str, line: str) -> str:
    """A reason with the line of the user's code."""
    return reason if not line or line in reason else f"{reason}{at(line)}"
