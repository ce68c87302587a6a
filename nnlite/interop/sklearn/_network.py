"""A multilayer perceptron of nnlite that holds the coefs_ and intercepts_ of an estimator."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import functional
from ..._core.config import rebuilding
from ...nn import Identity, Linear, Module, ReLU, Sequential, Sigmoid, Tanh
from ...nn.module import converted
from ...nn.parameter import gather
from ...program.rows import Rows
from ...program.train import Program
from ...train.trainer import Trainer
from ._losses import loss_of

ACTIVATIONS: dict[str, type[Module]] = {
    "identity": Identity, "logistic": Sigmoid, "relu": ReLU, "tanh": Tanh,
}  # fmt: skip

PUBLIC = "nnlite.sklearn"  # the module that estimators are pickled by

BLOCK_BYTES = 1 << 24  # of dense rows made at once from sparse ones


def layers(units: Sequence[int], activation: str, dtype: np.dtype) -> Sequential:
    """Linear layers of these widths with activations between them, and none behind the last; their
    values are not set."""
    parts: list[Module] = []
    with rebuilding(sys.maxsize):
        for inputs, outputs in itertools.pairwise(units):
            if parts and activation != "identity":
                parts.append(ACTIVATIONS[activation]())
            parts.append(Linear(inputs, outputs, dtype=dtype))
    return Sequential(*parts)


class Network:
    """The model of an estimator; its parameters are the arrays of coefs_ and intercepts_.

    Args:
        coefs, intercepts: initial values, copied.
        activation, out_activation: scikit-learn's names.
        dtype: of the parameters.

    Attributes:
        coefs, intercepts: the parameters' arrays.
        model: gives the outputs before the last activation.
    """

    def __init__(
        self, coefs: Sequence[Any], intercepts: Sequence[Any], activation: str,
        out_activation: str, dtype: np.dtype,
    ) -> None:  # fmt: skip
        units = [len(coefs[0]), *(np.shape(coef)[1] for coef in coefs)]
        self.activation, self.out_activation = activation, out_activation
        self.dtype = dtype
        self.model = layers(units, activation, dtype)
        gather(self.model.parameters())
        linear = [layer for layer in self.model.layers if isinstance(layer, Linear)]
        for layer, coef, intercept in zip(linear, coefs, intercepts, strict=True):
            layer.weight.data = coef
            assert layer.bias is not None
            layer.bias.data = np.reshape(intercept, -1)
        self.coefs = [layer.weight.data for layer in linear]
        self.intercepts = [layer.bias.data for layer in linear if layer.bias is not None]
        self.loss = loss_of(out_activation, units[-1])
        self._trainer: Trainer | None = None

    def holds(self, coefs: Any, intercepts: Any, activation: str) -> bool:
        """Whether these are still its arrays, as a network of this activation."""
        return (
            self.activation == activation
            and len(coefs) == len(self.coefs)
            and all(a is b for a, b in zip(coefs, self.coefs, strict=True))
            and all(a is b for a, b in zip(intercepts, self.intercepts, strict=True))
        )

    def outputs(self, X: Any) -> np.ndarray:
        """The outputs for all rows, dense or sparse, with the last activation."""
        found = predicted(self.model, X, self.dtype)
        if self.out_activation == "softmax":
            return functional.softmax(found)
        if self.out_activation == "logistic":
            return functional.sigmoid(found)
        return functional.exp(found) if self.out_activation == "exp" else found

    def program(self, optimizer: Any, rows: Rows, batch: int) -> Program:
        """What trains it on such rows; one that was made before, where it fits."""
        if self._trainer is None or self._trainer.optimizer is not optimizer:
            self._trainer = Trainer(self.model, self.loss, optimizer)
        found = self._trainer.runner(rows, batch)
        if not isinstance(found, Program):
            raise RuntimeError(f"fit: no training program: {self._trainer.why_eager}")
        return found

    def release(self) -> None:
        """Lets go of the rows that it was trained on."""
        self._trainer = None


def block_rows(width: int, dtype: np.dtype) -> int:
    """Rows of a block of sparse rows that is made dense at once."""
    return max(1, BLOCK_BYTES // (max(width, 1) * dtype.itemsize))


def predicted(model: Module, X: Any, dtype: np.dtype) -> np.ndarray:
    """A model's outputs; sparse rows are made dense in blocks of bounded memory."""
    if not hasattr(X, "tocsr"):
        return model.predict(converted(X, dtype))
    rows = block_rows(X.shape[1], dtype)
    csr = X.tocsr()
    starts = range(0, max(csr.shape[0], 1), rows)
    blocks = [model.predict(converted(csr[i : i + rows].toarray(), dtype)) for i in starts]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def are_labels(y: Any) -> bool:
    """True for a column of integers or texts, which need no longer look to be labels."""
    return type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iubUS"
