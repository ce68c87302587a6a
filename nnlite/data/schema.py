"""What the columns of a training file became, and how another file is read in the same way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ._table_files import Column, TableFile, listed, open_table

Path = str | os.PathLike[str]


@dataclass
class Schema:
    """What the columns of a training file became; reads other files in the same way.

    Attributes:
        columns: names of the columns that features are made of.
        texts: for a column of texts, those it had, sorted.
        named: whether the file named its columns; else they are found by their place.
        target, ignored: names of columns that are no features.
        task, classes: what was to be learned, as in Table.
    """

    columns: list[str]
    texts: dict[str, list[str]]
    named: bool
    target: str | None = None
    ignored: list[str] | None = None
    task: str | None = None
    classes: list[str] | None = None

    @property
    def features(self) -> list[str]:
        """Names of the features: the column, or column=text."""
        return [
            name if text is None else f"{name}={text}"
            for name in self.columns
            for text in self.texts.get(name, [None])  # type: ignore[list-item]
        ]

    def read(self, path: Path, *, header: bool | None = None) -> tuple[np.ndarray, list[str]]:
        """The features of another file, which need not have the target.

        Named columns may come in any order. In a file without names, columns are found by their
        place; when it has as many columns as there are features, the target is taken as absent.

        Returns:
            X: float64, shape (rows, features).
            unused: names of columns that training never saw; they were left out.

        Raises:
            ValueError: columns are missing, a text was not seen in training, or a value is not
                usable.
            OSError: the file cannot be read.
        """
        file = open_table(path, self.named if header is None else header)
        wanted = self._places(file)
        known = {*self.columns, self.target, *(self.ignored or ())}
        unused = [name for name in file.names if file.named and name not in known]
        columns = file.read(wanted)
        return self.encode(file, columns, wanted), unused

    def _places(self, file: TableFile) -> list[int]:
        """Where the columns are in a file."""
        if file.named:
            missing = [name for name in self.columns if name not in file.names]
            if missing:
                raise ValueError(
                    f"{file.path}: missing column{'s' * (len(missing) > 1)} {listed(missing)}; "
                    f"it has {listed(file.names)}"
                )
            doubled = [name for name in self.columns if file.names.count(name) > 1]
            if doubled:
                raise ValueError(f"{file.path}: {doubled[0]!r} names several columns")
            return [file.names.index(name) for name in self.columns]
        if not all(name.isdecimal() for name in self.columns):
            raise ValueError(
                f"{file.path}: its columns have no names, expected {listed(self.columns)}"
            )
        others = [name for name in (self.target, *(self.ignored or ())) if name is not None]
        count = len(file.names)
        if count == len(self.columns) + len(others):
            return [int(name) for name in self.columns]
        if count == len(self.columns):
            return list(range(count))
        raise ValueError(
            f"{file.path}: expected {len(self.columns)} columns of features"
            + (f", or {len(self.columns) + len(others)} with {listed(others)}" if others else "")
            + f", got {count}"
        )

    def encode(
        self, file: TableFile, columns: Sequence[Column], places: Sequence[int] | None = None
    ) -> np.ndarray:
        """X from the columns of a file."""
        features = self.features
        X, at = np.zeros((len(columns[0].codes), len(features))), 0
        for i, column in enumerate(columns):
            place = file.names.index(column.name) if places is None else places[i]
            texts = self.texts.get(self.columns[i])
            if texts is None:
                if column.is_text:
                    raise file.wrong(0, place, f"expected a number, got {column.texts[0]!r}")
                X[:, at] = column.numbers
                at += 1
                continue
            if not column.is_text:
                what = f"expected one of {listed(texts)}, got the number {column.numbers[0]:g}"
                raise file.wrong(0, place, what)
            index = {text: at + k for k, text in enumerate(texts)}
            to = np.array([index.get(text, -1) for text in column.texts])[column.codes]
            unseen = np.flatnonzero(to < 0)
            if unseen.size:
                text = column.texts[column.codes[unseen[0]]]
                what = f"{text!r} was not seen in training, expected one of {listed(texts)}"
                raise file.wrong(int(unseen[0]), place, what)
            X[np.arange(len(to)), to] = 1
            at += len(texts)
        return X

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
        except (TypeError, AttributeError):
            good = False
        if not good:
            raise ValueError("Schema.of: not what state_dict gave")
        return made
