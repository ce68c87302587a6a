"""What the functions of derivatives take: a function, its inputs, and vectors beside them.

`jvp(f, x, v)` and its kin share these rules. The inputs are a Tensor or array, for f(x); a tuple
of them, for f(x1, x2, ...); or Parameters or a Module, for f(), a function that uses them. Results
have the form of the inputs: one Tensor, or a tuple. A vector beside the inputs is an array for each
of them, or one flat array that holds all elements in their order; then the result is flat too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core import check
from ..node import TANGENT, Leaf
from ..operands import on_graph
from ..ops.shaping import clone
from ..tensor import Tensor, tensor, wrap


class Inputs:
    """The inputs of a function, checked.

    Attributes:
        operation: what messages start with.
        items: the inputs as Tensors; Parameters as the Tensors that stand for them.
        single: True when one input was given, not a tuple.
        parameters: the Parameters when the inputs are such, else None: f is called without
            arguments.

    Raises:
        TypeError: an input is not float32 or float64, or f is not callable.
        ValueError: there is no input.
    """

    def __init__(self, operation: str, f: Any, inputs: Any) -> None:
        if not callable(f):
            raise TypeError(f"{operation}: f: expected a function, got {type(f).__name__}")
        self.operation, self.f = operation, f
        if not on_graph(inputs) and callable(getattr(inputs, "parameters", None)):
            inputs = [p for p in inputs.parameters() if p.requires_grad]
        self.single = not isinstance(inputs, (tuple, list))
        given = (inputs,) if self.single else tuple(inputs)
        if not given:
            raise ValueError(f"{operation}: inputs: expected at least one, got none")
        are = [on_graph(x) and type(x) is not Tensor for x in given]
        if any(are) and not all(are):
            raise TypeError(
                f"{operation}: inputs: expected Parameters alone or Tensors alone, got both; "
                "f has no arguments for Parameters, so wrap: nn.tensor(parameter.data)"
            )
        self.parameters = given if all(are) else None
        self.items = tuple([self._item(i, x) for i, x in enumerate(given)])

    def _item(self, index: int, x: Any) -> Tensor:
        if on_graph(x):
            found = type(x).__tensor__(x)
        elif isinstance(x, (np.ndarray, np.generic)):
            found = wrap(np.asarray(x))
        elif type(x) is float:
            found = tensor(x)
        else:
            raise TypeError(
                f"{self.operation}: input {index}: expected a Tensor or an array of float32 or "
                f"float64, got {type(x).__name__}"
            )
        if found.dtype not in check.FLOATS:
            raise TypeError(
                f"{self.operation}: input {index}: expected float32 or float64, got "
                f"{found.dtype}; convert it with .astype(np.float64)"
            )
        return found

    def leaves(self, create_graph: bool) -> tuple[Tensor, ...]:
        """New Tensors for f to differentiate by; with create_graph they keep their history."""
        if self.parameters is not None:
            return self.items
        return tuple([_leaf(x, create_graph) for x in self.items])

    def call(self, args: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], bool]:
        """(the outputs of f, whether it gave one Tensor alone).

        Raises:
            TypeError: f gave something else than a Tensor of floats or a tuple of them.
        """
        made = self.f() if self.parameters is not None else self.f(*args)
        alone = not isinstance(made, (tuple, list))
        outs = (made,) if alone else tuple(made)
        if not outs:
            raise TypeError(f"{self.operation}: f: expected a Tensor, got an empty tuple")
        return tuple([self._output(y) for y in outs]), alone

    def _output(self, y: Any) -> Tensor:
        if not on_graph(y):
            raise TypeError(
                f"{self.operation}: f: expected it to return a Tensor or a tuple of them, got "
                f"{type(y).__name__}; compute with Tensors throughout, without numpy() and item()"
            )
        found = type(y).__tensor__(y)
        if found.dtype not in check.FLOATS:
            raise TypeError(
                f"{self.operation}: f: expected it to return float32 or float64, got {found.dtype}"
            )
        return found

    def scalar(self, args: tuple[Tensor, ...]) -> Tensor:
        """The output of an f that gives one number.

        Raises:
            ValueError: it gives more.
        """
        outs, _ = self.call(args)
        if len(outs) != 1 or outs[0].size != 1:
            shapes = ", ".join(str(y.shape) for y in outs)
            raise ValueError(
                f"{self.operation}: f: expected it to return one number, got shape {shapes}; make "
                "one of it with sum() or mean(), or use jacobian"
            )
        return outs[0]

    def vectors(self, name: str, v: Any) -> tuple[tuple[Tensor, ...], bool]:
        """(a vector for each input, whether they came as one flat array)."""
        items, operation = self.items, self.operation
        if v is None:
            raise ValueError(
                f"{operation}: {name}: expected an array in the shape of each input, got None"
            )
        if not isinstance(v, (tuple, list)) and not self.single:
            return self._cut(name, v), True
        return like(operation, name, v, items, "input", self.single), False

    def _cut(self, name: str, v: Any) -> tuple[Tensor, ...]:
        """The parts of a flat vector."""
        total = sum(x.size for x in self.items)
        dtypes = {x.dtype for x in self.items}
        (dtype,) = dtypes if len(dtypes) == 1 else (None,)
        flat = _constant(self.operation, name, v)
        if flat.shape != (total,):
            raise ValueError(
                f"{self.operation}: {name}: expected a tuple of {len(self.items)} arrays or a flat "
                f"one of shape ({total},), got shape {flat.shape}"
            )
        if dtype is None or flat.dtype != dtype:
            raise TypeError(
                f"{self.operation}: {name}: expected the dtype of the inputs, "
                f"{dtype or 'one for all'}, got {flat.dtype}"
            )
        parts, start = [], 0
        for x in self.items:
            parts.append(flat[start : start + x.size].reshape(x.shape))
            start += x.size
        return tuple(parts)

    def form(self, results: tuple[Any, ...], flat: bool = False) -> Any:
        """Results in the form of the inputs, or as one flat Tensor."""
        if flat:
            from ..ops.joining import concatenate

            return concatenate([r.reshape(-1) for r in results])
        return results[0] if self.single else results

    def unused(self, index: int | None) -> RuntimeError:
        """The error for an input that f does not use."""
        which = "the inputs" if index is None else f"input {index}"
        return RuntimeError(
            f"{self.operation}: f does not depend on {which}; compute with Tensors throughout, "
            "without detach() and numpy(), or pass strict=False for derivatives of 0"
        )


def like(
    operation: str, name: str, v: Any, targets: tuple[Tensor, ...], what: str, single: bool
) -> tuple[Tensor, ...]:
    """Tensors with the shapes and dtypes of the targets, checked."""
    given = (v,) if single else v
    if not isinstance(given, (tuple, list)) or len(given) != len(targets):
        count = len(given) if isinstance(given, (tuple, list)) else 1
        raise ValueError(
            f"{operation}: {name}: expected {len(targets)}, one for each {what}, got {count}"
        )
    found = []
    for i, (value, x) in enumerate(zip(given, targets, strict=True)):
        t = _constant(operation, name, value, x.dtype)
        if t.shape != x.shape:
            raise ValueError(
                f"{operation}: {name}: expected the shape of {what} {i}, {x.shape}, got {t.shape}"
            )
        if t.dtype != x.dtype:
            raise TypeError(
                f"{operation}: {name}: expected the dtype of {what} {i}, {x.dtype}, got {t.dtype}; "
                f"convert it with .astype(np.{x.dtype})"
            )
        found.append(t)
    return tuple(found)


def _constant(operation: str, name: str, value: Any, dtype: Any = None) -> Tensor:
    """A vector as a Tensor; a Python number takes the dtype."""
    if on_graph(value):
        return type(value).__tensor__(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return wrap(np.asarray(value))
    if type(value) in (int, float):
        return wrap(np.asarray(value, dtype))
    raise TypeError(f"{operation}: {name}: expected an array, got {type(value).__name__}")


def _leaf(x: Tensor, create_graph: bool) -> Tensor:
    """A Tensor with the values and the tangent of x, that requires a gradient."""
    if create_graph and x.requires_grad:
        return clone(x)
    return leaf_like(x)


def leaf_like(x: Tensor) -> Tensor:
    """A new leaf with a copy of the values of x, and its tangent."""
    t = wrap(x._data.copy())
    t._edge = Leaf(t.shape, t.dtype)
    tangent = getattr(x, "_tangent", None)
    if tangent is not None:
        t._tangent = tangent
    return t


def settled(t: Tensor) -> Tensor:
    """The value of a result without its history; its tangent, when one is carried, stays."""
    found = wrap(t._data)
    tangent = getattr(t, "_tangent", None)
    if tangent is not None:
        found._tangent, found._edge = tangent, TANGENT
    return found
