"""What a fit trains on: rows, their weights, and rows held out; checked before the first step."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._core import check
from ..data import train_test_split
from ..data._source import ArraySource, source
from ..data.sparse import rows_at
from ..program.rows import Rows
from ._inputs import Inputs, class_weights
from ._losses import is_open


class Dataset:
    """The training data of one fit.

    Args:
        inputs: the checks of the model, loss and dtype.
        X, y: as `Trainer.fit` takes them.
        memory_budget: bytes for the rows of a file.

    Attributes:
        source: gives the epochs' chunks; see nnlite.data.source.
        classes: True when targets are class indices.
        weight: (rows,) weight of each row in RAM, or None.
        subset: numbers of the rows in RAM to train on, or None for all.
        held_out: rows that are measured, not trained on, or None.
    """

    def __init__(self, inputs: Inputs, X: Any, y: Any, memory_budget: int) -> None:
        self._inputs = inputs
        self.weight: np.ndarray | None = None
        self._sample_weight: np.ndarray | None = None
        self.subset: np.ndarray | None = None
        self.held_out: Rows | None = None
        self._class_weight: np.ndarray | None = None
        if y is None or isinstance(X, (str, os.PathLike)) or type(X) is np.memmap:
            self.source: Any = self._opened(X, y, memory_budget)
        else:
            rows = inputs.rows("fit", X, y)
            if len(rows.x) == 0:
                raise ValueError("fit: X has 0 rows; pass at least one")
            self.source = ArraySource(rows.x, rows.y)
        self._check_fits()

    @property
    def in_ram(self) -> bool:
        """True when all rows are arrays in RAM."""
        return isinstance(self.source, ArraySource)

    @property
    def rows(self) -> int | None:
        """Rows of an epoch, where that is known."""
        return self.source.rows if self.subset is None else len(self.subset)

    def _opened(self, X: Any, y: Any, memory_budget: int) -> Any:
        """A file's or an iterable's rows."""
        inputs, dtype = self._inputs, self._inputs.dtype
        if is_open(inputs.loss):
            return source(X, y, dtype, None, memory_budget)
        classes = inputs.loss.classifies
        if classes and inputs.loss.takes_probabilities:
            classes = getattr(y, "ndim", 1) != 2
        return source(X, y, dtype, check.INT64 if classes else dtype, memory_budget)

    def _check_fits(self) -> None:
        found, inputs = self.source, self._inputs
        if isinstance(found, ArraySource):
            self.classes = bool(found.y.dtype == check.INT64)
        else:
            self.classes = bool(found.target_dtype == check.INT64)
        if found.one_shot:
            return
        x = found.head(1)[0]
        output = inputs.example(x)
        if isinstance(found, ArraySource) and not self.classes:
            found.y = inputs.columns("fit", found.y, x)
        for first, targets in found.targets():
            rows = targets if self.classes else inputs.columns("fit", targets, x)
            inputs.check_targets("fit", rows, output, first)

    def hold_out(self, pair: Any, share: float, seed: int) -> None:
        """Takes validation data, or a share of the rows in RAM."""
        if not share:
            self.held_out = None if pair is None else self._pair(pair)
            return
        if pair is not None:
            raise ValueError("fit: pass validation_data or validation_split, not both")
        share = check.number("fit", "validation_split", share, 0, 1)
        found = self.source
        if share == 1 or not isinstance(found, ArraySource):
            raise ValueError(
                "fit: validation_split: expected a share below 1 of rows in RAM; for a file or "
                "batches pass validation_data"
            )
        numbers = np.arange(found.rows).reshape(-1, 1)
        train, held, _, _ = train_test_split(
            numbers, found.y, test_size=float(share), seed=seed, stratify=self.classes
        )
        self.take(train[:, 0], held[:, 0])

    def take(self, train: np.ndarray, held: np.ndarray | None) -> None:
        """Trains on these rows in RAM alone, and holds out those."""
        self.subset = train
        if held is not None:  # with the weights of rows, without those of classes
            weight = None if self._sample_weight is None else self._sample_weight[held]
            self.held_out = Rows(rows_at(self.source.X, held), self.source.y[held], weight)

    def _pair(self, pair: Any) -> Rows:
        operation = "fit: validation_data"
        if not isinstance(pair, (tuple, list)) or len(pair) not in (2, 3):
            raise TypeError(f"{operation}: expected a pair (X, y), got {check.describe(pair)}")
        rows = self._inputs.rows(operation, *pair)
        if len(rows.x) == 0:
            raise ValueError(f"{operation}: X has 0 rows; pass at least one")
        self._inputs.check_fits(operation, rows)
        return rows

    def weigh(self, sample_weight: Any, class_weight: Any) -> None:
        """Gives each row its weight: its own times that of its class."""
        found, in_ram = self.source, isinstance(self.source, ArraySource)
        if sample_weight is not None:
            if not in_ram:
                raise ValueError(
                    "fit: sample_weight: expected rows in RAM, got a file or batches; use "
                    "class_weight, or load the rows with np.load(path)"
                )
            self._sample_weight = self._inputs.weights("fit", sample_weight, found.rows)
            self.weight = self._sample_weight
            if not self._sample_weight.any():
                raise ValueError("fit: sample_weight: every row weighs 0: nothing to learn from")
        if class_weight is not None:
            self._inputs.require_weighing("fit", "class_weight")
            if not self.classes:
                raise ValueError("fit: class_weight: expected class indices as targets")
            classes = self._inputs.example(found.head(1)[0]).shape[-1]
            table = class_weights(class_weight, found.targets(), classes)
            self._class_weight = table.astype(self._inputs.dtype)
            if in_ram:
                self.weight = self.weighted(Rows(found.X, found.y, self.weight)).weight

    def weighted(self, rows: Rows) -> Rows:
        """Rows from a file or an iterable: numbers as rows, classes with their weights."""
        if rows.y.dtype != check.INT64:
            rows = rows._replace(y=self._inputs.columns("fit", rows.y, rows.x))
        table = self._class_weight
        if table is None:
            return rows
        of_class = table[np.clip(rows.y, 0, len(table) - 1)]
        return rows._replace(weight=of_class if rows.weight is None else rows.weight * of_class)
