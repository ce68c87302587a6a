"""nnlite train and nnlite predict, as a user runs them."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nnlite as nn
from nnlite.cli import job
from nnlite.cli import main as cli


def write(path: Path, names: list[str] | None, rows) -> str:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        if names:
            table.writerow(names)
        table.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, str]:
    """digits.csv with names; flats.csv: a price from rooms, area and town."""
    folder = tmp_path_factory.mktemp("tables")
    X, y = nn.data.load_digits()
    names = [f"pixel{i}" for i in range(64)]
    rows = ([*map(int, x), f"digit {label}"] for x, label in zip(X, y, strict=True))
    digits = write(folder / "digits.csv", [*names, "label"], rows)
    rng = np.random.default_rng(0)
    flats = []
    for i in range(400):
        rooms, area, town = int(rng.integers(1, 6)), rng.uniform(20, 120), ["Ulm", "Köln"][i % 2]
        price = 20_000 * rooms + 3_000 * area + 90_000 * (town == "Köln") + rng.normal(0, 5_000)
        flats.append([rooms, f"{area:.1f}", town, f"{price:.0f}"])
    return {
        "digits": digits,
        "flats": write(folder / "flats.csv", ["rooms", "area", "town", "price"], flats),
    }


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


def train(tables, out, *words: object, data: str = "digits", target: str = "label") -> int:
    return run("train", tables[data], "--target", target, "--out", out, "--quiet", *words)


def figures(text: str) -> dict[str, str]:
    """The table that train prints."""
    return dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines())


def read(path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_digits_from_file_to_file(tables, tmp_path, capsys):
    out, answers = tmp_path / "digits.safetensors", tmp_path / "answers.csv"
    assert train(tables, out, "--hidden", "64,32", "--epochs", 12) == 0
    printed = figures(capsys.readouterr().out)
    assert printed["rows"] == "1438 training, 359 validation"
    assert printed["features"] == "64" and printed["epochs"] == "12"
    assert printed["classes"] == "10 (digit 0, digit 1, digit 2, digit 3, digit 4, digit 5, ...)"
    assert float(printed["validation accuracy"]) >= 0.95
    assert printed["model"] == str(out) and float(printed["seconds"]) >= 0

    assert run("predict", out, tables["digits"], "--out", answers) == 0
    assert capsys.readouterr().out == f"1797 predictions in {answers}\n"
    names, *rows = read(answers)
    assert names == ["label", *(f"p(digit {i})" for i in range(10))]
    truth = [row[-1] for row in read(tables["digits"])[1:]]
    assert np.mean([row[0] == label for row, label in zip(rows, truth, strict=True)]) >= 0.97
    p = np.array([row[1:] for row in rows], float)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert [f"digit {i}" for i in p.argmax(axis=1)] == [row[0] for row in rows]


def test_prediction_is_the_models(tables, tmp_path, capsys):
    """The file alone gives the same numbers, step by step."""
    out = tmp_path / "m"
    assert train(tables, out, "--epochs", 2) == 0
    assert run("predict", out, tables["digits"]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()[-1797:]))
    loaded = nn.load(out)
    X, _ = nn.data.load_digits()
    mean, std = loaded.extra["features"]["mean"], loaded.extra["features"]["std"]
    logits = loaded.model.predict(((X - mean) / std).astype(np.float32))
    expected = nn.functional.softmax(logits)
    assert np.allclose(np.array([row[1:] for row in rows], float), expected, rtol=1e-5)
    assert np.count_nonzero(std == 1) >= 3  # pixels that are always empty


def test_regression_in_the_targets_units(tables, tmp_path, capsys):
    out = tmp_path / "flats"
    words = ["--epochs", 60, "--hidden", 32, "--optimizer", "sgd"]
    assert train(tables, out, *words, data="flats", target="price") == 0
    printed = figures(capsys.readouterr().out)
    assert printed["target"] == "price, a number" and printed["features"] == "4"
    assert float(printed["validation R2"]) > 0.98
    assert float(printed["validation RMSE"]) < 15_000
    rows = read(tables["flats"])
    lacking = write(tmp_path / "new.csv", ["town", "area", "rooms"], [r[2::-1] for r in rows[1:]])
    assert run("predict", out, lacking) == 0
    first, second = capsys.readouterr().out.split(), [row[3] for row in rows]
    assert first[0] == "price"
    assert np.corrcoef(np.array(first[1:], float), np.array(second[1:], float))[0, 1] > 0.99


@pytest.mark.parametrize("ending", ["npz", "npy"])
def test_numpy_files(tmp_path, capsys, ending):
    X, y = nn.data.load_digits()
    data, target = tmp_path / f"digits.{ending}", "y" if ending == "npz" else "-1"
    if ending == "npz":
        np.savez(data, X=X.astype(np.uint8), y=y)
    else:
        np.save(data, np.column_stack([X, y]))
    out = tmp_path / "m"
    assert run("train", data, "--target", target, "--out", out, "--epochs", 8, "--quiet") == 0
    assert float(figures(capsys.readouterr().out)["validation accuracy"]) > 0.9
    np.save(tmp_path / "new.npy", X[:5])
    assert run("predict", out, tmp_path / "new.npy") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2", "3", "4"]
    assert lines[0].split(",")[0] == ("y" if ending == "npz" else "prediction")


@pytest.mark.parametrize("optimizer", job.OPTIMIZERS)
def test_optimizers(tables, tmp_path, capsys, optimizer):
    words = ["--epochs", 5, "--optimizer", optimizer, "--weight-decay", 1e-4]
    assert train(tables, tmp_path / "m", *words) == 0
    assert float(figures(capsys.readouterr().out)["validation accuracy"]) > 0.85
    loaded = nn.load(tmp_path / "m")
    assert type(loaded.optimizer).__name__ == job.OPTIMIZERS[optimizer][0]
    assert loaded.optimizer.lr == pytest.approx(job.OPTIMIZERS[optimizer][1])


@pytest.mark.parametrize("activation", job.ACTIVATIONS)
def test_the_network_that_was_asked_for(tables, tmp_path, activation):
    words = ["--hidden", "7,5", "--activation", activation, "--dropout", "0.1", "--epochs", 1]
    assert train(tables, tmp_path / "m", *words) == 0
    model = nn.load(tmp_path / "m").model
    shapes = [p.shape for p in model.parameters()]
    assert shapes == [(64, 7), (7,), (7, 5), (5,), (5, 10), (10,)]
    assert [type(layer).__name__ for layer in model][1:3] == [
        {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid"}[activation],
        "Dropout",
    ]
    assert train(tables, tmp_path / "m", "--hidden", "none", "--epochs", 1) == 0
    assert [p.shape for p in nn.load(tmp_path / "m").model.parameters()] == [(64, 10), (10,)]


def test_same_command_same_bytes(tables, tmp_path):
    words = ["--epochs", 3, "--dropout", "0.2"]
    files = [tmp_path / name for name in "abc"]
    for file, more in zip(files, ([], ["--threads", 1], ["--seed", 1]), strict=True):
        assert train(tables, file, *words, *more) == 0
    first, second, third = (file.read_bytes() for file in files)
    assert first == second != third


# ---- stopping and going on ----


def test_early_stopping_keeps_the_best(tables, tmp_path, capsys):
    out = tmp_path / "m"
    words = ["--epochs", 200, "--lr", 0.01, "--early-stopping", 3]
    assert train(tables, out, *words) == 0
    printed = figures(capsys.readouterr().out)
    epochs = int(printed["epochs"])
    history = nn.load(out).extra["history"]
    best = int(np.argmin(history["val_loss"]))
    assert epochs < 200 and epochs == best + 4
    assert float(printed["validation accuracy"]) == pytest.approx(
        history["val_accuracy"][best], abs=5e-5
    )
    before = out.read_bytes()
    assert train(tables, out, *words, "--resume") == 0
    assert "nothing is left to train" in capsys.readouterr().out and out.read_bytes() == before


KILLED = """
import sys
from nnlite.cli import job, main
job.SAVE_SECONDS = 0
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_resume_after_the_end_of_the_process(tables, tmp_path, capsys, how):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = ["train", tables["digits"], "--target", "label", "--quiet", "--epochs", 150]
    words += ["--early-stopping", 149, "--dropout", 0.1]
    assert run(*words, "--out", whole) == 0
    for _ in range(2):
        command = [sys.executable, "-c", KILLED, *map(str, words), "--out", parts, "--resume"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        before = parts.read_bytes() if parts.exists() else b""
        while process.poll() is None and (not parts.exists() or parts.read_bytes() == before):
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
        assert b"Traceback" not in errors
        assert process.returncode == (-9 if how == signal.SIGKILL else 130)
        assert (b"with --resume goes on" in errors) == (how == signal.SIGINT)
    assert not nn.load(parts).extra["finished"]
    assert run(*words, "--out", parts, "--resume") == 0
    assert parts.read_bytes() == whole.read_bytes()


def test_more_epochs(tables, tmp_path):
    long, short = tmp_path / "long", tmp_path / "short"
    assert train(tables, long, "--epochs", 5) == 0
    assert train(tables, short, "--epochs", 2, "--resume") == 0  # there is no file yet
    assert train(tables, short, "--epochs", 5, "--resume") == 0
    assert short.read_bytes() == long.read_bytes()


def test_progress_and_plot(tables, tmp_path):
    words = [sys.executable, "-m", "nnlite", "train", tables["digits"], "--target", "-1"]
    words += ["--epochs", "2", "--out", str(tmp_path / "m")]
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("matplotlib is not installed: the plot is not tested")
    else:
        words += ["--plot", str(tmp_path / "history.png")]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and "100%" in run.stderr and "val_accuracy=" in run.stderr
    if "--plot" in words:
        assert (tmp_path / "history.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# ---- errors ----


@pytest.fixture(scope="module")
def trained(tables, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("trained") / "model"
    assert train(tables, out, "--epochs", 2) == 0
    return str(out)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--target", "nope"], "target: no column 'nope'; it has 'pixel0', "),
        (["--target", "pixel0"], "column 'pixel0' has one class, '0'"),
        (["--task", "regress"], "column 'label': expected a number to regress on, got 'digit 0'"),
        (["--ignore", "label"], "'label' is the target"),
        (["--out", "nowhere/model"], "--out: there is no folder 'nowhere'"),
        (["--out", "."], "--out: '.' is a folder"),
        (["--plot", "nowhere/h.png"], "--plot: there is no folder 'nowhere'"),
        (["--plot", "h.doc"], "--plot: 'h.doc': expected a name in .png"),
        (["--validation-split", "0.0001"], "of 1797 rows leaves a part without rows"),
        (["--validation-split", "0", "--early-stopping", "3"], "needs validation rows"),
        (["--optimizer", "sgd", "--lr", "1e30"], "Lower the learning rate"),
        (["--resume", "--hidden", "5"], "--hidden was [64] and is [5]"),
        (["--resume", "--lr", "0.5"], "--lr was 0.001 and is 0.5"),
        (["--resume", "--epochs", "1"], "has 2 epochs already, got --epochs 1"),
        (["--resume", "--ignore", "pixel3"], "was trained on other rows"),
        (["--resume", "--out", "README"], "README"),
        (["--resume", "--out", "plain"], "plain: it was not written by nnlite train"),
    ],
)
def test_bad_training(tables, trained, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("README").write_text("no model " * 9)
    nn.save("plain", nn.Sequential(nn.Linear(64, 10)))
    Path("model").write_bytes(Path(trained).read_bytes())
    assert train(tables, "model", "--epochs", 2, *words) == 2
    errors = capsys.readouterr().err
    assert message in errors and errors.count("\n") == 1 and errors.startswith("nnlite: ")
    assert Path("model").read_bytes() == Path(trained).read_bytes()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--epochs", "0"], "--epochs: expected a whole number from 1, got '0'"),
        (["--hidden", "64,x"], "--hidden: expected a whole number from 1, got 'x'"),
        (["--hidden", ""], "--hidden: expected a whole number from 1, got ''"),
        (["--lr", "0"], "--lr: expected a number above 0, got '0'"),
        (["--lr", "nan"], "--lr: expected a number of at least 0, got 'nan'"),
        (["--dropout", "1"], "--dropout: expected a share from 0 to below 1, got '1'"),
        (["--seed", "-1"], "--seed"),
        (["--optimizer", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_bad_options(tables, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as error:
        train(tables, tmp_path / "m", *words)
    errors = capsys.readouterr().err
    assert error.value.code == 2 and message in errors and errors.count("\n") == 1


def test_bad_prediction(tables, trained, tmp_path, capsys):
    def message(*words):
        capsys.readouterr()
        assert run("predict", *words) == 2
        errors = capsys.readouterr().err
        assert errors.count("\n") == 1 and errors.startswith("nnlite: ")
        return errors

    assert "missing columns 'pixel0', 'pixel1'," in message(trained, tables["flats"])
    assert "and 56 more; it has 'rooms', 'area'" in message(trained, tables["flats"])
    assert "nowhere.csv" in message(trained, "nowhere.csv")
    assert "nowhere" in message("nowhere", tables["digits"])
    assert "digits.csv" in message(tables["digits"], tables["digits"])
    out = tmp_path / "nowhere" / "answers.csv"
    assert "answers.csv" in message(trained, tables["digits"], "--out", out)
    nn.save(tmp_path / "plain", nn.Sequential(nn.Linear(64, 10)))
    assert "was not written by nnlite train" in message(tmp_path / "plain", tables["digits"])


def test_columns_that_are_not_used_are_told(tables, trained, tmp_path, capsys):
    rows = read(tables["digits"])
    more = write(tmp_path / "more.csv", None, [["id", *rows[0]], ["7", *rows[1]]])
    assert run("predict", trained, more) == 0
    printed = capsys.readouterr()
    assert printed.err == "nnlite predict: not used: id\n" and printed.out.count("\n") == 2


def test_rows_that_lack_a_value(tables, trained, tmp_path, capsys):
    """NaN for such a row, as model.predict gives in Python; the others are as without it."""
    rows = read(tables["digits"])[:20]
    whole = write(tmp_path / "whole.csv", None, rows)
    rows[3][5], rows[7][0], rows[7][63] = "", "NA", "?"
    holes = write(tmp_path / "holes.csv", None, rows)
    capsys.readouterr()
    assert run("predict", trained, whole) == 0
    expected = capsys.readouterr().out.splitlines()
    assert run("predict", trained, holes) == 0
    printed = capsys.readouterr()
    assert printed.err == (
        f"nnlite predict: warning: {holes}: line 4, column 'pixel5': the value is missing; 2 of 19 "
        "rows lack one, and their predictions are nan\n"
    )
    expected[3] = expected[7] = ",".join(["nan"] * 11)
    assert printed.out.splitlines() == expected
    loaded = nn.load(trained)
    schema = nn.data.Schema.of(loaded.extra["schema"])
    X, _ = schema.read(holes, missing="nan")
    assert np.isnan(X).sum() == 3
    outputs = loaded.model.predict(X.astype(np.float32))
    assert np.flatnonzero(np.isnan(outputs).any(axis=1)).tolist() == [2, 6]
    assert np.isnan(outputs[[2, 6]]).all()
    with pytest.raises(nn.data.DataError, match=r"holes\.csv: line 8, column 'pixel0': the value"):
        schema.read(holes)
    with pytest.raises(ValueError, match="missing: expected 'error' or 'nan', got 'skip'"):
        schema.read(holes, missing="skip")
