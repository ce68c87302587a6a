"""Files as bytes and as binary file objects, their bytes beside those of the package safetensors,
and what pickle keeps."""

from __future__ import annotations

import copy
import gzip
import io
import os
import pickle
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from forge import described, signed, split
from helpers import same_bytes
from parts import Gain, data, network, train, weights

import nnlite as nn
from nnlite.checkpoint.file import KEY, encode

RNG = np.random.default_rng(4)
DTYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]


# ---- the bytes are those of the package ----


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"a": np.zeros((0, 3), np.float32), "b": np.zeros(0)},
        {"x": np.array(2, np.float32), "y": np.arange(6.0).reshape(1, 2, 3)},
        {f"{name}/{i}": RNG.integers(0, 2, 5 + i).astype(name)
         for i in range(3) for name in DTYPES},
        {name: np.ones(3, np.float32) for name in
         ["b", "a", "B", "é", "\U0001f600", "z\uffff", 'quo"te', "back\\slash", "\n\x01\x7f", ""]},
        {f"w{i}": np.full(i, i, np.float64 if i % 2 else np.float32) for i in range(30)},
    ],
)  # fmt: skip
@pytest.mark.parametrize("extra", [{}, {"t": 'é"\\\n', "n": [1, None, 0.5]}])
def test_the_package_writes_the_same_and_reads_it(tmp_path, arrays, extra):
    found = encode(arrays, extra)
    header, _ = split(found)
    assert found == safetensors.numpy.save(arrays, header["__metadata__"])
    read = safetensors.numpy.load(found)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        same_bytes(read[name], array, name)
    path = tmp_path / "x"
    path.write_bytes(found)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata().keys() == {KEY}


def test_a_saved_file_is_read_by_the_package(tmp_path):
    model = network()
    optimizer = nn.optim.Adam(model.parameters())
    train(model, optimizer, 3)
    nn.save(tmp_path / "m", model, optimizer, extra={"x": np.arange(3), "y": np.eye(2) > 0})
    read = safetensors.numpy.load_file(tmp_path / "m")
    for name, array in model.state_dict().items():
        same_bytes(read[name], array)
    assert {name for name in read if "/" in name} == {
        "optimizer/exp_avg", "optimizer/exp_avg_sq", "extra/x", "extra/y"
    }  # fmt: skip
    assert (tmp_path / "m").read_bytes() == safetensors.numpy.save(
        read, split((tmp_path / "m").read_bytes())[0]["__metadata__"]
    )


def test_a_name_that_is_no_text(tmp_path):
    with pytest.raises(ValueError, match=r"save: a name holds '\\ud800', which is no Unicode text"):
        nn.save(tmp_path / "m", nn.ReLU(), extra={"\ud800": np.ones(2)})
    assert not os.listdir(tmp_path)


# ---- bytes and file objects ----


def saved(model, *args, **kwargs) -> bytes:
    file = io.BytesIO()
    nn.save(file, model, *args, **kwargs)
    return file.getvalue()


def test_bytes(tmp_path):
    model = network()
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, 3)
    content = saved(model, optimizer, extra={"a": np.arange(3)})
    nn.save(tmp_path / "m", model, optimizer, extra={"a": np.arange(3)})
    assert (tmp_path / "m").read_bytes() == content
    for kind in (bytes, bytearray, memoryview):
        found = nn.load(kind(content))
        assert weights(found.model) == weights(model)
        assert found.extra["a"].tolist() == [0, 1, 2]
        train(found.model, found.optimizer, 3, 3)
        assert weights(found.model) != weights(model)


@pytest.mark.parametrize("kind", ["BytesIO", "open", "unbuffered", "gzip", "temporary", "zip"])
def test_file_objects(tmp_path, kind):
    model, path = network(), tmp_path / "m"
    writers = {
        "open": partial(path.open, "wb"), "unbuffered": partial(path.open, "wb", 0),
        "gzip": partial(gzip.GzipFile, path, "wb"), "BytesIO": io.BytesIO,
        "temporary": tempfile.TemporaryFile,
    }  # fmt: skip
    if kind in ("temporary", "BytesIO"):
        with writers[kind]() as file:
            nn.save(file, model)
            with pytest.raises(
                nn.CheckpointError, match=r"read at its end \(seek\(0\)\): it has 0"
            ):
                nn.load(file)
            file.seek(0)
            assert weights(nn.load(file).model) == weights(model)
        return
    if kind == "zip":
        for mode in "wr":
            with zipfile.ZipFile(path, mode) as archive, archive.open("m", mode) as file:
                if mode == "w":
                    nn.save(file, model)
                else:
                    assert weights(nn.load(file).model) == weights(model)
        return
    with writers[kind]() as file:
        nn.save(file, model)
    opener = gzip.open if kind == "gzip" else open
    with opener(path, "rb") as file:
        assert weights(nn.load(file).model) == weights(model)


def test_a_file_object_is_read_and_written_from_where_it_stands():
    file = io.BytesIO()
    file.write(b"before")
    nn.save(file, nn.ReLU())
    file.seek(6)
    assert repr(nn.load(file).model) == "ReLU()"
    file.seek(0)
    with pytest.raises(nn.CheckpointError):
        nn.load(file)


class Slowly:
    """Takes and gives a few bytes at a time, and says nothing with `silent`."""

    def __init__(self, silent: bool) -> None:
        self.content, self.silent = b"", silent

    def write(self, data):
        taken = data if self.silent else data[:7]
        self.content += taken
        return None if self.silent else len(taken)


@pytest.mark.parametrize("silent", [True, False])
def test_objects_with_write(silent):
    file, model = Slowly(silent), network()
    nn.save(file, model)
    assert file.content == saved(model)


def test_what_is_no_binary_file(tmp_path):
    for mode, text in [
        ("w", "save: path: expected .* got a text file; open it with mode 'wb'"),
        ("r", "load: path: expected .* got a text file; open it with mode 'rb'"),
    ]:
        with (tmp_path / "text").open(mode) as file, pytest.raises(TypeError, match=text):
            nn.save(file, nn.ReLU()) if mode == "w" else nn.load(file)
    with pytest.raises(TypeError, match="expected a path or a binary file, got a text file"):
        nn.load(io.StringIO("x"))

    class Odd:
        def read(self):
            return "text"

    with pytest.raises(TypeError, match=r"whose read\(\) gives bytes, got str of Odd"):
        nn.load(Odd())

    class Full:
        def write(self, data):
            return 0

    with pytest.raises(OSError, match="took no more bytes"):
        nn.save(Full(), nn.ReLU())
    assert (tmp_path / "text").read_bytes() == b""


def test_what_is_refused_is_refused_before_the_first_byte():
    file = io.BytesIO()
    with pytest.raises(TypeError, match="save: extra/a"):
        nn.save(file, nn.ReLU(), extra={"a": {1}})
    assert file.getvalue() == b""


def test_damaged_bytes():
    good = signed(described())
    for bad, text in [(b"", "load: 0 bytes: it has 0 bytes"), (good[:-1], "its arrays are 36"),
                      (good + b"\0", "the file has 37"), (good[:9], "load: 9 bytes: "),
                      (bytes(Path("model")), "fewer than any|its header")]:  # fmt: skip
        for source in (bad, io.BytesIO(bad)):
            with pytest.raises(
                nn.CheckpointError,
                match=text.replace("0 bytes: it", ".*: it")
                if isinstance(source, bytes)
                else "load: the file 'BytesIO'",
            ):
                nn.load(source)


# ---- pickle ----


def pickled(value) -> bytes:
    return pickle.dumps(value)


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_leaves_gradients_out(protocol):
    model = nn.Sequential(nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 2, dtype=np.float64))
    for p in model.parameters():
        p.grad = np.random.default_rng(1).normal(size=p.shape)
    content = pickle.dumps(model, protocol)
    assert len(content) < 1.05 * sum(p.data.nbytes for p in model.parameters())
    twin = pickle.loads(content)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        same_bytes(q.data, p.data)
        assert q.grad.shape == p.shape and q.grad.dtype == p.dtype and not q.grad.any()
    assert model[0].weight.grad.any()


def test_a_trainer_in_pickle_goes_on_to_the_same_bits():
    model, (X, y) = network(), data()
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters()))
    trainer.fit(X, y, 2, 8, verbose=0)
    size = sum(p.data.nbytes for p in model.parameters())
    content = pickle.dumps(trainer)
    assert len(content) < 3 * size + 6000
    twin = pickle.loads(content)
    for one in (trainer, twin):
        one.fit(X, y, 2, 8, verbose=0)
    assert weights(twin.model) == weights(model)


def test_pickles_of_before_are_read():
    p = nn.Parameter(np.arange(3.0), "p")
    twin = nn.Parameter.__new__(nn.Parameter)
    twin.__setstate__({"name": "p", "data": np.arange(3.0), "grad": np.ones(3)})
    same_bytes(twin.data, p.data)
    assert twin.grad.tolist() == [1, 1, 1]


def test_a_deep_copy_keeps_gradients():
    model = nn.Sequential(Gain(3), nn.Linear(3, 2))
    for p in model.parameters():
        p.grad = np.full(p.shape, 2)
    twin = copy.deepcopy(model)
    assert all((p.grad == 2).all() for p in twin.parameters())
    assert not any(np.shares_memory(p.grad, q.grad)
                   for p, q in zip(model.parameters(), twin.parameters(), strict=True))  # fmt: skip
