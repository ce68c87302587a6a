"""nnlite train and predict on tables as people have them: what they print, warn of and refuse."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from tables import shop, write

import nnlite as nn
from nnlite.cli import main as cli
from nnlite.data import load_table


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


def test_numbers_that_may_be_meant_otherwise(tmp_path, capsys):
    """Points between thousands and nothing that tells; numbers with a unit."""
    rows = [f"{i}.{100 + i};{i},50 €;{1.5 * i};{i % 2}\n" for i in range(10, 40)]
    path = write(tmp_path, "people;cost;x;y\n" + "".join(rows))
    _, warnings = train(capsys, path, "y")
    first, second = warnings.splitlines()[:2]
    assert "column 'people' has no number that tells whether 10.110 has a decimal point" in first
    assert "column 'cost' holds numbers with a unit, such as '10,50 €'; to use them, rem" in second
    told = write(tmp_path, path.read_text("utf-8").replace(";15.0;", ";15,0;"))
    assert load_table(told, "y", ignore=["x"]).X[0, 0] == 10.11  # x is not looked at
    rows = [f"{i}.{100 + i}.000;{i % 2}\n" for i in range(1, 9)]
    path = write(tmp_path, "people;y\n" + "".join(rows) + "1.234;0\n")
    assert load_table(path, "y").X[[0, -1], 0].tolist() == [1101000, 1234]
    _, warnings = train(capsys, path, "people", "--validation-split", "0", "--epochs", "1")
    assert "no number that tells" not in warnings
    path = write(tmp_path, "x;y\n" + "".join(f"{i};{i}.500\n" for i in range(1, 30)))
    assert "column 'y' has no number that tells whether 1.500" in train(capsys, path, "y")[1]


def test_a_number_far_from_all_others(tmp_path, capsys):
    path = write(tmp_path, "x,y\n" + "1,0\n2,1\n" * 20)
    train(capsys, path, "y", "--epochs", "1")
    new, model = write(tmp_path, "x\n1\n1e300\n", "new.csv"), path.with_suffix(".model")
    assert cli.main(["predict", str(model), str(new)]) == 2
    message = "nnlite: row 2, 'x': 1e+300 is too far from the numbers of the training; correct it\n"
    assert capsys.readouterr().err == message


def test_a_missing_package_names_its_extra(tmp_path, capsys, monkeypatch):
    """Before the training, which would be lost."""
    path = write(tmp_path, "x,y\n" + "1,0\n2,1\n" * 20)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out, picture = tmp_path / "model", tmp_path / "h.png"
    command = ["train", str(path), "--target", "y", "--out", str(out), "--plot", str(picture)]
    assert cli.main(command) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("nnlite: --plot: needs matplotlib (") and errors.count("\n") == 1
    assert "install it with: pip install 'nnlite[plot]'" in errors and not out.exists()


def test_errors_that_nobody_thought_of_are_one_line(capsys, monkeypatch):
    for error, expected in (
        (TypeError("a\n b"), "nnlite: TypeError: a b (NNLITE_TRACEBACK=1 shows where)\n"),
        (MemoryError(), "nnlite: the memory does not suffice\n"),
        (PermissionError(13, "Permission denied", "a.csv"), "nnlite: a.csv: Permission denied\n"),
        (IsADirectoryError(21, "Is a directory"), "nnlite: Is a directory\n"),
        (RecursionError("too deep"), "nnlite: RecursionError: too deep (NNLITE_TRACEBACK=1 sho"),
    ):

        def fail(args, error=error):
            raise error

        monkeypatch.setattr("nnlite.cli.info.run", fail)
        monkeypatch.delenv("NNLITE_TRACEBACK", raising=False)
        assert cli.main(["info"]) == 2
        assert capsys.readouterr().err.startswith(expected)
        monkeypatch.setenv("NNLITE_TRACEBACK", "1")
        with pytest.raises(type(error)):
            cli.main(["info"])


def test_warnings_are_one_line(capsys, monkeypatch):
    monkeypatch.setattr(
        "nnlite.cli.info.run", lambda args: warnings.warn("look\n here", stacklevel=1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["info"]) == 0
    assert capsys.readouterr().err == "nnlite: warning: look here\n"
