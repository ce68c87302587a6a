"""How wrong is a numerical gradient? Its error against the step, and where it is smallest.

    (f(x + d) - f(x - d)) / 2d

A large d leaves the curvature in the difference: an error of d^2 f''' / 6. A small d leaves nothing
but rounding: an error of about eps f / d. They meet near d = cbrt(eps), 6e-6 in double precision.
Backpropagation has neither: its gradient is exact up to rounding, for the cost of two evaluations
instead of two for each parameter.

Here f is the loss of a small network, and x all its weights.

Run: python examples/numerical_gradient.py --plot error.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

import nnlite as nn

Loss = Callable[[nn.Tensor], nn.Tensor]
DELTAS = 10.0 ** -np.arange(0, 14.5, 0.5)


def make_loss(seed: int) -> tuple[Loss, np.ndarray]:
    """(a function of one flat vector: the loss of a 4-5-3 network on 8 rows, weights to start)."""
    rng = np.random.default_rng(seed)
    X, y = nn.tensor(rng.standard_normal((8, 4))), rng.integers(0, 3, 8)

    def loss(w: nn.Tensor) -> nn.Tensor:
        hidden = (X @ w[:20].reshape(4, 5) + w[20:25]).tanh()
        logits = hidden @ w[25:40].reshape(5, 3) + w[40:]
        return nn.functional.softmax_ce(logits, y)

    return loss, rng.standard_normal(43)


def errors(loss: Loss, w: np.ndarray) -> list[float]:
    """For each step: |numerical - exact| / |exact|, the norms over all weights."""
    _, exact = nn.autograd.vjp(loss, w)
    size = exact.norm().item()
    found = []
    for delta in DELTAS:
        numerical = nn.autograd.numerical_gradient(loss, nn.tensor(w), float(delta))
        found.append((numerical - exact).norm().item() / size)
    return found


def draw(found: list[float], file: str) -> None:
    """The errors and the two slopes that they follow, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")  # writes files, needs no screen
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    eps = np.finfo(float).eps
    curvature = found[2] / DELTAS[2] ** 2 * DELTAS**2
    axes.loglog(DELTAS, curvature, "--", color="#0072B2", label="curvature: proportional to d²")
    axes.loglog(DELTAS, eps / DELTAS, "--", color="#D55E00", label="rounding: eps / d")
    axes.loglog(DELTAS, found, "o-", color="black", label="measured")
    axes.axvspan(1e-10, 1e-5, color="#009E73", alpha=0.15, label="the lecture's [1e-10, 1e-5]")
    axes.set(xlabel="step d", ylabel="relative error of the gradient", ylim=(1e-13, 10))
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)
    plt.close(figure)
    print(f"wrote {file}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The error of central differences.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="FILE", help="draw the errors (needs matplotlib)")
    args = parser.parse_args(argv)

    loss, w = make_loss(args.seed)
    found = errors(loss, w)
    print(f"{'step':>8} {'relative error':>15}")
    for delta, error in zip(DELTAS, found, strict=True):
        print(f"{delta:8.1e} {error:15.1e}")
    best = int(np.argmin(found))
    print(f"smallest error {found[best]:.1e} at {DELTAS[best]:.1e}")
    report = nn.autograd.gradcheck(loss, w)
    print(f"gradcheck, the best step for each weight: largest relative error {report.worst:.1e}")
    print(f"without a step, <u, J v> = <J^T u, v>: {report.tangent_error:.1e}")
    if args.plot:
        draw(found, args.plot)


if __name__ == "__main__":
    main()
