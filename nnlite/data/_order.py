"""Random orders: the one door of nnlite.data to the Philox generator in C."""

from __future__ import annotations

import numpy as np

from nnlite._core import check, native

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
    n = check.unsigned("permutation", "n", n, 60)  # 2^60 rows are 2^63 bytes
    seed = check.unsigned("permutation", "seed", seed, 64)
    epoch = check.unsigned("permutation", "epoch", epoch, 32)
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
