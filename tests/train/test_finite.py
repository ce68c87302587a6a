"""What the last step of a fit leaves: weights and states are looked at where it ends or saves."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite.train._finite import is_finite

ROWS = 24


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 3)).astype(np.float32)
    return X, (X @ np.ones((3, 1))).astype(np.float32)


def made(rule=nn.optim.SGD, lr=3e38, **options):
    """One step from a finite loss to infinite weights."""
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    return nn.Trainer(model, nn.MSELoss(), rule(model.parameters(), lr=lr, **options))


def eagerly(monkeypatch, eager):
    if eager:
        monkeypatch.setattr("nnlite.train.trainer.compiled", lambda *parts: None)


@pytest.mark.parametrize("eager", [False, True])
def test_the_last_step_of_a_fit(monkeypatch, tmp_path, eager):
    eagerly(monkeypatch, eager)
    X, y = data()
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    trainer = made()
    trainer.checkpoint = str(path)
    trainer.model[2].bias.data = [1e3]
    message = (
        r"fit: after epoch 1, the weights are not finite: .* holds -?(inf|nan) \(\d+ of \d+ "
        r"elements\); the largest gradient is .*Lower the learning rate, clip gradients \(clip_norm"
    )
    with pytest.raises(FloatingPointError, match=message):
        trainer.fit(X, y, 1, ROWS, verbose=0)
    assert path.read_bytes() == b"old"
    with pytest.raises(FloatingPointError, match=r"save: the weights are not finite: 0\.weight"):
        trainer.model[0].weight.data = np.full((3, 4), np.nan)
        nn.save(path, trainer.model, trainer=trainer)
    assert path.read_bytes() == b"old"
    with pytest.warns(
        RuntimeWarning, match=r"save: the weights are not finite: 0\.weight holds nan"
    ):
        nn.save(path, trainer.model)  # a model alone may hold what it likes
    assert np.isnan(nn.load(path).model[0].weight.data).all()


def test_before_a_save_within_an_epoch(tmp_path):
    X, y = data()
    trainer = made()
    trainer.model[2].bias.data = [1e3]
    trainer.checkpoint, trainer.every = str(tmp_path / "model"), 1
    with pytest.raises(FloatingPointError, match="fit: at epoch 1, before batch 2, the weights"):
        trainer.fit(X, y, 1, 8, verbose=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("rule", "state"),
    [
        (nn.optim.RMSprop, "square_avg"),
        (nn.optim.Adagrad, "sum"),
        (nn.optim.Adadelta, "square_avg"),
        (nn.optim.Adam, "exp_avg_sq"),
    ],
)
def test_states_that_became_infinite(monkeypatch, rule, state, eager):
    """A gradient of 1e22, whose square has no float32: its weight would never move again."""
    eagerly(monkeypatch, eager)
    X, y = data()
    nn.manual_seed(0)
    model = nn.Linear(3, 1)
    before = model.weight.data.copy()
    trainer = nn.Trainer(model, nn.MSELoss(), rule(model.parameters(), lr=1e-3))
    message = rf"the state of {rule.__name__} is not finite, .*: {state} of \S+ holds inf \("
    with pytest.raises(FloatingPointError, match=rf"fit: after epoch 1, {message}"):
        trainer.fit(X * 1e11, y * 1e11, 1, ROWS, verbose=0)
    assert (model.weight.data == before).all()


def test_fit_many_names_the_network_and_goes_on():
    X, y = data()
    several = [made(lr=0.01), made(), made(lr=0.01)]
    several[1].model[2].bias.data = [1e3]
    with pytest.warns(
        RuntimeWarning, match="fit_many: model 1: fit: after epoch 1, the weights"
    ) as w:
        found = nn.fit_many(
            [t.model for t in several], nn.MSELoss(), [t.optimizer for t in several], X, y, 1, ROWS,
            verbose=0,
        )  # fmt: skip
    assert len(w) == 1 and [len(h["loss"]) for h in found] == [1, 1, 1]


def test_best_weights_that_are_restored_are_the_ones_that_count():
    X, y = data()
    trainer = made()
    trainer.model[2].bias.data = [1e3]
    trainer.train_step(X, y)
    with pytest.raises(FloatingPointError, match=r"fit: the loss is .* at epoch 1, batch 1;"):
        trainer.fit(X, y, 1, ROWS, verbose=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_finite(dtype):
    largest = np.finfo(dtype).max
    array = np.full(1001, largest, dtype)
    assert is_finite(array) and is_finite(-array) and is_finite(array[:0])
    for index in (0, 500, 1000):
        for value in (np.inf, -np.inf, np.nan):
            wrong = np.zeros(1001, dtype)
            wrong[index] = value
            assert not is_finite(wrong)
    both = np.zeros(4, dtype)
    both[:2] = np.inf, -np.inf
    assert not is_finite(both)
