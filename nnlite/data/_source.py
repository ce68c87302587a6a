"""Where training data come from: arrays, files larger than memory, iterables of batches.

`source(X, y, ...)` gives all three one form. A source has

    rows            number of rows; None for an iterable, which does not tell
    shape, width    shape of a row of X; the product of its sizes
    target_shape    shape of a row of y; () for classes and for one plain number
    own_batches     True for an iterable: each chunk is one batch, whatever batch_size says
    one_shot        True for an iterator: it can be gone through once
    head(rows)      the first rows, (X, y)
    targets()       all targets in order, in parts: (index of the first row, y); nothing for an
                    iterable
    signature(batch_size)   dict for JSON: what the order depends on, beside (seed, epoch)
    epoch(seed, epoch, batch_size, shuffle=True, skip_batches=0)

and an epoch is an iterator of chunks (X, y, order):

    X      (count, *shape), C-contiguous, in the model's dtype; for an array the array itself
    y      (count, *target_shape), C-contiguous, in the target's dtype
    order  int64: indices of rows of this chunk, in the order in which they are to be trained

A chunk is valid until the next one, or the next epoch, is asked for. Batches are
order[0:batch_size], and so on: every chunk but the epoch's last holds whole batches, so that only
the epoch's last batch can be smaller. Each row comes once in an epoch. The order is a pure function
of seed and epoch and of what `signature` tells. `skip_batches=n` gives exactly what follows the
n-th batch of the full epoch; a file's chunks before it are not read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._core import check
from ..nn.module import converted, rows_of
from ._errors import DataError, data_error
from ._npy import ONE, open_npy
from ._order import permutation
from .batches import BatchSource
from .rows import ArrayRows, FileRows, Rows, file_rows, row_bytes
from .stream import Chunk, Pair, StreamSource

MEMORY_BUDGET = 1 << 28


class ArraySource:
    """Rows in RAM: an epoch is one chunk, the arrays themselves."""

    own_batches = one_shot = False

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.X, self.y = X, y
        self.rows, self.shape, self.target_shape = len(X), X.shape[1:], y.shape[1:]
        self.width = math.prod(self.shape)

    def head(self, rows: int = 1) -> Pair:
        """The first rows of X and y."""
        return self.X[:rows], self.y[:rows]

    def targets(self) -> Iterator[tuple[int, np.ndarray]]:
        """All targets, in one part."""
        yield 0, self.y

    def signature(self, batch_size: int) -> dict[str, Any]:
        """What the order of the rows depends on, beside (seed, epoch)."""
        return {"rows": self.rows, "shape": list(self.shape)}

    def epoch(
        self, seed: int, epoch: int, batch_size: int, shuffle: bool = True, skip_batches: int = 0
    ) -> Iterator[Chunk]:
        """The one chunk of an epoch."""
        order = permutation(self.rows, seed, epoch) if shuffle else np.arange(self.rows)
        order = order[skip_batches * batch_size :]
        if len(order):
            yield self.X, self.y, order


def source(
    X: Any,
    y: Any = None,
    dtype: Any = np.float32,
    target_dtype: Any = None,
    memory_budget: int = MEMORY_BUDGET,
) -> ArraySource | StreamSource | BatchSource:
    """Training data in the form that the trainer takes.

    Args:
        X: one of
            an array or a list of rows: converted once, or taken as it is where it fits;
            a memory map (np.load(path, mmap_mode="r")), or the path of a .npy file: read into RAM
            once when all of it fits the budget, else streamed with block shuffle, chunk by chunk;
            an iterable of pairs (x, y), such as a list of batches or an iterator, or a function
            that returns one: without arguments, or called with the number of the epoch. Each pair
            is a batch.
        y: one target for each row, in RAM, a memory map or a path; None for an iterable of pairs.
        dtype: the model's dtype, np.float32 or np.float64.
        target_dtype: np.int64 for classes, else the model's dtype; default by y: int64 for integers
            and bool.
        memory_budget: bytes for the rows of a file, at least two batches; default 256 MiB. Arrays
            in RAM do not count. More memory mixes the rows better. The order of the rows depends
            on it.

    Returns:
        A source; the module's text describes it.

    Raises:
        TypeError: X or y is of no such kind, or y has no integers where classes are expected.
        ValueError: rows of X and y differ in number, or there are none.
        DataError: the same, or any other fault, of data that a path leads to; it is a ValueError.
        OSError: a file cannot be opened.

    Source: block shuffle as in L. Bottou's advice for data on disk, Stochastic gradient descent
    tricks (2012), section 3; with Philox orders (see `permutation`).
    """
    dtype = check.float_dtype("source", dtype)
    memory_budget = check.size("source", "memory_budget", memory_budget)
    X, X_path = _opened("X", X), _path(X)
    if y is None:
        return BatchSource(X, dtype, _target_dtype(target_dtype, dtype))
    y, y_path = _opened("y", y), _path(y)
    found, targets = _rows("X", X), _rows("y", y)
    if targets.shape[0] != found.shape[0]:
        raise _unfit(
            y_path or X_path,
            f"source: y has {targets.shape[0]} rows, X has {found.shape[0]}; pass one target for "
            "each row",
        )
    if not found.shape[0]:
        raise _unfit(X_path, "source: X has 0 rows; pass at least one")
    target_dtype = _checked_target_dtype(targets.dtype, target_dtype, dtype, y_path)
    if not isinstance(found, FileRows):
        return ArraySource(
            _in_ram("X", found, dtype, memory_budget),
            _in_ram("y", targets, target_dtype, memory_budget),
        )
    stream = StreamSource(found, targets, dtype, target_dtype, memory_budget)
    row = row_bytes(found.shape, dtype) + row_bytes(targets.shape, target_dtype)
    if row * stream.rows > memory_budget:
        return stream
    return ArraySource(*stream.head(stream.rows))


def _in_ram(name: str, rows: Rows, dtype: np.dtype, memory_budget: int) -> np.ndarray:
    """Rows as one array that kernels can read: without a copy where they are one already."""
    if isinstance(rows, FileRows):
        out = np.empty(rows.shape, dtype)
        reader = rows.reader(dtype)
        try:
            reader.into(0, out)
        finally:
            reader.close()
        return out
    array, bytes_needed = rows.array, row_bytes(rows.shape, dtype) * rows.shape[0]
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return array
    if rows.mapped and bytes_needed > memory_budget:
        raise ValueError(
            f"source: {name}: a copy-on-write map, or a view of a map that leaves out elements, is "
            f"copied, and its {bytes_needed} bytes are over the memory_budget of {memory_budget}; "
            "map with mmap_mode='r' and take whole rows, or save the part that is needed"
        )
    return converted(array, dtype)


def _path(value: Any) -> str | None:
    return os.fspath(value) if isinstance(value, (str, os.PathLike)) else None


def _unfit(path: str | None, message: str, kind: type[Exception] = ValueError) -> Exception:
    """A DataError that names the file where the data came from one, else an error of that kind."""
    if path is None:
        return kind(message)
    return DataError(f"{message} (from {path!r})", path, "", message)


def _opened(name: str, value: Any) -> Any:
    """A path's array as a memory map; anything else as it is."""
    if not isinstance(value, (str, os.PathLike)):
        return value
    path, prefix = os.fspath(value), f"source: {name}: "
    array = open_npy(path, prefix)
    if array.dtype.kind not in "fiub" or not array.ndim:
        got = f"{array.dtype}, shape {array.shape}"
        raise data_error(path, "", f"holds {got}, expected rows of real numbers; {ONE}", prefix)
    if not array.flags.c_contiguous:
        reason = "is stored column by column (Fortran order), so that no row lies together; save "
        raise data_error(path, "", reason + "np.ascontiguousarray(array)", prefix)
    return array


def _rows(name: str, value: Any) -> Rows:
    """Rows in a file or in RAM, of real numbers."""
    if type(value) is np.memmap and value.ndim and value.dtype.kind in "fiub":
        rows = file_rows(value)
        if rows is not None:
            return rows
    return ArrayRows(rows_of("source", name, value), name, isinstance(value, np.memmap))


def _target_dtype(wanted: Any, dtype: np.dtype) -> np.dtype | None:
    if wanted is None or np.dtype(wanted) in (dtype, check.INT64):
        return None if wanted is None else np.dtype(wanted)
    raise TypeError(f"source: target_dtype: expected np.int64 or np.{dtype}, got {wanted!r}")


def _checked_target_dtype(
    found: np.dtype, wanted: Any, dtype: np.dtype, path: str | None
) -> np.dtype:
    """The dtype of targets, which these targets can be converted to without loss of meaning."""
    target = _target_dtype(wanted, dtype) or (check.INT64 if found.kind in "iub" else dtype)
    if target == check.INT64 and found.kind == "f":
        message = (
            f"source: y: expected class indices as integers, got {found}; check the values and "
            "convert with y.astype(np.int64)"
        )
        raise _unfit(path, message, TypeError)
    return target


__all__ = ["MEMORY_BUDGET", "ArraySource", "BatchSource", "StreamSource", "source"]
