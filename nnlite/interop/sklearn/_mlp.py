"""MLPClassifier and MLPRegressor: scikit-learn's estimators, trained and run by nnlite."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import validate_data

from ...data.sparse import SparseRows
from ...optim import SGD
from ...program.rows import Sums
from ._network import PUBLIC, Network, are_labels, block_rows
from ._solver import Solver
from ._stochastic import Data, Stochastic

FLOATS = (np.float64, np.float32)
_NOT_PICKLED = ("_network", "_gradient")


def _doc(theirs: type) -> str:
    """scikit-learn's own description: it holds for ours, which is imported from elsewhere."""
    return (theirs.__doc__ or "").replace("sklearn.neural_network import", "nnlite.sklearn import")


class _Perceptron:
    """What both have in common, in the places of scikit-learn's own methods.

    The arrays in coefs_ and intercepts_ are the network's parameters. Where a user has put others
    in their place, or the estimator comes from a pickle, the network is made from them anew.
    """

    def _made_network(self, dtype: Any = None) -> Network:
        """The network of coefs_ and intercepts_, which become its parameters."""
        e: Any = self
        found = vars(self).get("_network")
        dtype = np.dtype(dtype or e.coefs_[0].dtype)
        if (
            found is not None
            and found.dtype == dtype
            and found.out_activation == e.out_activation_
            and found.holds(e.coefs_, e.intercepts_, e.activation)
        ):
            return found
        made = Network(e.coefs_, e.intercepts_, e.activation, e.out_activation_, dtype)
        e.coefs_, e.intercepts_ = list(made.coefs), list(made.intercepts)
        vars(self)["_network"] = made
        return made

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._made_network().outputs(X)

    def _fit_stochastic(
        self, X: Any, y: Any, sample_weight: Any, activations: Any, deltas: Any, coef_grads: Any,
        intercept_grads: Any, layer_units: Any, incremental: bool = False,
    ) -> None:  # fmt: skip
        e: Any = self
        if e.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        network = self._made_network()
        if not incremental or not isinstance(vars(self).get("_optimizer"), Solver):
            e._optimizer = Solver(self)
        data = Data(self, network, X, y, sample_weight)
        Stochastic(self, network, e._optimizer, data, incremental).run()
        if not incremental:
            network.release()
        e.coefs_, e.intercepts_ = list(network.coefs), list(network.intercepts)
        e._best_coefs, e._best_intercepts = e.coefs_, e.intercepts_

    # L-BFGS: scipy's, in float64, as scikit-learn calls it; the loss and its gradient are nnlite's.

    def _unpack(self, packed_parameters: np.ndarray) -> None:
        network = self._made_network(np.float64)
        begin = 0
        for array in (*network.coefs, *network.intercepts):
            array[...] = packed_parameters[begin : begin + array.size].reshape(array.shape)
            begin += array.size

    def _loss_grad_lbfgs(
        self, packed_coef_inter: np.ndarray, X: Any, y: Any, sample_weight: Any, *buffers: Any
    ) -> tuple[float, np.ndarray]:
        self._unpack(packed_coef_inter)
        network = self._made_network(np.float64)
        kept = vars(self).get("_gradient")
        if kept is None or not kept.is_of(network, X, y, sample_weight):
            kept = vars(self)["_gradient"] = _Gradient(network, X, y, sample_weight)
        return kept.value(self.alpha)  # type: ignore[attr-defined]

    def _fit_lbfgs(self, *args: Any) -> None:
        try:
            super()._fit_lbfgs(*args)  # type: ignore[misc]
        finally:
            vars(self).pop("_gradient", None)
            self._made_network(np.float64).release()

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _NOT_PICKLED}


class _Gradient:
    """The loss of all rows, and its gradient by all parameters.

    Dense rows are one batch; sparse ones are made dense in blocks of bounded memory, whose
    gradients are added up.
    """

    def __init__(self, network: Network, X: Any, y: Any, weight: Any) -> None:
        self._of = network, X, y, weight
        data = Data(None, network, X, y, weight)
        self.network, self.rows = network, data.rows
        count = batch = len(data.rows.x)
        if isinstance(data.rows.x, SparseRows):
            batch = min(count, block_rows(data.rows.x.shape[1], network.dtype))
        starts = np.arange(0, count, batch)
        each = np.ones(count) if weight is None else np.asarray(weight, np.float64)
        self.weights = np.add.reduceat(each, starts)
        self.share = 1.0
        if network.out_activation == "identity":
            self.share = 1 / data.rows.y.shape[1]
        # A rate of 0 leaves the weights; a norm for clipping keeps the gradients in their places.
        self.optimizer = SGD(network.model.parameters(), 0.0, clip_norm=1.0)
        self.program = network.program(self.optimizer, self.rows, batch)

    def is_of(self, *parts: Any) -> bool:
        """Whether it was made of these."""
        return all(a is b for a, b in zip(self._of, parts, strict=True))

    def value(self, alpha: float) -> tuple[float, np.ndarray]:
        """(loss, gradient), both with the penalty; the gradient of coefs first."""
        network, total = self.network, float(self.weights.sum())
        parameters = network.model.parameters()
        squares = sum(float(np.vdot(coef, coef)) for coef in network.coefs)
        loss = 0.5 * alpha * squares / total
        grads = [
            alpha / total * p.data if p.name == "weight" else np.zeros_like(p.data)
            for p in parameters
        ]
        for block, weight in enumerate(self.weights):
            if weight == 0:
                continue
            self.program.run(self.rows, None, block, 1, Sums())
            part = weight / total
            loss += self.program.last_loss * self.share * part
            for grad, p in zip(grads, parameters, strict=True):
                grad += p.grad if part == 1 else p.grad * part
        pairs = list(zip(parameters, grads, strict=True))
        ordered = [grad for p, grad in pairs if p.name == "weight"]
        ordered += [grad for p, grad in pairs if p.name != "weight"]
        return loss, np.concatenate([grad.ravel() for grad in ordered])


class MLPClassifier(_Perceptron, neural_network.MLPClassifier):
    __doc__, __module__ = _doc(neural_network.MLPClassifier), PUBLIC

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        """(X, indicator of the classes). A column of labels is looked through once; all else, and
        a fit that goes on, is scikit-learn's."""
        first = not hasattr(self, "classes_") or not (self.warm_start or incremental)
        if not (first and are_labels(y)):
            return super()._validate_input(X, y, incremental, reset)
        classes, places = np.unique(y, return_inverse=True)
        if 2 * len(classes) > len(y):  # scikit-learn warns of numbers that may be no labels
            return super()._validate_input(X, y, incremental, reset)
        X, _ = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=FLOATS,
            reset=reset,
        )  # fmt: skip
        self._label_binarizer = LabelBinarizer().fit(np.tile(classes, 2))
        self.classes_ = self._label_binarizer.classes_
        if len(classes) <= 2:
            return X, (places == 1)[:, np.newaxis]
        return X, np.eye(len(classes), dtype=bool)[places]


class MLPRegressor(_Perceptron, neural_network.MLPRegressor):
    __doc__, __module__ = _doc(neural_network.MLPRegressor), PUBLIC
