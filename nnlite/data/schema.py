"""What the columns of a training file became, and how another file is read in the same way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ._column import Column, TableFile, check_column
from ._number_text import COMMA, POINT, number_of
from ._table_files import listed, open_table

Path = str | os.PathLike[str]


class Found(NamedTuple):
    """Columns of a file for a schema, where they are in it, and the names it does not know."""

    file: TableFile
    columns: list[Column]
    places: list[int]
    unused: list[str]

    def first_gap(self) -> str:
        """Where the first value is missing: "line 4, column 'age'"; "" where none is."""
        gaps = [(int(rows[0]), c.name) for c in self.columns if (rows := c.missing()).size]
        return f"{self.file.place(min(gaps)[0])}, column {min(gaps)[1]!r}" if gaps else ""


@dataclass
class Schema:
    """What the columns of a training file became; reads other files in the same way.

    Attributes:
        columns: names of the columns that features are made of.
        texts: for a column of texts, those it had, sorted.
        named: whether the file named its columns; else they are found by their place.
        target, ignored: names of columns that are no features.
        task, classes: what was to be learned, as in Table.
        kinds: what each column of the file was taken for, by name: "number", "categories", "date",
            "identifier", "empty" or "ignored".
        decimal: the decimal mark of the file, "." or ",".
    """

    columns: list[str]
    texts: dict[str, list[str]]
    named: bool
    target: str | None = None
    ignored: list[str] | None = None
    task: str | None = None
    classes: list[str] | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    decimal: str = POINT

    @property
    def features(self) -> list[str]:
        """Names of the features: the column, or column=text."""
        return [
            name if text is None else f"{name}={text}"
            for name in self.columns
            for text in self.texts.get(name, [None])  # type: ignore[list-item]
        ]

    def read(
        self, path: Path, *, header: bool | None = None, missing: str = "error"
    ) -> tuple[np.ndarray, list[str]]:
        """The features of another file, which need not have the target.

        Named columns may come in any order. In a file without names, columns are found by their
        place; when it has as many columns as there are features, the target is taken as absent.

        Args:
            path: a file as for load_table.
            header: whether a .csv has names; None: as the training file.
            missing: "error", or "nan": a missing value is NaN in all features of its column, so
                that a model's outputs for this row are NaN. `nnlite predict` does that.

        Returns:
            X: float64, shape (rows, features).
            unused: names of columns that training never saw; they were left out.

        Raises:
            DataError: columns are missing, a text was not seen in training, or a value is not
                usable.
            ValueError: missing is neither "error" nor "nan".
            OSError: the file cannot be read.
        """
        found = self.columns_of(path, header, missing)
        return self.encode(found.file, found.columns, found.places), found.unused

    def columns_of(self, path: Path, header: bool | None, missing: str) -> Found:
        """The columns of another file that features are made of, checked; as for read."""
        if missing not in ("error", "nan"):
            raise ValueError(f"Schema.read: missing: expected 'error' or 'nan', got {missing!r}")
        file = open_table(path, self.named if header is None else header, self.decimal)
        places = self._places(file)
        known = {*self.columns, self.target, *(self.ignored or ())}
        unused = [name for name in file.names if file.named and name not in known]
        columns = file.read(places)
        for place, column in zip(places, columns, strict=True):
            check_column(file, place, column, missing)
        return Found(file, columns, places, unused)

    def _places(self, file: TableFile) -> list[int]:
        """Where the columns are in a file."""
        if file.named:
            places = {name: i for i, name in enumerate(file.names)}
            missing = [name for name in self.columns if name not in places]
            if missing:
                hint = ""
                if any(number_of(name) is not None for name in file.names):
                    hint = "; the first line of a .csv must hold the names, as in the training"
                raise file.error(
                    f"missing column{'s' * (len(missing) > 1)} {listed(missing)}; it has "
                    f"{listed(file.names)}{hint}"
                )
            counts = Counter(file.names)
            doubled = [name for name in self.columns if counts[name] > 1]
            if doubled:
                raise file.error(f"{doubled[0]!r} names several columns; rename or remove one")
            return [places[name] for name in self.columns]
        if not all(name.isdecimal() for name in self.columns):
            raise file.error(f"its columns have no names, expected {listed(self.columns)}")
        others = [name for name in (self.target, *(self.ignored or ())) if name is not None]
        count = len(file.names)
        if count == len(self.columns) + len(others):
            return [int(name) for name in self.columns]
        if count == len(self.columns):
            return list(range(count))
        raise file.error(
            f"expected {len(self.columns)} columns of features"
            + (f", or {len(self.columns) + len(others)} with {listed(others)}" if others else "")
            + f", got {count}"
        )

    def encode(
        self, file: TableFile, columns: Sequence[Column], places: Sequence[int]
    ) -> np.ndarray:
        """X from checked columns of a file, which stand at these places of it."""
        X, start = np.zeros((len(columns[0].codes), len(self.features))), 0
        for i, column in enumerate(columns):
            place = places[i]
            texts = self.texts.get(self.columns[i])
            width = 1 if texts is None else len(texts)
            if texts is None:
                if column.is_text:
                    row = int(np.flatnonzero(column.codes >= 0)[0])
                    raise file.wrong(row, place, f"expected a number, got {column.texts[0]!r}")
                X[:, start] = column.numbers
            else:
                self._encode_texts(file, place, column, texts, X[:, start : start + width])
            start += width
        return X

    @staticmethod
    def _encode_texts(
        file: TableFile, place: int, column: Column, texts: list[str], out: np.ndarray
    ) -> None:
        """1 in the column of each row's text; NaN in all where it is missing."""
        rows = np.flatnonzero(~np.isnan(column.numbers))
        if rows.size:
            number = column.numbers[rows[0]]
            what = f"expected one of {listed(texts)}, got the number {number:g}"
            raise file.wrong(rows[0], place, what)
        index = {text: k for k, text in enumerate(texts)}
        known = column.codes >= 0
        to = np.array([index.get(text, -1) for text in [*column.texts, ""]])[column.codes]
        unseen = np.flatnonzero(known & (to < 0))
        if unseen.size:
            text = column.texts[column.codes[unseen[0]]]
            what = f"{text!r} was not seen in training, expected one of {listed(texts)}"
            raise file.wrong(unseen[0], place, what)
        out[~known] = np.nan
        out[np.flatnonzero(known), to[known]] = 1

    def state_dict(self) -> dict[str, Any]:
        """The schema for JSON."""
        return asdict(self)

    @staticmethod
    def of(state: Mapping[str, Any]) -> Schema:
        """A schema from what `state_dict` gave.

        Raises:
            ValueError: it is nothing of the kind.
        """
        try:
            made = Schema(**state)
            good = all(isinstance(name, str) for name in made.features)
            good = good and isinstance(made.kinds, dict) and made.decimal in (POINT, COMMA)
        except (TypeError, AttributeError):
            good = False
        if not good:
            raise ValueError("Schema.of: not what state_dict gave")
        return made
