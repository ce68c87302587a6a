"""Three spiral arms: what a linear classifier cannot separate, one hidden layer can.

Both networks minimise the softmax cross-entropy by gradient descent. The linear one,
softmax(x W + b), cuts the plane by straight lines. The two-layer one,
softmax(relu(x W1 + b1) W2 + b2), bends them.

Run: python examples/spiral.py --plot spiral.png
"""

from __future__ import annotations

import argparse

import numpy as np

import nnlite as nn

CLASSES = 3


def make_spiral(points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`points` rows of each class: radius 0 to 1, an angle that turns by 4, noise of 0.2."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for arm in range(CLASSES):
        radius = np.linspace(0, 1, points)
        angle = np.linspace(4 * arm, 4 * (arm + 1), points) + 0.2 * rng.standard_normal(points)
        X.append(np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]))
        y.append(np.full(points, arm))
    return np.concatenate(X).astype(np.float32), np.concatenate(y)


def make_model(hidden: int, seed: int) -> nn.Sequential:
    """A linear classifier for `hidden` = 0, else a two-layer network; small random weights."""
    if hidden == 0:
        model = nn.Sequential(nn.Linear(2, CLASSES))
    else:
        model = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        if parameter.data.ndim == 2:
            parameter.data[...] = 0.01 * rng.standard_normal(parameter.shape)
        else:
            parameter.data[...] = 0
    return model


def train(hidden: int, X: np.ndarray, y: np.ndarray, args: argparse.Namespace) -> nn.Sequential:
    model = make_model(hidden, args.seed)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.5, weight_decay=1e-3)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=args.seed)
    trainer.fit(X, y, epochs=args.epochs, batch_size=100, verbose=0)
    scores = trainer.evaluate(X, y)
    name = f"two-layer, {hidden} hidden" if hidden else "linear"
    print(f"{name:22} loss {scores['loss']:.3f}   accuracy {scores['accuracy']:.3f}")
    return model


def draw(models: dict[str, nn.Sequential], X: np.ndarray, y: np.ndarray, file: str) -> None:
    """The points over the class that each model gives every place of the plane."""
    import matplotlib

    matplotlib.use("Agg")  # writes files, needs no screen
    from matplotlib import pyplot as plt

    axis = np.linspace(-1.3, 1.3, 300, dtype=np.float32)
    plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    figure, panels = plt.subplots(1, len(models), figsize=(10, 5), layout="constrained")
    for panel, (name, model) in zip(panels, models.items(), strict=True):
        classes = model.predict(plane).argmax(axis=1).reshape(len(axis), len(axis))
        levels = np.arange(CLASSES + 1) - 0.5
        panel.contourf(axis, axis, classes, levels=levels, cmap="viridis", alpha=0.35)
        panel.scatter(X[:, 0], X[:, 1], c=y, s=18, cmap="viridis", edgecolors="black")
        accuracy = np.mean(model.predict(X).argmax(axis=1) == y)
        panel.set(title=f"{name}: {accuracy:.1%} right", aspect="equal", xlabel="x0", ylabel="x1")
    figure.savefig(file, dpi=100)
    plt.close(figure)
    print(f"wrote {file}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Linear against two-layer on three spirals.")
    parser.add_argument("--epochs", type=int, default=1200)
    parser.add_argument("--hidden", type=int, default=100, help="hidden units (default 100)")
    parser.add_argument("--points", type=int, default=100, help="points of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="FILE", help="draw the boundaries (needs matplotlib)")
    args = parser.parse_args(argv)

    X, y = make_spiral(args.points, args.seed)
    models = {
        "linear": train(0, X, y, args),
        "two-layer": train(args.hidden, X, y, args),
    }
    if args.plot:
        draw(models, X, y, args.plot)


if __name__ == "__main__":
    main()
