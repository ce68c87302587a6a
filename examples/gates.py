"""Backpropagation gate by gate, with the numbers of the lecture.

Every gate knows two things: its value from its inputs, and how a gradient that comes back is
handed on. Add distributes it, multiply swaps its inputs, max routes it, a copy adds what comes.

Run: python examples/gates.py --plot neuron.svg
"""

from __future__ import annotations

import argparse

import numpy as np

import nnlite as nn


class Multiply(nn.autograd.Function):
    """The multiply gate, written out: z = x y, dx = y dz, dy = x dz."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return y * grad, x * grad


def number(value: object) -> nn.Tensor:
    return nn.tensor(value, requires_grad=True, dtype=np.float64)


def show(name: str, *values: object) -> None:
    """One line: numbers with two decimals, arrays as lists."""
    texts = [str(np.round(np.asarray(v), 3).tolist()) if np.ndim(v) else f"{v:.2f}" for v in values]
    print(f"{name:22}", *texts)


def grads(*tensors: nn.Tensor) -> list[object]:
    return [t.grad.item() if t.ndim == 0 else t.grad.numpy() for t in tensors]


@nn.function
def neuron(w0, x0, w1, x1, w2):
    """The sigmoid neuron: 1 / (1 + e^-(w0 x0 + w1 x1 + w2)), of gates alone."""
    s = Multiply.apply(w0, x0) + Multiply.apply(w1, x1) + w2
    return 1 / (1 + (-s).exp())


def sigmoid_neuron(plot: str | None) -> None:
    names = ("w0", "x0", "w1", "x1", "w2")
    w0, x0, w1, x1, w2 = inputs = [number(v) for v in (2.0, -1.0, -3.0, -2.0, -3.0)]
    y = neuron(*inputs)
    if plot:
        nn.autograd.draw(y, plot, dict(zip(names, inputs, strict=True)))
        print(f"wrote {plot}")
    y.backward()
    show("neuron: y", y.item())
    show("  dw", *grads(w0, w1, w2))
    show("  dx", *grads(x0, x1))


def patterns() -> None:
    """What 2 becomes on its way back through each gate."""
    for name, gate in {
        "add distributes": lambda x, y: x + y,
        "multiply swaps": Multiply.apply,
        "max routes": nn.autograd.maximum,
        "copy adds": lambda x, y: x * 3 + x * 4 + y,
    }.items():
        x, y = number(3.0), number(-4.0)
        z = gate(x, y)
        z.backward(2.0)
        show(name, z.item(), *grads(x, y))


def exponential() -> None:
    w, x, b = number(2.0), number(3.0), number(-4.0)
    y = (w * x + b).exp()
    y.backward()
    show("e^(w x + b)", y.item(), *grads(b, x, w))


def squared_norm() -> None:
    W, x = number([[0.1, 0.5], [-0.3, 0.8]]), number([0.2, 0.4])
    f = ((W @ x) ** 2).sum()
    f.backward()
    print(f"{'||W x||^2':22} {f.item():.3f}")
    show("  dW", *grads(W))
    show("  dx", *grads(x))


def matrices() -> None:
    x = number([[2, 1, -3], [-3, 4, 2]])
    W = number([[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]])
    y = x @ W
    y.backward(np.array([[2.0, 3, -3, 9], [-8, 1, 4, 6]]))
    show("y = x W", y.detach().numpy())
    show("  dx = dy W^T", *grads(x))
    show("  dW = x^T dy", *grads(W))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Gates, forward and backward.")
    parser.add_argument("--plot", metavar="FILE", help="draw the neuron (.svg, .png, .dot)")
    args = parser.parse_args(argv)
    sigmoid_neuron(args.plot)
    patterns()
    exponential()
    squared_norm()
    matrices()


if __name__ == "__main__":
    main()
