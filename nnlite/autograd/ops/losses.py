"""Losses: the kernel gives value and gradient, a formula the further derivatives.

`softmax_ce_slope` and its kin are the gradients of the losses as formulas of x, for Tensors and
arrays alike; modules and functions use the same ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional
from ..._core import criteria, native
from ..._core.config import _State
from ..node import RECORD, TRACED, state
from ..operation import Operation, as_tensor, on_graph, record
from ..tensor import Tensor, wrap
from .choices import where
from .elementary import contiguous
from .neural import softmax
from .shaping import sum

IGNORE_INDEX = functional.IGNORE_INDEX


def shares(
    x: Any,
    target: np.ndarray,
    reduction: str,
    weight: np.ndarray | None,
    label_smoothing: float,
    ignore_index: int,
    sample_weight: np.ndarray | None,
) -> np.ndarray:
    """What each -log p_ik counts in a loss against classes: S with loss = -sum_ik S_ik log p_ik."""
    rows, classes = x.shape
    s = np.ones(rows, x.dtype) if sample_weight is None else sample_weight
    w = np.ones(classes, x.dtype) if weight is None else weight
    if target.ndim == 1:
        s = np.where(target == ignore_index, x.dtype.type(0), s)
        place = np.where(target == ignore_index, 0, target)
        given = np.zeros(x.shape, x.dtype)
        given[np.arange(rows), place] = 1
        total = (s * w[place]).sum()
    else:
        given, total = target, s.sum()
    if label_smoothing:
        given = (1 - label_smoothing) * given + label_smoothing / classes
    given = given * w * s[:, None]
    if reduction == "mean":  # of rows that all weigh 0: nothing, though smoothing gives them shares
        given = given / total if total else np.zeros_like(given)
    return given.astype(x.dtype, copy=False)


def softmax_ce_slope(x: Any, target: Any, *settings: Any) -> Any:
    """The gradient of softmax_ce by x: softmax(x) sum_k S_k - S; 0 in rows that count nothing."""
    share = shares(x, target, *settings)
    total = share.sum(1, keepdims=True)
    slope = softmax(x) * total - share
    return slope if total.all() else where(total == 0, 0.0, slope)


def nll_slope(x: Any, target: Any, *settings: Any) -> Any:
    """The gradient of nll_loss by x: -S, a constant."""
    reduction, weight, ignore_index, sample_weight = settings
    slope = -shares(x, target, reduction, weight, 0.0, ignore_index, sample_weight)
    return wrap(slope) if type(x) is Tensor else slope


def mse_slope(x: Any, target: Any, reduction: str, sample_weight: Any = None) -> Any:
    """The gradient of mse_loss by x: 2 s (x - t), over the sum of the weights for the mean."""
    if sample_weight is None:
        return (x - target) * (2.0 / x.size if reduction == "mean" else 2.0)
    s = np.broadcast_to(sample_weight.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)
    scale = 2 * s / (s.sum() or 1) if reduction == "mean" else 2 * s
    slope = (x - target) * scale.astype(x.dtype)
    return slope if s.all() else where(s == 0, 0.0, slope)


class _Loss(Operation):
    """A number computed from x and constants.

    Parameters: the target, the settings, and the gradient by x that the kernel computed, or None.
    """

    keeps_inputs = True
    weighed: Any  # (name for messages, x, target, settings, gradient) -> loss, weight of its rows
    fills = 2  # the parameter that is an output: the gradient by x
    slope: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()

        def forward(x: Any, target: Any, settings: tuple, grad: Any = None) -> float:
            return cls.weighed(cls.name, contiguous(x), target, settings, grad)[0]

        cls.forward = staticmethod(forward)

    @classmethod
    def vjp(cls, g: Any, need: Any, x: Any, target: Any, settings: tuple, grad: Any) -> Any:
        if grad is not None and type(x) is not Tensor:
            return g * grad
        if grad is not None and state.mode & RECORD:
            return g * traced(grad)
        return g * cls.slope(x, target, *settings)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        target, settings, grad = params
        if grad is None or inputs[0]._edge is not None:
            grad = cls.slope(inputs[0], target, *settings)
        return sum(tangents[0] * grad)

    @classmethod
    def call(cls, x: Any, target: Any, settings: tuple) -> Tensor:
        """The loss as a Tensor; where a gradient may be asked for, its kernel computes it too."""
        target = constant(cls.name, "target", target)
        settings = tuple([constant(cls.name, "weight", v) for v in settings])
        return cls.measured(x, target, settings)[0]

    @classmethod
    def measured(cls, x: Tensor, target: Any, settings: tuple) -> tuple[Tensor, float]:
        """The loss, and the weight of its rows."""
        grad = np.empty(x.shape, x.dtype) if x._edge is not None and state.mode else None
        value, weight = cls.weighed(cls.name, contiguous(x._data), target, settings, grad)
        out = wrap(np.array(value, x.dtype))
        if x._edge is not None:
            record(cls, out, (x,), (target, settings, grad))
        return out, weight


def _optional(array: np.ndarray | None) -> Any:
    return native.NULL if array is None else native.pointer(array)


def traced(array: np.ndarray) -> Tensor:
    """An array that a recorded call has filled, as a Tensor whose calls are recorded."""
    x = wrap(array)
    x._edge = TRACED
    return x


def constant(operation: str, name: str, value: Any) -> Any:
    """An argument without gradient, as an array where it is a Tensor."""
    if not on_graph(value):
        return value
    found = as_tensor(value)
    if found._edge not in (None, TRACED):
        raise TypeError(f"{operation}: {name}: no gradient flows to it; pass {name}.detach()")
    return found._data


class SoftmaxCE(_Loss):
    """Cross-entropy of softmax(x) and T; dx = g (softmax(x) sum_k T_k - T), / N for the mean."""

    name = "softmax_ce"
    slope = staticmethod(softmax_ce_slope)

    @staticmethod
    def numpy(x: Any, target: Any, settings: tuple, grad: Any) -> Any:
        line = "-np.sum(np.where({share} == 0, 0.0, {share} * log_softmax({0})))"
        return line, {"share": shares(x, target, *settings)}

    @staticmethod
    def weighed(name: str, x: Any, target: Any, settings: tuple, grad: Any) -> tuple[float, float]:
        code = criteria.reduction(name, settings[0])
        return criteria.softmax_ce(name, x, target, code, grad, *settings[1:])

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, target: Any, settings: Any, grad: Any) -> Any:
        return low.loss("CROSS_ENTROPY", *inputs, target, grad, *settings)


class NLL(_Loss):
    """-x_i,t_i, mean or sum over N rows; dx = -g there, / N for the mean."""

    name = "nll_loss"
    slope = staticmethod(nll_slope)

    @staticmethod
    def numpy(x: Any, target: Any, settings: tuple, grad: Any) -> Any:
        line = "-np.sum(np.where({share} == 0, 0.0, {share} * {0}))"
        return line, {"share": -nll_slope(x, target, *settings)}

    @staticmethod
    def weighed(name: str, x: Any, target: Any, settings: tuple, grad: Any) -> tuple[float, float]:
        reduction, weight, ignore_index, sample_weight = settings
        code = criteria.reduction(name, reduction)
        found = criteria.nll(name, x, target, code, weight, ignore_index, sample_weight)
        if grad is not None:
            status = native.KERNELS[grad.dtype].ClassNLLCriterion_updateGradInput(
                *grad.shape, native.pointer(target), native.pointer(grad), _optional(weight),
                _optional(sample_weight), native.cell("int64_t"), 1.0, ignore_index, code,
            )  # fmt: skip
            native.check(status, name)
        return found

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, target: Any, settings: Any, grad: Any) -> Any:
        reduction, weight, ignore_index, sample_weight = settings
        return low.loss("NLL", *inputs, target, grad, reduction, weight, 0.0, ignore_index,
                        sample_weight)  # fmt: skip


class MSE(_Loss):
    """(x - t)^2, mean or sum over n elements; dx = 2 g (x - t), / n for the mean."""

    name = "mse_loss"
    slope = staticmethod(mse_slope)

    @staticmethod
    def numpy(x: Any, target: Any, settings: tuple, grad: Any) -> Any:
        reduction, weight = settings
        if weight is None:
            return f"np.{reduction}(({{0}} - {{target}}) ** 2)", {"target": target}
        s = np.broadcast_to(weight.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)
        share = s / (s.sum() or 1) if reduction == "mean" else s
        line = "np.sum(np.where({share} == 0, 0.0, ({0} - {target}) ** 2 * {share}))"
        return line, {"target": target, "share": share.astype(x.dtype)}

    @staticmethod
    def weighed(name: str, x: Any, target: Any, settings: tuple, grad: Any) -> tuple[float, float]:
        reduction, sample_weight = settings
        code = criteria.reduction(name, reduction)
        found = criteria.mse(name, x, target, code, sample_weight)
        if grad is not None:
            status = native.KERNELS[grad.dtype].MSECriterion_updateGradInput(
                *criteria.rows_and_columns(x), native.pointer(x), native.pointer(target),
                native.pointer(grad), _optional(sample_weight), 1.0, code, _State.threads,
            )  # fmt: skip
            native.check(status, name)
        return found

    @staticmethod
    def lower(low: Any, inputs: list[Any], out: Any, target: Any, settings: Any, grad: Any) -> Any:
        reduction, sample_weight = settings
        return low.loss("MSE", *inputs, target, grad, reduction, None, 0.0, 0, sample_weight)


def softmax_ce(
    logits: Any,
    target: Any,
    reduction: str = "mean",
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    sample_weight: Any = None,
) -> Tensor:
    """Cross-entropy of softmax(logits) and the target; the arguments of functional.softmax_ce."""
    settings = (reduction, weight, label_smoothing, ignore_index, sample_weight)
    return SoftmaxCE.call(as_tensor(logits), target, settings)


def nll_loss(
    log_probabilities: Any,
    target: Any,
    reduction: str = "mean",
    weight: Any = None,
    ignore_index: int = IGNORE_INDEX,
    sample_weight: Any = None,
) -> Tensor:
    """-x_i,t_i of class indices t, mean or sum over rows; the arguments of functional.nll_loss."""
    settings = (reduction, weight, ignore_index, sample_weight)
    return NLL.call(as_tensor(log_probabilities), target, settings)


def mse_loss(x: Any, target: Any, reduction: str = "mean", sample_weight: Any = None) -> Tensor:
    """s (x - target)^2, mean or sum over all elements; a gradient flows to a Tensor as target."""
    x = as_tensor(x)
    if on_graph(target) and as_tensor(target)._edge not in (None, TRACED):
        functional.mse_loss(contiguous(x._data), contiguous(as_tensor(target)._data), reduction)
        return MSE.call(x - target, np.zeros(x.shape, x.dtype), (reduction, sample_weight))
    return MSE.call(x, target, (reduction, sample_weight))
