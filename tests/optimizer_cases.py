"""Optimisers and schedules that are compared with PyTorch: the cases, and both runs.

`python tests/tools/torch_fixtures.py` writes PyTorch's results to tests/fixtures/optim.npz, for
machines without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import nnlite as nn

FIXTURES = Path(__file__).parent / "fixtures" / "optim.npz"
STEPS = 100

# name: (class, PyTorch's arguments)
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {"lr": 0.1}),
    "SGD momentum": ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    "SGD dampening": ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3}),
    "SGD Nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "SGD maximize": ("SGD", {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.3, "maximize": True}),
    "Adam": ("Adam", {}),
    "Adam options": ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    "Adam AMSGrad": ("Adam", {"lr": 0.01, "amsgrad": True}),
    "AdamW": ("AdamW", {"lr": 0.01}),
    "AdamW options": ("AdamW", {"weight_decay": 0.3, "amsgrad": True, "maximize": True}),
    "Adamax": ("Adamax", {}),
    "Adamax options": ("Adamax", {"lr": 0.01, "betas": (0.7, 0.9), "weight_decay": 0.1}),
    "NAdam": ("NAdam", {}),
    "NAdam options": ("NAdam", {"lr": 0.01, "momentum_decay": 0.05, "weight_decay": 0.1}),
    "NAdam decoupled": ("NAdam", {"weight_decay": 0.2, "decoupled_weight_decay": True}),
    "RMSprop": ("RMSprop", {}),
    "RMSprop momentum": ("RMSprop", {"lr": 0.001, "momentum": 0.9, "weight_decay": 0.1}),
    "RMSprop centred": ("RMSprop", {"alpha": 0.9, "centered": True}),
    "RMSprop both": ("RMSprop", {"lr": 0.001, "centered": True, "momentum": 0.8, "eps": 1e-4}),
    "Adagrad": ("Adagrad", {}),
    "Adagrad options": (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
    ),
    "Adadelta": ("Adadelta", {}),
    "Adadelta options": ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    "Rprop": ("Rprop", {}),
    "Rprop options": ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2)}),
}

# Ours alone have these arguments; PyTorch's side does the same by its own functions.
EXTRAS: dict[str, dict[str, float]] = {
    "clip_norm": {"clip_norm": 3.0},
    "clip_value": {"clip_value": 0.5},
    "both": {"clip_value": 0.5, "clip_norm": 1.5},
    "l1": {"l1": 0.05},
}

# name: PyTorch's arguments; base rate 0.1
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "ConstantLR": ("ConstantLR", {"factor": 0.25, "total_iters": 7}),
    "StepLR": ("StepLR", {"step_size": 7, "gamma": 0.3}),
    "MultiStepLR": ("MultiStepLR", {"milestones": [3, 10, 10, 31], "gamma": 0.5}),
    "ExponentialLR": ("ExponentialLR", {"gamma": 0.93}),
    "PolynomialLR": ("PolynomialLR", {"total_iters": 40, "power": 1.0}),
    "PolynomialLR root": ("PolynomialLR", {"total_iters": 33, "power": 0.7}),
    "CosineAnnealingLR": ("CosineAnnealingLR", {"T_max": 17, "eta_min": 0.01}),
    "CosineAnnealingLR once": ("CosineAnnealingLR", {"T_max": 59}),
    "restarts": ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.001}),
    "restarts, equal": ("CosineAnnealingWarmRestarts", {"T_0": 9}),
    "LinearLR": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 21}),
    "OneCycleLR": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60}),
    "OneCycleLR linear": (
        "OneCycleLR",
        {"max_lr": 0.5, "epochs": 6, "steps_per_epoch": 10, "anneal_strategy": "linear",
         "pct_start": 0.4, "div_factor": 10, "final_div_factor": 100},
    ),
    "OneCycleLR three": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "three_phase": True}),
}  # fmt: skip
RATES = 60


def start(dtype: np.dtype) -> list[np.ndarray]:
    """A weight and a bias."""
    random = np.random.RandomState(0)
    return [random.standard_normal(shape).astype(dtype) for shape in ((9, 5), (5,))]


def gradients(dtype: np.dtype, step: int, weights: list[np.ndarray]) -> list[np.ndarray]:
    """Noise around the gradient of 0.15 ||w||^2."""
    random = np.random.RandomState(1 + step)
    return [(random.standard_normal(w.shape) + 0.3 * w).astype(dtype) for w in weights]


def ours(name: str, dtype: np.dtype, extras: dict[str, float] | None = None) -> list[np.ndarray]:
    """The weights after STEPS steps."""
    kind, options = OPTIMIZERS[name]
    parameters = [nn.Parameter(w, n) for w, n in zip(start(dtype), ("weight", "bias"), strict=True)]
    optimizer = getattr(nn.optim, kind)(parameters, **options, **(extras or {}), decay_bias=True)
    for step in range(STEPS):
        found = gradients(dtype, step, [p.data for p in parameters])
        for p, g in zip(parameters, found, strict=True):
            p.grad = g
        optimizer.step()
    return [p.data for p in parameters]


def torchs(name: str, dtype: np.dtype, extras: dict[str, float] | None = None) -> list[np.ndarray]:
    """The same by PyTorch."""
    import torch

    kind, options = OPTIMIZERS[name]
    extras = extras or {}
    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in start(dtype)]
    optimizer = getattr(torch.optim, kind)(parameters, **options)
    for step in range(STEPS):
        found = gradients(dtype, step, [p.detach().numpy() for p in parameters])
        for p, g in zip(parameters, found, strict=True):
            p.grad = torch.tensor(g)
        if "clip_value" in extras:
            torch.nn.utils.clip_grad_value_(parameters, extras["clip_value"])
        if "clip_norm" in extras:
            torch.nn.utils.clip_grad_norm_(parameters, extras["clip_norm"])
        for p in parameters:
            p.grad += extras.get("l1", 0.0) * torch.sign(p.detach())
        optimizer.step()
    return [p.detach().numpy() for p in parameters]


def torch_rates(name: str) -> np.ndarray:
    """The rates of RATES steps by PyTorch."""
    import torch

    kind, options = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    if kind == "OneCycleLR":
        options = {**options, "cycle_momentum": False}
    schedule = getattr(torch.optim.lr_scheduler, kind)(optimizer, **options)
    rates = []
    for _ in range(RATES):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return np.array(rates)
