"""PyTorch, eager: nn.Sequential, F.cross_entropy and a torch.optim optimiser."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch  # type: ignore[import-not-found]
import torch.nn.functional as F  # type: ignore[import-not-found]
from numpy.typing import NDArray

from nnlite.bench.cases import STEPS, Case
from nnlite.bench.peers import Kernel
from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task


class Residual(torch.nn.Sequential):
    """x + f(x) for the chain f of its modules."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


def model_of(task: Task) -> torch.nn.Sequential:
    """The network with the task's weights; sets the number of threads."""
    if task.threads:
        torch.set_num_threads(task.threads)
    linears: list[torch.nn.Module] = []
    for weight, bias in task.layers:
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        linears.append(linear)
    *hidden, last = linears
    if task.workload.residual:
        pairs = zip(hidden[::2], hidden[1::2], strict=True)
        return torch.nn.Sequential(*[Residual(a, torch.nn.ReLU(), b) for a, b in pairs], last)
    return torch.nn.Sequential(*[m for x in hidden for m in (x, torch.nn.ReLU())], last)


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


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(torch, name) for name in ("exp", "log", "tanh", "sigmoid", "expm1", "log1p")},
    "erf": torch.erf,
    "relu": lambda x, out: torch.clamp_min(x, 0, out=out),  # what relu calls; relu has no `out`
    "softmax": lambda x, out: torch.softmax(x, 1, out=out),
    "log_softmax": lambda x, out: torch.log_softmax(x, 1, out=out),
}


def kernel(case: Case, inputs: tuple[NDArray, ...]) -> Kernel:
    torch.set_num_threads(case.threads)
    if case.kernel in STEPS:
        return _step(case, *inputs)
    tensors = [torch.from_numpy(array) for array in inputs]
    if case.kernel == "softmax_ce":
        return _cross_entropy(*tensors)
    if case.flops:
        a = tensors[0].T if case.kernel == "tn" else tensors[0]
        b = tensors[1].T if case.kernel == "nt" else tensors[1]
        product = torch.empty(len(a), b.shape[1], dtype=a.dtype)
        return Kernel(partial(torch.mm, a, b, out=product), product.numpy)
    if case.kernel not in FUNCTIONS:
        raise NotImplementedError(f"PyTorch has no {case.kernel} with these values")
    out = torch.empty_like(tensors[0])
    return Kernel(partial(FUNCTIONS[case.kernel], tensors[0], out=out), out.numpy)


def _step(case: Case, weight: NDArray, grad: NDArray) -> Kernel:
    """In the quickest of its forms: fused where it has that, else over lists of tensors."""
    parameter = torch.nn.Parameter(torch.tensor(weight))
    parameter.grad = torch.tensor(grad)
    options: dict[str, Any] = {"foreach": True} if case.kernel == "RMSprop" else {"fused": True}
    if case.kernel == "SGD":
        options["momentum"] = MOMENTUM
    optimizer = getattr(torch.optim, case.kernel)([parameter], lr=LEARNING_RATE, **options)
    return Kernel(optimizer.step, parameter.detach().numpy)


def _cross_entropy(x: torch.Tensor, target: torch.Tensor) -> Kernel:
    """The eager pair: loss forward and backward, to the gradient of the logits."""
    logits: Any = x.requires_grad_()

    def run() -> Any:
        logits.grad = None
        loss = F.cross_entropy(logits, target)
        loss.backward()
        return loss

    return Kernel(run, lambda: logits.grad.numpy())
