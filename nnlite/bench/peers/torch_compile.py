"""PyTorch with the network compiled by torch.compile; needs a C++ compiler, and half a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # type: ignore[import-not-found]

from nnlite.bench.peers import torch as eager
from nnlite.bench.workloads import Task


def training(task: Task) -> Callable[[], float]:
    torch.compiler.reset()
    return eager.training(task, torch.compile)


def inference(task: Task) -> Callable[[], Any]:
    torch.compiler.reset()
    return eager.inference(task, torch.compile)
