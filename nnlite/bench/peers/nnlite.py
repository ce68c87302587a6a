"""nnlite itself, used as its README shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import nnlite as nn
from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task


def _model(task: Task) -> nn.Sequential:
    modules: list[nn.Module] = []
    for weight, bias in task.layers:
        linear = nn.Linear(*weight.shape)
        for parameter, value in zip(linear.parameters(), (weight, bias), strict=True):
            parameter.data[...] = value
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def training(task: Task) -> Callable[[], float]:
    model, optim = _model(task), cast(Any, nn.optim)  # Adam may be there or not
    if task.workload.optimizer == "adam":
        optimizer = optim.Adam(model.parameters(), lr=LEARNING_RATE)
    else:
        optimizer = optim.SGD(
            model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    return lambda: trainer.train_step(task.x, task.y)


def inference(task: Task) -> Callable[[], NDArray[np.float32]]:
    model = _model(task)
    model.eval()
    return lambda: model.predict(task.x)
