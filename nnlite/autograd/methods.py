"""The operators and methods of Tensor: one page. Each is the function of the same name."""

from __future__ import annotations

from typing import Any

import numpy as np

from .engine import backward
from .node import FORWARD, GRAD, state
from .operands import as_tensor, on_graph, operand, value_of
from .ops import (
    arithmetic,
    choices,
    elementary,
    indexing,
    joining,
    linalg,
    neural,
    products,
    reductions,
    shaping,
)
from .recording import record
from .tensor import Tensor, takes, touch, wrap

_UFUNCS = {
    np.add: arithmetic.add, np.subtract: arithmetic.sub, np.multiply: arithmetic.mul,
    np.true_divide: arithmetic.div, np.power: arithmetic.power, np.matmul: products.matmul,
    np.negative: arithmetic.neg, np.absolute: arithmetic.abs, np.sign: choices.sign,
    np.maximum: choices.maximum, np.minimum: choices.minimum, np.sqrt: arithmetic.sqrt,
    np.square: arithmetic.square, np.reciprocal: arithmetic.reciprocal,
    np.exp: elementary.exp, np.expm1: elementary.expm1, np.log: elementary.log,
    np.log1p: elementary.log1p, np.sin: elementary.sin, np.cos: elementary.cos,
    np.tanh: elementary.tanh, np.equal: choices.equal, np.not_equal: choices.not_equal,
    np.less: choices.less, np.less_equal: choices.less_equal,
    np.greater: choices.greater, np.greater_equal: choices.greater_equal,
}  # fmt: skip


_OPERANDS = (np.ndarray, np.generic, int, float, list, tuple)


def _in_place(function: Any) -> Any:
    """x op= y: the same values in the same memory, and the call in the graph."""

    def change(x: Any, y: Any) -> Any:
        if not on_graph(y) and not isinstance(y, _OPERANDS):
            return NotImplemented
        before = _before_change(x, y)
        after = function(before, y)
        if after.shape != x.shape:
            raise ValueError(f"in-place {function.__name__}: {x.shape} cannot become {after.shape}")
        if after.dtype is not x.dtype and not np.can_cast(after.dtype, x.dtype, "same_kind"):
            raise TypeError(
                f"in-place {function.__name__}: the result is {after.dtype}, which a tensor of "
                f"{x.dtype} cannot hold; compute a new tensor, or convert x with "
                f"x.astype(np.{after.dtype})"
            )
        touch(x)
        x._data[...] = after._data
        if state.mode:
            x._edge = after._edge if after._edge is not None else x._edge
            if hasattr(after, "_tangent"):
                x._tangent = after._tangent
        return x

    return change


def _before_change(x: Any, y: Any) -> Any:
    """The tensor as it is before a change in place; refuses changes that backward cannot know."""
    y_edge = operand(y)._edge if on_graph(y) else None
    if not state.mode & (GRAD | FORWARD) or (x._edge is None and y_edge is None):
        return wrap(x._data)
    if x.is_leaf and x.requires_grad:
        raise RuntimeError(
            "a leaf that requires a gradient cannot be changed in place while the graph is built; "
            "use `with nn.no_grad():`, or compute a new tensor"
        )
    if len(x._changed) > 1:
        raise RuntimeError(
            "a tensor that shares memory with others cannot be changed in place while the graph "
            "is built: they would lose their history; change a clone()"
        )
    before = wrap(x._data.copy())
    before._edge = x._edge
    if hasattr(x, "_tangent"):
        before._tangent = x._tangent
    return before


def _bitwise(logical: Any, function: Any) -> Any:
    """& | ^: of truth values an operation that a program has, of integers NumPy's."""

    def call(x: Any, y: Any) -> Any:
        y = operand(y)
        if y is NotImplemented:
            return y
        if x.dtype == bool and (y.dtype == bool if type(y) is Tensor else isinstance(y, bool)):
            return logical(x, y)
        return wrap(function(value_of(x), value_of(y)))

    return call


class Methods:
    """What a Tensor can do; see the functions."""

    __slots__ = ()
    __hash__ = object.__hash__

    def backward(
        self: Any,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Adds the gradients of this tensor by all leaves to their `grad`.

        Args:
            gradient: the gradient of what is meant by this tensor, of its shape; default 1, for
                tensors of one element.
            retain_graph: keep the graph for another backward; default: create_graph.
            create_graph: build the graph of the gradients too, for further derivatives.

        Raises:
            RuntimeError: no gradient flows here; more than one element and no gradient; the graph
                was freed; a value that is needed was changed in place. No gradient has changed.
            ValueError, TypeError: shape or dtype of the gradient differ.
        """
        backward(self, gradient, retain_graph, create_graph)

    __add__, __radd__, __iadd__ = arithmetic.add, arithmetic.radd, _in_place(arithmetic.add)
    __sub__, __rsub__, __isub__ = arithmetic.sub, arithmetic.rsub, _in_place(arithmetic.sub)
    __mul__, __rmul__, __imul__ = arithmetic.mul, arithmetic.rmul, _in_place(arithmetic.mul)
    __truediv__, __rtruediv__ = arithmetic.div, arithmetic.rdiv
    __itruediv__ = _in_place(arithmetic.div)
    __pow__, __rpow__, __ipow__ = arithmetic.power, arithmetic.rpower, _in_place(arithmetic.power)
    __matmul__, __rmatmul__ = products.matmul, products.rmatmul
    __neg__, __abs__ = arithmetic.neg, arithmetic.abs

    def __pos__(self) -> Any:
        return self

    __eq__, __ne__ = choices.equal, choices.not_equal  # type: ignore[assignment]
    __lt__, __le__ = choices.less, choices.less_equal
    __gt__, __ge__ = choices.greater, choices.greater_equal

    def __invert__(self: Any) -> Any:
        return choices.logical_not(self) if self.dtype == bool else wrap(~value_of(self))

    __and__ = _bitwise(choices.logical_and, np.bitwise_and)
    __or__ = _bitwise(choices.logical_or, np.bitwise_or)
    __xor__ = _bitwise(choices.logical_xor, np.bitwise_xor)

    __getitem__ = indexing.getitem

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        """x[index] = value, in the graph when a gradient flows to either."""
        index = index if indexing.is_basic(index) else indexing.plain_index(index)
        value = operand(value)
        if value is NotImplemented:
            raise TypeError("setitem: value: expected a Tensor, an array or a number")
        before = _before_change(self, value)
        data = value_of(value)
        takes("setitem", self, np.result_type(data))
        np.broadcast_to(data, self._data[index].shape)  # raises before anything changes
        touch(self)
        self._data[index] = data
        if state.mode and (before._edge is not None or getattr(value, "_edge", None) is not None):
            if type(value) is Tensor and value.dtype != self.dtype:
                value = shaping.astype(value, self.dtype)
            self._edge = None
            record(indexing.Put, self, (before, value), (index,))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy's element-wise functions: the function here, or on values without gradient."""
        call = _UFUNCS.get(ufunc)
        if call is not None and method == "__call__" and not kwargs:
            return call(*inputs)
        values = [as_tensor(x) if on_graph(x) else x for x in inputs]
        if any(getattr(x, "_edge", None) is not None for x in values):
            raise TypeError(
                f"np.{ufunc.__name__}: it would lose the gradient of a tensor that requires one; "
                "use a function of nnlite.autograd, or detach()"
            )
        return getattr(ufunc, method)(*[value_of(x) for x in values], **kwargs)

    abs, square, sqrt = arithmetic.abs, arithmetic.square, arithmetic.sqrt
    reciprocal, sign, clip = arithmetic.reciprocal, choices.sign, choices.clip
    pow, maximum, minimum = arithmetic.power, choices.maximum, choices.minimum
    exp, expm1, log, log1p = elementary.exp, elementary.expm1, elementary.log, elementary.log1p
    sin, cos, erf = elementary.sin, elementary.cos, elementary.erf
    sigmoid, tanh = elementary.sigmoid, elementary.tanh
    relu, softplus = elementary.relu, elementary.softplus
    softmax, log_softmax = neural.softmax, neural.log_softmax

    sum, mean, prod = shaping.sum, reductions.mean, reductions.prod
    max, min, logsumexp = reductions.max, reductions.min, reductions.logsumexp
    var, std, norm = reductions.var, reductions.std, reductions.norm
    cumsum = shaping.cumsum

    reshape, transpose, swapaxes = shaping.reshape, shaping.transpose, shaping.swapaxes
    moveaxis, squeeze, unsqueeze = shaping.moveaxis, shaping.squeeze, shaping.unsqueeze
    flatten, flip, expand = shaping.flatten, shaping.flip, shaping.expand
    broadcast_to, repeat, tile, split = (
        shaping.broadcast_to, joining.repeat, joining.tile, joining.split
    )  # fmt: skip
    astype, clone = shaping.astype, shaping.clone
    T = property(shaping.transpose)

    @property
    def mT(self) -> Any:
        """The transpose of the last two axes."""
        return shaping.swapaxes(self, -1, -2)

    matmul, dot, outer = products.matmul, products.dot, products.outer

    trace, diag, triu, tril = linalg.trace, linalg.diag, linalg.triu, linalg.tril
    inv, det, logdet = linalg.inv, linalg.det, linalg.logdet


for _name, _value in vars(Methods).items():
    if _name not in ("__module__", "__doc__", "__slots__", "__qualname__"):
        setattr(Tensor, _name, _value)
