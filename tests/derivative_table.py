"""Every operation of nnlite.autograd in one table, over every class of shapes.

A line is a function of nnlite.autograd, how it is called, and the shapes of its inputs: scalars,
vectors, matrices, stacks, what is broadcast, what is empty, axes and keepdims. Kinds of inputs are
those of autograd_cases.draw. tests/autograd/test_gradcheck.py checks first and second derivatives
of each line, and that no operation is missing: a new one needs its line here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from autograd_cases import _rebuilt, _spectral, draw

from nnlite import autograd as ag
from nnlite.autograd.operation import apply
from nnlite.autograd.ops import elementary, indexing, neural, products

ONE: Any = [(), (3,), (2, 3), (2, 1, 2), (0,), (2, 0)]
PAIRS: Any = [
    ((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), (2, 3)), ((), (2, 2)),
    ((3,), ()), ((2, 1), (1, 3)), ((4, 1, 2), (3, 1)), ((0, 3), (3,)), ((2, 0), (2, 1)),
]  # fmt: skip
REDUCED: Any = [
    ((), None), ((3,), None), ((3,), 0), ((2, 3), None), ((2, 3), 0), ((2, 3), -1),
    ((2, 3, 2), (0, 2)), ((2, 3, 2), (1,)), ((2, 3), ()), ((2, 1, 3), 1),
]  # fmt: skip
EMPTY: Any = [((0,), None), ((0, 3), 0), ((2, 0), 0)]
PRODUCTS: Any = [
    ((3,), (3,)), ((2, 3), (3, 4)), ((3,), (3, 2)), ((2, 3), (3,)), ((1, 1), (1, 1)),
    ((2, 2, 3), (2, 3, 2)), ((4, 1, 2, 3), (2, 3, 2)), ((2, 3), (4, 3, 2)), ((4, 2, 3), (3,)),
    ((3,), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 2)), ((0, 2, 3), (3, 2)),
]  # fmt: skip
SQUARE: Any = [(3, 3), (1, 1), (2, 3, 3), (0, 2, 2)]
MATRICES: Any = [(3, 3), (4, 2), (2, 4), (2, 3, 3), (1, 1)]
MASK = np.array([[True, False, True], [False, False, True]])
PLACES = np.array([[0, 2], [2, 2]])
LABELS = np.array([2, 0, 1, 1])
TARGET = np.linspace(-1, 1, 12).reshape(4, 3)


class Line(NamedTuple):
    """One function on inputs of given shapes."""

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    kind: str = "any"
    note: str = ""

    def inputs(self) -> tuple[np.ndarray, ...]:
        """Float64 arrays, the same in every run."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        return tuple(np.asarray(draw(rng, shape, self.kind)) for shape in self.shapes)

    def __str__(self) -> str:
        return f"{self.name} {self.note} {' '.join(map(str, self.shapes))}"


def one(name: str, call: Any, kind: str = "any", shapes: Any = ONE, note: str = "") -> list[Line]:
    """A function of one input, on each of the shapes."""
    return [Line(name, call, (shape,), kind, note) for shape in shapes]


def two(name: str, call: Any, kind: str = "any", shapes: Any = PAIRS, note: str = "") -> list[Line]:
    """A function of several inputs, on each combination of shapes."""
    return [Line(name, call, tuple(pair), kind, note) for pair in shapes]


def over(name: str, call: Any, kind: str = "any", cases: Any = REDUCED) -> list[Line]:
    """A reduction, over each of the axes, with and without keepdims."""
    return [
        Line(name, lambda x, a=axis, k=keep: call(x, a, k), (shape,), kind, f"{axis} {keep}")
        for shape, axis in cases
        for keep in (False, True)
    ]


def symmetric(call: Any) -> Any:
    """The function of the symmetric part of its input."""
    return lambda x: call((x + ag.swapaxes(x, -1, -2)) * 0.5)


ELEMENTWISE = [
    *one("abs", ag.abs, "distinct"), *one("neg", ag.neg), *one("square", ag.square),
    *one("reciprocal", ag.reciprocal, "positive"), *one("sqrt", ag.sqrt, "positive"),
    *one("exp", ag.exp), *one("expm1", ag.expm1), *one("log", ag.log, "positive"),
    *one("log1p", ag.log1p, "positive"), *one("sin", ag.sin), *one("cos", ag.cos),
    *one("erf", ag.erf), *one("sigmoid", ag.sigmoid), *one("tanh", ag.tanh),
    *one("leaky_relu", lambda x: ag.leaky_relu(x, -0.3), "distinct"),
    *one("relu", ag.relu, "distinct"), *one("softplus", ag.softplus),
    *one("clip", lambda x: ag.clip(x, -1.1, 1.1), "distinct"),
    *one("clip", lambda x: ag.clip(x, low=-0.6), "distinct", note="low"),
    *one("clip", lambda x: ag.clip(x, high=0.6), "distinct", note="high"),
    *two("clip", lambda x, y: ag.clip(x, y), note="low with a gradient"),
    *two("clip", lambda x, y: ag.clip(x, None, y), note="high with a gradient"),
    *one("clip", lambda x: ag.clip(x, [[-1.1], [-0.2], [0.1]], [0.15, 0.6]), "distinct",
         [(2,), (1,), (), (3, 2), (4, 1, 2), (0, 1, 1)], "broadcast"),
    *[line for p in (-2, -0.5, 0, 0.5, 1, 2, 3, 2.5)
      for line in one("power", lambda x, p=p: x**p, "positive", note=f"{p}")],
    *one("power", lambda x: x**3, note="of negative numbers"),
    *one("power", lambda x: 1.5**x, note="of a number"),
    *one("power", lambda x: 3**x, note="of an integer"),
    *two("power", ag.power, "positive"), *two("add", ag.add), *two("sub", ag.sub),
    *two("mul", ag.mul), *two("div", ag.div, "positive"), *two("maximum", ag.maximum),
    *two("minimum", ag.minimum),
    *two("where", lambda x, y: ag.where(np.asarray(True), x, y), note="one condition"),
    *two("where", lambda x, y: ag.where(MASK, x, y),
         shapes=[((2, 3), (3,)), ((), (2, 1)), ((2, 3), (2, 3)), ((3,), ())]),
    *one("dropout", lambda x: ag.dropout(x, 0.4, 3, 1, 2), shapes=[(), (7,), (2, 3), (0,)]),
    *one("astype", lambda x: ag.astype(x, np.float64)), *one("clone", ag.clone),
]  # fmt: skip

SHAPING = [
    *one("reshape", lambda x: ag.reshape(x, (-1, 1)), shapes=[(), (3,), (2, 3), (0,), (2, 1, 2)]),
    *one("flatten", ag.flatten), *one("flatten", lambda x: ag.flatten(x, 1), shapes=[(2, 3, 2)]),
    *one("transpose", ag.transpose),
    *one("transpose", lambda x: ag.transpose(x, 2, 0, 1), shapes=[(2, 3, 4), (2, 0, 1)]),
    *one("swapaxes", lambda x: ag.swapaxes(x, 0, -1), shapes=[(3,), (2, 3), (2, 3, 4), (0, 2)]),
    *one("moveaxis", lambda x: ag.moveaxis(x, 0, -1), shapes=[(3,), (2, 3), (2, 3, 4), (0, 2)]),
    *one("squeeze", ag.squeeze), *one("squeeze", lambda x: ag.squeeze(x, 1), shapes=[(2, 1, 3)]),
    *one("unsqueeze", lambda x: ag.unsqueeze(x, -1)),
    *one("flip", ag.flip), *one("flip", lambda x: ag.flip(x, (0, 2)), shapes=[(2, 3, 2)]),
    *one("expand", lambda x: ag.expand(x, (4, 2, 3)), shapes=[(), (3,), (2, 1), (4, 1, 3)]),
    *one("expand", lambda x: ag.expand(x, (0, 3)), shapes=[(3,), (1, 3), ()], note="to nothing"),
    *one("broadcast_to", lambda x: ag.broadcast_to(x, (2, 3)), shapes=[(), (3,), (2, 1)]),
    *one("repeat", lambda x: ag.repeat(x, 3)), *one("repeat", lambda x: ag.repeat(x, 2, -1),
                                                    shapes=[(3,), (2, 3), (0, 2)], note="last"),
    *one("tile", lambda x: ag.tile(x, (2, 3)), shapes=[(), (3,), (2, 2), (0, 2)]),
    *two("concatenate", lambda *xs: ag.concatenate(xs, -1),
         shapes=[((3,), (2,)), ((2, 3), (2, 1), (2, 0)), ((0, 1), (0, 2)), ((2, 1, 3), (2, 1, 1))]),
    *two("stack", lambda *xs: ag.stack(xs, -1),
         shapes=[((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((0,), (0,))]),
    *one("split", lambda x: tuple(ag.split(x, [1, 3])), shapes=[(4,), (4, 2), (4, 0)]),
    *one("split", lambda x: tuple(ag.split(x, 2, -1)), shapes=[(4,), (3, 4)], note="equal"),
    *one("cumsum", ag.cumsum), *one("cumsum", lambda x: ag.cumsum(x, 0),
                                    shapes=[(3,), (2, 3), (0, 2), (2, 1, 2)], note="axis"),
    *[line for note, index in (
        ("integer", 1), ("slice", slice(None, None, 2)), ("None", None), ("ellipsis", (..., -1)),
        ("integers", PLACES), ("integers twice", (PLACES, PLACES - 1)), ("boolean", np.eye(3) > 0),
        ("mixed", (PLACES, None, 1)), ("nothing", np.zeros(0, int)))
      for line in one("getitem", lambda x, i=index: x[i], shapes=[(3, 3)], note=note)],
    *one("getitem", lambda x: x[2], shapes=[(3,)]), *one("getitem", lambda x: x[()], shapes=[()]),
    *one("scatter", lambda x: indexing.scatter(x, (4, 3), PLACES), shapes=[(2, 2, 3)]),
    *two("setitem", lambda x, v: put(x, v, (slice(None), 1)),
         shapes=[((2, 3), (2,)), ((2, 3), ())]),
    *one("setitem", lambda x: put(x, 5.0, 1), shapes=[(3,), (2, 3)], note="a number"),
    *two("setitem", lambda x, v: put(x, v, np.array([2, 0])),
         shapes=[((3,), (2,)), ((3, 2), (2,))]),
]  # fmt: skip


def put(x: Any, v: Any, index: Any) -> Any:
    """x with v at the places of an index."""
    y = x * 2.0
    y[index] = v
    return y


REDUCTIONS = [
    *over("sum", ag.sum, cases=REDUCED + EMPTY), *over("mean", ag.mean),
    *over("max", ag.max, "distinct"), *over("min", ag.min, "distinct"),
    *over("prod", ag.prod, "distinct", REDUCED + EMPTY), *over("norm", lambda x, a, k:
          ag.norm(x, 2, a, k), "distinct"),
    *over("var", ag.var, cases=[c for c in REDUCED if c[0]]),
    *over("std", ag.std, "distinct", [c for c in REDUCED if c[0] and c[1] not in ((), 1)]),
    *over("std", lambda x, a, k: ag.std(x, a, k, ddof=1), "distinct", [((3, 2), 0), ((4,), None)]),
    *over("logsumexp", ag.logsumexp),
    *[line for p in (1, 3, 1.5, np.inf, -np.inf)
      for line in one("norm", lambda x, p=p: ag.norm(x, p, -1), "distinct", [(3,), (2, 3)],
                      f"{p}")],
    *one("prod", lambda x: ag.prod(x * ZEROS, 1), shapes=[(3, 4)], note="with zeros"),
]  # fmt: skip
ZEROS = np.array([[1.0, 1, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1]])

PRODUCTS_LINES = [
    *two("matmul", ag.matmul, shapes=PRODUCTS),
    *two("dot", ag.dot, shapes=[((), ()), ((), (2, 3)), *PRODUCTS[:5], ((0,), (0,))]),
    *two("outer", ag.outer, shapes=[((3,), (2,)), ((2, 2), (3,)), ((), (2,)), ((0,), (2,))]),
    *two("linear", ag.linear, shapes=[
        ((4, 3), (3, 2), (2,)), ((1, 1), (1, 1), (1,)), ((0, 3), (3, 2), (2,)), ((4, 3), (3, 2))]),
    *[line for text, *shapes in (
        ("ij,jk->ik", (2, 3), (3, 4)), ("ij,kj->ki", (2, 3), (4, 3)), ("i,i->", (3,), (3,)),
        ("i,j->ij", (3,), (2,)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)), ("ii->i", (3, 3)),
        ("ij,ij->ij", (2, 3), (2, 3)), ("ii->", (3, 3)), ("ij->j", (2, 3)), ("ij->ji", (2, 3)),
        ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)), ("ij,j->", (2, 3), (3,)),
        ("ij,j->i", (0, 3), (3,)), ("ijk,k->ji", (2, 3, 2), (2,)), (",i->i", (), (3,)),
        ("...ij,...jk->...ik", (2, 1, 2, 3), (2, 3, 2)), ("ij,ij->ij", (1, 3), (2, 1)))
      for line in two("einsum", lambda *xs, t=text: ag.einsum(t, *xs), shapes=[shapes], note=text)],
]  # fmt: skip

LINALG = [
    *one("trace", ag.trace, shapes=[(3, 3), (2, 4), (2, 3, 3), (0, 0)]),
    *one("diag", lambda x: ag.diag(x, 1), shapes=[(3, 4), (1, 2), (3,), (0,)]),
    *one("diagonal", lambda x: ag.diagonal(x, -1), shapes=[(3, 4), (2, 3, 3), (1, 1)]),
    *one("tril", ag.tril, shapes=[(3,), (1,), (0,)]), *one("triu", ag.triu, shapes=[(3,), (0,)]),
    *one("tril", lambda x: ag.tril(x, 1), shapes=MATRICES), *one("triu", ag.triu, shapes=MATRICES),
    *one("inv", ag.inv, "regular", SQUARE), *one("det", ag.det, "regular", SQUARE),
    *one("logdet", ag.logdet, "spd", SQUARE),
    *two("solve", ag.solve, "regular", [((3, 3), (3, 2)), ((3, 3), (3,)), ((1, 1), (1, 1)),
                                        ((2, 3, 3), (2, 3, 2)), ((3, 3), (2, 3, 2)),
                                        ((2, 2, 2), (2, 3)), ((0, 2, 2), (0, 2, 1))]),
    *one("cholesky", symmetric(ag.cholesky), "spd", SQUARE),
    *one("eigh", symmetric(lambda x: ag.eigh(x)[0]), "spd", SQUARE, "values"),
    *one("eigh", symmetric(lambda x: _spectral(*ag.eigh(x))), "spd", SQUARE),
    *one("svd", lambda x: ag.svd(x)[1], shapes=MATRICES, note="values"),
    *one("svd", lambda x: _rebuilt(*ag.svd(x)), shapes=MATRICES),
]  # fmt: skip

NEURAL = [
    *one("softmax", ag.softmax, shapes=[(3,), (2, 3), (2, 2, 3), (0, 3), (2, 1)]),
    *one("softmax", lambda x: ag.softmax(x, 0), shapes=[(2, 3)], note="axis 0"),
    *one("log_softmax", ag.log_softmax, shapes=[(3,), (2, 3), (2, 2, 3), (0, 3), (2, 1)]),
    *one("log_softmax", lambda x: ag.log_softmax(x, 0), shapes=[(2, 3)], note="axis 0"),
    *[line for r in ("mean", "sum") for line in (
        *one("softmax_ce", lambda x, r=r: ag.softmax_ce(x, LABELS, r), shapes=[(4, 3)], note=r),
        *one("softmax_ce", lambda x, r=r: ag.softmax_ce(
            x, LABELS, r, np.array([1.0, 2, 0.5]), 0.1, 1, np.array([1.0, 2, 0, 3])),
            shapes=[(4, 3)], note=f"{r} weighted"),
        *one("nll_loss", lambda x, r=r: ag.nll_loss(x * x, LABELS, r), shapes=[(4, 3)], note=r),
        *one("mse_loss", lambda x, r=r: ag.mse_loss(x, TARGET, r), shapes=[(4, 3)], note=r),
        *two("mse_loss", lambda x, t, r=r: ag.mse_loss(x, t, r), note=r,
             shapes=[((4, 3), (4, 3)), ((3,), (3,)), ((), ())]),
        *one("mse_loss", lambda x, r=r: ag.mse_loss(x, TARGET, r, np.array([1.0, 0, 2, 1])),
             shapes=[(4, 3)], note=f"{r} weighted"),
    )],
]  # fmt: skip

SAME: Any = [((3,), (3,)), ((2, 3), (2, 3)), ((2, 0), (2, 0))]
GRADIENT_KERNELS = [
    *two("sigmoid_grad", elementary.sigmoid_grad, shapes=SAME),
    *two("tanh_grad", elementary.tanh_grad, shapes=SAME),
    *two("leaky_relu_grad", lambda x, g: apply(elementary.LeakyReluGrad, x, g, params=(0.2,)),
         "distinct", shapes=SAME),
    *two("relu_grad", elementary.relu_grad, "distinct", shapes=SAME),
    *two("softmax_grad", neural.softmax_grad, shapes=SAME[:2]),
    *two("log_softmax_grad", neural.log_softmax_grad, shapes=SAME[:2]),
    *two("matmul_gradient", products.matmul_gradient, shapes=PRODUCTS[:5]),
    *one("dropout_grad", lambda g: apply(neural.DropoutGrad, g, params=(0.4, 3, 1, 2)),
         shapes=[(7,), (2, 3)]),
    *two("linear_grad", neural.linear_grad, shapes=[((4, 2), (4, 3)), ((1, 2), (1, 1))]),
]  # fmt: skip

LINES = [
    *ELEMENTWISE, *SHAPING, *REDUCTIONS, *PRODUCTS_LINES, *LINALG, *NEURAL, *GRADIENT_KERNELS,
]  # fmt: skip
IDS = [str(line) for line in LINES]

# Functions of operations that have no gradient.
NO_GRADIENT = {"equal", "greater", "greater_equal", "less", "less_equal", "not_equal", "sign"}
# Where functions of operations are defined; `operation` makes those of one and two inputs.
MODULES = {
    "arithmetic", "choices", "elementary", "indexing", "joining", "linalg", "losses", "neural",
    "products", "reductions", "shaping",
}  # fmt: skip
# Operations that stand for something else: one of several outputs.
STAND_INS = {"Pick"}
