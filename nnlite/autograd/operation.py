"""What an operation is, and how a call of one is recorded.

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

from .._core import check
from .node import (
    ANOMALY,
    FLOWLESS,
    FORWARD,
    GRAD,
    PLAIN,
    RECORD,
    TANGENT,
    TRACED,
    Node,
    no_grad,
    state,
    unsupported,
)  # fmt: skip
from .tensor import NEVER, Tensor, shared, touch, view, wrap

# NumPy 1 lets a Python number widen a 0-d array; here a number takes the dtype of the tensor.
NUMPY_1 = np.lib.NumpyVersion(np.__version__) < "2.0.0"
_ndarray = np.ndarray
_new = object.__new__
_asarray = np.asarray


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


# Calls.


def as_tensor(value: Any) -> Tensor:
    """The value as a Tensor: itself, a Parameter's, or a constant."""
    if type(value) is Tensor:
        return value
    convert = getattr(type(value), "__tensor__", None)
    if convert is not None:
        return convert(value)
    if isinstance(value, np.generic):
        return wrap(np.array(value))
    if isinstance(value, _ndarray):
        if value.dtype.kind not in "fiub":
            raise TypeError(f"expected an array of real numbers, got {value.dtype}")
        if type(value) is not _ndarray:
            check.unmasked("a Tensor", "array", value)
        return wrap(value)
    raise TypeError(
        f"expected a Tensor, an array or a number, got {type(value).__name__}; "
        "convert it with nn.tensor(...)"
    )


def plain_array(value: Any) -> np.ndarray:
    """An argument of a call without Tensors."""
    if type(value) is _ndarray:
        return value
    check.unmasked("a function of arrays", "argument", value)
    return np.asarray(value)


def on_graph(*values: Any) -> bool:
    """Whether any value is a Tensor or converts itself to one, as Parameters do."""
    for value in values:
        if type(value) is not _ndarray and hasattr(type(value), "__tensor__"):
            return True
    return False


def zeros_like(x: Any) -> Any:
    """A constant of zeros with the shape and dtype of x; for a Python number 0.0."""
    if type(x) is float or type(x) is int:
        return 0.0
    return wrap(np.zeros(x.shape, x.dtype))


def value_of(x: Any) -> np.ndarray:
    """The array of a Tensor; an array itself. For masks and indices in formulas: a program would
    freeze them."""
    if type(x) is not Tensor:
        return x
    if state.mode & RECORD and x._edge is not None and not state.tape.of_one_run:
        unsupported("a formula looks at the values of a tensor")
    return x._data


def placeholder(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array without memory for a value that nobody looks at: a gradient while it is recorded."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def array_of(x: Any) -> Any:
    """The array of a Tensor, for a call that is recorded; anything else as it is."""
    return x._data if type(x) is Tensor else x


def apply(op: Any, *inputs: Any, params: tuple = ()) -> Any:
    """Calls an operation; with Tensors or Parameters among the inputs the value is a Tensor, and
    the call is recorded when a gradient flows. With arrays and numbers alone it is an array."""
    if len(inputs) == 1:
        (x,) = inputs
        if type(x) is Tensor:
            return _apply_to_one(op, x, params)
        if type(x) is _ndarray:
            return op.forward(x, *params)
    if not on_graph(*inputs):
        return op.forward(*[plain_array(x) for x in inputs], *params)
    inputs = tuple(
        [x if type(x) is Tensor or type(x) in (float, int) else as_tensor(x) for x in inputs]
    )
    out = wrap(op.forward(*[x._data if type(x) is Tensor else x for x in inputs], *params))
    for x in inputs:
        if type(x) is Tensor and x._edge is not None:
            record(op, out, inputs, params)
            break
    if op.is_view:
        share(out, inputs[0])
    return out


def _apply_to_one(op: Any, x: Tensor, params: tuple) -> Tensor:
    """`apply` for one Tensor, the usual case."""
    out = wrap(op.forward(x._data, *params))
    if x._edge is not None:
        if state.mode == GRAD:
            _attach_to_one(op, out, x, params)
        else:
            record(op, out, (x,), params)
    if op.is_view:
        share(out, x)
    return out


def _attach_to_one(op: Any, out: Tensor, x: Tensor, params: tuple) -> None:
    """`attach` for an operation with one input."""
    data = out._data
    alias = None
    if op.keeps_output:
        alias = wrap(data)
        alias._changed = out._changed = [0]
    saved = (x,) if op.keeps_inputs else None
    out._edge = Node(op, (x._edge,), saved, alias, params, data.shape, data.dtype)


def share(out: Tensor, base: Tensor) -> None:
    """Makes changes in place of a view and of its base visible to both."""
    out._changed = shared(base)


def record(op: Any, out: Tensor, inputs: tuple, params: tuple) -> None:
    """Makes the node of a call whose inputs have a producer, as the thread's mode wants it."""
    mode = state.mode
    if mode == GRAD:
        attach(op, out, inputs, params)
    elif mode:
        _record_specially(op, out, inputs, params, mode)


def attach(op: Any, out: Tensor, inputs: tuple, params: tuple) -> None:
    """Makes the node of a call and puts it on the output."""
    parents = tuple([x._edge if type(x) is Tensor else None for x in inputs])
    saved: Any
    if op.keeps_inputs:
        saved = op.kept(inputs, parents) if op.crosswise else inputs
    elif None in parents:
        saved = tuple([x if p is None else None for p, x in zip(parents, inputs, strict=True)])
    else:
        saved = None
    data = out._data
    alias = None
    if op.keeps_output:
        alias = wrap(data)
        alias._changed = out._changed = [0]
    out._edge = Node(op, parents, saved, alias, params, data.shape, data.dtype)


def without_gradient(op: Any, out: Tensor, inputs: tuple, params: tuple = ()) -> Tensor:
    """The result of a call through which no gradient flows; noted while a program is recorded."""
    if state.mode & RECORD and any([type(x) is Tensor and x._edge is not None for x in inputs]):
        state.tape.note(op, inputs, (out._data,), params)
        out._edge = TRACED
    return out


def _trace(op: Any, out: Tensor, inputs: tuple, params: tuple, mode: int) -> None:
    """A call while a program is recorded: on the tape, and in the graph where a gradient flows."""
    state.tape.note(op, inputs, (out._data,), params)
    if mode & GRAD and any([type(x) is Tensor and x._edge not in FLOWLESS for x in inputs]):
        attach(op, out, inputs, params)
        node = out._edge
        node.parents = tuple([None if p is TRACED else p for p in node.parents])
    else:
        out._edge = TRACED


def _record_specially(op: Any, out: Tensor, inputs: tuple, params: tuple, mode: int) -> None:
    """Recording with tangents, with a look for NaN, or of a program."""
    if mode & RECORD:
        _trace(op, out, inputs, params, mode)
        return
    if mode & ANOMALY:
        from .check.anomaly import check_forward

        check_forward(op, out._data, inputs)
    tangents = tuple([getattr(x, "_tangent", None) for x in inputs]) if mode & FORWARD else ()
    if any(t is not None for t in tangents):
        primal = tuple([without_tangent(x) for x in inputs])
        if mode & GRAD and any(type(x) is Tensor and x._edge is not None for x in primal):
            attach(op, out, primal, params)
            out._edge.saved = inputs if op.keeps_inputs else out._edge.saved
        with np.errstate(all="ignore"):
            tangent = op.jvp(tangents, *_plain(mode, primal, _copy(out)), params)
        out._tangent = tangent
        if out._edge is None:
            out._edge = TANGENT
        elif out._edge.out is not None:
            out._edge.out._tangent = tangent
    elif mode & GRAD:
        attach(op, out, inputs, params)


def without_tangent(x: Any) -> Any:
    """The same Tensor, as forward mode sees its value."""
    if type(x) is not Tensor or (getattr(x, "_tangent", None) is None and x._edge is not TANGENT):
        return x
    t = _copy(x)
    if t._edge is TANGENT:
        t._edge = None
    return t


def _plain(mode: int, inputs: tuple, out: Any) -> tuple[tuple, Any]:
    """What a tangent is computed from: without history where it shall have none itself."""
    if not mode & PLAIN:
        return inputs, out
    values = tuple([wrap(x._data) if type(x) is Tensor else x for x in inputs])
    return values, tuple([wrap(y._data) for y in out]) if type(out) is tuple else wrap(out._data)


def _copy(x: Tensor) -> Tensor:
    t = _new(Tensor)
    t._data, t._edge, t._changed = x._data, x._edge, x._changed
    return t


def unary(op: Any) -> Any:
    """The function of an operation with one input and no parameters."""
    forward = op.forward

    def call(x: Any) -> Any:
        if type(x) is not Tensor:
            if not on_graph(x):
                return forward(plain_array(x))
            x = as_tensor(x)
        out = wrap(forward(x._data))
        if x._edge is not None:
            if state.mode == GRAD:
                _attach_to_one(op, out, x, ())
            else:
                record(op, out, (x,), ())
        return out

    return _named(call, op)


def binary(op: Any) -> Any:
    """The function of an operation with two inputs that are broadcast and promoted as NumPy's."""
    forward, crosswise = op.forward, op.crosswise
    keeps_inputs, keeps_output = op.keeps_inputs, op.keeps_output

    def call(a: Any, b: Any) -> Any:
        if type(a) is Tensor and type(b) is Tensor:
            x: Any = a._data
            y: Any = b._data
            left, right = a._edge, b._edge
            if x.dtype is not y.dtype:
                return mixed(a, b)
        elif type(a) is Tensor and (type(b) is float or type(b) is int):
            x, y, left, right = a._data, b, a._edge, None
            if NUMPY_1:
                x, y = _as_numpy_2(x, b)
        else:
            return mixed(a, b)
        data = forward(x, y)
        out = _new(Tensor)
        if type(data) is not _ndarray:
            data = _asarray(data)
        out._data = data
        out._changed = NEVER
        if left is None and right is None:
            out._edge = None
        elif state.mode == GRAD and not keeps_output:
            if keeps_inputs:
                saved: Any = (a, b)
                if crosswise:
                    if right is None:
                        saved = (None, b)
                    elif left is None:
                        saved = (a, None)
            elif left is None or right is None:
                saved = (a if left is None else None, b if right is None else None)
            else:
                saved = None
            out._edge = Node(op, (left, right), saved, None, (), data.shape, data.dtype)
        else:
            out._edge = None
            record(op, out, (a, b), ())
        return out

    def mixed(a: Any, b: Any) -> Any:
        """Parameters, arrays, numbers on the left, and different dtypes."""
        if (type(a) is _ndarray and type(b) is _ndarray) or not on_graph(a, b):
            return forward(a, b)
        a, b = operand(a), operand(b)
        if a is NotImplemented or b is NotImplemented:
            return NotImplemented
        if type(a) is Tensor and type(b) is Tensor:
            a, b = promoted(a, b)
        x, y = array_of(a), array_of(b)
        if NUMPY_1 and type(a) is not type(b):
            x, y = _as_numpy_2(x, y)
        out = wrap(forward(x, y))
        if (type(a) is Tensor and a._edge is not None) or (
            type(b) is Tensor and b._edge is not None
        ):
            record(op, out, (a, b), ())
        return out

    return _named(call, op)


def _as_numpy_2(x: Any, y: Any) -> tuple[Any, Any]:
    """A 0-d array and a Python number, in either order, with the number in the array's dtype."""
    if isinstance(x, _ndarray):
        return x, x.dtype.type(y) if x.dtype.kind == "f" else y
    return y.dtype.type(x) if y.dtype.kind == "f" else x, y


def operand(value: Any) -> Any:
    """A Tensor, or a Python number as it is: NumPy lets it take the dtype of the array."""
    if type(value) is Tensor or type(value) in (float, int, bool):
        return value
    if isinstance(value, (list, tuple)):
        check.unmasked("a Tensor", "list", value)
        return wrap(np.array(value))
    if isinstance(value, int):  # a subclass
        return int(value)
    if isinstance(value, _ndarray):
        check.unmasked("a Tensor", "array", value)
    try:
        return as_tensor(value)
    except TypeError:
        return NotImplemented


def promoted(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The Tensors in their common dtype, by NumPy's rules."""
    from .ops.shaping import astype

    dtype = np.result_type(*[t._data.dtype for t in tensors])
    return tuple([t if t._data.dtype == dtype else astype(t, dtype) for t in tensors])


def reflected(call: Any) -> Any:
    """The same function with its operands the other way round, for `__radd__` and its kin."""

    def back(b: Any, a: Any) -> Any:
        return call(a, b)

    return back


def _named(call: Any, op: Any) -> Any:
    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = op.__doc__
    call.op = op
    return call


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
        clean = tuple([_copy(out) for out in outs])
        primal, clean = _plain(mode, primal, clean)
        for i, tangent in enumerate(op.jvp(tangents, primal, clean, params)):
            outs[i]._tangent = tangent
            if outs[i]._edge is None:
                outs[i]._edge = TANGENT
            else:
                outs[i]._edge.parents[0].out[i]._tangent = tangent
    return outs


__all__ = [
    "Elementwise", "Linear", "Multilinear", "Operation", "Outputs", "apply", "apply_many",
    "as_tensor", "binary", "no_grad", "on_graph", "operand", "pick", "plain_array", "promoted",
    "record", "reflected", "share", "touch", "unary", "value_of", "view", "wrap", "zeros_like",
]  # fmt: skip
