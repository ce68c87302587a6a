"""An interrupted fit, resumed from its file, is the fit that was not interrupted, bit for bit."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from forge import signed
from helpers import F32, TESTS, sha

import nnlite as nn
from nnlite.checkpoint.file import Reader

sys.path.insert(0, str(TESTS / "tools"))

from kill import campaign

ROWS, EPOCHS, BATCH = 30, 3, 8
BATCHES = EPOCHS * -(-ROWS // BATCH)


class Stop(nn.callbacks.Callback):
    """Raises after some batches, as a crash would."""

    every = 1

    def __init__(self, after: int) -> None:
        self.left = after

    def on_batch_end(self, trainer, *args):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def trainer_of(path, every) -> nn.Trainer:
    nn.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Dropout(0.3), nn.Linear(9, 3))
    optimizer = nn.optim.NAdam(model.parameters(), lr=0.02)
    return nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=5, checkpoint=path, every=every)


def fit(trainer, callbacks=(), resume=True) -> tuple[str, dict]:
    """(weights, history) of the fit with a schedule, validation data and a metric."""
    rng = np.random.default_rng(8)
    y = rng.integers(0, 3, ROWS)
    X = (np.eye(3, 6)[y] + rng.normal(size=(ROWS, 6))).astype(F32)
    history = trainer.fit(
        X, y, EPOCHS, BATCH, (X[:9], y[:9]), verbose=0, resume=resume, callbacks=callbacks,
        schedule=nn.optim.CosineAnnealingLR(trainer.optimizer, BATCHES), metrics=["top_2"],
    )  # fmt: skip
    found = {name: values for name, values in history.items() if name != "seconds"}
    return sha(*(p.data for p in trainer.model.parameters())), found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.safetensors"


@pytest.mark.slow
def test_killed_at_random_moments():
    """tests/tools/kill.py --kills 200 is the full campaign."""
    lines: list[str] = []
    total = campaign(12, seed=3, show=lines.append)
    assert total["kills"] >= 12
    assert total["fits"] == len(lines) >= 1


@pytest.mark.parametrize("every", [1, 3, None])
def test_cut_after_every_batch(path, every):
    expected = fit(trainer_of(None, None))
    for cut in range(1, BATCHES):
        path.unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            fit(trainer_of(path, every), [Stop(cut)])
        assert fit(trainer_of(path, every), [Stop(10**9)]) == expected, cut


def test_cut_twice_and_finished_twice(path):
    expected = fit(trainer_of(None, None))
    for cut in (5, 2):
        with pytest.raises(KeyboardInterrupt):
            fit(trainer_of(path, 1), [Stop(cut)])
    assert fit(trainer_of(path, 1), [Stop(10**9)]) == expected
    before = path.read_bytes()
    assert fit(trainer_of(path, 1), [Stop(1)]) == expected  # nothing is left to do
    assert nn.load(path).trainer.steps == BATCHES
    assert len(path.read_bytes()) == len(before)


def test_a_loaded_trainer_goes_on(path):
    expected = fit(trainer_of(None, None))
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_of(path, 2), [Stop(6)])
    found = nn.load(path)
    assert (found.trainer.steps, found.trainer.epoch, found.trainer.seed) == (
        4,
        1,
        5,
    )  # before the sixth batch was saved
    assert fit(found.trainer, [Stop(10**9)]) == expected


def test_without_resume_a_fit_begins_anew(path):
    expected = fit(trainer_of(None, None))
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_of(path, 1), [Stop(4)])
    assert fit(trainer_of(path, 1), resume=False) == expected


def test_a_file_of_another_training(path):
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_of(path, 1), [Stop(4)])
    other = trainer_of(path, 1)
    other.optimizer = nn.optim.NAdam(other.model.parameters(), lr=0.02, eps=1e-6)
    with pytest.raises(nn.CheckpointError, match=r"optimizer/config/eps: it holds 1e-08, expected"):
        fit(other)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(nn.CheckpointError, match="restore: "):
        fit(trainer_of(path, 1))


@pytest.mark.parametrize(
    "keys, value, text",
    [
        (("first",), 2**31, "epoch 1 is not in 2147483648"),
        (("epoch",), 4, "epoch 4 is not in 0..3"),
        (("epochs",), 2**70, "larger than any fit has"),
        (("batch",), 2**62, "larger than any fit has"),
        (("batch",), -1, "batch: expected at least 0"),
        (("steps",), 0.5, "steps: expected an integer"),
        (("seconds",), "x", "seconds: expected a number"),
        (("sums", 2), 2**63, "larger than any fit has"),
        (("sums",), [1, 2, 3], "ValueError"),
        (("settings",), 3, "TypeError"),
        (("history", "loss"), [1, 2, 3], "expected lists of one length"),
        (("history",), [], "expected a dict of lists"),
    ],
)
def test_a_hostile_position(path, keys, value, text):
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_of(path, 1), [Stop(6)])
    with Reader(path) as file:
        arrays = {name: file.read(name) for name in file.tensors}
        description = {key: v for key, v in file.description.items() if key != "sha256"}
    inner = description["trainer"]["state"]["position"]
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_bytes(signed(description, arrays))
    with pytest.raises(nn.CheckpointError, match=text):
        nn.load(path)
    trainer = trainer_of(path, 1)
    before = sha(*(p.data for p in trainer.model.parameters()))
    with pytest.raises(nn.CheckpointError, match=text):
        fit(trainer)
    assert sha(*(p.data for p in trainer.model.parameters())) == before
