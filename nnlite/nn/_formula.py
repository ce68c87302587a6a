"""Modules whose output is a formula on Tensors, for arrays too."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core import check
from ..autograd.node import enable_grad, no_grad
from ..autograd.operation import as_tensor, on_graph
from ..autograd.tensor import Tensor, wrap
from .module import Module


class Formula(Module):
    """A module that defines `_formula(x)` on Tensors.

    An array takes the same way: forward keeps the graph, and backward goes through it. So the bits
    are those of the graph, also where several gradients of one value add up, and a module may stand
    in several places inside.
    """

    def _formula(self, x: Tensor) -> Any:
        raise NotImplementedError

    def _graph(self, x: Any) -> Any:
        return self._checked(self._formula(x))

    def _checked(self, y: Any) -> Tensor:
        if not on_graph(y):
            raise TypeError(
                f"{self!r}: expected it to compute a Tensor from x, got {check.describe(y)}; "
                "compute with operators, methods of Tensors and functions of nnlite"
            )
        return as_tensor(y)

    def _run(self, x: np.ndarray, keep: bool) -> np.ndarray:
        check.floats(type(self).__name__, "x", x)
        leaf = wrap(x)
        modes = [module for module in self.modules() if module.training is not keep]
        try:
            for module in modes:
                module.training = keep
            if keep:
                leaf.requires_grad = True
                with enable_grad():
                    out = self._graph(leaf)
            else:
                with no_grad():
                    out = self._graph(leaf)
        finally:
            for module in modes:
                module.training = not keep
        if keep:
            self._keep((leaf, out))
        y = np.ascontiguousarray(out._data)
        return y.copy() if np.may_share_memory(y, x) else y

    def _check_grad(self, saved: Any, grad_output: np.ndarray) -> None:
        operation = f"{type(self).__name__}.backward"
        check.same_shape(
            operation, "grad_output", grad_output, saved[1]._data, "the output of forward"
        )

    def _grad(self, saved: Any, grad_output: np.ndarray, want_input: bool) -> Any:
        leaf, out = saved
        if out.requires_grad:
            with enable_grad():
                out.backward(wrap(grad_output))
        if not want_input:
            return None
        if leaf.grad is None:
            return np.zeros_like(leaf._data)
        return np.array(leaf.grad._data, order="C")
