"""What a column of a table is taken for: numbers, categories, dates, identifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ._column import Column
from ._number_text import COMMA, number_of

NUMBER, CATEGORIES, DATE, IDENTIFIER = "number", "categories", "date", "identifier"
EMPTY, IGNORED = "empty", "ignored"
LEFT_OUT = (DATE, IDENTIFIER, EMPTY, IGNORED)
IDENTIFIER_ROWS = 10  # in fewer rows all values may differ by chance

IGNORE_IT = "; if it is one, leave it out with --ignore "

_TIME = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?[AaPp][Mm])?"
_MONTH = (
    r"(jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)[a-zäöü]{0,7}\.?"
)
_DAY = "|".join(
    [
        r"[0-9]{4}([-/.])[0-9]{1,2}(\2[0-9]{1,2})?",  # 2024-01-31, 2024/01
        r"[0-9]{1,2}([./-])[0-9]{1,2}\4([0-9]{2}|[0-9]{4})",  # 31.01.2024, 1/31/24
        rf"[0-9]{{1,2}}\.?[ -]{_MONTH}[ -]([0-9]{{2}}|[0-9]{{4}})",  # 31 Jan 2024
        rf"{_MONTH} [0-9]{{1,2}},? [0-9]{{4}}",  # Jan 31, 2024
    ]
)
_DATE = re.compile(rf"({_DAY})([T ,]+{_TIME}( ?(Z|UTC|[+-][0-9]{{2}}:?[0-9]{{2}}))?)?", re.I)
_CLOCK = re.compile(_TIME)
_UNIT = r"(?:[€$£¥%]|EUR|USD|CHF|GBP|[kmc]?g|[kmc]?m[²³]?|l|h|min|s|°C?|kW|kWh|PS)"
_WITH_UNIT = re.compile(rf"(?:{_UNIT} ?)?([+-]?[0-9][0-9.,'\u00a0]*?)[ \u00a0]?(?:{_UNIT}|[.,]-)?")


def is_date(text: str) -> bool:
    """Whether a text is a date, a time of day, or both."""
    return bool(_DATE.fullmatch(text) or _CLOCK.fullmatch(text))


@dataclass
class Kind:
    """What a column was taken for.

    Attributes:
        name: of the column.
        kind: one of the constants above.
        text: the same in words, with its values.
        warning: what to look at, or "".
    """

    name: str
    kind: str
    text: str
    warning: str = ""

    @property
    def used(self) -> bool:
        return self.kind not in LEFT_OUT


def kind_of(column: Column, is_target: bool = False) -> Kind:
    """What a column is, from all its values."""
    known = ~np.isnan(column.numbers) | (column.codes >= 0)
    rows = int(np.count_nonzero(known))
    if not rows:
        return Kind(column.name, EMPTY, "empty", "has no values")
    if not column.is_text:
        return _of_numbers(column, is_target)
    different = len(column.texts)
    if all(is_date(text) for text in column.texts):
        text = f"date, such as {column.texts[0]}"
        return Kind(column.name, DATE, text, "is a date")
    warning = unit_warning(column)
    if (column.codes >= 0).all() and different == rows >= IDENTIFIER_ROWS:
        text = f"identifier: {rows} different texts, such as {column.texts[0]!r}"
        warning = warning or "has another text in every row, an identifier"
        return Kind(column.name, IDENTIFIER, text, warning)
    shown = ", ".join(sorted(column.texts)[:6]) + (", ..." if different > 6 else "")
    return Kind(column.name, CATEGORIES, f"categories: {different} ({shown})", warning)


def unit_warning(column: Column) -> str:
    """What to say of texts that are all numbers, some with a unit; else ""."""
    if not all(_has_unit(text) for text in column.texts):
        return ""
    sample = next((text for text in column.texts if not _is_number(text)), "")
    if not sample:
        return ""
    return f"holds numbers with a unit, such as {sample!r}; to use them, remove the unit"


def point_warning(column: Column) -> str:
    """What to say of numbers that are all like 1.234, where the comma may be the decimal mark."""
    if not column.ambiguous:
        return ""
    return (
        f"has no number that tells whether {column.ambiguous} has a decimal point or one between "
        "thousands; it was taken for a decimal point"
    )


def _has_unit(text: str) -> bool:
    found = _WITH_UNIT.fullmatch(text)
    return found is not None and _is_number(found[1])


def _is_number(text: str) -> bool:
    return number_of(text) is not None or number_of(text, COMMA) is not None


def _of_numbers(column: Column, is_target: bool) -> Kind:
    values = column.numbers[~np.isnan(column.numbers)]
    low, high = float(values.min()), float(values.max())
    text = f"number, {low:.6g}" + (f" to {high:.6g}" if high > low else " in every row")
    if column.decimal == COMMA:
        text += " (decimal comma)"
    warning = point_warning(column)
    if not (warning or is_target) and (values == np.floor(values)).all():
        if _are_days(values):
            warning = f"looks like dates written as numbers{IGNORE_IT}"
        elif len(values) >= IDENTIFIER_ROWS and len(np.unique(values)) == len(column.numbers):
            warning = f"has another whole number in every row, as identifiers have{IGNORE_IT}"
    return Kind(column.name, NUMBER, text, warning)


def _are_days(values: np.ndarray) -> bool:
    """Whether all are 20240131 and the like."""
    if not ((values >= 19000101) & (values <= 21001231)).all():
        return False
    month, day = values // 100 % 100, values % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def ignored(name: str) -> Kind:
    """A column that was to be left out."""
    return Kind(name, IGNORED, "ignored")
