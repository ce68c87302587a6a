"""The base of all modules: parameters, modes, state, prediction. How they compute: `_steps.py`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import check
from .._core.config import _State
from .._core.dtypes import NAMES
from .._core.names import MODULE
from .._core.settings import settings
from ..autograd.node import RECORD, state
from ._steps import Steps, is_own_layer
from .parameter import Parameter, Structure, gather

if TYPE_CHECKING:
    from .frozen import Frozen

PREDICT_ROWS = 4096  # rows of one chunk of predict, unless told otherwise


_HOLDERS = (list, tuple, dict, set, frozenset, deque)

# Attributes that hold no parts: what forward keeps, what is recorded, names of buffers.
_INNER = frozenset(
    {"_saved", "_forwards", "_program", "_refused", "_forward_program", "_forward_rows", "_buffers"}
)


class Module(Steps):
    """A function with parameters.

    A subclass sets Parameters and Modules as attributes and defines one of
    `forward(x)` on Tensors, by operators and functions of nnlite, with the gradient of its graph;
    `forward(x)` and `backward(grad_output)` on arrays;
    `_run(x, keep)`, which computes the output of an array and, when `keep` is true, calls `_keep`
    with what backward needs; and `_grad(saved, grad_output, want_input)`, which returns the
    gradient of the input and adds to those of the parameters; perhaps also
    `_check_grad(saved, grad_output)`, which refuses a gradient before anything is changed.
    The library's own layers define `_formula(x)` on Tensors. An array takes the same way: by a
    program of forward and backward (nnlite/program/passes.py), one call of C each; or by the graph,
    where there is no program.

    In training mode every forward keeps what its backward needs. Backward belongs to exactly one
    forward: when two forwards ran since the last backward, it cannot know which is meant, and
    raises.
    """

    _foreign, _never, _common = MODULE, ("requires_grad",), ("training",)

    recorded: tuple[str, ...] = ()  # settings that a program holds, and that may change
    _unnamed = ""  # first word of children's names that the names of their parameters leave out
    _buffers: dict[str, bool] = {}  # name -> whether files hold it  # noqa: RUF012

    def __setattr__(self, name: str, value: Any) -> None:
        before = vars(self).get(name)
        super().__setattr__(name, value)
        if state.mode & RECORD:
            state.tape.attribute_set(self, name)
        if isinstance(value, (Parameter, Module)) or isinstance(before, (Parameter, Module)):
            Structure.token = object()
            if value is not before:
                if isinstance(value, Parameter):
                    value._homes += 1
                if isinstance(before, Parameter):
                    before._homes -= 1
                    before._lost = f"{type(self).__name__}.{name}"

    # Children and parameters.

    def children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules that are attributes, or in lists, tuples and dicts that
        are, at any depth."""
        for name, value in self._parts():
            if isinstance(value, Module):
                yield name, value

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """(name, part) of the modules and parameters in attributes.

        Raises:
            TypeError: they are in a set, which has no order.
        """
        for name, value in list(vars(self).items()):
            if isinstance(value, (Module, Parameter)):
                yield name, value
            elif isinstance(value, _HOLDERS) and name not in _INNER:
                yield from _parts_in(value, name, (), type(self).__name__)

    def modules(self) -> Iterator[Module]:
        """This module and all modules below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(name, module) of this module, named `prefix`, and of all below it, each once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module
                dot = f"{name}." if name else ""
                stack.extend(reversed([(dot + key, child) for key, child in module.children()]))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter), each parameter once, in the order of the modules.

        Raises:
            ValueError: two have one name, as by the keys 1 and "1" of a dict; or a module holds
                itself.
        """
        seen: set[int] = set()
        names: set[str] = set()
        for name, p in self._all_parameters(""):
            if id(p) not in seen:
                seen.add(id(p))
                if name in names:
                    raise ValueError(
                        f"{type(self).__name__}: two parameters have the name {name}; give their "
                        "modules other attributes or keys"
                    )
                names.add(name)
                yield name, p

    def _all_parameters(
        self, prefix: str, outer: tuple[Module, ...] = ()
    ) -> Iterator[tuple[str, Parameter]]:
        if any(self is module for module in outer):
            raise ValueError(
                f"{type(outer[0]).__name__}: {prefix[:-1]} is a module that it is part of; a model "
                "has no circles: pass the outer module as an argument where it is needed"
            )
        for name, value in self._parts():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._all_parameters(f"{prefix}{name}.", (*outer, self))

    # Buffers.

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Makes an array an attribute that is state without being trained, such as a running mean.

        Args:
            name: the attribute; assign to it, or into it.
            value: an array of numbers or booleans, or None for none yet.
            persistent: whether it is in `state_dict` and in files.

        Raises:
            TypeError: name is no text, or value no array.
            ValueError: name is no attribute's, or the module has it already.
        """
        operation = f"{type(self).__name__}.register_buffer"
        if not isinstance(name, str):
            raise TypeError(f"{operation}: name: expected a text, got {check.describe(name)}")
        if not name.isidentifier() or (hasattr(self, name) and name not in self._buffers):
            why = "there is one already" if name.isidentifier() else "expected an attribute's name"
            raise ValueError(f"{operation}: name: {name!r}: {why}")
        if value is not None:
            _buffer(operation, value)
        vars(self)["_buffers"] = {**self._buffers, name: bool(persistent)}
        vars(self)[name] = value

    def named_buffers(self, *, persistent: bool = False) -> Iterator[tuple[str, np.ndarray]]:
        """(name, array) of the buffers here and below; only persistent ones where asked.

        Raises:
            TypeError: what was assigned to one is no array.
        """
        for path, module in self.named_modules():
            for name, kept in module._buffers.items():
                value = getattr(module, name, None)
                if value is not None and (kept or not persistent):
                    full = f"{_state_name(self, path)}{name}"
                    _buffer(f"buffer {full}", value)
                    yield full, value

    def buffers(self) -> list[np.ndarray]:
        """The buffers."""
        return [value for _, value in self.named_buffers()]

    def parameters(self) -> list[Parameter]:
        """The parameters, each once, in the order of the modules."""
        return [p for _, p in self.named_parameters()]

    def zero_grad(self) -> None:
        """Sets the gradients of all parameters to zero."""
        for p in self.parameters():
            p._grad.fill(0)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freezes (False) or trains (True) all parameters, here and below; returns the module."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def train(self, mode: bool = True) -> Module:
        """Training mode (default) for this module and those below; returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Module:
        """Evaluation mode: forward keeps nothing for backward; returns the module."""
        return self.train(False)

    def forget(self) -> None:
        """Drops what forward kept for backward, here and below."""
        for module in self.modules():
            module._drop()

    def _drop(self) -> None:
        own = self.__dict__
        own["_saved"], own["_forwards"] = None, 0
        if self._forward_program is not None:
            self._forward_program.free.clear()

    # State.

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters, and then of all persistent buffers, by name."""
        return {name: array.copy() for name, array in self._state_arrays().items()}

    def _state_arrays(self) -> dict[str, np.ndarray]:
        found = {name: p.data for name, p in self.named_parameters()}
        for name, array in self.named_buffers(persistent=True):
            if name in found:
                raise ValueError(f"state_dict: {name} is a parameter and a buffer; rename one")
            found[name] = array
        return found

    def load_state_dict(self, state: Any, *, from_torch: bool = False) -> None:
        """Sets all parameters and persistent buffers from copies of the arrays in `state`.

        Args:
            state: exactly the names, shapes and dtypes of `state_dict()`: a dict, or a safetensors
                file by its path, as bytes, or as a binary file object.
            from_torch: True for what PyTorch made: tensors are taken, and the weights of Linear
                layers transposed, which PyTorch keeps as (out_features, in_features).

        Raises:
            ValueError: names are missing or unknown, or a shape differs; lists all of them. Or the
                file is PyTorch's, without from_torch.
            TypeError: a dtype differs, or tensors of PyTorch without from_torch. Nothing has
                changed after an exception.
        """
        from .state import load_state

        load_state(self, state, from_torch)

    # What a file holds besides the parameters; see nnlite.save.

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, to build an equal module from.

        Returns:
            A dict of what JSON knows, arrays, modules and losses. Default: the attributes that have
            the names of the arguments; a module that keeps them otherwise defines its own.

        Raises:
            TypeError: an argument has no such attribute.
        """
        return settings(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Module:
        """A module from what `config` returned; its parameters and state are set afterwards."""
        return cls(**config)

    def extra_state(self) -> Any:
        """What else changes in training, such as counters and running means; None when nothing.

        Returns:
            Anything made of dicts, lists, what JSON knows, and arrays.
        """
        return None

    def load_extra_state(self, state: Any) -> None:
        """Sets what `extra_state` returned.

        Raises:
            TypeError, ValueError: state does not fit. Nothing has changed then.
        """
        raise ValueError(f"{type(self).__name__} has no extra state; define load_extra_state")

    # Prediction.

    def _dtype(self) -> np.dtype | None:
        """The dtype of the first parameter, or None when there is none."""
        return next((p.dtype for _, p in self.named_parameters()), None)

    def predict(self, X: Any, batch_size: int = PREDICT_ROWS) -> np.ndarray:
        """The output for all rows of X, in chunks; keeps nothing and changes nothing.

        Args:
            X: rows of numbers: an array of any real dtype, layout and byte order, a list, a memory
                map; converted to the model's dtype chunk by chunk.
            batch_size: rows of one chunk; the result does not depend on it.

        Returns:
            The outputs, one row for each row of X.

        Raises:
            TypeError: X does not hold real numbers.
            ValueError: rows do not fit the model, or batch_size < 1.

        Notes:
            NaN is a number like others here: the outputs of a row that holds one are NaN, those of
            other rows are as without it. argmax of such a row is 0: look with np.isnan first.
            `nnlite predict` does the same with values that a table lacks.
        """
        program = self._program
        if (  # the shortest way for what needs no conversion
            program is not None
            and type(X) is np.ndarray
            and X.dtype is program.dtype
            and X.shape[1:] == program.width
            and X.flags.carray
            and type(batch_size) is int
            and 0 < len(X) <= batch_size
            and program.watch.holds()
        ):
            return program.run(X, _State.threads)
        rows = check.size("predict", "batch_size", batch_size)
        return in_chunks(X, rows, self._dtype(), self._infer)

    def freeze(self) -> Frozen:
        """The model for inference alone: a copy whose weights are packed as the kernels read them.

        Its `predict` has the bits of this model's, in less time. It does not change when this model
        is trained on or changed, and cannot be trained itself.

        Returns:
            A Frozen, with `predict(X)` and a call for the same; it pickles, copies, and may be
            called by many threads at once.

        Raises:
            TypeError: an attribute of a module of your own cannot be copied.

        Notes:
            Costs the memory of the weights twice. A forward of your own is recorded at the first
            call, under the contract of `jit_program`; where that cannot be, it runs as it is on the
            copy, and `why_eager` of the result says why.
        """
        from .frozen import Frozen

        return Frozen(self)

    def _infer(self, x: np.ndarray) -> np.ndarray:
        """The output for converted rows, by the model's program where there is one; keeps
        nothing."""
        program = self._program
        if program is None or not program.takes(x) or not program.watch.holds():
            kind = (Structure.token, x.dtype, x.shape[1:], len(x) > 0)
            program = None if self._refused == kind else _predictor(self, x)
            vars(self)["_refused" if program is None else "_program"] = program or kind
        return self._call(x, False) if program is None else program.run(x, _State.threads)

    # Looks and copies.

    def _describe(self) -> str:
        """What stands between the brackets of the repr: the settings that a program holds."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.recorded)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._describe()})"

    def __getstate__(self) -> dict[str, Any]:
        found = ("_saved", "_forwards", "_program", "_refused", "_forward_program", "_forward_rows")
        return {k: v for k, v in vars(self).items() if k not in found}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        gather(self.parameters())


def shares_parameters(model: Module) -> bool:
    """Whether a parameter stands in two modules: the graph sums what each use gives it."""
    found = [id(p) for m in model.modules() for p in vars(m).values() if isinstance(p, Parameter)]
    return len(set(found)) < len(found)


def _predictor(model: Module, x: np.ndarray) -> Any:
    """The program of a model of the library's own layers, or None."""
    if not all(map(is_own_layer, model.modules())):
        return None  # a forward of the user's runs as Python
    from ..program.predict import predictor

    return predictor(model, x)


def _parts_in(
    holder: Any, path: str, outer: tuple[int, ...], owner: str
) -> Iterator[tuple[str, Any]]:
    """(name, part) of the modules and parameters in a list, tuple or dict, at any depth."""
    if id(holder) in outer:  # it holds itself
        return
    items = list(holder.items()) if isinstance(holder, dict) else enumerate(list(holder))
    for key, value in items:
        if isinstance(value, (Module, Parameter)):
            if isinstance(holder, (set, frozenset)):
                raise TypeError(
                    f"{owner}.{path}: a set of modules or parameters has no order; use a list"
                )
            yield f"{path}.{key}", value
        elif isinstance(value, _HOLDERS):
            yield from _parts_in(value, f"{path}.{key}", (*outer, id(holder)), owner)


def _buffer(operation: str, value: Any) -> None:
    """Requires an array that files can hold."""
    if not isinstance(value, np.ndarray) or value.dtype.newbyteorder("=") not in NAMES:
        raise TypeError(
            f"{operation}: expected an array of numbers or booleans, got {check.describe(value)}; "
            "convert it with np.asarray"
        )


def _state_name(model: Module, path: str) -> str:
    """The beginning of the names of a module's arrays, as those of parameters have it."""
    return "".join(f"{part}." for part in _short(model, path.split(".") if path else []))


def _short(module: Module, parts: list[str]) -> list[str]:
    """A path without the `layers` of each Sequential."""
    found: list[str] = []
    while parts:
        children = dict(module.children())
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            if name in children:
                found += parts[parts[0] == module._unnamed : count]
                module, parts = children[name], parts[count:]
                break
        else:
            return found + parts
    return found


def rows_of(operation: str, name: str, value: Any) -> np.ndarray:
    """The value as an array with rows, without copying arrays; refuses what is not real numbers."""
    check.unmasked(operation, name, value)
    try:
        found = np.asarray(value)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{operation}: {name}: expected rows of equal length: {error}") from None
    if found.dtype.kind not in "fiub":
        raise TypeError(
            f"{operation}: {name}: expected real numbers, got an array of {found.dtype}; "
            f"convert it with np.asarray({name}, dtype=np.float32)"
        )
    if found.ndim == 0:
        raise ValueError(f"{operation}: {name}: expected rows, got a single number")
    return found


def in_chunks(
    X: Any, rows: int, dtype: np.dtype | None, infer: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """predict: what `infer` returns for all rows of X, so many at a time, in that dtype; None:
    that of X, or float32."""
    X = rows_of("predict", "X", X)
    dtype = dtype or (X.dtype if X.dtype in check.FLOATS else check.FLOAT32)
    if len(X) <= rows:
        return infer(converted(X, dtype))
    starts = range(0, len(X), rows)
    return np.concatenate([infer(converted(X[i : i + rows], dtype)) for i in starts])


def converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A plain, writable, C-contiguous array of that dtype: the array itself where it is one.

    Raises:
        ValueError: a finite number is too large for the dtype.
    """
    if type(array) is np.ndarray and array.dtype is dtype and array.flags.carray:
        return array
    try:
        with np.errstate(over="raise", invalid="ignore"):  # a signalling NaN becomes a quiet one
            return np.array(array, dtype=dtype, order="C", subok=False)
    except FloatingPointError:
        raise ValueError(
            f"conversion to {dtype}: a number of the {array.dtype} array is too large; scale "
            "the data, or use a float64 model"
        ) from None
