"""Random orders: the one door of nnlite.data to the Philox generator in C."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from nnlite._core import native

# Purposes keep the streams of one seed apart; nnlite.nn.init has purpose 0.
SHUFFLE = 2
SPLIT = 3
BLOCKS = 4  # the order of blocks of a file
CHUNK = 1 << 31  # + the chunk's index: the order of rows in a chunk of a file


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
        ValueError: an argument outside its range.
        TypeError: an argument that is no integer.

    Source: D. E. Knuth, The Art of Computer Programming 2, algorithm 3.4.2 P; J. Salmon et al.,
    Parallel random numbers: as easy as 1, 2, 3 (2011).
    """
    n = _whole("n", n, 60)  # 2^60 rows are 2^63 bytes
    seed, epoch = _whole("seed", seed, 64), _whole("epoch", epoch, 32)
    order = np.empty(n, dtype=np.int64)
    fill(order, seed, purpose, epoch)
    return order


def fill(order: np.ndarray, seed: int, purpose: int, epoch: int) -> None:
    """Makes `order` (int64, or uint32 of at most 2^32; contiguous) the random order of its indices;
    the caller has checked."""
    status = native.common.random_permutation(
        len(order), native.pointer(order), order.itemsize, seed, purpose, epoch
    )
    if status:
        native.fail("permutation", status)


def _whole(name: str, value: int, bits: int) -> int:
    """An integer in [0, 2^bits), or an exception that says so."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(
            f"permutation: {name}: expected an integer, got {value!r} of type "
            f"{type(value).__name__}; convert it with int()"
        )
    if not 0 <= value < 2**bits:
        raise ValueError(
            f"permutation: {name}: expected 0 <= {name} < 2**{bits}, got {value}; pass a number "
            "of that range"
        )
    return int(value)
