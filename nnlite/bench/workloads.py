"""The named workloads: small and medium networks as people train and run them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Hyperparameters of every training workload. The rate is small enough for the widest network, and
# the decay keeps the velocities of silent units away from denormals, so that step 10,000 costs
# what step 1 costs.
LEARNING_RATE = 1e-3
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4

SEED = 0


class UnknownNameError(ValueError):
    """A name that is not in a list; the message shows the list."""


@dataclass(frozen=True)
class Workload:
    """One thing to measure: a training step or a forward pass of a ReLU network.

    A residual one has its hidden layers in pairs, each with x + Linear(ReLU(Linear(x))).

    Args:
        name: what the user calls it.
        batch: number of rows N.
        widths: features of the input, of every hidden layer, and number of classes.
        optimizer: "sgd" or "adam" for a training step, None for inference.
        residual: whether hidden layers are residual blocks of two, all as wide as the input.
    """

    name: str
    batch: int
    widths: tuple[int, ...]
    optimizer: str | None = None
    residual: bool = False

    @property
    def key(self) -> str:
        """A name of its own among all workloads: mnist-sgd, bulk."""
        return f"{self.name}-{self.optimizer}" if self.optimizer else self.name

    @property
    def kind(self) -> str:
        return "training" if self.optimizer else "inference"

    @property
    def shape(self) -> str:
        """The widths as text; runs of equal ones counted: 256-8x256-10, 64-4x(64+64)-10."""
        first, *hidden, last = self.widths
        if self.residual:
            return f"{first}-{len(hidden) // 2}x({hidden[0]}+{hidden[1]})-{last}"
        if len(hidden) > 3 and len(set(hidden)) == 1:
            hidden_text = f"{len(hidden)}x{hidden[0]}"
        else:
            hidden_text = "-".join(map(str, hidden))
        return f"{first}-{hidden_text}-{last}"

    @property
    def parameters(self) -> int:
        return sum((d + 1) * k for d, k in zip(self.widths, self.widths[1:], strict=False))

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products alone, 2 N D K each: one per layer
        forward; in training also x^T dy, and dy W^T for all layers but the first."""
        products = [d * k for d, k in zip(self.widths, self.widths[1:], strict=False)]
        count = sum(products)
        if self.optimizer:
            count += sum(products) + sum(products[1:])
        return 2 * self.batch * count


@dataclass(frozen=True)
class Task:
    """A workload with its numbers: what every contender gets.

    Args:
        layers: initial weights, pairs W (in, out) and b (out,), float32.
        x: inputs, shape (batch, features), float32.
        y: classes, shape (batch,), int64.
        threads: number of threads to use at most, or None for the contender's own default.
    """

    workload: Workload
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]]
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    threads: int | None


TRAINING = (
    ("spiral", 100, (2, 100, 3)),
    ("digits", 32, (64, 64, 10)),
    ("rl", 64, (8, 64, 64, 4)),
    ("mnist", 128, (784, 512, 256, 10)),
    ("wide", 64, (4096, 4096, 4096, 10)),
    ("deep", 256, (256, *[256] * 8, 10)),
    ("residual", 32, (64, *[64] * 8, 10)),
)
RESIDUAL = ("residual",)
INFERENCE = (
    Workload("one", 1, (64, 64, 10)),
    Workload("one-mnist", 1, (784, 512, 256, 10)),
    Workload("bulk", 4096, (784, 512, 256, 10)),
)


def all_workloads(optimizers: Iterable[str] = ("sgd",)) -> list[Workload]:
    """Every training step with each of those optimisers, then every forward pass."""
    steps = [
        Workload(*row, optimizer=name, residual=row[0] in RESIDUAL)
        for row in TRAINING
        for name in optimizers
    ]
    return [*steps, *INFERENCE]


def select(names: Iterable[str], workloads: list[Workload]) -> list[Workload]:
    """The workloads of those names ("mnist" for every optimiser, "mnist-sgd" for one, "training" or
    "inference" for a whole kind), in the order of the list; all when no name is given.

    Raises:
        UnknownNameError: a name that none of them has.
    """
    names = list(names)
    for name in names:
        if not any(name in (w.name, w.key, w.kind) for w in workloads):
            known = ", ".join(dict.fromkeys(w.name for w in workloads))
            raise UnknownNameError(
                f"bench: unknown workload {name!r}; expected one of: {known}, training, inference"
            )
    return [w for w in workloads if not names or {w.name, w.key, w.kind} & set(names)]


def make_task(workload: Workload, threads: int | None = None) -> Task:
    """Random inputs, classes and He-initialised weights, the same at every call.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015: std = sqrt(2 / in).
    """
    random = np.random.default_rng(SEED)
    layers = []
    for d, k in zip(workload.widths, workload.widths[1:], strict=False):
        weight = random.standard_normal((d, k), dtype=np.float32) * np.float32(np.sqrt(2 / d))
        layers.append((weight, np.zeros(k, np.float32)))
    x = random.standard_normal((workload.batch, workload.widths[0]), dtype=np.float32)
    y = random.integers(workload.widths[-1], size=workload.batch)
    return Task(workload, layers, x, y, threads)
