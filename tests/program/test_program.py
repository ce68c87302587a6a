"""The training program gives the bits of the modules called one by one, and stops where they do."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

import nnlite as nn
from nnlite.program import train as program_module
from nnlite.program.rows import Rows
from nnlite.program.train import Program
from nnlite.train import _fit as fit_module
from nnlite.train._eager import Eager

DTYPES = (np.float32, np.float64)


def mixed(dtype):
    """Fused and separate activations, and a layer without bias."""
    return nn.Sequential(
        nn.Linear(7, 9, dtype=dtype), nn.ReLU(), nn.Tanh(),
        nn.Linear(9, 5, bias=False, dtype=dtype), nn.Sigmoid(),
        nn.Linear(5, 4, dtype=dtype), nn.Tanh(), nn.Linear(4, 3, dtype=dtype),
    )  # fmt: skip


def begins_without_weights(dtype):
    return nn.Sequential(nn.Tanh(), nn.Softmax(), nn.Linear(7, 3, dtype=dtype))


def nested(dtype):
    inner = nn.Sequential(nn.Linear(7, 6, dtype=dtype), nn.ReLU())
    return nn.Sequential(inner, nn.Linear(6, 3, dtype=dtype))


def with_dropout(dtype):
    return nn.Sequential(
        nn.Linear(7, 16, dtype=dtype), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 8, dtype=dtype),
        nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3, dtype=dtype),
    )  # fmt: skip


def single(dtype):
    return nn.Linear(7, 3, dtype=dtype)


def log_softmax(dtype):
    return nn.Sequential(nn.Linear(7, 5, dtype=dtype), nn.ReLU(), nn.Linear(5, 3, dtype=dtype),
                         nn.LogSoftmax())  # fmt: skip


def data(rows, dtype=np.float32):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(rows, 7)).astype(dtype)
    return X, rng.integers(0, 3, rows), rng.normal(size=(rows, 3)).astype(dtype)


def no_program(monkeypatch):
    import nnlite.train.trainer

    monkeypatch.setattr(nnlite.train.trainer, "compiled", lambda *unused: None)


CASES = [
    (mixed, nn.SoftmaxCE, {}),
    (mixed, nn.SoftmaxCE, {"reduction": "sum"}),
    (mixed, nn.SoftmaxCE, {"label_smoothing": 0.1, "weight": [1.0, 2.0, 0.5]}),
    (nested, nn.SoftmaxCE, {"ignore_index": 1}),
    (begins_without_weights, nn.SoftmaxCE, {}),
    (with_dropout, nn.SoftmaxCE, {}),
    (single, nn.SoftmaxCE, {}),
    (log_softmax, nn.NLLLoss, {"weight": [1.0, 2.0, 0.5]}),
    (mixed, nn.MSELoss, {}),
    (with_dropout, nn.MSELoss, {"reduction": "sum"}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("make", "loss", "settings"), CASES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_program_has_the_bits_of_the_modules(monkeypatch, make, loss, settings, dtype, shuffle):
    X, classes, values = data(50, dtype)
    y = values if loss is nn.MSELoss else classes
    found = []
    for eager in (False, True):
        if eager:
            no_program(monkeypatch)
        nn.manual_seed(1)
        model = make(dtype)
        optimizer = nn.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
        trainer = nn.Trainer(model, loss(**settings), optimizer, seed=5)
        held = (X[:9], y[:9])
        history = trainer.fit(X, y, 3, 16, validation_data=held, shuffle=shuffle, verbose=0)
        trainer.train_step(X[:4], y[:4])
        runner = trainer.runner(Rows(X, y), 16)
        assert isinstance(runner, Eager if eager else Program)
        found.append(
            (
                {k: v.tobytes() for k, v in model.state_dict().items()},
                {k: v.tobytes() for k, v in optimizer.state.items()},
                {k: v for k, v in history.items() if k != "seconds"},
                trainer.evaluate(X, y),
            )
        )
    assert found[0] == found[1]
    assert np.isfinite(found[0][2]["loss"]).all()


def trained(X, y, model_seed=1, **settings):
    nn.manual_seed(model_seed)
    model = with_dropout(np.float32)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=5)
    history = trainer.fit(X, y, 6, 8, verbose=0, **settings)
    return b"".join(v.tobytes() for v in model.state_dict().values()), history


@pytest.mark.parametrize("seconds", [1e-9, 1e-4, 1e9])
def test_slices_change_nothing(monkeypatch, seconds):
    X, y, _ = data(61)
    expected, history = trained(X, y, validation_data=(X[:9], y[:9]))
    monkeypatch.setattr(fit_module, "SLICE_SECONDS", seconds)
    got, again = trained(X, y, validation_data=(X[:9], y[:9]))
    assert got == expected
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in history.items() if k != "seconds"
    }


class CountRows(nn.metrics.Metric):
    """Counts the rows that it sees."""

    name = "rows"

    def reset(self):
        self.rows = 0

    def update(self, output, target, sample_weight=None):
        assert output.shape == (len(target), 3)
        self.rows += len(target)

    def value(self):
        return self.rows


def test_callbacks_metrics_and_one_call_for_all_epochs_give_the_same_bits():
    X, y, _ = data(61)
    expected, history = trained(X, y, validation_data=(X[:9], y[:9]))
    got, again = trained(
        X, y, validation_data=(X[:9], y[:9]), callbacks=[nn.callbacks.Callback()],
        metrics=[CountRows()],
    )  # fmt: skip
    assert got == expected
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert again[name] == history[name]
    assert again["rows"] == [61] * 6 and again["val_rows"] == [9] * 6


class OwnLayer(nn.Module):
    def forward(self, x):
        return 2 * x

    def backward(self, grad_output):
        return 2 * grad_output


def test_what_cannot_be_recorded_is_trained_by_the_modules():
    X, y, _ = data(20)
    model = nn.Sequential(nn.Linear(7, 3), OwnLayer())
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.1))
    before = trainer.evaluate(X, y)["loss"]
    assert trainer.fit(X, y, 5, 10, verbose=0)["loss"][-1] < before
    assert isinstance(trainer.runner(Rows(X, y), 10), Eager)


def test_a_shared_parameter(monkeypatch):
    X, y, _ = data(20)
    found = []
    for eager in (False, True):
        nn.manual_seed(0)
        model = nn.Sequential(nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 7), nn.Linear(7, 3))
        model[2].weight = model[0].weight
        trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.1))
        with monkeypatch.context() as patch:
            if eager:
                patch.setattr("nnlite.train.trainer.compiled", lambda *parts: None)
            trainer.fit(X, y, 3, 8, verbose=0)
        assert (trainer.why_eager is None) is not eager
        found.append([p.data.tobytes() for p in model.parameters()])
    assert found[0] == found[1]


def test_a_new_parameter_makes_a_new_program():
    X, y, _ = data(8)
    model = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.1))
    trainer.train_step(X, y)
    outer = nn.Sequential(model, nn.Softmax())  # the parameters move to another arena
    before = outer.predict(X)
    trainer.train_step(X, y)
    assert (outer.predict(X) != before).any()
    np.testing.assert_array_equal(
        outer.predict(X), nn.functional.softmax(model.predict(X)), strict=True
    )


def test_not_finite_loss_names_the_place_and_keeps_the_weights(monkeypatch):
    X, y, _ = data(32)
    X[20, 2] = np.inf
    states = []
    for eager in (False, True):
        if eager:
            no_program(monkeypatch)
        nn.manual_seed(0)
        model = nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3))
        trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.1))
        message = r"the loss is nan at epoch 1, batch 3; the largest gradient is nan, of 0\.weight"
        with pytest.raises(FloatingPointError, match=message):
            trainer.fit(X, y, 2, 8, shuffle=False, verbose=0)
        assert trainer.steps == 2
        states.append(model.state_dict())
        with pytest.raises(FloatingPointError, match="No parameter has changed"):
            trainer.train_step(X[16:24], y[16:24])
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, states[-1][name], strict=True)
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name], states[1][name], strict=True)
        assert np.isfinite(states[0][name]).all()


def test_ctrl_c_stops_between_batches_and_a_resumed_fit_has_the_same_bits():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 7)).astype(np.float32)
    y = rng.integers(0, 3, 4000)

    def make():
        nn.manual_seed(1)
        model = with_dropout(np.float32)
        optimizer = nn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        return model, nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=5)

    epochs = 300
    model, trainer = make()
    history = trainer.fit(X, y, epochs, 8, verbose=0)
    expected = model.state_dict()
    again, trainer = make()
    threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, epochs, 8, verbose=0)
    assert 0 < trainer.steps < epochs * 500
    resumed = trainer.fit(X, y, epochs, 8, verbose=0, resume=True)
    for name, value in again.state_dict().items():
        np.testing.assert_array_equal(value, expected[name], strict=True)
    assert resumed["loss"] == history["loss"]


def test_memory_is_known_before_training():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    trainer = nn.Trainer(
        model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    )
    found = trainer.memory(128)
    parameters = 4 * (784 * 512 + 512 + 512 * 10 + 10)
    assert found["parameters"] == found["gradients"] == parameters
    values = 4 * 128 * (512 + 10)  # the gradients of the last ones take the place of dead values
    assert values < found["activations"] <= 2 * values + 1024
    assert found["total"] == sum(v for k, v in found.items() if k != "total")


def test_class_and_sample_weights_are_the_losses():
    X, y, _ = data(30)
    table = np.array([0.5, 2.0, 1.0])

    def fit(loss, **settings):
        nn.manual_seed(0)
        model = nn.Linear(7, 3)
        trainer = nn.Trainer(model, loss, nn.optim.SGD(model.parameters(), lr=0.1))
        return trainer.fit(X, y, 3, 7, verbose=0, **settings)["loss"], model.weight.data.copy()

    losses, weight = fit(nn.SoftmaxCE(weight=table))
    for settings in (
        {"class_weight": table},
        {"class_weight": {0: 0.5, 1: 2.0}},
        {"sample_weight": table[y]},
        {"sample_weight": table[y] / 2, "class_weight": [2.0, 2.0, 2.0]},
    ):
        got, found = fit(nn.SoftmaxCE(), **settings)
        np.testing.assert_allclose(got, losses, rtol=1e-6)
        np.testing.assert_allclose(found, weight, rtol=1e-5, atol=1e-7)


def test_balanced_class_weights(monkeypatch):
    X, y, _ = data(30)
    y[:] = [0] * 20 + [1] * 10
    model = nn.Linear(7, 3)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.1))
    seen = []
    original = program_module.Program.bind

    def spy(self, rows, *rest):
        seen.append(rows.weight)
        return original(self, rows, *rest)

    monkeypatch.setattr(program_module.Program, "bind", spy)
    trainer.fit(X, y, 1, 7, verbose=0, class_weight="balanced")
    np.testing.assert_array_equal(seen[0], np.where(y == 0, 0.75, 1.5).astype(np.float32))


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"class_weight": "equal"}, ValueError, "expected 'balanced'"),
        ({"class_weight": {5: 1.0}}, ValueError, "5 is no class; expected 0..2"),
        ({"class_weight": [1.0]}, ValueError, "each of 3 classes, got 1"),
        ({"class_weight": [1.0, -1.0, 1.0]}, ValueError, r"class_weight\[1\]"),
        ({"sample_weight": [1.0]}, ValueError, r"expected shape \(30,\)"),
        ({"sample_weight": -np.ones(30)}, ValueError, "row 0 holds -1.0"),
        ({"sample_weight": ["a"] * 30}, TypeError, "expected numbers"),
        ({"validation_split": 1.5}, ValueError, "validation_split"),
        ({"validation_split": 0.5, "validation_data": (1, 2)}, ValueError, "not both"),
        ({"schedule": 3}, TypeError, "expected a schedule"),
        ({"early_stopping": -1}, ValueError, "early_stopping"),
    ],
)
def test_bad_settings_change_nothing(settings, kind, message):
    X, y, _ = data(30)
    model = nn.Linear(7, 3)
    before = model.weight.data.copy()
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(kind, match=message):
        trainer.fit(X, y, 1, 7, verbose=0, **settings)
    np.testing.assert_array_equal(model.weight.data, before, strict=True)
    assert trainer.epoch == 0


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_large_weights_are_updated_in_strips_to_the_same_bits(monkeypatch, optimizer):
    """Of 16 MiB on."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, 1030)).astype(np.float32)
    y = rng.integers(0, 3, 10)
    found = []
    for eager in (False, True):
        if eager:
            no_program(monkeypatch)
        nn.manual_seed(1)
        model = nn.Sequential(
            nn.Linear(1030, 4100), nn.ReLU(), nn.Linear(4100, 5), nn.Tanh(), nn.Linear(5, 3)
        )
        settings = {"momentum": 0.9} if optimizer == "SGD" else {"clip_value": 0.01}
        made = getattr(nn.optim, optimizer)(
            model.parameters(), lr=0.01, weight_decay=1e-3, **settings
        )
        trainer = nn.Trainer(model, nn.SoftmaxCE(), made)
        history = trainer.fit(X, y, 2, 5, verbose=0)
        states = [value.tobytes() for value in (*model.state_dict().values(), *made.state.values())]
        found.append((states, history["loss"], made.steps))
    assert found[0] == found[1]
    trainer.model[0].bias.data = np.full(4100, np.inf, np.float32)
    before = trainer.model[0].weight.data.copy()
    with pytest.raises(FloatingPointError):
        trainer.fit(X, y, 1, 5, verbose=0)
    np.testing.assert_array_equal(trainer.model[0].weight.data, before, strict=True)
