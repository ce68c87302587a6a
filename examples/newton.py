"""Logistic regression by Newton's method: a few steps, each solved by products with the Hessian.

The loss of softmax(x W + b) with a penalty is convex:

    L(w) = mean cross-entropy + lam / 2 |W|^2

Newton's step d minimises the parabola that touches L: H d = -g, with the gradient g and the Hessian
H of L. H has n^2 elements and is never formed: conjugate gradients need only products H v, and hvp
gives them exactly, each at the cost of two or three gradients.

Source: Nocedal, Wright, "Numerical Optimization" (2006), section 7.1 (line search Newton-CG).

Run: python examples/newton.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

import nnlite as nn

ENOUGH = 1e-4  # the part of the promised decrease that a step must bring (Armijo)


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray], g: np.ndarray, tolerance: float
) -> tuple[np.ndarray, int]:
    """(d, products) with |H d + g| <= tolerance, for a positive definite H."""
    d = np.zeros_like(g)
    residual = g.copy()  # H d + g
    direction = -residual
    square = residual @ residual
    count = 0
    while square > tolerance**2 and count < g.size:
        Hv = product(direction)
        count += 1
        alpha = square / (direction @ Hv)
        d += alpha * direction
        residual += alpha * Hv
        before, square = square, residual @ residual
        direction = -residual + (square / before) * direction
    return d, count


class Problem:
    """The loss of a linear model as a function of one flat vector of all its parameters."""

    def __init__(self, X: np.ndarray, y: np.ndarray, classes: int, lam: float) -> None:
        self.model = nn.Linear(X.shape[1], classes, dtype=np.float64)
        self.parameters = self.model.parameters()
        self.criterion, self.X, self.y, self.lam = nn.SoftmaxCE(), nn.tensor(X), y, lam

    def loss(self) -> nn.Tensor:
        weight = self.model.weight
        return self.criterion(self.model(self.X), self.y) + 0.5 * self.lam * (weight**2).sum()

    def move(self, w: np.ndarray) -> None:
        """Sets the parameters."""
        start = 0
        for p in self.parameters:
            p.data = w[start : start + p.size].reshape(p.shape)
            start += p.size

    def value(self, w: np.ndarray) -> float:
        self.move(w)
        with nn.no_grad():
            return self.loss().item()

    def gradient(self) -> np.ndarray:
        parts = nn.autograd.grad(self.loss(), self.parameters)
        return np.concatenate([g.numpy().ravel() for g in parts])

    def product(self, v: np.ndarray) -> np.ndarray:
        """H v at the parameters as they are."""
        return np.array(nn.autograd.hvp(self.loss, self.parameters, v)[1])


def newton(problem: Problem, tolerance: float) -> None:
    """Newton's method from zero until |g| <= tolerance; prints a line for each step."""
    w = np.zeros(sum(p.size for p in problem.parameters))
    loss = problem.value(w)
    print(f"{'step':>4} {'loss':>18} {'|gradient|':>12} {'Hessian products':>17} {'length':>7}")
    for step in range(50):
        problem.move(w)
        g = problem.gradient()
        size = float(np.sqrt(g @ g))
        if size <= tolerance:
            print(f"{step:4} {loss:18.15f} {size:12.1e}")
            return
        # Close to the minimum H d = -g is solved better and better: the steps converge faster.
        d, products = conjugate_gradients(problem.product, g, max(min(0.1, size), 1e-6) * size)
        length = 1.0
        while problem.value(w + length * d) > loss + ENOUGH * length * (g @ d) and length > 1e-6:
            length /= 2
        print(f"{step:4} {loss:18.15f} {size:12.1e} {products:17} {length:7.3f}")
        w += length * d
        loss = problem.value(w)
    raise SystemExit(f"no convergence: |gradient| is {size:.1e}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Logistic regression of digits by Newton-CG.")
    parser.add_argument("--lam", type=float, default=1e-2, help="the penalty (default 0.01)")
    parser.add_argument("--tolerance", type=float, default=1e-10, help="of |gradient|")
    args = parser.parse_args(argv)

    X, y = nn.data.load_digits()
    X_train, X_test, y_train, y_test = nn.data.train_test_split(X / 16, y, test_size=0.25)
    problem = Problem(X_train.astype(np.float64), y_train, 10, args.lam)
    newton(problem, args.tolerance)
    predicted = problem.model.predict(X_test).argmax(axis=1)
    print(f"test accuracy {np.mean(predicted == y_test):.4f}")


if __name__ == "__main__":
    main()
