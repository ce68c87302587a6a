"""History: a dict of lists, as a table, as lines of JSON, as a picture."""

from __future__ import annotations

import copy
import csv
import json
import math
import pickle
import sys

import numpy as np
import pytest

import nnlite as nn

NAN, INF = math.nan, math.inf


def some() -> nn.History:
    history = nn.History()
    history.append(loss=1.5, accuracy=0.25, seconds=0.1)
    history.append(loss=0.1 + 0.2, accuracy=0.5, val_loss=2.0, seconds=0.1)
    history.append(loss=NAN, val_loss=-INF, seconds=0.1, confusion_matrix=np.eye(2, dtype=int))
    return history


def same(a: dict, b: dict) -> bool:
    """Equal, NaN counting as itself."""
    return repr({k: _listed(v) for k, v in a.items()}) == repr(
        {k: _listed(v) for k, v in b.items()}
    )


def _listed(column: list) -> list:
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in column]


def test_a_dict_of_lists():
    history = some()
    assert isinstance(history, dict) and history.history is history and history.epochs == 3
    assert list(history) == ["loss", "accuracy", "seconds", "val_loss", "confusion_matrix"]
    assert all(len(column) == 3 for column in history.values())
    assert history["accuracy"][:2] == [0.25, 0.5] and math.isnan(history["accuracy"][2])
    assert math.isnan(history["val_loss"][0]) and history["val_loss"][1:] == [2.0, -INF]
    assert repr(history) == (
        "History(3 epochs; last: loss=nan, accuracy=nan, seconds=0.1, val_loss=-inf)"
    )
    assert repr(nn.History()) == "History(0 epochs)" and nn.History() == {}
    for other in (copy.deepcopy(history), pickle.loads(pickle.dumps(history)), nn.History(history)):
        assert type(other) is nn.History and same(other, history)
    given = {"loss": [1.0]}
    made = nn.History(given)
    made.append(loss=2.0)
    assert made == {"loss": [1.0, 2.0]} and given == {"loss": [1.0]}


def test_csv(tmp_path):
    some().to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", "loss", "accuracy", "seconds", "val_loss", "confusion_matrix"]
    assert rows[1] == ["1", "1.5", "0.25", "0.1", "", ""]
    assert rows[2] == ["2", "0.30000000000000004", "0.5", "0.1", "2.0", ""]
    assert rows[3] == ["3", "", "", "0.1", "-inf", "[[1, 0], [0, 1]]"]
    assert float(rows[2][1]) == 0.1 + 0.2
    nn.History().to_csv(tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_bytes() == b"epoch\n"


def test_jsonl(tmp_path):
    history, path = some(), tmp_path / "h.jsonl"
    history.append(loss=np.float32(0.5), val_loss=INF, seconds=3)
    history.to_jsonl(path)
    lines = path.read_text().splitlines()
    assert lines[0] == (
        '{"epoch": 1, "loss": 1.5, "accuracy": 0.25, "seconds": 0.1, "val_loss": null, '
        '"confusion_matrix": null}'
    )
    for line in lines:  # strict JSON: no NaN, no Infinity
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    found = nn.History.from_jsonl(path)
    history["loss"][3] = 0.5
    assert type(found) is nn.History and same(found, history)
    (tmp_path / "empty").write_text("")
    assert nn.History.from_jsonl(tmp_path / "empty") == {}


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "h.jsonl"
    for text, message in (
        ('{"loss": 1}\n{"loss"', "line 2: expected JSON, got '{\"loss\"'"),
        ("[1, 2]\n", "line 1: expected an object"),
        ("\n", "line 1: expected JSON"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"^History.from_jsonl: .*h.jsonl, ") as caught:
            nn.History.from_jsonl(path)
        assert message in str(caught.value)
    with pytest.raises(FileNotFoundError):
        nn.History.from_jsonl(tmp_path / "none")
    for write in (some().to_csv, some().to_jsonl):
        with pytest.raises(OSError, match=r"History.to_\w+: cannot write"):
            write(tmp_path / "no folder" / "h")
    with pytest.raises(TypeError, match="values: expected a dict of lists, got list"):
        nn.History([1])
    with pytest.raises(ValueError, match=r"lists of one length, got \{'a': 1, 'b': 2\}"):
        nn.History({"a": [1], "b": [1, 2]})


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    history = nn.History()
    for i in range(5):
        history.append(loss=1 / (i + 1), accuracy=i / 5, val_loss=abs(i - 3) + 0.5, seconds=1.0)
        history["accuracy"][-1] = i / 5
    history["val_accuracy"] = [0.1, 0.9, 0.9, 0.2, NAN]
    figure = history.plot(tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    loss, accuracy = figure.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "mean loss per sample")
    assert accuracy.get_ylabel() == "accuracy, %"
    texts = [text.get_text() for text in loss.get_legend().get_texts()]
    assert texts == ["training", "validation", "best: 0.5 in epoch 4"]
    texts = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert texts == ["training", "validation", "best: 90 % in epoch 2"]
    lines = [list(line.get_ydata()) for line in loss.lines[:2]]
    assert lines == [history["loss"], history["val_loss"]]
    assert list(accuracy.lines[0].get_ydata()) == [100 * i / 5 for i in range(5)]
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3, 4, 5]


def test_plot_of_other_metrics(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    history = nn.History({"loss": [1.0], "top_5": [0.5], "accuracy": [0.2], "mae": [3.0]})
    history |= {"val_mae": [NAN], "lr": [0.1], "confusion_matrix": [np.eye(2)]}
    labels = [axes.get_ylabel() for axes in history.plot(tmp_path / "h.svg").axes]
    assert labels == [
        "mean loss per sample", "share of samples, %", "mean absolute error",
        "learning rate per step",
    ]  # fmt: skip
    assert b"<svg" in (tmp_path / "h.svg").read_bytes()
    with pytest.raises(ValueError, match="no epoch was measured; run fit first"):
        nn.History().plot(tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_plot_without_a_file():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure = nn.History({"loss": [1.0, 0.5]}).plot()
    assert pyplot.fignum_exists(figure.number)  # pyplot.show() would show it
    pyplot.close(figure)


def test_plot_without_matplotlib(monkeypatch):
    for name in list(sys.modules):
        if name.split(".")[0] == "matplotlib":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"needs matplotlib .*: pip install 'nnlite\[plot\]'"):
        nn.History({"loss": [1.0]}).plot("never.png")
