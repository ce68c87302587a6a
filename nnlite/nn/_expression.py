"""Parameters in expressions: every operator and method of Tensor, on the parameter's leaf."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from ..autograd.methods import Methods
from ..autograd.node import Leaf
from ..autograd.tensor import Tensor, wrap

_OWN = ("__eq__", "__ne__", "__hash__", "__setitem__", "__module__", "__doc__", "__slots__")


class Expression:
    """What becomes a Tensor in an expression, by `__tensor__`."""

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """The number of dimensions, which NumPy's ndim and functions of Tensors look at."""
        return len(self.shape)

    def __tensor__(self) -> Tensor:
        raise NotImplementedError


def _delegate(name: str) -> Any:
    if name == "T" or name == "mT":
        return property(lambda self: getattr(self.__tensor__(), name))

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.__tensor__(), name)(*args, **kwargs)

    method.__name__ = name
    return method


for _name in vars(Methods):
    if _name not in _OWN and not (_name.startswith("__i") and _name != "__invert__"):
        setattr(Expression, _name, _delegate(_name))


class ParameterLeaf(Leaf):
    """Where the gradient of a Parameter ends: it is added to `parameter.grad`, as a value."""

    __slots__ = ()

    def __init__(self, parameter: Any) -> None:
        self.shape, self.dtype = parameter.shape, parameter.dtype
        self.owner = weakref.ref(parameter)

    def add(self, grad: Any) -> None:
        parameter = self.owner()
        if parameter is not None and parameter._requires_grad:  # it may be frozen by now
            total = parameter._grad  # in place: setting the attribute takes as long as the sum
            total += grad._data if type(grad) is Tensor else grad

    @property  # type: ignore[override]
    def grad(self) -> Any:
        parameter = self.owner()
        return None if parameter is None else wrap(parameter._grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        parameter = self.owner()
        if parameter is not None:
            parameter._grad[...] = 0 if value is None else value._data


def leaf_tensor(leaf: Leaf | None, data: np.ndarray, changed: list[int]) -> Tensor:
    """The Tensor of a parameter; a frozen one has no leaf. `changed` is the time of its last
    change, kept by the arena."""
    t = wrap(data)
    t._edge, t._changed = leaf, changed
    return t
