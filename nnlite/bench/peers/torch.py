"""PyTorch, eager: nn.Sequential, F.cross_entropy and a torch.optim optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # type: ignore[import-not-found]
import torch.nn.functional as F  # type: ignore[import-not-found]

from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task


def model_of(task: Task) -> torch.nn.Sequential:
    """The network with the task's weights; sets the number of threads."""
    if task.threads:
        torch.set_num_threads(task.threads)
    modules: list[torch.nn.Module] = []
    for weight, bias in task.layers:
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


def optimizer_of(task: Task, model: torch.nn.Module) -> torch.optim.Optimizer:
    if task.workload.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    return torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )


def training(task: Task, compiler: Callable[[Any], Any] | None = None) -> Callable[[], float]:
    model = model_of(task)
    optimizer = optimizer_of(task, model)
    x, y = torch.from_numpy(task.x), torch.from_numpy(task.y)
    run = compiler(model) if compiler else model

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(run(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(task: Task, compiler: Callable[[Any], Any] | None = None) -> Callable[[], Any]:
    model = model_of(task).eval()
    x = torch.from_numpy(task.x)
    run = compiler(model) if compiler else model

    def forward() -> Any:
        with torch.inference_mode():
            return run(x).numpy()

    return forward
