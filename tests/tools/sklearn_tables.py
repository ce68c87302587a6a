"""nnlite.sklearn beside scikit-learn.

parity: the score on held out rows over ten seeds, of the same estimator from both libraries.
speed: seconds of a fit, the best of several, both libraries by turns.
search: seconds of a search over 12 candidates and 5 folds of the digits, the best of several.

Run: python tests/tools/sklearn_tables.py parity|speed|search [--quick] [--threads N]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn import datasets, neural_network
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import nnlite
import nnlite.sklearn

SEEDS = range(10)


def california_like(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight skewed features and a price that depends on them as that of a house might."""
    rng = np.random.default_rng(0)
    income, age = rng.lognormal(1.2, 0.5, rows), rng.integers(1, 52, rows)
    rooms, people = rng.lognormal(1.6, 0.3, rows), rng.lognormal(1.0, 0.3, rows)
    bedrooms, crowd = rooms / rng.uniform(3, 6, rows), rng.lognormal(7, 0.7, rows)
    north, east = rng.uniform(32, 42, rows), rng.uniform(-124, -114, rows)
    coast = np.exp(-np.abs(east + 118 + 0.9 * (north - 36)))
    price = 0.4 * income + coast + 0.1 * rooms - 0.2 * people + 0.005 * age
    X = np.column_stack([income, age, rooms, bedrooms, crowd, people, north, east])
    return X, np.minimum(price + rng.normal(0, 0.3, rows), 5.0)


def tables() -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """(name, estimator, X, y)."""
    for name in ("digits", "iris", "wine", "breast_cancer"):
        yield name, "MLPClassifier", *getattr(datasets, f"load_{name}")(return_X_y=True)
    yield "diabetes", "MLPRegressor", *datasets.load_diabetes(return_X_y=True)
    yield "California-like", "MLPRegressor", *california_like(4000)


def parity(quick: bool) -> None:
    """Prints the table of scores."""
    print("| data | score | nnlite | scikit-learn | difference, mean (largest) |")
    print("|---|---|---|---|---|")
    for name, kind, X, y in tables():
        scores: list[list[float]] = []
        for seed in SEEDS[: 2 if quick else None]:
            stratify = y if kind == "MLPClassifier" else None
            parts = train_test_split(X, y, test_size=0.25, random_state=seed, stratify=stratify)
            scale = StandardScaler().fit(parts[0])
            train, test = scale.transform(parts[0]), scale.transform(parts[1])
            scores.append([
                getattr(library, kind)(random_state=seed).fit(train, parts[2]).score(test, parts[3])
                for library in (nnlite.sklearn, neural_network)
            ])  # fmt: skip
        found = np.array(scores)
        (mine, theirs), (wide, wider) = found.mean(axis=0), found.std(axis=0)
        apart = found[:, 0] - found[:, 1]
        score = "accuracy" if kind == "MLPClassifier" else "R2"
        print(
            f"| {name} | {score} | {mine:.4f} ± {wide:.4f} | {theirs:.4f} ± {wider:.4f} | "
            f"{apart.mean():+.1e} ({np.abs(apart).max():.1e}) |"
        )


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def speed(quick: bool) -> None:
    """Prints the table of seconds."""
    X, y = datasets.load_digits(return_X_y=True)
    X = X / 16
    rng = np.random.default_rng(0)
    large = rng.normal(size=(6_000 if quick else 60_000, 784))
    labels = rng.integers(0, 10, len(large))
    digits = {"max_iter": 30, "n_iter_no_change": 1000}
    wide = {"max_iter": 1, "hidden_layer_sizes": (512, 256)}
    cases: list[tuple[str, Any, Any, dict[str, Any], int]] = [
        ("digits, default batch", X, y, digits, 15),
        ("digits, batch 32", X, y, {**digits, "batch_size": 32}, 10),
        (f"{len(large)} x 784, (512, 256)", large, labels, wide, 3),
    ]
    print("| fit of MLPClassifier | dtype | nnlite | scikit-learn | ratio |")
    print("|---|---|---|---|---|")
    for name, rows, targets, settings, rounds in cases:
        for dtype in (np.float64, np.float32):
            data, best = rows.astype(dtype), [np.inf, np.inf]
            for _ in range(2 if quick else rounds):
                for place, library in enumerate((nnlite.sklearn, neural_network)):
                    e = library.MLPClassifier(random_state=0, **settings)
                    best[place] = min(best[place], seconds(partial(e.fit, data, targets)))
            print(
                f"| {name} | {np.dtype(dtype)} | {best[0]:.3f} s | {best[1]:.3f} s | "
                f"{best[1] / best[0]:.1f} |"
            )


def search(quick: bool) -> None:
    """Prints the table of searches."""
    X, y = datasets.load_digits(return_X_y=True)
    X = X / 16
    grid = {
        "hidden_layer_sizes": [(32,), (64,)], "alpha": [1e-4, 1e-1],
        "learning_rate_init": [1e-2, 3e-3, 1e-3],
    }  # fmt: skip
    own, theirs = (
        library.MLPClassifier(batch_size=32, max_iter=20, random_state=0)
        for library in (nnlite.sklearn, neural_network)
    )
    ways = {
        "GridSearch": lambda: nnlite.sklearn.GridSearch(own, grid, 5),
        "GridSearchCV": lambda: GridSearchCV(own, grid, cv=5),
        "GridSearchCV, n_jobs=2": lambda: GridSearchCV(own, grid, cv=5, n_jobs=2),
        "GridSearchCV, n_jobs=2, scikit-learn's MLPClassifier": lambda: GridSearchCV(
            theirs, grid, cv=5, n_jobs=2
        ),
    }
    best = dict.fromkeys(ways, np.inf)
    for _ in range(2 if quick else 5):
        for name, make in ways.items():
            best[name] = min(best[name], seconds(partial(make().fit, X, y)))
    print("| search | seconds | ratio |")
    print("|---|---|---|")
    for name, least in best.items():
        print(f"| {name} | {least:.2f} | {least / best['GridSearch']:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=["parity", "speed", "search"])
    parser.add_argument("--threads", type=int, default=2, help="of both libraries")
    parser.add_argument("--quick", action="store_true", help="two seeds or rounds, fewer rows")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    nnlite.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        {"parity": parity, "speed": speed, "search": search}[arguments.table](arguments.quick)


if __name__ == "__main__":
    main()
