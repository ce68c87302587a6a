"""Losses: forward(output, target) -> float, backward() -> gradient of the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check, _native, functional

_pointer = _native.pointer


class Loss:
    """Base of all losses.

    Args:
        reduction: "mean" (default: the division by the batch size happens here and nowhere else)
            or "sum".
    """

    def __init__(self, reduction: str = "mean") -> None:
        self._code = functional.reduction(type(self).__name__, reduction)
        self.reduction = reduction
        self._saved: Any = None

    def __call__(self, output: np.ndarray, target: np.ndarray) -> float:
        return self.forward(output, target)

    def forward(self, output: np.ndarray, target: np.ndarray) -> float:
        """The loss; keeps what backward needs."""
        self._saved = None
        loss, self._saved = self._run(output, target)
        return loss

    def backward(self) -> np.ndarray:
        """The gradient of the loss by the output of the last forward.

        Raises:
            RuntimeError: no forward since the last backward.
        """
        if self._saved is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward: no forward since the last backward: "
                "call forward(output, target) first"
            )
        saved, self._saved = self._saved, None
        return self._grad(saved)

    def evaluate(self, output: np.ndarray, target: np.ndarray) -> float:
        """The loss alone: keeps nothing, computes no gradient."""
        return self._run(output, target)[0]

    def _run(self, output: np.ndarray, target: np.ndarray) -> tuple[float, Any]:
        raise TypeError(f"{type(self).__name__} must define _run and _grad")

    def _grad(self, saved: Any) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} must define _run and _grad")

    classifies = False  # True when class indices are a possible target
    takes_probabilities = False  # True when rows of probabilities are one too

    def __repr__(self) -> str:
        return f"{type(self).__name__}(reduction={self.reduction!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_saved": None}


class SoftmaxCE(Loss):
    """Softmax and cross-entropy from logits in one kernel, in nats.

    l_i = log sum_j e^x_ij - x_i,t_i; gradient (softmax(x) - T) / N for the mean over N rows.
    Stable for logits of any finite size. The target is (N,) class indices as int64, or (N, K)
    probabilities in the dtype of the output. Alias: CrossEntropyLoss.

    Source: Bishop, "Pattern Recognition and Machine Learning" (2006), equation 4.109.
    """

    classifies = True
    takes_probabilities = True

    def _run(self, output: np.ndarray, target: np.ndarray) -> tuple[float, Any]:
        if type(output) is not np.ndarray:
            _check.floats("SoftmaxCE", "output", output)
        grad = np.empty_like(output)
        return functional.softmax_ce(output, target, self.reduction, grad), grad

    def evaluate(self, output: np.ndarray, target: np.ndarray) -> float:
        return functional.softmax_ce(output, target, self.reduction)

    def _grad(self, saved: np.ndarray) -> np.ndarray:
        return saved


CrossEntropyLoss = SoftmaxCE


class NLLLoss(Loss):
    """Negative log likelihood: -x_i,t_i of log-probabilities x and class indices t, in nats.

    Gradient: -1/N (mean) or -1 (sum) at (i, t_i), 0 elsewhere. Use it after LogSoftmax.
    """

    classifies = True

    def _run(self, output: np.ndarray, target: np.ndarray) -> tuple[float, Any]:
        loss = functional.nll_loss(output, target, self.reduction)
        return loss, (output.shape, output.dtype, target.copy())

    def _grad(self, saved: Any) -> np.ndarray:
        shape, dtype, target = saved
        grad = np.empty(shape, dtype)
        status = _native.KERNELS[dtype].ClassNLLCriterion_updateGradInput(
            *shape, _pointer(target), _pointer(grad), _native.cell("int64_t"), 1.0, self._code
        )
        if status:
            _native.fail("NLLLoss.backward", status)
        return grad


class MSELoss(Loss):
    """Mean (or sum) of (x - t)^2 over all elements; gradient 2 (x - t) / n, or 2 (x - t)."""

    def _run(self, output: np.ndarray, target: np.ndarray) -> tuple[float, Any]:
        loss = functional.mse_loss(output, target, self.reduction)
        return loss, (output, target.copy())

    def evaluate(self, output: np.ndarray, target: np.ndarray) -> float:
        return functional.mse_loss(output, target, self.reduction)

    def _grad(self, saved: Any) -> np.ndarray:
        output, target = saved
        grad = np.empty_like(output)
        status = _native.KERNELS[output.dtype].MSECriterion_updateGradInput(
            output.size, _pointer(output), _pointer(target), _pointer(grad), 1.0, self._code,
            functional._State.threads,
        )  # fmt: skip
        if status:
            _native.fail("MSELoss.backward", status)
        return grad
