"""Networks of operations train inside C with the bits of the eager run."""

from __future__ import annotations

import numpy as np
import pytest
from network_cases import CLASSES, INPUTS, NETWORKS

import nnlite as nn
from nnlite.program.rows import Rows
from nnlite.program.train import Program
from nnlite.train._eager import Eager

ROWS = 37  # not a multiple of a batch


def data(make, dtype, rows=ROWS):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(rows, *getattr(make, "shape", (INPUTS,)))).astype(dtype)
    y = X if getattr(make, "reconstructs", False) else rng.integers(0, CLASSES, rows)
    return X, y, rng.uniform(0, 2, rows).astype(dtype)


def sgd(parameters):
    return nn.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-3)


def adam(parameters):
    return nn.optim.Adam(parameters, lr=0.01)


def loss_for(y):
    return nn.SoftmaxCE() if y.ndim == 1 else nn.MSELoss()


def trained(make, dtype, optimiser=sgd, loss=None, weighted=False, batch=16, epochs=3):
    """The trainer and everything that training left."""
    X, y, weight = data(make, dtype)
    nn.manual_seed(1)
    model = make(dtype)
    optimizer = optimiser(model.parameters())
    trainer = nn.Trainer(model, loss_for(y) if loss is None else loss(), optimizer, seed=5)
    history = trainer.fit(
        X, y, epochs, batch, verbose=0, validation_data=(X[:9], y[:9]),
        sample_weight=weight if weighted else None,
    )  # fmt: skip
    why = trainer.why_eager
    step = trainer.train_step(X[:4], y[:4])
    rows = Rows(X, y, weight if weighted else None)
    return trainer.runner(rows, batch), why, {
        "weights": {k: v.tobytes() for k, v in model.state_dict().items()},
        "optimizer": {k: v.tobytes() for k, v in optimizer.state.items()},
        "history": {k: v for k, v in history.items() if k != "seconds"},
        "step": step, "evaluated": trainer.evaluate(X, y), "predicted": model.predict(X).tobytes(),
    }  # fmt: skip


def eagerly(monkeypatch, *args, **named):
    import nnlite.train.trainer

    with monkeypatch.context() as patch:
        patch.setattr(nnlite.train.trainer, "compiled", lambda *unused: None)
        runner, _, found = trained(*args, **named)
    assert isinstance(runner, Eager)
    return found


def in_c(*args, **named):
    runner, why, found = trained(*args, **named)
    assert why is None
    assert isinstance(runner, Program)
    assert np.isfinite(found["history"]["loss"]).all()
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("optimiser", [sgd, adam])
@pytest.mark.parametrize("make", NETWORKS)
def test_trains_in_c_with_the_bits_of_the_eager_run(monkeypatch, make, optimiser, weighted, dtype):
    settings = {"optimiser": optimiser, "weighted": weighted}
    assert in_c(make, dtype, **settings) == eagerly(monkeypatch, make, dtype, **settings)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.slow
def test_threads_and_batches_change_no_bit(monkeypatch, make):
    before = nn.get_num_threads()
    try:
        for batch in (1, 5, 12, 64):
            expected = eagerly(monkeypatch, make, np.float32, batch=batch, epochs=2)
            for threads in (1, 2, 3):
                nn.set_num_threads(threads)
                assert in_c(make, np.float32, batch=batch, epochs=2) == expected, (batch, threads)
            nn.set_num_threads(before)
    finally:
        nn.set_num_threads(before)


class OfTheBatch(nn.Module):
    """A program for each batch size: the number of rows is read as a number."""

    def __init__(self):
        self.inner = nn.Linear(INPUTS, CLASSES)

    def forward(self, x):
        return self.inner(x) * (1.0 / len(x))


@pytest.mark.parametrize("more", [{}, {"early_stopping": 2}], ids=["", "early stopping"])
def test_batch_sizes_of_the_rows_that_are_trained(monkeypatch, more):
    """Rows that are held out are not among them: 37 rows, 33 of them in batches of 16, 16 and 1."""
    X, y, _ = data(OfTheBatch, np.float32)
    found = []
    for eager in (False, True):
        if eager:
            monkeypatch.setattr(nn.train.trainer, "compiled", lambda *args: None)
        nn.manual_seed(1)
        model = OfTheBatch()
        trainer = nn.Trainer(model, nn.SoftmaxCE(), adam(model.parameters()), seed=5)
        history = trainer.fit(X, y, 4, 16, verbose=0, validation_split=0.1, **more)
        assert eager or trainer.why_eager is None
        found.append((model.inner.weight.data.tobytes(), history["loss"], history["val_loss"]))
    assert found[0] == found[1]
