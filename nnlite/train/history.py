"""What a fit measured, epoch by epoch: a dict of lists, as a table and as a picture."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._core import atomic

NAN = math.nan


class History(dict[str, list[Any]]):
    """`history["loss"]` is a list with one number for each epoch; all lists are equally long.

    A figure that an epoch lacks is NaN there. Usual names: loss (mean over the epoch's samples),
    seconds, accuracy (on the batches, before each update), other metrics, and the same with val_
    for validation data. Figures that are no single number, such as a confusion matrix, are kept as
    they are.

    Args:
        values: lists by name, equally long; copied.

    Raises:
        TypeError, ValueError: values is no dict of lists of one length.
    """

    def __init__(self, values: Mapping[str, Iterable[Any]] | None = None) -> None:
        if values is not None and not isinstance(values, Mapping):
            raise TypeError(
                f"History: values: expected a dict of lists, got {type(values).__name__}"
            )
        super().__init__({name: list(column) for name, column in (values or {}).items()})
        lengths = {name: len(column) for name, column in self.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"History: values: expected lists of one length, got {lengths}")

    @property
    def history(self) -> History:
        """The dict itself, for those who know `history.history["loss"]`."""
        return self

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return max((len(column) for column in self.values()), default=0)

    def append(self, **values: Any) -> None:
        """Adds one epoch."""
        before = self.epochs
        for name in values:
            if name not in self:
                self[name] = [NAN] * before
        for name, column in self.items():
            column.append(values.get(name, NAN))

    def rows(self) -> list[dict[str, Any]]:
        """One dict for each epoch: epoch, from 1, and the figures."""
        return [
            {"epoch": i + 1, **{name: column[i] for name, column in self.items()}}
            for i in range(self.epochs)
        ]

    def to_csv(self, path: Any) -> None:
        """Writes a table with a line of names and a line for each epoch, in one step.

        Numbers are written so that reading them gives the same bits; NaN is an empty field, and
        what is no number is JSON.

        Args:
            path: the file to replace.

        Raises:
            OSError: it cannot be written; the old file is as it was.
        """
        import csv

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *self])
        for row in self.rows():
            writer.writerow([_field(value) for value in row.values()])
        atomic.write(path, text.getvalue().encode(), "History.to_csv")

    def to_jsonl(self, path: Any) -> None:
        """Writes a line of JSON for each epoch, in one step; `from_jsonl` reads the same values.

        JSON knows no NaN and no infinity: they are written as null and 1e999.

        Raises:
            OSError: it cannot be written; the old file is as it was.
        """
        lines = [_json(row) + "\n" for row in self.rows()]
        atomic.write(path, "".join(lines).encode(), "History.to_jsonl")

    @classmethod
    def from_jsonl(cls, path: Any) -> History:
        """Reads what `to_jsonl` wrote.

        Raises:
            OSError: the file cannot be read.
            DataError: a line is not a JSON object; names the line. It is a ValueError.
        """
        from ..data._errors import DataError

        def wrong(number: int, reason: str) -> Exception:
            place = f"line {number}"
            return DataError(f"History.from_jsonl: {path}, {place}: {reason}", path, place, reason)

        history = cls()
        try:
            with open(path, encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        row = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        got = f"{line[:40]!r} ({error})"
                        raise wrong(number, f"expected JSON, got {got}") from None
                    if not isinstance(row, dict):
                        what = "expected an object with the figures of one epoch"
                        raise wrong(number, f"{what}, got {line[:40]!r}")
                    row.pop("epoch", None)
                    history.append(**{k: NAN if v is None else v for k, v in row.items()})
        except UnicodeDecodeError as error:
            reason = f"not a text in UTF-8 ({error.reason})"
            raise DataError(f"History.from_jsonl: {path}: {reason}", path, "", reason) from None
        return history

    def plot(self, path: Any = None) -> Any:
        """Draws loss, accuracy and other metrics over the epochs; needs matplotlib.

        Training is a solid line, validation a dashed one, and a dot marks its best epoch.

        Args:
            path: picture to write, its format by the suffix: .png, .svg, .pdf. None: nothing is
                written; show the figure with matplotlib.pyplot.show().

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: no epoch was measured.
        """
        from .plot import plot_history

        return plot_history(self, path)

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(0 epochs)"
        last = ", ".join(
            f"{name}={column[-1]:.4g}" for name, column in self.items() if is_number(column[-1])
        )
        return f"History({self.epochs} epochs; last: {last})"


def is_number(value: Any) -> bool:
    """True for one real number."""
    return isinstance(value, (int, float, np.integer, np.floating))


def _plain(value: Any) -> Any:
    """The value without NumPy types."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _json(value: Any) -> str:
    """JSON, NaN as null and infinity as a number too large for a double."""
    value = _plain(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "null" if math.isnan(value) else "1e999" if value > 0 else "-1e999"
    return json.dumps(value)


def _field(value: Any) -> Any:
    """A field of a table: numbers exactly, NaN empty, the rest as JSON."""
    value = _plain(value)
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return value if isinstance(value, (int, str)) else _json(value)
