"""GridSearch against GridSearchCV in one process and in several: one table, one set of bits."""

from __future__ import annotations

import os
import warnings
import zlib

import numpy as np
import pytest
from marks import slow

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
import scipy.sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import nnlite as nn
from nnlite.sklearn import GridSearch, MLPClassifier, MLPRegressor, NetClassifier, NetRegressor
from nnlite.train import _side_by_side as side_by_side

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:.*scores are non-finite"
)

X, Y = load_iris(return_X_y=True)
ORDER = np.random.default_rng(0).permutation(len(Y))
X, Y = X[ORDER], Y[ORDER]
TEXTS = np.array(["setosa", "versicolor", "virginica"], dtype=object)[Y]
XR, YR = load_diabetes(return_X_y=True)
WEIGHT = np.random.default_rng(1).random(len(Y))


PLAIN = {"hidden_layer_sizes": (8,), "max_iter": 12, "random_state": 0}


def classifier(**settings):
    return MLPClassifier(**PLAIN | settings)


def regressor(**settings):
    return MLPRegressor(**PLAIN | settings)


def weights_of(estimator, X, y=None):
    """A score that is another number for other bits of any weight."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if hasattr(last, "models_"):
        arrays = [p.data for model in last.models_ for p in model.parameters()]
    else:
        arrays = [*last.coefs_, *last.intercepts_]
    return zlib.crc32(b"".join(array.tobytes() for array in arrays))


def network(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, outputs))


NET = NetClassifier(network, epochs=8, batch_size=20, random_state=0)


def figures(estimator, X, y):
    return {"weights": weights_of(estimator, X), "accuracy": estimator.score(X, y)}


def last_index(results):
    return len(results["params"]) - 1


GRID = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(8,), (5, 4)], "batch_size": [20, 50]}
SEVERAL = {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"}
# estimator, grid, data, settings of both searches, parameters of fit
CASES = {
    "grid": (classifier(), GRID, (X, Y), {}, {}),
    "weights": (classifier(), GRID, (X, Y), {"scoring": weights_of}, {}),
    "solvers": (classifier(), {"solver": ["adam", "sgd", "lbfgs"], "activation": ["tanh", "relu"]},
                (X, Y), {"scoring": weights_of, "return_train_score": True}, {}),
    "texts": (classifier(), [{"alpha": [1, 0.1]}, {"solver": ["lbfgs"], "tol": [1e-3]}],
              (X, TEXTS), {"cv": 3, "return_train_score": True}, {}),
    "early": (classifier(early_stopping=True, max_iter=60), GRID, (X, Y),
              {"scoring": weights_of}, {}),
    "kinds": (classifier(), {"learning_rate": ["constant", "adaptive"], "shuffle": [True, False],
                             "random_state": [0, 1]}, (X, Y), {}, {}),
    "several figures": (classifier(), GRID, (X, Y), SEVERAL | {"return_train_score": True}, {}),
    "figures of a function": (classifier(), GRID, (X, Y),
                              {"scoring": figures, "refit": "accuracy"}, {}),
    "own choice": (classifier(), GRID, (X, Y), {"refit": last_index}, {}),
    "no refit": (classifier(), GRID, (X, Y), {"refit": False}, {}),
    "no refit, several": (classifier(), GRID, (X, Y), SEVERAL | {"refit": False}, {}),
    "regressor": (regressor(), {"alpha": [1e-4, 1.0], "solver": ["adam", "lbfgs"]}, (XR, YR),
                  {"scoring": "neg_mean_absolute_error", "cv": KFold(4)}, {}),
    "pipeline": (make_pipeline(StandardScaler(), classifier()),
                 {"mlpclassifier__alpha": [1e-4, 1.0], "standardscaler__with_mean": [True, False]},
                 (X, Y), {"scoring": weights_of}, {}),
    "sparse": (classifier(), {"alpha": [1e-4, 1.0]}, (scipy.sparse.csr_array(X), Y),
               {"scoring": weights_of}, {}),
    "weighted rows": (classifier(), {"alpha": [1e-4, 1.0]}, (X, Y), {"scoring": "accuracy"},
                      {"sample_weight": WEIGHT}),
    "groups": (classifier(), {"alpha": [1e-4, 1.0]}, (X, Y), {"cv": GroupKFold(4)},
               {"groups": np.arange(len(Y)) % 7}),
    "networks": (NET, {"lr": [0.1, 0.01], "optimizer": ["SGD", "Adam"], "batch_size": [20, "auto"]},
                 (X, TEXTS), {"scoring": weights_of}, {}),
    "ensembles": (NET, {"n_ensemble": [1, 3], "early_stopping": [None, 2], "epochs": [10, 40]},
                  (X.astype(np.float32), Y), {"scoring": weights_of, "cv": 3}, {}),
    "numbers": (NetRegressor(epochs=8, random_state=0), {"lr": [0.1, 0.01]},
                (XR, np.c_[YR, -YR] / 100), {"return_train_score": True}, {}),
    "another library's": (LogisticRegression(), {"C": [0.1, 1.0]}, (X, Y), {}, {}),
}  # fmt: skip


def same_tables(found, expected):
    """All but the times: keys in one order, kinds, types, masks and values."""
    assert list(found) == list(expected)
    for key, column in expected.items():
        own = found[key]
        assert type(own) is type(column), key
        if not isinstance(column, np.ndarray):
            assert own == column
            continue
        assert own.dtype == column.dtype and own.shape == column.shape, key
        if isinstance(column, np.ma.MaskedArray):
            assert (own.mask == column.mask).all() and own.fill_value == column.fill_value, key
        if "_time" in key:
            assert np.isfinite(own).all() and (own >= 0).all(), key
        else:
            assert (own.tolist() == column.tolist()) or np.array_equal(own, column, True), key


def same_searches(found, expected, X):
    same_tables(found.cv_results_, expected.cv_results_)
    for name in ("best_index_", "best_score_", "best_params_", "n_splits_", "multimetric_"):
        assert hasattr(found, name) == hasattr(expected, name), name
        if hasattr(expected, name):
            assert getattr(found, name) == getattr(expected, name), name
    assert hasattr(found, "best_estimator_") == hasattr(expected, "best_estimator_")
    if hasattr(expected, "best_estimator_"):
        assert found.predict(X).tobytes() == expected.predict(X).tobytes()
        assert found.refit_time_ >= 0 and found.n_features_in_ == X.shape[1]
        if is_classifier(expected):
            assert found.predict_proba(X).tobytes() == expected.predict_proba(X).tobytes()
            assert (found.classes_ == expected.classes_).all()
            assert weighs(found) == weighs(expected)


def weighs(search):
    best = search.best_estimator_
    return best.coef_.tobytes() if hasattr(best, "coef_") else weights_of(best, None)


QUICK = ("grid", "weights", "networks", "no refit, several")


@pytest.mark.parametrize("case", [*QUICK, *slow(*(case for case in CASES if case not in QUICK))])
def test_the_table_is_grid_search_cvs(case):
    estimator, grid, (X, y), settings, params = CASES[case]
    expected = GridSearchCV(estimator, grid, **settings).fit(X, y, **params)
    for threads in (1, 2) if "weights" in case else (None,):
        found = GridSearch(estimator, grid, n_jobs=threads, **settings).fit(X, y, **params)
        same_searches(found, expected, X)


@pytest.mark.parametrize(
    "case", ["networks", *slow("weights", "solvers", "several figures", "pipeline")]
)
def test_processes_give_the_same_bits(case):
    estimator, grid, (X, y), settings, params = CASES[case]
    expected = GridSearchCV(estimator, grid, n_jobs=2, **settings).fit(X, y, **params)
    found = GridSearch(estimator, grid, **settings).fit(X, y, **params)
    same_searches(found, expected, X)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_share_the_cores(backend):
    """Processes get their part of the cores as nnlite's threads; the bits are the same."""
    expected = [classifier().fit(X, Y).coefs_[0].tobytes()] * 2
    with joblib.parallel_config(backend=backend, n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(trained)() for _ in range(2))
    assert [weights for weights, _ in found] == expected
    if backend == "loky":
        allowed = os.environ.get("OMP_NUM_THREADS") or max(joblib.cpu_count() // 2, 1)
        assert [threads for _, threads in found] == [int(allowed)] * 2


def trained():
    return classifier().fit(X, Y).coefs_[0].tobytes(), nn.get_num_threads()


def test_all_candidates_and_folds_train_in_one_call(monkeypatch):
    sizes = []
    own = side_by_side.native.run_side_by_side

    def counted(dtype, trainings, threads):
        sizes.append((len(trainings), threads))
        own(dtype, trainings, threads)

    monkeypatch.setattr(side_by_side.native, "run_side_by_side", counted)
    GridSearch(classifier(), GRID, 5, n_jobs=2).fit(X, Y)
    assert sizes[0] == (2 * 2 * 2 * 5, 2)


def test_large_rows_limit_what_is_under_way(monkeypatch):
    from nnlite.interop.sklearn import _search

    sizes = []
    run = side_by_side.run

    def noted(tasks, threads, most):
        sizes.append(most)
        return run(tasks, threads, most)

    monkeypatch.setattr(side_by_side, "run", noted)
    for rows in (X, scipy.sparse.csr_array(X), X.tolist()):
        monkeypatch.setattr(_search, "ROW_BYTES", 3 * X.nbytes)
        GridSearch(classifier(), GRID, 2).fit(rows, Y)
    assert sizes[0] == 3 and sizes[1] >= 3 and sizes[2] >= 3
    monkeypatch.setattr(_search, "ROW_BYTES", 1)
    GridSearch(classifier(), GRID, 2, n_jobs=2).fit(X, Y)
    assert sizes[-1] == 2


BAD = {"hidden_layer_sizes": [(8,), (-1,)], "alpha": [1e-4, 1.0]}


@pytest.mark.parametrize("error_score", [np.nan, 0, -1.5])
@pytest.mark.parametrize("several", [False, True])
def test_failed_candidates(error_score, several):
    settings = {"error_score": error_score, "return_train_score": True, "cv": 3}
    settings |= SEVERAL | {"refit": "accuracy"} if several else {}
    tables = []
    for search in (GridSearchCV, GridSearch):
        with pytest.warns(FitFailedWarning, match=r"6 fits failed out of a total of 12"):
            tables.append(search(classifier(), BAD, **settings).fit(X, Y))
    same_searches(tables[1], tables[0], X)


def test_all_candidates_fail():
    grid = {"hidden_layer_sizes": [(-1,)]}
    for search in (GridSearchCV, GridSearch):
        with pytest.raises(ValueError, match="All the 5 fits failed"):
            search(classifier(), grid).fit(X, Y)


def test_a_failure_is_raised_where_that_is_wanted():
    for search in (GridSearchCV, GridSearch):
        with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0"):
            search(classifier(), BAD, error_score="raise").fit(X, Y)
    assert side_by_side.alone()


def test_failed_scores():
    def scoring(estimator, X, y):
        if estimator.alpha == 1:
            raise LookupError("no score")
        return 0.5

    tables = []
    for search in (GridSearchCV, GridSearch):
        with pytest.warns(UserWarning, match="Scoring failed"):
            tables.append(search(classifier(), GRID, scoring=scoring).fit(X, Y))
    same_searches(tables[1], tables[0], X)


def test_warnings_of_the_fits_come_through():
    from sklearn.exceptions import ConvergenceWarning

    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        GridSearch(classifier(), GRID, 2).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        GridSearch(classifier(), GRID, 2).fit(X, Y)


def test_it_is_an_estimator():
    search = GridSearch(classifier(), GRID, 3, n_jobs=1)
    copy = clone(search)
    assert copy.get_params()["grid"] == GRID and copy.cv == 3 and copy is not search
    assert copy.set_params(estimator__alpha=7.0).estimator.alpha == 7
    assert repr(search).startswith("GridSearch(cv=3,")
    assert search.param_grid is GRID and isinstance(search, GridSearchCV)
    assert is_classifier(search) and is_regressor(GridSearch(regressor(), {}))
    with pytest.raises(NotFittedError):
        search.predict(X)
    search.fit(X, TEXTS)
    assert search.score(X, TEXTS) == (search.predict(X) == TEXTS).mean()
    with pytest.raises(AttributeError, match="has no attribute 'predict'"):
        GridSearch(classifier(), GRID, refit=False).fit(X, Y).predict(X)


def test_one_search_in_another():
    """Nested cross-validation: the inner searches train together, and in processes."""
    settings = {"alpha": [1e-4, 1.0]}
    expected = cross_val_score(GridSearchCV(classifier(), settings, cv=3), X, Y, cv=3)
    for n_jobs in (None, 2):
        found = cross_val_score(GridSearch(classifier(), settings, 3), X, Y, cv=3, n_jobs=n_jobs)
        assert found.tolist() == expected.tolist()
    outer = {"estimator__hidden_layer_sizes": [(8,), (5,)]}
    expected = GridSearchCV(GridSearchCV(classifier(), settings, cv=3), outer, cv=2).fit(X, Y)
    found = GridSearch(GridSearch(classifier(), settings, 3), outer, 2).fit(X, Y)
    same_tables(found.cv_results_, expected.cv_results_)


@pytest.mark.parametrize(
    ("settings", "data", "error", "message"),
    [
        ({"grid": {"alpha": 3}}, (X, Y), TypeError, "needs to be a list or a numpy array"),
        ({"grid": {"alpha": []}}, (X, Y), ValueError, "need to be a non-empty sequence"),
        ({"grid": 7}, (X, Y), TypeError, "grid is not a dict or a list|'grid' parameter"),
        ({"grid": {"beta": [1]}}, (X, Y), ValueError, "Invalid parameter 'beta'"),
        ({"cv": 1}, (X, Y), ValueError, "'cv' parameter of GridSearch"),
        ({"scoring": "exactness"}, (X, Y), ValueError, "'scoring' parameter of GridSearch"),
        ({"scoring": ["accuracy"]}, (X, Y), ValueError, "refit must be set to a scorer key"),
        ({"error_score": "nan"}, (X, Y), ValueError, "'error_score' parameter of GridSearch"),
        ({"n_jobs": 0}, (X, Y), ValueError, "n_jobs: 0 has no meaning"),
        ({"n_jobs": "two"}, (X, Y), ValueError, "'n_jobs' parameter of GridSearch"),
        ({}, (X, Y[:-1]), ValueError, "inconsistent numbers of samples"),
        ({"estimator": 3}, (X, Y), ValueError, "'estimator' parameter of GridSearch"),
    ],
)
def test_refused(settings, data, error, message):
    settings = {"estimator": classifier(), "grid": GRID} | settings
    with pytest.raises(error, match=message):
        GridSearch(**settings).fit(*data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_check_estimator(kind):
    estimator = classifier(hidden_layer_sizes=(20,), max_iter=300)
    if kind == "regressor":
        estimator = regressor(solver="lbfgs", hidden_layer_sizes=(10,), max_iter=40)
    checks = check_estimator(GridSearch(estimator, {"alpha": [1e-4, 1e-2]}, 2), on_fail=None)
    failed = [(c["check_name"], c["exception"]) for c in checks if c["status"] == "failed"]
    assert failed == []


@pytest.fixture(scope="module", params=[True, False], ids=["processes", "threads"])
def dask(request):
    """joblib's dask backend on a LocalCluster."""
    distributed = pytest.importorskip("dask.distributed", reason="dask is not installed")
    with (
        warnings.catch_warnings(),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=request.param, dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("case", ["weights", "solvers", "several figures", "ensembles"])
def test_dask_gives_the_same_bits(dask, case):
    estimator, grid, (X, y), settings, params = CASES[case]
    with joblib.parallel_config(backend="dask"):
        expected = GridSearchCV(estimator, grid, **settings).fit(X, y, **params)
    found = GridSearch(estimator, grid, **settings).fit(X, y, **params)
    same_searches(found, expected, X)
    alone = GridSearchCV(estimator, grid, **settings).fit(X, y, **params)
    same_searches(alone, expected, X)


@pytest.mark.slow
def test_dask_workers_share_the_cores(dask):
    threads = list(dask.run(nn.get_num_threads).values())
    if "tcp" in dask.scheduler.address:  # processes, which the worker's nanny starts
        assert threads == [1, 1]
    assert len(threads) == 2
