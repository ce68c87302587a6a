"""Tables as they lie in .csv, .npz and .npy files: columns of numbers or of texts.

`open_table(path)` gives the columns' names without reading the rows; `read` then reads the columns
that are wanted, so that what is wrong in another column does not matter.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

import numpy as np

from ._column import Column, ColumnBuilder, TableFile
from ._csv_file import CsvFile
from ._errors import data_error
from ._npy import check_texts, load_npy, load_npz
from ._number_text import POINT


def open_table(
    path: str | os.PathLike[str], header: bool | None = None, decimal: str = POINT
) -> TableFile:
    """A table by its file's ending: .csv (also .tsv, .txt), .npz or .npy.

    Raises:
        DataError: another ending, or the file is not what its ending says.
        OSError: it cannot be read.
    """
    name = os.fspath(path)
    ending = os.path.splitext(name)[1].lower()
    if ending in (".csv", ".tsv", ".txt"):
        return CsvFile(name, header, decimal)
    if ending == ".npz":
        return _of_npz(name, load_npz(name))
    if ending == ".npy":
        return _of_npy(name, load_npy(name))
    if stat.S_ISDIR(os.stat(name).st_mode):  # what is not there is missing, whatever its ending
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    reason = f"expected a file .csv, .npz or .npy, got the ending {ending or 'nothing'!r}"
    if ending in (".xls", ".xlsx", ".ods"):
        reason += "; save the sheet as CSV UTF-8"
    raise data_error(name, "", reason)


def listed(names: Sequence[str]) -> str:
    """Names for a message, not too many."""
    shown = ", ".join(repr(name) for name in names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


class ArrayFile(TableFile):
    """Columns of arrays: (name, values of rank 1)."""

    def __init__(self, path: str, names: list[str], arrays: Sequence[np.ndarray], named: bool):
        self.path, self.names, self.named, self._arrays = path, names, named, arrays
        if not len(arrays) or not len(arrays[0]):
            raise self.error(f"the table has no {'rows' if len(arrays) else 'columns'}")

    def place(self, row: int) -> str:
        return f"row {row}"

    def read(self, wanted: Sequence[int], as_text: int | None = None) -> list[Column]:
        return [self._column(i, i == as_text) for i in wanted]

    def _column(self, index: int, as_text: bool) -> Column:
        values, name = self._arrays[index], self.names[index]
        place = f"column {name!r}"
        if values.dtype.kind in "fiub":
            with np.errstate(all="ignore"):  # wider floats become infinite, which is refused
                numbers = values.astype(np.float64)
            return Column(name, numbers, np.full(len(values), -1), [])
        try:
            if values.dtype.kind == "S":
                values = np.char.decode(values, "utf-8")
            elif values.dtype.kind == "M":
                values = np.datetime_as_string(values)
                values[values == "NaT"] = ""
            elif values.dtype.kind == "U":
                check_texts(values)
        except ValueError as error:
            raise self.error(str(error), place) from None
        if values.dtype.kind != "U":
            raise self.error(f"expected numbers or texts, got {values.dtype}", place)
        builder = ColumnBuilder(as_text)
        builder.add([text.strip() for text in values.tolist()])
        return builder.column(name)


def _of_npy(path: str, array: np.ndarray) -> ArrayFile:
    """A structured array with named fields, or a matrix."""
    if array.dtype.names and array.ndim == 1:
        names = list(array.dtype.names)
        for name in names:
            if array[name].ndim != 1:
                shape = array.dtype[name].shape
                raise data_error(path, f"column {name!r}", f"expected one value, got shape {shape}")
        return ArrayFile(path, names, [array[name] for name in names], True)
    if array.ndim != 2:
        raise data_error(
            path,
            "",
            "expected a matrix (rows, columns) or a structured array of rank 1, got shape "
            f"{array.shape}",
        )
    _check_size(path, "", array)
    return ArrayFile(path, [str(i) for i in range(array.shape[1])], list(array.T), False)


def _of_npz(path: str, arrays: dict[str, np.ndarray]) -> ArrayFile:
    """Arrays of rank 1 are named columns; one of higher rank has the features, as numbers."""
    wide = [name for name, array in arrays.items() if array.ndim > 1 and array.shape[1:] != (1,)]
    if "X" in arrays:
        wide = ["X"]
    if len(wide) > 1:
        reason = f"which array has the features: {', '.join(wide)}? Name it X"
        raise data_error(path, "", reason)
    lengths = {name: array.shape[:1] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        rows = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise data_error(path, "", f"the arrays differ in rows: {rows}")
    names, columns = [], []
    for name, array in arrays.items():
        _check_size(path, f"array {name!r}", array)
        flat = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
        for i, column in enumerate(flat.T):
            names.append(str(i) if name in wide else name)
            columns.append(column)
    return ArrayFile(path, names, columns, True)


def _check_size(path: str, place: str, array: np.ndarray) -> None:
    """Refuses what has no elements: its other sizes may be any, and are no columns to list."""
    if not array.size:
        what = "rows" if array.ndim and not len(array) else "columns"
        raise data_error(path, place, f"the table has no {what}")
