"""Checks of derivatives: against central differences, and of the two modes against each other.

    gradcheck       J by backward against (f(x + h e_j) - f(x - h e_j)) / 2h, element by element
                    <u, J v> by forward mode against <J^T u, v> by backward: equal up to rounding,
                    no step involved
    gradgradcheck   both for the gradient itself: second derivatives

Source of the step h = cbrt(eps) max(1, |x|), where the error of the difference, h^2 f''' / 6, and
that of rounding, eps f / h, are in balance: Nocedal, Wright, "Numerical Optimization" (2006),
section 8.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..node import GRAD, Mode, state
from ..tensor import Tensor, wrap
from ..transforms.arguments import Inputs, leaf_like, like
from ..transforms.forward_mode import jvp
from ..transforms.reverse_mode import pull
from .differences import jacobian_by_differences
from .report import GradcheckError, GradcheckReport

FLOAT64 = np.dtype(np.float64)


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    rtol: float = 1e-6,
    tangent_rtol: float = 1e-12,
    check_forward_ad: bool = True,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Compares the derivatives of f with central differences, and its two modes with each other.

    The relative error of dy_i/dx_j is |backward - difference| / max(|backward|, |difference|,
    max(1, |y_i|) / max(1, |x_j|)): the last is the scale at which differences of y_i round.

    Args:
        f: a function of Tensors that gives a Tensor or a tuple of them, the same each time.
        inputs: a float64 Tensor or array, or a tuple of them, for f(*inputs); or Parameters or a
            Module that f() uses: they are moved and put back.
        rtol: the largest relative error against differences.
        tangent_rtol: the largest error of <u, J v> = <J^T u, v>, relative to the sum of the
            absolute terms of both.
        check_forward_ad: False leaves out forward mode.
        raise_exception: False returns a report that is false where the check fails.

    Returns:
        A report: true when the check passes, with the error of every element, and readable text.

    Raises:
        GradcheckError: the derivatives are wrong, or f gives other values the second time.
        TypeError: an input is not float64; what f returns is not as described.

    Notes:
        Two calls of f for each element of the inputs, a backward for each of the outputs.
    """
    given = _checked("gradcheck", f, inputs)
    report = _report(given, rtol, tangent_rtol, check_forward_ad)
    if raise_exception and not report:
        raise GradcheckError(str(report))
    return report


def _checked(operation: str, f: Any, inputs: Any) -> Inputs:
    given = Inputs(operation, f, inputs)
    for i, x in enumerate(given.items):
        if x.dtype != FLOAT64:
            raise TypeError(
                f"{operation}: input {i}: expected float64, got {x.dtype}: differences of "
                "float32 have three digits; convert it with .astype(np.float64)"
            )
    return given


def _report(given: Inputs, rtol: float, tangent_rtol: float, forward: bool) -> GradcheckReport:
    with Mode(on=GRAD):
        xs = given.leaves(False)
        ys, _ = given.call(xs)
        for i, y in enumerate(ys):
            if y.dtype != FLOAT64:
                raise TypeError(
                    f"{given.operation}: f: output {i}: expected float64, got {y.dtype}"
                )
        by_backward = _rows(given, ys, xs)
    values = np.concatenate([y._data.ravel() for y in ys])
    tangent = _tangent_error(given, ys, xs) if forward else None
    by_differences = jacobian_by_differences(given)
    return GradcheckReport(
        given.operation,
        tuple([x._data for x in given.items]),
        tuple([y.shape for y in ys]),
        values,
        tuple(by_backward),
        tuple(by_differences),
        tangent,
        rtol,
        tangent_rtol,
    )


def _rows(given: Inputs, ys: tuple[Tensor, ...], xs: tuple[Tensor, ...]) -> list[np.ndarray]:
    """For each input the matrix (elements of all outputs, elements of the input) by backward."""
    rows = []
    for y in ys:
        for place in range(y.size):
            u = np.zeros(y.size)
            u[place] = 1
            grads = pull(given, (y,), xs, (wrap(u.reshape(y.shape)),), False, False, retain=True)
            rows.append([g._data.ravel() for g in grads])
    return [np.array([row[i] for row in rows]).reshape(len(rows), x.size) for i, x in enumerate(xs)]


def _tangent_error(given: Inputs, ys: tuple[Tensor, ...], xs: tuple[Tensor, ...]) -> float:
    """|<u, J v> - <J^T u, v>| relative to the absolute terms, for random u and v."""
    rng = np.random.default_rng(0)
    us = tuple([wrap(rng.standard_normal(y.shape)) for y in ys])
    vs = tuple([wrap(rng.standard_normal(x.shape)) for x in xs])
    inputs: Any = given.items if given.parameters is None else given.parameters
    _, ts = jvp(given.f, inputs, vs, strict=False)
    left = _terms(us, ts if isinstance(ts, tuple) else (ts,))
    right = _terms(pull(given, ys, xs, us, False, False, retain=True), vs)
    with np.errstate(invalid="ignore"):  # inf - inf: NaN, which is no small error
        size = np.abs(left).sum() + np.abs(right).sum()
        difference = abs(left.sum() - right.sum())
        return float(difference / size) if size else float(difference)


def _terms(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> np.ndarray:
    """The products whose sum is the inner product."""
    with np.errstate(invalid="ignore"):
        return np.concatenate([(x._data * y._data).ravel() for x, y in zip(a, b, strict=True)])


def gradgradcheck(
    f: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    rtol: float = 1e-6,
    tangent_rtol: float = 1e-12,
    check_forward_ad: bool = True,
    raise_exception: bool = True,
) -> GradcheckReport:
    """`gradcheck` of the gradient of f: its second derivatives.

    Args:
        f, inputs, rtol, tangent_rtol, check_forward_ad, raise_exception: as in gradcheck.
        grad_outputs: float64, like each output: where the gradients start; default: random.
            They are inputs of the gradient too, and are checked as such, unless the inputs are
            Parameters.

    Returns, Raises:
        As gradcheck; NotImplementedError for a gradient that is a kernel without a formula.
    """
    given = _checked("gradgradcheck", f, inputs)
    with Mode(off=GRAD):
        ys, alone = given.call(tuple([wrap(x._data.copy()) for x in given.items]))
    if grad_outputs is None:
        rng = np.random.default_rng(1)
        us = tuple([wrap(rng.standard_normal(y.shape)) for y in ys])
    else:
        us = like("gradgradcheck", "grad_outputs", grad_outputs, ys, "output", alone)
    fixed = given.parameters is not None

    def slopes(*args: Tensor) -> tuple[Tensor, ...]:
        record = bool(state.mode & GRAD)
        with Mode(on=GRAD):
            count = len(given.items)
            found = given.items if fixed else args[:count]
            xs = tuple([x if x.requires_grad else leaf_like(x) for x in found])
            ys, _ = given.call(xs)
            return pull(given, ys, xs, us if fixed else args[count:], record, False)

    targets: Any = given.parameters if fixed else (*given.items, *us)
    second = _checked("gradgradcheck", slopes, targets)
    report = _report(second, rtol, tangent_rtol, check_forward_ad)
    if raise_exception and not report:
        raise GradcheckError(str(report))
    return report
