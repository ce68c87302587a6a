"""Powers and cosines without the C library, so that they are the same on every machine.

Learning rates reach the weights: a last bit that differs between two C libraries would spread to
every weight. Only +, -, x, / and nnlite's own exp and log are used, which are exact or fixed.
"""

from __future__ import annotations

import numpy as np

from .._core import native

TERMS = 11  # of Taylor's series for |pi x| <= pi / 4: the next one is below 2^-70
PI = 3.141592653589793


def integer_power(base: float, exponents: np.ndarray) -> np.ndarray:
    """base^n for each integer n >= 0, by squaring: within about 2 log2(n) roundings."""
    result = np.ones(exponents.shape)
    with np.errstate(over="ignore", under="ignore"):
        square = np.float64(base)
        for bit in range(int(exponents.max(initial=0)).bit_length()):
            result = np.where(exponents >> bit & 1, result * square, result)
            square = square * square
    return result


def power(bases: np.ndarray, exponent: float) -> np.ndarray:
    """x^exponent for each x >= 0, exponent > 0: integral ones by products, else e^(p log x)."""
    if exponent == int(exponent) and exponent <= 64:
        result = np.ones(bases.shape)
        for _ in range(int(exponent)):
            result = result * bases
        return result
    logs = _kernel("Log_updateOutput", bases)  # -infinity at 0, whose exp is 0
    return _kernel("Exp_updateOutput", exponent * logs)


def _kernel(name: str, x: np.ndarray) -> np.ndarray:
    values = np.array(x, np.float64)
    at = native.pointer(values)
    native.check(getattr(native.F64, name)(values.size, at, at, 1), "power")
    return values


def cosine_pi(x: np.ndarray) -> np.ndarray:
    """cos(pi x) for finite x, within a few 2^-53: the argument is reduced exactly to [0, 1/4]."""
    place = np.fmod(np.abs(x), 2.0)
    place = np.where(place > 1, 2 - place, place)
    beyond = place > 0.5
    place = np.where(beyond, 1 - place, place)
    cosine, sine = _series(place, 0), _series(0.5 - place, 1)
    return np.where(beyond, -1.0, 1.0) * np.where(place > 0.25, sine, cosine)


def _series(x: np.ndarray, first: int) -> np.ndarray:
    """Taylor's series of cos(pi x) (first = 0) or sin(pi x) (first = 1) by Horner's scheme."""
    y = PI * x
    z = y * y
    total = np.ones(x.shape)
    for k in range(TERMS, 0, -1):
        total = 1 - z / ((2 * k - 1 + first) * (2 * k + first)) * total
    return y * total if first else total
