"""Tables for training: features as numbers, a target as classes or values, from one file.

    load_table("iris.csv", target="species")     Table(X, y, features, classes, schema)
    table.schema.read("new.csv")                 the same columns of another file, in that order

A column of numbers is one feature; a column of texts is one feature for each of its texts in sorted
order ("colour=blue", "colour=red"), 1 where the row has that text and 0 elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import kinds
from ._column import Column, TableFile, check_column
from ._number_text import number_of
from ._table_files import listed, open_table
from .kinds import Kind
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
    skip_unusable: bool = False,
) -> Table:
    """Load a table for training.

    Args:
        path: a file
            .csv (.tsv, .txt): comma, semicolon or tab, quoted fields, UTF-8; numbers may have
                thousands (1,234.5), and a decimal comma (1.234,5) where the fields are not parted
                by commas, or where it is in quotes and cannot be anything else;
            .npz: named arrays; an array of rank 1 is a column, and the one of higher rank (or named
                X) has the features, which are called "0", "1", ...;
            .npy: a matrix, whose columns are called "0", "1", ..., or a structured array.
        target: the column to predict, by name or by number: from 0, or from -1 for the last.
        task: "classify", "regress" or None: classify when the target has texts, or has whole
            numbers, at most 20 different ones and each in 5 rows on average; else regress.
        header: whether the first line of a .csv has names; None: unless it holds a number.
        ignore: columns to leave out, by name or number.
        skip_unusable: leave out too what teaches nothing about other rows: columns of dates, of
            texts that differ in every row (from 10 rows on), and without any value. `nnlite train`
            does so. False takes dates and such texts as categories, and refuses missing values.

    Returns:
        Table(X, y, features, classes, schema). Classes are sorted: texts as texts, numbers as
        numbers. `schema.kinds` tells what each column was taken for.

    Raises:
        DataError: the file, a column or a value is not usable; the message names file, line and
            column. It is a ValueError.
        ValueError: task is not known, or ignore names the target.
        TypeError: target or ignore is no name or number.
        OSError: the file cannot be read.

    Notes:
        Columns of texts become one feature for each text, at most 100 texts. Missing values (empty,
        NA, N/A, NaN, null, ?) are errors in every column that is used. Memory: 8 bytes for each
        number, twice while the columns are put together.
    """
    return understand(path, target, task, header, ignore, skip_unusable)[0]


def understand(
    path: Path,
    target: str | int | None,
    task: str | None,
    header: bool | None,
    ignore: Sequence[str | int],
    skip_unusable: bool,
) -> tuple[Table, list[Kind]]:
    """load_table, and what each column of the file was taken for, in the file's order."""
    if task not in (None, CLASSIFY, REGRESS):
        raise ValueError(f"load_table: task: expected 'classify' or 'regress', got {task!r}")
    file = open_table(path, header)
    ignored = {_column(file, "ignore", name) for name in ignore}
    goal = None if target is None else _column(file, "target", target)
    if goal in ignored:
        raise ValueError(f"load_table: ignore: {target!r} is the target")
    used = [i for i in range(len(file.names)) if i not in ignored]
    if not skip_unusable:
        _check_names(file, used)
    columns = dict(zip(used, file.read(used, goal), strict=True))
    found = {i: kinds.kind_of(column, i == goal) for i, column in columns.items()}
    for i in found:
        found[i].name = found[i].name or f"{i} (without name)"
    if skip_unusable:
        ignored |= {i for i in used if i != goal and not found[i].used}
        columns = {i: columns[i] for i in used if i not in ignored}
        _check_names(file, list(columns))
    for i, column in columns.items():
        check_column(file, i, column)
    classes, y = None, None
    if goal is not None:
        column = columns.pop(goal)
        task, y, classes = _target(file, goal, column, task)
        found[goal] = _target_kind(found[goal], column, y, classes)
    if not columns:
        skipped = ", ".join(
            f"{item.name!r}: {item.kind}" for item in found.values() if not item.used
        )
        raise file.error(f"no column is left to learn from{skipped and f' ({skipped})'}")
    listing = [found.get(i) or kinds.ignored(name) for i, name in enumerate(file.names)]
    schema = Schema(
        [column.name for column in columns.values()],
        {c.name: _sorted_texts(file, i, c) for i, c in columns.items() if c.is_text},
        file.named,
        None if goal is None else file.names[goal],
        [file.names[i] for i in sorted(ignored)],
        task,
        classes,
        {item.name: item.kind for item in listing},
        file.decimal,
    )
    X = schema.encode(file, list(columns.values()), list(columns))
    return Table(X, y, schema.features, classes, schema), listing


def _target_kind(found: Kind, column: Column, y: np.ndarray, classes: list[str] | None) -> Kind:
    """What the column to predict was taken for."""
    if classes is None:
        low, high = float(y.min()), float(y.max())
        text = f"target, a number, {low:.6g} to {high:.6g}"
        return Kind(found.name, kinds.NUMBER, text, kinds.point_warning(column))
    shown = ", ".join(classes[:6]) + (", ..." if len(classes) > 6 else "")
    warning = kinds.unit_warning(column)
    if not warning and len(classes) == len(y) >= kinds.IDENTIFIER_ROWS:
        warning = "has another value in every row, which cannot be learned as classes"
    elif found.kind == kinds.DATE:
        warning = "is a date, taken as classes"
    return Kind(found.name, kinds.CATEGORIES, f"target, {len(classes)} classes ({shown})", warning)


def _column(file: TableFile, argument: str, name: str | int) -> int:
    """The number of a column given by name, or by number where no column has that name."""
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise TypeError(
            f"load_table: {argument}: expected a name or a number of a column, got {name!r}"
        )
    count = len(file.names)
    if isinstance(name, str):
        if file.names.count(name) > 1:
            raise file.error(f"{name!r} names several columns; give the number of the one meant")
        if name in file.names:
            return file.names.index(name)
        if not name.removeprefix("-").isdecimal() or len(name) > 18:
            hint = ""
            if len(file.names) == 1:
                hint = "; expected a comma, a semicolon or a tab between fields"
            elif not file.named:
                hint = "; its first line holds a number, so it was taken for a row (header)"
            raise file.error(f"{argument}: no column {name!r}; it has {listed(file.names)}{hint}")
    index = int(name)
    if not -count <= index < count:
        raise file.error(
            f"{argument}: no column {index}; its {count} columns have the numbers "
            f"0..{count - 1}, or -{count}..-1"
        )
    return index % count


def _check_names(file: TableFile, used: Sequence[int]) -> None:
    """Requires a name of its own for each column that is used."""
    counts = Counter(file.names[i] for i in used)
    for i in used:
        if not file.names[i]:
            raise file.error(
                f"column {i} has no name (perhaps the numbers of saved rows); name it, or leave it "
                "out with ignore"
            )
        if counts[file.names[i]] > 1:
            raise file.error(
                f"{file.names[i]!r} names several columns; rename them, or leave one "
                "out by its number with ignore"
            )


def _target(
    file: TableFile, index: int, column: Column, task: str | None
) -> tuple[str, np.ndarray, list[str] | None]:
    """(task, y, names of classes) from the column to predict."""
    numbers = [number_of(text, column.decimal) for text in column.texts]
    values = column.numbers
    if None in numbers:
        _check_classes(file, index, column, task, numbers)
        names, codes = np.unique(column.texts, return_inverse=True)
        return CLASSIFY, codes[column.codes], names.tolist()
    if column.is_text:
        values = np.array(numbers, np.float64)[column.codes]
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise file.wrong(row, index, "expected a finite number")
    distinct, codes = np.unique(values, return_inverse=True)
    if task is None:
        few = len(distinct) <= min(MAX_CLASSES, len(values) // ROWS_OF_CLASS)
        task = CLASSIFY if _are_whole(distinct) and few else REGRESS
    if task == REGRESS:
        return REGRESS, values, None
    return CLASSIFY, codes.astype(np.int64), [_name_of(value) for value in distinct.tolist()]


def _are_whole(values: np.ndarray) -> bool:
    return bool((values == np.floor(values)).all())


def _check_classes(
    file: TableFile, index: int, column: Column, task: str | None, numbers: list[float | None]
) -> None:
    """Refuses texts where numbers were asked for, or stand in nearly all other rows."""
    row = int(np.flatnonzero(np.array([n is None for n in numbers])[column.codes])[0])
    text = column.texts[column.codes[row]]
    if task == REGRESS:
        raise file.wrong(row, index, f"expected a number to regress on, got {text!r}")
    values = np.array([n for n in numbers if n is not None])
    if (
        task is None
        and 2 * len(values) > len(numbers)
        and (len(values) > MAX_CLASSES or not _are_whole(values))
    ):
        what = f"{text!r} is no number, as the other values are; correct it, or set the task"
        raise file.wrong(row, index, f"{what} to classify")


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
