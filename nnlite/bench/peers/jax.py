"""JAX: the whole training step, or the whole forward pass, as one jit-compiled function."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from nnlite._core.config import available_cores
from nnlite.bench.peers import PeerError
from nnlite.bench.workloads import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, Task

# XLA reads this once, when its CPU client starts.
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def _import(task: Task) -> Any:
    """JAX on the CPU with that number of threads."""
    flags = os.environ.get("XLA_FLAGS", "")
    if task.threads == 1 and ONE_THREAD not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {ONE_THREAD}".strip()
    elif task.threads not in (None, 1, available_cores()):
        raise PeerError(
            f"bench: peer jax runs on one thread or on all cores, not on {task.threads} threads: "
            "leave --threads out, or limit the cores with taskset"
        )
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax  # type: ignore[import-not-found]

    return jax


def _logits(jax: Any, layers: Any, x: Any, residual: bool) -> Any:
    *hidden, (weight, bias) = layers
    if residual:
        for (w1, b1), (w2, b2) in zip(hidden[::2], hidden[1::2], strict=True):
            x = x + (jax.nn.relu(x @ w1 + b1) @ w2 + b2)
    else:
        for w, b in hidden:
            x = jax.nn.relu(x @ w + b)
    return x @ weight + bias


def _sgd(jax: Any, layers: Any, grads: Any, state: Any) -> tuple[Any, Any]:
    tree = jax.tree.map
    state = tree(lambda v, g, w: MOMENTUM * v + g + WEIGHT_DECAY * w, state, grads, layers)
    return tree(lambda w, v: w - LEARNING_RATE * v, layers, state), state


def _adam(jax: Any, layers: Any, grads: Any, state: Any) -> tuple[Any, Any]:
    tree, (mean, square, step) = jax.tree.map, state
    step = step + 1
    mean = tree(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
    square = tree(lambda s, g: 0.999 * s + 0.001 * g * g, square, grads)
    rate = LEARNING_RATE / (1 - 0.9**step)
    scale = 1 / (1 - 0.999**step)
    layers = tree(
        lambda w, m, s: w - rate * m / (jax.numpy.sqrt(s * scale) + 1e-8), layers, mean, square
    )
    return layers, (mean, square, step)


def training(task: Task) -> Callable[[], float]:
    jax = _import(task)
    adam = task.workload.optimizer == "adam"
    layers = jax.tree.map(jax.numpy.array, task.layers)
    zeros = jax.tree.map(jax.numpy.zeros_like, layers)
    state = (zeros, jax.tree.map(jax.numpy.copy, zeros), 0.0) if adam else zeros
    x, y = jax.numpy.array(task.x), jax.numpy.array(task.y)
    update = _adam if adam else _sgd

    def loss_of(layers: Any) -> Any:
        logarithms = jax.nn.log_softmax(_logits(jax, layers, x, task.workload.residual))
        return -jax.numpy.mean(logarithms[jax.numpy.arange(len(y)), y])

    def step_of(layers: Any, state: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(layers)
        return loss, *update(jax, layers, grads, state)

    compiled = jax.jit(step_of, donate_argnums=(0, 1))

    def step() -> float:
        nonlocal layers, state
        loss, layers, state = compiled(layers, state)
        jax.block_until_ready(layers)
        return float(loss)

    return step


def inference(task: Task) -> Callable[[], Any]:
    jax = _import(task)
    layers, x = jax.tree.map(jax.numpy.array, task.layers), jax.numpy.array(task.x)
    residual = task.workload.residual
    compiled = jax.jit(lambda layers, x: _logits(jax, layers, x, residual))
    return lambda: np.asarray(compiled(layers, x))
