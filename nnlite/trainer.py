"""The training loop: batches in a reproducible order, loss, gradients, optimiser, history."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import _check, _native
from ._config import check_seed
from .history import History
from .nn.losses import Loss
from .nn.module import PREDICT_ROWS, Module, converted, rows_of
from .optim import Optimizer


class Trainer:
    """Trains a model: forward, loss, backward, optimiser, batch after batch.

    Data are converted here, once and explicitly, to what the kernels take: X to C-contiguous rows
    in the model's dtype; class indices of any integer dtype to int64. The order of the samples is a
    pure function of (seed, epoch), so the same seed and data give the same weights, bit for bit,
    with any number of threads on any machine. A last, smaller batch counts with its own size.

    Args:
        model: the Module to train; it stays in its mode between calls.
        loss: SoftmaxCE, NLLLoss, MSELoss or another Loss.
        optimizer: an optimiser over the model's parameters.
        seed: seed of the order of the samples, 0 <= seed < 2^64.

    Raises:
        TypeError, ValueError: an argument is of another kind or out of range.
    """

    def __init__(self, model: Module, loss: Loss, optimizer: Optimizer, seed: int = 0) -> None:
        for name, value, kind in (
            ("model", model, Module),
            ("loss", loss, Loss),
            ("optimizer", optimizer, Optimizer),
        ):
            if not isinstance(value, kind):
                made = (
                    f"; pass {value.__name__}(...), not the class"
                    if isinstance(value, type)
                    else ""
                )
                raise TypeError(
                    f"Trainer: {name}: expected {kind.__name__}, got {_check.describe(value)}{made}"
                )
        own = {id(p) for p in model.parameters()}
        if not any(id(p) in own for p in optimizer.parameters):
            raise ValueError(
                "Trainer: optimizer: none of its parameters belongs to the model; "
                "make it from model.parameters()"
            )
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.seed = check_seed("Trainer", "seed", seed)
        self.epoch = 0  # epochs begun by all calls of fit; each has its own order

    # Entrances: the data become what the kernels take.

    def _inputs(self, operation: str, X: Any) -> np.ndarray:
        found = rows_of(operation, "X", X)
        dtype = self.optimizer.dtype
        if found.dtype == dtype and found.flags.c_contiguous and found.dtype.isnative:
            return found  # also a memory map or read-only: only its rows are copied
        return converted(found, dtype)

    def _targets(self, operation: str, y: Any, rows: int) -> np.ndarray:
        found = np.asarray(y)
        if found.dtype.kind not in "fiub":
            raise TypeError(
                f"{operation}: y: expected numbers, got an array of {found.dtype}; encode classes "
                "as integers, for example with np.unique(y, return_inverse=True)[1]"
            )
        if found.ndim == 0 or len(found) != rows:
            raise ValueError(
                f"{operation}: y has {len(found) if found.ndim else 'no'} rows, X has {rows}; "
                "pass one target for each row"
            )
        probabilities = self.loss.takes_probabilities and found.ndim == 2
        if not self.loss.classifies or (probabilities and found.dtype.kind == "f"):
            return converted(found, self.optimizer.dtype)
        if found.dtype.kind == "f":
            bad = found[~np.isfinite(found)]
            also = f", and it holds {bad.flat[0]}" if bad.size else ""
            raise TypeError(
                f"{operation}: y: expected class indices as integers, got {found.dtype}{also}; "
                "check the values and convert with y.astype(np.int64)"
            )
        if found.ndim != 1:
            raise ValueError(
                f"{operation}: y: expected shape ({rows},), one class for each row, "
                f"got {found.shape}"
            )
        if found.dtype.kind == "u" and found.size and found.max() > np.iinfo(np.int64).max:
            raise IndexError(
                f"{operation}: y: row {int(found.argmax())} holds {found.max()}, not a class"
            )
        return converted(found, _check.INT64)

    def _pair(self, operation: str, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        inputs = self._inputs(operation, X)
        return inputs, self._targets(operation, y, len(inputs))

    # Steps.

    def train_step(self, x: Any, y: Any) -> float:
        """One step on one batch; returns its loss before the update.

        Args:
            x: (N, features), N at least 1.
            y: (N,) class indices, or targets of the output's shape.

        Raises:
            TypeError, ValueError, IndexError: bad data; no parameter has changed.
        """
        inputs, targets = self._pair("train_step", x, y)
        if len(inputs) == 0:
            raise ValueError("train_step: x has 0 rows; pass at least one")
        return self._step(converted(inputs, self.optimizer.dtype), targets)[0]

    def _step(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """(loss, output) of one step; the model may be in any mode."""
        model = self.model
        if model._forwards:
            model.forget()
        output = model._call(x, True)
        try:
            loss = self.loss.forward(output, y)
            self.optimizer.zero_grad()
            model._backward_from_loss(self.loss.backward())
        except BaseException:  # also Ctrl-C
            model.forget()
            raise
        self.optimizer.step()
        return loss, output

    def fit(
        self,
        X: Any,
        y: Any,
        epochs: int,
        batch_size: int,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        verbose: int = 1,
    ) -> History:
        """Trains for some epochs; a further call goes on with the next epoch's order.

        Args:
            X: rows of numbers; anything but C-contiguous arrays of the model's dtype is converted.
            y: (rows,) class indices, or targets of the output's shape.
            epochs: passes over the data, at least 1.
            batch_size: rows of one step, at least 1; the last batch of an epoch may have fewer.
            validation_data: (X, y) to evaluate after each epoch.
            shuffle: a new order in each epoch, from (seed, epoch); else the given order.
            verbose: 1 shows a progress bar, 0 nothing.

        Returns:
            History with one entry for each epoch.

        Raises:
            TypeError, ValueError, IndexError: bad data. Targets are checked before the first step.
        """
        epochs = _check.size("fit", "epochs", epochs)
        batch_size = _check.size("fit", "batch_size", batch_size)
        inputs, targets = self._pair("fit", X, y)
        if len(inputs) == 0:
            raise ValueError("fit: X has 0 rows; pass at least one")
        held_out = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
                raise TypeError("fit: validation_data: expected a pair (X, y)")
            held_out = self._pair("fit: validation_data", *validation_data)
        self._check_data("fit", inputs, targets)
        if held_out is not None:
            if len(held_out[0]) == 0:
                raise ValueError("fit: validation_data: X has 0 rows; pass at least one")
            self._check_data("fit: validation_data", *held_out)
        history = History()
        with _Progress(epochs, enabled=bool(verbose)) as progress:
            for _ in range(epochs):
                start = time.perf_counter()
                values = self._epoch(inputs, targets, batch_size, shuffle)
                if held_out is not None:
                    measured = self._evaluate(*held_out)
                    values |= {f"val_{name}": value for name, value in measured.items()}
                history.append(**values, seconds=time.perf_counter() - start)
                progress.show(values)
        return history

    def _check_data(self, operation: str, inputs: np.ndarray, targets: np.ndarray) -> None:
        """Runs one row, so that what does not fit is refused before the first step."""
        row = converted(inputs[:1], self.optimizer.dtype)
        output = self.model._call(row, False)
        if targets.dtype != _check.INT64:
            if targets.shape[1:] != output.shape[1:]:
                raise ValueError(
                    f"{operation}: y: expected rows of shape {output.shape[1:]} like the model's "
                    f"output, got {targets.shape[1:]}"
                    + ("; use y.reshape(-1, 1)" if targets.ndim == 1 and output.ndim == 2 else "")
                )
            return
        classes = output.shape[-1]
        wrong = np.flatnonzero((targets < 0) | (targets >= classes))
        if wrong.size:
            raise IndexError(
                f"{operation}: y: row {wrong[0]} holds {targets[wrong[0]]}, expected a class in "
                f"0..{classes - 1}; the model has {classes} outputs"
            )

    def _batches(
        self, inputs: np.ndarray, targets: np.ndarray, batch_size: int, order: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of an epoch; the arrays given are filled anew for each."""
        rows, dtype = len(inputs), self.optimizer.dtype
        if order is None:
            for i in range(0, rows, batch_size):
                part = slice(i, i + batch_size)
                yield converted(inputs[part], dtype), converted(targets[part], targets.dtype)
            return
        size = min(batch_size, rows)
        x = np.empty((size, *inputs.shape[1:]), dtype)
        y = np.empty((size, *targets.shape[1:]), targets.dtype)
        width = inputs.size // rows
        gather, bad = _native.KERNELS[dtype].gather_rows, _native.cell("int64_t")
        source, to, indices = (_native.pointer(array) for array in (inputs, x, order))
        for i in range(0, rows, size):
            count = min(size, rows - i)
            _native.check(gather(count, width, rows, source, indices + i, to, bad), "fit")
            np.take(targets, order[i : i + count], axis=0, out=y[:count], mode="clip")
            yield (x, y) if count == size else (x[:count], y[:count])

    def _epoch(
        self, inputs: np.ndarray, targets: np.ndarray, batch_size: int, shuffle: bool
    ) -> dict[str, float]:
        from .data import permutation

        rows = len(inputs)
        order = permutation(rows, self.seed, self.epoch) if shuffle else None
        self.epoch += 1
        total, correct, classes = 0.0, 0, targets.dtype == _check.INT64
        for x, y in self._batches(inputs, targets, batch_size, order):
            loss, output = self._step(x, y)
            total += loss * (len(x) if self.loss.reduction == "mean" else 1)
            if classes:
                correct += int(np.count_nonzero(output.argmax(axis=1) == y))
        values = {"loss": total / rows if self.loss.reduction == "mean" else total}
        return values | ({"accuracy": correct / rows} if classes else {})

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        """Loss, and with class targets accuracy, over all rows; changes nothing.

        Raises:
            TypeError, ValueError, IndexError: bad data, or 0 rows.
        """
        return self._evaluate(*self._pair("evaluate", X, y))

    def _evaluate(self, inputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        rows, dtype = len(inputs), self.optimizer.dtype
        if rows == 0:
            raise ValueError("evaluate: X has 0 rows; the mean loss of 0 rows does not exist")
        self._check_data("evaluate", inputs, targets)
        total, correct, classes = 0.0, 0, targets.dtype == _check.INT64
        for i in range(0, rows, PREDICT_ROWS):
            y = converted(targets[i : i + PREDICT_ROWS], targets.dtype)
            output = self.model._call(converted(inputs[i : i + PREDICT_ROWS], dtype), False)
            loss = self.loss.evaluate(output, y)
            total += loss * (len(y) if self.loss.reduction == "mean" else 1)
            if classes:
                correct += int(np.count_nonzero(output.argmax(axis=1) == y))
        values = {"loss": total / rows if self.loss.reduction == "mean" else total}
        return values | ({"accuracy": correct / rows} if classes else {})


class _Progress:
    """A tqdm bar over epochs, or nothing; tqdm is imported only when a bar is shown."""

    def __init__(self, epochs: int, enabled: bool) -> None:
        self._bar: Any = None
        if enabled:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=epochs, unit="epoch")

    def show(self, values: dict[str, float]) -> None:
        """Adds one epoch with its figures."""
        if self._bar is not None:
            figures = {name: f"{value:.4f}" for name, value in values.items()}
            self._bar.set_postfix(figures, refresh=False)  # update() draws, not too often
            self._bar.update()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
