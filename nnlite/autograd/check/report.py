"""What a check of derivatives found, element by element."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np


class GradcheckError(RuntimeError):
    """Derivatives that do not agree; the text names the worst elements."""


class Element(NamedTuple):
    """One derivative: of which element of which output, by which element of which input."""

    output: tuple[int, tuple[int, ...]]
    input: tuple[int, tuple[int, ...]]
    by_backward: float
    by_differences: float
    error: float


class GradcheckReport:
    """The result of gradcheck and gradgradcheck; true when the check passes.

    Attributes:
        by_backward, by_differences: for each input the matrix of derivatives, rows for the
            elements of all outputs in their order, columns for the elements of the input.
        errors: for each input the relative errors of the same elements.
        worst: the largest of them; 0.0 where there is no element.
        tangent_error: of <u, J v> = <J^T u, v>, relative; None when it was not asked for.
    """

    def __init__(
        self,
        operation: str,
        inputs: tuple[np.ndarray, ...],
        shapes: tuple[tuple[int, ...], ...],
        values: np.ndarray,
        by_backward: tuple[np.ndarray, ...],
        by_differences: tuple[np.ndarray, ...],
        tangent_error: float | None,
        rtol: float,
        tangent_rtol: float,
    ) -> None:
        self.operation = operation
        self.by_backward, self.by_differences = by_backward, by_differences
        self.tangent_error, self.rtol, self.tangent_rtol = tangent_error, rtol, tangent_rtol
        self._inputs, self._shapes = inputs, shapes
        self.errors = tuple(
            [
                relative_errors(a, b, values, x)
                for a, b, x in zip(by_backward, by_differences, inputs, strict=True)
            ]
        )
        self.worst = max([float(e.max(initial=0.0)) for e in self.errors], default=0.0)

    def __bool__(self) -> bool:
        tangents = self.tangent_error is None or self.tangent_error <= self.tangent_rtol
        return self.worst <= self.rtol and tangents

    @cached_property
    def elements(self) -> list[Element]:
        """Every derivative that was compared, the worst first."""
        found = []
        places = [(k, place) for k, shape in enumerate(self._shapes) for place in np.ndindex(shape)]
        for i, x in enumerate(self._inputs):
            for row, output in enumerate(places):
                for column, place in enumerate(np.ndindex(x.shape)):
                    found.append(Element(
                        output, (i, place), float(self.by_backward[i][row, column]),
                        float(self.by_differences[i][row, column]),
                        float(self.errors[i][row, column]),
                    ))  # fmt: skip
        return sorted(found, key=lambda e: -e.error)

    def __str__(self) -> str:
        lines = [f"{self.operation}: {'passed' if self else 'failed'}"]
        if self.elements:
            lines.append(
                f"largest relative error {self.worst:.1e} of {len(self.elements)} elements, "
                f"allowed {self.rtol:.1e}"
            )
        if self.tangent_error is not None:
            lines.append(
                f"<u, J v> = <J^T u, v> up to {self.tangent_error:.1e}, allowed "
                f"{self.tangent_rtol:.1e}"
            )
        shown = [e for e in self.elements if e.error > self.rtol][:8] or self.elements[:1]
        for e in shown:
            lines.append(
                f"  d output {_place(e.output)} / d input {_place(e.input)}: backward "
                f"{e.by_backward:.12g}, differences {e.by_differences:.12g}, error {e.error:.1e}"
            )
        return "\n".join(lines)

    __repr__ = __str__


def _place(of: tuple[int, tuple[int, ...]]) -> str:
    return f"{of[0]}[{', '.join(map(str, of[1]))}]"


def relative_errors(a: np.ndarray, b: np.ndarray, values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """|a - b| / max(|a|, |b|, max(1, |y_i|) / max(1, |x_j|)); inf where only one is finite."""
    with np.errstate(all="ignore"):
        natural = np.maximum(1, np.abs(values))[:, None] / np.maximum(1, np.abs(x.ravel()))
        error = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), natural)
    return np.where(np.isfinite(a) & np.isfinite(b), error, np.inf)
