"""The cost of a product with the Hessian, in gradients of the same loss, measured in one run.

A network of the size that examples/mnist.py trains, softmax cross-entropy over a batch; gradient
and product are timed in turns. The ratio is that of the medians. With one thread the time is the
processor's, which other programs do not lengthen; with more it is that of the clock.

Run: python tests/tools/hvp_cost.py [--threads 1] [--batch-size 128] [--hidden 512 256] [--limit 4]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np

import nnlite as nn


def make_model(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each call: the median of rounds in which all take their turn."""
    clock = time.thread_time if nn.get_num_threads() == 1 else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            found[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--hidden", type=int, nargs="*", default=[512, 256])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--limit", type=float, default=4.0, help="fail above this many gradients")
    args = parser.parse_args()

    nn.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    sizes = [784, *args.hidden, 10]
    model, criterion = make_model(sizes), nn.SoftmaxCE()
    X = nn.tensor(rng.random((args.batch_size, 784), dtype=np.float32))
    y = rng.integers(0, 10, args.batch_size)
    v = rng.standard_normal(sum(p.size for p in model.parameters()), dtype=np.float32)

    def loss() -> nn.Tensor:
        return criterion(model(X), y)

    def by_modules() -> None:
        model.zero_grad()
        criterion(model(X._data), y)
        model.backward(criterion.backward())

    calls = {
        "gradient": lambda: nn.autograd.grad(loss(), model.parameters()),
        "gradient, modules": by_modules,
        "H v": lambda: nn.autograd.hvp(loss, model, v),
    }
    medians(calls, 5)
    found = medians(calls, args.rounds)
    print(f"{'-'.join(map(str, sizes))}, batch {args.batch_size}, threads {args.threads}")
    for name, seconds in found.items():
        print(f"{name:18} {seconds * 1e3:9.3f} ms   {seconds / found['gradient']:5.2f} gradients")
    if found["H v"] > args.limit * found["gradient"]:
        raise SystemExit(f"H v costs more than {args.limit:g} gradients")


if __name__ == "__main__":
    main()
