"""Whether a model can be made again from its description, asked before a file is written.

A description holds classes and the arguments of their constructors. What was added or replaced
afterwards is lost with it: a module as one more attribute, one parameter in two places, a
constructor that does not make what the model has. A model of nnlite's classes alone is looked
through; with others it is built from the description, as nn.load would, and compared.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .._core.config import rebuilding
from ..nn.branches import Concat, Residual
from ..nn.containers import ModuleDict, ModuleList
from ..nn.linear import Linear
from ..nn.module import Module
from ..nn.sequential import Sequential
from .tree import Packer, Unpacker

CURE = "nn.load could not make this model again, so nothing was written"

OWN_PARTS = {  # attributes that the constructors of nnlite make parameters and modules of
    Linear: ("weight", "bias"),
    Sequential: ("layers",),
    Residual: ("module",),
    Concat: ("branches",),
}


def require_rebuildable(packer: Packer, model: Module, packed: dict[str, Any]) -> None:
    """Raises ValueError unless nn.load could make the model from its description."""
    for name, module in model.named_modules():
        if (
            module.extra_state() is not None
            and type(module).load_extra_state is Module.load_extra_state
        ):
            raise ValueError(
                f"save: model: {type(module).__name__} ({name}) defines extra_state and no "
                f"load_extra_state: {CURE}"
            )
    if all(packer.classes.library.get(type(m).__name__) is type(m) for m in model.modules()):
        _require_one_place(model)
        for name, module in model.named_modules():
            _require_plain(name, module)
        return
    with suppress(MemoryError):  # to find out takes more than is left; writing does not
        _compare(model, _built(packer, packed), packed)


def _require_one_place(model: Module) -> None:
    """Requires that no parameter is shared: the constructors of nnlite make one for each place."""
    names = [name for name, _ in model._all_parameters("")]
    once = [name for name, _ in model.named_parameters()]
    if len(names) > len(once):
        twice = sorted(set(names) - set(once))[0]
        raise ValueError(
            f"save: model: the parameter {twice} is that of another place too: {CURE}. Make the "
            "module once, keep it in one place, and call it from both"
        )


def _require_plain(name: str, module: Module) -> None:
    """Requires a module of nnlite as its constructor makes it."""
    known = OWN_PARTS.get(type(module), ())
    for part, _ in () if isinstance(module, (ModuleList, ModuleDict)) else module._parts():
        if part.partition(".")[0] not in known:
            _refuse(f"{type(module).__name__} ({name}) got the attribute {part}")
    if module._buffers:
        _refuse(f"{type(module).__name__} ({name}) got the buffer {next(iter(module._buffers))}")
    if isinstance(module, Linear) and module.bias is not None:
        weight, bias = module.weight, module.bias
        if bias.shape != weight.shape[1:] or bias.dtype != weight.dtype:
            _refuse(f"Linear ({name}) has weight {weight!r} and bias {bias!r}")


def _refuse(what: str) -> None:
    raise ValueError(
        f"save: model: {what}, which the arguments of its class do not tell: {CURE}. Make a class "
        "of your own whose __init__ makes it"
    )


def _built(packer: Packer, packed: dict[str, Any]) -> Module:
    """The model made again, with zeros for weights."""
    unpacker = Unpacker(lambda name: packer.arrays[name].copy(), packer.classes)
    try:
        with _same_random(), rebuilding(sys.maxsize):
            return unpacker.unpack_part(packed["architecture"], Module)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise ValueError(
            f"save: model: its constructor raises {type(error).__name__}: {error}, with the "
            f"arguments that its attributes tell: {CURE}. Keep each argument as the attribute of "
            "its name, or define config() and from_config"
        ) from error


def _compare(model: Module, twin: Module, packed: dict[str, Any]) -> None:
    mine, made = model._state_arrays(), twin._state_arrays()
    for name in [*mine, *made]:
        if name not in made or name not in mine:
            where = "only in the model" if name in mine else "made by its constructor alone"
            raise ValueError(
                f"save: model: the parameter {name} is {where}: {CURE}. Make in __init__ what the "
                "model has, from its arguments"
            )
        old, new = mine[name], made[name]
        if old.shape != new.shape or old.dtype != new.dtype:
            raise ValueError(
                f"save: model: {name} has shape {old.shape} and dtype {old.dtype}, its constructor "
                f"makes {new.shape} and {new.dtype}: {CURE}. Keep in the attributes of the "
                "arguments what they were"
            )
    modules = dict(twin.named_modules())
    stateful = {name for name, module in modules.items() if module.extra_state() is not None}
    lost = sorted(stateful ^ set(packed["state"])) + sorted(set(packed["eval"]) - modules.keys())
    if lost:
        raise ValueError(
            f"save: model: the module {lost[0]!r} is not made by its constructor: {CURE}"
        )


@contextmanager
def _same_random() -> Iterator[None]:
    """Constructors that draw random numbers leave the generators of the process as they were."""
    state, numpy = random.getstate(), sys.modules.get("numpy.random")
    legacy = None if numpy is None else numpy.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        if numpy is not None and legacy is not None:
            numpy.set_state(legacy)
