"""Rows in a file or in RAM, read piece by piece in the dtype that is wanted."""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ._errors import DataError, data_error

STAGE_BYTES = 1 << 18  # rows read at a time where their dtype must be converted


@dataclass(frozen=True)
class FileRows:
    """An array of rows in a file: C order, from byte `offset` on."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    identity: tuple[int, int, int]  # device, inode and size of the file that was mapped

    def reader(self, dtype: np.dtype) -> _FileReader:
        """An open file that gives these rows in a dtype; the caller closes it."""
        return _FileReader(self, dtype)

    def staging(self, dtype: np.dtype) -> int:
        """Bytes that a reader needs of its own."""
        return 0 if dtype == self.dtype else self._stage_rows() * row_bytes(self.shape, self.dtype)

    def _stage_rows(self) -> int:
        return max(1, STAGE_BYTES // max(1, row_bytes(self.shape, self.dtype)))


def file_rows(array: Any) -> FileRows | None:
    """Where the rows of a memory map lie in its file; None for what must be read as an array.

    None: no memory map; a view that skips or reorders elements; a copy-on-write map, whose changes
    are not in the file.

    Raises:
        OSError: the file is gone.
        DataError: another file has the name now, or the file has become shorter.
    """
    root = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap.mmap):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode == "c" or not array.flags.c_contiguous:
        return None
    if not root.filename:
        return None
    start = np.frombuffer(cast(mmap.mmap, root.base), np.uint8).__array_interface__["data"][0]
    address = array.__array_interface__["data"][0]
    offset = root.offset - root.offset % mmap.ALLOCATIONGRANULARITY + address - start
    path = os.fspath(root.filename)
    rows = FileRows(path, offset, array.shape, array.dtype, _identity(os.stat(path)))
    _check_is_mapped(rows, array)
    return rows


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_size


def _check_is_mapped(rows: FileRows, array: np.ndarray) -> None:
    """Compares the first and the last row: the name may belong to another file by now."""
    for index in {0, len(array) - 1} if array.size else ():
        row = np.empty((1, *array.shape[1:]), array.dtype)
        reader = rows.reader(array.dtype)
        try:
            reader.into(index, row)
        finally:
            reader.close()
        if row.tobytes() != array[index].tobytes():
            raise data_error(
                rows.path,
                "",
                f"is another file than the one that was mapped (row {index} differs); open it "
                "again with np.load(path, mmap_mode='r')",
                "source: ",
            )


class _FileReader:
    """Reads rows of one file, with a staging buffer where their dtype must be converted."""

    def __init__(self, rows: FileRows, dtype: np.dtype) -> None:
        self._rows, self._width = rows, row_bytes(rows.shape, rows.dtype)
        self._stage = None
        if rows.dtype != dtype:
            self._stage = np.empty((rows._stage_rows(), *rows.shape[1:]), rows.dtype)
        self._file = open(rows.path, "rb", buffering=0)  # noqa: SIM115
        if _identity(os.fstat(self._file.fileno())) != rows.identity:
            self._file.close()
            raise data_error(
                rows.path,
                "",
                "was replaced, or its length changed, since it was opened; leave the file alone "
                "while it is read",
                "source: ",
            )

    def into(self, start: int, out: np.ndarray) -> None:
        """Fills contiguous rows with those from `start` on."""
        if self._stage is None:
            self._read(start, out)
            return
        for low in range(0, len(out), len(self._stage)):
            part = self._stage[: len(out) - low]
            self._read(start + low, part)
            try:
                convert(part, out[low : low + len(part)], self._rows.path)
            except ValueError as error:
                raise DataError(str(error), self._rows.path) from None

    def _read(self, start: int, out: np.ndarray) -> None:
        view = out.reshape(-1).view(np.uint8).data
        self._file.seek(self._rows.offset + start * self._width)
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done:])
            if not count:
                raise data_error(
                    self._rows.path,
                    "",
                    f"ends within row {start + done // self._width} of {self._rows.shape[0]}; it "
                    "was cut short while it was read",
                    "source: ",
                )
            done += count

    def close(self) -> None:
        self._file.close()


class ArrayRows:
    """Rows in RAM, or in a map that only NumPy can read, with the interface of FileRows."""

    def __init__(self, array: np.ndarray, name: str, mapped: bool = False) -> None:
        self.array, self.name, self.mapped = array, name, mapped
        self.shape, self.dtype = array.shape, array.dtype

    def reader(self, dtype: np.dtype) -> ArrayRows:
        return self

    def staging(self, dtype: np.dtype) -> int:
        return 0

    def into(self, start: int, out: np.ndarray) -> None:
        convert(self.array[start : start + len(out)], out, self.name)

    def close(self) -> None:
        pass


Rows = FileRows | ArrayRows


def convert(rows: np.ndarray, out: np.ndarray, name: str) -> None:
    """out = rows, in out's dtype; a finite number too large for it is an error."""
    try:
        with np.errstate(over="raise", invalid="ignore"):  # a signalling NaN becomes a quiet one
            np.copyto(out, rows, casting="unsafe")
    except FloatingPointError:
        raise ValueError(
            f"source: {name}: a number of the {rows.dtype} rows is too large for {out.dtype}; "
            "scale the data, or use a float64 model"
        ) from None


def row_bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes of one row."""
    return math.prod(shape[1:]) * dtype.itemsize
