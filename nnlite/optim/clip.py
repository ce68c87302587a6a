"""Clipping of gradients in place; `clip_norm` and `clip_value` of an optimiser do it in passing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .._core import check as _check
from .._core import native
from .._core.config import _State
from ..nn.parameter import Parameter, segments
from .optimizer import checked_parameters


def clip_grad_norm_(
    parameters: Iterable[Parameter] | Parameter,
    max_norm: float,
    error_if_nonfinite: bool = False,
) -> float:
    """Scales gradients by min(1, max_norm / (norm + 1e-6)), norm of all of them together.

    Args:
        parameters: Parameters of one dtype, or an iterable of them; their grad changes.
        max_norm: largest Euclidean norm, at least 0.
        error_if_nonfinite: refuse a norm that is NaN or infinite; else the gradients are multiplied
            by NaN or 0.

    Returns:
        The norm before clipping. Its bits do not depend on threads or builds.

    Raises:
        ValueError: max_norm is out of range, or the norm is not finite and that was to be refused;
            nothing has changed.
    """
    operation = "clip_grad_norm_"
    limit = _check.number(operation, "max_norm", max_norm, 0)
    known = checked_parameters(operation, parameters)
    parts, dtype = segments(known), known[0].dtype
    norm = native.cell("double")
    status = native.KERNELS[dtype].gradient_norm(
        len(parts),
        native.segments([(part.data, part.grad, (), 0.0, 0.0) for part in parts]),
        0.0,
        norm,
        _State.threads,
    )
    native.check(status, operation)
    found = float(norm[0])
    if error_if_nonfinite and not found < float("inf"):
        raise ValueError(
            f"{operation}: the norm of the gradients is {found}; look for the first loss that is "
            "not finite, or pass error_if_nonfinite=False"
        )
    factor = limit / (found + 1e-6)
    if not factor >= 1:
        with np.errstate(invalid="ignore"):  # 0 x infinity
            for part in parts:
                part.grad *= dtype.type(factor)
    return found


def clip_grad_value_(parameters: Iterable[Parameter] | Parameter, clip_value: float) -> None:
    """Brings every element of the gradients into [-clip_value, clip_value]; NaN stays.

    Args:
        parameters: Parameters of one dtype, or an iterable of them; their grad changes.
        clip_value: largest size of an element, at least 0.

    Raises:
        ValueError: clip_value is out of range.
    """
    limit = _check.number("clip_grad_value_", "clip_value", clip_value, 0)
    for part in segments(checked_parameters("clip_grad_value_", parameters)):
        part.grad.clip(-limit, limit, out=part.grad)
