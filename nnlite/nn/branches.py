"""Ways around and beside a module: Residual and Concat."""

from __future__ import annotations

from typing import Any

from .. import autograd
from .._core import check
from ..autograd.tensor import Tensor
from .module import Module
from .parameter import gather

MOST_AXES = 64  # of an array of NumPy


def _require_modules(name: str, modules: tuple[Any, ...]) -> None:
    for index, module in enumerate(modules):
        if not isinstance(module, Module):
            fix = ""
            if isinstance(module, (list, tuple)):
                fix = f"; pass {name}(*modules)"
            elif isinstance(module, type):
                fix = f"; pass {module.__name__}(...), not the class"
            elif callable(module):
                fix = "; wrap a function with nn.Lambda"
            raise TypeError(
                f"{name}: argument {index}: expected a Module, got {check.describe(module)}{fix}"
            )


class Residual(Module):
    """A module with a way around it: y = x + f(x), dx = dy + (dy through f).

    Args:
        module: f; its output has the shape of its input.

    Raises:
        TypeError: it is no Module.

    Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.
    """

    def __init__(self, module: Module) -> None:
        _require_modules("Residual", (module,))
        self.module = module
        gather(self.parameters())

    def _formula(self, x: Tensor) -> Any:
        y = self._checked(self.module(x))
        if y.shape != x.shape:
            raise ValueError(
                f"Residual: the module makes shape {y.shape} of x with shape {x.shape}, and x is "
                "added to its output: expected equal shapes; give the module as many outputs as "
                "inputs"
            )
        return x + y

    def _describe(self) -> str:
        return repr(self.module)


class Concat(Module):
    """Modules side by side: y = [f_1(x), f_2(x), ...], the outputs joined along an axis.

    dx is the sum of what comes back through each. `Concat(Identity(), f)` keeps x beside f(x).

    Args:
        modules: one or more; each is given x. A module may stand there twice.
        axis: along which the outputs are joined, which may differ in it alone; -1 (default), the
            features; never 0, the rows.

    Raises:
        TypeError: an argument is no Module, or axis no integer.
        ValueError: there are no modules, or axis is 0.
    """

    def __init__(self, *modules: Module, axis: int = -1) -> None:
        _require_modules("Concat", modules)
        if not modules:
            raise ValueError("Concat: expected one or more modules, got none")
        self.axis = check.size("Concat", "axis", axis, -MOST_AXES, MOST_AXES)
        if self.axis == 0:
            raise ValueError(
                "Concat: axis: 0 is that of the rows, of which there must be as many as in x; "
                "expected another"
            )
        self.branches = tuple(modules)
        gather(self.parameters())

    def config(self) -> dict[str, Any]:
        return {"branches": list(self.branches), "axis": self.axis}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Concat:
        return cls(*config["branches"], axis=config["axis"])

    def _formula(self, x: Tensor) -> Any:
        parts = [self._checked(module(x)) for module in self.branches]
        self._require_fit([part.shape for part in parts], len(x._data))
        return autograd.concatenate(parts, axis=self.axis)

    def _require_fit(self, shapes: list[tuple[int, ...]], rows: int) -> None:
        ndim = len(shapes[0])
        axis = self.axis + ndim if self.axis < 0 else self.axis
        rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
        if not 0 < axis < ndim or len(rest) > 1 or any(len(shape) != ndim for shape in shapes):
            found = ", ".join(map(str, shapes))
            raise ValueError(
                f"Concat: the outputs have the shapes {found}; expected shapes that differ in "
                f"axis {self.axis} alone, which is not that of the rows"
            )

    def _describe(self) -> str:
        axis = "" if self.axis == -1 else f", axis={self.axis}"
        return ", ".join(map(repr, self.branches)) + axis

    def __len__(self) -> int:
        return len(self.branches)

    def __getitem__(self, index: int) -> Module:
        return self.branches[index]
