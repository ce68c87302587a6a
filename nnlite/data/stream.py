"""Rows from files larger than memory: block shuffle, a thread that reads ahead, bounded memory.

An epoch's order is a random order of blocks (256 KiB of neighbouring rows each); the blocks, one
after the other, are cut into chunks of equal length, and the rows of a chunk are shuffled in RAM:

    blocks of the file       0 1 2 3 4 5 6 7
    in the epoch's order     5 2 7 0 | 3 6 1 4        | is the end of a chunk
    rows                     all rows of {5 2 7 0} in random order | all rows of {3 6 1 4} ...

So each row comes exactly once, the disk reads long runs, and neighbours in the file part ways. The
order is a function of seed, epoch, the file's shape and dtype, the chunk's length (from the memory
budget, the batch size and the dtypes) and nothing else: threads and timing do not enter.

The file is read, not mapped: pages of a map would count as resident memory of the process, and a
file that another process cuts short would end this one by SIGBUS. Two chunks live at a time, one in
use and one being filled by the thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from . import _order
from .prefetch import prefetched
from .rows import Rows, row_bytes

BLOCK_BYTES = 1 << 18
MAX_BLOCKS = 1 << 20  # a larger file has larger blocks, so that their order stays small
ROW_INDEX = 8  # bytes of an int64 in the order of the rows

Pair = tuple[np.ndarray, np.ndarray]
Chunk = tuple[np.ndarray, np.ndarray, np.ndarray]


class StreamSource:
    """Rows of X in a file (and of y in a file or in RAM), given chunk by chunk.

    The protocol is that of `nnlite.data.source`.
    """

    own_batches = one_shot = False

    def __init__(
        self, X: Rows, y: Rows, dtype: np.dtype, target_dtype: np.dtype, memory_budget: int
    ) -> None:
        self._X, self._y = X, y
        self.dtype, self.target_dtype, self.memory_budget = dtype, target_dtype, memory_budget
        self.rows, self.shape, self.target_shape = X.shape[0], X.shape[1:], y.shape[1:]
        self.width = math.prod(self.shape)
        width = max(1, row_bytes(X.shape, X.dtype))
        self._spare: list[Chunk] = []  # buffers of the last epoch
        self.block_rows = max(1, BLOCK_BYTES // width, -(-self.rows // MAX_BLOCKS))

    def chunk_rows(self, batch_size: int) -> int:
        """Rows of a chunk: the most whole batches of which two chunks fit the budget.

        Raises:
            ValueError: not even two batches fit.
        """
        sizes = ((self._X, self.dtype), (self._y, self.target_dtype))
        row = ROW_INDEX + sum(row_bytes(part.shape, dtype) for part, dtype in sizes)
        beside = -(-self.rows // self.block_rows) * ROW_INDEX  # the order of the blocks
        beside += sum(part.staging(dtype) for part, dtype in sizes)
        batch = min(batch_size, self.rows)
        batches = (self.memory_budget - beside) // (2 * row * batch)
        if batches < 1:
            need = beside + 2 * row * batch
            raise ValueError(
                f"source: memory_budget: two batches of {batch} rows take {need} bytes, got "
                f"{self.memory_budget}; give more memory, or a smaller batch_size"
            )
        return min(self.rows, batches * batch)

    def signature(self, batch_size: int) -> dict[str, Any]:
        """What the order of the rows depends on, beside (seed, epoch): a resumed fit needs it."""
        return {
            "rows": self.rows,
            "shape": list(self.shape),
            "block_rows": self.block_rows,
            "chunk_rows": self.chunk_rows(batch_size),
        }

    def head(self, rows: int = 1) -> Pair:
        """The first rows of X and y."""
        return self._load(0, min(rows, self.rows))

    def _load(self, start: int, count: int) -> Pair:
        pair = self._buffers(count)[:2]
        for part, dtype, out in zip(
            (self._X, self._y), (self.dtype, self.target_dtype), pair, strict=True
        ):
            reader = part.reader(dtype)
            try:
                reader.into(start, out)
            finally:
                reader.close()
        return pair

    def targets(self) -> Iterator[tuple[int, np.ndarray]]:
        """All targets in the file's order: (index of the first, a part of them)."""
        width = max(1, row_bytes(self._y.shape, self.target_dtype))
        part = np.empty((max(1, BLOCK_BYTES // width), *self.target_shape), self.target_dtype)
        reader = self._y.reader(self.target_dtype)
        try:
            for start in range(0, self.rows, len(part)):
                found = part[: self.rows - start]
                reader.into(start, found)
                yield start, found
        finally:
            reader.close()

    def epoch(
        self, seed: int, epoch: int, batch_size: int, shuffle: bool = True, skip_batches: int = 0
    ) -> Iterator[Chunk]:
        """The chunks of an epoch; see `nnlite.data.source`."""
        size = self.chunk_rows(batch_size)
        plan = _Plan(self.rows, self.block_rows, size)
        if shuffle:
            plan.shuffle(seed, epoch)
        first, skipped_rows = divmod(skip_batches * batch_size, size)
        chunks = range(first, plan.chunks)
        if not chunks:
            return
        readers: list[Any] = []
        buffers: list[Chunk] = []
        try:
            readers.append(self._X.reader(self.dtype))
            readers.append(self._y.reader(self.target_dtype))

            def fill(chunk: int, buffers: Chunk, stopped: Callable[[], bool]) -> Chunk:
                rows = plan.rows_of(chunk)
                X, y, order = (buffer[:rows] for buffer in buffers)
                to = 0
                for start, count in plan.pieces(chunk):
                    if stopped():
                        break
                    part = slice(to, to + count)
                    for reader, out in zip(readers, (X, y), strict=True):
                        reader.into(start, out[part])
                    order[part] = np.arange(part.start, part.stop)
                    to += count
                if shuffle:
                    _order.fill(order, seed, _order.CHUNK + chunk, epoch)
                return X, y, order

            buffers = self._take(size, min(2, len(chunks)))
            with closing(prefetched(fill, chunks, buffers)) as filled:
                for X, y, order in filled:
                    yield X, y, order[skipped_rows:]
                    skipped_rows = 0
        finally:
            self._spare = buffers
            for reader in readers:
                reader.close()

    def _take(self, rows: int, count: int) -> list[Chunk]:
        """Buffers for chunks: those of the last epoch, which its consumer may still refer to."""
        spare, self._spare = self._spare, []
        if len(spare) == count and len(spare[0][0]) == rows:
            return spare
        spare.clear()
        return [self._buffers(rows) for _ in range(count)]

    def _buffers(self, rows: int) -> Chunk:
        return (
            np.empty((rows, *self.shape), self.dtype),
            np.empty((rows, *self.target_shape), self.target_dtype),
            np.empty(rows, np.int64),
        )


class _Plan:
    """Which rows of the file are in which chunk: blocks one after the other, cut into chunks."""

    def __init__(self, rows: int, block_rows: int, chunk_rows: int) -> None:
        self._rows, self._block_rows, self._chunk_rows = rows, block_rows, chunk_rows
        self.chunks = -(-rows // chunk_rows)
        self._order: np.ndarray | None = None
        self._last = 0  # where the last block of the file, perhaps a short one, is in the order

    def shuffle(self, seed: int, epoch: int) -> None:
        blocks = -(-self._rows // self._block_rows)
        self._order = _order.permutation(blocks, seed, epoch, purpose=_order.BLOCKS)
        self._last = int(np.flatnonzero(self._order == blocks - 1)[0])

    def rows_of(self, chunk: int) -> int:
        return min(self._chunk_rows, self._rows - chunk * self._chunk_rows)

    def pieces(self, chunk: int) -> list[tuple[int, int]]:
        """(first row, count) of the runs of rows in a chunk, in the order of the file."""
        at, size = chunk * self._chunk_rows, self._block_rows
        end = at + self.rows_of(chunk)
        if self._order is None:
            return [(start, min(size, end - start)) for start in range(at, end, size)]
        found = []
        i = at // size  # the block at this place or, after a short block, the next
        while at < end:
            block = int(self._order[i])
            begin = self._begin(i)
            stop = min(end, begin + min(size, self._rows - block * size))
            if stop > at:
                found.append((block * size + at - begin, stop - at))
                at = stop
            i += 1
        return sorted(found)

    def _begin(self, i: int) -> int:
        """Rows before the i-th block of the order."""
        short = -self._rows % self._block_rows
        return i * self._block_rows - (short if i > self._last else 0)
