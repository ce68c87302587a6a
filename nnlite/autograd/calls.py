"""Calls: an operation applied to arrays, numbers, Parameters and Tensors.

With arrays alone the value is an array; else it is a Tensor, and the call is recorded when a
gradient flows (`recording.py`). `unary` and `binary` make the functions of operations without
parameters, in which each look costs as much as the kernel of a small array: the usual case stands
first and in one function.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .node import GRAD, Node, state
from .operands import array_of, as_tensor, on_graph, operand, plain_array, promoted
from .recording import attach_to_one, record, share
from .tensor import NEVER, Tensor, wrap

# NumPy 1 lets a Python number widen a 0-d array; here a number takes the dtype of the tensor.
NUMPY_1 = np.lib.NumpyVersion(np.__version__) < "2.0.0"
_ndarray = np.ndarray
_new = object.__new__
_asarray = np.asarray


def apply(op: Any, *inputs: Any, params: tuple = ()) -> Any:
    """Calls an operation; with Tensors or Parameters among the inputs the value is a Tensor, and
    the call is recorded when a gradient flows. With arrays and numbers alone it is an array."""
    if len(inputs) == 1:
        (x,) = inputs
        if type(x) is Tensor:
            return _apply_to_one(op, x, params)
        if type(x) is _ndarray:
            return op.forward(x, *params)
    if not on_graph(*inputs):
        return op.forward(*[plain_array(x) for x in inputs], *params)
    inputs = tuple(
        [x if type(x) is Tensor or type(x) in (float, int) else as_tensor(x) for x in inputs]
    )
    out = wrap(op.forward(*[x._data if type(x) is Tensor else x for x in inputs], *params))
    for x in inputs:
        if type(x) is Tensor and x._edge is not None:
            record(op, out, inputs, params)
            break
    if op.is_view:
        share(out, inputs[0])
    return out


def _apply_to_one(op: Any, x: Tensor, params: tuple) -> Tensor:
    """`apply` for one Tensor, the usual case."""
    out = wrap(op.forward(x._data, *params))
    if x._edge is not None:
        if state.mode == GRAD:
            attach_to_one(op, out, x, params)
        else:
            record(op, out, (x,), params)
    if op.is_view:
        share(out, x)
    return out


def unary(op: Any) -> Any:
    """The function of an operation with one input and no parameters."""
    forward = op.forward

    def call(x: Any) -> Any:
        if type(x) is not Tensor:
            if not on_graph(x):
                return forward(plain_array(x))
            x = as_tensor(x)
        out = wrap(forward(x._data))
        if x._edge is not None:
            if state.mode == GRAD:
                attach_to_one(op, out, x, ())
            else:
                record(op, out, (x,), ())
        return out

    return _named(call, op)


def binary(op: Any) -> Any:
    """The function of an operation with two inputs that are broadcast and promoted as NumPy's."""
    forward, crosswise = op.forward, op.crosswise
    keeps_inputs, keeps_output = op.keeps_inputs, op.keeps_output

    def call(a: Any, b: Any) -> Any:
        if type(a) is Tensor and type(b) is Tensor:
            x: Any = a._data
            y: Any = b._data
            left, right = a._edge, b._edge
            if x.dtype is not y.dtype:
                return mixed(a, b)
        elif type(a) is Tensor and (type(b) is float or type(b) is int):
            x, y, left, right = a._data, b, a._edge, None
            if NUMPY_1:
                x, y = _as_numpy_2(x, b)
        else:
            return mixed(a, b)
        data = forward(x, y)
        out = _new(Tensor)
        if type(data) is not _ndarray:
            data = _asarray(data)
        out._data = data
        out._changed = NEVER
        if left is None and right is None:
            out._edge = None
        elif state.mode == GRAD and not keeps_output:
            if keeps_inputs:
                saved: Any = (a, b)
                if crosswise:
                    if right is None:
                        saved = (None, b)
                    elif left is None:
                        saved = (a, None)
            elif left is None or right is None:
                saved = (a if left is None else None, b if right is None else None)
            else:
                saved = None
            out._edge = Node(op, (left, right), saved, None, (), data.shape, data.dtype)
        else:
            out._edge = None
            record(op, out, (a, b), ())
        return out

    def mixed(a: Any, b: Any) -> Any:
        """Parameters, arrays, numbers on the left, and different dtypes."""
        if (type(a) is _ndarray and type(b) is _ndarray) or not on_graph(a, b):
            return forward(a, b)
        a, b = operand(a), operand(b)
        if a is NotImplemented or b is NotImplemented:
            return NotImplemented
        if type(a) is Tensor and type(b) is Tensor:
            a, b = promoted(a, b)
        x, y = array_of(a), array_of(b)
        if NUMPY_1 and type(a) is not type(b):
            x, y = _as_numpy_2(x, y)
        out = wrap(forward(x, y))
        if (type(a) is Tensor and a._edge is not None) or (
            type(b) is Tensor and b._edge is not None
        ):
            record(op, out, (a, b), ())
        return out

    return _named(call, op)


def _as_numpy_2(x: Any, y: Any) -> tuple[Any, Any]:
    """A 0-d array and a Python number, in either order, with the number in the array's dtype."""
    if isinstance(x, _ndarray):
        return x, x.dtype.type(y) if x.dtype.kind == "f" else y
    return y.dtype.type(x) if y.dtype.kind == "f" else x, y


def reflected(call: Any) -> Any:
    """The same function with its operands the other way round, for `__radd__` and its kin."""

    def back(b: Any, a: Any) -> Any:
        return call(a, b)

    return back


def _named(call: Any, op: Any) -> Any:
    """The call under the name and the module of its operation, where pickles look for it."""
    call.__name__ = call.__qualname__ = op.name
    call.__module__ = op.__module__
    call.__doc__ = op.__doc__
    call.op = op
    return call
