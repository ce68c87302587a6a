"""The references that other tests rely on, against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from helpers import DTYPES, F32, Guarded, chain, fma, same_bytes, ulps


def rounded(exact: Fraction, dtype: np.dtype) -> float:
    """The nearest number of that type, ties to even."""
    near = dtype.type(float(exact))
    both = [near, np.nextafter(near, dtype.type(np.inf)), np.nextafter(near, dtype.type(-np.inf))]
    bits = f"u{dtype.itemsize}"
    return min(both, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(bits)) & 1))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fma_has_one_rounding(dtype, rng):
    a, b = rng.normal(size=(2, 3000)).astype(dtype)
    c = (-a * b * rng.choice([0, 1e-9, 1e-3, 1, 1 + 1e-6, 2, 1e4], 3000)).astype(dtype)
    c[::7] = -a[::7] * b[::7]  # only the rounding error of the product is left
    a[1::5], b[1::5] = np.round(a[1::5] * 8) / 8, np.round(b[1::5] * 8) / 8
    c[1::5] = dtype.type(2.0 ** (np.finfo(dtype).nmant - 2))  # ties
    got = fma(a, b, c)
    for i in range(3000):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        assert got[i] == rounded(exact, dtype), (a[i], b[i], c[i])
    assert (
        np.count_nonzero(got != a * b + c) > 500
    )  # so a product that is rounded first is told apart


def test_chain_by_hand():
    a = np.array([[3, 1 / 3, -1]], F32)
    b = np.array([[0.1], [0.3], [7]], F32)
    exact = Fraction(float(np.float32(0.5)))
    for x, y in zip(a[0], b[:, 0], strict=True):
        exact = Fraction(float(rounded(exact + Fraction(float(x)) * Fraction(float(y)), F32)))
    assert chain(a, b, np.array([0.5], F32))[0, 0] == float(exact)


def test_guards_and_comparisons_notice():
    place = Guarded(np.zeros(5, F32), offset=3)
    assert place.array.ctypes.data % 64 == 12
    place.check("untouched")
    for index in (place._from - 1, place._to):
        place._raw[index] ^= 1
        with pytest.raises(AssertionError, match="wrote"):
            place.check("touched")
        place._raw[index] ^= 1
    with pytest.raises(AssertionError, match="1 of 2 elements differ, first at 1"):
        same_bytes(np.array([0.0, 0.0]), np.array([0.0, -0.0]))
    same_bytes(np.array([np.nan]), -np.array([np.nan]))
    assert ulps(np.array([1 + 2**-22], F32), np.array([1.0])) == 2
