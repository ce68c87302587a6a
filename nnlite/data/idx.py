"""IDX files, the format of MNIST: a magic number, the shape, then big-endian values.

    bytes 0-1   zero
    byte  2     element type (0x08 uint8, 0x09 int8, 0x0B int16, 0x0C int32, 0x0D float32,
                0x0E float64)
    byte  3     number of dimensions d
    4 d bytes   the shape, d unsigned 32-bit integers, big-endian
    the rest    the elements, row by row, big-endian

A header is only a claim: memory grows with the bytes that really arrive, and reading stops one
byte after the declared end, so a small file (or a gzip bomb) cannot make a large array.
"""

from __future__ import annotations

import io
import math
import os
from typing import Any

import numpy as np

from ._errors import DataError, check_regular

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMENSIONS = 32  # what every NumPy allows
_CHUNK = 1 << 20  # bytes read at a time


def load_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file (MNIST's format), plain or compressed with gzip.

    Args:
        path: the file. Compression is recognised by the file's first bytes, not by its name.

    Returns:
        An array of the file's shape, in native byte order, C-contiguous and writable: uint8, int8,
        int16, int32, float32 or float64. MNIST images are (60000, 28, 28) uint8, labels (60000,).

    Raises:
        DataError: the file is no IDX file, is truncated or corrupt, or goes on after its data.
        OSError: it cannot be opened, as where there is none.

    Notes:
        Memory: up to 9/8 of the array and a buffer of 1 MB; never more than the file has data for.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, "The IDX file format".
    """
    name = os.fspath(path)
    check_regular(name, "load_idx: ")
    with open(name, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            return _read(file, name)
        import gzip  # here alone, so that importing nnlite.data stays cheap
        import zlib

        try:
            with gzip.GzipFile(fileobj=file) as stream:
                return _read(stream, name)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _bad(
                name, "is not a sound gzip file", "a complete one", str(error), ""
            ) from error


def _read(file: io.BufferedIOBase, name: str) -> np.ndarray:
    """Header, data and the check that nothing follows."""
    dtype, shape = _read_header(file, name)
    size = math.prod(shape) * dtype.itemsize
    data = take(file, size + 1)
    if len(data) != size:
        got = "more" if len(data) > size else f"only {len(data)}"
        raise _bad(
            name, "has the wrong length", f"{size} bytes of data, {shape} {dtype.name}", got, "data"
        )
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    native = dtype.newbyteorder("=")
    return array if dtype == native else array.byteswap(inplace=True).view(native)


def _read_header(file: io.BufferedIOBase, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    """The dtype (big-endian) and the shape that the file declares."""
    magic = take(file, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        expected = "00 00, then 08, 09, 0b, 0c, 0d or 0e, then the number of dimensions"
        raise _bad(name, "does not start as an IDX file", expected, magic.hex(" ") or "no bytes")
    if not 1 <= magic[3] <= _MAX_DIMENSIONS:
        raise _bad(name, "has a bad rank", f"1 to {_MAX_DIMENSIONS} dimensions", str(magic[3]))
    sizes = take(file, 4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise _bad(name, "ends in its header", f"{magic[3]} sizes", f"{len(sizes)} bytes of them")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    dtype = np.dtype(_DTYPES[magic[2]])
    if math.prod(size for size in shape if size) * dtype.itemsize > np.iinfo(np.int64).max:
        raise _bad(name, "declares a size that overflows", "less than 2^63 bytes", f"shape {shape}")
    return dtype, shape


def take(file: Any, count: int) -> bytearray:
    """The next `count` bytes, or as many as there are."""
    data = bytearray()
    while len(data) < count:
        piece = file.read(min(_CHUNK, count - len(data)))
        if not piece:
            break
        data += piece
    return data


def _bad(name: str, what: str, expected: str, got: str, place: str = "header") -> DataError:
    cure = "fetch the file again, or check that it is the right one"
    reason = f"{what}: expected {expected}, got {got}; {cure}"
    return DataError(f"load_idx: {name!r} {reason}", name, place, reason)
