"""Tensor: an array, its gradient, its producer.

The operators and methods are in `methods.py`; here is what a Tensor is made of.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import check
from .foreign import ATTRIBUTES, Absent, Size, refuse
from .node import FLOWLESS, RECORD, TRACED, Leaf, Node, state, tick, unsupported

if TYPE_CHECKING:
    from .methods import Methods
else:
    Methods = object  # methods.py puts its methods on Tensor when it is imported

_new = object.__new__
_ndarray = np.ndarray
_asarray = np.asarray

NEVER = [0]  # the time of the last change of a value that was never changed; never written


class Tensor(Methods):
    """An array that may take part in a graph. Made by `nn.tensor`, and by operations.

    Args:
        data: an array, number or nested list; copied.
        requires_grad: whether `backward` shall put a gradient into `grad`.
        dtype: of the array; default: that of the data.

    Attributes:
        grad: the gradient as a Tensor, or None; `backward` adds to it.
        requires_grad: whether a gradient flows here.
        is_leaf: whether it was made by the user and not computed.
        data: the values as a Tensor without history, sharing memory. Assigning copies into it.

    Changes in place (`x += 1`, `x[i] = v`, `x.data = v`) are noticed by calls that kept the value.
    """

    __slots__ = ("__weakref__", "_changed", "_data", "_edge", "_tangent")
    _data: np.ndarray
    _tangent: Any

    # _data: the array. _edge: Node, Leaf, or None when no gradient flows. _changed: a list with the
    # time of the last change in place, shared with views. _tangent: set in forward mode only.

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        if isinstance(data, Tensor):
            _read(data, "a copy of it")
        self._data = _copied(data, dtype)
        self._edge: Any = None
        self._changed = NEVER
        if requires_grad:
            self.requires_grad = True

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        if state.mode & RECORD and self._edge is not None:
            return state.tape.shape_read(self._data.shape)
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        if state.mode & RECORD and self._edge is not None:
            state.tape.length_read(self._data.size)
        return Size(self._data.size)

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    def __len__(self) -> int:
        if state.mode & RECORD and self._edge is not None:
            state.tape.length_read(len(self._data))
        return len(self._data)

    def __iter__(self) -> Any:
        if not self._data.ndim:
            raise TypeError("iteration over a 0-d tensor; use item()")
        return (self[i] for i in range(len(self._data)))

    @property
    def requires_grad(self) -> bool:
        return self._edge not in FLOWLESS

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if isinstance(self._edge, Node):
            if not value:
                raise RuntimeError(
                    "requires_grad: this tensor was computed, a gradient flows through it; "
                    "take detach() for its value alone"
                )
            return
        if value and self._edge is None:
            if self._data.dtype not in check.FLOATS:
                raise TypeError(
                    f"requires_grad: expected a tensor of float32 or float64, got "
                    f"{self._data.dtype}; pass dtype=np.float32 to nn.tensor"
                )
            self._edge = leaf = Leaf(self._data.shape, self._data.dtype)
            leaf.owner = weakref.ref(self)
        elif not value:
            self._edge = None

    @property
    def is_leaf(self) -> bool:
        return not isinstance(self._edge, Node)

    @property
    def producer(self) -> Node | None:
        """The node of the call that made it, or None for a leaf."""
        return self._edge if isinstance(self._edge, Node) else None

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Sets requires_grad and returns the tensor."""
        self.requires_grad = value
        return self

    # The gradient.

    @property
    def grad(self) -> Tensor | None:
        edge = self._edge
        holder = edge.kept if type(edge) is Node else edge
        if holder is None or holder.grad is None:
            return None
        if type(holder.grad) is not Tensor:
            holder.grad = wrap(np.array(holder.grad))  # the array may be shared with other leaves
        return holder.grad

    @grad.setter
    def grad(self, value: Any) -> None:
        edge = self._edge
        holder = edge.kept if type(edge) is Node else edge
        if holder is None:
            if value is None:
                return
            raise RuntimeError("grad: this tensor does not require a gradient")
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value, dtype=self.dtype)
            if value.shape != self.shape:
                raise ValueError(f"grad: expected shape {self.shape}, got {value.shape}")
            if value.dtype != self.dtype:
                raise TypeError(f"grad: expected {self.dtype}, got {value.dtype}")
        holder.grad = value

    def retain_grad(self) -> None:
        """Makes backward keep the gradient of this computed tensor in `grad`."""
        edge = self._edge
        if edge is None:
            raise RuntimeError("retain_grad: this tensor does not require a gradient")
        if type(edge) is Node and edge.kept is None:
            edge.kept = Leaf(edge.shape, edge.dtype)

    # Values, views and copies.

    def detach(self) -> Tensor:
        """The same values without history, in the same memory."""
        return view(self, self._data)

    @property
    def data(self) -> Tensor:
        return view(self, self._data)

    @data.setter
    def data(self, value: Any) -> None:
        if isinstance(value, Tensor):
            if value._data is self._data:  # x.data -= step arrives here
                return
            value = value._data
        check.unmasked("data", "value", value)
        new = np.asarray(value)
        if new.shape != self._data.shape:
            raise ValueError(f"data: expected shape {self._data.shape}, got {new.shape}")
        takes("data", self, new.dtype)
        touch(self)
        self._data[...] = new

    def zero_(self) -> Tensor:
        """Sets all values to 0 in place; for gradients: `x.grad.zero_()`."""
        if self.requires_grad:
            raise RuntimeError("zero_: this tensor requires a gradient; use x.data.zero_()")
        touch(self)
        self._data.fill(0)
        return self

    def numpy(self) -> np.ndarray:
        """The values as a read-only array in the same memory; `np.array(x.numpy())` is a copy.

        Raises:
            RuntimeError: a gradient or a tangent flows here, which the array would lose; take
                detach() first.
        """
        _read(self, "numpy()")
        if self._edge is not None:
            what = "requires a gradient" if self.requires_grad else "carries a tangent"
            raise RuntimeError(
                f"numpy: this tensor {what}, which an array would lose; call detach().numpy()"
            )
        array = self._data.view()
        array.flags.writeable = False
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"conversion from {array.dtype} to {dtype} needs a copy")
            return array.astype(dtype)
        return np.array(array) if copy else array

    def item(self) -> Any:
        """The only element as a Python number."""
        _read(self, "item()")
        if self._data.size != 1:
            raise ValueError(f"item: expected one element, got shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        _read(self, "tolist()")
        return self._data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        _read(self, "a number")
        return self._data.__index__()

    def __bool__(self) -> bool:
        _read(self, "its truth")
        if self._data.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is not defined; use any() or all()"
            )
        return bool(self._data)

    def any(self) -> bool:
        """Whether any element is not 0."""
        _read(self, "any()")
        return bool(self._data.any())

    def all(self) -> bool:
        """Whether no element is 0."""
        _read(self, "all()")
        return bool(self._data.all())

    def argmax(self, axis: int | None = None, **unknown: Any) -> Any:
        """The index of the (first) maximum, as NumPy's."""
        if unknown:
            refuse("argmax", unknown)
        _read(self, "argmax()")
        return self._data.argmax(axis)

    def argmin(self, axis: int | None = None, **unknown: Any) -> Any:
        """The index of the (first) minimum, as NumPy's."""
        if unknown:
            refuse("argmin", unknown)
        _read(self, "argmin()")
        return self._data.argmin(axis)

    def __tensor__(self) -> Tensor:
        return self

    def __repr__(self) -> str:
        _read(self, "its text")
        text = np.array2string(self._data, separator=", ", prefix="tensor(")
        kind = "" if self._data.dtype in (np.float64, np.int64, bool) else f", {self._data.dtype}"
        edge = self._edge
        how = f", made by {edge.op.name}" if type(edge) is Node else ""
        grad = how or (", requires_grad=True" if self.requires_grad else "")
        return f"tensor({text}{kind}{grad})"

    def __format__(self, spec: str) -> str:
        """The only element in a format, `f"{loss:.4f}"`; without one the text of the tensor."""
        if not spec:
            return str(self)
        if self._data.size != 1:
            raise TypeError(
                f"format: expected one element for {spec!r}, got shape {self.shape}; format x[i], "
                "or the text of numpy.array2string"
            )
        return format(self.item(), spec)

    def __reduce__(self) -> Any:
        if type(self._edge) is Node:
            raise RuntimeError("a computed tensor cannot be pickled or copied; take detach()")
        return Tensor, (self._data, self.requires_grad)


for _name, _cure in ATTRIBUTES.items():
    setattr(Tensor, _name, Absent(_name, _cure))


def wrap(data: Any) -> Tensor:
    """A Tensor around an array, without copying: the constructor of results."""
    t = _new(Tensor)
    t._data = data if type(data) is _ndarray else _asarray(data)
    t._edge = None
    t._changed = NEVER
    return t


def view(base: Tensor, array: np.ndarray) -> Tensor:
    """A Tensor without history around memory of another: changes in place are seen by both."""
    t = _new(Tensor)
    t._data, t._edge, t._changed = array, None, shared(base)
    if state.mode & RECORD and base._edge is not None:
        t._edge = TRACED
    return t


def shared(base: Tensor) -> list[int]:
    """The time of the last change of base, for a view to share; marked with a second item."""
    if base._changed is NEVER:
        base._changed = [0, 1]
    elif len(base._changed) == 1:
        base._changed.append(1)
    return base._changed


def _read(x: Tensor, how: str) -> None:
    """Refuses what a program would freeze: Python that reads or changes a value while it is
    recorded."""
    if state.mode & RECORD and x._edge is not None:
        unsupported(f"it depends on the values of a tensor ({how})")


def takes(operation: str, x: Tensor, dtype: np.dtype) -> None:
    """Refuses to put numbers of a dtype into a tensor of integers or booleans that would cut them.

    Raises:
        TypeError: they have fractions, or are no real numbers.
    """
    if dtype.kind not in "fiub" or (dtype.kind == "f" and x._data.dtype.kind != "f"):
        raise TypeError(
            f"{operation}: a tensor of {x._data.dtype} cannot hold {dtype}; convert the tensor "
            "with x.astype(np.float32), or round the values and convert them"
        )


def touch(x: Tensor) -> None:
    """Notes that the values of x and its views change now."""
    _read(x, "a change in place")
    if x._changed is NEVER:
        x._changed = [0]
    x._changed[0] = tick()


def tensor(data: Any, requires_grad: bool = False, dtype: Any = None) -> Tensor:
    """A Tensor with a copy of the data.

    Args:
        data: an array, number, nested list or Tensor.
        requires_grad: whether `backward` shall put a gradient into `grad`.
        dtype: of the array; default: that of the data, and float32 for Python numbers that are
            not integers, as everywhere in nnlite. A list with a float64 of NumPy is float64.

    Raises:
        TypeError: the data are not real numbers, or masked, or a Parameter; or a gradient is asked
            for integers.
        ValueError: rows of unequal length.
    """
    if dtype is None and not hasattr(data, "dtype"):
        found = Tensor(data)
        if found.dtype == np.float64 and not _has_float64(data):
            found = Tensor(found._data, dtype=np.float32)
        if requires_grad:
            found.requires_grad = True
        return found
    return Tensor(data, requires_grad, dtype)


def _has_float64(data: Any) -> bool:
    """Whether an array or a number of NumPy of float64 is among nested lists."""
    if not isinstance(data, (list, tuple)):
        return getattr(data, "dtype", None) == np.float64
    if set(map(type, data)) <= _PYTHON:
        return False
    return any([_has_float64(item) for item in data if type(item) not in _PYTHON])


_PYTHON = {float, int, bool}


def _copyable(data: Any) -> Any:
    """What an array can be made of; refuses what would lose something."""
    if isinstance(data, Tensor):
        return data._data
    if hasattr(type(data), "__tensor__"):
        raise TypeError(
            f"tensor: data: got a {type(data).__name__}, which is a tensor in every expression; "
            "for a copy of its values pass parameter.data"
        )
    if isinstance(data, (list, tuple)) and any(
        [hasattr(type(x), "__tensor__") and x.requires_grad for x in data]
    ):
        raise TypeError(
            "tensor: data: a list with tensors that require a gradient, which a copy would lose; "
            "join them with nn.autograd.stack or concatenate"
        )
    check.unmasked("tensor", "data", data)
    return data


def _copied(data: Any, dtype: Any) -> np.ndarray:
    """The data as a new C-contiguous array in the machine's byte order."""
    if type(data) is not np.ndarray:
        data = _copyable(data)
    try:
        array = np.array(data, dtype=dtype, order="C", subok=False)
    except ValueError as error:
        raise ValueError(f"tensor: data: expected rows of equal length: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"tensor: data: expected real numbers, got an array of {array.dtype}; "
            "convert it with np.asarray(data, dtype=np.float32)"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
