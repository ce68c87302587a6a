"""Columns of tables, and what every file of columns has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._errors import DataError, data_error
from ._number_text import COMMA, POINT, decimal_of, is_ambiguous, number_of

MISSING = {"", "na", "n/a", "nan", "null", "?", "#n/a", "#nv", "<na>"}  # in small letters


@dataclass
class Column:
    """One column: row i holds numbers[i], or texts[codes[i]] where codes[i] is not -1."""

    name: str
    numbers: np.ndarray  # float64; NaN where there is a text
    codes: np.ndarray  # int64
    texts: list[str]
    decimal: str = POINT  # how numbers are written in it
    ambiguous: str = ""  # 1.234, say, where nothing tells whether that is 1234

    @property
    def is_text(self) -> bool:
        return bool(self.texts)

    def missing(self) -> np.ndarray:
        """The rows without a value."""
        return np.flatnonzero(np.isnan(self.numbers) & (self.codes < 0))


class TableFile(ABC):
    """A file with columns.

    Attributes:
        path: its name.
        names: the columns' names; their numbers, from "0", where the file does not name them.
        named: whether it does.
        decimal: the decimal mark of its numbers where a column does not show one.
    """

    path: str
    names: list[str]
    named = True
    decimal = POINT

    @abstractmethod
    def read(self, wanted: Sequence[int], as_text: int | None = None) -> list[Column]:
        """The wanted columns; numbers in column `as_text` are kept as they are written.

        Raises:
            DataError: the file is not what it should be.
        """

    @abstractmethod
    def place(self, row: int) -> str:
        """Where a row is, for messages."""

    def wrong(self, row: int, column: int, what: str) -> DataError:
        """The error for one value."""
        place = f"{self.place(int(row))}, column {self.names[column]!r}"
        return data_error(self.path, place, what)

    def error(self, reason: str, place: str = "") -> DataError:
        """The error for the file, or a place in it."""
        return data_error(self.path, place, reason)


class ColumnBuilder:
    """One column of texts, block by block.

    Attributes:
        has_comma: a field had a comma as the decimal mark, or points between thousands.
    """

    def __init__(self, as_text: bool, decimal: str = POINT, separator: str = ",") -> None:
        self._as_text, self._decimal, self._separator = as_text, decimal, separator
        self._numbers: list[np.ndarray] = []
        self._codes: list[np.ndarray] = []
        self._known: dict[str, int] = {}
        self.has_comma = False
        self._ambiguous, self._plain = "", separator == "," or decimal != POINT

    def add(self, fields: Sequence[str]) -> None:
        """The next fields."""
        if not self._plain:
            self._look_at_points(fields)
        if not self._as_text and self._decimal == POINT:
            try:
                numbers = np.array([float(field) for field in fields])
                if not any("_" in field for field in fields):
                    self._numbers.append(numbers)
                    self._codes.append(np.full(len(fields), -1))
                    return
            except ValueError:
                pass
        numbers, codes = np.full(len(fields), np.nan), np.full(len(fields), -1)
        for i, field in enumerate(fields):
            if not self.has_comma and ("," in field or field.count(".") > 1):
                self.has_comma = decimal_of(field, self._separator) == COMMA
            number = None if self._as_text else number_of(field, self._decimal)
            if number is not None:
                numbers[i] = number
            elif field.lower() not in MISSING:
                codes[i] = self._known.setdefault(field, len(self._known))
        self._numbers.append(numbers)
        self._codes.append(codes)

    def _look_at_points(self, fields: Sequence[str]) -> None:
        """Until a point can only be a decimal one."""
        for field in fields:
            if "." in field:
                if not is_ambiguous(field):
                    self._plain, self._ambiguous = True, ""
                    return
                self._ambiguous = self._ambiguous or field

    def column(self, name: str) -> Column:
        """All fields."""
        numbers, codes = np.concatenate(self._numbers), np.concatenate(self._codes)
        texts = list(self._known)
        return Column(name, numbers, codes, texts, self._decimal, self._ambiguous)


def check_column(file: TableFile, index: int, column: Column, missing: str = "error") -> None:
    """Refuses infinite numbers, numbers among texts and, unless missing is "nan", missing values.

    Raises:
        DataError: names the file, the first row and the column.
    """
    is_text = column.codes >= 0
    rows = column.missing()
    if rows.size and missing == "error":
        more = f" (and {rows.size - 1} more in this column)" if rows.size > 1 else ""
        what = f"the value is missing{more}; fill it, remove the row, or leave the column out"
        raise file.wrong(rows[0], index, f"{what} (ignore)")
    infinite = np.flatnonzero(np.isinf(column.numbers))
    if infinite.size:
        raise file.wrong(infinite[0], index, "the number is infinite; expected a finite one")
    is_number = ~(is_text | np.isnan(column.numbers))
    if is_text.any() and is_number.any():
        fewer_texts = np.count_nonzero(is_text) <= np.count_nonzero(is_number)
        row = int(np.flatnonzero(is_text if fewer_texts else is_number)[0])
        if fewer_texts:
            what = f"{column.texts[column.codes[row]]!r} is no number, as the other values are"
        else:
            what = f"{column.numbers[row]:g} is a number among texts"
        raise file.wrong(row, index, f"{what}; correct it, or leave the column out (ignore)")
