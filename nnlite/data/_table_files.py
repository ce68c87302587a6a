"""Tables as they lie in .csv, .npz and .npy files: columns of numbers or of texts.

`open_table(path)` gives the columns' names without reading the rows; `read` then reads the columns
that are wanted, so that what is wrong in another column does not matter.
"""

from __future__ import annotations

import csv
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

MISSING = {"", "na", "n/a", "nan", "null", "?"}  # in small letters
BLOCK_ROWS = 8192
DELIMITERS = ",;\t"


@dataclass
class Column:
    """One column: row i holds numbers[i], or texts[codes[i]] where codes[i] is not -1."""

    name: str
    numbers: np.ndarray  # float64; NaN where there is a text
    codes: np.ndarray  # int64
    texts: list[str]

    @property
    def is_text(self) -> bool:
        return bool(self.texts)


class TableFile(ABC):
    """A file with columns.

    Attributes:
        path: its name.
        names: the columns' names; their numbers, from "0", where the file does not name them.
        named: whether it does.
    """

    path: str
    names: list[str]
    named = True

    @abstractmethod
    def read(self, wanted: Sequence[int], as_text: int | None = None) -> list[Column]:
        """The wanted columns; numbers in column `as_text` are kept as they are written.

        Raises:
            ValueError: a value is missing or not finite, or texts and numbers are mixed.
        """

    @abstractmethod
    def place(self, row: int) -> str:
        """Where a row is, for messages."""

    def wrong(self, row: int, column: int, what: str) -> ValueError:
        """The error for one value."""
        text = f"{self.path}: {self.place(row)}, column {self.names[column]!r}: {what}"
        return ValueError(text)


def open_table(path: str | os.PathLike[str], header: bool | None = None) -> TableFile:
    """A table by its file's ending: .csv (also .tsv, .txt), .npz or .npy.

    Raises:
        ValueError: another ending, or the file is not what its ending says.
        OSError: it cannot be read.
    """
    name = os.fspath(path)
    ending = os.path.splitext(name)[1].lower()
    if ending in (".csv", ".tsv", ".txt"):
        return CsvFile(name, header)
    if ending in (".npz", ".npy"):
        return _of_arrays(name, ending)
    raise ValueError(
        f"{name}: expected a file .csv, .npz or .npy, got the ending {ending or 'nothing'!r}"
    )


def listed(names: Sequence[str]) -> str:
    """Names for a message, not too many."""
    shown = ", ".join(repr(name) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


# ---- text ----


class CsvFile(TableFile):
    """Text with a delimiter (comma, semicolon or tab), quoted fields, UTF-8.

    The first line holds names unless one of its fields is a number, or `header` says so.
    """

    def __init__(self, path: str, header: bool | None) -> None:
        self.path = path
        self._delimiter = self._best_delimiter()
        with self._records() as records:
            fields = next(records)[1]
        self.named = not any(_is_number(field) for field in fields) if header is None else header
        self.names = fields if self.named else [str(i) for i in range(len(fields))]
        self._lines = np.zeros(0, np.int64)

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        try:
            with open(self.path, newline="", encoding="utf-8-sig") as file:
                yield file
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.path}: not a text in UTF-8 ({error.reason}); save it as UTF-8"
            ) from None
        except csv.Error as error:
            raise ValueError(f"{self.path}: not a sound table: {error}") from None

    @contextmanager
    def _records(self) -> Iterator[Iterator[tuple[int, list[str]]]]:
        """(line, fields) of each record; blank lines are left out."""
        with self._opened() as file:
            reader = csv.reader(file, delimiter=self._delimiter, skipinitialspace=True, strict=True)
            stripped = ((reader.line_num, [f.strip() for f in fields]) for fields in reader)
            try:
                yield ((line, fields) for line, fields in stripped if fields not in ([], [""]))
            except csv.Error as error:
                raise ValueError(f"{self.path}: line {reader.line_num}: {error}") from None

    def _best_delimiter(self) -> str:
        """That which cuts the first line into most fields."""
        self._delimiter = DELIMITERS[0]
        with self._opened() as file:
            line = next((line for line in file if line.strip()), None)
        if line is None:
            raise ValueError(f"{self.path}: the file is empty; expected a line of names and rows")
        cut = [
            next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
            for delimiter in DELIMITERS
        ]
        return max(zip(cut, DELIMITERS, strict=True), key=lambda found: len(found[0]))[1]

    def place(self, row: int) -> str:
        return f"line {self._lines[row]}"

    def read(self, wanted: Sequence[int], as_text: int | None = None) -> list[Column]:
        builders = [_Builder(i == as_text) for i in wanted]
        lines: list[int] = []
        with self._records() as records:
            if self.named:
                next(records)
            for block in _blocks(records, BLOCK_ROWS):
                for line, fields in block:
                    if len(fields) != len(self.names):
                        raise ValueError(
                            f"{self.path}: line {line}: expected {len(self.names)} fields as in "
                            f"the first line, got {len(fields)}"
                        )
                    lines.append(line)
                columns = list(zip(*(fields for _, fields in block), strict=True))
                for builder, i in zip(builders, wanted, strict=True):
                    builder.add(columns[i])
        self._lines = np.array(lines, np.int64)
        if not lines:
            raise ValueError(f"{self.path}: no rows follow the line of names")
        return [builder.column(self, i) for builder, i in zip(builders, wanted, strict=True)]


def _blocks(records: Iterator[Any], size: int) -> Iterator[list[Any]]:
    block = []
    for record in records:
        block.append(record)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def _is_number(text: str) -> bool:
    return _number(text) is not None


def _number(text: str) -> float | None:
    """The number that a text is; None for another text. No underscores, unlike in Python."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


class _Builder:
    """One column of a text file, block by block."""

    def __init__(self, as_text: bool) -> None:
        self._as_text = as_text
        self._numbers: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        self._known: dict[str, int] = {}

    def add(self, fields: Sequence[str]) -> None:
        """The next fields."""
        if not self._as_text and not any("_" in field for field in fields):
            try:
                self._numbers.append(np.array([float(field) for field in fields]))
                self._codes.append(np.full(len(fields), -1))
                return
            except ValueError:
                pass
        numbers, codes = np.full(len(fields), np.nan), np.full(len(fields), -1)
        for i, field in enumerate(fields):
            number = None if self._as_text else _number(field)
            if number is not None:
                numbers[i] = number
            elif field.lower() not in MISSING:
                codes[i] = self._known.setdefault(field, len(self._known))
        self._numbers.append(numbers)
        self._codes.append(codes)

    def column(self, file: TableFile, index: int) -> Column:
        """All fields, checked."""
        numbers, codes = np.concatenate(self._numbers), np.concatenate(self._codes)
        found = Column(file.names[index], numbers, codes, list(self._known))
        return checked(file, index, found)


def checked(file: TableFile, index: int, column: Column) -> Column:
    """The column, unless a value is missing or infinite, or texts and numbers are mixed."""
    is_text = column.codes >= 0
    missing = np.flatnonzero(np.isnan(column.numbers) & ~is_text)
    if missing.size:
        more = f" (and {missing.size - 1} more in this column)" if missing.size > 1 else ""
        raise file.wrong(
            missing[0],
            index,
            f"the value is missing{more}; fill it, remove the row, or leave the column out",
        )
    infinite = np.flatnonzero(np.isinf(column.numbers))
    if infinite.size:
        raise file.wrong(infinite[0], index, "the number is infinite; expected a finite one")
    if is_text.any() and not is_text.all():
        fewer_texts = 2 * np.count_nonzero(is_text) <= len(is_text)
        row = int(np.flatnonzero(is_text if fewer_texts else ~is_text)[0])
        if fewer_texts:
            what = f"{column.texts[column.codes[row]]!r} is no number, as the other values are"
        else:
            what = f"{column.numbers[row]:g} is a number among texts"
        raise file.wrong(row, index, f"{what}; correct it, or leave the column out")
    return column


# ---- NumPy's files ----


class ArrayFile(TableFile):
    """Columns of arrays: (name, values of rank 1)."""

    def __init__(self, path: str, names: list[str], arrays: Sequence[np.ndarray], named: bool):
        self.path, self.names, self.named, self._arrays = path, names, named, arrays
        if not len(arrays) or not len(arrays[0]):
            raise ValueError(f"{path}: the table has no {'rows' if len(arrays) else 'columns'}")

    def place(self, row: int) -> str:
        return f"row {row}"

    def read(self, wanted: Sequence[int], as_text: int | None = None) -> list[Column]:
        return [self._column(i, i == as_text) for i in wanted]

    def _column(self, index: int, as_text: bool) -> Column:
        values, name = self._arrays[index], self.names[index]
        if values.dtype.kind in "fiub":
            codes = np.full(len(values), -1)
            return checked(self, index, Column(name, values.astype(np.float64), codes, []))
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
        if values.dtype.kind != "U":
            raise ValueError(
                f"{self.path}: column {name!r}: expected numbers or texts, got {values.dtype}"
            )
        builder = _Builder(as_text)
        builder.add(values.tolist())
        return builder.column(self, index)


def _of_arrays(path: str, ending: str) -> ArrayFile:
    """The arrays of a .npy or .npz file as columns."""
    with open(path, "rb") as file:
        try:
            found = np.load(file, allow_pickle=False)
            arrays = None
            if not isinstance(found, np.ndarray):
                arrays = {name: found[name] for name in found.files}
        except (EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: not a sound {ending} file: {error}") from None
    return _of_npy(path, found) if arrays is None else _of_npz(path, arrays)


def _of_npy(path: str, array: np.ndarray) -> ArrayFile:
    """A structured array with named fields, or a matrix."""
    if array.dtype.names and array.ndim == 1:
        names = list(array.dtype.names)
        return ArrayFile(path, names, [array[name] for name in names], True)
    if array.ndim != 2:
        raise ValueError(
            f"{path}: expected a matrix (rows, columns) or a structured array of rank 1, got "
            f"shape {array.shape}"
        )
    return ArrayFile(path, [str(i) for i in range(array.shape[1])], list(array.T), False)


def _of_npz(path: str, arrays: dict[str, np.ndarray]) -> ArrayFile:
    """Arrays of rank 1 are named columns; one of higher rank has the features, as numbers."""
    wide = [name for name, array in arrays.items() if array.ndim > 1 and array.shape[1:] != (1,)]
    if "X" in arrays:
        wide = ["X"]
    if len(wide) > 1:
        raise ValueError(f"{path}: which array has the features: {', '.join(wide)}? Name it X")
    names, columns = [], []
    for name, array in arrays.items():
        flat = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
        for i, column in enumerate(flat.T):
            names.append(str(i) if name in wide else name)
            columns.append(column)
    lengths = {name: array.shape[:1] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        rows = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{path}: the arrays differ in rows: {rows}")
    return ArrayFile(path, names, columns, True)
