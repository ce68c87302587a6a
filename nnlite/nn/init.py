"""Initial weights, from the counter-based generator: the same bits on every machine.

fan_in and fan_out are the numbers of inputs and outputs of one unit. Sources: He, Zhang, Ren, Sun,
"Delving deep into rectifiers", ICCV 2015 (he_*: variance 2 / fan_in keeps the scale of activations
through ReLU layers); Glorot, Bengio, "Understanding the difficulty of training deep feedforward
neural networks", AISTATS 2010 (glorot_*: variance 2 / (fan_in + fan_out), for tanh and linear).
"""

from __future__ import annotations

import math

import numpy as np

from .._core import check, native
from .._core.config import claim, is_rebuilding, next_stream

INIT_PURPOSE = 0  # Philox streams of initial weights; nnlite.data names the others


def _uniform(shape: tuple[int, ...], dtype: np.dtype, bound: float) -> np.ndarray:
    claim(math.prod(shape) * dtype.itemsize, take=False)
    if is_rebuilding():
        return np.zeros(shape, dtype)
    out = np.empty(shape, dtype)
    seed, number = next_stream()
    kernels, pointer = native.kernels(dtype), native.pointer(out)
    status = kernels.random_uniform(out.size, pointer, -bound, bound, seed, INIT_PURPOSE, number)
    if status:
        native.fail("init", status)
    return out


def _normal(shape: tuple[int, ...], dtype: np.dtype, std: float) -> np.ndarray:
    claim(math.prod(shape) * dtype.itemsize, take=False)
    if is_rebuilding():
        return np.zeros(shape, dtype)
    out = np.empty(shape, dtype)
    seed, number = next_stream()
    kernels, pointer = native.kernels(dtype), native.pointer(out)
    status = kernels.random_normal(out.size, pointer, 0.0, std, seed, INIT_PURPOSE, number)
    if status:
        native.fail("init", status)
    return out


def he_uniform(fan_in: int, fan_out: int, dtype: np.dtype) -> np.ndarray:
    """(fan_in, fan_out) from U(-b, b), b = sqrt(6 / fan_in)."""
    return _uniform((fan_in, fan_out), dtype, math.sqrt(6 / max(fan_in, 1)))


def he_normal(fan_in: int, fan_out: int, dtype: np.dtype) -> np.ndarray:
    """(fan_in, fan_out) from N(0, 2 / fan_in)."""
    return _normal((fan_in, fan_out), dtype, math.sqrt(2 / max(fan_in, 1)))


def glorot_uniform(fan_in: int, fan_out: int, dtype: np.dtype) -> np.ndarray:
    """(fan_in, fan_out) from U(-b, b), b = sqrt(6 / (fan_in + fan_out))."""
    return _uniform((fan_in, fan_out), dtype, math.sqrt(6 / max(fan_in + fan_out, 1)))


def glorot_normal(fan_in: int, fan_out: int, dtype: np.dtype) -> np.ndarray:
    """(fan_in, fan_out) from N(0, 2 / (fan_in + fan_out))."""
    return _normal((fan_in, fan_out), dtype, math.sqrt(2 / max(fan_in + fan_out, 1)))


def normal(fan_in: int, fan_out: int, dtype: np.dtype, std: float = 0.01) -> np.ndarray:
    """(fan_in, fan_out) from N(0, std^2)."""
    return _normal((fan_in, fan_out), dtype, check.number("init.normal", "std", std, 0))


INITIALISERS = {
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
}
