"""Graph_run: instructions against NumPy, bit for bit, in every build."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F32, SIZES, same_bytes

from nnlite import _native


def run(isa, dtype, code, places, *, threads=1, status=0, out=0, **fields):
    """One instruction over a table of arrays; None is no pointer."""
    build = _native.load_build(isa)
    table = build.ffi.new("void *[]", len(places))
    for i, array in enumerate(places):
        if array is not None:
            table[i] = build.ffi.cast("void *", array.ctypes.data)
    number = _native.CODES.get(code, code)
    base = {"a": 1, "b": 2 if len(places) > 2 else -1, "c": -1, "d": -1}
    step = build.ffi.new("nnl_instruction *", {"code": number, "out": out, **base, **fields})
    kernel = build.kernels[np.dtype(dtype)].Graph_run
    assert kernel(1, step, len(places), table, threads) == status


def numbers(rng, dtype, *shape):
    """Normal numbers, and where there is room zeros of both signs, infinity and NaN."""
    x = rng.normal(size=shape).astype(dtype)
    flat = x.reshape(-1)
    if flat.size > 9:
        flat[[1, 4, 7, 8]] = [0.0, -0.0, np.inf, np.nan]
    return x


BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.true_divide}
UNARY = {
    "copy": np.array, "neg": np.negative, "abs": np.abs, "sign": np.sign, "sqrt": np.sqrt,
    "positive": lambda x: np.maximum(x, 0),
}  # fmt: skip
LAYOUTS = {  # of an operand of shape (m, n): its array's shape, row and column stride
    "whole": lambda m, n: ((m, n), n, 1),
    "row": lambda m, n: ((1, n), 0, 1),
    "column": lambda m, n: ((m, 1), 1, 0),
    "number": lambda m, n: ((1, 1), 0, 0),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("code", [*BINARY, *UNARY])
def test_elements(code, dtype, rng):
    for n in SIZES:
        for m in (1, 3):
            for left in LAYOUTS:
                for right in LAYOUTS if code in BINARY else ["whole"]:
                    parts = [LAYOUTS[left](m, n), LAYOUTS[right](m, n)]
                    a, b = (numbers(rng, dtype, *shape) for shape, _, _ in parts)
                    (_, a_row, a_col), (_, b_row, b_col) = parts
                    with np.errstate(all="ignore"):
                        expected = BINARY[code](a, b) if code in BINARY else UNARY[code](a)
                    expected = np.ascontiguousarray(np.broadcast_to(expected, (m, n)))
                    for isa in BUILDS:
                        out = np.full((m, n), np.nan, dtype)
                        run(isa, dtype, code, [out, a, b], m=m, n=n, a_row=a_row, a_col=a_col,
                            b_row=b_row, b_col=b_col)  # fmt: skip
                        same_bytes(np.nan_to_num(out), np.nan_to_num(expected), f"{code} {isa}")
                        assert np.array_equal(np.isnan(out), np.isnan(expected))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_in_numpys_order(dtype, rng):
    for n in [*SIZES, 255, 256, 257, 1000, 1039, 4097]:
        for m in (1, 2, 5, 9):
            a = (rng.normal(size=(m, n)) * 10.0 ** rng.integers(-3, 4)).astype(dtype)
            for isa in BUILDS:
                out = np.full(m, np.nan, dtype)
                run(isa, dtype, "sum_columns", [out, a], m=m, n=n)
                same_bytes(out, a.sum(1), f"rows of {n} {isa}")
                out = np.full(n, np.nan, dtype)
                run(isa, dtype, "sum_rows", [out, a], m=m, n=n)
                if n > 1:  # one column is one row to NumPy
                    same_bytes(out, a.sum(0), f"{m} rows of {n} {isa}")


def test_no_sum_is_negative_zero():
    for count in (1, 5, 8, 200):
        for code, m, n in (("sum_columns", 1, count), ("sum_rows", count, 1)):
            for isa in BUILDS:
                out = np.ones(1, F32)
                run(isa, F32, code, [out, np.full((m, n), -0.0, F32)], m=m, n=n)
                same_bytes(out, np.zeros(1, F32))


REFUSED = {
    "code 0": (0, {}),
    "an unknown code": (99, {}),
    "no second operand": ("add", {"b": -1}),
    "a place outside": ("add", {"b": 3}),
    "no result": ("add", {"out": -1}),
    "a negative size": ("add", {"m": -1}),
    "an overflow": ("add", {"m": 2**62, "n": 2**62}),
    "threads": ("add", {"threads": 0}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    code, fields = REFUSED[case]
    a = np.ones((2, 2), F32)
    for isa in BUILDS:
        out = np.full((2, 2), 7, F32)
        fields = {"m": 2, "n": 2, "a_row": 2, "a_col": 1, "b_row": 2, "b_col": 1} | fields
        run(isa, F32, code, [out, a, a], status=_native.EINVAL, **fields)
        assert (out == 7).all()


def test_codes_are_those_of_the_header():
    build = _native.load_build(BUILDS[0])
    for name, number in _native.CODES.items():
        known = {"log_softmax": "LOGSOFTMAX", "softmax_ce": "CROSS_ENTROPY"}
        text = known.get(name, name.upper().replace("LOG_SOFTMAX", "LOGSOFTMAX"))
        assert getattr(build.lib, f"NNL_CODE_{text}") == number
