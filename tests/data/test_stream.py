"""nn.data.source on files: block shuffle, exact starts in the middle, bounded memory, failures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import TESTS
from hypothesis import given
from hypothesis import strategies as st

import nnlite as nn
from nnlite.data import permutation, rows, source, stream
from nnlite.data._source import ArraySource
from nnlite.data.stream import StreamSource

COUNT, COLUMNS = 1000, 3


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    """X[i] = (i, 2 i, -i) as float32 and y[i] = i % 7 as int64."""
    number = np.arange(COUNT)
    np.save(tmp_path / "X.npy", np.stack([number, 2 * number, -number], 1).astype(np.float32))
    np.save(tmp_path / "y.npy", number % 7)
    return tmp_path / "X.npy", tmp_path / "y.npy"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 16 rows, so that a small file has many."""
    monkeypatch.setattr(stream, "BLOCK_BYTES", 16 * 4 * COLUMNS)
    monkeypatch.setattr(rows, "STAGE_BYTES", 5 * 4 * COLUMNS)


BUDGET = 8000  # chunks of some 100 rows


def numbers(chunks) -> list[np.ndarray]:
    """The rows' numbers in training order, chunk by chunk, with every value checked."""
    found = []
    for X, y, order in chunks:
        assert X.flags.carray and y.flags.carray and order.dtype == np.int64
        X, y = X[order], y[order]
        assert np.array_equal(X[:, 1], 2 * X[:, 0]) and np.array_equal(X[:, 2], -X[:, 0])
        assert np.array_equal(y, X[:, 0] % 7)
        found.append(X[:, 0].astype(np.int64))
    return found


def flat(chunks) -> list[int]:
    return np.concatenate([[], *numbers(chunks)]).astype(int).tolist()


@pytest.mark.parametrize("batch_size", [1, 7, 16, 32, 40, 64])
def test_every_row_once_in_whole_batches(files, batch_size):
    data = source(*files, memory_budget=BUDGET)
    assert isinstance(data, StreamSource)
    assert (data.rows, data.shape, data.width, data.target_shape) == (COUNT, (3,), 3, ())
    chunks = numbers(data.epoch(5, 2, batch_size))
    assert len(chunks) > 5 and all(len(chunk) % batch_size == 0 for chunk in chunks[:-1])
    assert len({len(chunk) for chunk in chunks[:-1]}) == 1
    together = np.concatenate(chunks)
    assert sorted(together.tolist()) == list(range(COUNT))
    neighbours = np.count_nonzero(np.diff(together) == 1)
    assert neighbours < 60  # a chunk of 6 blocks of 16 rows leaves some


def test_without_shuffle_the_order_is_the_files(files):
    assert flat(source(*files, memory_budget=BUDGET).epoch(0, 0, 32, shuffle=False)) == [
        *range(1000)
    ]


def test_order_depends_on_seed_and_epoch_alone(files, monkeypatch):
    first = source(*files, memory_budget=BUDGET)
    orders = {key: flat(first.epoch(*key, 32)) for key in [(0, 0), (0, 1), (1, 0)]}
    assert len({tuple(order) for order in orders.values()}) == 3
    into = rows._FileReader.into

    def slow(self, start, out):
        time.sleep(0.001 * (start % 3))
        into(self, start, out)

    monkeypatch.setattr(rows._FileReader, "into", slow)
    again = source(*files, memory_budget=BUDGET)
    assert flat(again.epoch(0, 1, 32)) == orders[0, 1]

    def lazily(chunks):
        for chunk in chunks:
            time.sleep(0.005)
            yield chunk

    assert flat(lazily(again.epoch(1, 0, 32))) == orders[1, 0]


def test_order_is_pinned(files):
    """The bits of a fit rest on it: a change is a change that users see."""
    order = flat(source(*files, memory_budget=BUDGET).epoch(3, 1, 32))
    blocks = permutation(63, 3, 1, purpose=4)
    size = source(*files, memory_budget=BUDGET).chunk_rows(32)
    sequence = np.concatenate([np.arange(b * 16, min(COUNT, b * 16 + 16)) for b in blocks])
    expected = []
    for chunk in range(-(-COUNT // size)):
        part = np.sort(sequence[chunk * size : (chunk + 1) * size])
        expected += part[permutation(len(part), 3, 1, purpose=2**31 + chunk)].tolist()
    # Pieces of a chunk lie in the file's order, so that the part is sorted.
    assert order == expected


@given(skip=st.integers(0, 40), batch_size=st.sampled_from([1, 30, 32, 500]))
def test_skipping_is_the_tail_of_the_full_epoch(tmp_path_factory, skip, batch_size):
    folder = tmp_path_factory.mktemp("skip")
    X = np.arange(3.0 * COUNT, dtype=np.float32).reshape(COUNT, 3)
    np.save(folder / "X.npy", X)
    budget = {1: 3000, 500: 30000}.get(batch_size, BUDGET)
    data = source(folder / "X.npy", np.arange(COUNT), memory_budget=budget)
    assert isinstance(data, StreamSource) or batch_size == 500
    full = np.concatenate([y[order] for _, y, order in data.epoch(1, 4, batch_size)])
    tail = [y[order] for _, y, order in data.epoch(1, 4, batch_size, skip_batches=skip)]
    assert np.array_equal(np.concatenate([[], *tail]), full[skip * batch_size :])
    for part in tail[:-1]:
        assert len(part) and len(part) % batch_size == 0


def test_skipping_does_not_read_what_comes_before(files, monkeypatch):
    data = source(*files, memory_budget=BUDGET)
    size, read, into = data.chunk_rows(32), [], rows._FileReader.into
    monkeypatch.setattr(
        rows._FileReader,
        "into",
        lambda self, start, out: (read.append(len(out)), into(self, start, out))[1],
    )
    skip = 2 * size // 32 + 1
    assert len(flat(data.epoch(0, 0, 32, skip_batches=skip))) == COUNT - skip * 32
    assert sum(read) == 2 * (COUNT - 2 * size)  # X and y of all chunks but two


@pytest.mark.parametrize("name", ["f8", ">f4", "f2", "i2", "u1"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_dtypes_are_converted_by_the_chunk(tmp_path, name, dtype):
    X = (np.arange(600) % 200).reshape(200, 3).astype(name)
    y = np.linspace(-1, 1, 400).reshape(200, 2)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    data = source(tmp_path / "X.npy", tmp_path / "y.npy", dtype, memory_budget=3000)
    assert isinstance(data, StreamSource) and data.target_shape == (2,)
    parts = [(a.copy(), b.copy()) for a, b, _ in data.epoch(0, 0, 8, shuffle=False)]
    for i, expected in enumerate((X, y)):
        found = np.concatenate([part[i] for part in parts])
        assert found.dtype == dtype and np.array_equal(found, expected.astype(dtype))


def test_rows_of_any_rank_and_targets_in_ram(tmp_path):
    X = np.arange(2400, dtype=np.float32).reshape(100, 2, 3, 4)
    np.save(tmp_path / "X.npy", X)
    data = source(np.load(tmp_path / "X.npy", mmap_mode="r"), [*range(100)], memory_budget=5000)
    assert data.shape == (2, 3, 4) and data.width == 24
    for part, y, order in data.epoch(0, 0, 4):
        assert np.array_equal(part[order], X[y[order]])


def test_parts_of_a_map(files):
    X, y = (np.load(path, mmap_mode="r") for path in files)
    data = source(X[100:900], y[100:900], memory_budget=BUDGET)
    assert isinstance(data, StreamSource)
    assert flat(data.epoch(0, 0, 32, shuffle=False)) == [*range(100, 900)]
    assert sorted(flat(data.epoch(0, 0, 32))) == [*range(100, 900)]


def test_a_small_file_is_read_once_and_is_like_an_array(files):
    X, y = (np.load(path) for path in files)
    data = source(*files)
    assert isinstance(data, ArraySource)
    ((_, _, order),) = data.epoch(3, 1, 32)
    assert np.array_equal(order, permutation(COUNT, 3, 1))
    assert np.array_equal(data.X, X) and np.array_equal(data.y, y)


def test_head_and_targets(files):
    data = source(*files, memory_budget=BUDGET)
    X, y = data.head(3)
    assert X.tolist() == [[0, 0, 0], [1, 2, -1], [2, 4, -2]] and y.tolist() == [0, 1, 2]
    parts = [(start, part.copy()) for start, part in data.targets()]
    assert len(parts) > 1 and [s for s, _ in parts] == [
        i * len(parts[0][1]) for i in range(len(parts))
    ]
    assert np.array_equal(np.concatenate([part for _, part in parts]), np.arange(COUNT) % 7)


def test_signature_tells_what_the_order_depends_on(files):
    data = source(*files, memory_budget=BUDGET)
    size = data.chunk_rows(32)
    expected = {"rows": COUNT, "shape": [3], "block_rows": 16, "chunk_rows": size}
    assert data.signature(32) == expected
    assert size % 32 == 0 and 2 * size * (12 + 8 + 8) <= BUDGET


# ---- failures ----


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "prefetch" in thread.name]


@pytest.mark.parametrize("end", ["break", "raise", "close"])
def test_thread_ends_with_its_consumer(files, end):
    data = source(*files, memory_budget=BUDGET)
    chunks = data.epoch(0, 0, 32)
    next(chunks)
    assert threads() == ["nnlite-prefetch"]
    if end == "close":
        chunks.close()
    elif end == "break":
        for _ in chunks:
            break
        del chunks
    else:
        with pytest.raises(KeyError):
            consume(chunks)
        del chunks
    assert threads() == []


def consume(chunks):
    for _ in chunks:
        raise KeyError


def test_thread_ends_with_the_epoch(files):
    flat(source(*files, memory_budget=BUDGET).epoch(0, 0, 32))
    assert threads() == []


def test_file_cut_short_while_it_is_read(files):
    data = source(*files, memory_budget=BUDGET)
    chunks = data.epoch(0, 0, 32, shuffle=False)
    next(chunks)
    os.truncate(files[0], 4000)
    with pytest.raises(ValueError, match=r"X.npy' ends within row \d+ of 1000; it was cut short"):
        list(chunks)
    assert threads() == []
    with pytest.raises(ValueError, match="was replaced, or its length changed"):
        next(data.epoch(0, 0, 32))
    files[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"X\.npy"):
        next(data.epoch(0, 0, 32))


def test_another_file_under_the_maps_name(files):
    X, y = (np.load(path, mmap_mode="r") for path in files)
    other = files[0].with_name("other.npy")
    np.save(other, np.ones((COUNT, COLUMNS), np.float32))
    other.replace(files[0])
    with pytest.raises(ValueError, match="is another file than the one that was mapped"):
        source(X, y, memory_budget=BUDGET)


def test_number_too_large_for_the_model(tmp_path):
    X = np.zeros((COUNT, 3))
    X[700] = 1e300
    np.save(tmp_path / "X.npy", X)
    data = source(tmp_path / "X.npy", np.zeros(COUNT, int), memory_budget=BUDGET)
    with pytest.raises(ValueError, match=r"X.npy: a number of the float64 rows is too large for"):
        flat(data.epoch(0, 0, 32))
    assert threads() == []


def save(path, array, **options):
    np.save(path, array, **options)
    return path


BAD = {
    "not npy": (lambda p: (p / "a.txt").write_text("a,b\n") and p / "a.txt", "is not a .npy file"),
    "objects": (lambda p: save(p / "a.npy", np.array([{}])), "Object arrays|object"),
    "cut": (lambda p: (p / "a.npy").write_bytes(b"\x93NUMPY\1\0") and p / "a.npy", "a.npy"),
    "fortran": (lambda p: save(p / "a.npy", np.ones((5, 4), order="F")), "column by column"),
    "no rows": (lambda p: np.ones((0, 3)), "0 rows"),
    "rows": (lambda p: np.ones((6, 3)), "y has 5 rows, X has 6"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(tmp_path, name):
    make, message = BAD[name]
    y = np.zeros(0 if name == "no rows" else 5)
    with pytest.raises(ValueError, match=message) as error:
        source(make(tmp_path), y)
    assert "\n" not in str(error.value)


def test_bad_arguments(files):
    with pytest.raises(FileNotFoundError):
        source("nowhere.npy", files[1])
    with pytest.raises(ValueError, match=r"two batches of 500 rows take \d+ bytes, got 8000"):
        next(source(*files, memory_budget=BUDGET).epoch(0, 0, 500))
    with pytest.raises(ValueError, match="memory_budget"):
        source(*files, memory_budget=0)
    with pytest.raises(TypeError, match="class indices as integers, got float32"):
        source(files[0], np.zeros(COUNT, np.float32), target_dtype=np.int64)
    with pytest.raises(TypeError, match="target_dtype"):
        source(*files, target_dtype=np.int32)
    X = np.load(files[0], mmap_mode="r")
    with pytest.raises(ValueError, match="is copied, and its 6000 bytes are over"):
        source(X[::2], np.zeros(500), memory_budget=3000)
    assert source(X[::2], np.zeros(500)).X[3].tolist() == [6, 12, -6]


def test_changed_copy_on_write_map_is_not_read_from_its_file(files):
    X = np.load(files[0], mmap_mode="c")
    X[5] = 77
    data = source(X, np.zeros(COUNT), memory_budget=BUDGET)
    ((found, _, _),) = data.epoch(0, 0, 32)
    assert found[5].tolist() == [77, 77, 77] and np.shares_memory(found, X)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fork(files):
    """A child reads epochs of its own; one begun by its parent is refused, and does not hang."""
    program = f"""
import os, sys, numpy as np
from nnlite.data import source
data = source({str(files[0])!r}, {str(files[1])!r}, memory_budget=8000)
begun = data.epoch(0, 0, 32)
next(begun)
child = os.fork()
if child == 0:
    try:
        next(begun)
    except RuntimeError as error:
        good = "begin the epoch in the child" in str(error)
    rows = sum(len(order) for _, _, order in data.epoch(0, 1, 32))
    os._exit(0 if good and rows == 1000 else 1)
assert os.waitpid(child, 0)[1] == 0
assert sum(len(order) for _, _, order in begun) > 800
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no /proc")
def test_resident_memory_is_bounded():
    """64 MB through a budget of 16 MB: the process grows by less than 24 MB."""
    tool = TESTS / "tools" / "big_file.py"
    words = ["--size", "64", "--budget", "16", "--epochs", "2"]
    run = subprocess.run(
        [sys.executable, str(tool), *words], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    before, most = re.findall(r"resident (\d+) MB before, (\d+) MB at most", run.stdout)[-1]
    assert "65536 rows once each, 9 chunks" in run.stdout
    assert int(most) - int(before) < 24, run.stdout


# ---- training ----


def make_trainer() -> nn.Trainer:
    nn.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 7))
    return nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=1e-5), seed=4)


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_takes_the_batches_of_the_source(files, shuffle):
    """The weights are, bit for bit, those of single steps on the source's batches."""
    trainer, alone = make_trainer(), make_trainer()
    trainer.fit(*files, 2, 32, shuffle=shuffle, verbose=0, memory_budget=BUDGET)
    data = source(*files, memory_budget=BUDGET)
    for epoch in range(2):
        for X, y, order in data.epoch(4, epoch, 32, shuffle):
            for i in range(0, len(order), 32):
                alone.train_step(X[order[i : i + 32]], y[order[i : i + 32]])
    for ours, theirs in zip(trainer.model.parameters(), alone.model.parameters(), strict=True):
        assert ours.data.tobytes() == theirs.data.tobytes()


def test_fit_goes_on_in_the_middle_of_an_epoch(files):
    """A fit on a file, stopped after some batches and resumed, ends with the same bits."""

    class Stop(nn.callbacks.Callback):
        every = 11

        def on_batch_end(self, trainer, step, values):
            trainer.stop = step % 22 == 11

    whole, parts = make_trainer(), make_trainer()
    options = {"verbose": 0, "memory_budget": BUDGET}
    whole.fit(*files, 2, 32, **options)
    for steps in (11, 33, 55, 64):
        history = parts.fit(*files, 2, 32, callbacks=[Stop()], resume=steps > 11, **options)
        assert parts.steps == steps
    assert whole.steps == 64 and history.epochs == 2
    for ours, theirs in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        assert ours.data.tobytes() == theirs.data.tobytes()
