"""scikit-learn: MLPClassifier, one partial_fit per training step, predict_proba for inference.

Its L2 penalty is another one (alpha / N on weights only), so it trains without; a little less work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier  # type: ignore[import-not-found,import-untyped]

from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, Task


def _model(task: Task) -> MLPClassifier:
    """A classifier with the task's weights."""
    if task.workload.residual:
        raise NotImplementedError("scikit-learn has no residual networks")
    widths, batch = task.workload.widths, task.workload.batch
    model = MLPClassifier(
        hidden_layer_sizes=widths[1:-1],
        solver=task.workload.optimizer or "sgd",
        alpha=0.0,
        batch_size=batch,
        learning_rate_init=LEARNING_RATE,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        shuffle=False,
        random_state=0,
    )
    # One step makes the attributes; its effect on the weights is undone.
    model.partial_fit(task.x, task.y, classes=np.arange(widths[-1]))
    for k, (weight, bias) in enumerate(task.layers):
        model.coefs_[k][...] = weight
        model.intercepts_[k][...] = bias
    return model


def training(task: Task) -> Callable[[], float]:
    model = _model(task)

    def step() -> float:
        model.partial_fit(task.x, task.y)
        return model.loss_

    return step


def inference(task: Task) -> Callable[[], Any]:
    model = _model(task)
    return lambda: model.predict_proba(task.x)
