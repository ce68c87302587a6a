"""MNIST from its own IDX files: 60,000 handwritten digits of 28x28 pixels.

The network is 784-512-256-10 with ReLU, trained by SGD with momentum on the softmax cross-entropy.
nnlite fetches nothing: put the four files, compressed or not, into a folder first.

Run: python examples/mnist.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

import nnlite as nn

FILES = {
    "training images": "train-images-idx3-ubyte",
    "training labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}


def find(folder: Path, stem: str) -> Path | None:
    """The file under any of its usual names."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for ending in ("", ".gz"):
            if (folder / (name + ending)).is_file():
                return folder / (name + ending)
    return None


def load(folder: Path) -> list[np.ndarray]:
    """Training images and labels, test images and labels; pixels scaled to [0, 1]."""
    paths = {meaning: find(folder, stem) for meaning, stem in FILES.items()}
    missing = [f"  {FILES[meaning]}[.gz]" for meaning, path in paths.items() if path is None]
    if missing:
        raise SystemExit(
            "\n".join([f"mnist: {folder} lacks these IDX files:", *missing])
            + "\nFetch the MNIST database (for example from https://yann.lecun.com/exdb/mnist/ or"
            " one of its mirrors) and name the folder that holds them."
        )
    arrays = []
    for path in paths.values():
        values = nn.data.load_idx(path)
        if values.ndim > 1:  # images: one row each
            arrays.append(values.reshape(len(values), -1).astype(np.float32) / 255)
        else:
            arrays.append(values.astype(np.int64))
    return arrays


def make_model(sizes: list[int]) -> nn.Sequential:
    """Linear layers between the sizes, with ReLU after each but the last."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a network on MNIST's IDX files.")
    parser.add_argument("folder", type=Path, help="where the four IDX files are")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate per step")
    parser.add_argument("--hidden", type=int, nargs="*", default=[512, 256], metavar="UNITS")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    X_train, y_train, X_test, y_test = load(args.folder)
    print(f"{len(X_train)} training and {len(X_test)} test images of {X_train.shape[1]} pixels")

    nn.manual_seed(args.seed)
    model = make_model([X_train.shape[1], *args.hidden, 10])
    print(model)
    optimizer = nn.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=args.seed)

    start = time.perf_counter()
    trainer.fit(X_train, y_train, epochs=args.epochs, batch_size=args.batch_size)
    seconds = time.perf_counter() - start
    rows = args.epochs * len(X_train)
    print(f"{seconds:.2f} s, {rows / seconds:,.0f} images a second")

    scores = trainer.evaluate(X_test, y_test)
    print(f"test loss {scores['loss']:.4f}, test accuracy {scores['accuracy']:.4f}")


if __name__ == "__main__":
    sys.exit(main())
