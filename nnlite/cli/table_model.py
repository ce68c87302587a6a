"""What `nnlite train` keeps in a file beside the model, and `nnlite predict` reads again.

schema      columns, texts and classes of the training file
features    mean and standard deviation of each feature
target      the same of the target, for regression
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import functional
from ..data.scale import Standardizer
from ..data.schema import Schema
from ..data.table import CLASSIFY, REGRESS
from ..nn.module import Module


class TableModel(NamedTuple):
    """A model with the way from a table's row to its input, and from its output to the answer."""

    model: Module
    schema: Schema
    features: Standardizer
    target: Standardizer | None

    @property
    def classifies(self) -> bool:
        return self.schema.task == CLASSIFY

    def inputs(self, X: np.ndarray) -> np.ndarray:
        """The model's input: standardised features, float32.

        Raises:
            ValueError: a number is too far from those of the training.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            inputs = self.features.transform(X).astype(np.float32)
        if np.isinf(inputs).any():
            row, column = np.argwhere(np.isinf(inputs))[0]
            raise ValueError(
                f"row {row + 1}, {self.schema.features[column]!r}: {X[row, column]:g} is too far "
                "from the numbers of the training; correct it"
            )
        return inputs

    def targets(self, y: np.ndarray) -> np.ndarray:
        """What the model is trained on: classes, or standardised values in one column."""
        if self.target is None:
            return y
        with np.errstate(over="ignore"):
            targets = self.target.transform(y.reshape(-1, 1)).astype(np.float32)
        if np.isinf(targets).any():
            row = int(np.argmax(np.isinf(targets)[:, 0]))
            raise ValueError(f"target {y[row]:g} is too far from the others; correct it")
        return targets

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """Float32, shape (rows, classes), of rows of features."""
        return functional.softmax(self.model.predict(self.inputs(X)))

    def values(self, X: np.ndarray) -> np.ndarray:
        """Float64, shape (rows,), in the target's own units, of rows of features."""
        assert self.target is not None
        output = self.model.predict(self.inputs(X)).astype(np.float64)
        return self.target.inverse_transform(output)[:, 0]

    def extra(self) -> dict[str, Any]:
        """All but the model, for `nn.save(..., extra=...)`."""
        return {
            "schema": self.schema.state_dict(),
            "features": self.features.state_dict(),
            "target": None if self.target is None else self.target.state_dict(),
        }

    @staticmethod
    def of(model: Module, extra: Mapping[str, Any], path: str) -> TableModel:
        """The table model of a loaded file.

        Raises:
            ValueError: the file was not written by `nnlite train`.
        """
        try:
            target = extra["target"]
            made = TableModel(
                model,
                Schema.of(extra["schema"]),
                Standardizer().load_state_dict(extra["features"]),
                None if target is None else Standardizer().load_state_dict(target),
            )
            made._check()
            return made
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{path}: it was not written by nnlite train, so that its columns are unknown; "
                "use nn.load(path).model.predict(X) in Python"
            ) from None

    def _check(self) -> None:
        """Requires that schema, scales and model fit each other."""
        schema, classes = self.schema, self.schema.classes
        outputs = 1 if classes is None else len(classes)
        scales = [self.features.mean, *([] if self.target is None else [self.target.mean])]
        expected = [len(schema.features), *([] if classes is not None else [1])]
        fit = [len(scale) for scale in scales if scale is not None] == expected
        if not fit or schema.task not in ((CLASSIFY,) if classes else (REGRESS,)):
            raise ValueError("schema and scales differ")
        shape = self.model.predict(np.zeros((1, expected[0]), np.float32)).shape
        if shape != (1, outputs):
            raise ValueError("schema and model differ")
