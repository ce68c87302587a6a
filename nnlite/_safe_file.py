"""Files of arrays and a description in the safetensors format, read without trust.

    8 bytes       length of the header, little-endian
    header        JSON: {"__metadata__": {"nnlite": description},
                         name: {"dtype": ..., "shape": ..., "data_offsets": ...}, ...}
    data          the arrays, little-endian, one after the other without gaps

The description is one JSON text (of several the package would write the order by chance), with a
checksum over itself, names, dtypes, shapes and arrays.

The package `safetensors` writes. Reading is done here: the package maps files into memory, where a
file cut by another process ends the reader, and it takes a name that stands twice. Everything in
the header is checked against the size of the file before any memory is taken; one array after the
other is then read into its own memory.

Source: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ._safe_header import DTYPES, NAMES, CheckpointError, Tensor, parse, table

HEADER_LIMIT = 16 * 2**20  # bytes, enough for 40,000 layers; parsed, JSON takes 20 times as much
CHUNK = 2**20  # bytes read at once for the checksum
KEY = "nnlite"  # of the description in the metadata
CHECKSUM = "sha256"  # in the description; zeros take its place while it is computed
ZEROS = "0" * 64


# ---- writing ----


def encode(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bytes:
    """The bytes of a file: the same for the same arrays and description.

    Args:
        arrays: C-contiguous arrays in the byte order of this machine, of a dtype in NAMES.
        description: what JSON knows.

    Raises:
        ValueError: names, shapes and description are longer than a reader takes.
    """
    import json

    from safetensors.numpy import save

    text = json.dumps({CHECKSUM: ZEROS, **description}, allow_nan=False)
    entries = {name: (NAMES[array.dtype], array.shape) for name, array in arrays.items()}
    digest = _digest(entries, text)
    for name in sorted(arrays):
        little = arrays[name].astype(DTYPES[entries[name][0]], copy=False)
        digest.update(little.reshape(-1).view(np.uint8))
    data = save(dict(arrays), {KEY: text.replace(ZEROS, digest.hexdigest(), 1)})
    header = int.from_bytes(data[:8], "little")
    if header > HEADER_LIMIT:
        raise ValueError(
            f"save: the description of the parts has {header} bytes, at most {HEADER_LIMIT} are "
            "possible; keep long lists as arrays"
        )
    return data


def _digest(tensors: Mapping[str, tuple[str, tuple[int, ...]]], text: str) -> Any:
    """SHA-256 over description, names, dtypes and shapes; the arrays follow, sorted by name."""
    import hashlib
    import json

    rows = [[name, dtype, list(shape)] for name, (dtype, shape) in sorted(tensors.items())]
    return hashlib.sha256(json.dumps([text, rows]).encode())


# ---- reading ----


class Reader:
    """An open file whose header has been checked; a context manager.

    Attributes:
        description: what `encode` was given.
        tensors: {name: Tensor}.

    Raises:
        CheckpointError: the file is none, or damaged.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Any) -> None:
        # Without O_NONBLOCK the open of a named pipe would wait for a writer.
        flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
        self._fd = os.open(path, flags)
        try:
            found = os.fstat(self._fd)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(
                    errno.EISDIR, f"load: expected a file, got the directory {path!r}"
                )
            if not stat.S_ISREG(found.st_mode):
                raise CheckpointError("it is not a regular file")
            self._start, header = self._header(found.st_size)
            self._text, self.description = _described(header.pop("__metadata__", None))
            self.tensors = table(header, found.st_size - self._start)
            self._unread = set(self.tensors)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)

    def _header(self, size: int) -> tuple[int, dict[str, Any]]:
        """(where the data begin, the header's JSON)."""
        if size < 8:
            raise CheckpointError(f"it has {size} bytes, fewer than any checkpoint")
        length = int.from_bytes(self._bytes(0, 8), "little")
        if length > HEADER_LIMIT:
            raise CheckpointError(f"its header claims {length} bytes; at most {HEADER_LIMIT} are")
        if 8 + length > size:
            raise CheckpointError(f"it has {size} bytes, its header alone claims {length}")
        try:
            text = self._bytes(8, length).decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"its header is not UTF-8: {error}") from None
        header = parse(text)
        if not isinstance(header, dict):
            raise CheckpointError("its header is not a JSON object")
        return 8 + length, header

    def _bytes(self, offset: int, count: int) -> bytearray:
        data = bytearray(count)
        self._fill(memoryview(data), offset)
        return data

    def _fill(self, view: memoryview, offset: int) -> None:
        while view:
            count = os.preadv(self._fd, [view], offset)
            if count == 0:
                raise CheckpointError("it became shorter while it was read")
            view, offset = view[count:], offset + count

    def verify(self) -> None:
        """Requires that the checksum fits; reads the whole file in small pieces."""
        claimed = self.description.get(CHECKSUM)
        if not isinstance(claimed, str) or len(claimed) != len(ZEROS):
            raise CheckpointError("it has no checksum")
        entries = {name: (tensor.dtype, tensor.shape) for name, tensor in self.tensors.items()}
        digest = _digest(entries, self._text.replace(claimed, ZEROS, 1))
        buffer = bytearray(CHUNK)
        for name in sorted(self.tensors):
            for offset, count in _pieces(self.tensors[name]):
                view = memoryview(buffer)[:count]
                self._fill(view, self._start + offset)
                digest.update(view)
        if digest.hexdigest() != claimed:
            raise CheckpointError("its checksum does not fit: bytes of it have changed")

    def read(self, name: Any) -> np.ndarray:
        """One array, in memory of its own; each only once, so that no file fills the memory."""
        if not isinstance(name, str) or name not in self._unread:
            what = "reads twice or does not hold"
            raise CheckpointError(f"it speaks of an array {str(name)[:100]!r} that it {what}")
        self._unread.remove(name)
        tensor = self.tensors[name]
        dtype = DTYPES[tensor.dtype]
        flat = np.empty((tensor.end - tensor.begin) // dtype.itemsize, dtype)
        raw = flat.view(np.uint8)
        self._fill(raw.data, self._start + tensor.begin)
        if tensor.dtype == "BOOL" and raw.size and raw.max() > 1:
            raise CheckpointError(f"{name} holds bytes that are neither true nor false")
        return flat.astype(dtype.newbyteorder("="), copy=False).reshape(tensor.shape)


def _pieces(tensor: Tensor) -> Iterator[tuple[int, int]]:
    for offset in range(tensor.begin, tensor.end, CHUNK):
        yield offset, min(CHUNK, tensor.end - offset)


def _described(metadata: Any) -> tuple[str, dict[str, Any]]:
    """(description as text, as a dict)."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise CheckpointError(
            "nnlite did not write it; safetensors.numpy.load_file reads its arrays"
        )
    description = parse(metadata[KEY])
    if not isinstance(description, dict):
        raise CheckpointError("its description is not a JSON object")
    return metadata[KEY], description
