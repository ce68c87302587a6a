"""nnlite demo: a digit classifier trained twice, by nnlite and by NumPy.

Both start from the same weights and see the same batches. What is timed is `fit` alone: no progress
bar, no validation, the two in turn so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from statistics import median

import numpy as np

import nnlite as nn
from nnlite.bench import baseline

SIZES = (64, 64, 10)
LR, MOMENTUM, BATCH_SIZE, EPOCHS = 0.05, 0.9, 32, 60
SEED = 0
ROUNDS = 7  # timed runs of each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=_whole, default=EPOCHS, help=f"default {EPOCHS}")


def _whole(text: str) -> int:
    """A number of epochs, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Trains, races and compares; 0, or 1 when the numbers of threads gave different weights."""
    X, y = nn.data.load_digits()
    X_train, X_test, y_train, y_test = nn.data.train_test_split(X / 16, y, test_size=0.25)
    print(f"Handwritten digits, 8x8: {len(X_train)} to train, {len(X_test)} to test.")
    print(
        f"Network {'-'.join(map(str, SIZES))}, ReLU, softmax cross-entropy; SGD with rate {LR}, "
        f"momentum {MOMENTUM}, batch {BATCH_SIZE}, {args.epochs} epochs.",
        flush=True,
    )
    trainer = make_trainer()
    trainer.fit(X_train, y_train, args.epochs, BATCH_SIZE, verbose=1)
    accuracy = trainer.evaluate(X_test, y_test)["accuracy"]
    seconds, peer_seconds, peer = race(X_train, y_train, args.epochs)
    peer_accuracy = np.mean(peer.predict(X_test).argmax(axis=1) == y_test)

    print(f"\n{'':8}{'test accuracy':>15}{'training time':>17}")
    print(f"{'nnlite':8}{accuracy:15.4f}{seconds * 1e3:14.1f} ms")
    print(f"{'NumPy':8}{peer_accuracy:15.4f}{peer_seconds * 1e3:14.1f} ms")
    print(
        f"nnlite is {peer_seconds / seconds:.2f} times as fast as NumPy: the same first weights, "
        f"the same batches, median of {ROUNDS} runs each.\n"
    )
    return compare_threads(X_train, y_train, args.epochs)


def make_trainer() -> nn.Trainer:
    """The demo's network with its first weights, and its trainer."""
    nn.manual_seed(SEED)
    layers = [nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2])]
    model = nn.Sequential(*layers)
    optimizer = nn.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    return nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=SEED)


def make_baseline() -> baseline.MLP:
    """The same network in NumPy, from the same first weights."""
    arrays = [parameter.data for parameter in make_trainer().model.parameters()]
    pairs = list(zip(arrays[0::2], arrays[1::2], strict=True))  # weight, bias, weight, bias
    return baseline.MLP(pairs, baseline.SGD(LR, MOMENTUM))


def race(X: np.ndarray, y: np.ndarray, epochs: int) -> tuple[float, float, baseline.MLP]:
    """Seconds of nnlite and of NumPy (medians of runs in turn), and NumPy's trained network."""

    def order(epoch: int) -> np.ndarray:
        return nn.data.permutation(len(X), SEED, epoch)

    times, peer_times = [], []
    for _ in range(ROUNDS):
        trainer, peer = make_trainer(), make_baseline()
        start = time.perf_counter()
        trainer.fit(X, y, epochs, BATCH_SIZE, verbose=0)
        middle = time.perf_counter()
        peer.fit(X, y, epochs, BATCH_SIZE, order)
        end = time.perf_counter()
        times.append(middle - start)
        peer_times.append(end - middle)
    return median(times), median(peer_times), peer


def compare_threads(X: np.ndarray, y: np.ndarray, epochs: int) -> int:
    """Says whether one thread and all threads give the same weights; 0 when they do."""
    before = nn.get_num_threads()
    threads = max(before, 2)
    hashes = {}
    try:
        for count in (1, threads):
            nn.set_num_threads(count)
            trainer = make_trainer()
            trainer.fit(X, y, epochs, BATCH_SIZE, verbose=0)
            hashes[count] = weight_hash(trainer.model)
    finally:
        nn.set_num_threads(before)
    same = hashes[1] == hashes[threads]
    print(
        f"1 thread and {threads} threads gave the same weights: SHA-256 {hashes[1][:16]}..."
        if same
        else f"1 thread and {threads} threads gave DIFFERENT weights: SHA-256 {hashes[1][:16]}... "
        f"and {hashes[threads][:16]}..."
    )
    return 0 if same else 1


def weight_hash(model: nn.Module) -> str:
    """SHA-256 over the bytes of all parameters in order."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.data.tobytes())
    return digest.hexdigest()
