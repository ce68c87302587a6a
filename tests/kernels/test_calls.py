"""Program_run, operations on elements, reductions, refusals: against NumPy, bit for bit, in every
build; test_calls_layers.py has products, losses, dropout, and programs of several calls."""

from __future__ import annotations

import numpy as np
import pytest
from calls import OUT, OUT2, A, B, Bench, C, one
from helpers import BUILDS, DTYPES, F32, SIZES, THREADS, same_bytes

from nnlite._core import native


def numbers(rng, dtype, *shape):
    """Normal numbers, and where there is room equal ones, zeros of both signs, infinities, NaN."""
    x = np.round(rng.normal(size=shape), 1).astype(dtype)
    flat = x.reshape(-1)
    if flat.size > 9:
        flat[[1, 4, 7, 8, 5, 9]] = [0.0, -0.0, np.inf, np.nan, -0.0, -np.inf]
        rng.shuffle(flat)
    return x


def masks(rng, _dtype, *shape):
    return rng.integers(0, 2, shape, np.uint8)


def maximum(x, y):
    return np.where(np.isnan(x) | (x > y), x, y)


def minimum(x, y):
    return np.where(np.isnan(x) | (x < y), x, y)


def byte(f):
    return lambda *operands: f(*operands).astype(np.uint8)


# operation: NumPy's, and what makes each operand
OPERATIONS = {
    "ADD": (np.add, [numbers] * 2), "SUB": (np.subtract, [numbers] * 2),
    "MUL": (np.multiply, [numbers] * 2), "DIV": (np.true_divide, [numbers] * 2),
    "MAXIMUM": (maximum, [numbers] * 2), "MINIMUM": (minimum, [numbers] * 2),
    "COPY": (np.array, [numbers]), "NEG": (np.negative, [numbers]), "ABS": (np.abs, [numbers]),
    "SIGN": (np.sign, [numbers]), "SQRT": (np.sqrt, [numbers]),
    "EQUAL": (byte(np.equal), [numbers] * 2), "NOT_EQUAL": (byte(np.not_equal), [numbers] * 2),
    "LESS": (byte(np.less), [numbers] * 2), "LESS_EQUAL": (byte(np.less_equal), [numbers] * 2),
    "LOGICAL_NOT": (byte(np.logical_not), [masks]),
    "LOGICAL_AND": (byte(np.logical_and), [masks] * 2),
    "LOGICAL_OR": (byte(np.logical_or), [masks] * 2),
    "LOGICAL_XOR": (byte(np.logical_xor), [masks] * 2),
    "WHERE": (np.where, [masks, numbers, numbers]),
    "FROM_MASK": (lambda x: x, [masks]),
}  # fmt: skip
LAYOUTS = {  # of an operand that is repeated to (m, n)
    "whole": lambda m, n: (m, n), "row": lambda m, n: (1, n), "column": lambda m, n: (m, 1),
    "number": lambda m, n: (1, 1),
}  # fmt: skip


def expected_of(name, operands, shape, dtype):
    """NumPy's result in the layout and dtype of the call's."""
    with np.errstate(all="ignore"):
        found = OPERATIONS[name][0](*operands)
    byte_out = found.dtype == np.uint8 and name != "FROM_MASK"
    return np.array(np.broadcast_to(found, shape), np.uint8 if byte_out else dtype)


def blank(like):
    """What an output holds before the call."""
    return np.full(like.shape, 77 if like.dtype == np.uint8 else np.nan, like.dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_elements(name, dtype, rng):
    makers = OPERATIONS[name][1]
    for n in SIZES:
        for m in (1, 3):
            for left in LAYOUTS:
                for right in LAYOUTS if len(makers) > 1 else ["whole"]:
                    names = [left, right, "whole"]
                    operands = [make(rng, dtype, *LAYOUTS[layout](m, n))
                                for make, layout in zip(makers, names, strict=False)]  # fmt: skip
                    expected = expected_of(name, operands, (m, n), dtype)
                    views = [np.broadcast_to(x, (m, n)) for x in operands]
                    for isa in BUILDS:
                        slots = {OUT: blank(expected), **dict(enumerate(views, A))}
                        out = one(isa, dtype, name, (1, 1, m, n), slots, offset=n % 4)[0]
                        same_bytes(out, expected, f"{left} {right} {m} {n} {isa}")


def turned(make, rng, dtype):
    """(3, 2, 5, 7) elements that lie backwards, transposed, apart and repeated."""
    return [
        make(rng, dtype, 3, 2, 5, 7)[::-1, :, ::-1, ::-1],
        make(rng, dtype, 7, 5, 2, 3).transpose(),
        make(rng, dtype, 6, 2, 10, 21)[1::2, ::-1, ::2, 2::3],
        np.broadcast_to(make(rng, dtype, 2, 1, 7)[:, :, ::-1], (3, 2, 5, 7)),
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_four_axes_that_lie_anyhow(name, dtype, rng):
    makers = OPERATIONS[name][1]
    choices = [turned(make, rng, dtype) for make in makers]
    for shift in range(4):
        operands = [views[(shift + i) % 4] for i, views in enumerate(choices)]
        expected = expected_of(name, operands, (3, 2, 5, 7), dtype)
        base = np.full((7, 2, 4, 10), 77, expected.dtype)
        view = base.transpose(2, 1, 3, 0)[2::-1, :, 1::2, ::-1]
        whole = base.copy()
        whole.transpose(2, 1, 3, 0)[2::-1, :, 1::2, ::-1] = expected
        for isa in BUILDS:
            for threads in (1, 3):
                slots = {OUT: view, **dict(enumerate(operands, A))}
                out = one(isa, dtype, name, (3, 2, 5, 7), slots, threads=threads)[0]
                same_bytes(out, whole, f"{shift} {isa}")  # and nothing between the elements


@pytest.mark.parametrize("name", OPERATIONS)
def test_rows_of_a_batch_on_any_number_of_threads(name, rng):
    makers = OPERATIONS[name][1]
    for rows, width in ((0, 3), (1, 5), (7, 1), (1500, 47)):
        operands = [make(rng, F32, rows, width) for make in makers]
        expected = expected_of(name, operands, (rows, width), F32)
        for isa in BUILDS:
            for threads in THREADS:
                slots = {OUT: blank(expected), **dict(enumerate(operands, A))}
                how = {"rows": rows, "threads": threads, "batch": 4, "by_row": 1}
                out = one(isa, F32, name, (1, 1, 1, width), slots, **how)[0]
                same_bytes(out, expected, f"{rows} rows, {threads} threads, {isa}")
                line = {"rows": rows, "threads": threads, "batch": 8, "by_row": 1}
                flat = {OUT: blank(expected.reshape(-1)),
                        **{i: x.reshape(-1) for i, x in enumerate(operands, A)}}  # fmt: skip
                out = one(isa, F32, name, (1, 1, 1, width), flat, **line)[0]
                same_bytes(out, expected.reshape(-1), f"{rows} rows as a line, {isa}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["ADD", "MUL", "MAXIMUM", "NEG", "SQRT"])
def test_in_place_of_the_first_operand(name, dtype, rng):
    makers = OPERATIONS[name][1]
    for n in SIZES:
        operands = [make(rng, dtype, n) for make in makers]
        expected = expected_of(name, operands, (n,), dtype)
        for isa in BUILDS:
            slots = {OUT: operands[0], **dict(enumerate(operands, A))}
            same_bytes(one(isa, dtype, name, (1, 1, 1, n), slots)[0], expected, f"{n} {isa}")


# ---- reductions ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sums_in_numpys_order(dtype, rng):
    for n in [*SIZES, 255, 256, 257, 1000, 1039, 4097]:
        for m in (1, 2, 5, 9):
            a = (rng.normal(size=(m, n)) * 10.0 ** rng.integers(-3, 4)).astype(dtype)
            for isa in BUILDS:
                out = one(isa, dtype, "SUM", (m, n, 1, 1), {OUT: np.full(m, np.nan, dtype), A: a})
                same_bytes(out[0], a.sum(1), f"rows of {n} {isa}")
                out = one(isa, dtype, "SUM", (1, m, n, 1), {OUT: np.full(n, np.nan, dtype), A: a})
                if n > 1:  # one column is one row to NumPy
                    same_bytes(out[0], a.sum(0), f"{m} rows of {n} {isa}")


def test_no_sum_is_negative_zero():
    for count in (1, 5, 8, 200):
        for sizes in ((1, count, 1, 1), (1, count, 2, 1)):
            for isa in BUILDS:
                a = np.full(count * sizes[2], -0.0, F32)
                out = one(isa, F32, "SUM", sizes, {OUT: np.ones(sizes[2], F32), A: a})
                same_bytes(out[0], np.zeros(sizes[2], F32))


def extreme(x, largest):
    """A chain of maximum or minimum over axis 1."""
    found = x[:, 0]
    for i in range(1, x.shape[1]):
        found = (maximum if largest else minimum)(found, x[:, i])
    return found


def first(x, largest):
    """1 at the first extremum over axis 1, at the first NaN where there is one."""
    place = np.argmax(x, 1) if largest else np.argmin(x, 1)
    mask = np.zeros(x.shape, np.uint8)
    np.put_along_axis(mask, place[:, None], 1, 1)
    return mask


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["MAX", "MIN", "FIRST_MAX", "FIRST_MIN"])
def test_extrema(name, dtype, rng):
    for n in SIZES[1:]:
        for outer, inner in ((1, 1), (3, 1), (1, 4), (2, 5), (0, 3), (2, 0)):
            x = numbers(rng, dtype, outer, n, inner)
            find = first if name.startswith("FIRST") else extreme
            expected = find(x, name.endswith("MAX"))
            for isa in BUILDS:
                slots = {OUT: blank(expected), A: x}
                out = one(isa, dtype, name, (outer, n, inner, 1), slots, offset=n % 3)[0]
                same_bytes(out, expected, f"{outer} {n} {inner} {isa}")


@pytest.mark.parametrize("name", ["SUM", "MAX", "MIN", "FIRST_MAX", "FIRST_MIN"])
def test_reductions_of_rows_on_any_number_of_threads(name, rng):
    x = rng.normal(size=(700, 200)).astype(F32)
    expected = {
        "SUM": lambda: x.sum(1),
        "MAX": lambda: x.max(1),
        "MIN": lambda: x.min(1),
        "FIRST_MAX": lambda: first(x, True),
        "FIRST_MIN": lambda: first(x, False),
    }[name]()
    for isa in BUILDS:
        for threads in THREADS:
            slots, how = {OUT: blank(expected), A: x}, {"batch": 1, "by_row": 1, "rows": 700}
            out = one(isa, F32, name, (1, 200, 1, 1), slots, threads=threads, **how)[0]
            same_bytes(out, expected, f"{threads} {isa}")


def test_of_nothing_there_is_a_sum_but_no_extremum():
    for isa in BUILDS:
        nothing = np.zeros(0, F32)
        out = one(isa, F32, "SUM", (2, 0, 3, 1), {OUT: np.ones(6, F32), A: nothing})[0]
        same_bytes(out, np.zeros(6, F32))
        for name in ("MAX", "MIN", "FIRST_MAX", "FIRST_MIN"):
            slots = {OUT: np.full(6, 7, F32), A: nothing}
            out = one(isa, F32, name, (2, 0, 3, 1), slots, status=native.EINVAL)[0]
            assert (out == 7).all()


# ---- refusals ----

REFUSED = {
    "a negative operation": {"op": -1},
    "an unknown operation": {"op": 10_000},
    "one behind the last": {"op": native.OP_COUNT + 1},
    "no second operand": {B: -1},
    "no first operand": {A: -1},
    "a buffer outside": {B: 3},
    "a buffer below": {C: -2},
    "no result": {OUT: -1},
    "a second result outside": {OUT2: 9},
    "no third operand of where": {"op": native.OP_WHERE},
    "a negative size": {"size": (1, 1, -1, 2)},
    "an overflow": {"size": (2**31, 2**31, 2, 1)},
    "an overflow of one size": {"size": (2**62, 2, 1, 1)},
    "an overflow of rows": {"size": (2**40, 1, 1, 1), "batch": 1, "rows": 2**30},
    "a batch of no axis": {"batch": 16},
    "a negative batch": {"batch": -1},
    "negative rows": {"rows": -1},
    "threads": {"threads": 0},
    "a weight of no product": {"weight": 1},
    "a weight outside": {"op": native.OP_GEMM, "batch": 8, "weight": 4},
    "a negative weight": {"op": native.OP_GEMM, "batch": 8, "weight": -1},
    "a weight by rows": {"op": native.OP_GEMM, "batch": 2, "weight": 1},
    "sums of a stack": {"op": native.OP_GEMM, "size": (2, 1, 1, 1), OUT2: 0},
    "an activation": {"op": native.OP_GEMM, "activation": 9},
    "no random stream": {"op": native.OP_DROPOUT, "integer": 0},
    "a negative random stream": {"op": native.OP_DROPOUT, "integer": -1},
    "a rate": {"op": native.OP_DROPOUT, "number": 1.5, "counters": [3]},
}
OF_PROGRAMS = {
    "a negative count": {"count": -1},
    "negative buffers": {"buffers": -1},
    "negative streams": {"counter_count": -1},
    "an input outside": {"input": 3},
    "a target below": {"target": -2},
    "a loss outside": {"loss": 3},
    "a mark behind the end": {"mark": 2},
    "a negative mark": {"mark": -1},
}


@pytest.mark.parametrize("case", [*REFUSED, *OF_PROGRAMS])
def test_refusals(case):
    change = dict(REFUSED.get(case, {}))
    for isa in BUILDS:
        bench = Bench(isa, F32)
        arrays = [np.full((2, 2), 7, F32), np.ones((2, 2), F32), np.ones((2, 2), F32)]
        bench.add("ADD", (1, 1, 2, 2), {OUT: arrays[0], A: arrays[1], B: arrays[2]})
        call = bench.calls[0]
        for key, value in change.items():
            if isinstance(key, int):
                call["slot"][key] = {"buffer": value}
            elif key in ("rows", "threads", "counters"):
                continue
            else:
                call[key] = value
        bench.counters = change.get("counters", [])
        bench.fields |= OF_PROGRAMS.get(case, {})
        struct, _ = bench.program()
        for field, value in OF_PROGRAMS.get(case, {}).items():
            setattr(struct, field, value)
        kernel = bench.build.kernels[F32].Program_run
        rows, threads = change.get("rows", 1), change.get("threads", 1)
        assert kernel(struct, rows, threads) == native.EINVAL
        assert (bench.arrays()[0] == 7).all()


def test_an_empty_program_does_nothing():
    for isa in BUILDS:
        assert Bench(isa, F32).run(rows=0) == []
        assert Bench(isa, F32).run(rows=5, threads=3) == []
