"""What fit does between batches: files, iterables, callbacks, early stopping, exact resume."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite.train import _fit as fit_module
from nnlite.train._progress import Progress


def data(rows=90):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, 6)).astype(np.float32)
    return X, (X[:, :3].argmax(1)).astype(np.int64)


def make(**settings):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=3, **settings)


def weights(model):
    return b"".join(value.tobytes() for value in model.state_dict().values())


def figures(history):
    return {name: values for name, values in history.items() if name != "seconds"}


class StopError(Exception):
    """What interrupts a fit in these tests."""


class StopAfter(nn.callbacks.Callback):
    """Raises after a batch."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, trainer, step, values):
        if step == self.step:
            raise StopError


class Watch(nn.callbacks.Callback):
    """Writes down the calls."""

    def __init__(self, every):
        self.every, self.calls = every, []

    def on_fit_begin(self, trainer):
        self.calls.append("begin")

    def on_batch_end(self, trainer, step, values):
        self.calls.append((step, trainer.steps, sorted(values)))

    def on_epoch_end(self, trainer, epoch, values):
        self.calls.append(("epoch", epoch, values["loss"]))

    def on_fit_end(self, trainer, history):
        self.calls.append("end")


def test_callbacks_are_called_when_they_are_due():
    X, y = data(50)
    _, trainer = make()
    watch = Watch(3)
    history = trainer.fit(X, y, 2, 10, verbose=0, callbacks=[watch])
    loss, batch = history["loss"], ["accuracy", "loss"]
    assert watch.calls == [
        "begin", (3, 3, batch), ("epoch", 0, loss[0]), (6, 6, batch), (9, 9, batch),
        ("epoch", 1, loss[1]), "end",
    ]  # fmt: skip
    watch.calls.clear()
    trainer.fit(X, y, 1, 25, verbose=0, callbacks=watch)
    assert watch.calls[1:] == [("epoch", 0, trainer._position.history["loss"][0]), "end"]


def test_a_callback_stops_the_fit():
    X, y = data(50)
    _, trainer = make()

    def stop(trainer, epoch, values):
        trainer.stop = epoch == 1

    assert len(trainer.fit(X, y, 9, 10, verbose=0, callbacks=[stop])["loss"]) == 2
    assert trainer.steps == 10 and trainer.epoch == 2


def test_early_stopping_restores_the_best_weights():
    X, y = data()
    held = data(40)
    held = (held[0][::-1].copy(), held[1])  # labels that do not belong to their rows
    model, trainer = make()
    best = {}

    def keep(trainer, epoch, values):
        best[epoch] = (values["val_loss"], weights(trainer.model))

    history = trainer.fit(
        X, y, 60, 10, validation_data=held, early_stopping=3, verbose=0, callbacks=[keep]
    )
    epochs = len(history["val_loss"])
    at = int(np.argmin(history["val_loss"]))
    assert epochs == at + 4 < 60
    assert weights(model) == best[at][1]


def test_a_fit_that_stopped_early_does_not_go_on(tmp_path):
    X, y = data()
    settings = {"validation_data": (X[:20], y[:20]), "early_stopping": 1, "verbose": 0}
    y[:20] = 2 - y[:20]
    model, trainer = make(checkpoint=tmp_path / "fit.safetensors")
    history = trainer.fit(X, y, 60, 10, **settings)
    assert history.epochs < 60
    again, trainer = make(checkpoint=tmp_path / "fit.safetensors")
    resumed = trainer.fit(X, y, 60, 10, resume=True, **settings)
    assert weights(again) == weights(model) and resumed == history


def test_validation_split_holds_out_equal_shares():
    X, y = data(120)
    _, trainer = make()
    history = trainer.fit(X, y, 2, 10, validation_split=0.25, verbose=0)
    assert {"val_loss", "val_accuracy"} <= set(history) and trainer.steps == 2 * 9
    rows = np.arange(120).reshape(-1, 1)
    train, held, y_train, y_held = nn.data.train_test_split(
        rows, y, test_size=0.25, seed=3, stratify=True
    )
    _, other = make()
    expected = other.fit(
        X[train[:, 0]], y_train, 2, 10, validation_data=(X[held[:, 0]], y_held), verbose=0
    )
    assert figures(history) == figures(expected)


def test_metrics_of_batches_and_of_validation_data():
    X, y = data(50)
    model, trainer = make()
    history = trainer.fit(
        X, y, 2, 10, validation_data=(X[:20], y[:20]), verbose=0,
        metrics=["top_2", "confusion_matrix"],
    )  # fmt: skip
    output = model.predict(X[:20])
    right = (np.argsort(-output, axis=1)[:, :2] == y[:20, None]).any(1).mean()
    assert history["val_top_2"][-1] == right
    assert np.sum(history["confusion_matrix"][-1]) == 50
    assert np.trace(history["val_confusion_matrix"][-1]) == (output.argmax(1) == y[:20]).sum()
    measured = trainer.evaluate(X[:20], y[:20], metrics=["top_2"])
    assert measured["top_2"] == right


def test_regression_metrics():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 4)).astype(np.float32)
    y = X @ rng.normal(size=(4, 1)).astype(np.float32)
    nn.manual_seed(0)
    model = nn.Linear(4, 1)
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=0.1))
    history = trainer.fit(X, y, 30, 16, verbose=0, metrics=["r2", "mae"])
    assert history["r2"][-1] > 0.999 and history["mae"][-1] < 0.02
    assert "accuracy" not in history


# Data that are not arrays.


def test_batches_from_an_iterable():
    X, y = data(50)
    batches = [(X[i : i + 10], y[i : i + 10]) for i in range(0, 50, 10)]
    model, trainer = make()
    history = trainer.fit(batches, epochs=3, verbose=0)
    again, other = make()
    expected = other.fit(X, y, 3, 10, shuffle=False, verbose=0)
    assert weights(model) == weights(again)
    assert figures(history) == figures(expected)


def test_batches_of_different_sizes():
    X, y = data(50)
    sizes = [(0, 7), (7, 30), (30, 31), (31, 50)]
    model, trainer = make()
    trainer.fit([(X[a:b], y[a:b]) for a, b in sizes], epochs=2, verbose=0)
    again, other = make()
    for _ in range(2):
        for a, b in sizes:
            other.train_step(X[a:b], y[a:b])
    assert weights(model) == weights(again)


def test_a_generator_serves_one_epoch():
    X, y = data(20)
    _, trainer = make()
    history = trainer.fit(((X[i : i + 5], y[i : i + 5]) for i in range(0, 20, 5)), verbose=0)
    assert len(history["loss"]) == 1 and trainer.steps == 4
    with pytest.raises(ValueError, match="epoch"):
        trainer.fit(((X[i : i + 5], y[i : i + 5]) for i in range(0, 20, 5)), epochs=2, verbose=0)


def saved(tmp_path, rows=4000):
    X, y = data(rows)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    return X, y


def test_a_file_that_fits_the_budget_is_an_array(tmp_path):
    X, y = saved(tmp_path, 90)
    model, trainer = make()
    trainer.fit(tmp_path / "X.npy", y, 2, 10, verbose=0)
    again, other = make()
    other.fit(X, y, 2, 10, verbose=0)
    assert weights(model) == weights(again)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_file_larger_than_the_budget(tmp_path, shuffle):
    X, y = saved(tmp_path)
    found = []
    for kind in ("path", "map"):
        model, trainer = make()
        file = tmp_path / "X.npy"
        source = file if kind == "path" else np.load(file, mmap_mode="r")
        history = trainer.fit(
            source, y, 2, 50, verbose=0, shuffle=shuffle, memory_budget=40_000,
            validation_data=(X[:50], y[:50]), class_weight={0: 2.0},
        )  # fmt: skip
        assert trainer.steps == 160
        found.append((weights(model), figures(history)))
    assert found[0] == found[1]
    assert found[0][1]["val_accuracy"][-1] > 0.9
    if not shuffle:
        model, trainer = make()
        history = trainer.fit(
            X, y, 2, 50, verbose=0, shuffle=False, validation_data=(X[:50], y[:50]),
            class_weight={0: 2.0},
        )  # fmt: skip
        assert (weights(model), figures(history)) == found[0]


# Going on exactly.


def fit_like(trainer, X, y, **more):
    return trainer.fit(
        X, y, 4, 8, verbose=0, validation_data=(X[:20], y[:20]), **{"metrics": ["top_2"], **more}
    )


@pytest.mark.parametrize("every", [None, 1, 5])
@pytest.mark.parametrize("stop", [1, 7, 12, 23, 36])
def test_resume_from_a_file_has_the_bits_of_an_uninterrupted_fit(tmp_path, every, stop):
    X, y = data()
    model, trainer = make()
    stopping = nn.callbacks.EarlyStopping("val_loss", 3)
    expected = fit_like(trainer, X, y, callbacks=[stopping, nn.callbacks.Callback()])
    path = tmp_path / "fit.safetensors"
    _, trainer = make(checkpoint=path, every=every)
    stopping = nn.callbacks.EarlyStopping("val_loss", 3)
    with pytest.raises(StopError):
        fit_like(trainer, X, y, callbacks=[stopping, StopAfter(stop)])
    again, trainer = make(checkpoint=path, every=every)
    before = nn.get_num_threads()
    nn.set_num_threads(3)
    try:
        stopping = nn.callbacks.EarlyStopping("val_loss", 3)
        history = fit_like(
            trainer, X, y, callbacks=[stopping, nn.callbacks.Callback()], resume=True
        )
    finally:
        nn.set_num_threads(before)
    assert weights(again) == weights(model)
    assert figures(history) == figures(expected)
    last = nn.load(path)
    assert weights(last.model) == weights(model)
    finished = fit_like(trainer, X, y, callbacks=[stopping, nn.callbacks.Callback()], resume=True)
    assert figures(finished) == figures(expected) and weights(again) == weights(model)


@pytest.mark.parametrize("stop", [3, 80, 101, 150])
def test_resume_in_a_file_of_data(tmp_path, stop):
    _, y = saved(tmp_path)
    settings = {"verbose": 0, "memory_budget": 40_000}
    model, trainer = make()
    expected = trainer.fit(tmp_path / "X.npy", y, 2, 50, **settings)
    path = tmp_path / "fit.safetensors"
    _, trainer = make(checkpoint=path, every=1)
    with pytest.raises(StopError):
        trainer.fit(tmp_path / "X.npy", y, 2, 50, callbacks=[StopAfter(stop)], **settings)
    again, trainer = make(checkpoint=path, every=1)
    history = trainer.fit(
        tmp_path / "X.npy", y, 2, 50, resume=True, callbacks=[nn.callbacks.Callback()], **settings
    )
    assert weights(again) == weights(model) and figures(history) == figures(expected)


def test_resume_with_other_settings_is_refused(tmp_path):
    X, y = data()
    path = tmp_path / "fit.safetensors"
    _, trainer = make(checkpoint=path, every=1)
    with pytest.raises(StopError):
        trainer.fit(X, y, 3, 8, verbose=0, callbacks=[StopAfter(3)])
    for change, message in (
        ({"batch_size": 9}, "batch_size was 8 and is 9"),
        ({"shuffle": False}, "shuffle was True and is False"),
        ({"X": X[:80], "y": y[:80]}, "data was"),
    ):
        _, other = make(checkpoint=path)
        settings = {"X": X, "y": y, "epochs": 3, "batch_size": 8, "verbose": 0} | change
        before = weights(other.model)
        with pytest.raises(ValueError, match=f"resume: the interrupted fit had other.*{message}"):
            other.fit(**settings, resume=True)
        assert weights(other.model) == before and other.steps == 0


def test_a_state_that_is_none_is_refused():
    X, y = data()
    _, trainer = make()
    trainer.fit(X, y, 1, 10, verbose=0, callbacks=[nn.callbacks.EarlyStopping("loss")])
    state = trainer.state_dict()
    for broken, kind in (({"callbacks": 3}, TypeError), ({"callbacks": {"callbacks": [3]}}, None)):
        _, other = make()
        if kind is not None:
            with pytest.raises(kind, match="expected a dict for each part"):
                other.load_state_dict({**state, "attached": broken})
            continue
        other.load_state_dict({**state, "attached": broken})
        with pytest.raises(ValueError, match="state"):
            other.fit(
                X, y, 2, 10, verbose=0, callbacks=[nn.callbacks.EarlyStopping("loss")], resume=True
            )


def test_resume_without_a_file_begins():
    X, y = data(20)
    model, trainer = make(checkpoint="does-not-exist.safetensors", every=10**6)
    trainer.checkpoint = None
    trainer.fit(X, y, 1, 10, verbose=0, resume=True)
    again, other = make()
    other.fit(X, y, 1, 10, verbose=0)
    assert weights(model) == weights(again)


def test_more_epochs_after_the_end(tmp_path):
    X, y = data()
    path = tmp_path / "fit.safetensors"
    model, trainer = make()
    expected = trainer.fit(X, y, 5, 8, verbose=0)
    _, trainer = make(checkpoint=path)
    trainer.fit(X, y, 3, 8, verbose=0)
    again, trainer = make(checkpoint=path)
    history = trainer.fit(X, y, 5, 8, verbose=0, resume=True)
    assert weights(again) == weights(model) and figures(history) == figures(expected)


def test_the_progress_bar_shows_samples_and_figures(capsys):
    X, y = data(50)
    _, trainer = make()
    trainer.fit(X, y, 2, 10, verbose=1)
    text = capsys.readouterr().err
    assert "epoch 2/2" in text and "loss=" in text and "accuracy=" in text
    assert "samples/s" in text and "100" in text


@pytest.mark.parametrize("metrics", [(), (nn.metrics.Accuracy(),)])
def test_the_progress_bar_shows_figures_of_the_epoch_that_runs(monkeypatch, metrics):
    shown = []
    monkeypatch.setattr(
        Progress, "show", lambda self, epoch, values: shown.append((epoch, values()))
    )
    monkeypatch.setattr(fit_module, "SLICE_SECONDS", 0.0)  # a slice is one batch
    X, y = data(40)
    _, trainer = make()
    history = trainer.fit(X, y, 1, 10, metrics=metrics, verbose=1)
    epochs, values = zip(*shown, strict=True)
    assert epochs == (1,) * len(shown) and len(shown) >= 4
    assert values[-1]["loss"] == history["loss"][0]
    losses = [v["loss"] for v in values]
    assert len(set(losses)) >= 4 and all("accuracy" in v for v in values)


@pytest.mark.parametrize("stop", [5, 12, 20])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: nn.optim.StepLR(o, 1, 0.5),
        lambda o: nn.optim.OneCycleLR(o, 0.2, total_steps=48),
        lambda o: nn.optim.ReduceLROnPlateau(o, patience=0),
        lambda o: nn.optim.CosineAnnealingLR(o, 48, interval="batch"),
    ],
)
def test_schedules(tmp_path, monkeypatch, schedule, eager, stop):
    """A fit sets the rates of a loop written by hand, and goes on with them after a stop."""
    X, y = data()
    if eager:
        monkeypatch.setattr("nnlite.train.trainer.compiled", lambda *unused: None)

    def run(path, **more):
        nn.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        optimizer = nn.optim.Adam(model.parameters(), lr=0.05)
        made = schedule(optimizer)
        trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, 3, checkpoint=path, every=1)
        try:
            history = trainer.fit(X, y, 4, 8, verbose=0, schedule=made, **more)
        except StopError:
            history = None
        return model, history, optimizer

    model, history, optimizer = run(None)
    path = tmp_path / "fit.safetensors"
    run(path, callbacks=[StopAfter(stop)])
    again, resumed, other = run(path, resume=True, callbacks=[nn.callbacks.Callback()])
    assert weights(again) == weights(model) and figures(resumed) == figures(history)
    assert other.lr == optimizer.lr

    nn.manual_seed(0)
    by_hand = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = nn.optim.Adam(by_hand.parameters(), lr=0.05)
    made = schedule(optimizer)
    step = nn.Trainer(by_hand, nn.SoftmaxCE(), optimizer, 3).train_step
    for epoch in range(4):
        order = nn.data.permutation(len(X), 3, epoch)
        losses = []
        for i in range(0, len(X), 8):
            part = order[i : i + 8]
            losses.append(step(X[part], y[part]) * len(part))
            if made.interval == "batch":
                made.step()
        if not made.pure:
            made.step(sum(losses) / len(X))
        elif made.interval == "epoch":
            made.step()
    assert weights(by_hand) == weights(model)
