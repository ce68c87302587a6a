"""A table from its file to predictions, in Python: what nnlite train and nnlite predict do.

Columns of text become one feature for each text, features are standardised by the training rows,
and all that a later table needs lies in the model's file.

Run: python examples/table.py                 (makes a small table of its own)
     python examples/table.py DATA.csv --target COLUMN

The same from the command line:
     nnlite train DATA.csv --target COLUMN --hidden 32 --epochs 40 --out model.safetensors
     nnlite predict model.safetensors NEW.csv --out predictions.csv
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

import nnlite as nn


def write_fruits(path: Path, rows: int = 300) -> None:
    """A table of fruits: colour, weight in grams, length in cm, and the kind."""
    kinds = {"lemon": ("yellow", 100, 8), "banana": ("yellow", 120, 19), "apple": ("red", 160, 7)}
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["colour", "weight", "length", "kind"])
        for kind in rng.choice(list(kinds), rows):
            colour, weight, length = kinds[kind]
            colour = colour if rng.random() < 0.9 else "green"
            sizes = rng.normal((weight, length), (15, 1.5)).round(1)
            table.writerow([colour, *sizes, kind])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train on a table and predict.")
    parser.add_argument("data", nargs="?", type=Path, help=".csv, .npz or .npy; default: fruits")
    parser.add_argument("--target", default="kind", help="the column to predict")
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.data is None:
            args.data = folder / "fruits.csv"
            write_fruits(args.data)

        # 1. The table: texts are encoded, and the target decides between classes and values.
        table = nn.data.load_table(args.data, target=args.target, task="classify")
        print(f"{len(table.X)} rows, features {', '.join(table.features)}")
        X_train, X_test, y_train, y_test = nn.data.train_test_split(table.X, table.y)

        # 2. Features of mean 0 and standard deviation 1, as the training rows have them.
        scale = nn.data.Standardizer().fit(X_train)

        # 3. The network and its training.
        nn.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(len(table.features), 32),
            nn.ReLU(),
            nn.Linear(32, len(table.classes)),
        )
        optimizer = nn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
        trainer.fit(scale.transform(X_train), y_train, args.epochs, 32)
        accuracy = trainer.evaluate(scale.transform(X_test), y_test)["accuracy"]
        print(f"test accuracy {accuracy:.4f}")

        # 4. One file with the model and all that another table needs.
        saved = {"schema": table.schema.state_dict(), "scale": scale.state_dict()}
        nn.save(folder / "model.safetensors", model, extra=saved)

        # 5. Elsewhere: load it, read a table with the same columns, predict.
        loaded = nn.load(folder / "model.safetensors")
        schema = nn.data.Schema.of(loaded.extra["schema"])
        scale = nn.data.Standardizer().load_state_dict(loaded.extra["scale"])
        X, _ = schema.read(args.data)
        probability = nn.functional.softmax(
            loaded.model.predict(scale.transform(X).astype(np.float32))
        )
        for i in range(3):
            best = probability[i].argmax()
            print(f"row {i}: {schema.classes[best]} ({probability[i, best]:.2f})")


if __name__ == "__main__":
    main()
