"""NetClassifier and NetRegressor: any network of nnlite as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ... import functional
from ..._core import check
from ...nn import LogSoftmax, Loss, Module, Sigmoid, Softmax
from ...nn.module import converted
from ...train._losses import _last, is_open
from ._jobs import Job, Plan, make_jobs, stopping_of, train
from ._network import PUBLIC, are_labels, predicted

FLOATS = (np.float64, np.float32)


class _Net(BaseEstimator):
    """What both estimators have in common.

    Args:
        model: a Module, which each fit copies, a function (n_features, n_outputs) that makes one,
            or None: one hidden layer of 100 ReLU units, in the dtype of X.
        loss: a Loss, or a function (output, target); None: SoftmaxCE for classes, MSELoss for
            numbers.
        optimizer: the name of an optimiser of nnlite.optim, its class, or a function of the
            parameters; None: Adam.
        lr: its learning rate; None: the optimiser's own.
        optimizer_settings: a dict of its further arguments, or None.
        schedule: a function of the optimiser that makes a schedule, or None.
        epochs: passes over the rows.
        batch_size: rows of a step; "auto": min(200, rows).
        shuffle: a new order of the rows in each epoch.
        early_stopping: epochs without improvement of the validation loss after which to stop, the
            best weights restored; True for 10; an EarlyStopping; or None.
        validation_fraction: share of the rows held out for early stopping where `fit` is given no
            eval_set; 0: it watches the loss of training.
        n_ensemble: networks, trained side by side from seeds of their own; predictions are their
            mean.
        callbacks, metrics: as for `nnlite.Trainer.fit`.
        warm_start: fit goes on from the weights and optimisers of the last fit.
        random_state: an integer, a RandomState or None; initial weights, orders and the rows held
            out depend on it alone.
        verbose: 1 shows a progress bar.

    Attributes:
        models_: the trained networks. model_: the first of them.
        history_: the History of the last fit; with several networks a list of one for each.
        n_iter_: epochs of the last fit, the most of any network.
        n_features_in_, feature_names_in_: as scikit-learn sets them.
        n_outputs_: outputs of the model.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        loss: Any = None,
        optimizer: Any = None,
        lr: float | None = None,
        optimizer_settings: Any = None,
        schedule: Any = None,
        epochs: int = 100,
        batch_size: Any = "auto",
        shuffle: bool = True,
        early_stopping: Any = None,
        validation_fraction: float = 0.1,
        n_ensemble: int = 1,
        callbacks: Any = (),
        metrics: Any = (),
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.optimizer_settings = optimizer_settings
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_ensemble = n_ensemble
        self.callbacks = callbacks
        self.metrics = metrics
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # For the two below.

    _classes = False  # the targets are classes

    def _targets(self, y: Any, reset: bool) -> np.ndarray:
        raise NotImplementedError

    def _numbers_of(self, y: Any) -> np.ndarray:
        """Checked targets as the models take them: those of `fit`'s eval_set too."""
        raise NotImplementedError

    @property
    def _labels(self) -> bool:
        return False

    # Training.

    def _checked(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[Any, Any, Any]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, dtype=FLOATS, reset=reset,
            y_numeric=not self._classes,
        )  # fmt: skip
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        return X, y, sample_weight

    def _plan(
        self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None, jobs: Any = None
    ) -> Plan:
        """What a fit of checked X and targets trains; the classes are known.

        Args:
            y: as `_targets` returned them.
            jobs: go on with these; None: new ones.
        """
        name = type(self).__name__
        random = check_random_state(self.random_state)
        members = _count(name, "n_ensemble", self.n_ensemble)
        seeds = [int(seed) for seed in random.randint(0, np.iinfo(np.int32).max, members)]
        if jobs is None:
            jobs = make_jobs(
                name, self, X.shape[1], self.n_outputs_, X.dtype, self._classes, self._labels, seeds
            )
        for job in jobs:
            job.seed += job.history is not None  # an order that has not been
        take = self._as_taken(jobs[0])
        y = take(y)
        held = None
        if eval_set is not None:
            X_held, y_held, *weight = self._checked_eval_set(eval_set)
            held = (X_held, take(y_held), *weight)
        plan = Plan(
            jobs, X, y, _count(name, "epochs", self.epochs), self._batch_size(len(y)),
            bool(self.shuffle), self.verbose, held, sample_weight=sample_weight,
            class_weight=self._weights_of_classes(), callbacks=self.callbacks or (),
            metrics=self.metrics or (),
        )  # fmt: skip
        share = 0.0 if held is not None else self.validation_fraction
        plan.share = float(share) if self.early_stopping else 0.0
        validates = held is not None or plan.share > 0
        plan.early_stopping = stopping_of(name, self.early_stopping, validates)
        return plan

    def _as_taken(self, job: Job) -> Callable[[np.ndarray], np.ndarray]:
        """What makes checked targets those that the loss takes: a loss that knows no classes gets
        a column of 0 and 1 for each."""
        dtype, loss = job.optimizer.dtype, job.loss
        numbers = isinstance(loss, Loss) and not loss.classifies and not is_open(loss)

        def take(y: np.ndarray) -> np.ndarray:
            if y.ndim == 2:
                return converted(y, dtype)
            return np.eye(self.n_outputs_, dtype=dtype)[y] if numbers else y

        return take

    def _weights_of_classes(self) -> Any:
        return None

    def _batch_size(self, rows: int) -> int:
        if isinstance(self.batch_size, str):
            if self.batch_size != "auto":
                raise ValueError(
                    f"{type(self).__name__}: batch_size: expected 'auto' or an integer of at "
                    f"least 1, got {self.batch_size!r}"
                )
            return min(200, rows)
        return _count(type(self).__name__, "batch_size", self.batch_size)

    def _checked_eval_set(self, eval_set: Any) -> tuple[Any, ...]:
        """(X, y) or (X, y, sample_weight), checked."""
        pairs = eval_set if isinstance(eval_set, list) else [eval_set]
        if len(pairs) != 1 or not isinstance(pairs[0], tuple) or len(pairs[0]) not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: eval_set: expected a pair (X, y) or (X, y, "
                f"sample_weight), got {eval_set!r}"
            )
        X, y, *weight = pairs[0]
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, dtype=FLOATS, reset=False
        )
        return (
            X,
            self._numbers_of(y),
            *(_check_sample_weight(w, X, ensure_non_negative=True) for w in weight),
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None, eval_set: Any = None) -> Any:
        """Trains the networks.

        Args:
            X: (rows, features), an array, a data frame or a sparse matrix.
            y: (rows,) labels of any kind, or numbers; (rows, outputs) for several.
            sample_weight: (rows,) weights of at least 0, or None.
            eval_set: (X, y), or (X, y, sample_weight), measured after each epoch.

        Returns:
            self.

        Raises:
            TypeError, ValueError: bad data or settings, as scikit-learn's estimators say it.
            FloatingPointError: the loss is not finite.
        """
        goes_on = self.warm_start and hasattr(self, "models_")
        X, y, weight = self._checked(X, y, sample_weight, not goes_on)
        y = self._targets(y, not goes_on)
        plan = self._plan(X, y, weight, eval_set, self._jobs if goes_on else None)
        train(plan)
        self._take(plan)
        return self

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, first: bool) -> Any:
        X, y, weight = self._checked(X, y, sample_weight, first)
        y = self._targets(y, first and not self._classes)
        plan = self._plan(X, y, weight, None, None if first else self._jobs)
        plan.epochs, plan.early_stopping = 1, None
        plan.share = 0.0
        train(plan)
        self._take(plan)
        return self

    def _take(self, plan: Plan) -> None:
        """Takes over what was trained."""
        self._jobs: list[Job] = plan.jobs
        histories = [job.history for job in plan.jobs]
        self.models_ = [job.model for job in plan.jobs]
        self.model_ = self.models_[0]
        self.history_ = histories[0] if len(histories) == 1 else histories
        self.n_iter_ = max(len(history["loss"]) for history in histories if history)

    # Predictions.

    def _outputs(self, X: Any) -> np.ndarray:
        """(models, rows, outputs), as numbers that can be averaged."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False)
        return np.stack([
            self._final(model, predicted(model, X, model.parameters()[0].dtype))
            for model in self.models_
        ])  # fmt: skip

    def _final(self, model: Module, outputs: np.ndarray) -> np.ndarray:
        return outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class NetClassifier(ClassifierMixin, _Net):
    __doc__ = (
        (_Net.__doc__ or "")
        .replace(
            "What both estimators have in common.",
            "A classifier that trains any network of nnlite.",
        )
        .replace(
            "        n_ensemble:",
            '        class_weight: "balanced", a dict label -> weight, or None.\n'
            "        n_ensemble:",
        )
        .replace(
            "        n_outputs_:", "        classes_: the labels, sorted.\n        n_outputs_:"
        )
    )

    __module__ = PUBLIC
    _classes = True

    def __init__(
        self,
        model: Any = None,
        *,
        loss: Any = None,
        optimizer: Any = None,
        lr: float | None = None,
        optimizer_settings: Any = None,
        schedule: Any = None,
        epochs: int = 100,
        batch_size: Any = "auto",
        shuffle: bool = True,
        early_stopping: Any = None,
        validation_fraction: float = 0.1,
        class_weight: Any = None,
        n_ensemble: int = 1,
        callbacks: Any = (),
        metrics: Any = (),
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            model, loss=loss, optimizer=optimizer, lr=lr, optimizer_settings=optimizer_settings,
            schedule=schedule, epochs=epochs, batch_size=batch_size, shuffle=shuffle,
            early_stopping=early_stopping, validation_fraction=validation_fraction,
            n_ensemble=n_ensemble, callbacks=callbacks, metrics=metrics, warm_start=warm_start,
            random_state=random_state, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def _targets(self, y: Any, reset: bool) -> np.ndarray:
        if not are_labels(y):
            check_classification_targets(y)
            if type_of_target(y) == "multiclass-multioutput":
                raise ValueError(
                    f"{type(self).__name__}: y: expected one label for each row, or an indicator "
                    "of several labels, got several labels that are no indicator"
                )
        if not reset:
            return self._numbers_of(y)
        self._multilabel = not are_labels(y) and type_of_target(y) == "multilabel-indicator"
        if self._multilabel:
            self.classes_, found = np.arange(y.shape[1]), self._numbers_of(y)
        else:
            self.classes_, found = np.unique(column_or_1d(y, warn=True), return_inverse=True)
            if 2 * len(self.classes_) > len(found):
                check_classification_targets(y)  # it warns of numbers that may be no labels
        self.n_outputs_ = len(self.classes_)
        return found

    def _numbers_of(self, y: Any) -> np.ndarray:
        if self._multilabel:
            return np.asarray(y.toarray() if hasattr(y, "toarray") else y, np.float64)
        y = column_or_1d(y)
        places = np.searchsorted(self.classes_, y)
        known = self.classes_[np.minimum(places, len(self.classes_) - 1)] == y
        if not np.all(known):
            unseen = np.unique(np.asarray(y)[~np.asarray(known)])
            raise ValueError(
                f"`y` has classes not in `self.classes_`: {unseen[:5].tolist()}; `self.classes_` "
                f"has {self.classes_[:10].tolist()}; pass all to the first call of partial_fit"
            )
        return places.astype(np.int64)

    @property
    def _labels(self) -> bool:
        return self._multilabel

    def _weights_of_classes(self) -> Any:
        weights = self.class_weight
        if weights is None or isinstance(weights, str):
            return weights
        if not isinstance(weights, dict):
            raise ValueError(
                f"{type(self).__name__}: class_weight: expected 'balanced', a dict label -> "
                f"weight or None, got {weights!r}"
            )
        places = {label: place for place, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in weights if label not in places]
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: class_weight: {unknown[0]!r} is no class; expected some "
                f"of {list(places)[:10]}"
            )
        return {places[label]: weight for label, weight in weights.items()}

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> NetClassifier:
        """One epoch over these rows, from where the last call of fit or partial_fit ended.

        Args:
            X, y, sample_weight: as for `fit`.
            classes: all labels; needed at the first call, where y is no indicator of labels.

        Returns:
            self.
        """
        first = not hasattr(self, "models_")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} is not supported for partial_fit: it would "
                "differ from call to call; pass a dict label -> weight"
            )
        if first:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._multilabel = type_of_target(y).startswith("multilabel")
            self.classes_ = np.unique(np.asarray(classes))
            self.n_outputs_ = len(self.classes_)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        return self._partial_fit(X, y, sample_weight, first)

    def _final(self, model: Module, outputs: np.ndarray) -> np.ndarray:
        """Probabilities."""
        _, layer = _last("model", model)
        if isinstance(layer, Softmax) or (self._multilabel and isinstance(layer, Sigmoid)):
            return outputs
        if self._multilabel:
            return functional.sigmoid(outputs)
        return (
            functional.exp(outputs)
            if isinstance(layer, LogSoftmax)
            else functional.softmax(outputs)
        )

    def predict_proba(self, X: Any) -> np.ndarray:
        """(rows, classes) probabilities; with several labels of each row that of each label."""
        return self._outputs(X).mean(axis=0)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """(rows,) labels; with several labels of each row an indicator (rows, labels)."""
        found = self.predict_proba(X)
        if self._multilabel:
            return (found > 0.5).astype(np.int64)
        return self.classes_[found.argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class NetRegressor(RegressorMixin, _Net):
    __doc__ = (_Net.__doc__ or "").replace(
        "What both estimators have in common.", "A regressor that trains any network of nnlite."
    )

    __module__ = PUBLIC

    def _targets(self, y: Any, reset: bool) -> np.ndarray:
        if reset:
            self._columns = y.ndim == 2 and y.shape[1] > 1
            self.n_outputs_ = y.shape[1] if y.ndim == 2 else 1
        return self._numbers_of(y)

    def _numbers_of(self, y: Any) -> np.ndarray:
        y = np.asarray(y).reshape(len(y), -1)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(
                f"{type(self).__name__}: y has {y.shape[1]} outputs, expected {self.n_outputs_} "
                "as before"
            )
        return y

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> NetRegressor:
        """One epoch over these rows, from where the last call of fit or partial_fit ended.

        Args:
            X, y, sample_weight: as for `fit`.

        Returns:
            self.
        """
        return self._partial_fit(X, y, sample_weight, not hasattr(self, "models_"))

    def predict(self, X: Any) -> np.ndarray:
        """(rows,) numbers, or (rows, outputs)."""
        found = self._outputs(X).mean(axis=0)
        return found if self._columns else found[:, 0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _count(operation: str, name: str, value: Any) -> int:
    return check.size(operation, name, value)
