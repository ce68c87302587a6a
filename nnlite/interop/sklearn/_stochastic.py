"""A fit of scikit-learn's perceptron by one of its stochastic solvers: epochs in C.

Epochs run in slices of C calls, so that Ctrl-C is answered. The order of the rows, the share that
is held out and the initial weights come from the estimator's random state in scikit-learn's own
way: the weights are those that scikit-learn computes, but for rounding.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from ..._core import native
from ...data.sparse import SparseRows, is_sparse, rows_at
from ...nn.module import converted
from ...program.rows import Rows, Sums
from ...train import _side_by_side as side_by_side
from ...train._interrupts import Interrupts
from ._network import Network
from ._solver import Solver

SLICE_SECONDS = 0.05
ORDER_NUMBERS = 1 << 21  # of rows, in the orders of one slice
FOREVER = 1 << 62  # epochs


class Data:
    """The rows of a fit as C takes them, and those that are held out.

    Args:
        estimator: with early_stopping it holds rows out; None: nothing is held out.
        X: rows, dense or sparse. y: (rows, outputs), as the estimator's binarizer gives classes.
    """

    def __init__(self, estimator: Any, network: Network, X: Any, y: Any, weight: Any) -> None:
        dtype = network.dtype
        x: Any = SparseRows("fit", X, dtype) if is_sparse(X) else converted(X, dtype)
        self.classes = network.out_activation == "softmax"
        y = y.toarray() if is_sparse(y) else np.asarray(y)
        target = y.argmax(axis=1) if self.classes else converted(y, dtype)
        self.rows = Rows(x, target, None if weight is None else converted(weight, dtype))
        self.train: np.ndarray | None = None  # numbers of the rows that are trained on; None: all
        self.held: Rows | None = None
        self._scored: tuple[Any, ...] = ()
        if estimator is not None and estimator.early_stopping:
            self._hold_out(estimator, X, y, weight)

    def _hold_out(self, estimator: Any, X: Any, y: np.ndarray, weight: Any) -> None:
        stratify = y if is_classifier(estimator) and y.shape[1] == 1 else None
        self.train, held = train_test_split(
            np.arange(len(y)), random_state=estimator._random_state,
            test_size=estimator.validation_fraction, stratify=stratify,
        )  # fmt: skip
        if len(held) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        x, target, own = self.rows
        self.held = Rows(rows_at(x, held), target[held], None if own is None else own[held])
        y_held = y[held]
        if is_classifier(estimator):
            y_held = estimator._label_binarizer.inverse_transform(y_held)
        self._scored = X[held], y_held, None if weight is None else weight[held]

    def score(self, estimator: Any) -> float:
        """scikit-learn's own score on the rows held out."""
        X, y, weight = self._scored
        return float(estimator._score(X, y, sample_weight=weight))

    @property
    def count(self) -> int:
        """Rows to train on."""
        return len(self.rows.x) if self.train is None else len(self.train)


class Orders:
    """The orders of the rows, epoch after epoch, as scikit-learn's shuffle gives them."""

    def __init__(self, random: np.random.RandomState, count: int) -> None:
        self._random = random
        self._last = np.arange(count)

    def take(self, epochs: int) -> np.ndarray:
        """The next ones: (epochs, rows)."""
        self._before = self._random.get_state(), self._last
        found = np.empty((epochs, len(self._last)), np.int64)
        for order in found:
            index = np.arange(len(order))
            self._random.shuffle(index)
            order[...] = self._last = self._last[index]
        return found

    def give_back(self, used: int) -> None:
        """Goes back to where the random state was after so many of those taken last."""
        state, self._last = self._before
        self._random.set_state(state)
        for _ in range(used):
            self._last = self.take(1)[0]


class Figure:
    """What C watches to end a run of epochs, and how the estimator gets the same number.

    Attributes:
        kind: of nnl_figure; 0 where C has no such figure, and the estimator scores.
        offset, factor: of the mean loss.
    """

    def __init__(self, estimator: Any, network: Network, data: Data, outputs: int) -> None:
        self.offset, self.factor = 0.0, 1.0
        self.kind = native.FIGURE_LOSS
        if data.held is None:
            self.factor = 1 / outputs if network.out_activation == "identity" else 1.0
        elif is_classifier(estimator):
            self.kind = 0 if data.held.weight is not None else native.FIGURE_ACCURACY
        else:
            self._r2(network, data.held)

    def _r2(self, network: Network, held: Rows) -> None:
        """R^2 = 1 - sum of squares / (variance x rows), of one output."""
        y = held.y[:, 0].astype(np.float64)
        mean = np.average(y, weights=held.weight)
        variance = float(np.average((y - mean) ** 2, weights=held.weight))
        if held.y.shape[1] != 1 or network.out_activation != "identity" or variance == 0:
            self.kind = 0
        self.offset, self.factor = 1.0, -2 / variance if variance else 0.0

    def of(self, sums: Sums) -> float:
        """The figure of an epoch."""
        if self.kind == native.FIGURE_ACCURACY:
            return sums.correct / sums.counted
        loss = sums.loss / sums.weight
        return self.offset + self.factor * loss if math.isfinite(loss) else math.nan


class Stochastic:
    """One fit, or one epoch of partial_fit.

    Args:
        estimator: its fitted attributes are changed as scikit-learn's fit changes them.
    """

    def __init__(
        self, estimator: Any, network: Network, solver: Solver, data: Data, incremental: bool
    ) -> None:
        self.estimator, self.network, self.solver, self.data = estimator, network, solver, data
        self.incremental = incremental
        self.scores = data.held is not None
        self.outputs = 1 if data.classes else data.rows.y.shape[1]
        self.batch = _batch_size(estimator.batch_size, data.count)
        self.optimizer = solver.optimizer(network)
        self.program = network.program(self.optimizer, data.rows, self.batch)
        self.figure = Figure(estimator, network, data, self.outputs)
        self.orders = Orders(estimator._random_state, data.count) if estimator.shuffle else None
        self.share = 1 / self.outputs if network.out_activation == "identity" else 1.0

    def run(self) -> None:
        """Trains until the rule of the estimator, or max_iter, ends it."""
        e = self.estimator
        e.n_iter_ = 0
        try:
            with Interrupts() as interrupts:
                while e.n_iter_ < e.max_iter:
                    if self._slice(interrupts) or self.incremental:
                        break
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        if self.scores and self._best is not None:
            self._restore()

    # C.

    _epochs = 1  # of the next slice
    _best: np.ndarray | None = None
    stopping: Any = None

    def _slice(self, interrupts: Interrupts) -> bool:
        """Some epochs; whether they were the last ones."""
        e, program = self.estimator, self.program
        single = self.incremental or self.solver.changes_each_epoch or not self.figure.kind
        count = 1 if single else min(self._epochs, e.max_iter - e.n_iter_)
        count = max(1, min(count, ORDER_NUMBERS // self.data.count))
        orders = None if self.orders is None else self.orders.take(count)
        program.bind(self.data.rows, orders, subset=self.data.train)
        program.hold_out(self.data.held if self.figure.kind else None)
        batches = -(-self.data.count // self.batch)
        program.prepare(0, 0, count * batches, count + 1, Sums())
        self._set_rule(single)
        start = side_by_side.clock()
        interrupts.answer()
        with interrupts.stoppable():
            status = program.run_prepared()
        seconds = side_by_side.clock() - start
        ended = program.ended(0)
        self._epochs = max(1, min(2 * count, int(SLICE_SECONDS * count / max(seconds, 1e-7))))
        if self.orders is not None and len(ended) < count:
            self.orders.give_back(len(ended))
        for sums, held in ended:
            if self._end_epoch(sums, held):
                return True
        if status == native.EFINITE:
            return self._diverged()
        program.require(0 if status == native.EINTR else status)
        native.raise_kept()
        return False

    def _set_rule(self, single: bool) -> None:
        """Tells C of the penalty, and when to end."""
        e, t = self.estimator, self.program.training
        parts = self.optimizer._segments
        t.by_rows, t.binary = 1, self.network.out_activation == "logistic"
        t.penalties, t.penalty_factor = native.NULL, 1 / self.share
        if e.alpha > 0:
            self._penalties = np.array([part.group[0] for part in parts], np.float64)
            t.penalties = native.pointer(self._penalties)
        t.stopping = native.NULL
        if self.scores and self._best is None:
            self._best = np.concatenate([part.data for part in parts])
        if single:
            return
        s = self.stopping = native.struct("stopping")
        s.figure, s.held_out, s.larger, s.lenient = self.figure.kind, self.scores, self.scores, 1
        s.offset, s.factor, s.min_delta = self.figure.offset, self.figure.factor, e.tol
        s.best = e.best_validation_score_ if self.scores else e.best_loss_
        s.patience = FOREVER if e.n_iter_no_change == np.inf else e.n_iter_no_change
        s.wait, s.epoch = e._no_improvement_count, -1
        if self._best is not None:
            s.best_weights = native.pointer(self._best)
        t.stopping = s

    def _keep(self) -> None:
        """Takes the weights as the best ones; in a slice of several epochs C has done so."""
        if self._best is not None and self.program.training.stopping == native.NULL:
            self._best = np.concatenate([part.data for part in self.optimizer._segments])

    def _restore(self) -> None:
        begin = 0
        for part in self.optimizer._segments:
            part.data[...] = self._best[begin : begin + part.count]  # type: ignore[index]
            begin += part.count

    def _diverged(self) -> bool:
        """All epochs that are left, whose losses and weights are NaN."""
        e = self.estimator
        for parameter in self.network.model.parameters():
            parameter.data[...] = np.nan
        score = self.data.score(e) if self.scores else None
        while e.n_iter_ < e.max_iter:
            if self._count(math.nan, score) or self.incremental:
                break
        return True

    # The estimator.

    def _end_epoch(self, sums: Sums, held: Sums | None) -> bool:
        loss = sums.loss / sums.weight * self.share
        score = None
        if self.scores:
            score = self.data.score(self.estimator) if held is None else self.figure.of(held)
        return self._count(loss, score)

    def _count(self, loss: float, score: float | None) -> bool:
        """Takes an epoch's figures over; whether it was the last one."""
        e = self.estimator
        e.n_iter_ += 1
        e.loss_ = loss
        e.t_ += self.data.count
        e.loss_curve_.append(loss)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
        self._compare(loss, score)
        self.solver.end_epoch(e.t_)
        if e._no_improvement_count > e.n_iter_no_change:
            what = "Validation score" if self.scores else "Training loss"
            message = (
                f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
                "consecutive epochs."
            )
            if self.solver.stops(message, e.verbose):
                return True
            e._no_improvement_count = 0
        if e.n_iter_ == e.max_iter and not self.incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=8,
            )
        return False

    def _compare(self, loss: float, score: float | None) -> None:
        """The figure of the epoch against the best one; NaN is no failure."""
        e = self.estimator
        if score is None:
            fails = loss > e.best_loss_ - e.tol
            if loss < e.best_loss_:
                e.best_loss_ = loss
        else:
            e.validation_scores_.append(score)
            if e.verbose:
                print(f"Validation score: {score:f}")
            fails = score < e.best_validation_score_ + e.tol
            if score > e.best_validation_score_:
                e.best_validation_score_ = score
                self._keep()
        e._no_improvement_count = e._no_improvement_count + 1 if fails else 0


def _batch_size(value: Any, rows: int) -> int:
    if value == "auto":
        return min(200, rows)
    if value > rows:
        warnings.warn(
            f"Got `batch_size`={value} larger than the sample size {rows}. It is going to be "
            "clipped.",
            stacklevel=8,
        )
    return int(np.clip(value, 1, rows))
