"""Random expression graphs that nnlite and PyTorch both compute, with two derivatives.

A program is JSON: inputs (shape and float64 numbers) and steps, each an operation on earlier values
with its parameters. `build` makes one from choices; it keeps values within reach (what grows beyond
4 goes through tanh) and away from points without derivative, so that both sides can be compared to
rounding. `derivatives` gives the value, the gradient, and the gradient of a weighted sum of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nnlite as nn
from nnlite import autograd as ag

Program = dict[str, Any]
LARGEST, ELEMENTS = 4.0, 48  # of values in a program
SHAPES = [(), (3,), (2, 3), (2, 1), (3, 3), (1, 3), (2, 2, 3)]


class Ours:
    """What the operations below are made of, in nnlite."""

    library: Any = ag
    softmax, log_softmax = staticmethod(ag.softmax), staticmethod(ag.log_softmax)
    logsumexp, cumsum, flip = staticmethod(ag.logsumexp), staticmethod(ag.cumsum), ag.flip
    inv, solve, cholesky = ag.inv, ag.solve, ag.cholesky
    erf, softplus, logdet = ag.erf, ag.softplus, ag.logdet
    concatenate = staticmethod(lambda xs, axis: ag.concatenate(xs, axis))
    largest = staticmethod(lambda x, axis, keep: x.max(axis, keep))
    smallest = staticmethod(lambda x, axis, keep: x.min(axis, keep))
    var = staticmethod(lambda x, axis, keep: x.var(axis, keep))
    norm = staticmethod(lambda x, axis, keep: x.norm(2, axis, keep))
    clip = staticmethod(lambda x: x.clip(-1.0, 1.0))
    repeat = staticmethod(lambda x: x.repeat(2, -1))
    positive = staticmethod(lambda x: np.asarray(x.detach()) > 0)
    where = staticmethod(lambda c, a, b: ag.where(c, a, b))
    constant = staticmethod(lambda x: nn.tensor(x))


class Torch:
    """The same in PyTorch."""

    def __init__(self) -> None:
        import torch

        t = self.library = torch
        self.softmax, self.log_softmax = torch.softmax, torch.log_softmax
        self.logsumexp, self.cumsum = torch.logsumexp, torch.cumsum
        self.inv, self.solve = torch.linalg.inv, torch.linalg.solve
        self.cholesky = torch.linalg.cholesky
        self.erf, self.softplus, self.logdet = torch.erf, t.nn.functional.softplus, torch.logdet
        self.concatenate = torch.cat
        self.largest, self.smallest = torch.amax, torch.amin
        self.where, self.constant = torch.where, torch.tensor

    def flip(self, x: Any, axis: int) -> Any:
        return x.flip((axis,))

    def var(self, x: Any, axis: int, keep: bool) -> Any:
        return x.var(axis, correction=0, keepdim=keep)

    def norm(self, x: Any, axis: int, keep: bool) -> Any:
        return self.library.linalg.vector_norm(x, 2, axis, keep)

    def clip(self, x: Any) -> Any:
        return x.clamp(-1.0, 1.0)

    def repeat(self, x: Any) -> Any:
        return x.repeat_interleave(2, -1)

    def positive(self, x: Any) -> Any:
        return x.detach() > 0


def _gram(L: Any, x: Any) -> Any:
    """A well-conditioned symmetric matrix from any matrix."""
    n = x.shape[-2]
    return x @ x.swapaxes(-1, -2) * 0.2 + L.constant(np.eye(n))


# name -> call(L, values..., *parameters). One value, any shape:
UNARY: dict[str, Callable[..., Any]] = {
    "neg": lambda L, x: -x,
    "abs": lambda L, x: abs(x),
    "exp": lambda L, x: (x * 0.5).exp(),
    "expm1": lambda L, x: (x * 0.5).expm1(),
    "log": lambda L, x: (x * x + 0.5).log(),
    "log1p": lambda L, x: (x * x).log1p(),
    "sqrt": lambda L, x: (x * x + 0.5).sqrt(),
    "reciprocal": lambda L, x: 1.0 / (x * x + 0.5),
    "square": lambda L, x: x**2,
    "cube": lambda L, x: x**3,
    "power": lambda L, x: (x * x + 0.5) ** 1.5,
    "number to the power": lambda L, x: 1.5**x,
    "sin": lambda L, x: x.sin(),
    "cos": lambda L, x: x.cos(),
    "erf": lambda L, x: L.erf(x),
    "sigmoid": lambda L, x: x.sigmoid(),
    "tanh": lambda L, x: x.tanh(),
    "relu": lambda L, x: x.relu(),
    "softplus": lambda L, x: L.softplus(x),
    "clip": lambda L, x: L.clip(x),
    "numbers": lambda L, x: 2.0 - x * 3.0 + x / 4.0,
    "flatten": lambda L, x: x.reshape(-1),
}
# Two values that are broadcast:
BINARY: dict[str, Callable[..., Any]] = {
    "add": lambda L, x, y: x + y,
    "sub": lambda L, x, y: x - y,
    "mul": lambda L, x, y: x * y,
    "div": lambda L, x, y: x / (y * y + 0.5),
    "pow": lambda L, x, y: (x * x + 0.5) ** (y * 0.5),
    "maximum": lambda L, x, y: L.library.maximum(x, y),
    "minimum": lambda L, x, y: L.library.minimum(x, y),
    "where": lambda L, x, y: L.where(L.positive(x), x, y),
}
# One value with at least one axis; axis, keepdims:
ALONG: dict[str, Callable[..., Any]] = {
    "sum": lambda L, x, axis, keep: x.sum(axis, keep),
    "mean": lambda L, x, axis, keep: x.mean(axis, keep),
    "prod": lambda L, x, axis, keep: x.prod(axis, keep),
    "max": lambda L, x, axis, keep: L.largest(x, axis, keep),
    "min": lambda L, x, axis, keep: L.smallest(x, axis, keep),
    "var": lambda L, x, axis, keep: L.var(x, axis, keep),
    "norm": lambda L, x, axis, keep: L.norm(x * x + 0.5, axis, keep),
    "logsumexp": lambda L, x, axis, keep: L.logsumexp(x, axis, keep),
    "softmax": lambda L, x, axis, keep: L.softmax(x, axis),
    "log_softmax": lambda L, x, axis, keep: L.log_softmax(x, axis),
    "cumsum": lambda L, x, axis, keep: L.cumsum(x, axis),
    "flip": lambda L, x, axis, keep: L.flip(x, axis),
    "concatenate": lambda L, x, axis, keep: L.concatenate([x, x * 0.5], axis),
    "first": lambda L, x, axis, keep: x[0] if keep else x[..., 0],
    "slice": lambda L, x, axis, keep: x[1:] if keep else x[..., :2],
    "places": lambda L, x, axis, keep: x[[0, -1, 0]],
    "repeat": lambda L, x, axis, keep: L.repeat(x),
}
# One value with at least two axes:
MATRIX: dict[str, Callable[..., Any]] = {
    "swapaxes": lambda L, x: x.swapaxes(0, -1),
    "gram": lambda L, x: x @ x.swapaxes(-1, -2),
    "product": lambda L, x: x.swapaxes(-1, -2) @ (x * x),
    "times its row": lambda L, x: x @ x[..., 0, :] if x.ndim == 2 else x @ x[0, 0],
    "inv": lambda L, x: L.inv(_gram(L, x)),
    "solve": lambda L, x: L.solve(_gram(L, x), x),
    "cholesky": lambda L, x: L.cholesky(_gram(L, x)),
    "logdet": lambda L, x: L.logdet(_gram(L, x)),
    "tril": lambda L, x: x.tril(),
    "triu": lambda L, x: x.triu(1),
}
OPERATIONS = {**UNARY, **BINARY, **ALONG, **MATRIX}


def build(choose: Callable[[int], int]) -> Program:
    """A program from choices: choose(n) gives a number below n."""
    rng = np.random.default_rng(choose(2**16))
    inputs = []
    for _ in range(1 + choose(3)):
        shape = SHAPES[choose(len(SHAPES))]
        inputs.append([list(shape), rng.normal(size=shape).ravel().tolist()])
    program: Program = {"inputs": inputs, "steps": []}
    values = [nn.tensor(x) for x in arrays(program)]
    for _ in range(2 + choose(8)):
        name, operands, parameters = _step(choose, values)
        value = OPERATIONS[name](Ours, *[values[i] for i in operands], *parameters)
        if value.size > ELEMENTS or value.size == 0:
            continue
        _append(program, values, name, operands, parameters, value)
        if abs(np.asarray(value)).max() > LARGEST:
            _append(program, values, "tanh", [len(values) - 1], [], value.tanh())
    return program


def _step(choose: Callable[[int], int], values: list[Any]) -> tuple[str, list[int], list[Any]]:
    """An operation that fits one of the latest values."""
    i = len(values) - 1 - choose(min(3, len(values)))
    x = values[i]
    kinds = [UNARY, BINARY] + ([ALONG] if x.ndim else []) + ([MATRIX] if x.ndim > 1 else [])
    kind = kinds[choose(len(kinds))]
    name = sorted(kind)[choose(len(kind))]
    if kind is BINARY:
        fitting = [j for j, y in enumerate(values) if _broadcasts(x.shape, y.shape)]
        return name, [i, fitting[choose(len(fitting))]], []
    return name, [i], [choose(x.ndim), bool(choose(2))] if kind is ALONG else []


def _broadcasts(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a[::-1], b[::-1], strict=False))


def _append(program: Program, values: list[Any], name: str, operands: list[int],
            parameters: list[Any], value: Any) -> None:  # fmt: skip
    program["steps"].append([name, operands, parameters])
    values.append(value)


def arrays(program: Program) -> list[np.ndarray]:
    """The inputs of a program."""
    return [np.array(numbers).reshape(shape) for shape, numbers in program["inputs"]]


def evaluate(program: Program, library: Any, inputs: list[Any]) -> Any:
    """The last value of a program, weighted and summed to one number."""
    values = list(inputs)
    for name, operands, parameters in program["steps"]:
        values.append(OPERATIONS[name](library, *[values[i] for i in operands], *parameters))
    return sum((v * library.constant(weights(v.shape))).sum() for v in values[-2:])


def weights(shape: Any) -> np.ndarray:
    """Fixed numbers between -1 and 1."""
    return np.cos(np.arange(1.0, 1 + np.prod(tuple(shape), dtype=int))).reshape(tuple(shape))


def derivatives(program: Program) -> dict[str, Any]:
    """By nnlite: the value, its gradients, and those of the weighted sum of the gradients."""
    xs = [nn.tensor(x, requires_grad=True) for x in arrays(program)]
    return _derive(program, Ours, xs, ag.grad, "allow_unused")


def derivatives_by_torch(program: Program) -> dict[str, Any]:
    """The same by PyTorch."""
    import torch

    xs = [torch.tensor(x, requires_grad=True) for x in arrays(program)]
    return _derive(program, Torch(), xs, torch.autograd.grad, "allow_unused")


def _derive(program: Program, library: Any, xs: list[Any], grad: Any, unused: str) -> Any:
    y = evaluate(program, library, xs)
    first = grad(y, xs, create_graph=True, **{unused: True})
    total = None
    for g in first:
        if g is not None and g.requires_grad:
            part = (g * library.constant(weights(g.shape))).sum()
            total = part if total is None else total + part
    second = [None] * len(xs) if total is None else grad(total, xs, **{unused: True})
    return {
        "value": y.detach().item(),
        "first": [_numbers(g, x) for g, x in zip(first, xs, strict=True)],
        "second": [_numbers(g, x) for g, x in zip(second, xs, strict=True)],
    }


def _numbers(g: Any, x: Any) -> list[float]:
    """A derivative as a list; zeros where the value does not depend on x."""
    return np.zeros(tuple(x.shape)).ravel().tolist() if g is None else (
        np.asarray(g.detach().clone()).ravel().tolist()  # torch has zeros without memory
    )  # fmt: skip
