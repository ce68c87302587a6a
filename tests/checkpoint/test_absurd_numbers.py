"""Checkpoints whose checksum fits and whose numbers are absurd: refused, or training goes on."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from forge import split
from helpers import F32
from parts import CLASSES, FEATURES, data

import nnlite as nn
from nnlite.checkpoint import restore
from nnlite.checkpoint.file import encode

VALUES = [
    -1, 0, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 2**1100, 0.5, -0.5, 1e308, True, None, "1", [],
    {"$float": "nan"}, {"$float": "-inf"},
]  # fmt: skip
X, Y = data()
FREE = {"settings", "modules", "schedule", "callbacks"}  # compared or taken where the fit goes on


def parts(**settings):
    nn.manual_seed(2)
    model = nn.Sequential(nn.Linear(FEATURES, 4), nn.Dropout(0.2), nn.Linear(4, CLASSES))
    optimizer = nn.optim.NAdam(model.parameters(), lr=0.01, weight_decay=0.1, clip_norm=3.0)
    loss = nn.SoftmaxCE(label_smoothing=0.1, weight=[1.0, 2.0, 0.5])
    return model, optimizer, nn.Trainer(model, loss, optimizer, seed=4, **settings)


def goes_on(trainer, schedule=None, **more) -> None:
    trainer.fit(X, Y, 4, 8, verbose=0, schedule=schedule, early_stopping=3, **more)


class Interrupt(nn.callbacks.Callback):
    def on_epoch_end(self, trainer, epoch, values):
        trainer.stop = epoch == 1


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """(description, arrays) of a fit in its third epoch."""
    path = tmp_path_factory.mktemp("f") / "fit"
    _, optimizer, trainer = parts(checkpoint=path, every=3)
    schedule = nn.optim.StepLR(optimizer, step_size=1, gamma=0.5)
    callbacks = [Interrupt()]
    trainer.fit(X, Y, 4, 8, verbose=0, schedule=schedule, early_stopping=3, callbacks=callbacks)
    header, raw = split(path.read_bytes())
    description = json.loads(header.pop("__metadata__")["nnlite"])
    del description["sha256"]
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = {"F32": "f4", "F64": "f8", "I64": "i8", "BOOL": "?"}[entry["dtype"]]
        arrays[name] = np.frombuffer(raw[begin:end], dtype).reshape(entry["shape"])
    return description, arrays


def numbers(tree, path=()):
    """The places of all numbers in a tree."""
    if isinstance(tree, (int, float)) or (isinstance(tree, dict) and "$float" in tree):
        yield path
    elif isinstance(tree, (dict, list)):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, item in items:
            yield from numbers(item, (*path, key))


def forged(content, place, value) -> bytes:
    description, arrays = content
    description = copy.deepcopy(description)
    inner = description
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return encode(arrays, description)


def test_the_file_itself(content):
    found = nn.load(encode(*content[::-1]))
    assert (found.trainer.epoch, found.trainer.steps) == (2, 10)
    goes_on(found.trainer)
    places = set(map(str, numbers(content[0])))
    assert len(places) > 60, places


@pytest.mark.slow
def test_every_number(content, tmp_path):
    """Loaded, trained with, saved again and resumed."""
    path, wrong = tmp_path / "fit", []
    for place in numbers(content[0]):
        refused = 0
        for value in VALUES:
            bad = forged(content, place, value)
            path.write_bytes(bad)
            try:
                found = nn.load(path)
                model, optimizer, trainer = parts(checkpoint=path)
                restore(path, model, optimizer, trainer)
            except nn.CheckpointError:
                refused += 1
                continue
            try:
                with np.errstate(all="ignore"):
                    one = found.trainer
                    one.train_step(X[:3].astype(F32), Y[:3])
                    one.evaluate(X, Y)
                    nn.save(path, one.model, one.optimizer, one)
                    nn.load(path)
                path.write_bytes(bad)
                schedule = nn.optim.StepLR(optimizer, step_size=1, gamma=0.5)
                goes_on(trainer, schedule, resume=True, callbacks=[nn.callbacks.Callback()])
            except (nn.CheckpointError, FloatingPointError):
                continue
            except Exception as error:
                wrong.append((place, value, f"{type(error).__name__}: {error}"))
        if not refused and not (FREE & set(place)):
            wrong.append((place, "all were taken"))
    assert not wrong, "\n".join(map(str, wrong))
