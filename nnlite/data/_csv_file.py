"""Tables as text: comma, semicolon or tab between fields, quotes, decimal points or commas."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TextIO

import numpy as np

from ._column import Column, ColumnBuilder, TableFile
from ._errors import check_regular
from ._number_text import COMMA, POINT, decimal_of, number_of

BLOCK_ROWS = 8192
SAMPLE_LINES = 20
DELIMITERS = ",;\t"
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*')  # Excel's own first line


class CsvFile(TableFile):
    """Text with a delimiter (comma, semicolon or tab), quoted fields, UTF-8 (or a marked UTF-16).

    The first line holds names unless one of its fields is a number, or `header` says so.

    A column has a decimal comma where more of its numbers can only have that than can only have a
    point. Between semicolons 1,5 and 1,234 count for the comma, elsewhere 1,234 counts for neither.
    Where it shows neither, as with 1.234, it has what other columns of the file show, or what
    `decimal` says; a point, where nothing tells.
    """

    def __init__(self, path: str, header: bool | None, decimal: str = POINT) -> None:
        self.path, self._told = path, decimal
        check_regular(path)
        with open(path, "rb") as file:
            begin = file.read(2)
        self._encoding = "utf-16" if begin in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        self._skipped = 0  # lines before the table
        self._delimiter = self._best_delimiter()
        with self._records() as records:
            fields = next(records, (0, []))[1]
        if not fields:
            raise self.error("the file is empty; expected a line of names and rows")
        self.named = not any(_is_number(field) for field in fields) if header is None else header
        self.names = fields if self.named else [str(i) for i in range(len(fields))]
        self._lines = np.zeros(0, np.int64)

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        try:
            with open(self.path, newline="", encoding=self._encoding) as file:
                for _ in range(self._skipped):
                    file.readline()
                yield file
        except UnicodeError as error:
            kind = "UTF-16" if self._encoding == "utf-16" else "UTF-8"
            reason = f"not a text in {kind} ({getattr(error, 'reason', error)}); save it as UTF-8"
            more = " (in Excel: CSV UTF-8)"
            raise self.error(reason + more, self._bad_line()) from None

    def _bad_line(self) -> str:
        """Where the first byte is that is no UTF-8."""
        if self._encoding != "utf-16":
            with open(self.path, "rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        line.decode()
                    except UnicodeDecodeError:
                        return f"line {number}"
        return ""

    @contextmanager
    def _records(self) -> Iterator[Iterator[tuple[int, list[str]]]]:
        """(line, fields) of each record; blank lines are left out."""
        with self._opened() as file:
            reader = csv.reader(file, delimiter=self._delimiter, skipinitialspace=True, strict=True)
            first = self._skipped

            def records() -> Iterator[tuple[int, list[str]]]:
                for fields in reader:
                    stripped = [field.strip() for field in fields]
                    if stripped not in ([], [""]):
                        yield first + reader.line_num, stripped

            try:
                yield records()
            except csv.Error as error:
                raise self.error(str(error), f"line {first + reader.line_num}") from None

    def _best_delimiter(self) -> str:
        """That which cuts the first lines into equally many fields, and the most.

        Semicolons and tabs win where they leave numbers with a decimal comma.
        """
        with self._opened() as file:
            lines = list(islice((line for line in file if line.strip()), SAMPLE_LINES))
        told = SEPARATOR_LINE.fullmatch(lines[0].strip()) if lines else None
        if told and told[1] in DELIMITERS:
            self._skipped = 1
            return told[1]
        if not lines:
            return DELIMITERS[0]
        best, chosen = (False, False, 0), DELIMITERS[0]
        for delimiter in DELIMITERS:
            rank = _rank(lines, delimiter)
            if rank > best:
                best, chosen = rank, delimiter
        return chosen

    def place(self, row: int) -> str:
        return f"line {self._lines[row]}"

    def read(self, wanted: Sequence[int], as_text: int | None = None) -> list[Column]:
        decimals: list[str] | None = [POINT] * len(self.names)
        if self._told == COMMA and self._delimiter != DELIMITERS[0]:
            decimals = None
        columns = None if decimals is None else self._read(wanted, as_text, decimals, True)
        if columns is None:  # a decimal comma somewhere
            decimals = self._decimals()
            columns = self._read(wanted, as_text, decimals, False)
        assert columns is not None
        return columns

    def _read(
        self, wanted: Sequence[int], as_text: int | None, decimals: Sequence[str], stop: bool
    ) -> list[Column] | None:
        """The columns; None where `stop` is set and a number has a decimal comma."""
        separator = self._delimiter
        builders = [ColumnBuilder(i == as_text, decimals[i], separator) for i in wanted]
        lines: list[int] = []
        with self._records() as records:
            if self.named:
                next(records)
            for block in _blocks(records, BLOCK_ROWS):
                for line, fields in block:
                    if len(fields) != len(self.names):
                        raise self._ragged(line, len(fields))
                    lines.append(line)
                columns = list(zip(*(fields for _, fields in block), strict=True))
                for builder, i in zip(builders, wanted, strict=True):
                    builder.add(columns[i])
                if stop and any(builder.has_comma for builder in builders):
                    return None
        self._lines = np.array(lines, np.int64)
        if not lines:
            raise self.error("no rows follow the line of names")
        return [b.column(self.names[i]) for b, i in zip(builders, wanted, strict=True)]

    def _ragged(self, line: int, count: int) -> Exception:
        expected = f"expected {len(self.names)} fields as in the first line, got {count}"
        if count > len(self.names) and self._delimiter == ",":
            expected += "; a comma within a field needs quotes around the field"
        return self.error(expected, f"line {line}")

    def _decimals(self) -> list[str]:
        """The decimal mark of each column."""
        commas, points, marks = ([0] * len(self.names) for _ in range(3))
        with self._records() as records:
            if self.named:
                next(records)
            for line, fields in records:
                if len(fields) != len(self.names):
                    raise self._ragged(line, len(fields))
                for i, field in enumerate(fields):
                    if "," not in field and "." not in field:
                        continue
                    marks[i] += 1
                    decimal = decimal_of(field, self._delimiter)
                    if decimal == COMMA:
                        commas[i] += 1
                    elif decimal == POINT:
                        points[i] += 1
        shown = [c > 0 and c >= p for c, p in zip(commas, points, strict=True)]
        other = self._told if self._delimiter != DELIMITERS[0] else POINT
        if any(shown):
            self.decimal = COMMA
            other = COMMA if self._delimiter != DELIMITERS[0] else POINT
        return [
            COMMA if comma else POINT if point or not mark else other
            for comma, point, mark in zip(shown, points, marks, strict=True)
        ]


def _rank(lines: Sequence[str], delimiter: str) -> tuple[bool, bool, int]:
    """How well a delimiter fits the first lines: (decimal commas remain, equal fields, fields)."""
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error:  # the last record may be cut
        rows = []
    rows = [[field.strip() for field in row] for row in rows]
    if not rows or len(rows[0]) < 2:
        return False, False, len(rows[0]) if rows else 0
    equal = len({len(row) for row in (rows[:-1] if len(rows) > 2 else rows)}) == 1
    commas = delimiter != "," and any(
        "," in field and number_of(field, COMMA) is not None for row in rows for field in row
    )
    return equal and commas, equal, len(rows[0])


def _blocks(records: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while block := list(islice(records, size)):
        yield block


def _is_number(text: str) -> bool:
    return number_of(text) is not None or number_of(text, COMMA) is not None
