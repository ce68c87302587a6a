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
        "derivatives only; define forward on Tensors alone to have more"
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
    """A loss's `_run` and `_grad`."""

    repeatable = False  # a call writes total_weight

    @classmethod
    def forward(cls, x: Any, loss: Any, target: Any, sample_weight: Any, cell: Any) -> Any:
        value, cell[0] = loss._weighed(contiguous(x), target, sample_weight)
        return np.array(value, x.dtype)

    @classmethod
    def vjp(cls, g: Any, need: Any, loss: Any, target: Any, sample_weight: Any, cell: Any) -> Any:
        return _no_formula(cls.name) if type(g) is Tensor else loss._grad(cell[0]) * g

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        if inputs[0]._edge is not None:
            return _no_formula(cls.name)
        return (tangents[0] * params[0]._grad(params[-1][0])).sum()


def loss_call(loss: Any, output: Any, target: Any, sample_weight: Any = None) -> Any:
    """The loss of a Tensor: by the operation that it is, or by `_run`."""
    name, recording = type(loss).__name__, state.mode & RECORD
    if recording:
        state.tape.depends_on(loss)
    target = constant(name, "target", target)
    sample_weight = constant(name, "sample_weight", sample_weight)
    settings = loss._settings_of_call(output._data, sample_weight)
    if settings is not None:
        op = _named(loss._op, loss)
        value, vars(loss)["total_weight"] = op.measured(output, target, settings)
        if recording:
            state.tape.losses.append((loss, value._data))
        return value
    if recording:
        unsupported(f"{name} is written by _run and _grad")
    return apply(_named(LossCall, loss), output, params=(loss, target, sample_weight, [None]))


_classes: dict[tuple[type, type], type] = {}


def _named(base: type, thing: Any) -> Any:
    """The operation under the name of the module or loss, made once for each class."""
    key = base, type(thing)
    if key not in _classes:
        _classes[key] = type(type(thing).__name__, (base,), {"name": type(thing).__name__})
    return _classes[key]
