"""nn.save and nn.load in little memory: they work or raise MemoryError, the old file stays."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from forge import described, signed
from marks import slow

import nnlite as nn

MIB = 2**20

# A model of 40 MB (120 MB with the states of Adam) and a limit on the addresses of the process.
PROGRAM = """
import re, resource, sys
import numpy as np
import nnlite as nn

call, path, left, early = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "early"
nn.set_num_threads(1)
model = nn.Sequential(nn.Linear(3200, 3200), nn.ReLU(), nn.Linear(3200, 3))
model[2].bias.data = np.arange(3)
optimizer = nn.optim.Adam(model.parameters())
optimizer.state["exp_avg"][...] = 1
if early:  # else the modules of saving are imported under the limit
    nn.save(sys.argv[2] + ".other", nn.ReLU())
    nn.load(sys.argv[2] + ".other")
    from nnlite.train import trainer
used = int(re.search(r"VmSize:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
limit = used + left * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, -1))
try:
    if call == "save":
        nn.save(path, model, optimizer)
    else:
        nn.load(path)
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    print("MemoryError")
else:
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    print("done")
"""


def run(call: str, path, left: int, early: bool = True) -> str:
    """What the program printed; it must not be ended by a signal or another exception."""
    command = [sys.executable, "-c", PROGRAM, call, str(path), str(left), "early" * early]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, (left, found.returncode, found.stderr[-1000:])
    assert found.stderr == "" or not early  # Python's hashlib says so when it cannot be loaded
    return found.stdout.strip()


OLD = signed(described())


@pytest.mark.parametrize("left", [15, *slow(5, 40, 75)])
def test_a_save(tmp_path, left):
    path = tmp_path / "model"
    path.write_bytes(OLD)
    assert run("save", path, left) == "done"
    found = nn.load(path)
    assert found.model[2].bias.data.tolist() == [0, 1, 2]
    assert (found.optimizer.state["exp_avg"] == 1).all()
    assert sorted(os.listdir(tmp_path)) == ["model", "model.other"]


@pytest.mark.parametrize("left", [1, *slow(0, 2)])
@pytest.mark.parametrize("early", [True, False])
def test_a_save_with_almost_nothing(tmp_path, left, early):
    path = tmp_path / "model"
    path.write_bytes(OLD)
    if run("save", path, left, early) == "done":
        assert nn.load(path).model[2].bias.data.tolist() == [0, 1, 2]
    else:
        assert path.read_bytes() == OLD
    assert set(os.listdir(tmp_path)) <= {"model", "model.other"}


@pytest.mark.parametrize("left", [45, *slow(0, 5, 75, 155, 400)])
def test_a_load(tmp_path, left):
    path = tmp_path / "model"
    run("save", path, 400)
    assert run("load", path, left) in (("done",) if left > 300 else ("done", "MemoryError"))


def test_a_save_makes_no_second_copy(tmp_path):
    model = nn.Linear(1000, 2000)
    optimizer = nn.optim.Adam(model.parameters())
    nn.save(tmp_path / "first", nn.ReLU())
    with (tmp_path / "stream").open("wb") as stream:
        for target in (tmp_path / "model", stream):
            tracemalloc.start()
            nn.save(target, model, optimizer)
            assert tracemalloc.get_traced_memory()[1] < 4 * MIB
            tracemalloc.stop()
    assert os.path.getsize(tmp_path / "model") > 24_000_000
    assert (tmp_path / "model").read_bytes() == (tmp_path / "stream").read_bytes()


def broken(*args: object, **kwargs: object) -> object:
    raise ValueError("[digital envelope routines] initialization error")


def test_a_hash_that_fails_is_no_damaged_file(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_bytes(OLD)
    monkeypatch.setattr(hashlib, "sha256", broken)
    for call in (nn.load, lambda path: nn.save(path, nn.ReLU())):
        with pytest.raises(MemoryError, match=r"SHA-256 cannot be computed: ValueError: .digital"):
            call(path)
    with pytest.raises(MemoryError, match="SHA-256"):
        nn.save(io.BytesIO(), nn.ReLU())
    monkeypatch.setattr(hashlib, "sha256", lambda data: object())  # without update
    with pytest.raises(MemoryError, match="AttributeError"):
        nn.load(path)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert nn.load(path).model.weight.shape == (2, 3)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [ImportError, SystemError, MemoryError, OSError])
def test_what_the_system_refuses_is_no_damaged_file(tmp_path, monkeypatch, error):
    path = tmp_path / "model"
    path.write_bytes(OLD)

    def from_config(config: object) -> None:
        raise error("failed to map segment from shared object")

    monkeypatch.setattr(nn.Linear, "from_config", from_config)
    with pytest.raises(error) as caught:
        nn.load(path)
    assert not isinstance(caught.value, nn.CheckpointError)


def test_arrays_that_change_while_they_are_written(tmp_path):
    """A path gets what was hashed; a stream says that it is spoilt."""
    model = nn.Linear(600, 600)

    class Meddles(io.BytesIO):
        def write(self, data):
            model.weight.data += 1
            return super().write(data)

    with pytest.raises(RuntimeError, match="save: weight changed while it was written"):
        nn.save(Meddles(), model)
    np.testing.assert_array_equal(model.bias.data, 0)
