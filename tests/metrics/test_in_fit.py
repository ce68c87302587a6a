"""Metrics of labels in fit and evaluate: told by the loss what outputs are, the same bits in the
program and eagerly, and over an interruption."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import F32, F64

import nnlite as nn
from nnlite import metrics as M

NAMES = ["precision", "recall", "f1_macro", "balanced_accuracy", "auc", "roc_auc_ovr_weighted",
         "log_loss"]  # fmt: skip


def data(classes, rows=203, dtype=F32):
    rng = np.random.default_rng(classes)
    X = rng.normal(size=(rows, 4)).astype(dtype)
    y = (X @ rng.normal(size=(4, classes)) + rng.normal(size=(rows, classes))).argmax(axis=1)
    return X, y, rng.random(rows).astype(F32).astype(F64)  # weights are kept as the model's dtype


def trainer(classes, loss=None, last=(), dtype=F32):
    nn.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8, dtype=dtype), nn.Tanh(),
                          nn.Linear(8, classes, dtype=dtype), *last)  # fmt: skip
    return nn.Trainer(model, loss or nn.SoftmaxCE(), nn.optim.Adam(model.parameters(), lr=0.02))


def expected(y, p, w, classes):
    """scikit-learn's figures of probabilities."""
    theirs = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    how = {"sample_weight": w}
    label, exact = p.argmax(axis=1), p.astype(F64)
    average = {"average": "binary" if classes == 2 else "macro", "zero_division": 0, **how}
    score, many = (p[:, 1], {}) if classes == 2 else (p, {"multi_class": "ovr"})
    return {
        "precision": theirs.precision_score(y, label, **average),
        "recall": theirs.recall_score(y, label, **average),
        "f1_macro": theirs.f1_score(y, label, average="macro", zero_division=0, **how),
        "balanced_accuracy": theirs.balanced_accuracy_score(y, label, **how),
        "auc": theirs.roc_auc_score(y, score, **many, **how),
        "roc_auc_ovr_weighted": theirs.roc_auc_score(y, score, average="weighted", **many, **how),
        "log_loss": theirs.log_loss(y, exact / exact.sum(axis=1, keepdims=True), **how),
    }


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["logits", "logarithms"])
def test_evaluate_gives_scikit_learns_figures(classes, weighted, kind):
    X, y, w = data(classes)
    w = w if weighted else None
    own = trainer(classes)
    if kind == "logarithms":
        own = trainer(classes, nn.NLLLoss(), [nn.LogSoftmax()])
    own.fit(X, y, 3, verbose=0)
    found = own.evaluate(X, y, w, metrics=NAMES)
    p = nn.functional.softmax(own.model.predict(X))
    for name, value in expected(y, p, w, classes).items():
        assert found[name] == pytest.approx(value, rel=2e-6 if name == "log_loss" else 1e-12), name
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-6)


def test_the_history_of_a_fit_has_them():
    """The training figures are of the batches before each update; a rate of 0 shows them."""
    X, y, w = data(3)
    own = trainer(3)
    own.optimizer.lr = 0.0
    history = own.fit(X, y, 2, 16, validation_data=(X[:60], y[:60]), metrics=NAMES,
                      sample_weight=w, verbose=0)  # fmt: skip
    p = nn.functional.softmax(own.model.predict(X).astype(F64))
    for name, value in expected(y, p, w, 3).items():
        assert history[name] == pytest.approx([value, value], rel=1e-6), name
    for name, value in expected(y[:60], p[:60], None, 3).items():
        assert history[f"val_{name}"] == pytest.approx([value, value], rel=1e-6), name


def test_program_and_modules_give_one_figure():
    class Same(nn.Module):
        def forward(self, x):
            return x.copy()

        def backward(self, grad_output):
            return grad_output.copy()

    X, y, _ = data(3)
    histories = []
    for last in ((), (Same(),)):
        own = trainer(3, last=last)
        histories.append(own.fit(X, y, 3, 16, metrics=NAMES, verbose=0))
        assert (own.why_eager is None) == (last == ())
    for name in NAMES:
        assert histories[0][name] == histories[1][name], name


def test_one_output_for_two_classes():
    """Numbers 0 and 1 as the target of one output: MSELoss says nothing of logits."""
    X, y, _ = data(2, dtype=F64)
    own = trainer(1, nn.MSELoss(), [nn.Sigmoid()], F64)
    own.fit(X, y.astype(F64), 5, verbose=0)
    p = own.model.predict(X)[:, 0]
    found = own.evaluate(X, y.astype(F64), metrics=["f1", "auc", "log_loss"])
    assert found["f1"] == M.f1(y, (p > 0.5).astype(int))
    assert found["auc"] == M.auc(y, p) and found["log_loss"] == pytest.approx(M.log_loss(y, p))


def test_logits_of_an_own_loss_are_told_by_the_metric():
    def loss(output, target):
        return ((output - (2 * target - 1)) ** 2).mean()

    X, y, _ = data(2, dtype=F64)
    own = trainer(1, loss, dtype=F64)
    metrics = [M.F1(from_logits=True), M.MultilabelAccuracy(from_logits=True)]
    found = own.evaluate(X, y[:, None].astype(F64), metrics=metrics)
    label = (own.model.predict(X)[:, 0] > 0).astype(int)
    assert found["f1"] == M.f1(y, label) > 0
    assert found["multilabel_accuracy"] == M.accuracy(y, label)


def test_sets_of_labels():
    X, _, _ = data(3, dtype=F64)
    sets = (X[:, :3] + X[:, 1:] > 0).astype(F64)
    own = trainer(3, nn.MSELoss(), [nn.Sigmoid()], F64)
    names = ["multilabel_accuracy", "multilabel_accuracy_macro", "f1_samples", "f1_micro", "auc"]
    history = own.fit(X, sets, 15, 16, metrics=names, verbose=0)
    assert history["multilabel_accuracy"][-1] > history["multilabel_accuracy"][0]
    found, p = own.evaluate(X, sets, metrics=names), own.model.predict(X)
    assert found["multilabel_accuracy"] == ((p > 0.5) == sets).all(axis=1).mean()
    assert found["multilabel_accuracy_macro"] == pytest.approx(((p > 0.5) == sets).mean())
    assert found["f1_micro"] == M.f1(sets, p, average="micro") and found["auc"] == M.auc(sets, p)


def test_an_estimators_sets_of_labels_are_of_logits():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from nnlite.sklearn import NetClassifier

    X, _, _ = data(3)
    sets = (X[:, :3] + X[:, 1:] > 0).astype(int)
    names = ["multilabel_accuracy", "f1_macro"]
    net = NetClassifier(epochs=20, batch_size=16, lr=0.01, metrics=names, random_state=0)
    net.fit(X, sets, eval_set=(X[:60], sets[:60]))
    predicted = net.predict(X[:60])
    last = {name: net.history_[f"val_{name}"][-1] for name in names}
    assert last["multilabel_accuracy"] == (predicted == sets[:60]).all(axis=1).mean() > 0.5
    assert last["f1_macro"] == M.f1(sets[:60], predicted, average="macro")


def test_probabilities_as_targets_are_classes():
    X, y, _ = data(3)
    own = trainer(3)
    one_hot = np.eye(3, dtype=F32)[y]
    assert own.evaluate(X, one_hot, metrics="f1")["f1"] == own.evaluate(X, y, metrics="f1")["f1"]


@pytest.mark.parametrize("stop", [3, 20])
def test_resumed_to_the_same_bits(tmp_path, stop):
    """Interrupted inside an epoch, and behind one, as by a crash."""
    X, y, w = data(3)
    settings = {"epochs": 3, "batch_size": 16, "metrics": NAMES, "sample_weight": w, "verbose": 0}
    whole = trainer(3).fit(X, y, **settings)

    def crash(own, step, values):
        if step == stop:
            raise OSError

    reached = nn.callbacks.LambdaCallback(on_batch_end=crash)
    path = tmp_path / "fit.nnlite"
    own = trainer(3)
    own.checkpoint, own.every = str(path), 1
    with pytest.raises(OSError):
        own.fit(X, y, callbacks=[reached], **settings)
    own = trainer(3)
    own.checkpoint = str(path)
    callbacks = [nn.callbacks.LambdaCallback()]
    history = own.fit(X, y, resume=True, callbacks=callbacks, **settings)
    for name in NAMES:
        assert history[name] == whole[name], name


def test_early_stopping_by_a_figure():
    X, y, _ = data(2)
    own = trainer(2)
    stopping = nn.callbacks.EarlyStopping("val_auc", 2)
    history = own.fit(X[50:], y[50:], 40, validation_data=(X[:50], y[:50]), metrics=["auc"],
                      early_stopping=stopping, verbose=0)  # fmt: skip
    assert stopping.best == max(history["val_auc"])
    assert own.evaluate(X[:50], y[:50], metrics=["auc"])["auc"] == stopping.best


def test_what_does_not_fit_is_refused():
    X, y, w = data(3)
    own = trainer(3)
    before = own.model.state_dict()
    for metric, message in (
        (M.Recall("binary"), "average='binary'"),
        (M.AUC(multi_class="ovo"), "sample_weight is not supported for multi_class='ovo'"),
        (M.MultilabelAccuracy(), "for one class a row take accuracy"),
        (M.AUC(from_logits=False), "for logits pass from_logits=True"),
    ):
        with pytest.raises(ValueError, match=message):
            own.evaluate(X, y, w, metrics=[metric])
    with pytest.raises(ValueError, match="expected one of 'accuracy'"):
        own.fit(X, y, metrics=["f1_mean"], verbose=0)
    assert all((before[k] == v).all() for k, v in own.model.state_dict().items())
