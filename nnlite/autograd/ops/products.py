"""Products: matmul, dot, outer, einsum. Two matrices are multiplied by the kernel, with its bits.

Source of the matrix gradients: Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008), section 2.2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import functional
from ..._core import check as _check
from ..._core import native
from ..._core.config import _State
from ..foreign import named_function
from ..node import RECORD, state
from ..operation import Multilinear, as_tensor, on_graph, placeholder, reflected
from ..tensor import Tensor
from .arithmetic import binary, mul
from .elementary import contiguous
from .shaping import expand, reshape, sum, sum_to, transpose


def _flat(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """The matrix as the kernel takes it: (contiguous matrix, whether it is the transpose of x)."""
    if x.flags.carray:
        return x, False
    turned = x.T
    if turned.flags.carray:
        return turned, True
    return np.array(x, order="C"), False


def _product(a: np.ndarray, b: np.ndarray, gradient: bool = False) -> np.ndarray:
    """a b for arrays: of floats by the kernel, perhaps as a gradient; of others NumPy's."""
    try:
        rank_a, rank_b = a.ndim, b.ndim
    except AttributeError:  # Python's numbers
        rank_a = rank_b = 0
    if rank_a == 2 and rank_b == 2 and a.dtype is b.dtype and a.dtype.kind == "f":
        if a.flags.carray and b.flags.carray:
            return functional.matmul(a, b, gradient=gradient)
        if a.shape[1] != b.shape[0]:
            raise ValueError(
                f"matmul: inner sizes differ: a has shape {a.shape}, b {b.shape}; "
                "a's last and b's first must be equal"
            )
        x, turn_x = _flat(a)
        y, turn_y = _flat(b)
        return functional.matmul(x, y, turn_x, turn_y, gradient=gradient)
    if rank_a == 0 or rank_b == 0:
        raise ValueError(
            f"matmul: a number has no matrix product; use *: shapes {np.shape(a)}, {np.shape(b)}"
        )
    inner = b.shape[-2] if rank_b > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ValueError(f"matmul: inner sizes differ: a has shape {a.shape}, b {b.shape}")
    if a.dtype not in _check.FLOATS or b.dtype not in _check.FLOATS:
        return np.matmul(a, b)
    return _stack(a, b, np.result_type(a, b), gradient)


def _stack(a: np.ndarray, b: np.ndarray, dtype: np.dtype, gradient: bool) -> np.ndarray:
    """Products of vectors, or of stacks of matrices that are broadcast, by the kernel."""
    left = np.asarray(a if a.ndim > 1 else a[None, :], dtype)
    right = np.asarray(b if b.ndim > 1 else b[:, None], dtype)
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    (m, k), n = left.shape[-2:], right.shape[-1]
    x, x_next = _stacked_operand(left, lead)
    y, y_next = _stacked_operand(right, lead)
    out = np.empty((*lead, m, n), dtype)
    status = native.KERNELS[dtype].matmul(
        math.prod(lead), m, n, k, native.pointer(x), x_next, k, 1, native.pointer(y), y_next, n,
        1, native.pointer(out), native.GRADIENT if gradient else 0, _State.threads,
    )  # fmt: skip
    native.check(status, "matmul")
    return out.reshape(lead + ((m,) if a.ndim > 1 else ()) + ((n,) if b.ndim > 1 else ()))


def _stacked_operand(x: np.ndarray, lead: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """A contiguous array, and the elements from one matrix to the next: 0 for one alone."""
    if math.prod(x.shape[:-2]) == 1 != math.prod(lead):
        return np.array(x, order="C"), 0
    full = np.broadcast_to(x, lead + x.shape[-2:])
    return np.array(full, order="C"), x.shape[-2] * x.shape[-1]


class MatMul(Multilinear):
    """A B, and stacks of them; dA = G B^T, dB = A^T G."""

    name = "matmul"
    crosswise = True
    gradient = False  # True where results below the normal range become 0
    numpy = "{0} @ {1}"

    @staticmethod
    def forward(a: Any, b: Any) -> Any:
        return _product(a, b)

    @classmethod
    def lower(cls, low: Any, inputs: list[Any], out: Any) -> Any:
        return low.matmul(*inputs, out, cls.gradient)

    @staticmethod
    def vjp(g: Any, need: Any, a: Any, b: Any) -> Any:
        left, right = need
        if _ndim(left, a) == _ndim(right, b) == 2:
            return (
                None if left is None else matmul_gradient(g, b.T),
                None if right is None else matmul_gradient(a.T, g),
            )
        return _stacked(g, left, right, a, b)


class MatMulGradient(MatMul):
    """A B as a gradient: values below the normal range of its type are 0."""

    name = "matmul_gradient"
    gradient = True

    @staticmethod
    def forward(a: Any, b: Any) -> Any:
        if state.mode & RECORD and a.ndim == b.ndim == 2:
            return placeholder((a.shape[0], b.shape[1]), a.dtype)
        return _product(a, b, True)


def _ndim(edge: Any, value: Any) -> int:
    """The dimensions of an input, from its value or, where that was not kept, from its node."""
    return value.ndim if edge is None else len(edge.shape)


def _stacked(g: Any, left: Any, right: Any, a: Any, b: Any) -> Any:
    """The gradients where an operand is a vector or a stack of matrices: as matrices."""
    if _ndim(right, b) == 1:
        g = g.reshape((*g.shape, 1))
    if _ndim(left, a) == 1:
        g = g.reshape((*g.shape[:-1], 1, g.shape[-1]))
    da = db = None
    if left is not None:
        columns = b if b.ndim > 1 else b.reshape((*b.shape, 1))
        shape = left.shape if len(left.shape) > 1 else (1, *left.shape)
        da = sum_to(matmul_gradient(g, columns.swapaxes(-1, -2)), shape).reshape(left.shape)
    if right is not None:
        rows = a if a.ndim > 1 else a.reshape((1, *a.shape))
        shape = right.shape if len(right.shape) > 1 else (*right.shape, 1)
        db = sum_to(matmul_gradient(rows.swapaxes(-1, -2), g), shape).reshape(right.shape)
    return da, db


_matmul = binary(MatMul)
matmul_gradient = binary(MatMulGradient)
_mul = named_function(mul)


def matmul(a: Any, b: Any) -> Any:
    """The matrix product with NumPy's rules: vectors, matrices, stacks that are broadcast."""
    if type(a) is Tensor:
        return _matmul(a, b)
    if type(a) is np.ndarray and type(b) is np.ndarray:
        return _product(a, b)
    if not on_graph(a, b):
        return _product(np.asarray(a), np.asarray(b))
    return _matmul(a, b)


rmatmul = reflected(matmul)


def dot(a: Any, b: Any) -> Any:
    """NumPy's dot: inner product of vectors, matrix product, plain product with a scalar.

    Raises:
        ValueError: b has more than two dimensions; use matmul or einsum.
    """
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return _mul(a, b)
    if np.ndim(b) > 2:
        raise ValueError(f"dot: b: expected at most 2 dimensions, got shape {np.shape(b)}")
    return matmul(a, b)


def outer(a: Any, b: Any) -> Any:
    """The matrix a_i b_j of the elements of a and b."""
    return _mul(reshape(a, (-1, 1)), reshape(b, (1, -1)))


# einsum, two operands at a time.


def einsum(subscripts: str, *operands: Any) -> Any:
    """NumPy's einsum with letters: products are summed over letters that the result lacks.

    Operands are taken from left to right, each pair as one (stacked) matrix product.

    Args:
        subscripts: such as "ij,jk->ik" or "...ij,jk"; without "->" the result has the axes of the
            ellipsis, then the letters that occur once, in alphabetical order. Axes of length 1
            are repeated where a letter is longer elsewhere.

    Raises:
        ValueError: subscripts do not fit the operands.
    """
    values = [as_tensor(x) if on_graph(*operands) else np.asarray(x) for x in operands]
    terms, result = _parse(subscripts, [x.shape for x in values])
    sizes = _sizes(terms, [x.shape for x in values])
    if len(set(result)) != len(result) or not set(result) <= set(sizes):
        raise ValueError(f"einsum: the result {result!r} needs each letter once, from a term")
    pairs = []
    for term, x in zip(terms, values, strict=True):
        kept = [i for i, c in enumerate(term) if x.shape[i] == sizes[c]]
        if len(kept) < len(term):  # an axis that is only repeated takes no part
            term, x = "".join(term[i] for i in kept), reshape(x, tuple([x.shape[i] for i in kept]))
        pairs.append(_diagonals(term, x))
    letters, value = pairs[0]
    for index, (other, x) in enumerate(pairs[1:], 1):
        later = set(result).union(*[t for t, _ in pairs[index + 1 :]])
        letters, value = _contract(letters, value, other, x, later)
    letters, value = _summed(letters, value, set(result))
    return transpose(value, tuple([letters.index(c) for c in result])) if letters else value


ELLIPSIS_LETTERS = [chr(0x3B1 + i) for i in range(64)]  # np.ndarray has at most 64 axes


def _parse(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """A term for each operand, and the result; axes of an ellipsis get letters outside ASCII."""
    text = subscripts.replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    names = "".join(part.replace("...", "", 1) for part in (*terms, result))
    if not (names.isascii() and (names.isalpha() or not names)):
        raise ValueError(f"einsum: expected letters, '...', ',' and '->', got {subscripts!r}")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {len(terms)} terms in {subscripts!r}, {len(shapes)} operands")
    if not arrow:
        once = sorted(c for c in set(names) if left.count(c) == 1)
        result = ("..." if "..." in left else "") + "".join(once)
    most = 0
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        more = len(shape) - len(term.replace("...", ""))
        if more < 0 or (more > 0 and "..." not in term):
            raise ValueError(f"einsum: operand {i} has shape {shape}, its term is {term!r}")
        letters = "".join(reversed(ELLIPSIS_LETTERS[:more]))  # the last axes stand together
        terms[i], most = term.replace("...", letters), max(most, more)
    if most and "..." not in result:
        raise ValueError(f"einsum: the result {result!r} lacks the axes of the ellipsis")
    return terms, result.replace("...", "".join(reversed(ELLIPSIS_LETTERS[:most])))


def _sizes(terms: list[str], shapes: list[tuple[int, ...]]) -> dict[str, int]:
    """The length of each letter's axis; 1 gives way to every other."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, n in zip(term, shape, strict=True):
            known = sizes.setdefault(letter, n)
            if known == 1 and term.count(letter) == 1:
                sizes[letter] = n
            elif n != known and (n != 1 or term.count(letter) > 1):
                raise ValueError(f"einsum: {letter!r} is {known} and {n} long")
    return sizes


def _diagonals(term: str, x: Any) -> tuple[str, Any]:
    """The operand without letters that stand twice: their diagonal."""
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            rest = [k for k in range(len(term)) if k not in (i, j)]
            x = transpose(x, (i, j, *rest))
            each = np.arange(x.shape[0])
            x = x[each, each]
            term = letter + "".join(term[k] for k in rest)
    return term, x


def _summed(term: str, x: Any, keep: set[str]) -> tuple[str, Any]:
    """The operand summed over the letters that nobody needs."""
    axes = tuple([i for i, c in enumerate(term) if c not in keep])
    return ("".join(c for c in term if c in keep), sum(x, axes)) if axes else (term, x)


def _contract(left: str, a: Any, right: str, b: Any, later: set[str]) -> tuple[str, Any]:
    """One product of two operands: (batch, rows, inner) times (batch, inner, columns)."""
    left, a = _summed(left, a, later | set(right))
    right, b = _summed(right, b, later | set(left))
    batch = [c for c in left if c in right and c in later]
    inner = [c for c in left if c in right and c not in later]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    size = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}

    def lengths(letters: list[str]) -> tuple[int, ...]:
        return tuple([size[c] for c in letters])

    def total(letters: list[str]) -> int:
        return math.prod(lengths(letters))

    if not inner and not rows and not columns:
        b = transpose(b, tuple([right.index(c) for c in left])) if left else b
        return left, mul(a, b)
    a = transpose(a, tuple([left.index(c) for c in batch + rows + inner]))
    b = transpose(b, tuple([right.index(c) for c in batch + inner + columns]))
    lead = (total(batch),) if batch else ()
    a = reshape(a, (*lead, total(rows), total(inner)))
    b = reshape(b, (*lead, total(inner), total(columns)))
    return "".join(batch + rows + columns), reshape(matmul(a, b), lengths(batch + rows + columns))


__all__ = ["contiguous", "dot", "einsum", "expand", "matmul", "outer"]
