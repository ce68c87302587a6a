"""A chain of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._pending import Pending
from .module import Module
from .parameter import gather


class Sequential(Module):
    """Modules applied one after the other.

    Their parameters are moved into one flat arena. Forward is one call of C, and so is backward;
    the results and their bits are those of the modules one by one.

    Args:
        modules: any number of modules, each a different object.

    Raises:
        TypeError: an argument is not a Module.
        ValueError: a module stands in two places; its backward could not tell them apart.
    """

    _unnamed = "layers"
    if TYPE_CHECKING:  # no setting: a subclass may have layer1
        layers: tuple[Module, ...]

    def __init__(self, *modules: Module) -> None:
        for index, module in enumerate(modules):
            if not isinstance(module, Module):
                cure = "; pass Sequential(*layers)" if isinstance(module, (list, tuple)) else ""
                raise TypeError(
                    f"Sequential: argument {index}: expected a Module, "
                    f"got {type(module).__name__}{cure}"
                )
        places: dict[int, int] = {}
        for index, module in enumerate(modules):
            for part in module.modules():
                first = places.setdefault(id(part), index)
                if first != index:
                    raise ValueError(
                        f"Sequential: {part!r} stands at {first} and again at {index}; "
                        "make a second module for the second place"
                    )
        vars(self)["layers"] = ()
        super().__setattr__("layers", tuple(modules))
        gather(self.parameters())

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "layers":
            raise AttributeError(
                "Sequential: layers is fixed; make another of them, nn.Sequential(*layers), whose "
                "layers keep their weights"
            )
        super().__setattr__(name, value)

    def config(self) -> dict[str, Any]:
        return {"layers": list(self.layers)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        return cls(*config["layers"])

    def _step(self, x: np.ndarray, call: Any = None, want_input: bool = True) -> np.ndarray:
        """The layers one by one, each of which keeps what it needs; or as one graph by a call."""
        if call is not None:
            return super()._step(x, call, want_input)
        try:
            for module in self.layers:
                x = module._call(x, True)
        except BaseException:
            self.forget()  # a later layer refused, or Ctrl-C: the earlier ones have not run
            raise
        self._keep(None)
        return x

    def _values(self, x: np.ndarray, call: Any = None) -> np.ndarray:
        if call is not None:
            return super()._values(x, call)
        for module in self.layers:
            x = module._call(x, False)
        return x

    def _formula(self, x: Any) -> Any:
        for module in self.layers:
            x = module(x)
        return x

    def _check_pending(self) -> None:
        super()._check_pending()
        try:
            for module in self.layers:
                module._check_pending()
        except RuntimeError:
            self.forget()  # so that the next forward and backward work
            raise

    def _check_grad(self, saved: Any, grad_output: np.ndarray) -> None:
        if isinstance(saved, Pending):
            self.layers[-1]._check_grad(saved, grad_output)

    def _grad(self, saved: Any, grad_output: np.ndarray, want_input: bool) -> Any:
        if isinstance(saved, Pending):
            return super()._grad(saved, grad_output, want_input)
        begun = False  # what the first step refuses has changed nothing, and stays pending
        try:
            for index in reversed(range(len(self.layers))):
                needed = want_input or index > 0
                grad_output = self.layers[index]._call_backward(grad_output, needed)
                begun = True
        except BaseException:
            if begun:
                self.forget()
            else:
                self._keep(None)
            raise
        return grad_output

    def _unfold(self, saved: Any) -> None:
        """Makes of a pass of the chain passes of its layers."""
        before = saved.rewound()
        self.forget()
        try:
            self._step(saved.x)
        finally:
            for module, step in before:
                module.step = step

    def _spaces(self) -> list[dict[str, Any]]:
        return [vars(self), *(space for layer in self.layers for space in layer._spaces())]

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def __iter__(self) -> Any:
        return iter(self.layers)

    def _all_parameters(self, prefix: str, outer: tuple[Module, ...] = ()) -> Any:
        for index, module in enumerate(self.layers):
            yield from module._all_parameters(f"{prefix}{index}.", (*outer, self))
        for name, part in self._parts():  # of a subclass
            if not name.startswith("layers."):
                if isinstance(part, Module):
                    yield from part._all_parameters(f"{prefix}{name}.", (*outer, self))
                else:
                    yield prefix + name, part

    def __repr__(self) -> str:
        count = sum(p.size for p in self.parameters())
        lines = "".join(f"\n({i}) {module!r}" for i, module in enumerate(self.layers))
        body = lines.replace("\n", "\n  ") + "\n" if lines else ""
        return f"Sequential({body})  # {count:,} parameters"
