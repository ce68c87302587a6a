"""Numbers as people write them: 1234.5, 1,234.5 and, with a decimal comma, 1234,5 or 1.234,5.

A text such as 1,234 or 1.234 is a number either way, of other value. What decides is told in
`CsvFile`: the separator, and the other numbers of the column and of the file.
"""

from __future__ import annotations

import re

POINT, COMMA = ".", ","  # decimal marks
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_OTHER = "' \u2019\u00a0\u202f"  # between thousands too: apostrophes, spaces
_GROUPED = {
    POINT: re.compile(
        rf"[+-]?[1-9][0-9]{{0,2}}([,{_OTHER}])[0-9]{{3}}(?:\1[0-9]{{3}})*(?:\.[0-9]*)?"
    ),
    COMMA: re.compile(
        rf"[+-]?(?:[1-9][0-9]{{0,2}}([.{_OTHER}])[0-9]{{3}}(?:\1[0-9]{{3}})*|[0-9]*)"
        rf"(?:,[0-9]*)?{_EXPONENT}"
    ),
}
_MARKS = {POINT: f",{_OTHER}", COMMA: f".{_OTHER}"}  # between thousands


def number_of(text: str, decimal: str = POINT) -> float | None:
    """The number that a text is; None for another text. No underscores, unlike in Python."""
    if decimal == POINT or not ("," in text or "." in text):
        try:
            return None if "_" in text else float(text)
        except ValueError:
            pass
    if not _GROUPED[decimal].fullmatch(text):
        return None
    for mark in _MARKS[decimal]:
        text = text.replace(mark, "")
    try:
        return float(text.replace(",", "."))
    except ValueError:  # no digit at all
        return None


def decimal_of(text: str, separator: str) -> str | None:
    """The decimal mark that a text must have, or None where it is no number or either may be.

    Between semicolons a single comma is taken for the decimal mark.
    """
    if "," not in text and "." not in text:
        return None
    comma, point = number_of(text, COMMA) is not None, number_of(text, POINT) is not None
    if comma and point:
        single = separator == ";" and text.count(",") == 1 and "." not in text
        return COMMA if single else None
    return COMMA if comma else POINT if point else None


def is_ambiguous(text: str) -> bool:
    """Whether a text with a point, such as 1.234, may be a number of thousands."""
    return number_of(text, COMMA) is not None
