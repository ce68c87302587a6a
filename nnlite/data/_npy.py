"""Arrays of .npy and .npz files, read without trust.

    6 bytes      \x93NUMPY
    2 bytes      version: 1.0, 2.0 or 3.0
    2 or 4       length of the header, little-endian
    header       text of a dict: {'descr': dtype, 'fortran_order': bool, 'shape': tuple}
    the rest     the elements

A header is only a claim: it is compared with the size of the file before any memory is taken, and
what is packed (.npz) is unpacked piece by piece, so that memory grows with the bytes that arrive.
Nothing in a file is run, and every fault of a file is a DataError.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import math
import os
import re
import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ._errors import DataError, check_regular, data_error
from .idx import take

MAGIC = b"\x93NUMPY"
HEADER_LIMIT = 10_000  # bytes; NumPy takes no longer one from a file that is not trusted
MAX_DIMENSIONS = 32  # what every NumPy allows
_PYTHON_2 = re.compile(r"(?<=\d)L(?=[,)])")  # 3L is how Python 2 wrote a long number
ONE = "save one array with np.save(path, array)"
FIX = "save it again with np.save or np.savez"


class Header(NamedTuple):
    """What a .npy file says of its array; its elements begin at byte `offset`."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    offset: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: Any, size: int, path: Any, place: str = "", prefix: str = "") -> Header:
    """The header of a .npy file of `size` bytes, from its begin on.

    Args:
        file: binary, at the begin.
        size: bytes of the file, or of the member of an archive, from here on.
        path, place, prefix: for messages.

    Raises:
        DataError: it is no such file, or claims what it cannot hold.
    """

    def fail(reason: str) -> DataError:
        where = f"{place}, header" if place else "header"
        return data_error(path, where, f"not a sound .npy file: {reason}; {FIX}", prefix)

    begin = take(file, 8)
    if bytes(begin[:6]) != MAGIC:
        raise data_error(path, place, f"is not a .npy file; {ONE}", prefix)
    if len(begin) < 8 or begin[6] not in (1, 2, 3) or begin[7]:
        raise fail(f"expected version 1, 2 or 3 of the format, got {begin[6:].hex(' ') or 'none'}")
    width = 2 if begin[6] == 1 else 4
    length = take(file, width)
    count = int.from_bytes(length, "little")
    offset = 8 + width + count
    if len(length) < width or offset > size or count > HEADER_LIMIT:
        raise fail(f"it claims {count} bytes of a file of {size}; at most {HEADER_LIMIT} are")
    text = take(file, count)
    try:
        header = Header(*_parsed(text.decode("utf-8" if begin[6] == 3 else "latin1")), offset)
    except ValueError as error:
        raise fail(str(error)) from None
    if header.bytes != size - offset:
        raise fail(
            f"it claims shape {_short(header.shape)} of {header.dtype}, {header.bytes} bytes; the "
            f"file has {size - offset}"
        )
    return header


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _parsed(text: str) -> tuple[np.dtype, tuple[int, ...], bool]:
    """(dtype, shape, fortran_order); ValueError where the text is not what np.save writes."""
    try:
        with warnings.catch_warnings():  # of a compiler that finds odd texts
            warnings.simplefilter("ignore")
            found = ast.literal_eval(_PYTHON_2.sub("", text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict) or set(found) != {"descr", "fortran_order", "shape"}:
        raise ValueError("expected a dict with descr, fortran_order and shape")
    shape, fortran = found["shape"], found["fortran_order"]
    if type(fortran) is not bool:
        raise ValueError(f"fortran_order: expected True or False, got {_short(fortran)}")
    whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"shape: expected sizes from 0, got {_short(shape)}")
    dtype = _dtype(found["descr"])
    if math.prod(n for n in shape if n) * max(1, dtype.itemsize) >= 2**63:
        raise ValueError(f"shape {_short(shape)} of {dtype} is larger than any array")
    if dtype.itemsize == 0 and math.prod(shape):
        raise ValueError(f"elements of {dtype} have no bytes")
    return dtype, shape, fortran


def _dtype(description: Any) -> np.dtype:
    try:
        with warnings.catch_warnings():  # of aliases that NumPy gives up
            warnings.simplefilter("ignore")
            dtype = np.lib.format.descr_to_dtype(description)
    except Exception as error:  # the parser's errors are of many kinds
        raise ValueError(f"descr: {_short(description)} is no dtype ({_short(error)})") from None
    if not isinstance(dtype, np.dtype) or dtype.subdtype is not None:
        raise ValueError(f"descr: {_short(description)} is no dtype")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read: they could run code")
    return dtype


def open_npy(path: Any, prefix: str = "") -> np.ndarray:
    """The array of a .npy file as a memory map.

    Raises:
        DataError: the file is none, or is not as long as its header says.
        OSError: it cannot be opened.
    """
    check_regular(path, prefix)
    with open(path, "rb") as file:
        header = read_header(file, os.fstat(file.fileno()).st_size, path, "", prefix)
    order: Any = "F" if header.fortran else "C"
    if not header.bytes:
        return np.empty(header.shape, header.dtype, order)
    try:
        return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)
    except (ValueError, OverflowError) as error:  # it has become shorter, or an odd dtype
        raise data_error(path, "", f"cannot be mapped: {error}; {FIX}", prefix) from None


def load_npy(path: str) -> np.ndarray:
    """The array of a .npy file in memory; raises as open_npy."""
    check_regular(path)
    with open(path, "rb") as file:
        return _array(file, os.fstat(file.fileno()).st_size, path, "")


def load_npz(path: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name.

    Raises:
        DataError: the file is none, or damaged, or holds what np.savez does not write.
        OSError: it cannot be opened.
    """
    import zipfile  # here alone, so that importing nnlite.data stays cheap

    check_regular(path)
    arrays: dict[str, np.ndarray] = {}
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for entry in archive.infolist():
                    name = entry.filename.removesuffix(".npy")
                    _check_member(path, entry, name in arrays)
                    with archive.open(entry) as member:
                        place = f"array {name!r}"
                        arrays[name] = _array(member, entry.file_size, path, place)
                        if member.read(1):
                            raise data_error(path, place, f"it goes on after its data; {FIX}")
        except (DataError, MemoryError):
            raise
        except Exception as error:  # zipfile's and zlib's errors are of many kinds
            reason = f"not a sound .npz file: {_short(error) or type(error).__name__}; {FIX}"
            raise data_error(path, "", reason) from None
    return arrays


def _check_member(path: str, entry: Any, known: bool) -> None:
    place = f"array {entry.filename.removesuffix('.npy')!r}"
    if not entry.filename.endswith(".npy"):
        raise data_error(path, f"member {entry.filename!r}", f"it is no array; {FIX}")
    if known:
        raise data_error(path, place, f"the name stands twice; {FIX}")
    if entry.compress_type not in (0, 8):  # stored, deflated: what np.savez writes
        raise data_error(path, place, f"packed in a way that np.savez does not use; {FIX}")


def _array(file: BinaryIO | Any, size: int, path: str, place: str) -> np.ndarray:
    """The array that begins here and has `size` bytes with its header."""
    header = read_header(file, size, path, place)
    data = take(file, header.bytes)
    if len(data) != header.bytes:
        reason = f"cut off: {len(data)} bytes of {header.bytes}; {FIX}"
        raise data_error(path, place, reason)
    flat = np.frombuffer(data, header.dtype) if data else np.empty(0, header.dtype)
    if header.fortran:
        return flat.reshape(header.shape[::-1]).T
    return flat.reshape(header.shape)


def check_texts(values: Sequence[Any] | np.ndarray) -> None:
    """ValueError where a text array holds what is no character."""
    array = np.ascontiguousarray(values)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if not native.size:
        return
    points = native.reshape(-1).view(np.uint32)
    if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
        raise ValueError("texts with what is no character of Unicode")
