"""NetClassifier and NetRegressor: nnlite's own training under scikit-learn's roof."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.exceptions import NotFittedError

import nnlite as nn
from nnlite._core.config import seeded
from nnlite.sklearn import NetClassifier, NetRegressor

X, Y = load_digits(return_X_y=True)
X, Y = X[:400] / 16, Y[:400]
NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
TEXTS = NAMES[Y]
XD, YD = load_diabetes(return_X_y=True)
YD = YD / 100
SEEDS = [int(n) for n in np.random.RandomState(3).randint(0, np.iinfo(np.int32).max, 3)]


def small(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 12, dtype=np.float64), nn.Tanh(), nn.Linear(12, outputs, dtype=np.float64)
    )


def by_hand(
    X: Any, y: Any, seed: int, outputs: int, loss: Any, epochs: int = 5, **fit: Any
) -> nn.Module:
    """What an estimator with random_state=3 trains."""
    with seeded(seed):
        model = small(X.shape[1], outputs)
    optimizer = fit.pop("optimizer", nn.optim.Adam)(model.parameters())
    fit = {"batch_size": 200, "verbose": 0, **fit}
    nn.Trainer(model, loss, optimizer, seed).fit(X, y, epochs, **fit)
    return model


def require_bits(model: nn.Module, expected: nn.Module) -> None:
    for (name, p), (_, q) in zip(
        model.named_parameters(), expected.named_parameters(), strict=True
    ):
        assert p.data.tobytes() == q.data.tobytes(), name


def test_a_fit_has_the_bits_of_trainer_fit() -> None:
    e = NetClassifier(small, epochs=5, random_state=3).fit(X, TEXTS)
    expected = by_hand(X, np.searchsorted(np.unique(TEXTS), TEXTS), SEEDS[0], 10, nn.SoftmaxCE())
    require_bits(e.model_, expected)
    assert e.classes_.tolist() == sorted(NAMES.tolist())
    logits = expected.predict(X)
    np.testing.assert_array_equal(e.predict_proba(X), nn.functional.softmax(logits))
    assert (e.predict(X) == np.unique(TEXTS)[logits.argmax(axis=1)]).all()
    assert len(e.history_["loss"]) == e.n_iter_ == 5
    assert e.history_["loss"][0] > e.history_["loss"][-1]


def test_a_regressor_has_the_bits_of_trainer_fit() -> None:
    e = NetRegressor(small, epochs=5, random_state=3, batch_size=64).fit(XD, YD)
    expected = by_hand(XD, YD, SEEDS[0], 1, nn.MSELoss(), batch_size=64)
    require_bits(e.model_, expected)
    np.testing.assert_array_equal(e.predict(XD), expected.predict(XD)[:, 0])


def test_several_outputs() -> None:
    e = NetRegressor(small, epochs=5, random_state=3).fit(XD, np.c_[YD, -YD])
    require_bits(e.model_, by_hand(XD, np.c_[YD, -YD], SEEDS[0], 2, nn.MSELoss()))
    assert e.predict(XD).shape == (len(XD), 2)


@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, scipy.sparse.csc_array,
                                  scipy.sparse.coo_array])  # fmt: skip
def test_sparse_rows_give_the_bits_of_dense_ones(form: Any) -> None:
    settings: dict[str, Any] = {"epochs": 5, "batch_size": 32, "early_stopping": 3}
    dense = NetClassifier(small, random_state=3, **settings).fit(X, Y, eval_set=(X[:50], Y[:50]))
    sparse = NetClassifier(small, random_state=3, **settings)
    sparse.fit(form(X), Y, eval_set=(form(X[:50]), Y[:50]))
    require_bits(sparse.model_, dense.model_)
    assert sparse.history_["val_loss"] == dense.history_["val_loss"]
    np.testing.assert_array_equal(sparse.predict_proba(form(X)), dense.predict_proba(X))
    held = [NetClassifier(small, random_state=3, **settings).fit(rows, Y) for rows in (form(X), X)]
    require_bits(held[0].model_, held[1].model_)
    several = [
        NetClassifier(small, random_state=3, n_ensemble=2, **settings).fit(rows, Y)
        for rows in (form(X), X)
    ]
    for mine, other in zip(several[0].models_, several[1].models_, strict=True):
        require_bits(mine, other)


def test_sparse_rows_are_trained_eagerly_too() -> None:
    def loss(output: Any, target: Any) -> Any:
        return ((output - target) ** 2).mean() if float(output._data.sum()) != 1e9 else None

    found = [
        NetRegressor(small, epochs=2, random_state=3, loss=loss, batch_size=32).fit(rows, Y)
        for rows in (scipy.sparse.csr_array(X), X)
    ]
    require_bits(found[0].model_, found[1].model_)


def test_weights_of_rows_and_of_classes() -> None:
    own = {name: 1.0 + place for place, name in enumerate(NAMES)}
    e = NetClassifier(small, epochs=3, random_state=3, class_weight=own).fit(X, TEXTS)
    weights = np.array([own[text] for text in TEXTS])
    other = NetClassifier(small, epochs=3, random_state=3).fit(X, TEXTS, sample_weight=weights)
    require_bits(e.model_, other.model_)
    balanced = NetClassifier(small, epochs=3, random_state=3, class_weight="balanced")
    plain = NetClassifier(small, epochs=3, random_state=3)
    few = np.flatnonzero(~np.isin(Y, [1, 2]) | (np.arange(400) < 60))
    balanced.fit(X[few], Y[few])
    require_bits(
        balanced.model_, by_hand(X[few], Y[few], SEEDS[0], 10, nn.SoftmaxCE(), 3,
                                 class_weight="balanced")
    )  # fmt: skip
    assert (balanced.predict_proba(X) != plain.fit(X[few], Y[few]).predict_proba(X)).any()


def test_an_ensemble_is_its_members_mean() -> None:
    e = NetClassifier(small, epochs=4, random_state=3, n_ensemble=3, batch_size=64).fit(X, Y)
    members = [by_hand(X, Y, seed, 10, nn.SoftmaxCE(), 4, batch_size=64) for seed in SEEDS]
    for model, expected in zip(e.models_, members, strict=True):
        require_bits(model, expected)
    probabilities = [nn.functional.softmax(model.predict(X)) for model in members]
    np.testing.assert_array_equal(e.predict_proba(X), np.mean(probabilities, axis=0))
    assert [len(history["loss"]) for history in e.history_] == [4, 4, 4]


def test_an_ensemble_of_a_module_has_members_of_their_own() -> None:
    model = small(64, 10)
    e = NetClassifier(model, epochs=1, random_state=3, n_ensemble=2).fit(X, Y)
    first, second = (m.layers[0].weight.data for m in e.models_)
    assert np.abs(first - second).max() > 0.1


def test_fit_leaves_the_parameters_alone() -> None:
    model, stopping = small(64, 10), nn.callbacks.EarlyStopping("val_loss", 2)
    before = pickle.dumps(model.state_dict())
    e = NetClassifier(model, epochs=3, early_stopping=stopping, loss=nn.SoftmaxCE(), random_state=3)
    e.fit(X, Y)
    assert e.model is model and pickle.dumps(model.state_dict()) == before
    assert stopping.best is None
    assert e.model_ is not model
    twin = clone(e)
    assert twin.model is not model and not hasattr(twin, "models_")
    np.testing.assert_array_equal(e.fit(X, Y).predict_proba(X), e.fit(X, Y).predict_proba(X))


def test_early_stopping_watches_the_validation_loss() -> None:
    e = NetClassifier(small, epochs=300, random_state=3, early_stopping=4, lr=0.05)
    e.fit(X, Y, eval_set=(X[300:], (Y[300:] + 3) % 10))
    losses = e.history_["val_loss"]
    assert e.n_iter_ == len(losses) < 300
    assert int(np.argmin(losses)) == len(losses) - 5
    found = nn.SoftmaxCE().evaluate(e.model_.predict(X[300:]), (Y[300:] + 3) % 10)
    assert found == pytest.approx(min(losses), rel=1e-12)
    held = NetClassifier(small, epochs=3, random_state=3, early_stopping=True).fit(X, Y)
    expected = by_hand(X, Y, SEEDS[0], 10, nn.SoftmaxCE(), 3, validation_split=0.1,
                       early_stopping=10)  # fmt: skip
    require_bits(held.model_, expected)
    whole = NetClassifier(small, epochs=3, early_stopping=2, validation_fraction=0).fit(X, Y)
    assert "val_loss" not in whole.history_.keys() and whole.n_iter_ == 3  # noqa: SIM118


def test_optimizer_schedule_callbacks_and_metrics() -> None:
    seen: list[int] = []
    e = NetClassifier(
        small, optimizer="AdamW", lr=0.01, optimizer_settings={"weight_decay": 0.1}, epochs=4,
        schedule=functools.partial(nn.optim.StepLR, step_size=2), metrics=["accuracy"],
        callbacks=[lambda trainer, epoch, values: seen.append(epoch)], random_state=3,
    ).fit(X, Y)  # fmt: skip
    assert seen == [0, 1, 2, 3]
    np.testing.assert_allclose(e.history_["lr"], [0.01, 0.01, 0.001, 0.001])
    for optimizer in (nn.optim.SGD, lambda parameters: nn.optim.SGD(parameters)):
        mine = NetClassifier(small, optimizer=optimizer, epochs=2, random_state=3).fit(X, Y)
        require_bits(
            mine.model_, by_hand(X, Y, SEEDS[0], 10, nn.SoftmaxCE(), 2, optimizer=nn.optim.SGD)
        )


def test_partial_fit_goes_on() -> None:
    e = NetClassifier(small, random_state=3, shuffle=False)
    for part in np.array_split(np.arange(400), 4):
        e.partial_fit(X[part], TEXTS[part], classes=NAMES)
    with seeded(SEEDS[0]):
        model = small(64, 10)
    optimizer = nn.optim.Adam(model.parameters())
    y = np.searchsorted(np.sort(NAMES), TEXTS)
    for part in np.array_split(np.arange(400), 4):
        nn.Trainer(model, nn.SoftmaxCE(), optimizer).fit(
            X[part], y[part], 1, 200, shuffle=False, verbose=0
        )
    require_bits(e.model_, model)
    twin = pickle.loads(pickle.dumps(e))
    for one in (e, twin):
        one.partial_fit(X[:50], TEXTS[:50])
    require_bits(twin.model_, e.model_)
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`: \['ten'\]"):
        e.partial_fit(X[:1], ["ten"])


def test_warm_start_goes_on_in_another_order() -> None:
    e = NetRegressor(small, epochs=2, random_state=3, warm_start=True, batch_size=32).fit(XD, YD)
    first = e.history_["loss"][-1]
    e.fit(XD, YD)
    assert e.history_["loss"][-1] < first
    with seeded(SEEDS[0]):
        model = small(10, 1)
    optimizer = nn.optim.Adam(model.parameters())
    for seed in (SEEDS[0], SEEDS[0] + 1):
        nn.Trainer(model, nn.MSELoss(), optimizer, seed).fit(XD, YD, 2, 32, verbose=0)
    require_bits(e.model_, model)


def test_several_labels() -> None:
    X, Y = make_multilabel_classification(200, random_state=0)
    e = NetClassifier(small, epochs=200, random_state=0, lr=0.01).fit(X, Y)
    np.testing.assert_array_equal(e.predict(X), e.model_.predict(X) > 0)
    np.testing.assert_allclose(
        e.predict_proba(X), 1 / (1 + np.exp(-e.model_.predict(X))), rtol=1e-12
    )
    assert e.score(X, Y) > 0.6


def test_a_loss_without_classes_gets_columns() -> None:
    def model(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(small(inputs, outputs), nn.Softmax())

    e = NetClassifier(model, loss=nn.MSELoss(), epochs=60, lr=0.01, random_state=0).fit(X, TEXTS)
    np.testing.assert_array_equal(e.predict_proba(X), e.model_.predict(X))
    assert e.score(X, TEXTS) > 0.9


def test_the_default_model_takes_the_dtype_of_the_rows() -> None:
    for dtype in (np.float32, np.float64):
        e = NetClassifier(epochs=1).fit(X.astype(dtype), Y)
        assert e.model_.layers[0].weight.shape == (64, 100)
        assert e.predict_proba(X.astype(dtype)).dtype == dtype


def test_the_seed_of_the_process_stays() -> None:
    nn.manual_seed(5)
    expected = nn.Linear(3, 2).weight.data.copy()
    nn.manual_seed(5)
    NetClassifier(epochs=1, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(nn.Linear(3, 2).weight.data, expected)


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "model": ({"model": "mlp"}, TypeError, "model: expected a Module"),
    "no module": ({"model": lambda inputs, outputs: None}, TypeError, "model: expected a Module"),
    "outputs": ({"model": small(64, 3)}, ValueError, r"outputs of shape \(3,\).*need \(10,\)"),
    "optimizer": ({"optimizer": "adamm"}, ValueError, "optimizer: expected one of .*adam.*'adamm'"),
    "an optimiser": ({"optimizer": nn.optim.SGD(small(2, 2).parameters())}, TypeError,
                     "optimizer: expected a name"),
    "schedule": ({"schedule": 3}, TypeError, "schedule: expected a function"),
    "epochs": ({"epochs": 0}, ValueError, "epochs"),
    "batch": ({"batch_size": "all"}, ValueError, "batch_size: expected 'auto'"),
    "members": ({"n_ensemble": 0}, ValueError, "n_ensemble"),
    "weights": ({"class_weight": {"ten": 2}}, ValueError, "'ten' is no class"),
    "weight list": ({"class_weight": [1, 2]}, ValueError, "class_weight: expected"),
    "loss": ({"loss": nn.SoftmaxCE}, TypeError, "not the class"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_settings(name: str) -> None:
    settings, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        NetClassifier(**settings).fit(X, TEXTS)


def test_bad_data() -> None:
    e = NetClassifier(epochs=1)
    with pytest.raises(NotFittedError):
        e.predict(X)
    with pytest.raises(ValueError, match="eval_set: expected a pair"):
        e.fit(X, Y, eval_set=X)
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`: \[77\]"):
        e.fit(X, Y, eval_set=(X[:2], [77, 1]))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        NetClassifier().partial_fit(X, Y)
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        NetClassifier(class_weight="balanced").partial_fit(X, Y, classes=range(10))
    e.fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 features, but NetClassifier is expecting 64"):
        e.predict(X[:, :3])
    with pytest.raises(ValueError, match="Unknown label type"):
        e.fit(X, Y + 0.5)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        e.fit(X, Y, sample_weight=-np.ones(400))
