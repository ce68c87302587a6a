"""scikit-learn's estimator checks, none expected to fail, and its tools around our estimators."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.inspection import permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import nnlite as nn
from nnlite.sklearn import MLPClassifier, MLPRegressor, NetClassifier, NetRegressor

pytestmark = pytest.mark.filterwarnings("ignore")

X, Y = load_iris(return_X_y=True)
XD, YD = load_diabetes(return_X_y=True)
SPECIES = np.array(["setosa", "versicolor", "virginica"], dtype=object)[Y]
CLASSIFIERS = {
    "MLPClassifier": MLPClassifier(
        hidden_layer_sizes=10, random_state=0, max_iter=40, learning_rate_init=0.02
    ),
    "NetClassifier": NetClassifier(random_state=0, epochs=40, lr=0.02),
}
REGRESSORS = {
    "MLPRegressor": MLPRegressor(
        hidden_layer_sizes=10, random_state=0, max_iter=60, learning_rate_init=0.1
    ),
    "NetRegressor": NetRegressor(random_state=0, epochs=60, lr=0.05),
}
ALL = CLASSIFIERS | REGRESSORS


@pytest.mark.slow
@parametrize_with_checks([
    MLPClassifier(max_iter=20), MLPRegressor(max_iter=20), NetClassifier(), NetRegressor(),
    NetClassifier(n_ensemble=2, epochs=20, early_stopping=5, validation_fraction=0),
    MLPClassifier(solver="lbfgs", max_iter=20),
])  # fmt: skip
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_pipeline_and_cross_validation(name: str) -> None:
    e = make_pipeline(StandardScaler(), clone(CLASSIFIERS[name]))
    scores = cross_val_score(e, X, SPECIES, cv=5)
    assert scores.shape == (5,) and scores.mean() > 0.9
    np.testing.assert_array_equal(scores, cross_val_score(e, X, SPECIES, cv=5, n_jobs=2))
    again = cross_validate(e, X, SPECIES, cv=5, return_train_score=True)
    np.testing.assert_array_equal(again["test_score"], scores)
    assert cross_val_predict(e, X, SPECIES, method="predict_proba").shape == (150, 3)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_column_transformer(name: str) -> None:
    rows = np.column_stack([X, Y % 2])
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), [0, 1, 2, 3]), ("kinds", OneHotEncoder(), [4])],
        sparse_threshold=1.0,
    )
    e = make_pipeline(columns, clone(CLASSIFIERS[name])).fit(rows, SPECIES)
    assert e.score(rows, SPECIES) > 0.95


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration(name: str, method: str) -> None:
    e = CalibratedClassifierCV(clone(CLASSIFIERS[name]), method=method, cv=3).fit(X, SPECIES)
    np.testing.assert_allclose(e.predict_proba(X).sum(axis=1), 1, rtol=1e-6)
    assert e.score(X, SPECIES) > 0.9


@pytest.mark.parametrize("name", ALL)
def test_importance_curve_and_search(name: str) -> None:
    e, rows, y = clone(ALL[name]), *((X, SPECIES) if name in CLASSIFIERS else (XD, YD / 100))
    sizes, train, test = learning_curve(e, rows, y, cv=3, train_sizes=[0.4, 1.0], shuffle=True,
                                        random_state=0)  # fmt: skip
    assert len(sizes) == 2 and train.shape == test.shape == (2, 3) and train.mean() > 0.3
    found = permutation_importance(e.fit(rows, y), rows, y, n_repeats=2, random_state=0)
    assert found["importances_mean"].max() > 0.05
    setting = "alpha" if name.startswith("MLP") else "lr"
    search = GridSearchCV(e, {setting: [0.001, 0.02]}, cv=3).fit(rows, y)
    assert set(search.best_params_) == {setting} and np.isfinite(search.best_score_)


def test_a_transformed_target() -> None:
    e = TransformedTargetRegressor(clone(REGRESSORS["NetRegressor"]), transformer=StandardScaler())
    assert e.fit(XD, YD).score(XD, YD) > 0.4


@pytest.mark.parametrize("name", ALL)
def test_copies_predict_the_same(name: str) -> None:
    e, rows, y = clone(ALL[name]), *((X, SPECIES) if name in CLASSIFIERS else (XD, YD / 100))
    e.fit(rows, y)
    room = io.BytesIO()
    joblib.dump(e, room)
    room.seek(0)
    for twin in (pickle.loads(pickle.dumps(e)), joblib.load(room)):
        np.testing.assert_array_equal(twin.predict(rows), e.predict(rows))
        assert type(twin).__module__ == "nnlite.sklearn"
        assert twin.get_params().keys() == e.get_params().keys()
    np.testing.assert_array_equal(clone(e).fit(rows, y).predict(rows), e.predict(rows))


@pytest.mark.parametrize("name", ALL)
def test_sample_weights_are_routed(name: str) -> None:
    rows, y = (X, SPECIES) if name in CLASSIFIERS else (XD, YD / 100)
    weight = np.random.default_rng(0).random(len(rows))
    with sklearn.config_context(enable_metadata_routing=True):
        e = clone(ALL[name]).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, e).fit(rows, y, sample_weight=weight)
    scaled = StandardScaler().fit_transform(rows)
    alone = clone(ALL[name]).fit(scaled, y, sample_weight=weight)
    np.testing.assert_array_equal(routed[-1].predict(scaled), alone.predict(scaled))
    plain = clone(ALL[name]).fit(scaled, y)
    mine, other = (
        one.predict_proba(scaled) if name in CLASSIFIERS else one.predict(scaled)
        for one in (alone, plain)
    )
    assert np.abs(mine - other).max() > 1e-4


def test_set_output_in_a_pipeline() -> None:
    e = make_pipeline(StandardScaler(), clone(CLASSIFIERS["NetClassifier"]))
    e.set_output(transform="default")
    assert e.fit(X, SPECIES).score(X, SPECIES) > 0.9


def test_importing_nnlite_loads_no_scikit_learn() -> None:
    import subprocess
    import sys

    code = (
        "import sys, nnlite, nnlite.train.trainer, nnlite.train.many\n"
        "assert not {'sklearn', 'scipy', 'joblib'} & set(sys.modules)\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n    import nnlite.sklearn\n"
        "except ImportError as error:\n    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'nnlite[sklearn]' (or pip install scikit-learn)" in found.stdout


def test_a_network_of_the_users_own() -> None:
    class Gate(nn.Module):
        def __init__(self, inputs: int, outputs: int) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(inputs, 8), nn.Linear(inputs, 8)
            self.c = nn.Linear(8, outputs)

        def forward(self, x: Any) -> Any:
            return self.c(nn.autograd.relu(self.a(x)) * nn.autograd.sigmoid(self.b(x)))

    e = NetClassifier(Gate, epochs=60, lr=0.02, random_state=0)
    assert cross_val_score(e, X, SPECIES).mean() > 0.9
