"""A two-layer network on three spirals, written three ways that compute the same numbers.

    flat     one line of NumPy for each gate, forward and then backward
    units    Tensors: each operation is a unit that knows its gradient
    model    layers and a loss function, an optimiser for the update

Loss: softmax cross-entropy (mean) + decay/2 (|W1|^2 + |W2|^2). Run: python examples/two_layer.py
"""

from __future__ import annotations

import argparse

import numpy as np
from spiral import CLASSES, make_spiral

import nnlite as nn

RATE, DECAY = 0.5, 1e-3


def first_weights(hidden: int, seed: int) -> list[np.ndarray]:
    """W1, b1, W2, b2: small random weights, zero biases."""
    rng = np.random.default_rng(seed)
    W1, W2 = 0.01 * rng.standard_normal((2, hidden)), 0.01 * rng.standard_normal((hidden, CLASSES))
    return [W1, np.zeros(hidden), W2, np.zeros(CLASSES)]


def flat(weights: list[np.ndarray], x: np.ndarray, t: np.ndarray) -> float:
    """Forward and backward by hand; changes the weights and returns the loss."""
    W1, b1, W2, b2 = weights
    rows = np.arange(len(x))
    # forward
    a = x @ W1 + b1
    h = np.maximum(a, 0)
    s = h @ W2 + b2
    e = np.exp(s - s.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    loss = -np.log(p[rows, t]).mean() + 0.5 * DECAY * ((W1 * W1).sum() + (W2 * W2).sum())
    # backward
    ds = p.copy()
    ds[rows, t] -= 1
    ds /= len(x)
    dW2, db2 = h.T @ ds + DECAY * W2, ds.sum(0)
    da = (ds @ W2.T) * (a > 0)
    dW1, db1 = x.T @ da + DECAY * W1, da.sum(0)
    # update
    for w, dw in zip(weights, (dW1, db1, dW2, db2), strict=True):
        w -= RATE * dw
    return float(loss)


@nn.function
def affine(x, W, b):
    return x @ W + b


def units(weights: list[nn.Tensor], x: np.ndarray, t: np.ndarray) -> float:
    """The same from units: the graph of the forward pass gives the backward pass."""
    W1, b1, W2, b2 = weights
    logits = affine(affine(nn.tensor(x), W1, b1).relu(), W2, b2)
    penalty = (W1**2).sum() + (W2**2).sum()
    loss = -logits.log_softmax()[np.arange(len(x)), t].mean() + 0.5 * DECAY * penalty
    loss.backward()
    with nn.no_grad():
        for w in weights:
            w -= RATE * w.grad
            w.grad = None
    return loss.item()


def model_step(
    model: nn.Sequential, optimizer: nn.optim.SGD, x: np.ndarray, t: np.ndarray
) -> float:
    """The same from layers and a loss function; the optimiser decays the weights itself."""
    penalty = sum(float((p.data**2).sum()) for p in model.parameters() if p.data.ndim == 2)
    optimizer.zero_grad()
    loss = nn.SoftmaxCE()(model(nn.tensor(x)), t)
    loss.backward()
    optimizer.step()
    return loss.item() + 0.5 * DECAY * penalty


def make_model(weights: list[np.ndarray]) -> nn.Sequential:
    hidden = len(weights[1])
    first = nn.Linear(2, hidden, dtype=np.float64)
    last = nn.Linear(hidden, CLASSES, dtype=np.float64)
    model = nn.Sequential(first, nn.ReLU(), last)
    for parameter, w in zip(model.parameters(), weights, strict=True):
        parameter.data = w
    return model


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A two-layer network, three ways.")
    parser.add_argument("--epochs", type=int, default=1200)
    parser.add_argument("--hidden", type=int, default=100)
    args = parser.parse_args(argv)
    X, y = make_spiral(100, seed=0)
    X = X.astype(np.float64)
    plain = first_weights(args.hidden, seed=0)
    tensors = [nn.tensor(w, requires_grad=True) for w in plain]
    model = make_model(plain)
    optimizer = nn.optim.SGD(model.parameters(), lr=RATE, weight_decay=DECAY)
    print(f"{'epoch':>6}{'flat':>12}{'units':>12}{'model':>12}")
    for epoch in range(args.epochs):
        order = nn.data.permutation(len(X), 0, epoch)
        for rows in np.split(order, range(100, len(X), 100)):
            x, t = X[rows], y[rows]
            losses = flat(plain, x, t), units(tensors, x, t), model_step(model, optimizer, x, t)
        if epoch % (args.epochs // 5 or 1) == 0 or epoch + 1 == args.epochs:
            print(f"{epoch:6}" + "".join(f"{loss:12.8f}" for loss in losses))
    right = np.mean(model.predict(X).argmax(1) == y)
    print(f"accuracy {right:.3f}")


if __name__ == "__main__":
    main()
