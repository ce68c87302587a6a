"""What functions of arrays and Tensors take: values as Tensors, as arrays, in one dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core import check
from .node import RECORD, state, unsupported
from .tensor import Tensor, wrap

_ndarray = np.ndarray


def as_tensor(value: Any) -> Tensor:
    """The value as a Tensor: itself, a Parameter's, or a constant."""
    if type(value) is Tensor:
        return value
    convert = getattr(type(value), "__tensor__", None)
    if convert is not None:
        return convert(value)
    if isinstance(value, np.generic):
        return wrap(np.array(value))
    if isinstance(value, _ndarray):
        if value.dtype.kind not in "fiub":
            raise TypeError(f"expected an array of real numbers, got {value.dtype}")
        if type(value) is not _ndarray:
            check.unmasked("a Tensor", "array", value)
        return wrap(value)
    raise TypeError(
        f"expected a Tensor, an array or a number, got {type(value).__name__}; "
        "convert it with nn.tensor(...)"
    )


def plain_array(value: Any) -> np.ndarray:
    """An argument of a call without Tensors."""
    if type(value) is _ndarray:
        return value
    check.unmasked("a function of arrays", "argument", value)
    return np.asarray(value)


def on_graph(*values: Any) -> bool:
    """Whether any value is a Tensor or converts itself to one, as Parameters do."""
    for value in values:
        if type(value) is not _ndarray and hasattr(type(value), "__tensor__"):
            return True
    return False


def zeros_like(x: Any) -> Any:
    """A constant of zeros with the shape and dtype of x; for a Python number 0.0."""
    if type(x) is float or type(x) is int:
        return 0.0
    return wrap(np.zeros(x.shape, x.dtype))


def value_of(x: Any) -> np.ndarray:
    """The array of a Tensor; an array itself. For masks and indices in formulas: a program would
    freeze them."""
    if type(x) is not Tensor:
        return x
    if state.mode & RECORD and x._edge is not None and not state.tape.of_one_run:
        unsupported("a formula looks at the values of a tensor")
    return x._data


def placeholder(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array without memory for a value that nobody looks at: a gradient while it is recorded."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def array_of(x: Any) -> Any:
    """The array of a Tensor, for a call that is recorded; anything else as it is."""
    return x._data if type(x) is Tensor else x


def operand(value: Any) -> Any:
    """A Tensor, or a Python number as it is: NumPy lets it take the dtype of the array."""
    if type(value) is Tensor or type(value) in (float, int, bool):
        return value
    if isinstance(value, (list, tuple)):
        check.unmasked("a Tensor", "list", value)
        return wrap(np.array(value))
    if isinstance(value, int):  # a subclass
        return int(value)
    if isinstance(value, _ndarray):
        check.unmasked("a Tensor", "array", value)
    try:
        return as_tensor(value)
    except TypeError:
        return NotImplemented


def promoted(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The Tensors in their common dtype, by NumPy's rules."""
    from .ops.shaping import astype

    dtype = np.result_type(*[t._data.dtype for t in tensors])
    return tuple([t if t._data.dtype == dtype else astype(t, dtype) for t in tensors])
