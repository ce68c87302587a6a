"""A grid search whose candidates and folds train side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import joblib
import numpy as np
from joblib.parallel import ParallelBackendBase, SequentialBackend
from sklearn.model_selection import GridSearchCV

from ..._core.config import _State, available_cores
from ...train import _side_by_side as side_by_side

MOST_FITS = 128  # at once
ROW_BYTES = 1 << 28  # of their copies of the rows


class GridSearch(GridSearchCV):
    """scikit-learn's GridSearchCV, whose fits train side by side.

    The networks of all candidates and folds train in one call of C, each thread with whole
    networks, as in fit_many; what else the fits do runs in turn. Results, weights, warnings and
    errors are those of GridSearchCV, to the same bits, as long as the estimator has a random_state
    (with None the fits draw from one random state in another order). Estimators of other libraries
    are fitted one after the other.

    Args:
        estimator: nnlite's, or any other; also a Pipeline with one.
        grid: dict of lists of values by the parameters' names, or a list of such dicts.
        cv: number of folds, a splitter, or pairs of numbers of rows; None: 5 folds.
        n_jobs: threads that train; None: nnlite.get_num_threads(); -1: all cores. Results do not
            depend on it.
        scoring, refit, verbose, error_score, return_train_score: GridSearchCV's.

    Attributes:
        cv_results_, best_estimator_, best_params_, best_score_, best_index_, scorer_, n_splits_,
        refit_time_, multimetric_, classes_, n_features_in_, feature_names_in_: GridSearchCV's. The
        times are each fit's share of the threads' time.

    Raises, Warns:
        What GridSearchCV does: the errors of fits with error_score="raise", else FitFailedWarning.

    Notes:
        At most 128 fits are under way at once, and fewer where the rows are large: each holds the
        rows of its fold, together about 256 MiB.
    """

    _parameter_constraints: ClassVar[dict] = {
        **{
            name: kinds
            for name, kinds in GridSearchCV._parameter_constraints.items()
            if name not in ("param_grid", "pre_dispatch")
        },
        "grid": GridSearchCV._parameter_constraints["param_grid"],
    }

    def __init__(
        self,
        estimator: Any,
        grid: Any,
        cv: Any = None,
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        verbose: int = 0,
        error_score: Any = np.nan,
        return_train_score: bool = False,
    ) -> None:
        super().__init__(
            estimator, grid, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv, verbose=verbose,
            pre_dispatch="all", error_score=error_score, return_train_score=return_train_score,
        )  # fmt: skip

    @property
    def param_grid(self) -> Any:
        """The grid, by GridSearchCV's name."""
        return self.grid

    @param_grid.setter
    def param_grid(self, value: Any) -> None:
        self.grid = value

    def fit(self, X: Any, y: Any = None, **params: Any) -> GridSearch:
        """Searches, and fits the best candidate to all rows.

        Args:
            X: (rows, features). y: targets. params: those of the estimator's fit, the scorer and
                the splitter, as for GridSearchCV.
        """
        self._validate_params()
        threads = _threads(self.n_jobs)
        most = int(np.clip(ROW_BYTES // max(_nbytes(X), 1), threads, MOST_FITS))
        with joblib.parallel_config(backend=_SideBySide(threads=threads, most=most)):
            super().fit(X, y, **params)
        return self


def _threads(n_jobs: int | None) -> int:
    """n_jobs in joblib's way of counting: -1 is all cores, -2 all but one."""
    if n_jobs is None:
        return _State.threads
    if n_jobs == 0:
        raise ValueError("GridSearch: n_jobs: 0 has no meaning; pass None, or at least one thread")
    return n_jobs if n_jobs > 0 else max(available_cores() + 1 + n_jobs, 1)


def _nbytes(X: Any) -> int:
    """About the bytes of rows of any kind."""
    for part in (X, getattr(X, "data", None)):  # sparse: of its values
        if isinstance(getattr(part, "nbytes", None), int):
            return part.nbytes  # type: ignore[union-attr]
    return int(np.prod(getattr(X, "shape", (len(X), 1)))) * 8


class _SideBySide(ParallelBackendBase):
    """joblib's tasks, run side by side in this process where their results are asked for."""

    supports_sharedmem = uses_threads = True
    supports_retrieve_callback = False

    def __init__(self, threads: int = 1, most: int = 1, nesting_level: int | None = None) -> None:
        super().__init__(nesting_level=nesting_level)
        self.threads, self.most = threads, most
        self._tasks: list[_Task] = []

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """2: several; with 1 joblib would not ask."""
        return 2

    def submit(self, func: Callable[[], Any], callback: Any = None) -> _Task:
        """Notes a task."""
        task = _Task(func, callback)
        self._tasks.append(task)
        return task

    def retrieve_result(self, out: _Task, timeout: float | None = None) -> Any:
        """Runs all tasks that were noted; the result of one."""
        tasks, self._tasks = self._tasks, []
        side_by_side.run(tasks, self.threads, self.most)
        for task in tasks:
            if task.callback is not None:
                task.callback(task.result)
        return out.result

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Forgets what has not begun."""
        self._tasks = []

    def get_nested_backend(self) -> Any:
        """For what fits in parallel inside a fit: no further processes."""
        return SequentialBackend(nesting_level=1), None


class _Task:
    """A task of joblib: a batch of fits, whose times are told without what others took."""

    def __init__(self, function: Callable[[], Any], callback: Any) -> None:
        self.function, self.callback, self.result = function, callback, None

    def __call__(self) -> None:
        found = self.function()
        for one in found:
            if isinstance(one, dict) and "fit_time" in one:
                one["fit_time"] = max(one["fit_time"] - side_by_side.behind(), 0.0)
        self.result = found
