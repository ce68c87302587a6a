"""The losses of scikit-learn's networks, of outputs before their last activation.

Each is the mean over rows, by their weights, of the sum over columns; so its gradient is
(activation(z) - y) / n, in which the columns count alike.
"""

from __future__ import annotations

from typing import Any

from ... import autograd
from ...autograd.operands import as_tensor
from ...nn.losses import Loss, MSELoss, SoftmaxCE

_TINY = 1e-30  # log y stays finite where y is 0, and y log y is 0


class _RowsLoss(Loss):
    """The weighted mean over rows of what `terms` gives for each element."""

    def terms(self, output: Any, target: Any) -> Any:
        """The loss of each element."""
        raise NotImplementedError

    def forward(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        of_rows = self.terms(output, target).sum(axis=1)
        if sample_weight is None:
            return of_rows.mean()
        return (of_rows * sample_weight).sum() / as_tensor(sample_weight).sum()


class BinaryLogLoss(_RowsLoss):
    """log(1 + e^z) - y z: the log loss of sigmoid(z), for targets 0 and 1."""

    takes_logits = True

    def terms(self, output: Any, target: Any) -> Any:
        return autograd.softplus(output) - output * target


class HalfPoisson(_RowsLoss):
    """e^z - y z + (y log y - y): half the Poisson deviance of e^z, for counts y."""

    def terms(self, output: Any, target: Any) -> Any:
        counts = as_tensor(target)
        constant = counts * autograd.log(autograd.maximum(counts, _TINY)) - counts
        return autograd.exp(output) - output * target + constant


class HalfSquares(Loss):
    """(z - y)^2 / 2.

    Args:
        outputs: columns.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self._scale, self._squares = 0.5 * outputs, MSELoss()

    def forward(self, output: Any, target: Any, sample_weight: Any = None) -> Any:
        return self._squares.forward(output, target, sample_weight) * self._scale


def loss_of(out_activation: str, outputs: int) -> Loss:
    """The loss that belongs to an output activation."""
    if out_activation == "softmax":
        return SoftmaxCE()
    if out_activation == "logistic":
        return BinaryLogLoss()
    return HalfPoisson() if out_activation == "exp" else HalfSquares(outputs)
