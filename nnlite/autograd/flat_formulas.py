"""What each operation becomes in flat code: NumPy text for the value and for the gradients.

FORMULAS are templates, [value, gradient of a, gradient of b]; a, b: inputs, y: output, g: gradient
of the output, p0: the first parameter; broadcasting is undone by the writer. CALLS are functions of
the call for what depends on shapes: one for the value, one for the gradients. HELPERS are functions
that the code defines where it uses them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

FORMULAS: dict[str, tuple[str, ...]] = {
    "Add": ("{a} + {b}", "{g}", "{g}"),
    "Sub": ("{a} - {b}", "{g}", "-{g}"),
    "Mul": ("{a} * {b}", "{g} * {b}", "{g} * {a}"),
    "Div": ("{a} / {b}", "{g} / {b}", "-{g} * {a} / ({b} * {b})"),
    "Power": (
        "{a} ** {b}",
        "{g} * {b} * {a} ** np.where(np.equal({b}, 0), 1.0, {b} - 1)",
        "{g} * {y} * np.log(np.where(np.equal({a}, 0), 1.0, {a}))",
    ),
    "PowerOf": ("{a} ** {p0}", "{g} * {p0} * {a} ** ({p0} - 1)"),
    "Neg": ("-{a}", "-{g}"),
    "Abs": ("np.abs({a})", "{g} * np.sign({a})"),
    "Square": ("{a} * {a}", "{g} * 2 * {a}"),
    "Reciprocal": ("1 / {a}", "-{g} * {y} * {y}"),
    "Sqrt": ("np.sqrt({a})", "{g} * 0.5 / {y}"),
    "Maximum": (
        "np.maximum({a}, {b})",
        "np.where({a} >= {b}, {g}, 0.0)",
        "np.where({a} >= {b}, 0.0, {g})",
    ),
    "Minimum": (
        "np.minimum({a}, {b})",
        "np.where({a} <= {b}, {g}, 0.0)",
        "np.where({a} <= {b}, 0.0, {g})",
    ),
    "Where": ("np.where({p0}, {a}, {b})", "np.where({p0}, {g}, 0.0)", "np.where({p0}, 0.0, {g})"),
    "Deviation": (
        "np.sqrt({a})",
        "np.where(np.equal({y}, 0), 0.0, {g} * 0.5 / np.where(np.equal({y}, 0), 1.0, {y}))",
    ),
    "Exp": ("np.exp({a})", "{g} * {y}"),
    "Expm1": ("np.expm1({a})", "{g} * ({y} + 1)"),
    "Log": ("np.log({a})", "{g} / {a}"),
    "Log1p": ("np.log1p({a})", "{g} / (1 + {a})"),
    "Sin": ("np.sin({a})", "{g} * np.cos({a})"),
    "Cos": ("np.cos({a})", "{g} * -np.sin({a})"),
    "Sigmoid": ("1 / (1 + np.exp(-{a}))", "{g} * {y} * (1 - {y})"),
    "Tanh": ("np.tanh({a})", "{g} * (1 - {y} * {y})"),
    "Relu": ("np.maximum({a}, 0)", "np.where({y} > 0, {g}, 0.0)"),
    "Softplus": ("np.logaddexp({a}, 0)", "{g} / (1 + np.exp(-{a}))"),
    "Clone": ("{a}.copy()", "{g}"),
    "Inv": ("np.linalg.inv({a})", "-{y}.swapaxes(-1, -2) @ {g} @ {y}.swapaxes(-1, -2)"),
}

HELPERS = {
    "erf": """
def erf(x):
    from math import erf
    return np.vectorize(erf, otypes=[np.float64])(x)
""",
    "log_softmax": """
def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))
""",
    "softmax": """
def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
""",
    "logsumexp": """
def logsumexp(x, axes):
    top = x.max(axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    return np.log(np.exp(x - top).sum(axes, keepdims=True)) + top
""",
    "first": """
def first(x, axes, place):
    # 1 at the first extremum along the axes, 0 elsewhere
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    turned = x.transpose(rest + axes)
    flat = turned.reshape(*turned.shape[:len(rest)], -1)
    mask = np.zeros(flat.shape)
    np.put_along_axis(mask, place(flat, -1)[..., None], 1.0, -1)
    return mask.reshape(turned.shape).transpose(np.argsort(rest + axes))
""",
    "others": """
def others(x, axes):
    # for each element the product of the others along the axes
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    turned = x.transpose(rest + axes)
    flat = turned.reshape(*turned.shape[:len(rest)], -1)
    n = flat.shape[-1]
    product = np.where(np.eye(n, dtype=bool), 1.0, flat[..., None, :]).prod(-1)
    return product.reshape(turned.shape).transpose(np.argsort(rest + axes))
""",
    "scatter": """
def scatter(g, shape, index):
    # zeros with g added at the places of the index
    out = np.zeros(shape, np.asarray(g).dtype)
    np.add.at(out, index, g)
    return out
""",
    "put": """
def put(x, index, v):
    # x with v at the places of the index
    out = np.array(x)
    out[index] = v
    return out
""",
    "pair": """
def pair(g, index, count):
    # the gradients of several outputs, of which one came
    return tuple(g if i == index else None for i in range(count))
""",
    "add_outputs": """
def add_outputs(a, b):
    return tuple(q if p is None else p if q is None else p + q for p, q in zip(a, b))
""",
}  # fmt: skip


def _axes(k: Any, axes: Any) -> tuple[int, ...]:
    return tuple(range(len(k.shapes[0]))) if axes is None else axes


def _spread(k: Any, text: str, axes: Any, keepdims: bool) -> str:
    """A gradient (or value) of a reduction, repeated along the axes that it reduced."""
    shape = k.shapes[0]
    if not keepdims:
        axes = _axes(k, axes)
        kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
        text = f"np.reshape({text}, {kept})"
    return f"np.broadcast_to({text}, {shape})"


def _reduction(name: str) -> Any:
    return lambda k: f"np.{name}({k.a}, axis={_axes(k, k.params[0])}, keepdims={k.params[1]})"


def _count(k: Any) -> int:
    return math.prod(k.shapes[0][a] for a in _axes(k, k.params[0]))


def _extremum(name: str) -> Any:
    place = f"np.arg{name}"
    return (
        _reduction(name),
        lambda k: (
            f"{_spread(k, k.g, *k.params)} * "
            f"{k.helper('first')}({k.a}, {_axes(k, k.params[0])}, {place})"
        ),
    )


def _prod_gradient(k: Any) -> str:
    others = f"{k.helper('others')}({k.a}, {_axes(k, k.params[0])})"
    return f"{_spread(k, k.g, *k.params)} * {others}"


def _p_norm_back(k: Any) -> str:
    *axes, p = k.params
    y = _spread(k, f"np.where(np.equal({k.y}, 0), 1.0, {k.y})", *axes)
    size = f"np.where({k.a} == 0, 1.0, np.abs({k.a}))"
    return f"{_spread(k, k.g, *axes)} * np.sign({k.a}) * ({size} / {y}) ** ({p} - 1)"


def _logsumexp(k: Any) -> str:
    text = f"{k.helper('logsumexp')}({k.a}, {_axes(k, k.params[0])})"
    return f"{text}.reshape({k.shape})"


def index_text(k: Any, index: Any) -> str:
    """An index as Python writes it."""

    def part(i: Any) -> str:
        if isinstance(i, slice):
            ends = [("" if v is None else str(v)) for v in (i.start, i.stop, i.step)]
            return ":".join(ends[:2] if i.step is None else ends)
        if i is Ellipsis:
            return "..."
        return k.const(i, "index") if isinstance(i, np.ndarray) else str(i)

    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(part(i) for i in parts) or "()"


def _index_object(k: Any, index: Any) -> str:
    text = index_text(k, index)
    return f"np.s_[{text}]"


def _scattered(k: Any) -> str:
    place = _index_object(k, k.params[-1])
    return f"{k.helper('scatter')}({k.g}, {k.shapes[0]}, {place})"


def _transpose_back(k: Any) -> str:
    axes = k.params[0]
    if axes is None:
        return f"{k.g}.transpose()"
    return f"{k.g}.transpose({tuple(int(i) for i in np.argsort(axes))})"


def _sum_to(text: str, shape: tuple[int, ...], to: tuple[int, ...]) -> str:
    if shape == to:
        return text
    extra = len(shape) - len(to)
    axes = (*range(extra), *[i + extra for i, n in enumerate(to) if n == 1 != shape[i + extra]])
    return f"np.sum({text}, {axes}).reshape({to})"


def _matmul_back(k: Any) -> list[str]:
    """dA = G B^T, dB = A^T G; vectors as matrices of one row or column, stacks summed."""
    sa, sb = k.shapes
    if len(sa) == 2 and len(sb) == 2:
        return [f"{k.g} @ {k.b}.T", f"{k.a}.T @ {k.g}"]
    rows = k.a if len(sa) > 1 else f"{k.a}[None, :]"
    columns = k.b if len(sb) > 1 else f"{k.b}[:, None]"
    row_shape = sa if len(sa) > 1 else (1, *sa)
    column_shape = sb if len(sb) > 1 else (*sb, 1)
    lead = np.broadcast_shapes(row_shape[:-2], column_shape[:-2])
    shape = (*lead, row_shape[-2], column_shape[-1])
    g = f"np.reshape({k.g}, {shape})"
    da = _sum_to(f"({g} @ {columns}.swapaxes(-1, -2))", (*lead, *row_shape[-2:]), row_shape)
    db = _sum_to(f"({rows}.swapaxes(-1, -2) @ {g})", (*lead, *column_shape[-2:]), column_shape)
    return [f"{da}.reshape({sa})", f"{db}.reshape({sb})"]


def _affine_back(k: Any) -> list[str]:
    found = [f"{k.g} @ {k.b}.T", f"{k.a}.T @ {k.g}"]
    return [*found, f"{k.g}.sum(0)"] if len(k.args) == 3 else found


def _concatenate(k: Any) -> str:
    return f"np.concatenate([{', '.join(k.args)}], axis={k.params[0]})"


def _concatenate_back(k: Any) -> list[str]:
    axis, ends = k.params
    colons = ":, " * axis
    starts = (0, *ends[:-1])
    return [f"{k.g}[{colons}{i}:{j}]" for i, j in zip(starts, ends, strict=True)]


def _mask(k: Any) -> str:
    """What a dropout multiplies with."""
    if not hasattr(k, "mask"):
        from .neural import Dropout

        k.mask = k.const(Dropout.forward(np.ones(k.shape, k.dtype), *k.params), "mask")
    return k.mask


def _inside(k: Any) -> str:
    low, high = (k.const(v, "limit") for v in k.params)
    parts = [f"({k.a} >= {low})"] if k.params[0] is not None else []
    return " & ".join(parts + ([f"({k.a} <= {high})"] if k.params[1] is not None else []))


def _clip(k: Any) -> str:
    low, high = (k.const(v, "limit") for v in k.params)
    return f"np.clip({k.a}, {low}, {high})"


def _cross_entropy_shares(k: Any, log_probabilities: str) -> Any:
    """The rows and columns of a mean over class indices, or None where weights are in play."""
    target, settings = k.params[:2]
    reduction, weight, *smoothing, ignore, sample_weight = settings
    plain = weight is None and sample_weight is None and not any(smoothing)
    if not (plain and target.ndim == 1 and not (target == ignore).any()):
        return None
    return f"[np.arange({len(target)}), {k.const(target, 'target')}].{reduction}()"


def _shares(k: Any) -> str:
    """What each -log p counts, as a constant, where the loss has weights."""
    if not hasattr(k, "shares"):
        from .losses import shares

        target, settings = k.params[:2]
        if len(settings) == 4:  # nll_loss has no smoothing
            settings = (*settings[:2], 0.0, *settings[2:])
        probe = np.empty(k.shapes[0], k.dtype)
        k.shares = k.const(shares(probe, target, *settings), "share")
    return k.shares


def _softmax_ce(k: Any) -> str:
    log = f"{k.helper('log_softmax')}({k.a})"
    places = _cross_entropy_shares(k, log)
    return f"-np.sum({_shares(k)} * {log})" if places is None else f"-{log}{places}"


def _softmax_ce_back(k: Any) -> str:
    soft = f"{k.helper('softmax')}({k.a})"
    if _cross_entropy_shares(k, "") is None:
        share = _shares(k)
        return f"{k.g} * ({soft} * {share}.sum(1, keepdims=True) - {share})"
    rows, classes = k.shapes[0]
    hot = f"np.eye({classes}, dtype=np.{k.dtype})[{k.const(k.params[0], 'target')}]"
    return f"{k.g} * ({soft} - {hot})" + (f" / {rows}" if k.params[1][0] == "mean" else "")


def _nll(k: Any) -> str:
    places = _cross_entropy_shares(k, k.a)
    return f"-np.sum({_shares(k)} * {k.a})" if places is None else f"-{k.a}{places}"


def _nll_back(k: Any) -> str:
    return f"{k.g} * -{_shares(k)}"


def _mse_weight(k: Any) -> str:
    """The factor of each square."""
    reduction, sample_weight = k.params[1]
    size = math.prod(k.shapes[0])
    if sample_weight is None:
        return f" / {size}" if reduction == "mean" else ""
    s = sample_weight.reshape(-1, *(1,) * (len(k.shapes[0]) - 1)) * np.ones(k.shapes[0])
    return f" * {k.const(s / s.sum() if reduction == 'mean' else s, 'share')}"


def _difference(k: Any) -> str:
    return f"({k.a} - {k.const(k.params[0], 'target')})"


def _dtype(k: Any) -> str:
    return f"{k.a}.astype(np.{np.dtype(k.params[0]).name})"


CALLS: dict[str, tuple[Any, Any]] = {
    "Sum": (_reduction("sum"), lambda k: _spread(k, k.g, *k.params)),
    "Mean": (_reduction("mean"), lambda k: _spread(k, f"{k.g} / {_count(k)}", *k.params)),
    "Max": _extremum("max"),
    "Min": _extremum("min"),
    "Prod": (_reduction("prod"), _prod_gradient),
    "Norm": (
        lambda k: (
            f"np.sqrt(np.sum({k.a} * {k.a}, axis={_axes(k, k.params[0])}, keepdims={k.params[1]}))"
        ),
        lambda k: f"{k.a} * {_spread(k, f'{k.g} / np.where({k.y} == 0, inf, {k.y})', *k.params)}",
    ),
    "PNorm": (
        lambda k: (
            f"np.sum(np.abs({k.a}) ** {k.params[2]}, axis={_axes(k, k.params[0])}, "
            f"keepdims={k.params[1]}) ** (1 / {k.params[2]})"
        ),
        _p_norm_back,
    ),
    "LogSumExp": (
        _logsumexp,
        lambda k: f"{_spread(k, k.g, *k.params)} * np.exp({k.a} - {_spread(k, k.y, *k.params)})",
    ),
    "Constant": (
        lambda k: f"np.full({k.shape}, {k.const(k.params[0])}, np.{k.dtype})",
        lambda k: f"np.zeros({k.shapes[0]}, np.{k.dtype})",
    ),
    "Expand": (
        lambda k: f"np.broadcast_to({k.a}, {k.shape})",
        lambda k: _sum_to(k.g, k.shape, k.shapes[0]),
    ),
    "Reshape": (
        lambda k: f"{k.a}.reshape({k.shape})",
        lambda k: f"{k.g}.reshape({k.shapes[0]})",
    ),
    "Transpose": (lambda k: f"{k.a}.transpose({k.params[0]})", _transpose_back),
    "Index": (lambda k: f"{k.a}[{index_text(k, k.params[0])}]", _scattered),
    "IndexView": (lambda k: f"{k.a}[{index_text(k, k.params[0])}]", _scattered),
    "Scatter": (
        lambda k: f"{k.helper('scatter')}({k.a}, {k.shape}, {_index_object(k, k.params[1])})",
        lambda k: f"{k.g}[{index_text(k, k.params[1])}]",
    ),
    "Put": (
        lambda k: f"{k.helper('put')}({k.a}, {_index_object(k, k.params[0])}, {k.b})",
        lambda k: [
            f"{k.helper('put')}({k.g}, {_index_object(k, k.params[0])}, 0.0)",
            _sum_to(f"{k.g}[{index_text(k, k.params[0])}]", _indexed_shape(k), k.shapes[1]),
        ],
    ),
    "Concatenate": (_concatenate, _concatenate_back),
    "Flip": (
        lambda k: f"np.flip({k.a}, {k.params[0]})",
        lambda k: f"np.flip({k.g}, {k.params[0]})",
    ),
    "Cumsum": (
        lambda k: f"np.cumsum({k.a}, axis={k.params[0]})",
        lambda k: (
            f"np.flip(np.cumsum(np.flip({k.g}, {k.params[0]}), {k.params[0]}), {k.params[0]})"
        ),
    ),
    "Astype": (_dtype, lambda k: f"{k.g}.astype(np.{k.dtypes[0].name})"),
    "Clip": (
        _clip,
        lambda k: _sum_to(f"np.where({_inside(k)}, {k.g}, 0.0)", k.shape, k.shapes[0]),
    ),
    "MatMul": (lambda k: f"{k.a} @ {k.b}", _matmul_back),
    "Affine": (
        lambda k: f"{k.a} @ {k.b}" + (f" + {k.c}" if len(k.args) == 3 else ""),
        _affine_back,
    ),
    "Erf": (
        lambda k: f"{k.helper('erf')}({k.a})",
        lambda k: f"{k.g} * 2 / np.sqrt(np.pi) * np.exp(-{k.a} * {k.a})",
    ),
    "Softmax": (
        lambda k: f"{k.helper('softmax')}({k.a})",
        lambda k: f"{k.y} * ({k.g} - ({k.g} * {k.y}).sum(-1, keepdims=True))",
    ),
    "LogSoftmax": (
        lambda k: f"{k.helper('log_softmax')}({k.a})",
        lambda k: f"{k.g} - np.exp({k.y}) * {k.g}.sum(-1, keepdims=True)",
    ),
    "Dropout": (lambda k: f"{k.a} * {_mask(k)}", lambda k: f"{k.g} * {_mask(k)}"),
    "SoftmaxCE": (_softmax_ce, _softmax_ce_back),
    "NLL": (_nll, _nll_back),
    "MSE": (
        lambda k: f"np.sum({_difference(k)} ** 2{_mse_weight(k)})",
        lambda k: f"{k.g} * 2 * {_difference(k)}{_mse_weight(k)}",
    ),
    "Pick": (
        lambda k: f"{k.a}[{k.params[0]}]",
        lambda k: f"{k.helper('pair')}({k.g}, {k.params[0]}, {k.params[1]})",
    ),
    "Triangle": (
        lambda k: f"np.{_triangle(k)}({k.a}, {k.params[1]})",
        lambda k: _sum_to(f"np.{_triangle(k)}({k.g}, {k.params[1]})", k.shape, k.shapes[0]),
    ),
    "Det": (
        lambda k: f"np.linalg.det({k.a})",
        lambda k: f"({k.g} * {k.y})[..., None, None] * np.linalg.inv({k.a}).swapaxes(-1, -2)",
    ),
    "LogDet": (
        lambda k: f"np.linalg.slogdet({k.a})[1]",
        lambda k: f"{k.g}[..., None, None] * np.linalg.inv({k.a}).swapaxes(-1, -2)",
    ),
    "Solve": (
        lambda k: f"np.linalg.solve({k.a}, {k.b})",
        lambda k: _solve_back(k),
    ),
    "Cholesky": (lambda k: f"np.linalg.cholesky({k.a})", lambda k: _cholesky_back(k)),
}


def _indexed_shape(k: Any) -> tuple[int, ...]:
    return np.empty(k.shape, bool)[k.params[0]].shape


def _triangle(k: Any) -> str:
    return "tril" if k.params[0] else "triu"


def _solve_back(k: Any) -> list[str]:
    db = f"np.linalg.solve({k.a}.swapaxes(-1, -2), {k.g})"
    wide = k.shape[:-2]
    da = f"(-{db} @ {k.y}.swapaxes(-1, -2))"
    return [
        _sum_to(da, (*wide, *k.shapes[0][-2:]), k.shapes[0]),
        _sum_to(db, k.shape, k.shapes[1]),
    ]


def _cholesky_back(k: Any) -> str:
    n = k.shape[-1]
    half = f"(np.tril(np.ones(({n}, {n}))) - np.eye({n}) / 2)"
    inner = f"({k.y}.swapaxes(-1, -2) @ {k.g} * {half})"
    inverse = f"np.linalg.inv({k.y})"
    s = f"{inverse}.swapaxes(-1, -2) @ {inner} @ {inverse}"
    return f"({s} + ({s}).swapaxes(-1, -2)) / 2"
