"""The matrix product: one chain of fused multiply-adds for each output, whatever the layout, the
blocks, the threads and the build; strides, starts, activations and what is never touched."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import (
    BUILDS,
    DTYPES,
    F32,
    F64,
    OTHERS,
    THREADS,
    AtPageEnd,
    In,
    InOut,
    Out,
    call,
    chain,
    same_bytes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlite._core import native

LAYOUTS = ["rows", "columns", "sparse"]
GAP = -1234.5  # what stands between the rows of a matrix and must stay there
ACTIVATIONS = {
    native.IDENTITY: None,
    native.RELU: ("Threshold_updateOutput", 0.0, 0.0),
    native.SIGMOID: ("Sigmoid_updateOutput",),
    native.TANH: ("Tanh_updateOutput",),
}


def laid_out(matrix: np.ndarray, layout: str, pad: int) -> tuple[np.ndarray, int, int]:
    """The matrix in a flat array with NaN in its gaps, and its strides."""
    rows, columns = matrix.shape
    row, col = {
        "rows": (columns + pad, 1),
        "columns": (1, rows + pad),
        "sparse": (2 * columns + pad, 2),
    }[layout]
    flat = np.full(
        (rows - 1) * row + (columns - 1) * col + 1 if matrix.size else 0, np.nan, matrix.dtype
    )
    flat[(np.arange(rows)[:, None] * row + np.arange(columns) * col).ravel()] = matrix.ravel()
    return flat, row, col


def gemm(
    isa, a, b, bias=None, stored=None, output=None, activation=0, layouts=("rows", "rows"), pad=0,
    packed=False, **how,
) -> np.ndarray:  # fmt: skip
    """act(start + a b) by the kernel, over matrices whose rows lie `pad` apart; checks the gaps."""
    (m, k), n = a.shape, b.shape[1]
    width = n + pad
    c = np.full((m, width), GAP, a.dtype)
    c[:, :n] = np.nan if stored is None else stored  # without accumulation c is never read
    flat = c.ravel()[: max((m - 1) * width + n, 0) if n else 0]
    if output is not None:
        output = laid_out(output, "rows", pad)[0]
    a_flat, a_row, a_col = laid_out(a, layouts[0], pad)
    b_flat, b_row, b_col = laid_out(b, layouts[1], pad)
    mode = native.ACCUMULATE if stored is not None else 0
    if packed:
        mode |= native.PACKED
        b_flat, b_row, b_col = pack(isa, b_flat, b_row, b_col, k, n), -9, -9
    (out,) = call(
        isa, a.dtype, "gemm", m, n, k, In(a_flat), a_row, a_col, In(b_flat), b_row, b_col,
        InOut(flat), width, In(bias), In(output), mode, activation, **how,
    )  # fmt: skip
    c.ravel()[: out.size] = out
    assert (c[:, n:] == GAP).all(), "wrote between the rows of c"
    return c[:, :n].copy()


def pack(isa, b_flat, b_row, b_col, k, n) -> np.ndarray:
    """b [k, n] as `gemm_pack` lays it out, with room for the widest panel at the end."""
    panel = 64
    room = np.zeros(k * (n + panel), b_flat.dtype)
    (made,) = call(
        isa, b_flat.dtype, "gemm_pack", k, n, In(b_flat), b_row, b_col, InOut(room), threads=None
    )
    return made


def operands(rng, dtype, m, n, k) -> tuple[np.ndarray, ...]:
    """a, b, bias, stored."""
    shapes = [(m, k), (k, n), (n,), (m, n)]
    return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)


def started(start: str, bias: np.ndarray, stored: np.ndarray) -> dict[str, np.ndarray]:
    return {"zero": {}, "bias": {"bias": bias}, "stored": {"stored": stored}}[start]


# Below, at and above every tile; then shapes that are cut into blocks in each dimension.
SHAPES = [(1, 1, 1), (1, 1, 40), (1, 37, 5), (2, 3, 4), (3, 70, 9), (5, 16, 17), (12, 32, 33)]
SHAPES += [(13, 33, 6), (25, 9, 50), (31, 64, 2), (48, 15, 16)]
LARGE = [(1, 1300, 450), (1300, 1, 450), (160, 70, 700), (7, 3100, 30), (290, 100, 40)]
LARGE += [(20, 4091, 520)]  # rows of B 16 KiB apart: transposed
LARGE += [(100, 400, 200)]  # panels that are packed and read once


@pytest.mark.parametrize("start", ["zero", "bias", "stored"])
@pytest.mark.parametrize("m, n, k", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_chain_for_each_output(dtype, m, n, k, start, rng):
    a, b, bias, stored = operands(rng, dtype, m, n, k)
    begin = started(start, bias, stored)
    expected = chain(a, b, begin.get("bias", begin.get("stored", dtype.type(0))))
    for isa in BUILDS:
        for layout_a in LAYOUTS:
            for layout_b in LAYOUTS:
                for pad, offset in ((0, 0), (3, 1)):
                    how = {"layouts": (layout_a, layout_b), "pad": pad, "offset": offset}
                    same_bytes(gemm(isa, a, b, **begin, **how), expected, f"{isa} {how}")


# Widths of every last panel: none, a half, one vector, one and a half, two; few rows and many.
WIDTHS = [*range(1, 20), 24, 31, 32, 33, 40, 47, 48, 49, 56, 63, 64, 65, 72, 96, 100, 130, 144]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.slow
def test_a_packed_matrix_changes_no_bit(isa, dtype, rng):
    for n in WIDTHS:
        for m in (1, 2, 3, 4, 12, 13, 30):
            k = 1 + (m * n) % 23
            a, b, bias, stored = operands(rng, dtype, m, n, k)
            for begin in ({}, {"bias": bias}, {"stored": stored}):
                for layouts in (("rows", "rows"), ("columns", "columns"), ("rows", "sparse")):
                    how = {**begin, "layouts": layouts, "pad": 3, "activation": native.RELU}
                    same_bytes(
                        gemm(isa, a, b, packed=True, **how),
                        gemm("portable", a, b, **how),
                        f"{m} {n} {k} {layouts}",
                    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("isa", BUILDS)
def test_a_packed_matrix_across_blocks_and_threads(isa, dtype, rng):
    for m, n, k in ((1, 450, 1300), (3, 900, 800), (160, 70, 900), (7, 3150, 30), (290, 100, 40)):
        a, b, bias, _ = operands(rng, dtype, m, n, k)
        expected = gemm(isa, a, b, bias=bias)
        for threads in THREADS:
            got = gemm(isa, a, b, bias=bias, packed=True, threads=threads, pad=1)
            same_bytes(got, expected, f"{m} {n} {k} {threads} threads")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("isa", BUILDS)
def test_the_size_of_a_packed_matrix(isa, dtype, rng):
    """Nothing is written beyond it, and it exceeds the matrix by no more than one panel's end."""
    gained = 0
    for k, n in ((11, 64), (40, 65), (12, 130), (64, 100), (784, 512), (0, 64), (64, 0)):
        (size,) = call(isa, dtype, "gemm_packed_size", k, n, Out(1, np.int64), threads=None)
        b = rng.normal(size=k * n).astype(dtype)
        if size[0]:
            gained += 1
            assert k * n <= size[0] < k * (n + 16)
            room = Out(int(size[0]))
            (made,) = call(isa, dtype, "gemm_pack", k, n, In(b), n, 1, room, threads=None)
            assert sorted(made[made != 0]) == sorted(b)
    assert gained >= 4
    call(isa, dtype, "gemm_packed_size", -1, 5, Out(1, np.int64), threads=None, status=1)
    call(isa, dtype, "gemm_packed_size", 2**40, 2**40, Out(1, np.int64), threads=None, status=1)


@pytest.mark.parametrize("m, n, k", LARGE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.slow
def test_one_chain_across_blocks(dtype, m, n, k, rng):
    a, b, bias, _ = operands(rng, dtype, m, n, k)
    expected = chain(a, b, bias)
    for isa in BUILDS:
        for layouts in (("rows", "rows"), ("columns", "rows"), ("rows", "columns")):
            for threads in (1, 3):
                got = gemm(isa, a, b, bias=bias, layouts=layouts, pad=5, threads=threads)
                same_bytes(got, expected, f"{isa} {layouts} {threads} threads")


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.slow
def test_threads_split_outputs_only(isa, dtype, rng):
    for m, n, k in ((257, 301, 129), (1, 5000, 300), (5000, 3, 300), (33, 800, 1000)):
        a, b, _, stored = operands(rng, dtype, m, n, k)
        for layouts in (("rows", "rows"), ("columns", "rows"), ("rows", "columns")):
            one, *others = (
                gemm(
                    isa,
                    a,
                    b,
                    stored=stored,
                    layouts=layouts,
                    activation=native.TANH,
                    threads=threads,
                )
                for threads in THREADS
            )
            for other in others:
                same_bytes(other, one, f"{m} x {n} x {k} {layouts}")


def test_error_bound(rng):
    """|c - exact| <= gamma_k |A| |B| with gamma_k = k u / (1 - k u) (Higham, section 3.1)."""
    a, b, *_ = operands(rng, F32, 60, 50, 3000)
    for x, y, wide in (
        (a, b, np.float64),
        (a[:9].astype(F64), b[:, :9].astype(F64), np.longdouble),
    ):
        unit = np.finfo(x.dtype).eps / 2
        exact = x.astype(wide) @ y.astype(wide)
        bound = 3000 * unit / (1 - 3000 * unit) * (np.abs(x).astype(wide) @ np.abs(y).astype(wide))
        for isa in BUILDS:
            assert (np.abs(gemm(isa, x, y) - exact) <= bound).all()


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_accumulation_continues_the_chain(isa, dtype, rng):
    for m, n, k, cut in ((5, 7, 30, 13), (40, 35, 500, 384), (1, 90, 20, 1), (70, 1, 20, 19)):
        a, b, bias, _ = operands(rng, dtype, m, n, k)
        whole = gemm(isa, a, b, bias=bias)
        half = gemm(isa, a[:, :cut], b[:cut], bias=bias)
        same_bytes(gemm(isa, a[:, cut:], b[cut:], stored=half), whole, f"{m} {n} {k}")


@pytest.mark.parametrize("activation", list(ACTIVATIONS)[1:])
@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fused_activation_equals_the_kernel_after(isa, dtype, activation, rng):
    name, *scalars = ACTIVATIONS[activation]
    for m, n, k in ((1, 1, 1), (3, 17, 5), (14, 70, 33), (150, 40, 900)):
        a, b, bias, stored = operands(rng, dtype, m, n, k)
        b[:, 0] = np.nan
        bias[-1] = stored[:, -1] = np.inf if n > 1 else np.nan
        for begin in ({}, {"bias": bias}, {"stored": stored}):
            plain = gemm(isa, a, b, **begin)
            (after,) = call(isa, dtype, name, plain.size, In(plain), Out(plain.shape), *scalars)
            same_bytes(
                gemm(isa, a, b, **begin, activation=activation, pad=2), after, f"{m} {n} {k}"
            )


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sizes_of_zero(isa, dtype, rng):
    for m, n, k in ((0, 5, 3), (5, 0, 3), (0, 0, 0), (0, 5, 0)):
        assert gemm(isa, *operands(rng, dtype, m, n, k)[:2], pad=2).shape == (m, n)
    for m, n in ((1, 1), (5, 37), (130, 9)):  # no term: the start is the result
        a, b, bias, stored = operands(rng, dtype, m, n, 0)
        same_bytes(gemm(isa, a, b), np.zeros((m, n), dtype))
        same_bytes(gemm(isa, a, b, bias=bias), np.tile(bias, (m, 1)))
        same_bytes(gemm(isa, a, b, stored=stored, pad=1), stored)
        relu = gemm(isa, a, b, bias=bias, activation=native.RELU)
        same_bytes(relu, np.tile(np.maximum(bias, dtype.type(0)), (m, 1)))


@pytest.mark.parametrize("isa", BUILDS)
def test_a_row_does_not_depend_on_its_batch(isa, rng):
    a, b, bias, _ = operands(rng, F32, 37, 45, 60)
    whole = gemm(isa, a, b, bias=bias)
    for begin, end in ((0, 1), (36, 37), (5, 7), (1, 14), (3, 36)):
        same_bytes(gemm(isa, a[begin:end], b, bias=bias), whole[begin:end], f"rows {begin}..{end}")
        columns = gemm(isa, a, b[:, begin:end], bias=bias[begin:end])
        same_bytes(columns, whole[:, begin:end], f"columns {begin}..{end}")


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reads_no_element_behind_the_operands(isa, dtype, rng):
    for m, n, k in ((1, 1, 1), (3, 19, 7), (13, 33, 31), (12, 64, 9), (60, 50, 70), (200, 1, 300)):
        a, b, bias, _ = operands(rng, dtype, m, n, k)
        for layouts in (("rows", "rows"), ("columns", "rows"), ("rows", "columns")):
            got = gemm(isa, a, b, bias=bias, layouts=layouts, place=AtPageEnd)
            same_bytes(got, gemm(isa, a, b, bias=bias), f"{m} {n} {k} {layouts}")


@settings(max_examples=80)
@given(
    sizes=st.tuples(*[st.integers(0, 70)] * 3),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    start=st.sampled_from(["zero", "bias", "stored"]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    pad=st.integers(0, 20),
    offset=st.integers(0, 15),
    threads=st.sampled_from(THREADS),
    dtype=st.sampled_from(DTYPES),
)
def test_builds_give_the_same_bytes(sizes, layouts, start, activation, pad, offset, threads, dtype):
    a, b, bias, stored = operands(np.random.default_rng(sum(sizes)), dtype, *sizes)
    how = {"activation": activation, "layouts": layouts, "pad": pad, "offset": offset}
    how |= started(start, bias, stored)
    expected = gemm("portable", a, b, **how)
    for isa in OTHERS:
        same_bytes(gemm(isa, a, b, threads=threads, **how), expected, isa)


DERIVATIVES = {
    native.RELU: ("Threshold_updateGradInput", 0.0),
    native.SIGMOID: ("Sigmoid_updateGradInput",),
    native.TANH: ("Tanh_updateGradInput",),
}


@pytest.mark.parametrize("activation", DERIVATIVES)
@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_activation_output_multiplies_by_the_derivative(isa, dtype, activation, rng):
    name, *scalars = DERIVATIVES[activation]
    for m, n, k in ((1, 1, 1), (3, 17, 5), (14, 70, 33), (32, 64, 900), (150, 40, 900)):
        a, b = operands(rng, dtype, m, n, k)[:2]
        output = rng.standard_normal((m, n)).astype(dtype)
        for layouts in (("rows", "rows"), ("rows", "columns"), ("columns", "rows")):
            dy = gemm(isa, a, b, layouts=layouts)
            (after,) = call(isa, dtype, name, dy.size, In(output), In(dy), Out(dy.shape), *scalars)
            got = gemm(isa, a, b, output=output, activation=activation, layouts=layouts, pad=2)
            same_bytes(got, after, f"{m} {n} {k} {layouts}")


REFUSED = {
    "negative m": {"m": -1},
    "negative n": {"n": -1},
    "negative k": {"k": -1},
    "m n overflows": {"m": 2**32, "n": 2**32},
    "m k overflows": {"m": 2**62, "n": 0, "k": 2},
    "k n overflows": {"m": 0, "n": 2**31, "k": 2**31},
    "no thread": {"threads": 0},
    "two starts": {"accumulate": 1, "bias": np.ones(3, F32)},
    "activation": {"activation": 4},
    "negative activation": {"activation": -1},
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("isa", BUILDS)
def test_refuses(isa, case):
    v = {
        "m": 2,
        "n": 3,
        "k": 4,
        "bias": None,
        "accumulate": 0,
        "activation": 0,
        "threads": 1,
        **REFUSED[case],
    }
    a, b, c = (InOut(np.full(12, value, F32)) for value in (1, 2, 3))  # call checks that all stay
    call(
        isa, F32, "gemm", v["m"], v["n"], v["k"], a, 4, 1, b, 3, 1, c, 3, In(v["bias"]),
        In(None), v["accumulate"], v["activation"], threads=v["threads"], status=native.EINVAL,
    )  # fmt: skip
