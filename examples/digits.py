"""Handwritten digits, 8x8 pixels: load, split, train, measure, look at the mistakes.

The network is 64-64-10: logits = relu(x W1 + b1) W2 + b2, trained by stochastic gradient descent
with momentum on the softmax cross-entropy. The data ships with nnlite.

Run: python examples/digits.py
"""

from __future__ import annotations

import argparse

import numpy as np

import nnlite as nn


def picture(row: np.ndarray) -> str:
    """An 8x8 image as text: darker characters for more ink."""
    shades = " .:-=+*#%@"
    pixels = (row.reshape(8, 8) * (len(shades) - 1)).round().astype(int)
    return "\n".join("    " + "".join(shades[ink] * 2 for ink in line) for line in pixels)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate per step")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--hidden", type=int, default=64, help="hidden units (default 64)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    # 1. The data: counts of ink from 0 to 16, scaled to [0, 1]; a quarter is kept for the test.
    X, y = nn.data.load_digits()
    X_train, X_test, y_train, y_test = nn.data.train_test_split(X / 16, y, test_size=0.25)

    # 2. The network. The seed decides its first weights.
    nn.manual_seed(args.seed)
    model = nn.Sequential(
        nn.Linear(64, args.hidden),
        nn.ReLU(),
        nn.Linear(args.hidden, 10),
    )
    print(model)

    # 3. Training. The trainer's seed decides the order of the rows in each epoch.
    optimizer = nn.optim.SGD(model.parameters(), lr=args.lr, momentum=args.momentum)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=args.seed)
    history = trainer.fit(
        X_train,
        y_train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_data=(X_test, y_test),
    )
    losses = history.history["loss"]
    print(f"training loss: {losses[0]:.3f} after the first epoch, {losses[-1]:.4f} after the last")

    # 4. How good is it on digits that it never saw?
    scores = trainer.evaluate(X_test, y_test)
    print(f"test loss {scores['loss']:.3f}, test accuracy {scores['accuracy']:.4f}")

    # 5. The mistake it is surest of.
    logits = model.predict(X_test)
    guess = logits.argmax(axis=1)
    wrong = np.flatnonzero(guess != y_test)
    print(f"{len(wrong)} of {len(y_test)} test digits are wrong")
    if len(wrong):
        worst = wrong[logits[wrong].max(axis=1).argmax()]
        print(f"a {y_test[worst]} taken for a {guess[worst]}:\n{picture(X_test[worst])}")


if __name__ == "__main__":
    main()
