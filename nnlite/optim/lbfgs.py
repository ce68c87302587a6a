"""L-BFGS, through SciPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .._core import check, native
from ..nn.parameter import Parameter
from .optimizer import Optimizer, Setting


class LBFGS(Optimizer):
    """Limited-memory BFGS: quasi-Newton steps with a line search, for losses of a full batch.

    `step(closure)` calls closure again and again; each call sets the gradients and returns the
    loss, as in

        def closure():
            optimizer.zero_grad()
            value = loss(model(X), y)
            model.backward(loss.backward())
            return value

    It minimises loss + weight_decay / 2 ||w||^2. SciPy does the search, in float64 and with its own
    linear algebra, so that bits depend on the machine here, and only here. The history of gradients
    does not outlive a step: a larger max_iter serves better than more steps.

    Args:
        params: Parameters, as from `model.parameters()`.
        max_iter: iterations of one step, at least 1.
        max_eval: calls of closure in one step; default max_iter x 1.25, as in PyTorch.
        tolerance_grad: ends when no element of the gradient is larger, at least 0.
        tolerance_change: ends when the loss changes by less, relative to its size, at least 0.
        history_size: pairs of steps and gradients that are kept, at least 1.
        weight_decay: at least 0; biases are exempt.
        decay_bias: decay biases too.

    Raises:
        ImportError: SciPy is not installed.
        TypeError, ValueError: an argument is of another kind or out of range.

    Source: Liu, Nocedal, "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 45, 1989; SciPy's L-BFGS-B without bounds.
    """

    max_iter, max_eval, history_size = Setting(), Setting(), Setting()
    tolerance_grad, tolerance_change = Setting(), Setting()

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        weight_decay: float = 0.0,
        decay_bias: bool = False,
    ) -> None:
        _minimize()
        super().__init__(params, 1.0, weight_decay=weight_decay, decay_bias=decay_bias)
        if max_eval is not None:
            max_eval = check.size("LBFGS", "max_eval", max_eval)
        self._add(
            max_iter=check.size("LBFGS", "max_iter", max_iter),
            max_eval=max_eval,
            tolerance_grad=self._number("tolerance_grad", tolerance_grad),
            tolerance_change=self._number("tolerance_change", tolerance_change),
            history_size=check.size("LBFGS", "history_size", history_size),
        )

    @native.in_standard_mode
    def step(self, closure: Callable[[], float] | None = None) -> float:  # type: ignore[override]
        """Minimises what closure returns, for at most max_iter iterations.

        Args:
            closure: sets the gradients of the parameters and returns the loss.

        Returns:
            The first loss, without the decay, as PyTorch does.

        Raises:
            TypeError: closure cannot be called, or its result is no number.
            Exception: whatever closure raises; the parameters are then as before the step.
        """
        if not callable(closure):
            raise TypeError(
                "LBFGS.step: closure: expected a function that sets the gradients and returns the "
                f"loss, got {check.describe(closure)}"
            )
        losses: list[float] = []

        def value_and_grad(x: np.ndarray) -> tuple[float, np.ndarray]:
            self._write(x)
            losses.append(float(closure()))
            return self._with_decay(losses[-1], x)

        start = self._read("data")
        try:
            found = _minimize()(
                value_and_grad, start, jac=True, method="L-BFGS-B", options=self._options()
            )
        except BaseException:  # also Ctrl-C
            self._write(start)
            raise
        self._write(found.x)
        self._set(steps=self.steps + 1)
        return losses[0]

    def _options(self) -> dict[str, Any]:
        calls = self.max_eval or max(1, self.max_iter * 5 // 4)
        return {
            "maxiter": self.max_iter, "maxfun": calls, "maxcor": self.history_size,
            "gtol": self.tolerance_grad, "ftol": self.tolerance_change,
        }  # fmt: skip

    def _trained(self) -> list[Parameter]:
        """The parameters that are not frozen.

        Raises:
            ValueError: all are.
        """
        found = [p for p in self.parameters if p.requires_grad]
        if not found:
            raise ValueError(
                "LBFGS.step: every parameter is frozen; set requires_grad = True where one is to "
                "be trained"
            )
        return found

    def _read(self, what: str) -> np.ndarray:
        """Values or gradients of all parameters that are trained, as one vector of float64."""
        return np.concatenate([getattr(p, what).ravel() for p in self._trained()]).astype(float)

    def _write(self, x: np.ndarray) -> None:
        trained = self._trained()
        ends = np.cumsum([p.size for p in trained])
        for p, end in zip(trained, ends, strict=True):
            p.data = x[end - p.size : end].reshape(p.shape)

    def _with_decay(self, loss: float, x: np.ndarray) -> tuple[float, np.ndarray]:
        grad = self._read("grad")
        if self.weight_decay:
            sizes = [p.size for p in self._trained()]
            decay = np.repeat([self._decay(p)[0] for p in self._trained()], sizes)
            loss, grad = loss + float((decay * x * x).sum()) / 2, grad + decay * x
        return loss, grad


def _minimize() -> Any:
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ImportError(
            "LBFGS needs SciPy, which is not installed: pip install 'nnlite[lbfgs]' (or pip "
            "install scipy, or use nn.optim.Adam)"
        ) from None
    return minimize
