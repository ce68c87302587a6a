"""Losses of the user's own train in C with the bits of the eager run."""

from __future__ import annotations

import numpy as np
import pytest
from network_cases import Added, Attention, Own, Tied, residual
from test_networks import adam, eagerly, in_c, sgd

import nnlite as nn

A = nn.autograd


class Huber(nn.Loss):
    """On Tensors; targets are rows of numbers."""

    def forward(self, output, target, sample_weight=None):
        error = (output - target).abs()
        rows = A.where(error < 1.0, 0.5 * error * error, error - 0.5).mean(axis=1)
        if sample_weight is None:
            return rows.mean()
        return (rows * sample_weight).sum() / sample_weight.sum()


def squared(output, target, sample_weight=None):
    """A plain function of classes: the sum of squares of log-probabilities, and a penalty."""
    rows = (A.log_softmax(output) * A.log_softmax(output)).sum(axis=1)
    if sample_weight is not None:
        rows = rows * sample_weight
    return 0.1 * rows.mean() + 0.01 * (output * output).mean()


class Composed(nn.Loss):
    """Another loss with a penalty."""

    classifies = True

    def __init__(self):
        super().__init__()
        self.inner = nn.SoftmaxCE(label_smoothing=0.1)

    def forward(self, output, target):
        return self.inner(output, target) + 0.1 * (output * output).mean()


CASES = [
    (Tied, Huber, True), (Tied, Huber, False), (residual, lambda: squared, True),
    (Added, lambda: squared, False), (Own, Composed, False), (Attention, Composed, False),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("make", "loss", "weighted"), CASES)
@pytest.mark.parametrize("optimiser", [sgd, adam])
def test_own_losses(monkeypatch, make, loss, weighted, dtype, optimiser):
    settings = {"loss": loss, "weighted": weighted, "optimiser": optimiser}
    assert in_c(make, dtype, **settings) == eagerly(monkeypatch, make, dtype, **settings)
