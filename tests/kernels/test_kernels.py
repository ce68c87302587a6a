"""Element-wise kernels, SGD, Linear and the gathering of rows: every build against the portable one
by bytes, and against wider NumPy by a stated bound; any alignment, in place, guards intact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import (
    BUILDS,
    DTYPES,
    F32,
    F64,
    SIZES,
    THREADS,
    AtPageEnd,
    In,
    InOut,
    Out,
    Same,
    call,
    chain,
    fma,
    same_bytes,
    ulps,
    wild,
)
from hypothesis import given
from hypothesis import strategies as st
from kernel_table import POINTWISE

from nnlite._core import native


def pointwise(isa, name, arrays, **how) -> np.ndarray:
    scalars = POINTWISE[name][1]
    inputs = [In(array) for array in arrays]
    return call(
        isa, arrays[0].dtype, name, arrays[0].size, *inputs, Out(arrays[0].shape), *scalars, **how
    )[0]


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_builds_give_the_same_bytes(dtype, name, rng):
    count, scalars = POINTWISE[name]
    for n in SIZES:
        arrays = [wild(rng, n, dtype) for _ in range(count)]
        expected = pointwise("portable", name, arrays)
        assert expected.shape == (n,)
        for isa in BUILDS:
            for offset in (0, 1, 3, 7):
                same_bytes(
                    pointwise(isa, name, arrays, offset=offset), expected, f"{isa} {n} + {offset}"
                )
            for place in range(1, count + 1):  # in place of each input
                args = [InOut(x) if index == place - 1 else In(x) for index, x in enumerate(arrays)]
                got = call(isa, dtype, name, n, *args, Same(place), *scalars, offset=n % 5)
                same_bytes(got[0], expected, f"{isa} {n} in place of {place}")
            same_bytes(
                pointwise(isa, name, arrays, place=AtPageEnd),
                expected,
                f"{isa} {n} at a page's end",
            )


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.slow
def test_large_arrays_are_their_parts(isa, dtype, rng):
    """On any number of threads: enough elements for seven; then more than a cache holds (36 MB)."""
    for name, n in (
        ("Tanh_updateOutput", 500_003),
        ("Threshold_updateGradInput", 500_003),
        ("Sigmoid_updateGradInput", 36_000_000 // dtype.itemsize + 3),
    ):
        arrays = [rng.standard_normal(n, dtype) for _ in range(POINTWISE[name][0])]
        parts = np.array_split(np.array(arrays), n // 50_000, axis=1)
        expected = np.concatenate(
            [pointwise(isa, name, [x.copy() for x in part]) for part in parts]
        )
        for threads in THREADS:
            same_bytes(
                pointwise(isa, name, arrays, threads=threads, offset=threads), expected, name
            )


# function: exact value by a wider type, smallest and largest argument, ulps for float32 and float64
def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x.astype(np.float64)], dtype=x.dtype)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(
        x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))
    )


# math.erf is double: against it a double may be another unit off.
ACCURACY = [
    ("Exp_updateOutput", np.exp, -800, 800, 1.0, 1.5),
    ("Expm1_updateOutput", np.expm1, -800, 800, 1.5, 1.5),
    ("Log_updateOutput", np.log, 0, 1e4, 1.0, 1.5),
    ("Log1p_updateOutput", np.log1p, -1, 1e4, 1.5, 1.5),
    ("Erf_updateOutput", _erf, -7, 7, 1.5, 2.5),
    ("Sigmoid_updateOutput", _sigmoid, -800, 800, 1.5, 1.5),
    ("Tanh_updateOutput", np.tanh, -30, 30, 1.5, 1.5),
]


@pytest.mark.parametrize("name, exact, low, high, bound32, bound64", ACCURACY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinities on purpose
def test_accuracy(name, exact, low, high, bound32, bound64, rng):
    for dtype, wide, bound in ((F32, np.float64, bound32), (F64, np.longdouble, bound64)):
        sizes = np.exp(rng.uniform(np.log(1e-30), np.log(max(high, -low)), 20_000))
        x = np.concatenate([rng.uniform(low, high, 20_000), rng.normal(size=20_000), sizes, -sizes])
        x = np.clip(x, low, high).astype(dtype)
        x = np.concatenate([x, np.array([0, 1, low, high, -0.0], dtype)])
        if name == "Log_updateOutput":
            x = np.abs(x)
        worst = ulps(pointwise("portable", name, [x]), exact(x.astype(wide)))
        assert worst <= bound, f"{dtype}: {worst} ulp"
        assert worst > 0.3  # rounding alone: the reference is the wider one


INF, NAN = math.inf, math.nan
KNOWN = [
    (
        "Exp_updateOutput",
        [0.0, -0.0, 1.0, -INF, INF, NAN, 1e9, -1e9],
        [1, 1, math.e, 0, INF, NAN, INF, 0],
    ),
    ("Expm1_updateOutput", [-0.0, 0.0, -INF, INF, NAN, 1e-30], [-0.0, 0.0, -1, INF, NAN, 1e-30]),
    (
        "Log_updateOutput",
        [1.0, 0.0, -0.0, -1.0, INF, NAN, -INF],
        [0.0, -INF, -INF, NAN, INF, NAN, NAN],
    ),
    ("Log1p_updateOutput", [0.0, -0.0, -1.0, -2.0, INF, NAN], [0.0, -0.0, -INF, NAN, INF, NAN]),
    ("Erf_updateOutput", [0.0, -0.0, INF, -INF, NAN, 40, -40], [0.0, -0.0, 1, -1, NAN, 1, -1]),
    ("Sigmoid_updateOutput", [0.0, INF, -INF, NAN, 1e30, -1e30], [0.5, 1, 0, NAN, 1, 0]),
    ("Tanh_updateOutput", [0.0, -0.0, INF, -INF, NAN, 1e30, -1e30], [0.0, -0.0, 1, -1, NAN, 1, -1]),
    ("Threshold_updateOutput", [0.5, 0.6, -1, INF, -INF, NAN], [-2, 0.6, -2, INF, -2, NAN]),
]


@pytest.mark.parametrize("name, x, y", KNOWN)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_known_values(dtype, name, x, y):
    for isa in BUILDS:
        same_bytes(
            pointwise(isa, name, [np.array(x, dtype)]), np.array(y, np.float64).astype(dtype), isa
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_are_their_formulas(dtype, rng):
    y, dy = rng.uniform(-1, 1, (2, 1000)).astype(dtype)
    one = dtype.type(1)
    same_bytes(pointwise("portable", "Sigmoid_updateGradInput", [y, dy]), dy * (y * (one - y)))
    same_bytes(pointwise("portable", "Tanh_updateGradInput", [y, dy]), dy * fma(-y, y, one))
    x = np.array([0.4, 0.5, 0.6, np.nan, np.inf, -np.inf], dtype)
    got = pointwise("portable", "Threshold_updateGradInput", [x, np.arange(1, 7).astype(dtype)])
    assert got.tolist() == [0, 0, 3, 4, 5, 0]  # at the threshold 0; NaN lets the gradient through


# ---- Linear ----


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize(
    "N, D, K",
    [(1, 1, 1), (3, 5, 7), (17, 33, 9), (40, 8, 70), (0, 3, 2), (600, 70, 90)]
    + [(4, 0, 5), (900, 3, 70), (50, 300, 3), (1600, 14, 33)],
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_linear(dtype, N, D, K, scale, rng):
    x, dy, w, b = (rng.normal(size=s).astype(dtype) for s in ((N, D), (N, K), (D, K), K))
    dw, db = rng.normal(size=(D, K)).astype(dtype), rng.normal(size=K).astype(dtype)
    scaled, column = dtype.type(scale) * dy, db.copy()
    for row in scaled:  # a chain over the rows, from what is stored
        column += row
    y, dx, weight = (
        chain(x, w, b),
        chain(dy, w.T.copy(), dtype.type(0)),
        chain(x.T.copy(), scaled, dw),
    )
    for isa in BUILDS:
        for how in ({"offset": 1}, {"threads": 3}, {"place": AtPageEnd}):
            got = call(
                isa,
                dtype,
                "Linear_updateOutput",
                N,
                D,
                K,
                In(x),
                Out((N, K)),
                In(w),
                In(b),
                0,
                **how,
            )
            same_bytes(got[0], y, f"{isa} y")
            got = call(
                isa, dtype, "Linear_updateGradInput", N, D, K, In(dy), Out((N, D)), In(w), In(None),
                0, **how,
            )  # fmt: skip
            same_bytes(got[0], dx, f"{isa} dx")
            for bias in (InOut(db), In(None)):
                args = (In(x), In(dy), InOut(dw), bias, scale)
                got = call(isa, dtype, "Linear_accGradParameters", N, D, K, *args, **how)
                same_bytes(got[0], weight, f"{isa} dW")
                if len(got) > 1:
                    same_bytes(got[1], column, f"{isa} db")


def test_linear_refuses_gradients_that_overlap():
    x, dy, dw = (InOut(np.ones(n, F32)) for n in (8, 6, 12))
    for isa in BUILDS:
        for same in (3, 4, 5):  # the bias gradient within x, dy or dW
            args = (2, 4, 3, x, dy, dw, Same(same), 1.0)
            call(isa, F32, "Linear_accGradParameters", *args, status=native.EOVERLAP)


# ---- gather_rows ----


@given(
    rows=st.integers(0, 20),
    width=st.integers(0, 40),
    source=st.integers(1, 30),
    dtype=st.sampled_from(DTYPES),
)
def test_gather_rows(rows, width, source, dtype):
    rng = np.random.default_rng(rows * 41 + width)
    x, index = (
        wild(rng, source * width, dtype).reshape(source, width),
        rng.integers(0, source, rows),
    )
    for isa in BUILDS:
        args = (rows, width, source, In(x), In(index), Out((rows, width)), Out(1, np.int64))
        out, bad = call(isa, dtype, "gather_rows", *args, threads=None, offset=rows % 4)
        same_bytes(out, x[index])
        assert bad[0] == -1


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("bad", [-1, 5, 2**63 - 1, -(2**63)])
def test_gather_rows_refuses_an_index(isa, bad):
    x, index = np.zeros((5, 3), F32), np.array([0, 4, bad, -7])
    args = (4, 3, 5, In(x), In(index), Out((4, 3)), Out(1, np.int64))
    out, row = call(isa, F32, "gather_rows", *args, threads=None, status=native.EINDEX)
    assert np.isnan(out).all() and row[0] == 2


# ---- refusals ----

X, Y = InOut(np.ones(4, F32)), InOut(np.ones(4, F32))
REFUSED = [(name, (n, *[X] * (count + 1), *scalars), threads)
           for name, (count, scalars) in POINTWISE.items()
           for n, threads in ((-1, 1), (2**62, 1), (4, 0))]  # fmt: skip
REFUSED += [
    ("Linear_updateOutput", (-1, 2, 2, X, X, X, X, 0), 1),
    ("Linear_updateOutput", (2, 2, 2, X, X, X, X, 9), 1),
    ("Linear_updateGradInput", (2, 2**31, 2**31, X, X, X, In(None), 0), 1),
    ("Linear_accGradParameters", (2**32, 2**32, 1, X, X, X, X, 1.0), 1),
    ("Linear_accGradParameters", (2, 2, 2, X, X, X, X, 0.5), 0),
    ("gather_rows", (-1, 2, 2, X, X, X, X), None),
    ("gather_rows", (2, 2**62, 2, X, X, X, X), None),
]


@pytest.mark.parametrize("name, args, threads", REFUSED)
def test_refuses_sizes_and_settings(name, args, threads):
    if name == "gather_rows":
        args = tuple(
            InOut(np.ones(4, np.int64)) if index in (4, 6) else arg
            for index, arg in enumerate(args)
        )
    for isa in BUILDS:
        call(isa, F32, name, *args, threads=threads, status=native.EINVAL)
