"""Tables as people write them: decimal commas, thousands, dates, identifiers, what Excel saves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import nnlite as nn
from nnlite import cli
from nnlite.data import DataError, Schema, load_table
from nnlite.data._number_text import COMMA, POINT, decimal_of, number_of
from nnlite.data.kinds import is_date


def write(folder: Path, text: str, name: str = "data.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


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


def shop(folder: Path, rows: int = 60) -> Path:
    """id, a code, a date, a town, a number, an empty column, and what it costs."""
    rng, lines = np.random.default_rng(0), ["id;code;day;town;size;empty;price"]
    for i in range(rows):
        size = round(float(rng.uniform(1, 100)), 1)
        price = f"{3 * size + 100:.2f}".replace(".", ",")
        town = ["Köln", "Ulm"][i % 2]
        lines.append(f"{1000 + i};k{i:03d};{i % 28 + 1:02d}.02.2024;{town};{size};;{price}")
    return write(folder, "\n".join(lines) + "\n", encoding="utf-8-sig")


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


def train(capsys, path: Path, target: str, *words: str) -> tuple[dict[str, str], str]:
    """What it prints: {name: text} and the warnings."""
    capsys.readouterr()
    out = str(path.with_suffix(".model"))
    command = ["train", str(path), "--target", target, "--out", out, "--quiet", *words]
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    lines = (re.split(r"  +", line, maxsplit=1) for line in printed.out.splitlines())
    return dict(lines), printed.err


def test_train_tells_what_it_understood(tmp_path, capsys):
    path = shop(tmp_path)
    printed, warnings = train(capsys, path, "price", "--ignore", "town", "--epochs", "40")
    assert printed["column id"] == "number, 1000 to 1059"
    assert printed["column code"] == "identifier: 60 different texts, such as 'k000', left out"
    assert printed["column day"] == "date, such as 01.02.2024, left out"
    assert printed["column town"] == "ignored" and printed["column empty"] == "empty, left out"
    assert re.fullmatch(r"number, [\d.]+ to [\d.]+", printed["column size"])
    assert printed["column price"].startswith("target, a number, 1")
    assert printed["task"] == "regress (the number in price)" and printed["features"] == "2"
    mean = re.fullmatch(r"([\d.]+) \(always ([\d.]+)\)", printed["RMSE of the mean"])
    held = nn.load(path.with_suffix(".model")).extra["history"]
    assert float(printed["validation RMSE"]) < float(mean[1]) and len(held["loss"]) == 40
    y = load_table(path, "price", skip_unusable=True).y
    train_rows, held_rows, _, _ = nn.data.train_test_split(np.arange(60), y, 0.2, 0, False)
    assert float(mean[2]) == pytest.approx(y[train_rows].mean(), rel=1e-5)
    rmse = np.sqrt(np.mean((y[held_rows] - y[train_rows].mean()) ** 2))
    assert float(mean[1]) == pytest.approx(rmse, rel=1e-3)
    lines = warnings.splitlines()
    assert all(line.startswith("nnlite train: warning: column '") for line in lines)
    assert [re.search("'(.*?)'", line)[1] for line in lines] == ["id", "code", "day", "empty"]
    assert "--ignore id" in lines[0] and "is a date and is left out" in lines[2]


def test_the_majority_class_stands_beside_the_model(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [(x, "yes" if x > 0.8 else "no") for x in rng.random(200)]
    path = write(tmp_path, "x,y\n" + "".join(f"{x:.4f},{y}\n" for x, y in rows))
    printed, warnings = train(capsys, path, "y", "--epochs", "60", "--lr", "0.03")
    assert printed["column y"] == "target, 2 classes (no, yes)"
    assert printed["task"] == "classify (the class in y)" and warnings == ""
    table = load_table(path, "y")
    y_held = nn.data.train_test_split(np.arange(200), table.y, 0.2, 0, True)[3]
    share = float(np.mean(y_held == 0))
    assert printed["majority class"] == f"{share:.4f} (always no)"
    assert float(printed["validation accuracy"]) > share
    _, warnings = train(capsys, path, "y", "--epochs", "1", "--lr", "1e-9")
    assert "the model is not better than the same answer for every row" in warnings


def test_many_columns_share_lines(tmp_path, capsys):
    X, y = nn.data.load_digits()
    np.savez(tmp_path / "d.npz", X=X[:200], y=y[:200], id=np.arange(200))
    printed, warnings = train(capsys, tmp_path / "d.npz", "y", "--epochs", "1")
    assert printed["column 0 .. 63"] == "64 columns: number" and "column 5" not in printed
    assert printed["column id"] == "number, 0 to 199" and warnings.count("\n") <= 2
    assert "column 'id' has another whole number in every row" in warnings


@pytest.mark.parametrize(
    "text, words, message",
    [
        ("x,y\n" + "1,1.5\n2,1.5\n" * 9, [], "column 'y' is 1.5 in every row; there is nothing"),
        ("x,y\n" + "1,a\n2,a\n" * 9, [], "column 'y' has one class, 'a'"),
        ("x,y\n1,2\n", [], "of 1 rows leaves a part without rows"),
        ("x,x,y\n" + "1,2,3\n" * 9, [], "'x' names several columns; rename them, or leave one"),
        ("x,2019,y\n1,2,3\n", [], "no column 'y'; .* its first line holds a number, so it was"),
        ("x,y\n1,2\n", ["--ignore", "x"], "no column is left to learn from"),
        ("d,y\n" + "".join(f"2024-01-{i:02d},{i}\n" for i in range(1, 25)), [], "no column is le"),
        ("x,y\n1,2\n3,\n", [], "line 3, column 'y': the value is missing"),
        ("x,y\n1,2\n3,4,5\n", [], "line 3: expected 2 fields as in the first line, got 3"),
        ("y\n1\n2\n", [], "no column is left"),
        ("", [], "the file is empty"),
        (None, [], r"data\.csv: No such file or directory\n"),
    ],
)
def test_what_cannot_be_trained_is_one_line(tmp_path, capsys, text, words, message):
    path = tmp_path / "data.csv"
    if text is not None:
        write(tmp_path, text)
    out = tmp_path / "model"
    command = ["train", str(path), "--target", "y", "--out", str(out), "--quiet", *words]
    assert cli.main(command) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err) and printed.err.count("\n") == 1
    assert (
        printed.out == ""
        and not out.exists()
        and str(path)
        in printed.err + "".join([str(path)] if "--validation-split" in printed.err else [])
    )


def test_predictions_of_other_tables(tmp_path, capsys):
    """Other order, other separator, more columns; and what cannot be read in that way."""
    path = shop(tmp_path)
    train(capsys, path, "price", "--ignore", "id", "--epochs", "2")
    model, new = str(path.with_suffix(".model")), tmp_path / "new.csv"

    def predict(text: str) -> tuple[int, list[str], str]:
        write(tmp_path, text, "new.csv")
        code = cli.main(["predict", model, str(new)])
        printed = capsys.readouterr()
        return code, printed.out.splitlines(), printed.err

    code, first, _ = predict("town;size\nKöln;12.5\nUlm;80\n")
    assert code == 0 and first[0] == "price" and len(first) == 3
    assert predict("size,town\n12.5,Köln\n80,Ulm\n")[1] == first
    assert predict("size;more;town\n12,5;x;Köln\n80;y;Ulm\n")[1:] == (
        first, "nnlite predict: not used: more\n",
    )  # fmt: skip
    code, rows, errors = predict("town;size\nKöln;12.5\n;80\nUlm;\n")
    assert code == 0 and rows == [*first[:2], "nan", "nan"]
    assert "new.csv: line 3, column 'town': the value is missing; 2 of 3 rows lack one" in errors
    for text, message in (
        ("size\n1\n", "missing column 'town'; it has 'size'"),
        ("Köln;80\n", "missing columns 'town', 'size'; it has 'Köln', '80'; the first line of"),
        ("town;size\nBonn;1\n", "line 2, column 'town': 'Bonn' was not seen in training"),
        ("town;size\nUlm;big\n", "line 2, column 'size': expected a number, got 'big'"),
        ("town;size\nUlm;1\nUlm;big\n", "line 3, column 'size': 'big' is no number"),
        ("town;size\n1;1\n", "line 2, column 'town': expected one of 'Köln', 'Ulm', got the num"),
        ("town;size\n", "no rows follow the line of names"),
        ("", "the file is empty"),
    ):
        code, rows, errors = predict(text)
        assert (code, rows) == (2, []) and message in errors and errors.count("\n") == 1


def test_what_is_read_is_not_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shop(tmp_path)
    train(capsys, path, "price", "--ignore", "id", "--epochs", "1")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for command in (
        ["train", "data.csv", "--target", "price", "--out", "data.csv"],
        ["predict", "data.model", "data.csv", "--out", "./data.csv"],
        ["predict", "data.model", "data.csv", "--out", str(tmp_path / "data.model")],
    ):
        assert cli.main(command) == 2
        assert "is a file that is read; give another name\n" in capsys.readouterr().err
    assert cli.main(["predict", "data.model", "data.csv", "--out", "nowhere/x.csv"]) == 2
    assert "there is no folder 'nowhere'" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda e: e["schema"].update(task="regress"), "was not written by nnlite train"),
        (lambda e: e["schema"].update(classes=["a"]), "was not written by nnlite train"),
        (lambda e: e["schema"].update(columns=["x", "z"]), "was not written by nnlite train"),
        (lambda e: e["schema"].update(texts={"x": 5}), "was not written by nnlite train"),
        (lambda e: e["schema"].update(kinds=5), "was not written by nnlite train"),
        (lambda e: e["features"].update(mean=[0.0, 0], std=[1.0, 1]), "was not written by nnlite"),
        (lambda e: e.update(target=e["features"]), "was not written by nnlite train"),
        (lambda e: e.update(settings=5), "does not tell how it was trained"),
        (lambda e: e.pop("history"), "does not tell how it was trained"),
        (lambda e: e.update(epochs="many"), "does not tell how it was trained"),
    ],
)
def test_a_file_whose_parts_do_not_fit(tmp_path, capsys, change, message):
    path = write(tmp_path, "x,y\n" + "1,a\n2,b\n" * 20)
    train(capsys, path, "y", "--epochs", "1")
    model = path.with_suffix(".model")
    loaded = nn.load(model)
    change(loaded.extra)
    nn.save(model, loaded.model, trainer=loaded.trainer, extra=loaded.extra)
    commands = [["train", path, "--target", "y", "--out", model, "--epochs", "1", "--resume"]]
    if "nnlite" in message:
        commands.append(["predict", model, path])
    for command in commands:
        assert cli.main([str(word) for word in command]) == 2
        errors = capsys.readouterr().err
        assert message in errors and errors.count("\n") == 1
