"""One grid of networks searched three ways: GridSearchCV, nnlite's GridSearch, and dask.

GridSearchCV fits one after the other, or in processes. GridSearch trains all candidates and folds
side by side in one process. With joblib's dask backend GridSearchCV fits on a cluster, here a local
one: its address is all that changes for several machines. The tables are equal to the last bit.

Run: python examples/sklearn_search.py      (needs: pip install 'nnlite[dask]')
"""

from __future__ import annotations

import argparse
import time
import warnings

import joblib
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from nnlite.data import load_digits
from nnlite.sklearn import GridSearch, MLPClassifier

GRID = {"hidden_layer_sizes": [(16,), (64,)], "alpha": [1e-4, 1e-1], "activation": ["relu", "tanh"]}


def on_dask(search, X, y, workers: int):
    """Fits on a cluster of this machine's own processes."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        return search.fit(X, y)


def scores(search) -> np.ndarray:
    """(candidates, folds) test scores."""
    table = search.cv_results_
    return np.stack([table[f"split{k}_test_score"] for k in range(search.n_splits_)], axis=1)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Search one grid three ways.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes of dask; 0: without dask")
    args = parser.parse_args(argv)

    warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are all that is wanted
    X, y = load_digits()
    X = X / 16
    network = MLPClassifier(batch_size=32, max_iter=args.epochs, random_state=0)
    ways = {
        "GridSearchCV": lambda: GridSearchCV(network, GRID, cv=args.folds).fit(X, y),
        "GridSearch": lambda: GridSearch(network, GRID, args.folds).fit(X, y),
    }
    if args.workers:
        search = GridSearchCV(network, GRID, cv=args.folds)
        ways["GridSearchCV, dask"] = lambda: on_dask(search, X, y, args.workers)

    found = {}
    for name, run in ways.items():
        start = time.perf_counter()
        found[name] = run()
        print(f"{name:20s} {time.perf_counter() - start:6.2f} s")

    first = found["GridSearchCV"]
    mean, rank = first.cv_results_["mean_test_score"], first.cv_results_["rank_test_score"]
    for i in np.argsort(rank, kind="stable"):
        print(f"{rank[i]:4d}  {mean[i]:.4f}  {first.cv_results_['params'][i]}")
    probabilities = first.predict_proba(X).tobytes()
    for name, search in found.items():
        same = np.array_equal(scores(search), scores(first))
        same = same and search.predict_proba(X).tobytes() == probabilities
        print(f"{name}: {'the same table and bits' if same else 'another table'}")


if __name__ == "__main__":
    main()
