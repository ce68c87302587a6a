"""Tables for training: features as numbers, a target as classes or values, from one file.

    load_table("iris.csv", target="species")     Table(X, y, features, classes, schema)
    table.schema.read("new.csv")                 the same columns of another file, in that order

A column of numbers is one feature; a column of texts is one feature for each of its texts in sorted
order ("colour=blue", "colour=red"), 1 where the row has that text and 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ._table_files import Column, TableFile, listed, open_table
from .schema import Path, Schema

MAX_TEXTS = 100  # different texts of a feature
MAX_CLASSES = 20  # whole numbers with at most so many values can be classes by themselves
ROWS_OF_CLASS = 5  # and on average each has at least so many rows
CLASSIFY, REGRESS = "classify", "regress"


class Table(NamedTuple):
    """What load_table returns.

    Attributes:
        X: float64, shape (rows, features).
        y: int64 classes for "classify", float64 values for "regress", shape (rows,); None without
            target.
        features: names of X's columns.
        classes: names of the classes, so that classes[y[i]] is row i's; None for regression.
        schema: how to read another file in the same way; its `task` is "classify" or "regress".
    """

    X: np.ndarray
    y: np.ndarray | None
    features: list[str]
    classes: list[str] | None
    schema: Schema


def load_table(
    path: Path,
    target: str | int | None = None,
    *,
    task: str | None = None,
    header: bool | None = None,
    ignore: Sequence[str | int] = (),
) -> Table:
    """Load a table for training.

    Args:
        path: a file
            .csv (.tsv, .txt): comma, semicolon or tab, quoted fields, UTF-8;
            .npz: named arrays; an array of rank 1 is a column, and the one of higher rank (or named
                X) has the features, which are called "0", "1", ...;
            .npy: a matrix, whose columns are called "0", "1", ..., or a structured array.
        target: the column to predict, by name or by number: from 0, or from -1 for the last.
        task: "classify", "regress" or None: classify when the target has texts, or has whole
            numbers, at most 20 different ones and each in 5 rows on average; else regress.
        header: whether the first line of a .csv has names; None: unless it holds a number.
        ignore: columns to leave out, by name or number.

    Returns:
        Table(X, y, features, classes, schema). Classes are sorted: texts as texts, numbers as
        numbers.

    Raises:
        ValueError: the file, a column or a value is not usable; the message names file, line and
            column.
        TypeError: target or ignore is no name or number.
        OSError: the file cannot be read.

    Notes:
        Columns of texts become one feature for each text, at most 100 texts. Missing values (empty,
        NA, N/A, NaN, null, ?) are errors in every column that is used. Memory: 8 bytes for each
        number, twice while the columns are put together.
    """
    if task not in (None, CLASSIFY, REGRESS):
        raise ValueError(f"load_table: task: expected 'classify' or 'regress', got {task!r}")
    file = open_table(path, header)
    ignored = {_column(file, "ignore", name) for name in ignore}
    goal = None if target is None else _column(file, "target", target)
    if goal in ignored:
        raise ValueError(f"load_table: ignore: {target!r} is the target")
    used = [i for i in range(len(file.names)) if i not in ignored]
    _check_names(file, used)
    columns = dict(zip(used, file.read(used, goal), strict=True))
    classes, y = None, None
    if goal is not None:
        task, y, classes = _target(file, goal, columns.pop(goal), task)
    if not columns:
        raise ValueError(f"{file.path}: no column is left to learn from")
    texts = {c.name: _sorted_texts(file, i, c) for i, c in columns.items() if c.is_text}
    names = [column.name for column in columns.values()]
    left_out = [file.names[i] for i in sorted(ignored)]
    goal_name = None if goal is None else file.names[goal]
    schema = Schema(names, texts, file.named, goal_name, left_out, task, classes)
    return Table(schema.encode(file, list(columns.values())), y, schema.features, classes, schema)


def _column(file: TableFile, argument: str, name: str | int) -> int:
    """The number of a column given by name, or by number where no column has that name."""
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise TypeError(
            f"load_table: {argument}: expected a name or a number of a column, got {name!r}"
        )
    count = len(file.names)
    if isinstance(name, str):
        if file.names.count(name) > 1:
            raise ValueError(
                f"{file.path}: {name!r} names several columns; give the number of the one meant"
            )
        if name in file.names:
            return file.names.index(name)
        if not name.lstrip("-").isdecimal():
            raise ValueError(
                f"{file.path}: {argument}: no column {name!r}; it has {listed(file.names)}"
            )
    index = int(name)
    if not -count <= index < count:
        raise ValueError(
            f"{file.path}: {argument}: no column {index}; its {count} columns have the numbers "
            f"0..{count - 1}, or -{count}..-1"
        )
    return index % count


def _check_names(file: TableFile, used: Sequence[int]) -> None:
    """Requires a name of its own for each column that is used."""
    names = [file.names[i] for i in used]
    for i in used:
        if not file.names[i]:
            raise ValueError(
                f"{file.path}: column {i} has no name (perhaps the numbers of saved rows); name "
                "it, or leave it out with ignore"
            )
        if names.count(file.names[i]) > 1:
            raise ValueError(
                f"{file.path}: {file.names[i]!r} names several columns; rename them, or leave one "
                "out by its number with ignore"
            )


def _target(
    file: TableFile, index: int, column: Column, task: str | None
) -> tuple[str, np.ndarray, list[str] | None]:
    """(task, y, names of classes) from the column to predict."""
    values = _as_numbers(column)
    if values is None:
        if task == REGRESS:
            row = next(i for i, code in enumerate(column.codes) if _not_number(column, code))
            text = column.texts[column.codes[row]]
            raise file.wrong(row, index, f"expected a number to regress on, got {text!r}")
        names, codes = np.unique(column.texts, return_inverse=True)
        return CLASSIFY, codes[column.codes], names.tolist()
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise file.wrong(row, index, "expected a finite number")
    distinct, codes = np.unique(values, return_inverse=True)
    if task is None:
        whole = bool((distinct == np.floor(distinct)).all())
        few = len(distinct) <= min(MAX_CLASSES, len(values) // ROWS_OF_CLASS)
        task = CLASSIFY if whole and few else REGRESS
    if task == REGRESS:
        return REGRESS, values, None
    return CLASSIFY, codes.astype(np.int64), [_name_of(value) for value in distinct.tolist()]


def _as_numbers(column: Column) -> np.ndarray | None:
    """The column's values, or None where one is no number."""
    if not column.is_text:
        return column.numbers
    try:
        return np.array([float(text) for text in column.texts])[column.codes]
    except ValueError:
        return None


def _not_number(column: Column, code: int) -> bool:
    try:
        float(column.texts[code])
    except ValueError:
        return True
    return False


def _name_of(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _sorted_texts(file: TableFile, index: int, column: Column) -> list[str]:
    if len(column.texts) > MAX_TEXTS:
        raise file.wrong(
            0,
            index,
            f"texts such as {column.texts[0]!r}, {len(column.texts)} different ones, more than "
            f"{MAX_TEXTS}; turn them into numbers, or leave the column out with ignore",
        )
    return sorted(column.texts)
