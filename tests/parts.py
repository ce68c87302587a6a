"""What the tests of checkpoints save and go on with: models, classes of a user, a loop by hand."""

from __future__ import annotations

import numpy as np
from helpers import F32, sha

import nnlite as nn

ROWS, FEATURES, CLASSES = 40, 5, 3


class Gain(nn.Module):
    """A module of a user: an argument, a parameter, and state beside it."""

    def __init__(self, width: int, start: float = 1.0) -> None:
        self.width, self.start = width, start
        self.factor = nn.Parameter(np.full(width, start, np.float32))
        self.calls, self.mean = 0, np.zeros(width)

    def _run(self, x, keep):
        if keep:
            self.calls += 1
            self.mean = self.mean + x.mean(axis=0)
            self._keep(x)
        return x * self.factor.data

    def _grad(self, saved, grad_output, want_input):
        self.factor.grad += (saved * grad_output).sum(axis=0)
        return grad_output * self.factor.data

    def extra_state(self):
        return {"calls": self.calls, "mean": self.mean}

    def load_extra_state(self, state):
        if state["mean"].shape != (self.width,):
            raise ValueError("Gain: mean has another length")
        self.calls, self.mean = int(state["calls"]), state["mean"]


class Huber(nn.MSELoss):
    """A loss of a user, with an argument."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self.delta = delta


def network(dtype=F32) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(FEATURES, 8, dtype=dtype, init="glorot_normal"), nn.Tanh(),
        nn.Sequential(nn.Linear(8, 6, bias=False, dtype=dtype), nn.Sigmoid(), nn.Sequential()),
        nn.Linear(6, CLASSES, dtype=dtype),
    )  # fmt: skip


def data(dtype=F32) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(ROWS, FEATURES)).astype(dtype), rng.integers(0, CLASSES, ROWS)


def train(model, optimizer, steps: int, first: int = 0) -> None:
    """The loop by hand, over batches of 8."""
    X, y = data(optimizer.dtype)
    loss = nn.SoftmaxCE()
    for step in range(first, first + steps):
        rows = slice(step * 8 % ROWS, step * 8 % ROWS + 8)
        optimizer.zero_grad()
        loss(model(X[rows]), y[rows])
        model.backward(loss.backward())
        optimizer.step()


def weights(model) -> str:
    return sha(*(p.data for p in model.parameters()))
