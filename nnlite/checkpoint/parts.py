"""The parts of a checkpoint: model, optimiser and trainer as JSON and arrays, and back.

What a part is made of (class and arguments) and what changes in it (state) stand side by side:

    model      architecture | weights, state of modules, modules in eval mode, frozen parameters
    optimizer  class, config, names of its parameters | state_dict()
    trainer    class, loss | state_dict()
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .._core.config import rebuilding
from .._core.dtypes import DTYPES
from .._core.settings import settings
from ..nn.losses import Loss
from ..nn.module import Module
from ..optim import Optimizer
from .file import Reader
from .header import CheckpointError
from .tree import Packer, Unpacker


def pack_parts(packer: Packer, model: Module, optimizer: Any, trainer: Any) -> dict[str, Any]:
    """The parts as JSON."""
    modules = list(model.named_modules())
    states = {name: module.extra_state() for name, module in modules}
    packed: dict[str, Any] = {
        "model": {
            "architecture": packer.pack_part(model, "model"),
            "eval": [name for name, module in modules if not module.training],
            "state": packer.pack(
                {name: state for name, state in states.items() if state is not None}, "model/state"
            ),
        }
    }
    frozen = frozen_names(model)
    if frozen:
        packed["model"]["frozen"] = frozen
    if optimizer is not None:
        names = {id(p): name for name, p in model.named_parameters()}
        packed["optimizer"] = {
            **packer.classes.name(type(optimizer)),
            "config": packer.pack(settings(optimizer, skip=("params",)), "optimizer"),
            "names": [names[id(p)] for p in optimizer.parameters],
            "state": packer.pack(_state_of(optimizer), "optimizer"),
        }
    if trainer is not None:
        packed["trainer"] = {
            **packer.classes.name(type(trainer)),
            "loss": packer.pack_part(trainer.loss, "trainer/loss"),
            "state": packer.pack(trainer.state_dict(), "trainer"),
        }
    return packed


def _state_of(optimizer: Optimizer) -> dict[str, Any]:
    """Its state_dict, without copies where it is that of nnlite: they may be twice the weights."""
    ours = type(optimizer).state_dict is Optimizer.state_dict
    return optimizer._live_state() if ours else optimizer.state_dict()


# ---- building ----


def build_model(file: Reader, packed: dict[str, Any], unpacker: Unpacker) -> Module:
    """The model; refused before it takes more memory than its weights have in the file."""
    room = sum(tensor.end - tensor.begin for tensor in weights_of(file).values())
    with rebuilding(room):
        model = unpacker.unpack_part(packed["architecture"], Module)
    _require_weights(file, model)
    for name, p in model.named_parameters():
        p.data = file.read(name)  # one after the other: they are never in memory twice
    for name, array in model.named_buffers(persistent=True):
        array[...] = file.read(name)
    states = unpacker.unpack(packed["state"])
    _require_modules(model, states, packed["eval"])
    _set_modules(model, states, packed["eval"])
    _freeze(model, _frozen_in(packed, model))
    return model


def build_optimizer(packed: dict[str, Any], model: Module, unpacker: Unpacker) -> Optimizer:
    """The optimiser over parameters of the model."""
    cls = unpacker.classes.find(packed, Optimizer)
    own = dict(model.named_parameters())
    optimizer = cls([own[name] for name in packed["names"]], **unpacker.unpack(packed["config"]))
    optimizer.load_state_dict(unpacker.unpack(packed["state"]))
    return optimizer


def build_trainer(
    packed: dict[str, Any], model: Module, optimizer: Optimizer | None, unpacker: Unpacker
) -> Any:
    """The trainer of the model by the optimiser."""
    from ..train.trainer import Trainer

    cls = unpacker.classes.find(packed, Trainer)
    trainer = cls(model, unpacker.unpack_part(packed["loss"], Loss), optimizer)
    trainer.load_state_dict(unpacker.unpack(packed["state"]))
    return trainer


def weights_of(file: Reader) -> dict[str, Any]:
    """The parameters of the model: what has no / in its name."""
    return {name: tensor for name, tensor in file.tensors.items() if "/" not in name}


def _require_modules(model: Module, states: Any, evaluating: Any) -> None:
    """Requires states of exactly the modules that have some."""
    modules = dict(model.named_modules())
    expected = {name for name, module in modules.items() if module.extra_state() is not None}
    if states.keys() != expected or not modules.keys() >= set(evaluating):
        raise CheckpointError("its states are those of other modules")


def frozen_names(model: Module) -> list[str]:
    """Names of the parameters that are not trained."""
    return [name for name, p in model.named_parameters() if not p.requires_grad]


def _frozen_in(packed: dict[str, Any], model: Module) -> list[str]:
    """The names of frozen parameters in a file; those of the model alone are allowed."""
    names = packed.get("frozen", [])
    if not isinstance(names, list) or not set(names) <= dict(model.named_parameters()).keys():
        raise CheckpointError("its frozen parameters are none of the model's")
    return names


def _freeze(model: Module, names: list[str]) -> None:
    """Freezes these parameters, and no others."""
    frozen = set(names)
    for name, p in model.named_parameters():
        p.requires_grad = name not in frozen


def _set_modules(model: Module, states: dict[str, Any], evaluating: Any) -> None:
    names = set(evaluating)
    for name, module in model.named_modules():
        if name in states:
            module.load_extra_state(states[name])
        module.training = name not in names


def _require_weights(file: Reader, model: Module) -> None:
    """Requires that the file's arrays are the parameters of the model, before one is read."""
    found = weights_of(file)
    own = model._state_arrays()
    for name in sorted(own.keys() | found.keys()):
        if name not in own or name not in found:
            where = "in the file" if name in found else "in the architecture"
            raise CheckpointError(f"the parameter {name[:100]!r} is only {where}")
        array, tensor = own[name], found[name]
        native = array.dtype.newbyteorder("=")
        if array.shape != tensor.shape or native != DTYPES[tensor.dtype].newbyteorder("="):
            raise CheckpointError(
                f"{name} has shape {tensor.shape} and dtype {tensor.dtype}, "
                f"the architecture expects {array.shape} and {array.dtype}"
            )


# ---- state ----


class State(NamedTuple):
    """What changes in training: weights, states of modules, of the optimiser and of the trainer."""

    weights: dict[str, np.ndarray]
    modules: dict[str, Any]
    evaluating: list[str]
    frozen: list[str]
    optimizer: Any
    trainer: Any

    @classmethod
    def read(cls, file: Reader, parts: dict[str, Any], unpacker: Unpacker, model: Module) -> State:
        """The state in a file, checked against a living model."""
        _require_weights(file, model)
        packed = parts["model"]
        modules = unpacker.unpack(packed["state"])
        _require_modules(model, modules, packed["eval"])
        optimizer, trainer = (
            unpacker.unpack(parts[name]["state"]) if name in parts else None
            for name in ("optimizer", "trainer")
        )
        weights = {name: file.read(name) for name in weights_of(file)}
        frozen = _frozen_in(packed, model)
        return cls(weights, modules, packed["eval"], frozen, optimizer, trainer)

    @classmethod
    def current(cls, model: Module, optimizer: Any, trainer: Any) -> State:
        """A copy of the state of living objects."""
        modules = dict(model.named_modules())
        states = {name: module.extra_state() for name, module in modules.items()}
        return cls(
            model.state_dict(),
            copy.deepcopy({name: state for name, state in states.items() if state is not None}),
            [name for name, module in modules.items() if not module.training],
            frozen_names(model),
            None if optimizer is None else copy.deepcopy(optimizer.state_dict()),
            None if trainer is None else copy.deepcopy(trainer.state_dict()),
        )

    def apply(self, model: Module, optimizer: Any, trainer: Any) -> None:
        """Sets the state of living objects. What is frozen belongs to the training: weights alone
        leave it as it is."""
        _set_modules(model, self.modules, self.evaluating)
        if optimizer is not None or trainer is not None:
            _freeze(model, self.frozen)
        if optimizer is not None:
            optimizer.load_state_dict(self.optimizer)
        if trainer is not None:
            trainer.load_state_dict(self.trainer)
        for name, p in model.named_parameters():
            p.data = self.weights[name]
        for name, array in model.named_buffers(persistent=True):
            array[...] = self.weights[name]


# ---- comparing ----


def differences(parts: dict[str, Any], mine: dict[str, Any]) -> Iterator[str]:
    """In what a file's parts are not those of living objects, the first things first."""
    for part, keys in (
        ("model", ["architecture"]),
        ("optimizer", ["$part", "own", "names", "config"]),
        ("trainer", ["loss"]),
    ):
        if part in mine and part not in parts:
            yield f"it holds no {part}"
        elif part in mine:
            for key in keys:
                yield from _difference(parts[part][key], mine[part][key], f"{part}/{key}")


def _difference(found: Any, mine: Any, path: str) -> Iterator[str]:
    """Where two JSON values differ."""
    if isinstance(found, dict) and isinstance(mine, dict):
        # The file overwrites initial weights and the learning rate, whatever they were.
        names = sorted((found.keys() | mine.keys()) - {"init", "lr"})
        for name in names:
            yield from _difference(found.get(name), mine.get(name), f"{path}/{name}")
    elif isinstance(found, list) and isinstance(mine, list) and len(found) == len(mine):
        for index, (one, other) in enumerate(zip(found, mine, strict=True)):
            yield from _difference(one, other, f"{path}/{index}")
    elif found != mine:
        yield f"{path}: it holds {_short(found)}, expected {_short(mine)}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("$part", "a dict"))
    return f"{len(value)} items" if isinstance(value, list) else repr(value)[:100]
