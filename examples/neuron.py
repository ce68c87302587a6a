"""One sigmoid neuron, differentiated twice: by hand on plain numbers, and by nnlite's modules.

    s = w0 x0 + w1 x1 + w2,    y = 1 / (1 + e^-s)

Backpropagation walks the same two lines from the end to the start:

    dy/ds  = y (1 - y)                        the sigmoid's slope, written with its own output
    dy/dw0 = dy/ds x0   dy/dw1 = dy/ds x1   dy/dw2 = dy/ds
    dy/dx0 = dy/ds w0   dy/dx1 = dy/ds w1

Run: python examples/neuron.py
"""

from __future__ import annotations

import argparse
import math

import numpy as np

import nnlite as nn


def by_hand(w: list[float], x: list[float]) -> tuple[float, list[float], list[float]]:
    """The output, and its gradients with respect to w and x: numbers only, nothing hidden."""
    # forward
    s = w[0] * x[0] + w[1] * x[1] + w[2]
    y = 1 / (1 + math.exp(-s))
    # backward
    ds = y * (1 - y)
    dw = [ds * x[0], ds * x[1], ds]
    dx = [ds * w[0], ds * w[1]]
    return y, dw, dx


def by_modules(w: list[float], x: list[float]) -> tuple[float, list[float], list[float]]:
    """The same from two modules: a batch of one row, two features in and one out."""
    linear = nn.Linear(2, 1, dtype=np.float64)
    model = nn.Sequential(linear, nn.Sigmoid())
    linear.weight.data[...] = [[w[0]], [w[1]]]  # weight[in_features][out_features]
    linear.bias.data[...] = w[2]
    # forward
    y = model.forward(np.array([x], dtype=np.float64))
    # backward: dy/dy = 1 goes in at the end, dy/dx comes out at the start
    dx = model.backward(np.ones_like(y))
    dw = [*linear.weight.grad.ravel(), *linear.bias.grad]
    return float(y[0, 0]), [float(value) for value in dw], [float(value) for value in dx[0]]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A sigmoid neuron by hand and by modules.")
    parser.add_argument(
        "--w", type=float, nargs=3, default=[2.0, -3.0, -3.0], help="two weights, bias"
    )
    parser.add_argument("--x", type=float, nargs=2, default=[-1.0, -2.0], help="two inputs")
    args = parser.parse_args(argv)

    y, dw, dx = by_hand(args.w, args.x)
    y_modules, dw_modules, dx_modules = by_modules(args.w, args.x)
    names = ["y", "dy/dw0", "dy/dw1", "dy/dw2", "dy/dx0", "dy/dx1"]
    print(f"{'':8}{'by hand':>10}{'modules':>10}")
    for name, left, right in zip(
        names, [y, *dw, *dx], [y_modules, *dw_modules, *dx_modules], strict=True
    ):
        print(f"{name:8}{left:10.2f}{right:10.2f}")


if __name__ == "__main__":
    main()
