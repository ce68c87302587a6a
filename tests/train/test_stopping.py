"""Early stopping that C follows by itself: what the callback, called after each epoch, would do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlite as nn
from nnlite.program.train import Program
from nnlite.train import _fit
from nnlite.train.callbacks import EarlyStopping

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6)).astype(np.float32)
Y = (X[:, 0] + 0.8 * RNG.normal(size=90) > 0).astype(np.int64)
HELD = (X[60:], Y[60:])


class Called(EarlyStopping):
    """The same, but C does not know the class: it is called after each epoch."""


def model(dropout: bool = False) -> nn.Module:
    nn.manual_seed(1)
    layers = [nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2)]
    return nn.Sequential(*(layers[:2] + [nn.Dropout(0.3)] * dropout + layers[2:]))


def trained(stopping: EarlyStopping, dropout: bool = False, **fit: Any) -> tuple[Any, Any, Any]:
    net = model(dropout)
    trainer = nn.Trainer(net, nn.SoftmaxCE(), nn.optim.Adam(net.parameters(), 0.05), seed=3)
    fit = {"epochs": 60, "batch_size": 16, "validation_data": HELD, "verbose": 0, **fit}
    history = trainer.fit(X[:60], Y[:60], callbacks=[stopping], **fit)
    return net, history, trainer


CASES: dict[str, dict[str, Any]] = {
    "val_loss": {"monitor": "val_loss", "patience": 3},
    "loss": {"monitor": "loss", "patience": 2, "min_delta": 0.02},
    "accuracy": {"monitor": "accuracy", "patience": 2},
    "val_accuracy": {"monitor": "val_accuracy", "patience": 5, "min_delta": 0.03},
    "max loss": {"monitor": "val_loss", "patience": 2, "mode": "max"},
    "weights stay": {"monitor": "val_loss", "patience": 3, "restore_best": False},
    "to the end": {"monitor": "val_loss", "patience": 1000},
}


@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("name", CASES)
def test_c_and_the_callback_agree(
    name: str, dropout: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fit, "SLICE_SECONDS", 1e6)
    mine, other = EarlyStopping(**CASES[name]), Called(**CASES[name])
    found, expected = (trained(stopping, dropout) for stopping in (mine, other))
    assert {k: v.tobytes() for k, v in found[0].state_dict().items()} == {
        k: v.tobytes() for k, v in expected[0].state_dict().items()
    }
    for kind in ("loss", "val_loss", "accuracy", "val_accuracy"):
        assert found[1][kind] == expected[1][kind]
    assert found[2].epoch == expected[2].epoch and found[2].steps == expected[2].steps
    for attribute in ("best", "best_epoch", "stopped_epoch", "wait"):
        assert getattr(mine, attribute) == getattr(other, attribute), attribute
    assert (mine.stopped_epoch is None) == (name == "to the end")
    states = [[m.extra_state() for m in net.modules()] for net, *_ in (found, expected)]
    assert states[0] == states[1]


def test_epochs_run_on_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fit, "SLICE_SECONDS", 1e6)
    calls = []
    run = Program.run_prepared

    def counted(self: Program) -> int:
        calls.append(self)
        return run(self)

    monkeypatch.setattr(Program, "run_prepared", counted)
    trained(EarlyStopping(patience=1000), batch_size=60)
    assert len(calls) <= 7  # 1, 2, 4, ... of 60 batches
    calls.clear()
    trained(Called(patience=1000), batch_size=60)
    assert len(calls) == 60


def test_a_nan_figure_is_never_better() -> None:
    held = (np.full((3, 6), np.nan, np.float32), np.zeros(3, np.int64))
    mine, other = EarlyStopping(patience=4), Called(patience=4)
    for stopping in (mine, other):
        _, history, _ = trained(stopping, validation_data=held)
        assert len(history["loss"]) == 4 and np.isnan(history["val_loss"]).all()
        assert stopping.best is None and stopping.stopped_epoch == 3


def test_another_fit_begins_anew_and_steps_are_free_of_the_rule() -> None:
    stopping = EarlyStopping(patience=3)
    _, _, trainer = trained(stopping)
    first = stopping.best_epoch
    trainer.train_step(X[:16], Y[:16])
    history = trainer.fit(X[:60], Y[:60], 5, 16, HELD, verbose=0)
    assert len(history["loss"]) == 5 and stopping.best_epoch == first


@pytest.mark.parametrize("shuffle", [True, False])
def test_many_networks_stop_each_by_its_own_figures(shuffle: bool) -> None:
    def nets() -> list[nn.Module]:
        nn.manual_seed(7)
        return [nn.Sequential(nn.Linear(6, n), nn.ReLU(), nn.Linear(n, 2)) for n in (4, 8, 32)]

    models = nets()
    histories = nn.fit_many(
        models, nn.SoftmaxCE(), [nn.optim.Adam(m.parameters(), 0.05) for m in models], X[:60],
        Y[:60], 50, 16, validation_data=HELD, early_stopping=3, shuffle=shuffle, verbose=0,
    )  # fmt: skip
    for seed, (model, history, alone) in enumerate(zip(models, histories, nets(), strict=True)):
        trainer = nn.Trainer(alone, nn.SoftmaxCE(), nn.optim.Adam(alone.parameters(), 0.05), seed)
        expected = trainer.fit(
            X[:60], Y[:60], 50, 16, HELD, shuffle, 0, callbacks=[Called(patience=3)]
        )
        assert history["val_loss"] == expected["val_loss"]
        for p, q in zip(model.parameters(), alone.parameters(), strict=True):
            assert p.data.tobytes() == q.data.tobytes()
