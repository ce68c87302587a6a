"""Trains until the loss has almost vanished and compares the slowest epoch with the first.

    python3 tests/tools/late_epochs.py                          digits, every optimiser
    python3 tests/tools/late_epochs.py --network wide           a wide network
    python3 tests/tools/late_epochs.py --rounds 5 Adam SGD      two optimisers, five runs of each

Gradients shrink with the loss, and their squares leave the range of normal numbers long before they
do. Arithmetic there is slow on many processors: up to 200 times on Intel's. No epoch should take
more than 1.3 times the first; the exit status is 0 when none does.

The runs of one optimiser have the same bits, so an epoch computes the same in each, and its time is
the quickest of them: what other programs take is no part of it. Below a loss of 1e-3 the learning
rate grows as the loss falls: gradient and curvature fall with it, and plain gradient descent would
need 1e8 steps. Beside the times stands what a processor that is slow on subnormal numbers would
meet, counted after every tenth epoch: how many gradients, states, weights, and inputs and outputs
of the last layer are subnormal.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import NamedTuple

import numpy as np

import nnlite as nn

LIMIT, LOSS, EASY = 1.3, 1e-8, 1e-3
EVERY = 10  # epochs between two counts of subnormal numbers
# Those whose step is in proportion to the gradient: their rate is divided by the loss; that of the
# others by its fourth root.
PROPORTIONAL = ("SGD", "AMSGrad", "Adagrad", "Adadelta")
OPTIMIZERS = {
    "SGD": lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: nn.optim.Adam(p, lr=3e-3),
    "AMSGrad": lambda p: nn.optim.Adam(p, lr=3e-3, amsgrad=True),
    "AdamW": lambda p: nn.optim.AdamW(p, lr=3e-3),
    "NAdam": lambda p: nn.optim.NAdam(p, lr=3e-3),
    "Adamax": lambda p: nn.optim.Adamax(p, lr=6e-3),
    "RMSprop": lambda p: nn.optim.RMSprop(p, lr=1e-3),
    "centred": lambda p: nn.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5),
    "Adagrad": lambda p: nn.optim.Adagrad(p, lr=0.01),
    "Adadelta": lambda p: nn.optim.Adadelta(p, lr=1.0),
    "Rprop": lambda p: nn.optim.Rprop(p),
}


class Run(NamedTuple):
    """Seconds of each epoch, the last loss, and how many numbers were subnormal, by kind."""

    seconds: list[float]
    loss: float
    subnormal: Counter[str]


def network(name: str) -> tuple[nn.Sequential, np.ndarray, np.ndarray, int]:
    """(model, inputs, classes, batch size)."""
    random = np.random.default_rng(0)
    if name == "digits":
        x, y = nn.data.load_digits()
        x = np.ascontiguousarray(x, np.float32)
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), x / 16, y, 200
    x = random.normal(size=(512, 1024)).astype(np.float32)
    layers = [nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(2048, 10)), x, random.integers(0, 10, 512), 128


def count_subnormal(trainer: nn.Trainer, x: np.ndarray) -> Counter[str]:
    """Numbers between 0 and the smallest normal one that an epoch left behind."""
    hidden = nn.Sequential(*list(trainer.model)[:-1]).predict(x[:200])
    found: Counter[str] = Counter()
    kinds = {
        "gradients": [p.grad for p in trainer.model.parameters()],
        "states": [v for v in trainer.optimizer.state_dict().values() if isinstance(v, np.ndarray)],
        "weights": [p.data for p in trainer.model.parameters()],
        "activations": [hidden, trainer.model.predict(x[:200])],
    }
    for kind, arrays in kinds.items():
        for a in arrays:
            if a.dtype.kind == "f":
                found[kind] += int(((a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny)).sum())
    return found


def run(network_name: str, optimizer: str, epochs: int, count: bool) -> Run:
    """Trains until the loss is below 1e-8."""
    nn.manual_seed(0)
    model, x, y, batch = network(network_name)
    full = len(x) if optimizer == "Rprop" else batch
    trainer = nn.Trainer(model, nn.SoftmaxCE(), OPTIMIZERS[optimizer](model.parameters()))
    trainer.train_step(x[:full], y[:full])  # the program is made here
    seconds: list[float] = []
    subnormal: Counter[str] = Counter()
    loss, rate = np.inf, 0.0 if optimizer == "Rprop" else trainer.optimizer.lr
    power = 1.0 if optimizer in PROPORTIONAL else 0.25
    while loss > LOSS and len(seconds) < epochs:
        started = time.perf_counter()
        losses = [
            trainer.train_step(x[i : i + full], y[i : i + full]) for i in range(0, len(x), full)
        ]
        seconds.append(time.perf_counter() - started)
        loss = float(np.mean(losses))
        if rate and loss < EASY:
            trainer.optimizer.lr = max(trainer.optimizer.lr, rate * (EASY / loss) ** power)
        if count and len(seconds) % EVERY == 0:
            subnormal += count_subnormal(trainer, x)
    return Run(seconds, loss, subnormal)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("optimizers", nargs="*", default=list(OPTIMIZERS), metavar="optimiser")
    parser.add_argument("--network", choices=["digits", "wide"], default="digits")
    parser.add_argument("--epochs", type=int, default=3000, help="at most (default: 3000)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default: 5)")
    options = parser.parse_args()
    failed = 0
    for name in options.optimizers:
        counted = run(options.network, name, options.epochs, True)
        runs = [run(options.network, name, options.epochs, False) for _ in range(options.rounds)]
        assert all(r.loss == counted.loss for r in runs), "runs of the same bits differ"
        seconds = np.min([r.seconds for r in runs], axis=0)
        ratio = seconds / seconds[:3].min()
        failed += bool(ratio.max() > LIMIT) or counted.loss > LOSS
        numbers = ", ".join(f"{n} {kind}" for kind, n in counted.subnormal.items())
        print(
            f"{options.network} {name:9s} {len(seconds):5d} epochs, loss {counted.loss:.1e}: first "
            f"{seconds[:3].min() * 1e3:.3f} ms, slowest {ratio.max():.2f} x (epoch "
            f"{int(ratio.argmax()) + 1}), last ten {np.median(ratio[-10:]):.2f} x; subnormal: "
            f"{numbers or 'none'}",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
