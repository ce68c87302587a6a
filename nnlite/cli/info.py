"""nnlite info: what this installation is and what it runs on."""

from __future__ import annotations

import argparse
from itertools import pairwise

NETWORKS = ((32, (64, 64, 10)), (128, (784, 512, 256, 10)), (256, (256, 256, 256, 10)))
STEPS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tuned",
        action="store_true",
        help="also train three small networks for about a second, and show what autotuning chose "
        "for their matrix products and threads",
    )


def run(args: argparse.Namespace) -> None:
    import nnlite as nn

    nn.show_config()
    if args.tuned:
        from .._core import autotune, native

        for batch, widths in NETWORKS:
            _exercise(batch, widths)
        print(
            f"\nautotuned choices (best time of each way, relative):\n"
            f"{autotune.report(native.tuned())}"
        )


def _exercise(batch: int, widths: tuple[int, ...]) -> None:
    """Some steps of training and outputs of a network."""
    import numpy as np

    import nnlite as nn

    layers: list[nn.Module] = []
    for d, k in pairwise(widths):
        layers += [nn.Linear(d, k), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, widths[0]), dtype=np.float32)
    y = random.integers(widths[-1], size=batch)
    optimizer = nn.optim.SGD(model.parameters(), lr=1e-3)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    for _ in range(STEPS):
        trainer.train_step(x, y)
        model.predict(x)
