"""Tables as people write them: decimal commas, thousands, dates, identifiers, what Excel saves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tables import shop, write

from nnlite.data import DataError, Schema, load_table
from nnlite.data._number_text import COMMA, POINT, decimal_of, number_of
from nnlite.data.kinds import is_date


def columns(folder: Path, *rows: str, **options) -> list[list[float]]:
    """The features of a table of these lines, column by column."""
    return load_table(write(folder, "\n".join(rows) + "\n"), **options).X.T.tolist()


# ---- one number ----


@pytest.mark.parametrize(
    "text, point, comma",
    [
        ("1", 1, 1),
        ("-2e3", -2000, -2000),
        ("1.5", 1.5, None),
        ("1,5", None, 1.5),
        ("+0,25", None, 0.25),
        (",5", None, 0.5),
        ("5,", None, 5),
        ("1,5e-3", None, 0.0015),
        ("1.234", 1.234, 1234),
        ("1,234", 1234, 1.234),
        ("1.234,5", None, 1234.5),
        ("1,234.5", 1234.5, None),
        ("1.234.567", None, 1234567),
        ("1,234,567", 1234567, None),
        ("-1.234.567,89", None, -1234567.89),
        ("1'234.5", 1234.5, None),
        ("1\u00a0234,5", None, 1234.5),
        ("1\u202f234\u202f567", 1234567, 1234567),
        ("12.34,5", None, None),
        ("0.045", 0.045, None),
        ("0,045", None, 0.045),
        ("0.045,5", None, None),
        ("1,23,456", None, None),
        ("1.2.2024", None, None),
        ("1_000", None, None),
        ("1,5 m", None, None),
        (",", None, None),
        (".", None, None),
        ("-", None, None),
        ("", None, None),
    ],
)
def test_numbers(text, point, comma):
    assert number_of(text) == point
    assert number_of(text, COMMA) == comma


def test_what_a_number_shows():
    assert [decimal_of("1,234", s) for s in ";\t,"] == [COMMA, None, None]
    assert [decimal_of("1,5", s) for s in ";\t,"] == [COMMA] * 3
    assert [decimal_of(t, ";") for t in ("1.5", "1.234", "12", "1,2,3", "a,b")] == [
        POINT, None, None, None, None,
    ]  # fmt: skip


# ---- columns ----


def test_decimal_commas_between_semicolons(tmp_path):
    path = write(tmp_path, "x;n;y\n1,5;2;10,25\n-2,75;3;1.234,5\n0,1;1.234;7\n")
    table = load_table(path, target="y")
    assert table.X.tolist() == [[1.5, 2], [-2.75, 3], [0.1, 1234]]
    assert table.y.tolist() == [10.25, 1234.5, 7] and table.schema.task == "regress"
    assert table.schema.decimal == ","


@pytest.mark.parametrize(
    "rows, expected",
    [
        (("a;b", "1.5;2", "2.5;3"), [[1.5, 2.5], [2, 3]]),  # points stay points
        (("a;b", "1,5;2.5", "2,5;3.5"), [[1.5, 2.5], [2.5, 3.5]]),  # each column for itself
        (("a;b", "1,234;1.234", "5,678;5.678"), [[1.234, 5.678], [1234, 5678]]),
        (("a;b", "1.234;0.5", "5.678;1"), [[1.234, 5.678], [0.5, 1]]),  # no comma anywhere
        (("a\tb", "1,5\t2", "1.234\t3"), [[1.5, 1234], [2, 3]]),
        (("a\tb", "1,234\t2", "5,678\t3"), [[1234, 5678], [2, 3]]),  # thousands
        (("a,b", '"1,5",2', '"2,25",3'), [[1.5, 2.25], [2, 3]]),
        (("a,b", '"1,234",2.5', '"1,234,567.5",3.5'), [[1234, 1234567.5], [2.5, 3.5]]),
        (("a;b", "1,5;", "2,5;"), None),
        (("1,5;2,5", "3,5;4,5"), [[1.5, 3.5], [2.5, 4.5]]),  # without names
        (("1,5;2,5;1", "3,5;4;2"), [[1.5, 3.5], [2.5, 4], [1, 2]]),
        (("a, in m;b", "1,5;2", "2,5;3"), [[1.5, 2.5], [2, 3]]),
        (("x;y,1;z", "1;2;3", "4;5;6"), [[1, 4], [2, 5], [3, 6]]),
    ],
)
def test_columns_of_numbers(tmp_path, rows, expected):
    if expected is None:
        with pytest.raises(DataError, match="column 'b': the value is missing"):
            columns(tmp_path, *rows)
        return
    assert columns(tmp_path, *rows) == expected


def test_a_column_is_of_one_form(tmp_path):
    for rows, message in (
        (("a;b", "1,5;1", "2,5;1", "3.25;1"), "line 4, column 'a': '3.25' is no number, as"),
        (("a;b", "1,5;1", "2,5;1", "k.A.;1"), "line 4, column 'a': 'k.A.' is no number, as"),
        (("a,b", "1,5,1", "2,5,1"), "expected 2 fields as in the first line, got 3; a comma with"),
    ):
        with pytest.raises(DataError, match=message):
            columns(tmp_path, *rows)


def test_long_files_with_decimal_commas(tmp_path):
    """The comma first comes after blocks that have none."""
    rows = [f"{i};{'uvw'[i % 3]}" for i in range(10_000)] + ["10000,5;u"]
    found = columns(tmp_path, "a;t", *rows)
    assert found[0] == [*range(10_000), 10000.5] and sum(found[1]) == 3335


def test_class_names_of_numbers_with_commas(tmp_path):
    path = write(tmp_path, "x;y\n" + "1,5;0,5\n2,5;1,5\n" * 5)
    table = load_table(path, target="y", task="classify")
    assert table.classes == ["0.5", "1.5"] and table.y.tolist() == [0, 1] * 5
    assert load_table(path, target="y").schema.task == "regress"


def test_another_file_is_read_as_the_first(tmp_path):
    schema = load_table(write(tmp_path, "a;b;y\n1,5;1.234;0\n2,5;2.345;1\n"), target="y").schema
    schema = Schema.of(schema.state_dict())
    for text, expected in (
        ("a;b\n1,5;7\n", [1.5, 7]),
        ("a;b\n1.234;5.678\n", [1234, 5678]),  # nothing but the training tells
        ("b;a\n1.5;2.5\n", [2.5, 1.5]),
        ("a,b\n1.234,5.678\n", [1.234, 5.678]),
        ("a\tb\n1.234\t5,5\n", [1234, 5.5]),
    ):
        assert schema.read(write(tmp_path, text))[0].tolist() == [expected], text
    old = {k: v for k, v in schema.state_dict().items() if k not in ("decimal", "kinds")}
    assert Schema.of(old).decimal == "."
    with pytest.raises(ValueError, match="not what state_dict gave"):
        Schema.of({**old, "decimal": "x"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(tmp_path, encoding):
    text = "größe;ort\r\n1,5;Köln\r\n2,5;Ulm\r\n"
    path = write(tmp_path, "\ufeff" * (encoding == "utf-16-le") + text, encoding=encoding)
    if encoding == "cp1252":
        with pytest.raises(DataError, match=r"line 1: not a text in UTF-8 .*in Excel: CSV UTF-8"):
            load_table(path)
        return
    table = load_table(path)
    assert table.features == ["größe", "ort=Köln", "ort=Ulm"]
    assert table.X.tolist() == [[1.5, 1, 0], [2.5, 0, 1]]


def test_the_line_that_excel_puts_first(tmp_path):
    path = write(tmp_path, "sep=;\r\na,b;c\r\n1;2\r\n3;\r\n")
    with pytest.raises(DataError, match="line 4, column 'c': the value is missing"):
        load_table(path)
    assert load_table(path, ignore=["c"]).X.tolist() == [[1], [3]]


def test_a_target_with_a_stray_text_is_no_class(tmp_path):
    rows = "".join(f"{i},{i / 7:.3f}\n" for i in range(30))
    path = write(tmp_path, f"x,y\n{rows}99,unknown\n")
    with pytest.raises(DataError, match="line 32, column 'y': 'unknown' is no number, as the"):
        load_table(path, target="y")
    assert len(load_table(path, target="y", task="classify").classes) == 31
    few = write(tmp_path, "x,y\n" + "1,0\n2,1\n3,none\n" * 5)
    assert load_table(few, target="y").classes == ["0", "1", "none"]


# ---- what a column is taken for ----


@pytest.mark.parametrize(
    "text",
    [
        *("2024-01-31", "2024/1/31", "2024-01", "31.01.2024", "1.2.24", "1/31/2024", "12:30"),
        *("2024-01-31T12:30:00Z", "2024-01-31T12:30:00.123+01:00", "2024-01-31 12:30"),
        *("31-Jan-2024", "31. Januar 2024", "Jan 31, 2024", "5 März 2024", "1/31/2024 1:30 PM"),
    ],
)
def test_dates(text):
    assert is_date(text)


@pytest.mark.parametrize("text", ["1.5", "2024", "1.234,5", "a-b-c", "10.0.0.1", "1-2", "Mai", ""])
def test_no_dates(text):
    assert not is_date(text)


def test_kinds_of_columns(tmp_path):
    table = load_table(shop(tmp_path), target="price", ignore=["town"], skip_unusable=True)
    assert table.features == ["id", "size"] and table.schema.task == "regress"
    assert table.schema.kinds == {
        "id": "number", "code": "identifier", "day": "date", "town": "ignored", "size": "number",
        "empty": "empty", "price": "number",
    }  # fmt: skip
    assert table.schema.ignored == ["code", "day", "town", "empty"]
    with pytest.raises(DataError, match="column 'empty': the value is missing"):
        load_table(shop(tmp_path), target="price")
    whole = load_table(shop(tmp_path), target="price", ignore=["empty"])
    assert whole.schema.kinds["day"] == "date" and len(whole.features) == 60 + 28 + 2 + 2


def test_days_in_arrays(tmp_path):
    days = np.arange("2024-01-01", "2024-02-01", dtype="datetime64[D]")
    np.savez(tmp_path / "a.npz", day=days, x=np.arange(31) % 7, y=np.arange(31) % 2)
    table = load_table(tmp_path / "a.npz", target="y", skip_unusable=True)
    assert table.schema.kinds == {"day": "date", "x": "number", "y": "categories"}
    assert table.features == ["x"]


def test_many_columns(tmp_path):
    """No step of the reader looks at all names for each name."""
    names, ones = ",".join(f"c{i}" for i in range(20_000)), ",".join(["1"] * 20_000)
    path = write(tmp_path, f"{names}\n{ones}\n{ones}\n")
    table = load_table(path, target=-1)
    assert table.X.shape == (2, 19_999) and table.features[-1] == "c19998"
    assert table.schema.read(path)[0].shape == (2, 19_999)
