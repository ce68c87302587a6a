"""scikit-learn's MLPClassifier by scikit-learn and by nnlite: one script, the import swapped.

Both get the same digits, settings and random state, and begin from the same weights. A score is the
mean over the folds of the share of right test rows; times are of all fits of a run, in turn.

Run: python examples/sklearn_swap.py        (needs: pip install 'nnlite[sklearn]')
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import sklearn.neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import nnlite.sklearn
from nnlite.data import load_digits


def measured(module, folds, X, y, settings: dict) -> tuple[float, float, np.ndarray]:
    """(mean accuracy, seconds of all fits, probabilities of the last test rows)."""
    seconds, scores = 0.0, []
    for train, test in folds:
        model = make_pipeline(MinMaxScaler(), module.MLPClassifier(**settings))
        start = time.perf_counter()
        model.fit(X[train], y[train])
        seconds += time.perf_counter() - start
        scores.append(model.score(X[test], y[test]))
    return float(np.mean(scores)), seconds, model.predict_proba(X[test])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Swap the import of MLPClassifier.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=100, help="hidden units (default 100)")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are all that is wanted
    X, y = load_digits()
    X = X.astype(np.float64)  # scikit-learn's usual type; both train in that of the rows
    folds = list(StratifiedKFold(args.folds, shuffle=True, random_state=0).split(X, y))
    settings = {
        "hidden_layer_sizes": (args.hidden,),
        "batch_size": args.batch_size,
        "max_iter": args.epochs,
        "random_state": args.seed,
    }
    found = {}
    print("                          accuracy   seconds")
    for module in (sklearn.neural_network, nnlite.sklearn):
        found[module.__name__] = measured(module, folds, X, y, settings)
        accuracy, seconds, _ = found[module.__name__]
        print(f"{module.__name__:24s}  {accuracy:8.4f}  {seconds:8.2f}")
    (_, theirs, p), (_, own, q) = found.values()
    print(f"nnlite: {theirs / own:.1f} times as fast; largest difference of a probability "
          f"{np.abs(p - q).max():.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
