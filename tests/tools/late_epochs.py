"""Trains until the loss has almost vanished and compares the slowest epoch with the first.

    python3 tests/tools/late_epochs.py                          digits, every optimiser
    python3 tests/tools/late_epochs.py --network wide Adam      a wide network, one optimiser

Gradients shrink with the loss, and their squares leave the range of normal numbers long before they
do. Arithmetic there is slow on many processors: up to 200 times on Intel's. No epoch should take
more than 1.3 times the first. Five epochs at a time are measured, and the quickest counts, so that
other programs disturb little; where they still do, the slowest epoch is theirs, so the exit status
is 0 when the median of the last ten measurements is within the limit for every optimiser. The
slowest is printed beside it: on a quiet machine it has to hold the limit too.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

import nnlite as nn

LIMIT, LOSS, PARTS = 1.3, 1e-8, 5
OPTIMIZERS = {
    "SGD": lambda p: nn.optim.SGD(p, lr=0.5, momentum=0.9),
    "Adam": lambda p: nn.optim.Adam(p, lr=3e-3),
    "AMSGrad": lambda p: nn.optim.Adam(p, lr=3e-3, amsgrad=True),
    "AdamW": lambda p: nn.optim.AdamW(p, lr=3e-3),
    "NAdam": lambda p: nn.optim.NAdam(p, lr=3e-3),
    "Adamax": lambda p: nn.optim.Adamax(p, lr=5e-3),
    "RMSprop": lambda p: nn.optim.RMSprop(p, lr=1e-3),
    "centred": lambda p: nn.optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5),
    "Adagrad": lambda p: nn.optim.Adagrad(p, lr=0.1),
    "Adadelta": lambda p: nn.optim.Adadelta(p, lr=10.0),
    "Rprop": lambda p: nn.optim.Rprop(p),
}


def network(name: str) -> tuple[nn.Sequential, np.ndarray, np.ndarray, int]:
    """(model, inputs, classes, batch size)."""
    random = np.random.default_rng(0)
    if name == "digits":
        x, y = nn.data.load_digits()
        x = np.ascontiguousarray(x, np.float32)
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), x, y, 200
    x = random.normal(size=(512, 1024)).astype(np.float32)
    layers = [nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(2048, 10)), x, random.integers(0, 10, 512), 128


def run(network_name: str, optimizer: str, most: int, seconds: float) -> tuple[list[float], float]:
    """The quickest slice of each epoch in seconds for a step, and the last loss."""
    nn.manual_seed(0)
    model, x, y, batch = network(network_name)
    full = len(x) if optimizer == "Rprop" else batch
    trainer = nn.Trainer(model, nn.SoftmaxCE(), OPTIMIZERS[optimizer](model.parameters()))
    times, loss, begin = [], np.inf, time.perf_counter()
    while loss > LOSS and len(times) < most and time.perf_counter() - begin < seconds:
        slices = []
        for _ in range(PARTS):
            started = time.perf_counter()
            losses = [trainer.train_step(x[i : i + full], y[i : i + full])
                      for i in range(0, len(x), full)]  # fmt: skip
            slices.append(time.perf_counter() - started)
        loss = float(np.mean(losses))
        times.append(min(slices))
    return times, loss


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("optimizers", nargs="*", default=list(OPTIMIZERS), metavar="optimiser")
    parser.add_argument("--network", choices=["digits", "wide"], default="digits")
    parser.add_argument("--epochs", type=int, default=3000, help="at most; each is five passes")
    parser.add_argument("--seconds", type=float, default=60, help="at most, for each optimiser")
    options = parser.parse_args()
    slower = 0
    for name in options.optimizers:
        times, loss = run(options.network, name, options.epochs, options.seconds)
        first, slowest = min(times[:3]), max(times)
        late = float(np.median(times[-10:])) / first
        slower += late > LIMIT
        print(
            f"{options.network} {name:9s} {len(times) * PARTS:6d} epochs, loss {loss:.1e}: first "
            f"{first * 1e3:.3f} ms, slowest {slowest / first:.2f} x, last ten {late:.2f} x",
            flush=True,
        )
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
