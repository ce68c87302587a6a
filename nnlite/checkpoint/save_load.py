"""Models, optimisers and trainers in files: nn.save and nn.load.

A file is in the safetensors format, so that any program that knows it reads the weights, under the
names of `state_dict()`. Other arrays have a "/" in their names. The description is JSON:

    version             1
    model               architecture, modules in eval mode, state of modules
    optimizer, trainer  class, arguments, state; missing where there is none
    extra               the caller's own

Nothing in a file is run or imported: a class is looked up by its name among nnlite's own and those
that the caller gives.
"""

from __future__ import annotations

import errno
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._core import atomic, check
from ..nn.module import Module
from ..optim import Optimizer
from ..train._finite import ADVICE, not_finite
from .file import KEY, Reader, Writer
from .header import CheckpointError
from .parts import (
    State,
    build_model,
    build_optimizer,
    build_trainer,
    differences,
    pack_parts,
    weights_of,
)
from .rebuild import require_rebuildable
from .tree import Classes, Packer, Unpacker

if TYPE_CHECKING:
    from ..train.trainer import Trainer

VERSION = 1
PARTS = ("model", "optimizer", "trainer", "extra")


class Checkpoint(NamedTuple):
    """What a file holds; parts that were not saved are None.

    Attributes:
        model: the Module, with its weights, its state and its mode.
        optimizer: the optimiser over the model's parameters, with its state.
        trainer: the Trainer of both, which goes on where it was.
        extra: the caller's dict, {} when there was none.
    """

    model: Any
    optimizer: Any
    trainer: Any
    extra: dict[str, Any]


def save(
    path: Any,
    model: Module,
    optimizer: Optimizer | None = None,
    trainer: Trainer | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model, and what trains it, to a file in the safetensors format.

    The file is replaced in one step: after a crash, a kill or a loss of power it holds the old
    bytes or the new ones. Temporary files that killed writers left behind are removed.

    Args:
        path: the file; a symbolic link stays one. New files get the umask's permissions. Or a
            binary file object, such as io.BytesIO(), which is written to from where it stands and
            has no old bytes to keep.
        model: the Module. Classes of your own keep each constructor argument as the attribute of
            the same name, or define `config()`; see Module.config.
        optimizer: an optimiser over parameters of the model; default the trainer's.
        trainer: the Trainer of that model and optimiser.
        extra: anything else, such as class names or means of features: a dict of texts, numbers,
            lists, dicts and arrays. Tuples come back as lists.

    Raises:
        TypeError: an argument is of another kind, or holds what cannot be kept.
        ValueError: the parts do not belong together, or their description is too large; or nn.load
            could not make the model again. With classes of your own it is made once to find out.
        FloatingPointError: an optimiser or trainer is saved, and a weight or a state of the
            optimiser is infinite or NaN. A model alone keeps the bits that it has, with a
            RuntimeWarning.
        OSError: the file cannot be written. The old file is as it was, whatever is raised.

    Notes:
        Copies no more than a megabyte at a time of weights and states. The seed of initial weights
        (manual_seed) is not kept: what a resumed training needs is in the parts themselves.

    Source: https://huggingface.co/docs/safetensors
    """
    if hasattr(path, "write"):
        _require_binary("save", path, "wb")
    else:
        _require_path("save", path, "a path or a binary file")
    optimizer = _checked_optimizer("save", model, optimizer, trainer)
    if extra is not None and not isinstance(extra, Mapping):
        raise TypeError(f"save: extra: expected a dict, got {check.describe(extra)}")
    found = not_finite(model, optimizer)
    if found and optimizer is not None:
        raise FloatingPointError(f"save: {found}. {ADVICE}")
    if found:
        warnings.warn(f"save: {found}; the file keeps them as they are", RuntimeWarning, 2)
    arrays = {name: np.asarray(a, order="C") for name, a in model._state_arrays().items()}
    for name in arrays:
        if "/" in name or name == "__metadata__":
            raise ValueError(f"save: model: {name!r} is no name for a parameter; rename it")
    packer = Packer(arrays, Classes((), "save"))
    try:
        packed = pack_parts(packer, model, optimizer, trainer)
        require_rebuildable(packer, model, packed["model"])
        if extra:
            packed["extra"] = packer.pack(extra, "extra")
        writer = Writer(packer.arrays, {"version": VERSION, **packed})
    except RecursionError:
        raise ValueError("save: dicts, lists or modules are nested too deeply") from None
    if not hasattr(path, "write"):
        atomic.write(path, writer.to_file, "save")
        return
    for part in writer.parts():
        _write_to(path, part)


def load(path: Any, classes: Any = ()) -> Checkpoint:
    """Reads what `save` wrote: a model and what trains it, made anew.

    Args:
        path: the file; or its content as bytes, or a binary file object, which is read to its end.
        classes: your own classes in it, as in classes=[MyLayer]; found by their names.

    Returns:
        Checkpoint(model, optimizer, trainer, extra).

    Raises:
        CheckpointError: the file is cut off, altered, of another kind or version, names a class
            that is not known, or was made to do harm. It is a ValueError.
        FileNotFoundError, IsADirectoryError, PermissionError: it cannot be read.
        TypeError, ValueError: classes are not classes, or two have one name.

    Notes:
        Reads a file by its path twice: once for its checksum, once array by array into place,
        with at most twice its size in memory. Changes nothing in the process: no seed, no stream
        of initial weights.
    """
    known = Classes(classes)
    with _opened(path, "load") as (file, parts):
        unpacker = Unpacker(file.read, known)
        model = build_model(file, parts["model"], unpacker)
        optimizer = trainer = None
        if "optimizer" in parts:
            optimizer = build_optimizer(parts["optimizer"], model, unpacker)
        if "trainer" in parts:
            trainer = build_trainer(parts["trainer"], model, optimizer, unpacker)
        return Checkpoint(model, optimizer, trainer, unpacker.unpack(parts.get("extra", {})))


def restore(
    path: Any,
    model: Module | Trainer,
    optimizer: Optimizer | None = None,
    trainer: Trainer | None = None,
) -> dict[str, Any]:
    """Sets a model, and what trains it, to what a file holds.

    Args:
        path: the file.
        model: a Module of the architecture that was saved; or a Trainer, for it and its parts.
        optimizer, trainer: of the same classes and arguments as those saved. The learning rate
            comes from the file. What is not given is not read.

    Returns:
        The caller's own dict, `extra`.

    Raises:
        CheckpointError: as for `load`, or the file holds another architecture, optimiser or loss.
            Nothing has changed then.
        OSError: the file cannot be read.
    """
    from ..train.trainer import Trainer

    if isinstance(model, Trainer):
        trainer, model = model, model.model
    return restore_if(path, model, optimizer, trainer, lambda: None)


def restore_if(
    path: Any,
    model: Module,
    optimizer: Optimizer | None,
    trainer: Trainer | None,
    accept: Callable[[], None],
) -> dict[str, Any]:
    """`restore`, but everything is put back where `accept`, called at the end, raises."""
    optimizer = _checked_optimizer("restore", model, optimizer, trainer)
    known = Classes((), "restore")
    with _opened(path, "restore") as (file, parts):
        mine = pack_parts(Packer({}, known), model, optimizer, trainer)
        for difference in differences(parts, mine):
            raise CheckpointError(difference)
        unpacker = Unpacker(file.read, known)
        extra = unpacker.unpack(parts.get("extra", {}))
        new = State.read(file, {name: parts[name] for name in mine}, unpacker, model)
        old = State.current(model, optimizer, trainer)
        try:
            new.apply(model, optimizer, trainer)
            accept()
        except BaseException:
            old.apply(model, optimizer, trainer)
            raise
        return extra


def read_arrays(path: Any, operation: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arrays by name, metadata) of any safetensors file; of one of nnlite's, the model's arrays.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    source, name = _source(operation, path)
    try:
        with Reader(source, foreign=True) as file:
            metadata = file.metadata if isinstance(file.metadata, dict) else {}
            wanted = weights_of(file) if KEY in metadata else file.tensors
            return {key: file.read(key) for key in wanted}, metadata
    except CheckpointError as error:
        raise CheckpointError(f"{operation}: {name}: {error}") from None


# ---- the file as a whole ----


def _require_binary(operation: str, file: Any, mode: str) -> None:
    if isinstance(file, io.TextIOBase):
        raise TypeError(
            f"{operation}: path: expected a path or a binary file, got a text file; open it with "
            f"mode {mode!r}"
        )


def _require_path(operation: str, path: Any, expected: str) -> None:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{operation}: path: expected {expected}, got {check.describe(path)}")


def _write_to(file: Any, data: bytes) -> None:
    """Writes all of the bytes to a binary file object."""
    view = memoryview(data)
    while view:
        count = file.write(bytes(view) if len(view) < len(data) else data)
        if count is None:  # some write all and do not say so
            return
        if count <= 0:
            raise OSError(errno.EIO, f"save: {file!r} took no more bytes; it holds no model")
        view = view[count:]


def _source(operation: str, path: Any) -> tuple[Any, str]:
    """(a path or a view of bytes, what it is called in messages)."""
    if isinstance(path, (bytes, bytearray, memoryview)):
        return memoryview(path).cast("B"), f"{len(path)} bytes"
    if not hasattr(path, "read"):
        _require_path(operation, path, "a path, bytes or a binary file")
        found = os.fspath(path)
        return found, repr(found)
    _require_binary(operation, path, "rb")
    data = path.read()
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"{operation}: path: expected a binary file whose read() gives bytes, got "
            f"{check.describe(data)} of {check.describe(path)}"
        )
    name = f"the file {getattr(path, 'name', type(path).__name__)!r}"
    return memoryview(data).cast("B"), name if data else f"{name}, read at its end (seek(0))"


@contextmanager
def _opened(path: Any, operation: str) -> Iterator[tuple[Reader, dict[str, Any]]]:
    """(the file, its parts as JSON), verified; whatever fails inside is the file's fault."""
    source, name = _source(operation, path)
    try:
        with Reader(source) as file:
            yield file, _parts(file)
    except (OSError, MemoryError, ImportError, SystemError):  # of the system, not of the file
        raise
    except CheckpointError as error:
        raise CheckpointError(f"{operation}: {name}: {error}") from error.__cause__
    except Exception as error:
        text = f"it describes nothing that can be built: {type(error).__name__}: {error}"
        raise CheckpointError(f"{operation}: {name}: {text}") from error


def _parts(file: Reader) -> dict[str, Any]:
    """The parts in a file of this version whose checksum fits."""
    version = file.description.get("version")
    if version != VERSION:
        raise CheckpointError(
            f"it has version {str(version)[:20]} of the format, this nnlite reads version "
            f"{VERSION}; upgrade nnlite"
        )
    file.verify()
    parts = {name: file.description[name] for name in PARTS if name in file.description}
    if "model" not in parts or not all(isinstance(part, dict) for part in parts.values()):
        raise CheckpointError("it has no model, or parts that are not JSON objects")
    return parts


def _checked_optimizer(operation: str, model: Any, optimizer: Any, trainer: Any) -> Any:
    """The optimiser, by default the trainer's, of parts that belong together."""
    from ..train.trainer import Trainer

    if optimizer is None and isinstance(trainer, Trainer):
        optimizer = trainer.optimizer
    for name, value, kind in (
        ("model", model, Module),
        ("optimizer", optimizer, Optimizer),
        ("trainer", trainer, Trainer),
    ):
        if not isinstance(value, kind) and (value is not None or name == "model"):
            raise TypeError(
                f"{operation}: {name}: expected {kind.__name__}, got {check.describe(value)}"
            )
    if trainer is not None and (trainer.model is not model or trainer.optimizer is not optimizer):
        raise ValueError(f"{operation}: trainer: it trains another model, or by another optimizer")
    if optimizer is not None:
        own = {id(p) for p in model.parameters()}
        if not all(id(p) in own for p in optimizer.parameters):
            raise ValueError(f"{operation}: optimizer: it has parameters that are not the model's")
    return optimizer
