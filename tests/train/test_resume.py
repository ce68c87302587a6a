"""Going on after nn.load or restore: as if nothing had been, with every optimiser, bit for bit."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, TESTS, THREADS, same_bytes
from parts import CLASSES, FEATURES, Gain, Huber, network, train, weights
from safetensors import safe_open
from safetensors.numpy import load_file

import nnlite as nn
from nnlite.checkpoint import restore

# Settings that give each optimiser all of its state.
OPTIMIZERS = {
    "SGD": {"lr": 0.05, "momentum": 0.9},
    "Adam": {"lr": 0.01, "amsgrad": True},
    "AdamW": {"lr": 0.01},
    "Adamax": {"lr": 0.01},
    "NAdam": {"lr": 0.01},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "Adagrad": {"lr": 0.05, "lr_decay": 0.1},
    "Adadelta": {"lr": 1.0},
    "Rprop": {"lr": 0.01},
}


def optimizer_of(name: str, model: nn.Module) -> nn.optim.Optimizer:
    return getattr(nn.optim, name)(model.parameters(), **OPTIMIZERS[name])


class Resumable(nn.Trainer):
    """A trainer whose state is simple to look at."""

    def state_dict(self):
        return {"json": {"seed": self.seed, "epoch": self.epoch, "best": math.inf},
                "arrays": {"best": np.arange(3.0)}}  # fmt: skip

    def load_state_dict(self, state):
        assert state["json"]["best"] == math.inf
        same_bytes(state["arrays"]["best"], np.arange(3.0))
        self.seed, self.epoch = state["json"]["seed"], state["json"]["epoch"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def state_bytes(optimizer) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in optimizer.state.items()}


# ---- optimisers ----


def test_every_optimiser_is_here():
    known = {
        name for name, cls in vars(nn.optim).items()
        if isinstance(cls, type) and issubclass(cls, nn.optim.Optimizer)
    }  # fmt: skip
    assert known - {"Optimizer", "LBFGS"} == set(OPTIMIZERS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on(path, name, dtype):
    nn.manual_seed(4)
    model = network(dtype)
    optimizer = optimizer_of(name, model)
    train(model, optimizer, 7)
    nn.save(path, model, optimizer)
    found = nn.load(path)
    assert repr(found.optimizer) == repr(optimizer)
    assert state_bytes(found.optimizer) == state_bytes(optimizer)
    assert any(np.frombuffer(state, dtype).any() for state in state_bytes(optimizer).values())
    for one, other in ((model, optimizer), found[:2]):
        train(one, other, 9, first=7)
    assert weights(found.model) == weights(model)
    assert state_bytes(found.optimizer) == state_bytes(optimizer)
    nn.save(path.with_suffix(".a"), model, optimizer)
    nn.save(path.with_suffix(".b"), found.model, found.optimizer)
    assert path.with_suffix(".a").read_bytes() == path.with_suffix(".b").read_bytes()


def test_an_optimiser_of_some_parameters_with_a_new_rate(path):
    model = network()
    optimizer = nn.optim.SGD([model[3].bias, model[0].weight], lr=0.1, momentum=0.5)
    train(model, optimizer, 2)
    optimizer.lr = 0.037
    nn.save(path, model, optimizer)
    found = nn.load(path)
    assert found.optimizer.lr == 0.037
    own = dict(found.model.named_parameters())
    assert [p is own[name] for p, name in zip(found.optimizer.parameters, ("3.bias", "0.weight"),
                                              strict=True)] == [True, True]  # fmt: skip
    train(model, optimizer, 3, 2)
    train(*found[:2], 3, 2)
    assert weights(found.model) == weights(model)


def test_a_rate_of_zero(path):
    """Where some schedules end; constructors refuse it."""
    model = network()
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    optimizer.lr = 0
    nn.save(path, model, optimizer)
    assert nn.load(path).optimizer.lr == 0


GO_ON = """
    import sys, hashlib, nnlite as nn
    sys.path.insert(0, sys.argv[2])
    from parts import train, weights
    model, optimizer, *_ = nn.load(sys.argv[1])
    train(model, optimizer, 6, first=5)
    print(weights(model))
"""


@pytest.mark.parametrize("threads, isa", [(t, i) for i in BUILDS for t in (THREADS[0], THREADS[2])])
def test_other_threads_and_builds_go_on_alike(path, threads, isa):
    model = network()
    optimizer = optimizer_of("Adam", model)
    train(model, optimizer, 5)
    nn.save(path, model, optimizer)
    train(model, optimizer, 6, first=5)
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GO_ON), str(path), str(TESTS)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "NNLITE_ISA": isa},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert found.stdout.strip() == weights(model), found.stderr


# ---- files ----


def test_other_programs_read_the_weights(path):
    model = network()
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, 2)
    nn.save(path, model, optimizer, extra={"mean": np.arange(4.0)})
    found = load_file(path)
    assert {name for name in found if "/" not in name} == set(model.state_dict())
    for name, array in model.state_dict().items():
        same_bytes(found[name], array, name)
    with safe_open(path, "numpy") as file:
        same_bytes(file.get_tensor("2.0.weight"), model[2][0].weight.data)
        assert list(file.metadata()) == ["nnlite"]


def test_equal_parts_give_equal_bytes(path):
    def digest() -> str:
        nn.manual_seed(3)
        model = network()
        optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        train(model, optimizer, 3)
        nn.save(path, model, optimizer, extra={"b": 1, "a": [2.5], "c": np.arange(3)})
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert digest() == digest()


def test_classes_of_the_user(path):
    model = nn.Sequential(nn.Linear(FEATURES, 4), Gain(4, start=0.5), nn.Linear(4, CLASSES))
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, 5)
    nn.save(path, model, optimizer)
    found = nn.load(path, classes=[Gain])
    gain = found.model[1]
    assert (type(gain), gain.width, gain.start, gain.calls) == (Gain, 4, 0.5, 5)
    same_bytes(gain.mean, model[1].mean)
    assert weights(found.model) == weights(model)
    train(model, optimizer, 3, 5)
    train(found.model, found.optimizer, 3, 5)
    assert weights(found.model) == weights(model)
    same_bytes(found.model[1].mean, model[1].mean)
    with pytest.raises(
        nn.CheckpointError, match=r"class Gain, not known here; pass classes=\[Gain\]"
    ):
        nn.load(path)


def test_a_trainer_comes_back(path):
    model = nn.Linear(FEATURES, 1)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.01)
    trainer = Resumable(model, Huber(0.25), optimizer, seed=2**64 - 1)
    trainer.epoch = 7
    nn.save(path, model, trainer=trainer)
    found = nn.load(path, classes=[Resumable, Huber])
    assert type(found.trainer) is Resumable
    assert (found.trainer.seed, found.trainer.epoch) == (2**64 - 1, 7)
    assert found.trainer.model is found.model
    assert found.trainer.optimizer is found.optimizer
    assert (type(found.trainer.loss), found.trainer.loss.delta) == (Huber, 0.25)


def test_a_loss_with_a_network_inside_is_refused(path):
    """Its weights would not be kept."""

    class Distance(nn.MSELoss):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

    model = nn.Linear(2, 2)
    trainer = Resumable(model, Distance(nn.Linear(2, 2)), nn.optim.SGD(model.parameters(), lr=1))
    with pytest.raises(TypeError, match=r"save: trainer/loss/net: expected numbers.*got Linear"):
        nn.save(path, model, trainer=trainer)


# ---- restore ----


def test_restore_sets_what_is_there(path):
    model = nn.Sequential(nn.Linear(FEATURES, 4), Gain(4), nn.Linear(4, CLASSES))
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, 4)
    model[0].eval()
    nn.save(path, model, optimizer, extra={"x": [1]})
    first = weights(model)
    twin = nn.Sequential(nn.Linear(FEATURES, 4, init="he_normal"), Gain(4), nn.Linear(4, CLASSES))
    other = nn.optim.SGD(twin.parameters(), lr=0.3, momentum=0.9)
    kept = [p.data for p in twin.parameters()]
    assert restore(path, twin, other) == {"x": [1]}
    assert weights(twin) == first
    assert all(p.data is array for p, array in zip(twin.parameters(), kept, strict=True))
    assert (other.lr, twin[1].calls, twin[0].training) == (0.1, 4, False)
    model[0].train(), twin[0].train()
    train(model, optimizer, 3, 4)
    train(twin, other, 3, 4)
    assert weights(twin) == weights(model)
    same_bytes(twin[1].mean, model[1].mean)


def test_restore_of_a_trainer(path):
    def trainer():
        model = nn.Linear(FEATURES, 1)
        return Resumable(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=0.1), seed=3)

    first, second = trainer(), trainer()
    first.epoch = 5
    nn.save(path, first.model, trainer=first)
    restore(path, second)
    assert (second.epoch, weights(second.model)) == (5, weights(first.model))


LINEAR, RELU, TANH = (lambda width=2, **more: nn.Linear(3, width, **more)), nn.ReLU, nn.Tanh


@pytest.mark.parametrize(
    "model, text",
    [
        (lambda: LINEAR(), "model/architecture/.part: it holds 'Sequential', expected 'Linear'"),
        (lambda: nn.Sequential(LINEAR()), "/layers: it holds 2 items, expected 1 items"),
        (lambda: nn.Sequential(LINEAR(), TANH()), "/1/.part: it holds 'ReLU', expected 'Tanh'"),
        (lambda: nn.Sequential(LINEAR(4), RELU()), "/out_features: it holds 2, expected 4"),
        (lambda: nn.Sequential(LINEAR(dtype="f8"), RELU()), "/dtype: it holds 'float32', expected"),
    ],
)
def test_restore_of_another_model(path, model, text):
    nn.save(path, nn.Sequential(LINEAR(), RELU()))
    made = model()
    before = weights(made)
    with pytest.raises(nn.CheckpointError, match=text):
        restore(path, made)
    assert weights(made) == before


def test_restore_of_another_optimiser_or_loss(path):
    model = nn.Linear(FEATURES, 1)
    sgd = nn.optim.SGD
    trainer = Resumable(model, Huber(0.5), sgd(model.parameters(), lr=0.1, momentum=0.5))
    with pytest.raises(nn.CheckpointError, match="it holds no optimizer"):
        nn.save(path, model)
        restore(path, model, trainer.optimizer)
    nn.save(path, model, trainer=trainer)
    other = sgd(model.parameters(), lr=0.1, momentum=0.25)
    with pytest.raises(nn.CheckpointError, match=r"config/momentum: it holds 0\.5, expected 0\.25"):
        restore(path, model, other)
    with pytest.raises(nn.CheckpointError, match="optimizer/names: it holds 2 items, expected 1"):
        restore(path, model, sgd([model.weight], lr=0.1, momentum=0.5))
    twin = Resumable(model, Huber(0.25), sgd(model.parameters(), lr=0.1, momentum=0.5))
    with pytest.raises(nn.CheckpointError, match=r"loss/config/delta: it holds 0\.5, expected"):
        restore(path, twin)


def test_restore_changes_nothing_when_a_part_refuses(path):
    class Failing(Resumable):
        def load_state_dict(self, state):
            if state["json"]["epoch"] == 9:
                raise ValueError("no ninth epoch here")
            super().load_state_dict(state)

    def trainer():
        model = nn.Sequential(nn.Linear(FEATURES, 4), Gain(4), nn.Linear(4, CLASSES))
        optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return Failing(model, nn.SoftmaxCE(), optimizer)

    first, second = trainer(), trainer()
    train(first.model, first.optimizer, 3)
    first.epoch = 9
    nn.save(path, first.model, trainer=first)
    train(second.model, second.optimizer, 2)
    second.optimizer.lr = 0.7
    before = (weights(second.model), state_bytes(second.optimizer), second.model[1].calls)
    with pytest.raises(nn.CheckpointError, match="ValueError: no ninth epoch here"):
        restore(path, second)
    assert (weights(second.model), state_bytes(second.optimizer), second.model[1].calls) == before
    assert (second.optimizer.lr, second.epoch) == (0.7, 0)


@pytest.mark.parametrize("change", ["cut", "flip"])
def test_restore_of_a_damaged_file(path, change):
    model = network()
    nn.save(path, model)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data[:-4] if change == "cut" else data)
    twin = network()
    before = weights(twin)
    with pytest.raises(nn.CheckpointError, match="restore: "):
        restore(path, twin)
    assert weights(twin) == before
