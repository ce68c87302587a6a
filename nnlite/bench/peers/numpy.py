"""NumPy: the baseline. Its matrix products run in the BLAS that NumPy was built with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnlite.bench import baseline
from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task


def training(task: Task) -> Callable[[], float]:
    optimizer: baseline.Optimizer
    if task.workload.optimizer == "adam":
        optimizer = baseline.Adam(LEARNING_RATE)
    else:
        optimizer = baseline.SGD(LEARNING_RATE, MOMENTUM, WEIGHT_DECAY)
    model = baseline.MLP(task.layers, optimizer)
    return lambda: model.train_step(task.x, task.y)


def inference(task: Task) -> Callable[[], NDArray[np.floating]]:
    model = baseline.MLP(task.layers)
    return lambda: model.predict(task.x)
