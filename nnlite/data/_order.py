"""Random orders: the one door of nnlite.data to the Philox generator in C."""

from __future__ import annotations

import operator

import numpy as np

# The purpose separates streams of one seed: the batches of epoch 0 are not the split's order.
SHUFFLE = 1
SPLIT = 2


def permutation(n: int, seed: int, epoch: int = 0, *, purpose: int = SHUFFLE) -> np.ndarray:
    """A random order of 0..n-1: the order of the rows in an epoch of training.

    Fisher and Yates' shuffle, driven by Philox4x32-10 at (seed, purpose, epoch).

    Args:
        n: number of rows, at least 0.
        seed: 0 to 2^64 - 1.
        epoch: 0 to 2^32 - 1. Each epoch has its own order, which needs no earlier one.
        purpose: which of the seed's independent streams.

    Returns:
        int64, shape (n,). The same arguments give the same order on every machine.

    Raises:
        ValueError: an argument outside its range. TypeError: not an integer.

    Source: D. E. Knuth, The Art of Computer Programming 2, algorithm 3.4.2 P; J. Salmon et al.,
    Parallel random numbers: as easy as 1, 2, 3 (2011).
    """
    from nnlite import _native

    n = _whole("n", n, 63)
    seed, epoch = _whole("seed", seed, 64), _whole("epoch", epoch, 32)
    order = np.empty(n, dtype=np.int64)
    status = _native.common.random_permutation(n, _native.pointer(order), seed, purpose, epoch)
    _native.check(status, "permutation")
    return order


def _whole(name: str, value: int, bits: int) -> int:
    """An integer in [0, 2^bits), or an error that says so."""
    try:
        number = operator.index(value)
    except TypeError:
        got = f"{value!r} of type {type(value).__name__}"
        message = f"permutation: {name} must be an integer, got {got}; convert it with int()"
        raise TypeError(message) from None
    if not 0 <= number < 2**bits:
        message = f"permutation: {name} must lie in [0, 2^{bits}), got {number}"
        raise ValueError(f"{message}; pass a number of that range")
    return number
