"""From a recorded graph to the instructions of a C program: forward, and backward.

Values are places in a table of pointers with strides; what only repeats or reshapes a value costs
no instruction. Each operation has its two translations side by side in `rules.RULES`; they
compute what its forward and vjp_arrays compute, in the same order, so that the bits are the same.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _check, _native
from ..autograd.node import Leaf, Node
from ..autograd.shaping import VIEW_FROM
from ..autograd.tensor import Tensor
from ..autograd.walk import Graph

NEGATIVE_ZERO = bool(np.signbit(np.add.reduce(np.full(9, -0.0))))  # in some versions of NumPy


class UnfitError(Exception):
    """Why something cannot be a program; the function is then called as it is."""


class Value(NamedTuple):
    """Numbers at a place: element (i, j, ...) at i * strides[0] + j * strides[1] + ..."""

    place: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def expanded(self, shape: tuple[int, ...]) -> Value:
        """Repeated to a larger shape, as in broadcasting."""
        strides = [
            0 if n == 1 != wanted else s
            for n, wanted, s in zip(
                self.shape, shape[len(shape) - len(self.shape) :], self.strides, strict=True
            )
        ]
        return Value(self.place, shape, (0,) * (len(shape) - len(strides)) + tuple(strides))


class Place(NamedTuple):
    """What lies at a place: "room" (a buffer of so many elements), "argument" (its number), "array"
    or "tensor" (of the user's), "start" (the gradient that backward begins with), or "part" (of
    another place, from an element on)."""

    kind: str
    what: Any
    first: int = 0


def dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a C-contiguous array, in elements."""
    return tuple([math.prod(shape[i + 1 :]) for i in range(len(shape))])


def is_dense(v: Value) -> bool:
    return all(n == 1 or s == d for n, s, d in zip(v.shape, v.strides, dense(v.shape), strict=True))


def matrix_of(shape: tuple[int, ...], *strides: tuple[int, ...]) -> tuple[int, int, list[Any]]:
    """(rows, columns, [(row stride, column stride)]) that walk all operands in order."""
    axes: list[list[Any]] = []
    for i, n in enumerate(shape):
        own = [s[i] for s in strides]
        if n == 1:
            continue
        if axes and all(before == s * n for before, s in zip(axes[-1][1], own, strict=True)):
            axes[-1] = [axes[-1][0] * n, own]
        else:
            axes.append([n, own])
    if len(axes) > 2:
        raise UnfitError(f"broadcasting of shape {shape} in more than two directions")
    while len(axes) < 2:
        axes.insert(0, [1, [0] * len(strides)])
    (m, rows), (n, columns) = axes
    return m, n, list(zip(rows, columns, strict=True))


class Lowering:
    """Instructions and places of a graph.

    Args:
        graph: recorded with a gradient for every input that counts.
        known: {id of an array: Place} for arguments and constants that may occur.
        leaves: {leaf: Place}.
        wanted: the leaves whose gradient is asked for.
        rules: {name of an operation's class: (its module, forward, backward)}.
    """

    def __init__(
        self, graph: Graph, known: dict[int, Place], leaves: dict[Leaf, Place], wanted: set[Leaf],
        rules: dict[str, tuple[str, Any, Any]],
    ) -> None:  # fmt: skip
        self.graph, self.known, self.wanted, self._rules = graph, known, wanted, rules
        self.dtype = graph.output.dtype
        if self.dtype not in _check.FLOATS:
            raise UnfitError(f"its result is of {self.dtype}, not float32 or float64")
        self.places: list[Place] = []
        self.forward: list[dict[str, Any]] = []
        self.backward: list[dict[str, Any]] = []
        self._list = self.forward
        self.values: dict[Any, Value] = {}
        self.extra: dict[Node, Any] = {}  # what a forward rule leaves for its backward
        self._numbers: dict[Any, Value] = {}
        self._shared: dict[Any, int] = {}
        self.losses: list[tuple[Any, int]] = []  # (loss module, place of [loss, total weight])
        for leaf in graph.leaves:
            if leaf not in leaves:
                raise UnfitError("it makes a tensor that requires a gradient")
            if leaf.dtype != self.dtype:
                raise UnfitError(f"it mixes {leaf.dtype} and {self.dtype}")
            self.values[leaf] = self.at(leaves[leaf], leaf.shape)
        for node in graph.nodes:
            self._translate(node)
        result = self.values[graph.root]
        self.result = result if self._is_room(result) else self.each("copy", result)
        self.gradients: dict[Leaf, Value] = {}
        if wanted:
            self._list = self.backward
            self._back()

    # Places.

    def at(self, place: Place, shape: tuple[int, ...]) -> Value:
        if math.prod(shape) == 0:
            raise UnfitError(f"a tensor of shape {shape} is empty")
        key: Any = len(self.places)
        if place.kind == "argument":
            key = place
        elif place.kind in ("array", "tensor"):
            key = place.kind, id(place.what)
        if key not in self._shared:
            self._shared[key] = len(self.places)
            self.places.append(place)
        return Value(self._shared[key], shape, dense(shape))

    def _is_room(self, v: Value) -> bool:
        """Whether the value is a contiguous one of the program's own."""
        place = self.places[v.place]
        while place.kind == "part":
            place = self.places[place.what]
        return place.kind == "room" and is_dense(v)

    def room(self, *shape: int) -> Value:
        """A new buffer."""
        return self.at(Place("room", math.prod(shape)), shape)

    def number(self, value: float) -> Value:
        """A number in the dtype of the program."""
        exact = np.array(value, self.dtype)
        key = exact.tobytes()
        if key not in self._numbers:
            self._numbers[key] = self.at(Place("array", exact.reshape(1)), (1,))._replace(
                shape=(), strides=()
            )
        return self._numbers[key]

    def part(self, v: Value, shape: tuple[int, ...], first: int) -> Value:
        """Elements that lie side by side from one on."""
        self.places.append(Place("part", v.place, first))
        return Value(len(self.places) - 1, shape, dense(shape))

    def constant(self, array: Any, what: str) -> Value:
        """An array that is an argument, or that the function holds."""
        if id(array) not in self.known:
            raise UnfitError(f"{what} is made anew by each call; pass it as an argument")
        if not (array.flags.c_contiguous and array.flags.aligned):
            raise UnfitError(f"{what} is not contiguous")
        return self.at(self.known[id(array)], array.shape)

    def operand(self, x: Any) -> Value:
        """An input of a call."""
        if isinstance(x, (Node, Leaf)):
            return self.values[x]
        if type(x) is not Tensor:
            return self.number(x)
        if x.dtype != self.dtype:
            raise UnfitError(f"it mixes {x.dtype} and {self.dtype}")
        return self.constant(x._data, "a value")

    # Instructions.

    def emit(self, code: str, out: Value, a: Value, b: Any = None, **fields: Any) -> Value:
        """Adds an instruction; places by name, the rest as in nnl_instruction."""
        places = {"out": out.place, "a": a.place, "b": -1 if b is None else b.place}
        self._list.append({"code": _native.CODES[code], **places, "c": -1, "d": -1, **fields})
        return out

    def each(self, code: str, a: Value, b: Value | None = None) -> Value:
        """An operation on elements, with broadcasting."""
        shape = a.shape if b is None else np.broadcast_shapes(a.shape, b.shape)
        parts = [x.expanded(shape) for x in (a, b) if x is not None]
        m, n, walks = matrix_of(shape, *[x.strides for x in parts])
        fields = {"m": m, "n": n, "a_row": walks[0][0], "a_col": walks[0][1]}
        if b is not None:
            fields |= {"b_row": walks[1][0], "b_col": walks[1][1]}
        return self.emit(code, self.room(*shape), a, b, **fields)

    def materialized(self, v: Value) -> Value:
        """The value as a contiguous array."""
        return v if is_dense(v) else self.each("copy", v)

    def function(self, code: str, *operands: Value) -> Value:
        """A kernel on contiguous elements."""
        dense_ = [self.materialized(v) for v in operands]
        shape = dense_[0].shape
        return self.emit(code, self.room(*shape), *dense_, m=1, n=math.prod(shape))

    def rows(self, code: str, *operands: Value) -> Value:
        """A kernel on rows."""
        dense_ = [self.materialized(v) for v in operands]
        shape = dense_[0].shape
        if not shape:
            raise UnfitError("softmax of a number")
        m, n = math.prod(shape[:-1]), shape[-1]
        return self.emit(code, self.room(*shape), *dense_, m=m, n=n)

    def sum(self, v: Value, axes: tuple[int, ...] | None, shape: tuple[int, ...]) -> Value:
        """The sum over axes, as NumPy adds; `shape` is that of the result."""
        axes = tuple(range(len(v.shape))) if axes is None else axes
        if NEGATIVE_ZERO:
            raise UnfitError("this version of NumPy starts its sums from -0")
        if not is_dense(v) and math.prod(v.shape) > VIEW_FROM:
            raise UnfitError("a sum of a large repeated value")
        v = self.materialized(v)
        real = [i for i, n in enumerate(v.shape) if n > 1]
        gone = [i for i in real if i in axes]
        if not gone:  # 0 + v, as NumPy's sum of one term
            return self.reshaped(self.each("add", v, self.number(0.0)), shape)
        inside, outside = math.prod(v.shape[i] for i in gone), 1
        outside = math.prod(v.shape) // inside
        out = self.room(*shape)
        if gone == real[len(real) - len(gone) :]:
            return self.emit("sum_columns", out, v, m=outside, n=inside)
        if gone == real[: len(gone)]:
            return self.emit("sum_rows", out, v, m=inside, n=outside)
        raise UnfitError("a sum over axes in the middle")

    def sum_to(self, g: Value, shape: tuple[int, ...]) -> Value:
        """The sum over the axes along which `shape` was broadcast."""
        if g.shape == shape:
            return g
        extra = len(g.shape) - len(shape)
        axes = [i + extra for i, n in enumerate(shape) if n == 1 != g.shape[i + extra]]
        return self.sum(g, (*range(extra), *axes), shape)

    def reshaped(self, v: Value, shape: tuple[int, ...]) -> Value:
        """The same elements in another shape."""
        v = self.materialized(v)
        return Value(v.place, shape, dense(shape))

    def spread(self, g: Value, shape: tuple[int, ...], axes: Any, keepdims: bool) -> Value:
        """The gradient of a reduction, repeated along the axes that it reduced."""
        if axes is not None and not keepdims:
            g = self.reshaped(g, tuple([1 if i in axes else n for i, n in enumerate(shape)]))
        return g.expanded(shape)

    def gemm(self, a: Value, b: Value, gradient: bool = False) -> Value:
        """The product of two matrices, of which either may be a transpose; or a gradient by one."""
        a, b = (v if _is_matrix(v) else self.materialized(v) for v in (a, b))
        (m, k), (_, n) = a.shape, b.shape
        return self.emit(
            "gemm", self.room(m, n), a, b, m=m, n=n, k=k, flag=gradient,
            a_row=a.strides[0], a_col=a.strides[1], b_row=b.strides[0], b_col=b.strides[1],
        )  # fmt: skip

    # Forward and backward.

    def _rule(self, node: Node) -> tuple[Any, Any, tuple]:
        op, params = node.op, node.params
        unfold = getattr(op, "unfolded", None)
        if unfold is not None:
            found = unfold(*params)
            if found is not None:
                op, params = found[0], (*found[1], params[0])
        rule = self._rules.get(op.__name__)
        if rule is None or op.__module__ != rule[0]:
            raise UnfitError(f"{node.op.name} has no C program")
        return rule[1], rule[2], params

    def _translate(self, node: Node) -> None:
        if node.dtype != self.dtype:
            raise UnfitError(f"it mixes {node.dtype} and {self.dtype}")
        forward, _, params = self._rule(node)
        inputs = [self.operand(x) for x in self.graph.inputs(node)]
        made = forward(self, node, inputs, *params)
        if made.shape != node.shape:
            raise UnfitError(f"{node.op.name} gives shape {node.shape}, not {made.shape}")
        self.values[node] = made

    def _back(self) -> None:
        useful: set[Any] = set(self.wanted)
        for node in self.graph.nodes:
            if any(p in useful for p in node.parents):
                useful.add(node)
        shape = self.graph.output.shape
        found: dict[Any, Value] = {self.graph.root: self.at(Place("start", None), shape)}
        for node in reversed(self.graph.nodes):
            if node not in found or node not in useful:
                continue
            _, backward, params = self._rule(node)
            need = [p if p in useful else None for p in node.parents]
            inputs = [self.operand(x) for x in self.graph.inputs(node)]
            g = found.pop(node)
            for parent, part in zip(need, backward(self, node, g, need, inputs, *params),
                                    strict=True):  # fmt: skip
                if parent is not None and part is not None:
                    old = found.get(parent)
                    found[parent] = part if old is None else self.each("add", old, part)
        for leaf in self.graph.leaves:
            if leaf in self.wanted and leaf in found:
                self.gradients[leaf] = self.materialized(found[leaf])


def _is_matrix(v: Value) -> bool:
    return is_dense(v) or (v.strides[0] == 1 and v.strides[1] == v.shape[0])
