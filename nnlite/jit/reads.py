"""What a function reads besides its arguments: found in its bytecode, and watched from then on.

A recorded program stands for a function only while everything that the function reads is as it was.
`Reads` follows a function's code into the functions and modules that it calls, refuses what cannot
be followed or has effects of its own, and keeps a list of (dictionary, name, value) that
`unchanged` compares. So a program is never used where the function might have done otherwise.
"""

from __future__ import annotations

import builtins
import types
from typing import Any

import numpy as np

from .. import autograd, functional, nn
from ..autograd import blocks
from ..autograd.tensor import Tensor
from .lowering import UnfitError

PLAIN = (int, float, bool, str, type(None), type(Ellipsis))
FUNCTIONS: Any = {
    getattr(builtins, name)
    for name in (
        "abs", "bool", "divmod", "enumerate", "float", "int", "isinstance", "len", "list", "max",
        "min", "pow", "range", "reversed", "round", "slice", "sum", "tuple", "zip",
    )
}  # fmt: skip
EXCEPTIONS = (ValueError, TypeError, RuntimeError, IndexError, KeyError, AssertionError)
# Operations of nnlite.autograd that compute and do nothing else.
PURE = (
    "abs", "add", "broadcast_to", "div", "dot", "einsum", "exp", "expand", "expm1", "flatten",
    "linear", "log", "log1p", "log_softmax", "matmul", "mean", "mse_loss", "mul", "neg",
    "nll_loss", "norm", "outer", "power", "reciprocal", "relu", "reshape", "sigmoid", "softmax",
    "softmax_ce", "softplus", "sqrt", "square", "squeeze", "std", "sub", "sum", "tanh",
    "transpose", "unsqueeze", "var",
)  # fmt: skip
# Attributes that read or change values behind the graph's back.
FORBIDDEN = {
    "data", "grad", "_data", "_grad", "_edge", "requires_grad", "backward", "detach", "retain_grad",
    "producer", "is_leaf", "train", "eval", "zero_grad", "forget", "load_state_dict", "state_dict",
    "predict", "evaluate", "load_extra_state", "extra_state", "total_weight", "__dict__",
    "__class__", "__setattr__", "__getattribute__", "astype", "setdefault", "popitem", "update",
}  # fmt: skip
# What changes a list or a dictionary, where the function holds one.
CHANGES = {
    "append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "add", "discard",
}  # fmt: skip
REFUSED_CODES = (
    "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR",
    "IMPORT_NAME", "IMPORT_FROM", "IMPORT_STAR", "YIELD_VALUE", "GET_AWAITABLE", "BEFORE_WITH",
    "LOAD_NAME", "LOAD_BUILD_CLASS", "SETUP_ANNOTATIONS", "PRINT_EXPR", "LOAD_CLASSDEREF",
    "BEFORE_ASYNC_WITH", "GET_AITER", "SEND", "LOAD_LOCALS", "LOAD_SUPER_ATTR",
    "LOAD_SPECIAL", "WITH_EXCEPT_START",
)  # fmt: skip
LOADS_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")


class Reads:
    """What a function reads.

    Attributes:
        tensors: Tensors and Parameters that it may use.

    Raises:
        UnfitError: it cannot be told what the function reads, or it does more than compute.
    """

    def __init__(self, function: Any) -> None:
        self.tensors: list[Any] = []
        self._values: list[tuple[Any, Any, Any]] = []  # (dictionary, name, value)
        self._sizes: list[
            tuple[Any, int]
        ] = []  # (dictionary or list, length) of those that it holds
        self._cells: list[tuple[Any, Any]] = []
        self._seen: dict[int, Any] = {}  # by id; keeps what was seen alive
        self._objects: list[Any] = []  # modules and other objects with attributes
        self._names: set[str] = set()  # attributes that the code reads of whatever object
        self._classes: set[tuple[type, str]] = set()
        self.accept(function, "the function")
        self._follow_names()
        if self._sizes and self._names & CHANGES:
            raise UnfitError("it may change a list or dictionary that it holds")

    def unchanged(self) -> bool:
        """True while the function reads what it read."""
        for where, name, value in self._values:
            if where.get(name, _ABSENT) is not value:
                return False
        for cell, value in self._cells:
            if cell.cell_contents is not value:
                return False
        return not self._sizes or all([len(where) == size for where, size in self._sizes])

    # Values.

    def accept(self, value: Any, name: str) -> None:
        """Follows a value that the code may use."""
        kind = type(value)
        if kind in PLAIN or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if kind is Tensor or (
            hasattr(kind, "__tensor__") and kind.__module__ == "nnlite.nn.parameter"
        ):
            self.tensors.append(value)
        elif kind is tuple:
            for item in value:
                self.accept(item, f"an item of {name}")
        elif kind is list or kind is dict:
            self._container(value, name)
        elif kind is types.FunctionType:
            self._function(value, name)
        elif kind is types.MethodType:
            self.accept(value.__self__, name)
            self.accept(value.__func__, name)
        elif _is_pure(value):
            return
        elif kind in TRUSTED:
            self._attributes(value)
        elif hasattr(value, "__dict__") and _is_plain_class(kind):
            self._objects.append(value)
        else:
            raise UnfitError(f"it uses {name}, {_described(value)}")

    def _container(self, value: Any, name: str) -> None:
        """A list or dict that the function holds: it must stay as it is."""
        self._sizes.append((value, len(value)))
        items = enumerate(value) if isinstance(value, list) else value.items()
        where = _ListView(value) if isinstance(value, list) else value
        for key, item in items:
            self._values.append((where, key, item))
            self.accept(item, f"an item of {name}")

    def _attributes(self, value: Any) -> None:
        """All attributes of a layer or loss of nnlite: they must stay as they are."""
        own = vars(value)
        for name in ("forward", "_graph", "_run", "_operation"):  # of the class
            self._values.append((own, name, _ABSENT))
            if name in own:
                raise UnfitError(f"{type(value).__name__}.{name} was replaced")
        for key, item in own.items():
            if key in ("_saved", "_forwards", "total_weight", "_weights", "_program"):
                continue
            self._values.append((own, key, item))
            if isinstance(item, (tuple, list)) or hasattr(item, "__dict__"):
                self.accept(item, key)

    # Functions.

    def _function(self, function: Any, name: str) -> None:
        wrapped = getattr(function, "__wrapped__", None)
        if (
            wrapped is not None
            and function.__module__ == wrapped.__module__
            and (function.__code__.co_filename == BLOCKS)
        ):  # nn.function
            self.accept(wrapped, name)
            return
        if function in PURE_FUNCTIONS:
            return
        for item in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.accept(item, f"a default of {name}")
        self._values.append((_AttributeView(function), "__code__", function.__code__))
        self._values.append((_AttributeView(function), "__defaults__", function.__defaults__))
        self._values.append((_AttributeView(function), "__kwdefaults__", function.__kwdefaults__))
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self._code(function.__code__, function.__globals__, cells, name)

    def _code(self, code: Any, space: dict, cells: dict[str, Any], name: str) -> None:
        paused = code.co_flags & (0x20 | 0x80 | 0x100 | 0x200)  # generators and coroutines
        if paused and code.co_name != "<genexpr>":
            raise UnfitError(f"{code.co_name} is a generator")
        import dis

        known: Any = _UNKNOWN  # the object on top of the stack, where it is known
        before = ""
        for step in dis.get_instructions(code):
            op, last, known = step.opname, known, _UNKNOWN
            if op in ("CACHE", "PRECALL", "RESUME", "NOP", "PUSH_NULL", "EXTENDED_ARG"):
                known = last
                continue
            if isinstance(last, types.ModuleType) and op not in LOADS_ATTRIBUTE:
                raise UnfitError(f"{name} uses the module {last.__name__} as a value")
            if op in ("IS_OP", "CONTAINS_OP") and before != "LOAD_CONST":
                raise UnfitError(f"{name} asks which object a value is")
            before = op
            if op in REFUSED_CODES and not (op == "YIELD_VALUE" and code.co_name == "<genexpr>"):
                raise UnfitError(f"{name} does more than compute ({op} in {code.co_name})")
            if op == "LOAD_GLOBAL":
                known = self._global(step.argval, space)
            elif op in ("LOAD_DEREF", "LOAD_CLOSURE") and step.argval in cells:
                known = self._cell(cells[step.argval], step.argval)
            elif op in ("STORE_DEREF", "DELETE_DEREF") and step.argval in cells:
                raise UnfitError(f"{name} assigns to {step.argval} outside")
            elif op in LOADS_ATTRIBUTE:
                known = self._attribute(last, step.argval, name)
            if known is not _UNKNOWN and not isinstance(known, types.ModuleType):
                self.accept(known, str(step.argval))
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                self._code(inner, space, cells, name)

    def _global(self, name: str, space: dict) -> Any:
        if name in space:
            value = space[name]
            self._values.append((space, name, value))
            return value
        if not hasattr(builtins, name):
            raise UnfitError(f"it uses {name}, which does not exist")
        self._values.append((space, name, _ABSENT))
        self._values.append((vars(builtins), name, getattr(builtins, name)))
        return getattr(builtins, name)

    def _cell(self, cell: Any, name: str) -> Any:
        try:
            value = cell.cell_contents
        except ValueError:
            raise UnfitError(f"{name} has no value yet") from None
        self._cells.append((cell, value))
        return value

    def _attribute(self, owner: Any, name: str, where: str) -> Any:
        """An attribute of a module (known then), or of any object that the function can reach."""
        if isinstance(owner, types.ModuleType):
            top = owner.__name__.split(".")[0]
            if top not in ("nnlite", "math") or not hasattr(owner, name):
                raise UnfitError(f"{where} uses {owner.__name__}.{name}")
            value = getattr(owner, name)
            self._values.append((vars(owner), name, vars(owner).get(name, _ABSENT)))
            return value
        if name in FORBIDDEN or (name.startswith("__") and name != "__call__"):
            raise UnfitError(f"{where} uses the attribute {name}")
        self._names.add(name)
        return _UNKNOWN

    def _follow_names(self) -> None:
        """Follows the attributes and methods that the code may read of the objects that it has."""
        done: set[tuple[int, str]] = set()
        while True:
            todo = [
                (thing, name)
                for thing in self._objects
                for name in ("forward", "__call__", *self._names)
                if (id(thing), name) not in done
            ]
            if not todo:
                break
            for thing, name in todo:
                done.add((id(thing), name))
                self._member(thing, name)

    def _member(self, thing: Any, name: str) -> None:
        own = vars(thing)
        self._values.append((own, name, own.get(name, _ABSENT)))
        if name in own:
            self.accept(own[name], name)
        for kind in type(thing).__mro__:
            if kind is object or name not in vars(kind):
                continue
            value = vars(kind)[name]
            self._values.append((vars(kind), name, value))
            if kind.__module__.split(".")[0] == "nnlite":
                if name not in ("forward", "__call__"):
                    raise UnfitError(f"it may call {kind.__name__}.{name}")
            elif isinstance(value, property):
                self.accept(value.fget, name)
            elif isinstance(value, (staticmethod, classmethod)):
                self.accept(value.__func__, name)
            else:
                self.accept(value, name)
            return


_ABSENT, _UNKNOWN = object(), object()


class _ListView:
    """A list with the `get` of a dictionary."""

    def __init__(self, items: list) -> None:
        self._items = items

    def get(self, index: int, default: Any) -> Any:
        return self._items[index] if index < len(self._items) else default


class _AttributeView:
    """A function's own attributes with the `get` of a dictionary."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def get(self, name: str, default: Any) -> Any:
        return getattr(self._thing, name, default)


def _is_plain_class(kind: type) -> bool:
    """A class of the user whose objects have ordinary attributes, modules among them."""
    for base in kind.__mro__:
        if base is object:
            continue
        if base.__module__.split(".")[0] == "nnlite":
            if base.__qualname__ not in ("Module", "Named"):
                return False
        elif base.__module__ in ("builtins", "numpy") or any(
            name in vars(base) for name in ("__getattr__", "__getattribute__", "__slots__")
        ):
            return False
    return type(kind) is type


def _is_pure(value: Any) -> bool:
    """A function or class, not written in Python, that computes and does nothing else."""
    if isinstance(value, types.BuiltinFunctionType):
        return value.__module__ == "math" or value in FUNCTIONS
    return isinstance(value, type) and (
        value in FUNCTIONS or value in EXCEPTIONS or value in TRUSTED
    )


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}: make it a tensor with nn.tensor(...)"
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    return f"{type(value).__name__}" + (f" {name}" if name else "")


# Layers and losses that compute and change nothing (but total_weight).
TRUSTED = {
    nn.Linear, nn.LogSoftmax, nn.MSELoss, nn.NLLLoss, nn.ReLU, nn.Sequential, nn.Sigmoid,
    nn.Softmax, nn.SoftmaxCE, nn.Tanh,
}  # fmt: skip
PURE_FUNCTIONS = {getattr(autograd, name) for name in PURE}
PURE_FUNCTIONS |= {getattr(functional, name) for name in functional.graph if name in PURE}
BLOCKS = blocks.__file__
