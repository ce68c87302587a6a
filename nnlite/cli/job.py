"""The work of nnlite train: model, trainer, data, and the file they are kept in."""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import nnlite as nn

from ..checkpoint.save_load import restore
from ..data.table import CLASSIFY, Table
from .table_model import TableModel

SAVE_SECONDS = 2.0  # between two saves: a save waits for the disk
# name: (class in nnlite.optim, default learning rate, further arguments)
OPTIMIZERS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "adam": ("Adam", 1e-3, {}),
    "adamw": ("AdamW", 1e-3, {}),
    "nadam": ("NAdam", 2e-3, {}),
    "rmsprop": ("RMSprop", 1e-3, {}),
    "sgd": ("SGD", 0.01, {"momentum": 0.9}),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class _Split(NamedTuple):
    """Rows of features and targets to train on, and those held out (or none)."""

    X: np.ndarray
    y: np.ndarray
    X_held: np.ndarray
    y_held: np.ndarray


def _split(args: argparse.Namespace, table: Table) -> _Split:
    assert table.y is not None
    if not args.validation_split:
        return _Split(table.X, table.y, table.X[:0], table.y[:0])
    rows = np.arange(len(table.y))
    if not 0 < math.floor(len(rows) * args.validation_split + 0.5) < len(rows):
        raise ValueError(
            f"--validation-split: {args.validation_split:g} of {len(rows)} rows leaves a part "
            "without rows; give more rows, or --validation-split 0"
        )
    train, held, _, _ = nn.data.train_test_split(
        rows, table.y, args.validation_split, args.seed, table.schema.task == CLASSIFY
    )
    return _Split(table.X[train], table.y[train], table.X[held], table.y[held])


class Job:
    """Model, trainer and data of one command."""

    def __init__(self, args: argparse.Namespace, table: Table) -> None:
        assert table.y is not None
        self.args, self.table, self.rows = args, table, _split(args, table)
        classes = table.classes
        if classes is not None and len(classes) < 2:
            raise ValueError(
                f"{args.data}: column {table.schema.target!r} has one class, {classes[0]!r}; "
                "there is nothing to tell apart"
            )
        if classes is None and (table.y == table.y[0]).all():
            raise ValueError(
                f"{args.data}: column {table.schema.target!r} is {table.y[0]:g} in every row; "
                "there is nothing to learn"
            )
        features = nn.data.Standardizer().fit(self.rows.X)
        target = None
        if classes is None:
            target = nn.data.Standardizer().fit(self.rows.y.reshape(-1, 1))
        model = _model(args, len(table.features), len(classes) if classes else 1)
        self.made = TableModel(model, table.schema, features, target)
        name, rate, more = OPTIMIZERS[args.optimizer]
        optimizer = getattr(nn.optim, name)(
            model.parameters(), lr=args.lr or rate, weight_decay=args.weight_decay, **more
        )
        loss = nn.MSELoss() if classes is None else nn.SoftmaxCE()
        self.trainer = nn.Trainer(model, loss, optimizer, seed=args.seed)
        self.history = nn.History()
        self.epochs_done, self._saved = 0, time.perf_counter()
        self._data = _digest(table)

    # The file.

    def save(self, finished: bool) -> None:
        """Replaces the file by the model as it is now."""
        extra = self.made.extra() | {
            "settings": _settings(self.args),
            "data": self._data,
            "epochs": self.epochs_done,
            "finished": finished,
            "history": {k: v for k, v in self.history.items() if k != "seconds"},
        }
        nn.save(self.args.out, self.made.model, trainer=self.trainer, extra=extra)
        self._saved = time.perf_counter()

    def restore(self) -> bool:
        """Goes on from the file; True when it holds all that was asked for.

        Raises:
            ValueError: it is no file of this command, or of other settings or data.
        """
        path, model = self.args.out, self.made.model
        found = nn.load(path)
        TableModel.of(found.model, found.extra, path)
        extra: Mapping[str, Any] = found.extra
        if not _is_job(extra):
            raise ValueError(f"--resume: {path} does not tell how it was trained; train anew")
        wrong = [
            f"--{name.replace('_', '-')} was {extra['settings'].get(name)!r} and is {value!r}"
            for name, value in _settings(self.args).items()
            if extra["settings"].get(name) != value
        ]
        if wrong:
            raise ValueError(
                f"--resume: {path}: {'; '.join(wrong)}; give what it was, or train anew"
            )
        if extra["data"] != self._data:
            raise ValueError(
                f"--resume: {path} was trained on other rows than those of {self.args.data}"
            )
        self.epochs_done = int(extra["epochs"])
        if self.epochs_done > self.args.epochs:
            raise ValueError(
                f"--resume: {path} has {self.epochs_done} epochs already, got --epochs "
                f"{self.args.epochs}"
            )
        restore(path, model, self.trainer.optimizer, self.trainer)
        self.history = nn.History(extra["history"])
        stopped = extra["finished"] and self.args.early_stopping is not None
        return stopped or (extra["finished"] and self.epochs_done == self.args.epochs)

    # Training.

    def fit(self) -> None:
        """Trains and saves; after Ctrl-C too."""
        args, rows, made = self.args, self.rows, self.made
        held = None
        if len(rows.X_held):
            held = (made.inputs(rows.X_held), made.targets(rows.y_held))
        callbacks: list[Any] = []
        if args.early_stopping is not None:
            callbacks.append(nn.callbacks.EarlyStopping("val_loss", args.early_stopping))
        callbacks.append(self._epoch_end)
        try:
            self.history = self.trainer.fit(
                made.inputs(rows.X),
                made.targets(rows.y),
                args.epochs,
                args.batch_size,
                validation_data=held,
                callbacks=callbacks,
                resume=args.resume,
                verbose=0 if args.quiet else 1,
            )
        except FloatingPointError as error:
            raise ValueError(f"{error} (--lr {self.trainer.optimizer.lr:g})") from None
        except KeyboardInterrupt:
            self.save(finished=False)
            print(
                f"\nstopped after {self.epochs_done} epochs, saved in {args.out}; "
                "the same command with --resume goes on",
                file=sys.stderr,
            )
            raise
        self.history.pop("seconds", None)  # the same command gives the same bytes
        self.save(finished=True)

    def _epoch_end(self, trainer: Any, epoch: int, values: Mapping[str, Any]) -> None:
        self.epochs_done = epoch + 1
        self.history.append(**{k: v for k, v in values.items() if k != "seconds"})
        if time.perf_counter() - self._saved > SAVE_SECONDS:
            self.save(finished=False)


def _model(args: argparse.Namespace, features: int, outputs: int) -> nn.Sequential:
    """Linear layers with activations between, and dropout where it is wanted."""
    nn.manual_seed(args.seed)
    layers: list[nn.Module] = []
    for units in args.hidden:
        layers += [nn.Linear(features, units), ACTIVATIONS[args.activation]()]
        if args.dropout:
            layers.append(nn.Dropout(args.dropout))
        features = units
    return nn.Sequential(*layers, nn.Linear(features, outputs))


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The options that the weights depend on, beside the data and the epochs."""
    names = "hidden activation dropout batch_size optimizer weight_decay validation_split"
    rate = args.lr or OPTIMIZERS[args.optimizer][1]
    values = {name: getattr(args, name) for name in [*names.split(), "early_stopping", "seed"]}
    return values | {"lr": rate}


def _is_job(extra: Mapping[str, Any]) -> bool:
    """Whether a file's extra has what `Job.save` writes."""
    kinds = {"settings": dict, "data": str, "epochs": int, "finished": bool, "history": dict}
    return all(isinstance(extra.get(name), kind) for name, kind in kinds.items())


def _digest(table: Table) -> str:
    """SHA-256 of the numbers that are trained on, and of what they mean."""
    digest = hashlib.sha256(repr((table.features, table.classes)).encode())
    for array in (table.X, table.y):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
