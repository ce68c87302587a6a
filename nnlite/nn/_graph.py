"""Modules and losses that are written by `_run` and `_grad`, as calls of the graph.

What has a definition in nnlite.autograd uses that one. These two calls are for all others: the
value comes from `_run`, the gradients from `_grad`, each call with what it kept for itself, so that
a module may be used any number of times. Derivatives beyond the first do not exist for them.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from ..autograd.node import RECORD, state, unsupported
from ..autograd.operation import Operation, apply
from ..autograd.ops.elementary import contiguous
from ..autograd.ops.losses import constant
from ..autograd.tensor import Tensor, wrap

_alone = threading.RLock()  # one call at a time: what it keeps passes through the module


def _after_fork() -> None:
    global _alone
    _alone = threading.RLock()  # the other may be held by a thread that is not here


os.register_at_fork(after_in_child=_after_fork)


def calls_alone() -> Any:
    """The lock of whoever changes modules for the time of a call."""
    return _alone


def _no_formula(name: str) -> Any:
    raise NotImplementedError(
        f"{name}: its backward is a kernel without a formula on Tensors, so it has first "
        "derivatives only; define forward(x) on Tensors alone to have more"
    )


class ModuleCall(Operation):
    """A module's `_run` and `_grad`; inputs: x and the parameters."""

    repeatable = False  # a call may change the module: counters, statistics

    @classmethod
    def forward(cls, x: Any, *rest: Any) -> Any:
        *_, module, cell = rest
        with _alone:  # what a call keeps lies in the module until it is taken away here
            y = module._call(x, True)
            cell[:] = [(part, part._saved, part._forwards) for part in module.modules()]
            module.forget()
        return y

    @classmethod
    def vjp(cls, g: Any, need: Any, module: Any, cell: Any) -> Any:
        if type(g) is Tensor:
            return _no_formula(type(module).__name__)
        with _alone:
            parameters = module.parameters()
            before = [p._grad.copy() for p in parameters]
            for part, saved, forwards in cell:
                part._saved, part._forwards = saved and list(saved), forwards
            for p in parameters:  # in place: programs add to these arrays
                p._grad.fill(0)
            try:
                dx = module._call_backward(np.array(g, order="C"), True)
                return dx, *[p._grad.copy() for p in parameters]
            finally:
                module.forget()
                for p, grad in zip(parameters, before, strict=True):
                    p._grad[...] = grad

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return _no_formula(type(params[0]).__name__)


def module_call(module: Any, x: Any) -> Any:
    """The output of a Tensor by the module's `_run`, recorded."""
    if state.mode & RECORD:
        unsupported(f"{type(module).__name__} is written by _run and _grad")
    if not module.training:  # what it would keep is kept by the call, not by the module
        return _evaluated(module, x)
    return apply(_named(ModuleCall, module), x, *module.parameters(), params=(module, []))


def _evaluated(module: Any, x: Any) -> Any:
    modes = [(part, part.training) for part in module.modules()]
    y = module._run(x._data, False)
    if x._edge is not None:
        raise NotImplementedError(
            f"{type(module).__name__}: in eval mode it has no backward; call train(), or "
            "detach() its input"
        )
    for part, mode in modes:
        part.training = mode
    return wrap(y)


class LossCall(Operation):
    """A loss's `_run` and `_grad`, and its `_slope` for further derivatives."""

    keeps_inputs = True
    repeatable = False  # a call writes total_weight

    @classmethod
    def unfolded(cls, loss: Any, target: Any, sample_weight: Any, cell: Any) -> Any:
        """The same as an operation of nnlite.autograd, and its parameters; None where there is
        none."""
        return loss._operation(target, sample_weight)

    @classmethod
    def forward(cls, x: Any, loss: Any, target: Any, sample_weight: Any, cell: Any) -> Any:
        value, cell[0] = loss._weighed(contiguous(x), target, sample_weight)
        return np.array(value, x.dtype)

    @classmethod
    def vjp(cls, g: Any, need: Any, x: Any, loss: Any, target: Any, *rest: Any) -> Any:
        if type(g) is Tensor:
            return g * loss._slope(x, target, rest[0])
        return loss._grad(rest[-1][0]) * g

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        loss, target, sample_weight, cell = params
        (x,) = inputs
        slope = loss._grad(cell[0]) if x._edge is None else loss._slope(x, target, sample_weight)
        return (tangents[0] * slope).sum()


def loss_call(loss: Any, output: Any, target: Any, sample_weight: Any = None) -> Any:
    """The loss of a Tensor by `_run`, recorded."""
    name = type(loss).__name__
    if state.mode & RECORD:
        return _recorded_loss(name, loss, output, target, sample_weight)
    target = constant(name, "target", target)
    sample_weight = constant(name, "sample_weight", sample_weight)
    return apply(_named(LossCall, loss), output, params=(loss, target, sample_weight, [None]))


def _recorded_loss(name: str, loss: Any, output: Any, target: Any, sample_weight: Any) -> Any:
    """The loss as the operation that it is, for a program."""
    state.tape.depends_on(loss)
    target = constant(name, "target", target)
    found = loss._operation(target, constant(name, "sample_weight", sample_weight))
    if found is None:
        unsupported(f"{name} is written by _run and _grad")
    op, (target, settings, _) = found
    arrays = (isinstance(v, np.ndarray) for v in settings)
    value = op.call(
        output, target,
        tuple([np.ascontiguousarray(v, output.dtype) if is_array else v
               for v, is_array in zip(settings, arrays, strict=True)]),
    )  # fmt: skip
    state.tape.losses.append((loss, value._data))
    return value


_classes: dict[tuple[type, type], type] = {}


def _named(base: type, thing: Any) -> type:
    """The operation under the name of the module or loss, made once for each class."""
    key = base, type(thing)
    if key not in _classes:
        _classes[key] = type(type(thing).__name__, (base,), {"name": type(thing).__name__})
    return _classes[key]
