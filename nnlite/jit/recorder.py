"""Functions of Tensors as C programs: recorded once for each kind of arguments, then one C call.

How a call goes: the arguments' shapes, dtypes and numbers pick a program; `Reads.unchanged` makes
sure that everything else that the function reads is as it was; then all operations run in one C
call, and backward runs in another. Whatever does not fit runs as the plain function.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .. import _native
from ..autograd.node import GRAD, state
from ..autograd.operation import as_tensor, on_graph
from ..autograd.tensor import Tensor
from .lowering import UnfitError
from .program import Program
from .reads import PLAIN, Reads

F = TypeVar("F", bound=Callable[..., Any])
_bits = struct.Struct("d").pack
MOST_PROGRAMS = 64  # of one function; more kinds of arguments run as they are


def jit_program(function: F) -> JitProgram:
    """A function of Tensors that runs as one C program, forward, and one more, backward.

        @nn.jit_program
        def loss(x, target):
            return nn.functional.softmax_ce(model(x), target)

        loss(x, target).backward()

    The first call for each kind of arguments records a run; later calls replay it. Results and
    gradients are those of the function, bit for bit.

    Args:
        function: of Tensors, arrays (which it gets as Tensors), numbers and texts; it returns one
            Tensor. A program holds for the shapes, dtypes and requires_grad of the tensors, for the
            values of numbers and texts, and while everything else that the function reads (globals,
            closures, attributes of modules, functions that it calls) is the same; else it is
            recorded anew. Values of parameters and tensors may change freely.

    What cannot be a program runs as the plain function, each time, and `why` says so: control flow
    that depends on values (`if x.sum() > 0`, `float(x)`), effects besides the result, functions
    that are not nnlite's or followable Python (NumPy, random numbers), arrays that it makes, and
    operations that have no instruction: of elements + - * / abs sqrt square exp log and their kin,
    sigmoid, tanh, relu, softplus, softmax have one; so have sums and means over leading or trailing
    axes, reshape, contiguous slices, products of two matrices, Linear, and the losses SoftmaxCE,
    NLLLoss and MSELoss without sample weights. All tensors must have one float dtype and be
    contiguous. Gradients are first derivatives: a second one (create_graph) raises.

    Attributes of the result:
        why: why the last kind of arguments is not a program, or None.
        programs: how many programs there are.

    Raises:
        TypeError: not a function.
    """
    return JitProgram(function)


class JitProgram:
    """What `jit_program` makes."""

    why: str | None = None

    def __init__(self, function: Any) -> None:
        if not callable(function):
            raise TypeError(f"jit_program: expected a function, got {type(function).__name__}")
        self.function = function
        self._programs: dict[Any, Any] = {}
        functools.update_wrapper(self, function, updated=())

    @property
    def programs(self) -> int:
        """How many programs there are."""
        return sum(isinstance(p, Program) for p in self._programs.values())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            return self._as_it_is(args, kwargs, "arguments by keyword")
        mode = state.mode
        key: list[Any] = [mode]
        tensors: list[Tensor] = []
        for x in args:
            if type(x) is not Tensor:
                kind = type(x)
                if kind is float:  # by bits: 0.0 and -0.0 are two, NaN is one
                    key.append((float, _bits(x)))
                    continue
                if kind in PLAIN:
                    key.append((kind, x))
                    continue
                if not (isinstance(x, np.ndarray) or on_graph(x)):
                    return self._as_it_is(args, kwargs, f"an argument of {type(x).__name__}")
                x = as_tensor(x)
            data = x._data
            if not data.dtype.isnative:
                return self._as_it_is(args, kwargs, "an argument in foreign byte order")
            flags = data.flags
            if not (flags.c_contiguous and flags.aligned):
                return self._as_it_is(args, kwargs, "an argument that is not contiguous")
            tensors.append(x)
            key.append((data.shape, data.dtype.num, x._edge is None))
        place = tuple(key)
        program = self._programs.get(place)
        if type(program) is Program:
            if program.reads.unchanged() and program.in_place():
                out = program.run(tensors)
                if out is not None:
                    return out
                return self.function(*_as_tensors(args))  # which says what is wrong
        elif program is not None and program[1].unchanged():
            return self._as_it_is(args, kwargs, program[0])
        return self._record(place, args, tensors)

    @_native.in_standard_mode
    def _as_it_is(self, args: Any, kwargs: Any, why: str) -> Any:
        self.why = why
        return self.function(*_as_tensors(args), **kwargs)

    @_native.in_standard_mode
    def _record(self, place: Any, args: Any, tensors: list[Tensor]) -> Any:
        """The result of a call, and the program for more of its kind."""
        full = _as_tensors(args)
        if state.mode & ~GRAD or state.watch is not None:
            return self.function(*full)
        if len(self._programs) >= MOST_PROGRAMS and place not in self._programs:
            return self._as_it_is(args, {}, f"more than {MOST_PROGRAMS} kinds of arguments")
        try:
            reads = Reads(self.function)
        except UnfitError as error:
            self.why = str(error)
            self._programs[place] = self.why, _Always()
            return self.function(*full)
        out = self.function(*full)
        self.why = None
        for every in (True, False):
            try:
                self._programs[place] = Program(self.function, reads, full, tensors, out, every)
            except UnfitError as error:
                self.why = self.why or str(error)
            else:
                self.why = None
                return out
        self._programs[place] = self.why, reads
        return out

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: the program of the function bound to its object."""
        if instance is None:
            return self
        raise TypeError(
            "jit_program: a method has its object as argument; use nn.jit_program(object.method)"
        )

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"jit_program({name}), {self.programs} programs" + (
            f", plain calls because of {self.why}" if self.why else ""
        )


class _Always:
    """Reads of what can never be a program."""

    def unchanged(self) -> bool:
        return True


def _as_tensors(args: Any) -> list[Any]:
    return [as_tensor(x) if isinstance(x, np.ndarray) else x for x in args]
