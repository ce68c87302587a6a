"""Finding the operation that made the first NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..node import ANOMALY, Mode, Node
from ..tensor import Tensor


def detect_anomaly() -> Mode:
    """Inside, the first call whose value or gradient holds NaN raises and is named.

        with nn.autograd.detect_anomaly():
            loss = model(x).log().mean()
            loss.backward()

    Looks at every value through which a gradient flows and at every gradient: for debugging.

    Raises:
        RuntimeError: "log made the first NaN in forward", or the like for backward.
    """
    return Mode(on=ANOMALY)


def _has_nan(x: Any) -> bool:
    data = x._data if type(x) is Tensor else np.asarray(x)
    return data.dtype.kind == "f" and bool(np.isnan(data).any())


def check_forward(op: Any, value: Any, inputs: tuple) -> None:
    """Raises when a value holds NaN."""
    if not _has_nan(value):
        return
    for i, x in enumerate(inputs):
        if _has_nan(x):
            raise RuntimeError(f"detect_anomaly: input {i} of {op.name} holds NaN already")
    raise RuntimeError(
        f"detect_anomaly: {op.name} made the first NaN in forward, from inputs without NaN"
    )


def check_backward(node: Node, grads: Any) -> None:
    """Raises when a gradient that a call computed holds NaN."""
    for i, g in enumerate(grads):
        for part in g if isinstance(g, tuple) else (g,):
            if part is not None and _has_nan(part):
                raise RuntimeError(
                    f"detect_anomaly: the backward of {node.op.name} made the first NaN, in the "
                    f"gradient of its input {i}"
                )
