"""`nnlite bench fit`: whole fits on the digits against scikit-learn, and many networks at once.

    fit       100 epochs, Adam, one hidden layer of 64 units, batches of 200 and of 32, from the
              same data, against MLPClassifier with the same settings
    fit_many  64 such networks (SGD, 5 epochs, batches of 32), side by side against one after the
              other

Each pair takes turns; the shortest time of each counts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import nnlite as nn
from nnlite.bench.peers import PeerError
from nnlite.bench.report import title
from nnlite.bench.timing import SETTLE

EPOCHS, HIDDEN, RATE = 100, 64, 1e-3
BATCHES = (200, 32)
NETWORKS, MANY_EPOCHS, MANY_BATCH = 64, 5, 32

Progress = Callable[[str], None]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The digits that ship with nnlite, scaled to [0, 1]."""
    X, y = nn.data.load_digits()
    return X / np.float32(16), y


def network(seed: int) -> nn.Sequential:
    """64 - 64 - 10, with initial weights of that seed."""
    nn.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))


def own_fit(batch: int) -> float:
    """Accuracy of a fit by nnlite."""
    X, y = digits()
    model = network(0)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters(), lr=RATE))
    trainer.fit(X, y, EPOCHS, batch, verbose=0)
    return trainer.evaluate(X, y)["accuracy"]


def sklearn_fit(batch: int) -> float:
    """Accuracy of the same fit by scikit-learn."""
    from sklearn.neural_network import MLPClassifier  # type: ignore[import-not-found,import-untyped]

    X, y = digits()
    model = MLPClassifier(
        (HIDDEN,), solver="adam", alpha=0.0, batch_size=batch, learning_rate_init=RATE,
        max_iter=EPOCHS, tol=0.0, n_iter_no_change=EPOCHS + 1, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it has not converged
        model.fit(X, y)
    return float(model.score(X, y))


def _made() -> tuple[list[nn.Sequential], list[nn.optim.SGD]]:
    models = [network(seed) for seed in range(NETWORKS)]
    return models, [nn.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in models]


def side_by_side() -> float:
    """The last loss of the last network, all trained at once."""
    X, y = digits()
    models, optimizers = _made()
    loss = nn.SoftmaxCE()
    histories = nn.fit_many(models, loss, optimizers, X, y, MANY_EPOCHS, MANY_BATCH, verbose=0)
    return float(histories[-1]["loss"][-1])


def one_by_one() -> float:
    """The same, one network after the other."""
    X, y = digits()
    last = 0.0
    for seed, (model, optimizer) in enumerate(zip(*_made(), strict=True)):
        trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed)
        last = trainer.fit(X, y, MANY_EPOCHS, MANY_BATCH, verbose=0)["loss"][-1]
    return last


def _race(
    contenders: dict[str, Callable[[], float]], rounds: int, progress: Progress
) -> dict[str, dict[str, float]]:
    """The shortest time of each, in seconds, and what it returned."""
    found = {name: {"seconds": float("inf"), "value": 0.0} for name in contenders}
    for number in range(rounds):
        for name, function in contenders.items():
            progress(f"{name}, round {number + 1} of {rounds}")
            time.sleep(SETTLE)  # threads of the one before may still spin on a core
            start = time.perf_counter()
            found[name]["value"] = function()
            found[name]["seconds"] = min(found[name]["seconds"], time.perf_counter() - start)
    return found


def run(rounds: int, progress: Progress) -> dict[str, Any]:
    """Every figure, by what was measured."""
    try:
        import sklearn  # type: ignore[import-not-found,import-untyped]  # noqa: F401

        peers = True
    except ImportError:
        peers = False
    results: dict[str, Any] = {}
    for batch in BATCHES:
        contenders: dict[str, Callable[[], float]] = {"nnlite": partial(own_fit, batch)}
        if peers:
            contenders["scikit-learn"] = partial(sklearn_fit, batch)
        results[f"fit, batch {batch}"] = _race(contenders, rounds, progress)
    many = _race({"side by side": side_by_side, "one by one": one_by_one}, rounds, progress)
    if many["side by side"]["value"] != many["one by one"]["value"]:
        raise PeerError("bench fit: networks trained side by side differ from those trained alone")
    results["fit_many"] = many
    return results


def report(results: dict[str, Any], facts: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [title(facts), "", f"{'':16}{'':14}{'seconds':>9}{'ratio':>8}"]
    for what, found in results.items():
        names = list(found)
        for name in names:
            ratio = found[name]["seconds"] / found[names[0]]["seconds"]
            shown = f"{ratio:8.2f}" if name != names[0] else ""
            first = what if name == names[0] else ""
            lines.append(f"{first:16}{name:14}{found[name]['seconds']:9.3f}{shown}")
    lines += [
        "",
        f"fit: digits, {EPOCHS} epochs, Adam, hidden {HIDDEN}, equal settings; best of all rounds",
        f"fit_many: {NETWORKS} networks of {MANY_EPOCHS} epochs; ratio: of the time of one by one",
    ]
    return "\n".join(lines)
