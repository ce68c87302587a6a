"""nnlite.sklearn's MLPClassifier and MLPRegressor against scikit-learn's: the same numbers."""

from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import scipy.sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning

from nnlite.sklearn import MLPClassifier, MLPRegressor

THEIRS: dict[Any, Any] = {
    MLPClassifier: neural_network.MLPClassifier,
    MLPRegressor: neural_network.MLPRegressor,
}
X_DIGITS, Y_DIGITS = load_digits(return_X_y=True)
X_DIGITS, Y_DIGITS = X_DIGITS[:500] / 16, Y_DIGITS[:500]
TEXTS = np.array([f"digit {y}" for y in range(10)], dtype=object)[Y_DIGITS]
X_LABELS, Y_LABELS = make_multilabel_classification(200, random_state=0)
X_DIABETES, Y_DIABETES = load_diabetes(return_X_y=True)
Y_SEVERAL = np.c_[Y_DIABETES, -2 * Y_DIABETES, X_DIABETES[:, 0]]
COUNTS = np.floor(Y_DIABETES / 20)
WEIGHT = np.random.default_rng(0).random(500) + 0.1
EARLY = {"early_stopping": True, "activation": "tanh"}

CASES: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "adam": (MLPClassifier, X_DIGITS, Y_DIGITS, {}),
    "texts": (MLPClassifier, X_DIGITS, TEXTS, {}),
    "alpha": (MLPClassifier, X_DIGITS, Y_DIGITS, {"alpha": 1.0}),
    "no alpha": (MLPClassifier, X_DIGITS, Y_DIGITS, {"alpha": 0}),
    "identity": (MLPClassifier, X_DIGITS, Y_DIGITS,
                 {"activation": "identity", "hidden_layer_sizes": (7, 5)}),
    "logistic": (MLPClassifier, X_DIGITS, Y_DIGITS, {"activation": "logistic"}),
    "sgd": (MLPClassifier, X_DIGITS, Y_DIGITS, {"solver": "sgd"}),
    "plain sgd": (MLPClassifier, X_DIGITS, Y_DIGITS, {"solver": "sgd", "momentum": 0}),
    "no nesterov": (MLPClassifier, X_DIGITS, Y_DIGITS,
                    {"solver": "sgd", "nesterovs_momentum": False}),
    "invscaling": (MLPClassifier, X_DIGITS, Y_DIGITS,
                   {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}),
    "adaptive": (MLPClassifier, X_DIGITS, Y_DIGITS,
                 {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1,
                  "tol": 0.02, "n_iter_no_change": 2, "max_iter": 60}),
    "in order": (MLPClassifier, X_DIGITS, Y_DIGITS, {"shuffle": False, "batch_size": 64}),
    "binary": (MLPClassifier, X_DIGITS, Y_DIGITS % 2, {}),
    "labels": (MLPClassifier, X_LABELS, Y_LABELS, {}),
    "sparse": (MLPClassifier, scipy.sparse.csr_matrix(X_DIGITS), Y_DIGITS, {}),
    "sparse columns": (MLPClassifier, scipy.sparse.csc_array(X_DIGITS), Y_DIGITS, EARLY),
    "converges": (MLPClassifier, X_DIGITS, Y_DIGITS,
                  {"tol": 0.1, "n_iter_no_change": 3, "max_iter": 100}),
    "early": (MLPClassifier, X_DIGITS, Y_DIGITS,
              {**EARLY, "max_iter": 60, "tol": 0.02, "n_iter_no_change": 2}),
    "early binary": (MLPClassifier, X_DIGITS, Y_DIGITS % 2, EARLY),
    "early labels": (MLPClassifier, X_LABELS, Y_LABELS, EARLY),
    "early texts": (MLPClassifier, X_DIGITS, TEXTS, EARLY),
    "regression": (MLPRegressor, X_DIABETES, Y_DIABETES, {}),
    "several outputs": (MLPRegressor, X_DIABETES, Y_SEVERAL, {"alpha": 2.0}),
    "several converge": (MLPRegressor, X_DIABETES, Y_SEVERAL, {"tol": 1000, "max_iter": 100}),
    "poisson": (MLPRegressor, X_DIABETES, COUNTS, {"loss": "poisson"}),
    "early regression": (MLPRegressor, X_DIABETES, Y_DIABETES, {**EARLY, "max_iter": 40}),
    "early several": (MLPRegressor, X_DIABETES, Y_SEVERAL, EARLY),
    "early poisson": (MLPRegressor, X_DIABETES, COUNTS, {**EARLY, "loss": "poisson"}),
    "lbfgs": (MLPClassifier, X_DIGITS, Y_DIGITS, {"solver": "lbfgs"}),
    "lbfgs binary": (MLPClassifier, X_DIGITS, Y_DIGITS % 2, {"solver": "lbfgs", "alpha": 0.5}),
    "lbfgs labels": (MLPClassifier, X_LABELS, Y_LABELS, {"solver": "lbfgs", "max_iter": 5}),
    "lbfgs several": (MLPRegressor, X_DIABETES, Y_SEVERAL, {"solver": "lbfgs", "max_iter": 5}),
    "lbfgs poisson": (MLPRegressor, X_DIABETES, COUNTS,
                      {"solver": "lbfgs", "loss": "poisson", "max_iter": 5}),
}  # fmt: skip
FIGURES = ("loss_", "best_loss_", "best_validation_score_", "loss_curve_", "validation_scores_")
SAME = ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_")


def fitted(kind: Any, X: Any, y: Any, settings: dict[str, Any], **fit: Any) -> Any:
    settings = {"max_iter": 10, "hidden_layer_sizes": (20,), "random_state": 3, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return kind(**settings).fit(X, y, **fit)


def require_same(ours: Any, theirs: Any) -> None:
    """All that scikit-learn's estimator has after a fit, but for rounding."""
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-10)
    for mine, other in zip(ours.intercepts_, theirs.intercepts_, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-10)
    for name in FIGURES:
        assert hasattr(ours, name) == hasattr(theirs, name), name
        expected = getattr(theirs, name, None)
        if expected is None:
            assert getattr(ours, name, None) is None, name
        else:
            np.testing.assert_allclose(getattr(ours, name), expected, rtol=1e-9, err_msg=name)
    for name in SAME:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert getattr(ours, "_no_improvement_count", 0) == getattr(theirs, "_no_improvement_count", 0)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_the_weights_are_scikit_learns(name: str, weighted: bool) -> None:
    kind, X, y, settings = CASES[name]
    fit = {"sample_weight": WEIGHT[: X.shape[0]]} if weighted else {}
    theirs = fitted(THEIRS[kind], X, y, settings, **fit)
    ours = fitted(kind, X, y, settings, **fit)
    require_same(ours, theirs)
    assert sorted(set(vars(theirs)) - set(vars(ours))) == []
    np.testing.assert_array_equal(ours.predict(X).shape, theirs.predict(X).shape)
    if kind is MLPRegressor:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7)
    else:
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)
        np.testing.assert_allclose(
            ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=1e-7, atol=1e-12
        )
    assert ours.score(X, y, **fit) == pytest.approx(theirs.score(X, y, **fit), rel=1e-9)


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd", "learning_rate": "invscaling"}])
def test_fits_that_go_on_are_scikit_learns(settings: dict[str, Any]) -> None:
    """warm_start, partial_fit, and a pickle between them."""
    estimators = []
    for kind in (MLPClassifier, neural_network.MLPClassifier):
        e = fitted(kind, X_DIGITS, Y_DIGITS, {"warm_start": True, "max_iter": 4, **settings})
        e.set_params(max_iter=6, random_state=5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            e.fit(X_DIGITS, Y_DIGITS)
        e.partial_fit(X_DIGITS, Y_DIGITS)
        e = pickle.loads(pickle.dumps(e))
        for part in np.array_split(np.arange(500), 7):
            e.partial_fit(X_DIGITS[part], Y_DIGITS[part])
        estimators.append(e)
    require_same(*estimators)
    ours, theirs = estimators
    assert ours._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate)


def test_a_random_state_is_left_where_scikit_learn_leaves_it() -> None:
    states = []
    for kind in (MLPClassifier, neural_network.MLPClassifier):
        random = np.random.RandomState(7)
        settings = {"random_state": random, "tol": 0.05, "n_iter_no_change": 2, "max_iter": 200}
        assert fitted(kind, X_DIGITS, Y_DIGITS, settings).n_iter_ < 200
        states.append(random.randint(0, 2**31, 5).tolist())
    assert states[0] == states[1]


def test_float32_rows_train_in_float32() -> None:
    X = X_DIGITS.astype(np.float32)
    ours = fitted(MLPClassifier, X, Y_DIGITS, {})
    theirs = fitted(neural_network.MLPClassifier, X, Y_DIGITS, {})
    assert {array.dtype for array in ours.coefs_ + ours.intercepts_} == {np.dtype("f4")}
    assert ours.predict_proba(X).dtype == np.float32
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5)


def test_arrays_that_a_user_puts_in_are_used() -> None:
    e = fitted(MLPClassifier, X_DIGITS, Y_DIGITS, {})
    before = e.predict_proba(X_DIGITS)
    e.coefs_[0][...] = 0
    assert (e.predict_proba(X_DIGITS) == e.predict_proba(X_DIGITS)[0]).all()
    twin = fitted(MLPClassifier, X_DIGITS, Y_DIGITS, {})
    e.coefs_ = [array.copy() for array in twin.coefs_]
    np.testing.assert_array_equal(e.predict_proba(X_DIGITS), before)


def test_a_clone_and_a_pickle_are_whole() -> None:
    e = fitted(MLPClassifier, X_DIGITS, TEXTS, {})
    assert not hasattr(clone(e), "coefs_")
    size = sum(array.nbytes for array in e.coefs_ + e.intercepts_)
    text = pickle.dumps(e)
    assert len(text) < 5 * size + 20_000
    np.testing.assert_array_equal(pickle.loads(text).predict_proba(X_DIGITS),
                                  e.predict_proba(X_DIGITS))  # fmt: skip


def test_predict_changes_nothing() -> None:
    e = fitted(MLPRegressor, X_DIABETES, Y_DIABETES, {})
    before = {name: id(value) for name, value in vars(e).items()}
    e.predict(X_DIABETES)
    assert {name: id(value) for name, value in vars(e).items()} == before


def test_the_warnings_are_scikit_learns() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(X_DIGITS, Y_DIGITS)
    with (
        pytest.warns(UserWarning, match="`batch_size`.*clipped"),
        pytest.warns(ConvergenceWarning),
    ):
        MLPClassifier(max_iter=2, batch_size=10_000).fit(X_DIGITS, Y_DIGITS)


def test_ctrl_c_ends_a_fit_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnlite.interop.sklearn import _stochastic

    calls = iter([None, KeyboardInterrupt])

    def answer(self: Any) -> None:
        if (error := next(calls)) is not None:
            raise error

    monkeypatch.setattr(_stochastic.Interrupts, "answer", answer)
    with pytest.warns(UserWarning, match="interrupted by user"):
        e = MLPClassifier(max_iter=50).fit(X_DIGITS, Y_DIGITS)
    assert e.n_iter_ == len(e.loss_curve_) == 1


def test_a_fit_that_diverges_says_so() -> None:
    settings = {"solver": "sgd", "learning_rate_init": 1e6, "max_iter": 30}
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        fitted(MLPRegressor, X_DIABETES * 1e3, Y_DIABETES, {**settings, "activation": "identity"})


def test_lbfgs_takes_sparse_rows_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnlite.interop.sklearn import _network

    theirs = fitted(neural_network.MLPClassifier, X_DIGITS, Y_DIGITS, {"solver": "lbfgs"},
                    sample_weight=WEIGHT * (np.arange(500) > 70))  # fmt: skip
    monkeypatch.setattr(_network, "BLOCK_BYTES", 64 * 8 * 60)  # 60 rows
    ours = fitted(MLPClassifier, scipy.sparse.csr_array(X_DIGITS), Y_DIGITS, {"solver": "lbfgs"},
                  sample_weight=WEIGHT * (np.arange(500) > 70))  # fmt: skip
    require_same(ours, theirs)
    dense = ours.predict_proba(X_DIGITS)
    np.testing.assert_array_equal(ours.predict_proba(scipy.sparse.csc_array(X_DIGITS)), dense)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_fit_lets_go_of_its_rows(solver: str) -> None:
    rows = X_DIGITS.copy()
    gone = weakref.ref(rows)
    e = fitted(MLPClassifier, rows, Y_DIGITS, {"solver": solver})
    del rows
    gc.collect()
    assert gone() is None and e.n_iter_ > 0
