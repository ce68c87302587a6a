"""What users of NumPy and PyTorch try and a Tensor does not have: messages with its own names."""

from __future__ import annotations

import functools
from typing import Any, NoReturn

ARGUMENTS = {
    "dim": "axis", "dims": "axis", "keepdim": "keepdims", "unbiased": "ddof", "correction": "ddof",
    "p": "ord", "start_dim": "start", "min": "low", "max": "high",
}  # fmt: skip
NUMPY = ("out", "dtype", "where", "initial", "order", "offset")  # what np.sum(x) adds

ATTRIBUTES = {
    "view": "reshape(...)", "view_as": "reshape(other.shape)", "reshape_as": "reshape(other.shape)",
    "ravel": "reshape(-1)", "permute": "transpose(...)", "t": "T", "dim": "ndim", "numel": "size",
    "float": "astype(np.float32)", "double": "astype(np.float64)", "long": "astype(np.int64)",
    "int": "astype(np.int32)", "to": "astype(dtype)", "type": "astype(dtype)", "mm": "@",
    "bmm": "@", "add": "+", "sub": "-", "mul": "*", "div": "/", "clamp": "clip(low, high)",
    "masked_fill": "nn.autograd.where(mask, value, x)", "contiguous": "clone()", "copy": "clone()",
    "add_": "+=", "sub_": "-=", "mul_": "*=", "div_": "/=", "copy_": "x.data = values",
    "fill_": "x.data[...] = value", "detach_": "detach()",
}  # fmt: skip


def refuse(operation: str, given: dict[str, Any]) -> NoReturn:
    """Raises the TypeError for arguments by keyword that a function does not have."""
    name = next(iter(given))
    if any(n in NUMPY for n in given):
        raise TypeError(
            f"{operation}: {name}: no such argument (np.{operation}(x) passes it); on a Tensor "
            f"call x.{operation}() or nn.autograd.{operation}(x)"
        )
    known = ARGUMENTS.get(name)
    cure = f"; its name here is {known}" if known else ""
    raise TypeError(f"{operation}: {name}: no such argument{cure}")


def named_function(operator: Any) -> Any:
    """The function of an operator: what is no operand raises, where an operator gives way."""

    @functools.wraps(operator)
    def call(a: Any, b: Any) -> Any:
        found = operator(a, b)
        if found is NotImplemented:
            raise TypeError(
                f"{operator.__name__}: expected Tensors, arrays or numbers, got "
                f"{type(a).__name__} and {type(b).__name__}"
            )
        return found

    return call


class Absent:
    """An attribute that does not exist, with the name of the one that does."""

    def __init__(self, name: str, cure: str) -> None:
        self.name, self.cure = name, cure

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise AttributeError(f"a Tensor has no attribute {self.name}; use {self.cure}")


class Size(int):
    """The number of elements: a number, as an array's, though PyTorch calls it."""

    __slots__ = ()

    def __call__(self, *args: Any) -> NoReturn:
        raise TypeError("size: a number, the count of elements; PyTorch's size() is x.shape")
