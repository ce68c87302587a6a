"""The examples, each run as a user runs it, on a short setting, with its numbers checked."""

from __future__ import annotations

import gzip
import itertools
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = [
    "digits.py",
    "gates.py",
    "mnist.py",
    "neuron.py",
    "newton.py",
    "numerical_gradient.py",
    "sklearn_search.py",
    "sklearn_swap.py",
    "spiral.py",
    "table.py",
    "two_layer.py",
]


def example(name: str, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(EXAMPLES / name), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def output(name: str, *words: object) -> str:
    run = example(name, *words)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_short(name):
    assert len((EXAMPLES / name).read_text().splitlines()) < 120


def test_every_example_is_tested():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == NAMES


def test_neuron():
    lines = output("neuron.py").splitlines()
    rows = [line.split() for line in lines[1:]]
    assert rows == [
        ["y", "0.73", "0.73"],
        ["dy/dw0", "-0.20", "-0.20"],
        ["dy/dw1", "-0.39", "-0.39"],
        ["dy/dw2", "0.20", "0.20"],
        ["dy/dx0", "0.39", "0.39"],
        ["dy/dx1", "-0.59", "-0.59"],
    ]
    rows = [line.split() for line in output("neuron.py", "--x", 0, 0).splitlines()[1:]]
    assert rows[0] == ["y", "0.05", "0.05"] and rows[3] == ["dy/dw2", "0.05", "0.05"]


def test_gates(tmp_path):
    plot = tmp_path / "neuron.dot"
    lines = output("gates.py", "--plot", plot).splitlines()
    assert lines == [
        f"wrote {plot}",
        "neuron: y              0.73",
        "  dw                   -0.20 -0.39 0.20",
        "  dx                   0.39 -0.59",
        "add distributes        -1.00 2.00 2.00",
        "multiply swaps         -12.00 -8.00 6.00",
        "max routes             3.00 2.00 0.00",
        "copy adds              17.00 14.00 2.00",
        "e^(w x + b)            7.39 7.39 14.78 22.17",
        "||W x||^2              0.116",
        "  dW                   [[0.088, 0.176], [0.104, 0.208]]",
        "  dx                   [-0.112, 0.636]",
        "y = x W                [[-1.0, -1.0, 2.0, 6.0], [5.0, 2.0, 11.0, 7.0]]",
        "  dx = dy W^T          [[0.0, 16.0, -9.0], [-24.0, 9.0, -30.0]]",
        "  dW = x^T dy          [[28.0, 3.0, -18.0, 0.0], [-30.0, 7.0, 13.0, 33.0], "
        "[-22.0, -7.0, 17.0, -15.0]]",
    ]
    text = plot.read_text()
    for value, gradient in (("2.00", "-0.20"), ("-1.00", "0.39"), ("6.00", "0.20")):
        assert f'>{value}</font><br/><font color="#d00000">{gradient}<' in text


def test_two_layer():
    lines = [line.split() for line in output("two_layer.py", "--epochs", 600).splitlines()]
    assert lines[0] == ["epoch", "flat", "units", "model"]
    rows = [[float(word) for word in line[1:]] for line in lines[1:-1]]
    assert len(rows) == 6
    for row in rows:  # three ways, one number
        assert max(row) - min(row) < 1e-7
    assert rows[0][0] == pytest.approx(np.log(3), abs=2e-3) and rows[-1][0] < 0.45
    assert lines[-1][0] == "accuracy" and float(lines[-1][1]) > 0.85


def test_spiral(tmp_path):
    plot = tmp_path / "spiral.png"
    words = ["--epochs", 800]
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("matplotlib is not installed: the plot is not tested")
    else:
        words += ["--plot", plot]
    text = output("spiral.py", *words)
    accuracy = {
        name: float(re.search(rf"^{name}.*accuracy (\S+)$", text, re.M)[1])
        for name in ("linear", "two-layer")
    }
    assert 0.45 <= accuracy["linear"] <= 0.6
    assert accuracy["two-layer"] >= 0.9
    if "--plot" in words:
        assert f"wrote {plot}" in text
        assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and plot.stat().st_size > 20_000


def test_digits():
    text = output("digits.py", "--epochs", 10)
    first, last = re.search(r"loss: (\S+) after the first epoch, (\S+) after", text).groups()
    assert float(first) > 1 and float(last) < 0.12
    accuracy = float(re.search(r"test accuracy (\S+)$", text, re.M)[1])
    wrong = int(re.search(r"^(\d+) of 449 test digits are wrong$", text, re.M)[1])
    assert accuracy >= 0.95 and accuracy == pytest.approx(1 - wrong / 449, abs=1e-4)
    picture = text.splitlines()[-8:]
    assert all(re.fullmatch(r" {4}[ .:\-=+*#%@]{16}", line) for line in picture)
    assert output("digits.py", "--epochs", 10) == text  # the same bits


def test_table(tmp_path):
    lines = output("table.py").splitlines()
    expected = "300 rows, features colour=green, colour=red, colour=yellow, weight, length"
    assert lines[0] == expected
    assert float(re.fullmatch(r"test accuracy (\S+)", lines[1])[1]) >= 0.95
    assert len(lines) == 5
    assert all(re.fullmatch(r"row \d: (apple|banana|lemon) \((0|1)\.\d\d\)", s) for s in lines[2:])
    table = tmp_path / "own.csv"
    table.write_text("x;y;side\n" + "".join(f"{i % 9 - 4};{i};{i % 9 > 4}\n" for i in range(90)))
    text = output("table.py", table, "--target", "side", "--epochs", 30)
    assert "90 rows, features x, y\n" in text and "row 0: False (1.00)" in text


def write_mnist(folder: Path, compressed: bool) -> None:
    """Images of 6x6 pixels in MNIST's files: the digit decides which pixel is lit."""
    rng = np.random.default_rng(0)
    for part, rows in (("train", 400), ("t10k", 100)):
        labels = rng.integers(0, 10, rows).astype(np.uint8)
        images = rng.integers(0, 60, (rows, 6, 6)).astype(np.uint8)
        images.reshape(rows, 36)[np.arange(rows), labels * 3] = 255
        for array, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
            header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            data, name = header + array.tobytes(), f"{part}-{kind}-ubyte"
            if compressed:
                data, name = gzip.compress(data), f"{name}.gz"
            (folder / name).write_bytes(data)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_mnist(tmp_path, compressed):
    write_mnist(tmp_path, compressed)
    text = output("mnist.py", tmp_path, "--epochs", 5, "--batch-size", 20, "--hidden", 32)
    assert text.startswith("400 training and 100 test images of 36 pixels\n")
    assert float(re.search(r"test accuracy (\S+)$", text, re.M)[1]) >= 0.95


def test_mnist_without_files(tmp_path):
    run = example("mnist.py", tmp_path)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        assert f"{name}-ubyte[.gz]" in run.stderr
    assert str(tmp_path) in run.stderr


def test_newton_converges_in_a_few_steps():
    text = output("newton.py")
    rows = [line.split() for line in text.splitlines()[1:-1]]
    assert [int(row[0]) for row in rows] == list(range(len(rows))) and len(rows) <= 9
    losses, sizes = [float(row[1]) for row in rows], [float(row[2]) for row in rows]
    assert losses[0] == pytest.approx(np.log(10), abs=1e-14)
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] == pytest.approx(0.736073130504, abs=1e-11)  # that of scikit-learn's fit
    assert sizes[-1] <= 1e-10
    for before, after in zip(sizes[-4:], sizes[-3:], strict=False):
        assert after < 10 * before**1.5  # faster than linear
    assert all(float(row[4]) == 1 for row in rows[:-1])
    assert sum(int(row[3]) for row in rows[:-1]) < 200
    assert float(re.search(r"test accuracy (\S+)$", text)[1]) >= 0.94


def test_numerical_gradient(tmp_path):
    plot = tmp_path / "error.png"
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("matplotlib is not installed: the plot is not tested")
        text = output("numerical_gradient.py")
    else:
        text = output("numerical_gradient.py", "--plot", plot)
        assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and plot.stat().st_size > 20_000
    table = re.findall(r"^ *([0-9.]+e[+-]\d+) +([0-9.]+e[+-]\d+)$", text, re.M)
    error = {float(delta): float(found) for delta, found in table}
    assert len(error) == 29
    assert error[1e-1] / error[1e-2] == pytest.approx(100, rel=0.05)  # curvature: delta^2
    assert 1e-12 < error[1e-5] < 1e-9 and error[1e-10] > 1e3 * error[1e-5]  # rounding: 1 / delta
    best = float(re.search(r"smallest error \S+ at (\S+)$", text, re.M)[1])
    assert 1e-6 <= best <= 1e-4
    assert float(re.search(r"largest relative error (\S+)$", text, re.M)[1]) < 1e-9
    assert float(re.search(r"J\^T u, v>: (\S+)$", text, re.M)[1]) < 1e-14


@pytest.mark.slow
def test_sklearn_swap():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    text = output("sklearn_swap.py", "--epochs", 8, "--folds", 2)
    rows = re.findall(r"^(\S+) +(0\.\d+) +(\d+\.\d+)$", text, re.M)
    assert [row[0] for row in rows] == ["sklearn.neural_network", "nnlite.sklearn"]
    accuracies = [float(row[1]) for row in rows]
    assert min(accuracies) > 0.9 and abs(accuracies[0] - accuracies[1]) < 2e-3
    assert float(re.search(r"difference of a probability (\S+)$", text, re.M)[1]) < 1e-8


def searched(*words: object) -> list[str]:
    text = output("sklearn_search.py", "--epochs", 8, "--folds", 2, *words)
    rows = re.findall(r"^ +(\d+)  (0\.\d{4})  \{'activation'", text, re.M)
    assert [int(rank) for rank, _ in rows] == sorted(int(rank) for rank, _ in rows)
    assert len(rows) == 8 and float(rows[0][1]) > 0.85
    return [line.partition(":")[0] for line in text.splitlines() if "same table and bits" in line]


@pytest.mark.slow
def test_sklearn_search():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert searched("--workers", 0) == ["GridSearchCV", "GridSearch"]


@pytest.mark.slow
def test_sklearn_search_with_dask():
    pytest.importorskip("dask.distributed", reason="dask is not installed")
    assert searched() == ["GridSearchCV", "GridSearch", "GridSearchCV, dask"]
