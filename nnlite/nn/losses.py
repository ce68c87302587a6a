"""Losses: forward(output, target) -> float, backward() -> gradient of the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .._core import check, criteria
from .._core.criteria import IGNORE_INDEX
from .._core.names import LOSS, Named
from ..autograd.node import RECORD, state
from ..autograd.operands import as_tensor, on_graph
from ..autograd.ops import losses
from ._graph import loss_call


class _Setting:
    """An argument of a loss as an attribute: checked whenever it is set, and its changes counted,
    so that a recorded program sees them.

    Args:
        require: (name of the loss, value) -> the value to keep; it raises where the value is wrong.
    """

    def __init__(self, require: Callable[[str, Any], Any]) -> None:
        self.require = require

    def __set_name__(self, owner: type, name: str) -> None:
        self.kept = f"_{name}"

    def __get__(self, loss: Any, owner: Any = None) -> Any:
        return self if loss is None else getattr(loss, self.kept)

    def __set__(self, loss: Any, value: Any) -> None:
        setattr(loss, self.kept, self.require(type(loss).__name__, value))
        loss._changes += 1


class Loss(Named):
    """Base of all losses.

    A subclass defines one of
    `forward(output, target)` on Tensors, which returns a Tensor of one number: a Trainer takes the
    gradient by its graph;
    `forward(output, target)` on arrays, and `backward()`, which returns the gradient of the output;
    `_run(output, target, sample_weight)`, which returns the loss and what `_grad(saved)` needs to
    return the gradient of the output.
    Each may set `total_weight`, and a forward may have a third argument, sample_weight.

    Args:
        reduction: "mean" (default: the division by the batch size, or by the total weight of the
            batch, happens here and nowhere else) or "sum".

    Attributes:
        total_weight: the weight of all rows of the last forward or evaluate: their number, where
            there are no weights and no row is ignored. The mean over several batches is the sum of
            loss * total_weight divided by the sum of total_weight; a batch of weight 0 has the mean
            NaN and is left out.
    """

    _foreign = LOSS
    _common = ("reduction", "total_weight", "classifies", "takes_probabilities", "takes_logits")

    classifies = False  # True when class indices are a possible target
    takes_probabilities = False  # True when rows of probabilities are one too
    takes_logits: bool | None = None  # or log-probabilities; None: it does not say
    total_weight = 0.0
    recorded = ("_changes",)  # what tells a program that a setting has changed
    _changes = 0  # of settings
    _saved: Any = None
    _reduction, _code = "mean", criteria.reduction("Loss", "mean")  # without Loss.__init__

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction
        self._saved: Any = None

    @property
    def reduction(self) -> str:
        return self._reduction

    @reduction.setter
    def reduction(self, value: str) -> None:
        self._code, self._reduction = criteria.reduction(type(self).__name__, value), value
        self._changes += 1

    def __call__(
        self, output: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> float:
        if sample_weight is None:  # a forward of a user may take no more
            return self.forward(output, target)
        return self.forward(output, target, sample_weight)

    def forward(
        self, output: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> float:
        """The loss; keeps what backward needs.

        Args:
            output: the model's output, rows first; with a Tensor the loss is a Tensor, whose graph
                does backward's work.
            target: what the loss compares it with.
            sample_weight: (N,) weights of the rows in the dtype of output, finite and >= 0; rows of
                weight 0 count for nothing, whatever they hold. None: 1 each.
        """
        if type(output) is not np.ndarray and on_graph(output):
            return loss_call(self, as_tensor(output), target, sample_weight)
        own = vars(self)  # past the checks of names
        own["_saved"] = None
        loss, own["_saved"] = self._weighed(output, target, sample_weight)
        return loss

    def backward(self) -> np.ndarray:
        """The gradient of the loss by the output of the last forward.

        Raises:
            RuntimeError: no forward since the last backward.
        """
        saved = vars(self).pop("_saved", None)  # also from under other threads
        if saved is None:
            kind = type(self)
            if kind.forward is not Loss.forward and kind._run is Loss._run:
                raise RuntimeError(
                    f"{kind.__name__}.backward: its forward is one on Tensors: call it with a "
                    "Tensor and backward() of the result, or define backward() too"
                )
            raise RuntimeError(
                f"{type(self).__name__}.backward: no forward since the last backward: "
                "call forward(output, target) first"
            )
        return self._grad(saved)

    def evaluate(
        self, output: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> float:
        """The loss alone: keeps nothing, computes no gradient."""
        if type(self).forward is not Loss.forward and type(self)._run is Loss._run:
            weights = () if sample_weight is None else (sample_weight,)
            return self.forward(output, target, *weights)
        return self._weighed(output, target, sample_weight)[0]

    def _weighed(self, output: np.ndarray, target: np.ndarray, sample_weight: Any) -> Any:
        """(loss, saved); sets total_weight where the loss itself does not."""
        vars(self)["total_weight"] = -1.0
        if sample_weight is None:
            found = self._run(output, target)
        else:
            found = self._run(output, target, sample_weight)
        if self.total_weight < 0:
            rows = len(output) if sample_weight is None else np.sum(sample_weight)
            self.total_weight = float(rows)
        return found

    def _run(self, output: np.ndarray, target: np.ndarray, sample_weight: Any = None) -> Any:
        raise TypeError(
            f"{type(self).__name__} must define forward on Tensors, forward and backward, or _run "
            "and _grad"
        )

    def _grad(self, saved: Any) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} must define _run and _grad")

    def _settings_of_call(self, output: np.ndarray, sample_weight: Any) -> tuple[Any, ...] | None:
        """The settings of the operation of nnlite.autograd that computes the same; None where it is
        written by `_run` and `_grad`."""
        return None

    def _settings(self) -> dict[str, Any]:
        """What the constructor was given, for the repr."""
        return {"reduction": self.reduction}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items())
        return f"{type(self).__name__}({settings})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_saved": None}


class _KernelLoss(Loss):
    """A loss that is an operation of nnlite.autograd: its kernel computes the gradient too."""

    _op: ClassVar[Any]

    def _options(self, weight: Any) -> tuple[Any, ...]:
        """The settings of the operation, without the weights of the rows.

        Args:
            weight: that of the classes.
        """
        return (self.reduction,)

    def _weight_of(self, output: Any) -> np.ndarray | None:
        """The weights of the classes in the dtype of the output."""
        return None

    def _value(self, output: Any, target: Any, sample_weight: Any, grad: Any) -> float:
        settings = *self._options(self._weight_of(output)), sample_weight
        loss, vars(self)["total_weight"] = self._op.weighed(
            type(self).__name__, output, target, settings, grad
        )
        return loss

    def _run(self, output: np.ndarray, target: np.ndarray, sample_weight: Any = None) -> Any:
        grad = np.empty_like(output) if type(output) is np.ndarray else None
        return self._value(output, target, sample_weight, grad), (output, grad)

    def evaluate(
        self, output: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> float:
        return self._value(output, target, sample_weight, None)

    def _grad(self, saved: Any) -> np.ndarray:
        output, grad = saved
        if output.shape != grad.shape:  # the caller's array, changed since
            check.unfit(f"{type(self).__name__}.backward", grad, output)
        return grad

    def _settings_of_call(self, output: np.ndarray, sample_weight: Any) -> tuple[Any, ...] | None:
        if type(self)._run is not _KernelLoss._run:
            return None
        return *self._options(self._weight_of(output)), sample_weight


class _ClassLoss(_KernelLoss):
    """A loss against classes: their weights, and the index that is ignored."""

    classifies, takes_logits = True, True
    ignore_index = _Setting(criteria.class_index)
    _ignore_index: int

    def __init__(self, reduction: str, weight: Any, ignore_index: int) -> None:
        super().__init__(reduction)
        self.ignore_index, self.weight = ignore_index, weight

    @property
    def weight(self) -> np.ndarray | None:
        return self._weight

    @weight.setter
    def weight(self, value: Any) -> None:
        self._weight = None if value is None else _class_weights(type(self).__name__, value)
        self._weights: dict[np.dtype, np.ndarray] = {}
        self._changes += 1

    def _weight_of(self, output: Any) -> np.ndarray | None:
        """The weights of the classes in the dtype of the output."""
        if self._weight is None or not isinstance(output, np.ndarray):
            return None
        dtype = output.dtype
        found = self._weights.get(dtype)
        if found is None and dtype in check.FLOATS:
            with np.errstate(over="ignore"):  # an infinite weight is refused by name
                found = self._weight.astype(dtype)
            if not state.mode & RECORD:  # a recording leaves no trace
                self._weights[dtype] = found
        return found

    def _settings(self) -> dict[str, Any]:
        weight = None if self.weight is None else self.weight.tolist()
        settings = {**super()._settings(), "weight": weight, "ignore_index": self.ignore_index}
        usual = {"weight": None, "ignore_index": IGNORE_INDEX}
        return {k: v for k, v in settings.items() if k not in usual or v != usual[k]}


def _class_weights(operation: str, weight: Any) -> np.ndarray:
    """(K,) finite numbers >= 0 as float64."""
    found = np.asarray(weight)
    if found.dtype.kind not in "fiu":
        raise TypeError(
            f"{operation}: weight: expected one number for each class, got {check.describe(weight)}"
        )
    if found.ndim != 1 or found.size == 0:
        raise ValueError(
            f"{operation}: weight: expected shape (classes,), one number for each class, "
            f"got {found.shape}"
        )
    found = found.astype(np.float64)
    wrong = np.flatnonzero(~(found >= 0) | np.isinf(found))
    if wrong.size:
        raise ValueError(
            f"{operation}: weight: class {wrong[0]} has {found[wrong[0]]}, expected a finite "
            "number >= 0"
        )
    return found


def _smoothing(operation: str, value: Any) -> float:
    return check.number(operation, "label_smoothing", value, 0, 1)


class SoftmaxCE(_ClassLoss):
    """Softmax and cross-entropy from logits in one kernel, in nats.

    l_i = log sum_j e^x_ij - x_i,t_i; gradient (softmax(x) - T) / N for the mean over N rows.
    Stable for logits of any finite size. The target is (N,) class indices as int64, or (N, K)
    probabilities in the dtype of the output. Alias: CrossEntropyLoss.

    Args:
        reduction: "mean" (default), or "sum".
        weight: (K,) weights w of the classes, finite and >= 0: sum_i w_t l_i, divided for the mean
            by sum_i w_t (with probabilities by N, as in PyTorch). None: 1 each.
        label_smoothing: e in [0, 1], default 0: the target becomes (1 - e) T + e / K.
        ignore_index: rows with this class index count for nothing; default -100.

    Raises:
        TypeError, ValueError: an argument of another kind or out of range.

    Notes:
        Results and defaults are those of PyTorch's CrossEntropyLoss. A batch whose rows are all
        ignored has the mean NaN, a gradient of 0 and total_weight 0.

    Sources: Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.109; Szegedy et
    al., "Rethinking the inception architecture for computer vision" (2016), section 7.
    """

    _op = losses.SoftmaxCE
    takes_probabilities = True
    label_smoothing = _Setting(_smoothing)
    _label_smoothing: float

    def __init__(
        self,
        reduction: str = "mean",
        weight: Any = None,
        label_smoothing: float = 0.0,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__(reduction, weight, ignore_index)
        self.label_smoothing = label_smoothing

    def _options(self, weight: Any) -> tuple[Any, ...]:
        return self.reduction, weight, self._label_smoothing, self._ignore_index

    def _settings(self) -> dict[str, Any]:
        smoothing = {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}
        return super()._settings() | smoothing


CrossEntropyLoss = SoftmaxCE


class NLLLoss(_ClassLoss):
    """Negative log likelihood: -x_i,t_i of log-probabilities x and class indices t, in nats.

    Gradient: -1/N (mean) or -1 (sum) at (i, t_i), 0 elsewhere. Use it after LogSoftmax.

    Args:
        reduction, weight, ignore_index: as for SoftmaxCE.
    """

    _op = losses.NLL

    def __init__(
        self, reduction: str = "mean", weight: Any = None, ignore_index: int = IGNORE_INDEX
    ) -> None:
        super().__init__(reduction, weight, ignore_index)

    def _options(self, weight: Any) -> tuple[Any, ...]:
        return self.reduction, weight, self._ignore_index


class MSELoss(_KernelLoss):
    """Mean (or sum) of (x - t)^2 over all elements; gradient 2 (x - t) / n, or 2 (x - t).

    With weights s of the samples: s_i (x_i - t_i)^2, the mean divided by the sum of s.
    """

    _op = losses.MSE
