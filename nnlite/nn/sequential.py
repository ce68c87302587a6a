"""A chain of modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import _Activation
from .linear import Linear
from .module import Module, is_own_layer
from .parameter import gather


class Sequential(Module):
    """Modules applied one after the other.

    Their parameters are moved into one flat arena. A Linear followed by ReLU, Sigmoid or Tanh runs
    as one kernel; the results and their bits are those of the modules one by one.

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
        self._plan = self._steps()
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

    def _steps(self) -> list[tuple[Module, _Activation | None]]:
        """(module, the activation after it that it computes in the same kernel, or None)."""
        steps: list[tuple[Module, _Activation | None]] = []
        for module in self.layers:
            last = steps[-1] if steps else None
            if (
                last
                and type(last[0]) is Linear
                and last[1] is None
                and isinstance(module, _Activation)
                and type(module)._run is _Activation._run
                and module.fused
            ):
                steps[-1] = (last[0], module)
            else:
                steps.append((module, None))
        return steps

    def _run(self, x: np.ndarray, keep: bool) -> np.ndarray:
        try:
            for module, activation in self._plan:
                if activation is None:
                    x = module._call(x, keep)
                else:
                    x = module._run(x, keep, activation.fused)  # type: ignore[call-arg]
                    if keep:
                        activation._keep(x)
        except BaseException:
            if keep:
                self.forget()  # a later layer refused, or Ctrl-C: the earlier ones have not run
            raise
        if keep:
            self._keep(None)
        return x

    def _graph(self, x: Any) -> Any:
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

    def _backward(self, grad_output: np.ndarray, want_input: bool, fits: bool = False) -> Any:
        self._check_pending()
        begun = False  # what the first step refuses has changed nothing, and stays pending
        gated = False  # the step after has taken the gradient through this step's activation
        try:
            for index in range(len(self._plan) - 1, -1, -1):
                module, activation = self._plan[index]
                if activation is not None and not gated:
                    grad_output = activation._backward(grad_output, True, fits)
                    begun = fits = True
                before = self._plan[index - 1][1] if index else None
                gated = before is not None and type(module) is Linear
                if gated:
                    grad_output = module._backward_through(grad_output, before, fits)  # type: ignore
                else:
                    grad_output = module._call_backward(grad_output, want_input or index > 0, fits)
                begun, fits = True, is_own_layer(module)
        except BaseException:
            if begun:
                self.forget()
            raise
        self.__dict__["_forwards"] = 0
        return grad_output

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
