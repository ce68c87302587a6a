"""A function of the user as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import autograd, functional
from .._core import check
from ..autograd.tensor import Tensor
from .module import Module


def _named(place: str, name: str) -> Any:
    """A public function of nnlite.functional or nnlite.autograd; None for anything else."""
    package = {"functional": functional, "autograd": autograd}.get(place)
    found = None if name.startswith("_") else vars(package).get(name) if package else None
    return found if str(getattr(found, "__module__", "")).startswith("nnlite.") else None


class Lambda(Module):
    """A function as a module: y = function(x), with the gradient that its graph gives.

        nn.Sequential(nn.Linear(4, 8), nn.Lambda(lambda x: x * x), nn.Linear(8, 1))

    Args:
        function: given a Tensor, it returns one, computed with operators, methods of Tensors and
            functions of nnlite. It is given a Tensor for an array too. Parameters and modules that
            it calls are not those of this module: write a Module that has them as attributes.

    Raises:
        TypeError: it cannot be called, or is a Module.

    Notes:
        A file can hold functions of nnlite.functional and nnlite.autograd alone, by name; for
        another write a Module whose forward calls it.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if isinstance(function, Module):
            raise TypeError("Lambda: function: got a Module, which needs no Lambda; pass it itself")
        if not callable(function):
            raise TypeError(
                f"Lambda: function: expected a function of x, got {check.describe(function)}"
            )
        self.function = function

    def _formula(self, x: Tensor) -> Any:
        return self.function(x)

    @property
    def _runs_user_code(self) -> bool:  # type: ignore[override]
        return not str(getattr(self.function, "__module__", "")).startswith("nnlite.")

    def config(self) -> dict[str, Any]:
        name = getattr(self.function, "__name__", "")
        for place in ("functional", "autograd"):
            if _named(place, name) is self.function:
                return {"function": f"{place}.{name}"}
        raise TypeError(
            f"{self!r} has a function that a file cannot hold: files hold functions of "
            "nnlite.functional and nnlite.autograd alone, by name; write it as a class: "
            "class MyLayer(nn.Module) with forward(self, x)"
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Lambda:
        place, _, name = str(config["function"]).partition(".")
        found = _named(place, name)
        if found is None:
            raise ValueError(f"Lambda: nnlite has no function {config['function']!r:.60}")
        return cls(found)

    def _describe(self) -> str:
        return getattr(self.function, "__name__", None) or repr(self.function)
