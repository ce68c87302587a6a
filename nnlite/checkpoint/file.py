"""Files of arrays and a description in the safetensors format, read without trust.

    8 bytes       length of the header, little-endian
    header        JSON: {"__metadata__": {"nnlite": description},
                         name: {"dtype": ..., "shape": ..., "data_offsets": ...}, ...}
    data          the arrays, little-endian, one after the other without gaps

The description is one JSON text (of several the package would write the order by chance), with a
checksum over itself, names, dtypes, shapes and arrays.

Both ways are written here, with a megabyte of memory beside the arrays: the package `safetensors`
makes a second copy of them all, ends the process where that does not fit, maps files into memory,
where a file cut by another process ends the reader, and takes a name that stands twice. Everything
in the header is checked against the size of the file before any memory is taken; one array after
the other is then read into its own memory.

Source: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._core.atomic import write_all
from .._core.dtypes import DTYPES, NAMES
from .header import CheckpointError, Tensor, parse, table

HEADER_LIMIT = 16 * 2**20  # bytes, enough for 40,000 layers; parsed, JSON takes 20 times as much
CHUNK = 2**20  # bytes read or written at once
KEY = "nnlite"  # of the description in the metadata
CHECKSUM = "sha256"  # in the description; zeros take its place while it is computed
ZEROS = "0" * 64


# ---- writing ----

# The package's order of arrays, widest last; it writes them from the end, so that each is aligned.
ORDER = ["BOOL", "U8", "I8", "I16", "U16", "F16", "I32", "U32", "F32", "F64", "I64", "U64"]


class Writer:
    """A file to be written: the same bytes for the same arrays and description, those that the
    package would write.

    Args:
        arrays: C-contiguous arrays of a dtype in NAMES. They are not copied: what is written is
            what they hold then.
        description: what JSON knows.

    Raises:
        ValueError: names, shapes and description are longer than a reader takes, or a name is no
            Unicode text.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
        import json

        self._arrays = arrays
        self._text = json.dumps({CHECKSUM: ZEROS, **description}, allow_nan=False)
        self._entries = {name: (NAMES[a.dtype], a.shape) for name, a in arrays.items()}
        self._names = sorted(arrays)
        self._names.sort(key=lambda name: ORDER.index(self._entries[name][0]), reverse=True)
        self._table: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        end = 0
        for name in self._names:
            dtype, shape = self._entries[name]
            begin, end = end, end + arrays[name].nbytes
            place = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
            self._table[name], self._places[name] = place, begin
        self._start = len(self._header(ZEROS))
        if self._start - 8 > HEADER_LIMIT:
            raise ValueError(
                f"save: the description of the parts has {self._start - 8} bytes, at most "
                f"{HEADER_LIMIT} are possible; keep long lists as arrays"
            )

    def _header(self, checksum: str) -> bytes:
        """Length and JSON, as long for every checksum; ends at a multiple of 8."""
        import json

        metadata = {KEY: self._text.replace(ZEROS, checksum, 1)}
        found = {"__metadata__": metadata, **self._table}
        try:
            text = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError as error:
            name = error.object[error.start : error.end]
            raise ValueError(
                f"save: a name holds {name!r}, which is no Unicode text; rename it"
            ) from None
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _pieces(self, name: str) -> Iterator[bytes]:
        """Copies of the parts of an array, little-endian: what is hashed is what is written."""
        array = self._arrays[name]
        little = array.astype(DTYPES[self._entries[name][0]], copy=False)
        raw = little.reshape(-1).view(np.uint8).data
        for begin in range(0, len(raw), CHUNK):
            yield bytes(raw[begin : begin + CHUNK])

    def to_file(self, fd: int) -> None:
        """Writes all to an empty file: the arrays, each once, and then the header before them."""
        with hashing():
            digest = _digest(self._entries, self._text)
            for name in sorted(self._arrays):
                os.lseek(fd, self._start + self._places[name], os.SEEK_SET)
                for piece in self._pieces(name):
                    digest.update(piece)
                    write_all(fd, piece)
            checksum = digest.hexdigest()
        os.lseek(fd, 0, os.SEEK_SET)
        write_all(fd, self._header(checksum))

    def parts(self) -> Iterator[bytes]:
        """All bytes from the first to the last.

        Raises:
            RuntimeError: the arrays changed meanwhile; the bytes are no file then.
        """
        seen: dict[str, list[int]] = {}
        with hashing():
            digest = _digest(self._entries, self._text)
            for name in sorted(self._arrays):
                seen[name] = []
                for piece in self._pieces(name):
                    digest.update(piece)
                    seen[name].append(hash(piece))
            checksum = digest.hexdigest()
        yield self._header(checksum)
        for name in self._names:
            found = []
            for piece in self._pieces(name):
                found.append(hash(piece))
                yield piece
            if found != seen[name]:
                raise RuntimeError(
                    f"save: {name} changed while it was written, and what was written cannot be "
                    "loaded; let no other thread train meanwhile"
                )


def encode(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bytes:
    """The bytes of a file; see Writer."""
    return b"".join(Writer(arrays, description).parts())


@contextmanager
def hashing() -> Iterator[None]:
    """What SHA-256 raises inside is the memory's fault, and no file's.

    Raises:
        MemoryError: OpenSSL or the module could not be loaded or had no memory.
    """
    try:
        yield
    except (OSError, MemoryError, CheckpointError):
        raise
    except Exception as error:
        raise MemoryError(
            f"SHA-256 cannot be computed: {type(error).__name__}: {error}; is there memory left?"
        ) from error


def _digest(tensors: Mapping[str, tuple[str, tuple[int, ...]]], text: str) -> Any:
    """SHA-256 over description, names, dtypes and shapes; the arrays follow, sorted by name."""
    import hashlib
    import json

    rows = [[name, dtype, list(shape)] for name, (dtype, shape) in sorted(tensors.items())]
    return hashlib.sha256(json.dumps([text, rows]).encode())


# ---- reading ----


class Reader:
    """An open file, or its bytes, whose header has been checked; a context manager.

    Attributes:
        description: what `encode` was given; not there with `foreign`, for any safetensors file.
        metadata: texts by name, or None.
        tensors: {name: Tensor}.

    Raises:
        CheckpointError: the file is none, or damaged.
        OSError: it cannot be opened.
    """

    def __init__(self, source: Any, foreign: bool = False) -> None:
        self._fd, self._data, self._foreign = -1, None, foreign
        if isinstance(source, memoryview):
            self._data = source
            self._look(len(source))
            return
        # Without O_NONBLOCK the open of a named pipe would wait for a writer.
        flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
        self._fd = os.open(source, flags)
        try:
            found = os.fstat(self._fd)
            if stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(
                    errno.EISDIR, f"load: expected a file, got the directory {source!r}"
                )
            if not stat.S_ISREG(found.st_mode):
                raise CheckpointError("it is not a regular file")
            self._look(found.st_size)
        except BaseException:
            os.close(self._fd)
            raise

    def _look(self, size: int) -> None:
        self._start, header = self._header(size)
        self.metadata = header.pop("__metadata__", None)
        if not self._foreign:
            self._text, self.description = _described(self.metadata)
        self.tensors = table(header, size - self._start)
        self._unread = set(self.tensors)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def _header(self, size: int) -> tuple[int, dict[str, Any]]:
        """(where the data begin, the header's JSON)."""
        if size < 8:
            raise CheckpointError(f"it has {size} bytes, fewer than any checkpoint")
        first = self._bytes(0, 8)
        if first[:4] == b"PK\3\4":
            raise CheckpointError(
                "it is a zip file, as torch.save and np.savez write; weights of PyTorch: "
                "model.load_state_dict(torch.load(path), from_torch=True)"
            )
        length = int.from_bytes(first, "little")
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
        if self._data is not None:
            view[:] = self._data[offset : offset + len(view)]
            return
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
        buffer = bytearray(CHUNK)
        with hashing():
            digest = _digest(entries, self._text.replace(claimed, ZEROS, 1))
            for name in sorted(self.tensors):
                for offset, count in _pieces(self.tensors[name]):
                    view = memoryview(buffer)[:count]
                    self._fill(view, self._start + offset)
                    digest.update(view)
            found = digest.hexdigest()
        if found != claimed:
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
        if isinstance(metadata, dict) and metadata.get("format") == "pt":
            raise CheckpointError(
                "PyTorch wrote it, and it describes no model; make one of that architecture and "
                "call model.load_state_dict(path, from_torch=True), which transposes the weights"
            )
        raise CheckpointError(
            "nnlite did not write it; model.load_state_dict(path) reads its arrays"
        )
    description = parse(metadata[KEY])
    if not isinstance(description, dict):
        raise CheckpointError("its description is not a JSON object")
    return metadata[KEY], description
