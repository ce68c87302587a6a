"""Linear algebra: traces and triangles, inverse, determinant, solve, factorisations.

Values are NumPy's (LAPACK). All work on stacks of matrices (..., n, n).

Sources: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), sections 2.2 and 3; Murray, "Differentiation of the Cholesky decomposition"
(2016); Townsend, "Differentiating the singular value decomposition" (2016).
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..foreign import refuse
from ..operation import (
    Linear,
    Operation,
    Outputs,
    apply,
    apply_many,
    as_tensor,
    on_graph,
    promoted,
    value_of,
)  # fmt: skip
from ..tensor import Tensor
from .choices import where
from .indexing import getitem, scatter
from .products import matmul
from .shaping import reshape, shaped, sum, sum_to


def _t(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def _matrices(operation: str, x: Any) -> None:
    shape = np.shape(x) if not hasattr(x, "shape") else x.shape
    if len(shape) < 2:
        raise ValueError(
            f"{operation}: expected matrices (..., m, n), got shape {shape}; "
            "diag(x) makes a matrix of a vector"
        )


def _square(operation: str, x: Any) -> None:
    shape = np.shape(x) if not hasattr(x, "shape") else x.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"{operation}: expected square matrices (..., n, n), got shape {shape}")


def _lapack(operation: str, function: Any, *args: Any) -> Any:
    """Calls NumPy's LAPACK; its LinAlgError (a ValueError) names the operation."""
    try:
        return function(*args)
    except np.linalg.LinAlgError as error:
        raise np.linalg.LinAlgError(f"{operation}: {error}") from None


# Traces, diagonals, triangles.


class Triangle(Linear):
    """x where the mask of a triangle is true, else 0; dx = g there."""

    @staticmethod
    def numpy(x: Any, lower: bool, k: int) -> Any:
        return "np.tril({0}, {p1})" if lower else "np.triu({0}, {p1})", {}

    @staticmethod
    def forward(x: Any, lower: bool, k: int) -> Any:
        return np.tril(x, k) if lower else np.triu(x, k)

    @staticmethod
    def vjp(g: Any, need: Any, lower: bool, k: int) -> Any:
        return sum_to(apply(Triangle, g, params=(lower, k)), need[0].shape)


def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle of matrices, up to the k-th diagonal; of a vector: of the matrix whose
    rows are all that vector, as NumPy's."""
    return _triangle("tril", x, True, k)


def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle of matrices, from the k-th diagonal on; of a vector: of the matrix whose
    rows are all that vector, as NumPy's."""
    return _triangle("triu", x, False, k)


def _triangle(operation: str, x: Any, lower: bool, k: int) -> Any:
    if np.ndim(x) == 0:
        raise ValueError(f"{operation}: expected matrices (..., m, n) or a vector, got a number")
    return apply(Triangle, x, params=(lower, _place(operation, k)))


def _place(operation: str, k: Any) -> int:
    """The number of a diagonal."""
    try:
        return operator.index(k)
    except TypeError:
        raise TypeError(f"{operation}: k: expected an integer, got {type(k).__name__}") from None


def diagonal(x: Any, k: int = 0, **unknown: Any) -> Any:
    """The k-th diagonal of matrices (..., m, n): (..., length)."""
    if unknown:
        refuse("diagonal", unknown)
    x = shaped(x)
    _matrices("diagonal", x)
    k = _place("diagonal", k)
    rows, columns = x.shape[-2:]
    length = min(rows, columns - k) if k >= 0 else min(rows + k, columns)
    places = np.arange(max(length, 0))
    return (
        getitem(x, (..., places + max(-k, 0), places + max(k, 0)))
        if on_graph(x)
        else np.array(np.diagonal(x, k, -2, -1))
    )


def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix; of a vector, the matrix that has it there. As NumPy's."""
    x = shaped(x)
    k = _place("diag", k)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag: expected a vector or a matrix, got shape {x.shape}")
    n = x.shape[0] + abs(k)
    places = np.arange(x.shape[0])
    return scatter(x, (n, n), (places + max(-k, 0), places + max(k, 0)))


def trace(x: Any, **unknown: Any) -> Any:
    """The sum of the main diagonal of matrices (..., m, n)."""
    if unknown:
        refuse("trace", unknown)
    x = shaped(x)
    _matrices("trace", x)
    return sum(diagonal(x), (-1,))


# Inverse, determinant, equations.


class Inv(Operation):
    """A^-1; dA = -Y^T G Y^T."""

    keeps_output = True
    numpy = "np.linalg.inv({0})"

    @staticmethod
    def forward(x: Any) -> Any:
        return _lapack("inv", np.linalg.inv, x)

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        return -matmul(_t(y), matmul(g, _t(y)))

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        return -matmul(out, matmul(tangents[0], out))


def inv(x: Any) -> Any:
    """The inverse of square matrices.

    Raises:
        LinAlgError: a matrix is singular.
    """
    _square("inv", x)
    return apply(Inv, x)


def _wide(g: Any) -> Any:
    """A number for each matrix, ready to be multiplied with the matrices."""
    return reshape(g, (*g.shape, 1, 1))


class Det(Operation):
    """det A; dA = g cof A, where cof A = det A A^-T.

    On arrays by A = U diag(s) V^T: cof A = det U det V U diag(prod_(j != i) s_j) V^T, which exists
    for singular A too; second derivatives go through the inverse.
    """

    keeps_inputs = True
    keeps_output = True
    numpy = "np.linalg.det({0})"

    @staticmethod
    def forward(x: Any) -> Any:
        return np.linalg.det(x)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any, y: Any) -> Any:
        if type(g) is Tensor:
            if (value_of(y) == 0).any():
                raise np.linalg.LinAlgError(
                    "det.backward: a matrix is singular; there it has first derivatives only"
                )
            return _wide(g * y) * _t(inv(x))
        u, s, vt = np.linalg.svd(x)
        n = x.shape[-1]
        others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
        turn = np.linalg.det(u) * np.linalg.det(vt)
        return _wide(g * turn) * ((u * others[..., None, :]) @ vt)


def det(x: Any) -> Any:
    """The determinant of square matrices."""
    _square("det", x)
    return apply(Det, x)


class LogDet(Operation):
    """log det A; dA = g A^-T."""

    keeps_inputs = True
    numpy = "logdet({0})"

    @staticmethod
    def forward(x: Any) -> Any:
        sign, value = np.linalg.slogdet(x)
        return np.where(sign > 0, value, np.where(sign == 0, -np.inf, np.nan)).astype(x.dtype)

    @staticmethod
    def vjp(g: Any, need: Any, x: Any) -> Any:
        return _wide(g) * _t(inv(x))


def logdet(x: Any) -> Any:
    """The logarithm of the determinant: -inf where it is 0, NaN where it is negative."""
    _square("logdet", x)
    return apply(LogDet, x)


class Solve(Operation):
    """X with A X = B; dB = A^-T G, dA = -dB X^T."""

    keeps_inputs = True
    keeps_output = True
    numpy = "np.linalg.solve({0}, {1})"

    @staticmethod
    def forward(a: Any, b: Any) -> Any:
        return _lapack("solve", np.linalg.solve, a, b)

    @staticmethod
    def vjp(g: Any, need: Any, a: Any, b: Any, x: Any) -> Any:
        db = solve(_t(a), g)
        da = None if need[0] is None else sum_to(-matmul(db, _t(x)), a.shape)
        return da, None if need[1] is None else sum_to(db, b.shape)

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        (ta, tb), a = tangents, inputs[0]
        if ta is None:
            return solve(a, tb)
        change = -matmul(ta, out)
        return solve(a, change if tb is None else change + tb)


def solve(a: Any, b: Any) -> Any:
    """X with A X = B, for matrices B (..., n, k) or one vector b (n,).

    Raises:
        LinAlgError: a matrix is singular.
    """
    a, b = shaped(a), shaped(b)
    _square("solve", a)
    if np.ndim(b) == 0:
        raise ValueError("solve: b: expected matrices (..., n, k) or a vector (n,), got a number")
    if np.ndim(b) == 1:
        return reshape(_solve(a, reshape(b, (-1, 1))), (*np.shape(a)[:-2], b.shape[0]))
    return _solve(a, b)


def _solve(a: Any, b: Any) -> Any:
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"solve: a has shape {a.shape}, b {b.shape}: the rows must be equal")
    if on_graph(a, b):
        a, b = promoted(as_tensor(a), as_tensor(b))
    return apply(Solve, a, b)


# Factorisations.


class Cholesky(Operation):
    """Lower L with A = L L^T; dA = L^-T P(L^T G) L^-1 made symmetric (Murray 2016, eq. 10)."""

    keeps_output = True
    numpy = "np.linalg.cholesky({0})"

    @staticmethod
    def forward(x: Any) -> Any:
        return _lapack("cholesky", np.linalg.cholesky, x)

    @staticmethod
    def vjp(g: Any, need: Any, y: Any) -> Any:
        s = _half_lower(matmul(_t(y), g))
        s = solve(_t(y), _t(solve(_t(y), _t(s))))
        return (s + _t(s)) * 0.5

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        t = (tangents[0] + _t(tangents[0])) * 0.5
        inner = solve(out, _t(solve(out, _t(t))))
        return matmul(out, _half_lower(inner))


def _half_lower(x: Any) -> Any:
    """The lower triangle with half the diagonal."""
    n = x.shape[-1]
    return tril(x) * (1.0 - 0.5 * np.eye(n, dtype=x.dtype))


def cholesky(x: Any) -> Any:
    """The lower triangular L with A = L L^T, for symmetric positive definite A.

    Only the lower triangle of A is read; its gradient is symmetric, as PyTorch's.

    Raises:
        LinAlgError: a matrix is not positive definite.
    """
    _square("cholesky", x)
    return apply(Cholesky, x)


def _gaps(operation: str, values: Any) -> Any:
    """1 / (v_j - v_i) off the diagonal, 0 on it.

    Raises:
        LinAlgError: two values are equal; the derivative of their vectors does not exist.
    """
    n = values.shape[-1]
    eye = np.eye(n, dtype=bool)
    gap = reshape(values, (*values.shape[:-1], 1, n)) - reshape(values, (*values.shape, 1))
    size = np.abs(value_of(values)).max(initial=0)
    close = np.abs(value_of(gap)) <= np.finfo(values.dtype).eps * size
    if (close & ~eye).any():
        raise np.linalg.LinAlgError(
            f"{operation}.backward: two values are equal: the vectors that belong to them, and "
            "so their derivatives, are not unique; use a function of the values alone, or "
            "separate them with a small perturbation"
        )
    return where(eye, 0.0, 1.0 / where(eye, 1.0, gap))


class Eigh(Operation):
    """A = V diag(w) V^T, symmetric; dA = V (diag(dw) + F o V^T dV) V^T, F_ij = 1 / (w_j - w_i).

    Source: Giles (2008), section 3.1, made symmetric.
    """

    keeps_output = True

    @staticmethod
    def forward(x: Any) -> Any:
        w, v = _lapack("eigh", np.linalg.eigh, x)
        return w, v

    @staticmethod
    def vjp(g: Any, need: Any, w: Any, v: Any) -> Any:
        dw, dv = g
        inner = None if dv is None else _gaps("eigh", w) * matmul(_t(v), dv)
        if dw is not None:
            diagonal_ = reshape(dw, (*dw.shape, 1)) * np.eye(w.shape[-1], dtype=w.dtype)
            inner = diagonal_ if inner is None else inner + diagonal_
        s = matmul(v, matmul(inner, _t(v)))
        return (s + _t(s)) * 0.5

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        w, v = out
        t = (tangents[0] + _t(tangents[0])) * 0.5
        inner = matmul(_t(v), matmul(t, v))
        return diagonal(inner), matmul(v, _gaps("eigh", w) * inner)


def eigh(x: Any) -> Any:
    """(w, V): the eigenvalues in ascending order and the eigenvectors (columns) of symmetric A.

    Only the lower triangle is read; the gradient is symmetric. The sign of a vector is arbitrary:
    a loss must not depend on it.

    Raises:
        LinAlgError: no convergence; in backward through V, two eigenvalues are equal.
    """
    _square("eigh", x)
    return apply_many(Eigh, x) if on_graph(x) else tuple(np.linalg.eigh(x))


class Svd(Operation):
    """A = U diag(s) V^T, thin; dA by Townsend (2016), section 3, for real matrices.

    dA = U ((F o (U^T dU - dU^T U)) S + S (F o (V^T dV - dV^T V)) + diag(ds)) V^T
         + (1 - U U^T) dU S^-1 V^T + U S^-1 dV^T (1 - V V^T), F_ij = 1 / (s_j^2 - s_i^2).
    """

    keeps_output = True

    @staticmethod
    def forward(x: Any) -> Any:
        return tuple(_lapack("svd", lambda a: np.linalg.svd(a, full_matrices=False), x))

    @staticmethod
    def vjp(g: Any, need: Any, u: Any, s: Any, vt: Any) -> Any:
        du, ds, dvt = g
        v, row = _t(vt), reshape(s, (*s.shape[:-1], 1, s.shape[-1]))
        column = reshape(s, (*s.shape, 1))
        inner = None if ds is None else column_diagonal(ds)
        outside = None
        if du is not None or dvt is not None:
            if (value_of(s) == 0).any():
                raise np.linalg.LinAlgError(
                    "svd.backward: a singular value is 0: its vectors are not unique"
                )
            gaps = _gaps("svd", s * s)
        if du is not None:
            turn = matmul(_t(u), du)
            inner = _plus(inner, gaps * (turn - _t(turn)) * row)
            if u.shape[-2] > u.shape[-1]:
                outside = matmul((du - matmul(u, turn)) / row, vt)
        if dvt is not None:
            turn = matmul(vt, _t(dvt))
            inner = _plus(inner, column * (gaps * (turn - _t(turn))))
            if vt.shape[-1] > vt.shape[-2]:
                outside = _plus(outside, matmul(u, (dvt - matmul(_t(turn), vt)) / column))
        return _plus(matmul(u, matmul(inner, vt)), outside) if v is not None else None


def column_diagonal(d: Any) -> Any:
    """The diagonal matrices of vectors (..., n)."""
    return reshape(d, (*d.shape, 1)) * np.eye(d.shape[-1], dtype=d.dtype)


def _plus(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


def svd(x: Any) -> Any:
    """(U, s, V^T), thin, as numpy.linalg.svd(x, full_matrices=False).

    Signs of vectors are arbitrary: a loss must not depend on them.

    Raises:
        LinAlgError: no convergence; in backward through U or V^T, two singular values are equal
            or one is 0. The gradient through s alone always exists.
    """
    x = shaped(x)
    if x.ndim < 2:
        raise ValueError(f"svd: expected matrices (..., m, n), got shape {x.shape}")
    return apply_many(Svd, x) if on_graph(x) else Svd.forward(x)


__all__ = [
    "Outputs", "cholesky", "det", "diag", "diagonal", "eigh", "inv", "logdet", "solve", "svd",
    "trace", "tril", "triu",
]  # fmt: skip
