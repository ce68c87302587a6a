"""Losses as a trainer runs them: kernels, forward and backward of a user, or Tensors.

A loss is run in one of three ways, which its class decides:

    kernels   it defines `_run` and `_grad`; its forward is Loss.forward
    arrays    it has a forward and a backward of its own
    Tensors   it has a forward of its own alone, which may call that of a class above, or is a plain
              function: the output comes as a Tensor, and the gradient by its graph
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._core import check
from ..autograd.node import enable_grad
from ..autograd.operands import as_tensor, on_graph
from ..autograd.ops.shaping import sum_of
from ..autograd.tensor import Tensor, wrap
from ..nn.activations import Activation, LogSoftmax, Sigmoid, Softmax
from ..nn.dropout import Dropout
from ..nn.linear import Linear
from ..nn.losses import Loss, NLLLoss, SoftmaxCE
from ..nn.module import Module
from ..nn.sequential import Sequential
from ..program.rows import Rows


class Outcome(NamedTuple):
    """The loss of a batch, the weight of its rows, and what computes the gradient of the output."""

    value: float
    weight: float
    gradient: Callable[[], np.ndarray]


class FunctionLoss(Loss):
    """A plain function as a loss: function(output, target) of the output as a Tensor.

    Args:
        function: returns the mean loss of the rows, a Tensor of one number; where it has a third
            argument, or one named sample_weight, it is given the weights of the rows.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self._call_function: Any = function.forward if isinstance(function, Module) else function

    def forward(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        call = self._call_function
        if sample_weight is None:
            return call(output, target)
        if _binds(call, 3):
            return call(output, target, sample_weight)
        return call(output, target, sample_weight=sample_weight)

    def config(self) -> dict[str, Any]:
        raise TypeError(
            f"the loss of the trainer, {self!r}, is a plain function, which a file cannot hold; "
            "write it as a class: class MyLoss(nn.Loss) with forward(self, output, target)"
        )

    def __repr__(self) -> str:
        named = getattr(self.function, "__name__", None)
        return f"{named}()" if named else repr(self.function)


def as_loss(operation: str, value: Any) -> Loss:
    """The loss of a trainer: a Loss, or a function as one.

    Raises:
        TypeError: it is neither, or takes other arguments, or computes nothing.
    """
    if isinstance(value, Loss):
        if _depth(value, "forward") == _depth(value, "_run") == type(value).__mro__.index(Loss):
            raise TypeError(
                f"{operation}: loss: {type(value).__name__} defines no forward(output, target): "
                "define it on Tensors, or together with backward()"
            )
        return value
    made = f"; pass {value.__name__}(...), not the class" if isinstance(value, type) else ""
    if made or not callable(value):
        raise TypeError(
            f"{operation}: loss: expected Loss, got {check.describe(value)}"
            f"{made or '; or pass a function (output, target)'}"
        )
    if not _binds(value.forward if isinstance(value, Module) else value, 2):
        raise TypeError(
            f"{operation}: loss: expected Loss, got {check.describe(value)} with other arguments "
            "than a function (output, target) has"
        )
    return FunctionLoss(value)


def is_open(loss: Loss) -> bool:
    """True for a loss that does not say what its targets are: classes, or numbers of any width."""
    kind = type(loss)
    own = kind.forward is not Loss.forward and kind._run is Loss._run
    return own and kind.classifies is Loss.classifies


def takes_weights(loss: Loss) -> bool:
    """Whether the loss can be given weights of the rows."""
    if isinstance(loss, FunctionLoss):
        call = loss._call_function
        return _binds(call, 3) or _binds(call, 2, "sample_weight")
    own = type(loss).forward is not Loss.forward
    return _binds(loss.forward if own else loss._run, 3)


def forward(loss: Loss, output: np.ndarray, rows: Rows) -> Outcome:
    """The loss of a batch in training.

    Raises:
        TypeError, ValueError: what it returns is no number, or has no gradient.
    """
    kind = type(loss)
    own = kind.forward is not Loss.forward
    if own and rows.weight is not None and not rows.weight.any():
        return Outcome(0.0, 0.0, lambda: np.zeros_like(output))  # no row counts: 0 / 0
    if own and kind.backward is Loss.backward:
        return _on_tensors(loss, output, rows)
    value = _number(loss, _own_forward(loss, output, rows))
    return Outcome(value, loss.total_weight, loss.backward)


def evaluate(loss: Loss, output: np.ndarray, rows: Rows) -> tuple[float, float]:
    """(loss of a batch, weight of its rows); keeps nothing. What the class defines last counts."""
    by_forward = _depth(loss, "forward")
    if _depth(loss, "evaluate") <= min(by_forward, _depth(loss, "_run")):
        loss.total_weight = -1.0
        value = loss.evaluate(output, rows.y, *_weights(rows))
        _weigh(loss, rows)
        return _number(loss, value), loss.total_weight
    if type(loss).forward is Loss.forward:
        return float(loss._weighed(output, rows.y, rows.weight)[0]), loss.total_weight
    found = forward(loss, output, rows)
    loss._saved = None
    return found.value, found.weight


def _own_forward(loss: Loss, output: Any, rows: Rows) -> Any:
    """What forward returns; total_weight is set, where it does not do so itself."""
    loss._saved, loss.total_weight = None, -1.0
    value = loss.forward(output, rows.y, *_weights(rows))
    _weigh(loss, rows)
    return value


def _weights(rows: Rows) -> tuple[np.ndarray, ...]:
    return () if rows.weight is None else (rows.weight,)


def _weigh(loss: Loss, rows: Rows) -> None:
    if loss.total_weight < 0:
        weight = rows.weight
        loss.total_weight = float(len(rows.x) if weight is None else sum_of(weight, None, False))


def _on_tensors(loss: Loss, output: np.ndarray, rows: Rows) -> Outcome:
    """The loss by its forward on Tensors; the gradient by the graph."""
    leaf = wrap(output)
    leaf.requires_grad = True
    with enable_grad():
        value = _own_forward(loss, leaf, rows)
    found = as_tensor(value) if on_graph(value) else None
    number = _number(loss, value)
    if found is None or not found.requires_grad:
        raise TypeError(
            f"{_name(loss)}: expected a Tensor computed from output, got {check.describe(value)} "
            "without a way to its gradient: compute with Tensors throughout, without item(), "
            "float() and numpy(), or define backward() in a class derived from nn.Loss"
        )

    def gradient() -> np.ndarray:
        with enable_grad():
            found.backward()
        if leaf.grad is None:  # the loss depends on other things alone
            return np.zeros_like(output)
        return np.ascontiguousarray(leaf.grad._data, output.dtype)

    return Outcome(number, loss.total_weight, gradient)


def _number(loss: Loss, value: Any) -> float:
    """The loss as a Python number."""
    array = value._data if type(value) is Tensor else value
    if isinstance(array, (float, int)) and not isinstance(array, bool):
        return float(array)
    if not isinstance(array, (np.ndarray, np.generic)) or array.dtype.kind not in "fiu":
        raise TypeError(f"{_name(loss)}: expected it to return one number, got {_kind(value)}")
    if array.size != 1:
        raise ValueError(
            f"{_name(loss)}: expected it to return one number, got shape {array.shape}; make one "
            "of it with .mean()"
        )
    return float(array.reshape(()))


def _kind(value: Any) -> str:
    return "None: a return is missing" if value is None else check.describe(value)


def _name(loss: Loss) -> str:
    return repr(loss) if isinstance(loss, FunctionLoss) else f"{type(loss).__name__}.forward"


def _depth(loss: Loss, name: str) -> int:
    """How far up the class is that defines a method; 0 is the class itself."""
    return next(i for i, base in enumerate(type(loss).__mro__) if name in vars(base))


def _binds(function: Any, places: int, *names: str) -> bool:
    """Whether a function can be called with so many arguments by place, and these by name."""
    try:
        inspect.signature(function).bind(*[None] * places, **dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:  # it has no signature that Python knows
        return True
    return True


# ---- layers that do what the loss does ----

_SOFTMAX = "takes the softmax of logits itself, and of probabilities it learns badly"
_FIXES: dict[tuple[Any, Any], str] = {
    (Softmax, SoftmaxCE): f"which {_SOFTMAX}: remove the layer",
    (Sigmoid, SoftmaxCE): "which takes logits of any size, not numbers from 0 to 1: remove the "
    "layer",
    (LogSoftmax, SoftmaxCE): "which takes the softmax itself, so that the layer changes nothing "
    "and costs time: remove the layer, or use NLLLoss",
    (Softmax, NLLLoss): "which takes logarithms of probabilities: remove the layer and use "
    "SoftmaxCE, or put LogSoftmax in its place",
    (Sigmoid, NLLLoss): "which takes logarithms of probabilities: remove the layer and use "
    "SoftmaxCE, or put LogSoftmax in its place",
}
for _kind_before in (Linear, Activation):
    _FIXES[_kind_before, NLLLoss] = (
        "which takes logarithms of probabilities: put LogSoftmax after the layer, or use SoftmaxCE"
    )


def warn_of_twice(model: Module, loss: Loss) -> bool:
    """Warns where the last layer does what the loss does too, or not what it needs; whether."""
    place, layer = _last("model", model)
    own: Any = type(layer)
    kinds = (Softmax, Sigmoid, LogSoftmax, Linear, Activation)
    kind: Any = next((k for k in kinds if isinstance(layer, k)), None)
    if kind is None or own._run is not kind._run or own.forward is not Module.forward:
        return False
    fixes = [text for (k, c), text in _FIXES.items() if k is kind and isinstance(loss, c)]
    fix = fixes[0] if fixes else None
    if fix is None and kind in kinds[:3] and "logits" in repr(loss).lower():
        fix = "which by its name takes logits: remove the layer"
    if fix is None:
        return False
    name = repr(loss).split("(")[0]
    warnings.warn(f"Trainer: {place}, {layer!r}, comes before {name}, {fix}", stacklevel=4)
    return True


def _last(place: str, model: Module) -> tuple[str, Module]:
    """The last layer of nested Sequentials that computes something in training, and its place."""
    if not isinstance(model, Sequential) or type(model).forward is not Module.forward:
        return place, model
    for index in reversed(range(len(model.layers))):
        found, layer = _last(f"{place}[{index}]", model.layers[index])
        if not isinstance(layer, (Sequential, Dropout)):
            return found, layer
    return place, model
