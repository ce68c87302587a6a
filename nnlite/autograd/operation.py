"""What an operation is. Who writes one imports what it takes from here.

An operation is a class that is never made an object of. It states

    forward(*inputs, *params)              the value, on arrays
    vjp(g, need, *values, *params)         the gradients of the inputs from that of the output
    jvp(tangents, inputs, out, params)     the tangent of the output from those of the inputs

`values` are what backward needs and the class says so: the inputs (`keeps_inputs`), then the output
(`keeps_output`). `need` holds a node, with its shape, for each input that wants its gradient, and
None for the others. One formula serves arrays and Tensors: with arrays it computes, with Tensors it
computes and records, which is what makes second derivatives and tangents of gradients. Where a
kernel computes a gradient in one pass, it is an operation of its own, such as tanh_grad, which
takes arrays and Tensors too. A unary operation returns its one gradient, others a tuple.

`instruction` is its name in csrc/ops.h, and `walk` how a program goes through its operands:
"each" (elements with strides and broadcasting), "elements" (contiguous) or "rows"; what is made of
several instructions has a `lower(low, inputs, out, *params)` of its own (nnlite/program/lower.py).

`numpy` is the line that flat code has for it: a template of the inputs {0}, {1} or all {inputs}, of
the parameters {p0}, {p1}, and of the {shape} of the output; or a function of inputs (of which only
shape and dtype count) and parameters that returns a template and constants by name.

Most jvp are inherited. `Elementwise` needs the derivative alone, `Linear` applies itself to the
tangent, `Multilinear` to each argument in turn; what inherits from Operation alone has
jvp(t) = d/du <vjp(u), t>, which costs more and is always right when vjp can be differentiated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .calls import apply, binary, reflected, unary
from .node import ANOMALY, FORWARD, GRAD, RECORD, TANGENT, TRACED, Node, state
from .operands import (
    array_of,
    as_tensor,
    on_graph,
    operand,
    placeholder,
    plain_array,
    promoted,
    value_of,
    zeros_like,
)
from .recording import copy_of, record, share, without_gradient, without_history, without_tangent
from .tensor import Tensor, wrap


class Operation:
    """The base of all operations; see the module."""

    name = ""
    keeps_inputs = False
    keeps_output = False
    crosswise = False  # True when the gradient of each input needs the others alone
    is_view = False  # True when the output may share memory with the input
    instruction: str | None = None
    walk = "each"
    numpy: Any = None
    forward: Any
    vjp: Any

    def __init_subclass__(cls) -> None:
        cls.name = vars(cls).get("name", cls.__name__.lower())

    @classmethod
    def lower(cls, low: Any, inputs: list[Any], out: Any, *params: Any) -> Any:
        """The value in a program; `out` is the recorded array, for its shape."""
        if cls.instruction is None or params:
            low.unsupported(f"{cls.name} has no instruction of a program")
        return getattr(low, cls.walk)(cls.instruction, *inputs)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        """d/du <vjp(u), t>: vjp is linear in u, so its transpose at t is the tangent."""
        from .engine import transpose_of_vjp

        return transpose_of_vjp(cls, tangents, inputs, out, params)

    @classmethod
    def kept(cls, inputs: tuple, parents: tuple) -> tuple:
        """The inputs that backward needs, and constants; None for the others."""
        alone = sum(p is not None for p in parents) == 1
        return tuple(
            [None if alone and p is not None else x for x, p in zip(inputs, parents, strict=True)]
        )

    @classmethod
    def values(cls, inputs: tuple, out: Any) -> tuple:
        """What vjp gets before the parameters."""
        kept = inputs if cls.keeps_inputs else ()
        return (*kept, out) if cls.keeps_output else kept


class Elementwise(Operation):
    """y_i = f(x_i): `derivative(*values, *params)` is all that backward and tangent need."""

    derivative: Any

    def __init_subclass__(cls) -> None:
        if "vjp" not in vars(cls) and "derivative" in vars(cls):
            derivative = cls.derivative

            def vjp(g: Any, need: Any, *values: Any) -> Any:
                return g * derivative(*values)

            cls.vjp = staticmethod(vjp)
        super().__init_subclass__()

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return tangents[0] * cls.derivative(*cls.values(inputs, out), *params)


class Linear(Operation):
    """Linear in all inputs together: the tangent is the operation on the tangents."""

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        full = [zeros_like(x) if t is None else t for t, x in zip(tangents, inputs, strict=True)]
        return apply(cls, *full, params=params)


class Multilinear(Operation):
    """Linear in each input alone: the tangent is the sum with one input replaced by its own."""

    keeps_inputs = True

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        total = None
        for i, t in enumerate(tangents):
            if t is not None:
                term = apply(cls, *inputs[:i], t, *inputs[i + 1 :], params=params)
                total = term if total is None else total + term
        return total


# Several outputs.


class Outputs(tuple):
    """The gradients of an operation with several outputs; None where none came. Sums add up."""

    __slots__ = ()

    def __add__(self, other: Any) -> Outputs:
        return Outputs(
            [
                b if a is None else a if b is None else a + b
                for a, b in zip(self, other, strict=True)
            ]
        )

    @property
    def shape(self) -> tuple:
        return tuple([None if g is None else g.shape for g in self])


class Pick(Operation):
    """One output of an operation with several: its gradient goes to its place, None elsewhere."""

    name = "output"
    numpy = "{0}[{p0}]"

    @staticmethod
    def forward(outputs: tuple, index: int, count: int) -> Any:
        return outputs[index]

    @staticmethod
    def vjp(g: Any, need: Any, index: int, count: int) -> Any:
        return Outputs([g if i == index else None for i in range(count)])


def pick(node: Node, array: np.ndarray, index: int, count: int) -> Tensor:
    """The Tensor of one output of a node with several."""
    out = wrap(array)
    out._edge = Node(Pick, (node,), None, None, (index, count), array.shape, array.dtype)
    return out


def apply_many(op: Any, *inputs: Any, params: tuple = ()) -> tuple[Tensor, ...]:
    """Calls an operation with several outputs; records it when a gradient flows.

    Its vjp gets Outputs, with None for outputs that had no gradient.
    """
    inputs = tuple([as_tensor(x) for x in inputs])
    arrays = op.forward(*[x._data for x in inputs], *params)
    outs = tuple([wrap(a) for a in arrays])
    edges = [x._edge for x in inputs]
    mode = state.mode
    if not mode or all(edge is None for edge in edges):
        return outs
    if mode & RECORD:
        state.tape.note(op, inputs, tuple([x._data for x in outs]), params)
        for out in outs:
            out._edge = TRACED
    if mode & ANOMALY:
        from .check.anomaly import check_forward

        for out in outs:
            check_forward(op, out._data, inputs)
    tangents = tuple([getattr(x, "_tangent", None) for x in inputs]) if mode & FORWARD else ()
    parents = tuple([None if edge is TANGENT or edge is TRACED else edge for edge in edges])
    if mode & GRAD and any(parents):
        aliases = tuple([wrap(a) for a in arrays])
        node = Node(
            op, parents, inputs, aliases, params,
            tuple([a.shape for a in arrays]), tuple([a.dtype for a in arrays]),
        )  # fmt: skip
        outs = tuple([pick(node, a, i, len(arrays)) for i, a in enumerate(arrays)])
        for out, alias in zip(outs, aliases, strict=True):
            out._changed = alias._changed = [0]
    if any(t is not None for t in tangents):
        primal = tuple([without_tangent(x) for x in inputs])
        clean = tuple([copy_of(out) for out in outs])
        primal, clean = without_history(mode, primal, clean)
        for i, tangent in enumerate(op.jvp(tangents, primal, clean, params)):
            outs[i]._tangent = tangent
            if outs[i]._edge is None:
                outs[i]._edge = TANGENT
            else:
                outs[i]._edge.parents[0].out[i]._tangent = tangent
    return outs


__all__ = [
    "Elementwise", "Linear", "Multilinear", "Operation", "Outputs", "apply", "apply_many",
    "array_of", "as_tensor", "binary", "on_graph", "operand", "pick", "placeholder", "plain_array",
    "promoted", "record", "reflected", "share", "unary", "value_of", "without_gradient", "wrap",
    "zeros_like",
]  # fmt: skip
