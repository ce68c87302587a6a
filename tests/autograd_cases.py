"""The operations of nnlite.autograd as a table: what every test of derivatives runs over.

A case is a function of Tensors, the same function of torch tensors (or None where torch has other
conventions), and the shapes and kinds of its inputs. Kinds say where numbers are drawn from, so
that no input stands at a point without derivative: "any", "positive", "spd" (symmetric
positive definite matrices), "regular" (well-conditioned matrices), "distinct" (and not 0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nnlite import autograd as ag


class Case(NamedTuple):
    """One operation on inputs of given shapes."""

    name: str
    call: Callable[..., Any]
    torch: Callable[..., Any] | None
    shapes: tuple[tuple[int, ...], ...]
    kind: str = "any"

    def inputs(self, seed: int = 0) -> list[np.ndarray]:
        """Float64 arrays for the case, the same for the same seed."""
        rng = np.random.default_rng([seed, len(self.name), *map(ord, self.name)])
        return [np.asarray(draw(rng, shape, self.kind)) for shape in self.shapes]


def draw(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Random numbers of a kind."""
    x = rng.normal(size=shape)
    if kind == "positive":
        return np.abs(x) + 0.5
    if kind == "spd":
        return x @ x.swapaxes(-1, -2) / shape[-1] + np.eye(shape[-1])
    if kind == "regular":
        return x / 4 + (np.eye(*shape[-2:]) * 2 if len(shape) > 1 else 0)
    if kind == "distinct":  # away from each other and from 0, in random order
        n = int(np.prod(shape, dtype=int))
        return ((rng.permutation(n) - n / 2 + 0.25) / 2).reshape(shape)
    return x


def _t(name: str) -> Callable[..., Any]:
    """torch's function of that name, looked up when it is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        import torch

        found: Any = torch
        for part in name.split("."):
            found = getattr(found, part)
        return found(*args, **kwargs)

    return call


def _both(name: str, call: Callable[..., Any], *shapes: Any, kind: str = "any") -> Case:
    """The same expression for Tensors and torch tensors."""
    return Case(name, call, call, shapes, kind)


MASK = np.array([[True, False, True], [False, False, True]])
LABELS = np.array([2, 0, 1, 1])


def _unary() -> list[Case]:
    names = {
        "exp": "any", "expm1": "any", "sin": "any", "cos": "any", "sigmoid": "any", "tanh": "any",
        "relu": "distinct", "abs": "distinct", "square": "any", "reciprocal": "positive",
        "sqrt": "positive", "log": "positive", "log1p": "positive",
    }  # fmt: skip
    cases = [
        Case(name, getattr(ag, name), _t(name), (shape,), kind)
        for name, kind in names.items()
        for shape in ((2, 3), (), (0, 2))
    ]
    cases += [
        Case("erf", ag.erf, _t("special.erf"), ((5,),)),
        Case("softplus", ag.softplus, _t("nn.functional.softplus"), ((2, 3),)),
        Case("softmax", ag.softmax, lambda x: x.softmax(-1), ((3, 4),)),
        Case("softmax axis", lambda x: ag.softmax(x, 0), lambda x: x.softmax(0), ((3, 4),)),
        Case("log_softmax", ag.log_softmax, lambda x: x.log_softmax(-1), ((3, 4),)),
        Case("clip", lambda x: x.clip(-1.1, 1.1), lambda x: x.clamp(-1.1, 1.1), ((7,),)),
        Case("clip low", lambda x: ag.clip(x, 0.1), lambda x: x.clamp(min=0.1), ((7,),)),
        _both("neg", lambda x: -x, (2, 3)),
    ]
    for p in (-2, -0.5, 0.5, 1, 2, 3, 2.5):
        cases.append(_both(f"power {p}", lambda x, p=p: x**p, (3, 2), kind="positive"))
    cases.append(_both("power of negative", lambda x: x**3, (5,)))
    cases.append(_both("number to the power", lambda x: 1.5**x, (5,)))
    return cases


def _binary() -> list[Case]:
    shapes = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((4, 1, 2), (3, 1))]
    cases = []
    for a, b in shapes:
        cases += [
            _both("add", lambda x, y: x + y, a, b),
            _both("sub", lambda x, y: x - y, a, b),
            _both("mul", lambda x, y: x * y, a, b),
            _both("div", lambda x, y: x / y, a, b, kind="positive"),
            _both("pow", lambda x, y: x**y, a, b, kind="positive"),
            Case("maximum", ag.maximum, _t("maximum"), (a, b)),
            Case("minimum", ag.minimum, _t("minimum"), (a, b)),
        ]
    cases += [
        Case("where", lambda x, y: ag.where(MASK, x, y), lambda x, y: _where(x, y), ((2, 3), (3,))),
        _both("numbers", lambda x: 2 - x * 3 + 1 / (x + 4), (3,), kind="positive"),
        _both("same twice", lambda x: x * x + x, (3,)),
    ]
    return cases


def _where(x: Any, y: Any) -> Any:
    import torch

    return torch.where(torch.tensor(MASK), x, y)


def _shaping() -> list[Case]:
    index = np.array([[0, 2], [2, 2]])
    return [
        _both("reshape", lambda x: x.reshape(3, -1), (2, 3, 2)),
        Case("transpose", lambda x: x.transpose(2, 0, 1), lambda x: x.permute(2, 0, 1),
             ((2, 3, 4),)),
        _both("T", lambda x: x.T @ x, (3, 2)),
        _both("swapaxes", lambda x: x.swapaxes(0, 2), (2, 3, 4)),
        _both("moveaxis", lambda x: x.moveaxis(0, 2), (2, 3, 4)),
        _both("squeeze", lambda x: x.squeeze(1), (2, 1, 3)),
        _both("unsqueeze", lambda x: x.unsqueeze(-1), (2, 3)),
        _both("flatten", lambda x: x.flatten(1), (2, 3, 2)),
        Case("flip", lambda x: x.flip((0, 1)), lambda x: x.flip((0, 1)), ((2, 3),)),
        Case("expand", lambda x: x.expand((4, 2, 3)), lambda x: x.expand(4, 2, 3), ((2, 1),)),
        Case("repeat", lambda x: x.repeat(3, 1), lambda x: x.repeat_interleave(3, 1), ((2, 3),)),
        Case("tile", lambda x: x.tile((2, 3)), lambda x: x.tile((2, 3)), ((2, 2),)),
        _both("slice", lambda x: x[1:, ::2], (3, 5)),
        _both("integer", lambda x: x[1], (3, 2)),
        _both("one element", lambda x: x[2], (3,)),
        _both("ellipsis, None", lambda x: x[..., None, 1], (2, 3)),
        _both("integer array", lambda x: x[index], (3, 2)),
        _both("two integer arrays", lambda x: x[index, index - 1], (3, 3)),
        _both("boolean array", lambda x: x[MASK], (2, 3)),
        Case("concatenate", lambda x, y: ag.concatenate([x, y, x], 1), lambda x, y: _cat(x, y),
             ((2, 3), (2, 1))),
        Case("stack", lambda x, y: ag.stack([x, y], -1), lambda x, y: _stack(x, y),
             ((2, 3), (2, 3))),
        Case("split", lambda x: ag.split(x, [1, 4])[1] * ag.split(x, 2)[0],
             lambda x: x[1:4] * x[:3], ((6, 2),)),
        Case("cumsum", lambda x: x.cumsum(1), lambda x: x.cumsum(1), ((2, 4),)),
        Case("cumsum flat", lambda x: x.cumsum(), lambda x: x.flatten().cumsum(0), ((2, 4),)),
        _both("clone", lambda x: x.clone(), (2,)),
    ]  # fmt: skip


def _cat(x: Any, y: Any) -> Any:
    import torch

    return torch.cat([x, y, x], 1)


def _stack(x: Any, y: Any) -> Any:
    import torch

    return torch.stack([x, y], -1)


def _reductions() -> list[Case]:
    cases = []
    for axis in (None, 0, -1, (0, 2), (1,)):
        for keep in (False, True):
            for name, other in (("sum", "sum"), ("mean", "mean"), ("logsumexp", "logsumexp"),
                                ("max", "amax"), ("min", "amin")):  # fmt: skip
                cases.append(Case(
                    f"{name} {axis} {keep}",
                    lambda x, name=name, axis=axis, keep=keep: getattr(x, name)(axis, keep),
                    lambda x, other=other, axis=axis, keep=keep: getattr(x, other)(
                        tuple(range(3)) if axis is None else axis, keep),
                    ((2, 3, 2),), "distinct",
                ))  # fmt: skip
            cases.append(Case(
                f"var {axis} {keep}",
                lambda x, axis=axis, keep=keep: x.var(axis, keep),
                lambda x, axis=axis, keep=keep: x.var(axis, correction=0, keepdim=keep),
                ((3, 3, 2),),
            ))  # fmt: skip
            cases.append(Case(
                f"norm {axis} {keep}",
                lambda x, axis=axis, keep=keep: x.norm(2, axis, keep),
                lambda x, axis=axis, keep=keep: _t("linalg.vector_norm")(x, 2, axis, keep),
                ((2, 3, 2),),
            ))  # fmt: skip
    for ord in (1, 3, np.inf, -np.inf, 1.5):
        cases.append(Case(
            f"norm {ord}", lambda x, o=ord: x.norm(o, 1),
            lambda x, o=ord: _t("linalg.vector_norm")(x, o, 1), ((2, 3),), "distinct",
        ))  # fmt: skip
    cases += [
        Case("std", lambda x: x.std(0, ddof=1), lambda x: x.std(0), ((4, 2),)),
        _both("prod", lambda x: x.prod(), (2, 3)),
        Case("prod axis", lambda x: x.prod(1, True), lambda x: x.prod(1, True), ((2, 3),)),
        Case("prod axes", lambda x: x.prod((0, 2)), lambda x: x.prod(2).prod(0), ((2, 3, 2),)),
        Case("prod with zeros", lambda x: (x * ZEROS).prod(1),
             lambda x: (x * _const(ZEROS)).prod(1), ((3, 4),)),
    ]  # fmt: skip
    return cases


ZEROS = np.array([[1.0, 1, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1]])


def _const(x: Any) -> Any:
    import torch

    return torch.tensor(x)


def _products() -> list[Case]:
    pairs = [((2, 3), (3, 4)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)),
             ((2, 2, 3), (2, 3, 2)), ((4, 1, 2, 3), (2, 3, 2)), ((2, 3), (4, 3, 2)),
             ((4, 2, 3), (3,)), ((3,), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 2))]  # fmt: skip
    cases = [_both("matmul", lambda x, y: x @ y, a, b) for a, b in pairs]
    cases += [
        Case("dot", ag.dot, _t("dot"), ((3,), (3,))),
        Case("outer", ag.outer, _t("outer"), ((3,), (2,))),
        Case("linear", ag.linear, lambda x, w, b: x @ w + b, ((4, 3), (3, 2), (2,))),
        Case("linear without bias", ag.linear, lambda x, w: x @ w, ((4, 3), (3, 2))),
    ]
    terms = [
        ("ij,jk->ik", (2, 3), (3, 4)), ("ij,kj->ki", (2, 3), (4, 3)), ("i,i->", (3,), (3,)),
        ("i,j->ij", (3,), (2,)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
        ("ij,ij->ij", (2, 3), (2, 3)), ("ii->i", (3, 3)), ("ii->", (3, 3)), ("ij->j", (2, 3)),
        ("ij->ji", (2, 3)), ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)), ("ij,j->", (2, 3), (3,)),
        ("ijk,k->ji", (2, 3, 2), (2,)),
        ("ab,cb,c->a", (2, 3), (4, 3), (4,)), ("...ij,...jk->...ik", (2, 1, 2, 3), (2, 3, 2)),
        ("...ij,jk", (2, 2, 3), (3, 2)), ("ij,ij->ij", (1, 3), (2, 1)),
    ]  # fmt: skip
    for text, *shapes in terms:
        cases.append(Case(
            f"einsum {text}", lambda *xs, text=text: ag.einsum(text, *xs),
            lambda *xs, text=text: _t("einsum")(text, *xs), tuple(shapes),
        ))  # fmt: skip
    return cases


def _linalg() -> list[Case]:
    square = ((3, 3),), ((2, 3, 3),)
    cases = []
    for shapes in square:
        cases += [
            Case("inv", ag.inv, _t("linalg.inv"), shapes, "regular"),
            Case("det", ag.det, _t("linalg.det"), shapes, "regular"),
            Case("logdet", ag.logdet, _t("logdet"), shapes, "spd"),
            Case("cholesky", lambda x: ag.cholesky((x + ag.swapaxes(x, -1, -2)) * 0.5),
                 lambda x: _t("linalg.cholesky")((x + x.swapaxes(-1, -2)) * 0.5), shapes, "spd"),
            Case("eigh values", lambda x: ag.eigh((x + ag.swapaxes(x, -1, -2)) * 0.5)[0],
                 lambda x: _t("linalg.eigh")((x + x.swapaxes(-1, -2)) * 0.5)[0], shapes, "spd"),
            Case("eigh", lambda x: _spectral(*ag.eigh((x + ag.swapaxes(x, -1, -2)) * 0.5)),
                 lambda x: _spectral(*_t("linalg.eigh")((x + x.swapaxes(-1, -2)) * 0.5)), shapes,
                 "spd"),
            Case("triu", ag.triu, _t("triu"), shapes),
            Case("tril", lambda x: x.tril(-1), lambda x: x.tril(-1), shapes),
        ]  # fmt: skip
    cases += [
        Case("trace", ag.trace, _t("trace"), ((3, 3),)),
        Case("diag of a matrix", lambda x: x.diag(1), lambda x: x.diag(1), ((3, 4),)),
        Case("diag of a vector", lambda x: x.diag(-1), lambda x: x.diag(-1), ((3,),)),
        Case("solve", ag.solve, _t("linalg.solve"), ((3, 3), (3, 2)), "regular"),
        Case("solve, a vector", ag.solve, _t("linalg.solve"), ((3, 3), (3,)), "regular"),
        Case("solve, stacks", ag.solve, _t("linalg.solve"), ((2, 3, 3), (2, 3, 2)), "regular"),
    ]
    for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 3)):
        cases += [
            Case("svd values", lambda x: ag.svd(x)[1], lambda x: _svd(x)[1], (shape,)),
            Case("svd", lambda x: _rebuilt(*ag.svd(x)), lambda x: _rebuilt(*_svd(x)), (shape,)),
        ]
    return cases


def _svd(x: Any) -> Any:
    import torch

    return torch.linalg.svd(x, full_matrices=False)


def _rebuilt(u: Any, s: Any, vt: Any) -> Any:
    """A function of all three factors that does not depend on signs."""
    return (u * (s**2)[..., None, :]) @ vt + (u * u).sum(-1)[..., None] * s[..., :1, None]


def _spectral(w: Any, v: Any) -> Any:
    """exp of the matrix, from both factors: it does not depend on signs."""
    return (v * (w * 0.5)[..., None, :].exp()) @ v.swapaxes(-1, -2)


def _losses() -> list[Case]:
    def ce(reduction: str) -> Any:
        return lambda x: _t("nn.functional.cross_entropy")(x, _const(LABELS), reduction=reduction)

    cases = []
    for r in ("mean", "sum"):
        cases += [
            Case(f"softmax_ce {r}", lambda x, r=r: ag.softmax_ce(x, LABELS, r), ce(r), ((4, 3),)),
            Case(f"mse {r}", lambda x, y, r=r: ag.mse_loss(x, y, r),
                 lambda x, y, r=r: _t("nn.functional.mse_loss")(x, y, reduction=r),
                 ((4, 3), (4, 3))),
            Case(f"mse constant {r}", lambda x, r=r: ag.mse_loss(x, ZEROS, r),
                 lambda x, r=r: _t("nn.functional.mse_loss")(x, _const(ZEROS), reduction=r),
                 ((3, 4),)),
            Case(f"nll {r}", lambda x, r=r: ag.nll_loss(x.log_softmax(), LABELS, r), ce(r),
                 ((4, 3),)),
        ]  # fmt: skip
    return cases


CASES = [
    *_unary(), *_binary(), *_shaping(), *_reductions(), *_products(), *_linalg(), *_losses(),
]  # fmt: skip
IDS = [f"{case.name} {' '.join(map(str, case.shapes))}" for case in CASES]
