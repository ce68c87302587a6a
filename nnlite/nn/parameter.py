"""Parameters, and the flat arenas that hold them.

The values of a model's parameters are views into one aligned array, their gradients into another,
so that zeroing gradients is one fill and an optimiser step one kernel call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .._core import check
from .._core.config import claim, is_rebuilding
from .._core.names import PARAMETER, Named
from ..autograd.node import FORWARD, RECORD, TRACED, state, tick, unsupported
from ..autograd.tensor import Tensor
from ._expression import Expression, ParameterLeaf, leaf_tensor

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register

# Processors look at the low 12 bits of an address to tell whether a load needs a store before it.
# Arrays that a kernel walks side by side all start at a page, so that no load is mistaken so: an
# Adam step over 1,000 parameters took up to 2.6 times as long at other distances.
PAGE = 4096


def aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """A flat array of zeros that starts at a page."""
    raw = np.zeros(count * dtype.itemsize + PAGE, np.uint8)
    start = -raw.ctypes.data % PAGE
    return raw[start : start + count * dtype.itemsize].view(dtype)


def padded(count: int, dtype: np.dtype) -> int:
    """`count` rounded up, so that what follows it in an arena is aligned too."""
    unit = ALIGNMENT // dtype.itemsize
    return -(-count // unit) * unit


class Structure:
    """`token` is another object whenever a module got or lost a parameter or module, or a parameter
    has moved or been frozen, so that what was recorded of modules need not look at each of them
    before each run."""

    token = object()


class Arena:
    """Two flat arrays, values and gradients, and the parameters that are views into them.

    `changed` holds the time of the last change of the values, for graphs that need the old ones.
    """

    __slots__ = ("changed", "data", "grad", "members", "retired")

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        dtype = parameters[0].dtype
        total = sum(padded(p.size, dtype) for p in parameters)
        data, grad = aligned_zeros(total, dtype), aligned_zeros(total, dtype)
        self.data, self.grad = data, grad
        self.members = list(parameters)
        self.changed = [0, 1]
        self.retired = False  # True once a member has moved, been frozen or been trained again
        offset = 0
        for p in parameters:
            p._move(self, offset)
            offset += padded(p.size, dtype)

    def renew(self) -> None:
        """Retires this arena for another of the same memory: what is recorded is recorded anew."""
        twin = object.__new__(Arena)
        twin.data, twin.grad, twin.members = self.data, self.grad, self.members
        twin.changed, twin.retired = self.changed, False
        for p in self.members:
            if p._arena is self:
                p._arena = twin
        self.retire()

    def retire(self) -> None:
        """Says that what was recorded with it no longer holds."""
        self.retired = True
        Structure.token = object()


class Parameter(Expression, Named):
    """An array that an optimiser trains, and its gradient.

    In expressions it stands for a Tensor: `(w ** 2).sum().backward()` adds to `w.grad`.

    Args:
        data: initial values, copied; float32 or float64, any shape.
        name: shown in messages.
        requires_grad: False freezes it from the start.

    Attributes:
        data: the values, a view into the model's arena. Assigning copies into it.
        grad: the gradient, same shape; zero at first. Assigning copies into it. Of a frozen
            parameter none is computed or kept: new zeros at each look.
        requires_grad: False freezes the parameter: optimisers leave it, and what they keep for it,
            as it is, and recorded programs leave its gradient out. May be set at any time.

    Raises:
        TypeError: data is not float32 or float64, or name is no text.
    """

    _foreign, _common = (
        PARAMETER,
        ("data", "grad", "requires_grad", "name", "shape", "dtype", "size"),
    )

    _homes = 0  # attributes of modules that hold it, of those that were set
    _lost = ""  # the last one that was given another value

    def __init__(self, data: Any, name: str = "parameter", *, requires_grad: bool = True) -> None:
        if not isinstance(name, str):
            raise TypeError(
                f"Parameter: name: expected a text, got {check.describe(name)}; "
                "write requires_grad=False to freeze it"
            )
        check.unmasked("Parameter", "data", data)
        values = np.asarray(data)
        dtype = check.float_dtype("Parameter", values.dtype.newbyteorder("="))
        claim(values.size * dtype.itemsize)
        self.name = name
        self.shape, self.dtype, self.size = values.shape, dtype, values.size
        self._arena: Any = None
        self._offset = 0
        self._leaf = ParameterLeaf(self)
        self._as_tensor: Tensor | None = None
        self._data = values
        self._grad = np.zeros(values.shape, dtype)
        self._requires_grad = _switch("Parameter", requires_grad)
        Arena([self])

    def _move(self, arena: Arena, offset: int) -> None:
        """Copies values and gradient into an arena and looks at them there from now on."""
        old_data, old_grad = self._data, self._grad
        self._data = arena.data[offset : offset + self.size].reshape(self.shape)
        self._grad = arena.grad[offset : offset + self.size].reshape(self.shape)
        if not is_rebuilding():  # else zeros: what nobody touches takes no memory
            self._data[...] = old_data
            self._grad[...] = old_grad
        if self._arena is not None:
            self._arena.retire()
        self._arena, self._offset = arena, offset

    def __tensor__(self) -> Tensor:
        """The parameter in a graph: a leaf whose gradient is added to `grad`."""
        if state.mode & FORWARD and self._leaf in state.duals:
            return state.duals[self._leaf]
        found = self._as_tensor
        if found is None or found._data is not self._data:
            leaf = self._leaf if self._requires_grad else None
            found = self._as_tensor = leaf_tensor(leaf, self._data, self._arena.changed)
        if state.mode & RECORD:
            state.tape.parameters[id(self)] = self
            if found._edge is None:  # its values may change between runs
                found = leaf_tensor(TRACED, self._data, self._arena.changed)
        return found

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if _switch("requires_grad", value) != self._requires_grad:
            self._requires_grad = not self._requires_grad
            self._as_tensor = None
            self._grad.fill(0)
            self._arena.renew()

    def requires_grad_(self, requires_grad: bool = True) -> Parameter:
        """Freezes (False) or trains (True) the parameter; returns it."""
        self.requires_grad = requires_grad
        return self

    @property
    def data(self) -> np.ndarray:
        if state.mode & RECORD:
            unsupported("it reads parameter.data; compute with the parameter itself")
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._assign("data", self._data, value)
        self._arena.changed[0] = tick()

    @property
    def grad(self) -> np.ndarray:
        return self._grad if self._requires_grad else np.zeros(self.shape, self.dtype)

    @grad.setter
    def grad(self, value: Any) -> None:
        self._assign("grad", self.grad, value)

    def _assign(self, what: str, view: np.ndarray, value: Any) -> None:
        if view is value:  # p.grad += x arrives here
            return
        check.unmasked(self.name, what, value)
        new = np.asarray(value)
        if new.dtype.kind not in "fiu":
            raise TypeError(f"{self.name}.{what}: expected numbers, got {check.describe(new)}")
        if new.shape != self.shape:
            raise ValueError(f"{self.name}.{what}: expected shape {self.shape}, got {new.shape}")
        view[...] = new

    def __getstate__(self) -> dict[str, Any]:
        """Without the gradient, which is as large as the values and belongs to one step."""
        return {
            "name": self.name, "data": self._data.copy(), "requires_grad": self._requires_grad,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        trained = state.get("requires_grad", True)
        Parameter.__init__(self, state["data"], state["name"], requires_grad=trained)
        if "grad" in state:  # of a deep copy, or an older pickle
            self._grad[...] = state["grad"]

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        twin = memo[id(self)] = type(self).__new__(type(self))
        twin.__setstate__({**self.__getstate__(), "grad": self._grad})
        return twin

    def __repr__(self) -> str:
        frozen = "" if self._requires_grad else ", requires_grad=False"
        return f"Parameter({self.name}, shape={self.shape}, dtype={self.dtype}{frozen})"


def _switch(operation: str, value: Any) -> bool:
    """Requires True or False for requires_grad."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"{operation}: requires_grad: expected True or False, got {check.describe(value)}"
        )
    return bool(value)


def gather(parameters: Iterable[Parameter]) -> None:
    """Moves parameters into one arena for each dtype, unless they fill one already."""
    groups: dict[np.dtype, list[Parameter]] = {}
    for p in parameters:
        group = groups.setdefault(p.dtype, [])
        if not any(p is other for other in group):
            group.append(p)
    for group in groups.values():
        arena = group[0]._arena
        if arena is None or arena.retired or arena.members != group:
            Arena(group)


def drop_gradients(parameters: Iterable[Parameter]) -> None:
    """Freezes parameters that nothing will train, and gives back the memory of their gradients."""
    for p in parameters:
        p._requires_grad, p._as_tensor = False, None
        zero = np.zeros((), p.dtype)
        p._grad = np.broadcast_to(zero, p.shape)
        p._arena.grad = np.broadcast_to(zero, p._arena.data.shape)


class Segment:
    """Parameters that lie side by side in an arena, as flat arrays of values and gradients.

    `offset` is the segment's place in a flat state array of all parameters in their given order;
    `group` is what its parameters have in common.
    """

    __slots__ = ("arena", "count", "data", "grad", "group", "offset")

    def __init__(self, arena: Arena, start: int, count: int, offset: int, group: Any) -> None:
        self.arena, self.count, self.offset, self.group = arena, count, offset, group
        self.data = arena.data[start : start + count]
        self.grad = arena.grad[start : start + count]


def segments(
    parameters: Sequence[Parameter], group: Callable[[Parameter], Any] = lambda p: None
) -> list[Segment]:
    """The fewest segments that hold the trained ones of these parameters of one dtype, in order.

    Parameters for which `group` gives different values go to different segments.
    """
    found: list[list[Any]] = []  # [arena, start, count, offset, group]
    offset = 0
    for p in parameters:
        count, own = padded(p.size, p.dtype), group(p)
        last = found[-1] if found else None
        if not p._requires_grad:
            pass
        elif last and last[0] is p._arena and last[1] + last[2] == p._offset and last[4] == own:
            last[2] += count
        else:
            found.append([p._arena, p._offset, count, offset, own])
        offset += count
    return [Segment(*parts) for parts in found]
