"""Training by calling the modules one by one: the definition that the C program must equal."""

from __future__ import annotations

import math

import numpy as np

from .._core import check, native
from ..nn._steps import has_tensor_forward
from ..nn.dropout import Dropout
from ..nn.losses import Loss
from ..nn.module import Module, converted, shares_parameters
from ..optim import Optimizer
from ..program.rows import NotFiniteError, Rows, Sums, class_counts, ignored
from . import _losses


@native.in_standard_mode
def train_batch(
    model: Module, loss: Loss, optimizer: Optimizer, rows: Rows, batch: int = 0
) -> tuple[float, float, np.ndarray]:
    """One step on one batch: (loss, weight of its rows, output). The model may be in any mode.

    Raises:
        NotFiniteError: the loss is not finite; the gradients are there, no weight has changed.
    """
    if model._forwards:
        model.forget()
    way = model.forward if type(model).forward is not Module.forward else model._formula
    if has_tensor_forward(model) or shares_parameters(model):  # by one graph
        output = model._step(rows.x, way, want_input=False)
    else:
        output = model._call(rows.x, True)
    try:
        value, weight, gradient = _losses.forward(loss, output, rows)
        optimizer.zero_grad()
        # Without weight no row counts, but for smoothed targets of classes that weigh 0, in a sum.
        counts = weight != 0 or (loss.reduction == "sum" and value != 0)
        if counts:
            model._backward_from_loss(gradient())
    except BaseException:  # also Ctrl-C
        model.forget()
        raise
    if not counts:
        model.forget()
        return 0.0, 0.0, output
    if not math.isfinite(value):
        raise NotFiniteError(value, batch)
    optimizer.step()
    return value, weight, output


def count_correct(output: np.ndarray, target: np.ndarray, ignored: int) -> int:
    """Rows whose first maximum is the target."""
    if output.ndim != 2 or target.shape != (len(output),):
        raise ValueError(
            f"accuracy: the model's output has shape {output.shape}, the targets {target.shape}; "
            "expected (rows, classes) and (rows,)"
        )
    cell = native.cell("int64_t")
    status = native.KERNELS[output.dtype].count_correct(
        *output.shape, native.pointer(output), native.pointer(target), ignored, cell
    )
    native.check(status, "count_correct")
    return int(cell[0])


def add_batch(
    sums: Sums, loss: Loss, value: float, weight: float, output: np.ndarray, target: np.ndarray
) -> None:
    """Adds a batch's loss and right rows to the sums."""
    sums.add(value, weight, loss.reduction == "mean")
    if target.dtype == check.INT64:
        sums.correct += count_correct(output, target, ignored(loss))
        sums.counted += class_counts(target, ignored(loss))


class Eager:
    """Runs the batches of some rows by the modules."""

    def __init__(self, model: Module, loss: Loss, optimizer: Optimizer, batch: int) -> None:
        self.model, self.loss, self.optimizer, self.batch = model, loss, optimizer, batch
        self._random = [module for module in model.modules() if isinstance(module, Dropout)]
        self.done = 0  # batches of the last run

    def run(
        self,
        rows: Rows,
        order: np.ndarray | None,
        first: int,
        count: int,
        sums: Sums,
        rates: np.ndarray | None = None,
        outputs: np.ndarray | None = None,
    ) -> None:
        """Trains on `count` batches from number `first` on, in that order, or as the rows lie.

        Args:
            sums: what the batches are added to.
            rates: (count,) the learning rate of each batch, or None.
            outputs: filled with the output of every row, in the order of training, or None.

        Raises:
            NotFiniteError: the loss of a batch is not finite; the batches before it are done.
        """
        total = len(rows.x) if order is None else len(order)
        self.done = 0
        for batch in range(first, first + count):
            begin = batch * self.batch
            end = min(begin + self.batch, total)
            taken = self._take(rows, order, begin, end)
            if rates is not None:
                self.optimizer._set_rate(float(rates[batch - first]))
            value, weight, output = self._train(taken, batch)
            add_batch(sums, self.loss, value, weight, output, taken.y)
            if outputs is not None:
                outputs[begin:end] = output
            self.done += 1

    def _train(self, rows: Rows, batch: int) -> tuple[float, float, np.ndarray]:
        """One step; one that is stopped has drawn no mask."""
        steps = [module.step for module in self._random]
        try:
            return train_batch(self.model, self.loss, self.optimizer, rows, batch)
        except KeyboardInterrupt:
            for module, step in zip(self._random, steps, strict=True):
                module.step = step
            raise

    def _take(self, rows: Rows, order: np.ndarray | None, begin: int, end: int) -> Rows:
        dtype = self.optimizer.dtype
        if order is None:
            part = rows.part(begin, end)
            return Rows(converted(part.x, dtype), converted(part.y, part.y.dtype), part.weight)
        return rows.at(order[begin:end])
