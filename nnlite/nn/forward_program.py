"""Chains of layers recorded as C programs: one call from Python runs them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _native
from .._config import _State
from .linear import Linear
from .module import Module, Structure
from .parameter import Parameter

_from_buffer = _native.from_buffer


class ForwardProgram:
    """The forward pass of a chain of layers, recorded once and run by one C call.

    It gives the same bits as the layers one by one. It holds pointers into the arenas of the
    parameters; once a parameter has moved it is out of date.

    Args:
        plan: (module, activation that it computes in the same kernel, or None) for each step.
        parameters: the parameters of all modules, of one dtype.
        width: columns of an input row.
    """

    __slots__ = (
        "_arenas", "_array", "_count", "_kernel", "_linears", "_steps", "_token", "dtype",
        "outputs", "width",
    )  # fmt: skip

    def __init__(self, plan: Sequence[Any], parameters: Sequence[Parameter], width: int) -> None:
        self._arenas = list({id(p._arena): p._arena for p in parameters}.values())
        self._token = Structure.token
        self._linears = [
            (module, module.weight, module.bias) for module, _ in plan if type(module) is Linear
        ]
        self._steps = _native.structs("step", len(plan))
        self.dtype, self.width, self.outputs = parameters[0].dtype, width, width
        kernels = _native.KERNELS[self.dtype]
        self._kernel, self._array, self._count = (
            kernels.Program_updateOutput,
            kernels.array,
            len(plan),
        )
        for step, (module, activation) in zip(self._steps, plan, strict=True):
            step.inputs = self.outputs
            module._record(step, activation and activation.fused)
            self.outputs = step.outputs

    def current(self) -> bool:
        """True while the parameters are those, and where they were, when this was recorded."""
        if self._token is not Structure.token:
            token = Structure.token
            for module, weight, bias in self._linears:
                if module.weight is not weight or module.bias is not bias:
                    return False
            self._token = token
        for arena in self._arenas:  # noqa: SIM110 - the loop is quicker than a generator
            if arena.retired:
                return False
        return True

    def run(self, x: np.ndarray) -> np.ndarray:
        """The output (N, outputs) for a C-contiguous x (N, width) of the dtype."""
        rows, array = x.size // self.width, self._array
        out = np.empty((rows, self.outputs), self.dtype)
        status = self._kernel(
            rows, self._count, self._steps, _from_buffer(array, x), _from_buffer(array, out),
            _State.threads,
        )  # fmt: skip
        if status:
            _native.fail("predict", status)
        return out


def recordable(module: Any) -> bool:
    """True where `_record` writes what `_run` computes: not in a subclass with its own."""
    kind: Any = type(module)
    home = next(base for base in kind.__mro__ if "_record" in vars(base))
    plain = kind._run is home._run and kind.forward is Module.forward
    return module.recordable and plain


def record(plan: Sequence[Any], parameters: Sequence[Parameter]) -> ForwardProgram | None:
    """The program of a chain, or None where a layer cannot be recorded or widths do not fit."""
    widths = [module.in_features for module, _ in plan if hasattr(module, "in_features")]
    if not widths or len({p.dtype for p in parameters}) != 1:
        return None
    width = widths[0]
    for module, _ in plan:
        if not recordable(module) or getattr(module, "in_features", width) != width:
            return None
        width = getattr(module, "out_features", width)
    return ForwardProgram(plan, parameters, widths[0])
