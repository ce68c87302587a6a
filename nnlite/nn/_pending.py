"""What a forward in training leaves for its backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core import check
from ..autograd.engine import run
from ..autograd.node import Leaf
from ..autograd.tensor import Tensor, wrap


class Pending:
    """One forward that waits for its backward.

    Attributes:
        shape, dtype: of its output.
        spaces: the attributes of the modules whose turn it is: of the one whose forward it was, and
            of the layers of a chain.
    """

    __slots__ = ()
    shape: tuple[int, ...]
    dtype: np.dtype
    spaces: list[dict[str, Any]]

    def backward(self, grad_output: np.ndarray, want_input: bool) -> Any:
        """The gradient of the input; adds to those of the parameters."""
        raise NotImplementedError

    def unfold(self) -> None:
        """Makes of the pass of a chain passes of its layers, for who wants that of one alone."""
        raise NotImplementedError


class Graph(Pending):
    """The graph of the Tensor that a module computed from a leaf."""

    __slots__ = ("leaf", "name", "out", "spaces")

    def __init__(self, module: Any, leaf: Tensor, out: Tensor) -> None:
        self.name, self.leaf, self.out = type(module).__name__, leaf, out
        self.spaces = [vars(module)]

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.out._data.shape

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        return self.out._data.dtype

    def backward(self, grad_output: np.ndarray, want_input: bool) -> Any:
        edge, x, dx = self.leaf._edge, self.leaf._data, None
        if edge is not None and x.shape != edge.shape:  # the caller's array, changed since
            check.unfit(f"{self.name}.backward", grad_output, x)
        if self.out.requires_grad:
            for leaf, g in run([(self.out._edge, wrap(grad_output))], False, False).items():
                if leaf is edge:
                    dx = g
                else:
                    leaf.add(g)
        if not want_input:
            return None
        return np.zeros_like(x) if dx is None else np.array(dx, order="C")


def leaf_of(x: np.ndarray) -> Tensor:
    """An array as a Tensor that a gradient flows to."""
    leaf = wrap(x)
    leaf._edge = Leaf(x.shape, x.dtype)
    return leaf
