"""Program_run: products, losses, dropout and counts, against their kernels; and Program_predict:
programs of several calls against the calls one by one, in every build."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from calls import OUT, OUT2, A, B, Bench, C, D, Walk, one
from helpers import BUILDS, DTYPES, F32, THREADS, In, Out, call, chain, same_bytes

from nnlite._core import native

ACTIVATIONS = {
    native.IDENTITY: None, native.RELU: ("Threshold", (0.0, 0.0), (0.0,)),
    native.SIGMOID: ("Sigmoid", (), ()), native.TANH: ("Tanh", (), ()),
}  # fmt: skip
EDGES = [
    (1, 1, 1),
    (3, 5, 7),
    (0, 4, 2),
    (4, 0, 2),
    (4, 3, 0),
    (17, 16, 15),
    (2, 33, 9),
    (53, 8, 31),
]


def activated(z, activation):
    kind = ACTIVATIONS[activation]
    if kind is None:
        return z
    name = f"{kind[0]}_updateOutput"
    return call("portable", z.dtype, name, z.size, In(z), Out(z.shape), *kind[1])[0]


def differentiated(g, y, activation):
    name, _, scalars = ACTIVATIONS[activation]
    args = (g.size, In(y), In(g), Out(g.shape), *scalars)
    return call("portable", g.dtype, f"{name}_updateGradInput", *args)[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products_with_bias_activation_and_derivative(dtype, activation, rng):
    for m, n, k in EDGES:
        a, b, bias = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), n))
        y = np.tanh(rng.normal(size=(m, n))).astype(dtype)
        forward = activated(chain(a, b, bias), activation)
        plain = chain(a, b, dtype.type(0))
        backward = differentiated(plain, y, activation) if activation else plain
        for isa in BUILDS:
            for threads in (1, 3):
                how = {"activation": activation, "threads": threads, "batch": 2, "by_row": 1}
                slots = {OUT: np.full((m, n), np.nan, dtype), A: a, B: b, C: bias}
                out = one(isa, dtype, "GEMM", (1, 1, n, k), columns(slots), rows=m, **how)[0]
                same_bytes(out, forward, f"{m} {n} {k} {isa}")
                transposed = {OUT: slots[OUT], A: np.array(a.T, order="C").T,
                              B: np.array(b.T, order="C").T}  # fmt: skip
                output = {D: y} if activation else {}
                sizes, how = (1, m, n, k), {"flag": native.GRADIENT, "threads": threads}
                how["activation"] = activation
                out = one(isa, dtype, "GEMM", sizes, columns({**transposed, **output}), **how)[0]
                same_bytes(out, backward, f"{m} {n} {k} {isa}, gradient")


def columns(slots):
    """Slots of products, whose strides are to the next product, row and column."""
    found = {}
    for i, x in slots.items():
        steps = [s // x.itemsize for s in x.strides]
        steps = [0] * (3 - len(steps)) + steps
        found[i] = Walk(x, (*steps, 0))
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_gradient_of_a_weight_and_its_bias(dtype, rng):
    for rows, inputs, outputs in EDGES:
        x = rng.normal(size=(rows, inputs)).astype(dtype)
        g = rng.normal(size=(rows, outputs)).astype(dtype)
        weight = chain(x.T.copy(), g, dtype.type(0))
        bias = np.zeros(outputs, dtype)
        for row in g:
            bias += row
        for isa in BUILDS:
            for threads in THREADS:
                slots = columns({OUT: np.full((inputs, outputs), np.nan, dtype), A: x.T, B: g})
                slots[OUT2] = np.full(outputs, np.nan, dtype)
                how = {"rows": rows, "threads": threads, "batch": 8, "flag": native.GRADIENT}
                got = one(isa, dtype, "GEMM", (1, inputs, outputs, 1), slots, **how)
                same_bytes(got[0], weight, f"{rows} {inputs} {outputs} {isa}")
                same_bytes(got[3], bias, f"sums {rows} {inputs} {outputs} {isa}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_stacks_of_products(dtype, rng):
    for count in (0, 1, 2, 3, 8):
        a = rng.normal(size=(count, 6, 5)).astype(dtype)
        b = rng.normal(size=(1, 9, 5)).astype(dtype)
        right = np.broadcast_to(b.transpose(0, 2, 1), (count, 5, 9))
        expected = [chain(x, b[0].T.copy(), dtype.type(0)) for x in a]
        expected = np.array(expected, dtype).reshape(count, 6, 9)
        for isa in BUILDS:
            for threads in THREADS:
                slots = columns({OUT: np.full((count, 6, 9), np.nan, dtype), A: a, B: right})
                how = {"rows": count, "batch": 1, "by_row": 1, "threads": threads}
                got = one(isa, dtype, "GEMM", (1, 6, 9, 5), slots, **how)[0]
                same_bytes(got, expected, f"{count} {isa}")


# ---- losses ----


@pytest.mark.parametrize("reduction", [native.MEAN, native.SUM])
@pytest.mark.parametrize("name", ["CROSS_ENTROPY", "reals", "NLL", "MSE"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_losses_are_their_kernels(dtype, name, reduction, rng):
    for N, K in ((1, 1), (1, 7), (5, 3), (40, 17), (333, 10)):
        x = rng.normal(size=(N, K)).astype(dtype)
        y = np.abs(rng.normal(size=(N, K))).astype(dtype)
        classes, weight = rng.integers(0, K, N), np.linspace(0, 2, N).astype(dtype)
        by_class = np.linspace(0.5, 1, K).astype(dtype)
        loss, grad = np.full(2, np.nan, dtype), np.full((N, K), np.nan, dtype)
        ignored = int(classes[-1]) if N > 1 else -100
        fields = {"integer": ignored, "reduction": reduction, "batch": 1, "rows": N}
        target = y if name in ("reals", "MSE") else classes
        slots = {OUT: loss, OUT2: grad, A: x, B: target, D: weight}
        bad = Out(1, np.int64)
        if name == "MSE":
            args = (N, K, In(x), In(y), Out(2), In(weight), reduction)
            expected = call("portable", dtype, "MSECriterion_updateOutput", *args)
            args = (N, K, In(x), In(y), Out((N, K)), In(weight), 1.0, reduction)
            expected += call("portable", dtype, "MSECriterion_updateGradInput", *args)
        elif name == "NLL":
            args = (N, K, In(x), In(classes), Out(2), In(by_class), In(weight), bad, ignored)
            kernel = "ClassNLLCriterion_updateOutput"
            expected = call("portable", dtype, kernel, *args, reduction, threads=None)[:1]
            args = (N, K, In(classes), Out((N, K)), In(by_class), In(weight), bad, 1.0, ignored)
            kernel = "ClassNLLCriterion_updateGradInput"
            expected += call("portable", dtype, kernel, *args, reduction, threads=None)[:1]
            slots[C] = by_class
        else:
            reals, smoothing = name == "reals", 0.1
            args = (
                N,
                K,
                In(x),
                In(None if reals else classes),
                In(y if reals else None),
                Out(2),
                Out((N, K)),
                In(by_class),
                In(weight),
                bad,
                smoothing,
                ignored,
                reduction,
            )
            expected = call("portable", dtype, "CrossEntropyCriterion_updateOutput", *args)[:2]
            slots[C] = by_class
            fields |= {"number": smoothing, "flag": int(reals)}
        op = "CROSS_ENTROPY" if name == "reals" else name
        for isa in BUILDS:
            for threads in THREADS:
                got = one(isa, dtype, op, (1, 1, 1, K), slots, threads=threads, **fields)
                same_bytes(got[0], expected[0].reshape(2), f"{N} {K} {isa}, loss")
                same_bytes(got[1], expected[1].reshape(N, K), f"{N} {K} {isa}, gradient")
            del fields["batch"]
            got = one(isa, dtype, op, (N, 1, 1, K), {**slots, OUT2: -1}, **fields)
            same_bytes(got[0], expected[0].reshape(2), f"{N} {K} {isa}, alone")
            fields["batch"] = 1


@pytest.mark.parametrize("op", ["CROSS_ENTROPY", "NLL"])
def test_a_class_that_there_is_not(op, rng):
    x = rng.normal(size=(4, 3)).astype(F32)
    for isa in BUILDS:
        for wrong in (-1, 3, 2**40):
            bench = Bench(isa, F32)
            slots = {OUT: np.full(2, 7, F32), A: x, B: np.array([0, 1, wrong, -5])}
            bench.add(op, (1, 1, 1, 3), slots, batch=1, integer=-100, reduction=native.MEAN)
            struct, _ = bench.program()
            assert bench.build.kernels[F32].Program_run(struct, 4, 1) == native.EINDEX
            assert struct.bad_row[0] == 2
            assert (bench.arrays()[0] == 7).all()


# ---- dropout and counts ----


@pytest.mark.parametrize("gradient", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dropout_is_its_kernel(dtype, gradient, rng):
    for rows, width in ((0, 5), (1, 1), (7, 3), (33, 17), (900, 50)):
        x = rng.normal(size=(rows, width)).astype(dtype)
        name = f"Dropout_{'updateGradInput' if gradient else 'updateOutput'}"
        for rate in (0.0, 0.3, 1.0):
            args = (x.size, In(x), Out(x.size), rate, 5, 2**31 + 1, 14)
            expected = call("portable", dtype, name, *args)[0].reshape(rows, width)
            fields = {
                "number": rate,
                "seed": 5,
                "purpose": 2**31 + 1,
                "step": 3,
                "integer": 1,
                "flag": gradient,
                "batch": 1,
                "by_row": 1,
                "counters": (99, 11),
            }
            for isa in BUILDS:
                for threads in THREADS:
                    slots = {OUT: np.full_like(x, np.nan), A: x}
                    how = {**fields, "rows": rows, "threads": threads}
                    got = one(isa, dtype, "DROPOUT", (width, 1, 1, 1), slots, **how)[0]
                    same_bytes(got, expected, f"{rows} {width} {rate} {isa}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_count_is_of_the_rows_of_the_batch(dtype):
    for isa in BUILDS:
        for rows in (0, 1, 640):
            out = one(isa, dtype, "COUNT", (1, 1, 1, 1), {OUT: np.full(1, 7, dtype)}, number=2.5,
                      rows=rows)[0]  # fmt: skip
            assert out == [2.5 * rows]


# ---- programs of several calls ----

WIDTHS = [6, 9, 40, 5]
FUNCTIONS = {
    "RELU": ("Threshold_updateOutput", (0.0, 0.0)),
    "SIGMOID": ("Sigmoid_updateOutput", ()),
    "TANH": ("Tanh_updateOutput", ()),
    "SOFTMAX": ("SoftMax_updateOutput", ()),
    "LOG_SOFTMAX": ("LogSoftMax_updateOutput", ()),
}


def network(isa, dtype, last, weights):
    """Three Linears with activations and a function, for Program_predict; own buffers between."""
    bench = Bench(isa, dtype, 1)
    unit = dtype.itemsize
    x = np.zeros((0, WIDTHS[0]), dtype)
    bench.fields["input"] = bench.buffer(x, WIDTHS[0] * unit)
    h, kinds = x, [1, 0, 3]
    for i, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        y = np.zeros((0, outputs), dtype)
        bench.buffer(y, outputs * unit, own=True)
        *w, b = weights[i]
        w = np.array(w)
        slots = {OUT: Walk(y, (0, outputs, 1, 0)), A: Walk(h, (0, inputs, 1, 0)),
                 B: Walk(w, (0, outputs, 1, 0)), C: np.array(b)}  # fmt: skip
        fields = {"batch": 2, "by_row": 1, "activation": kinds[i]}
        bench.add("GEMM", (1, 1, outputs, inputs), slots, **fields)
        h = y
    y = np.zeros((0, WIDTHS[-1]), dtype)
    bench.fields["output"] = bench.buffer(y, WIDTHS[-1] * unit)
    sizes = (1, 1, 1, WIDTHS[-1]) if "SOFTMAX" in last else (WIDTHS[-1], 1, 1, 1)
    bench.add(last, sizes, {OUT: y, A: h}, batch=1, by_row=1)
    return bench


@pytest.mark.parametrize("last", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_program_is_its_calls_one_by_one(dtype, last, rng):
    weights = [rng.normal(size=(inputs + 1, outputs)).astype(dtype)
               for inputs, outputs in pairwise(WIDTHS)]  # fmt: skip
    for N in (0, 1, 7, 511, 1025, 3001):
        h = x = rng.normal(size=(N, WIDTHS[0])).astype(dtype)
        for array, activation in zip(weights, (1, 0, 3), strict=True):
            *w, b = array
            args = (N, len(w), len(b), In(h), Out((N, len(b))), In(np.array(w)), In(b), activation)
            h = call("portable", dtype, "Linear_updateOutput", *args)[0]
        name, scalars = FUNCTIONS[last]
        sizes = h.shape if "SOFTMAX" in last else (h.size,)
        h = call("portable", dtype, name, *sizes, In(h), Out(h.shape), *scalars)[0]
        for isa in BUILDS:
            bench = network(isa, dtype, last, weights)
            for threads in THREADS:
                out = bench.predict(x, np.full(h.shape, np.nan, dtype), threads)
                same_bytes(out, h, f"{isa} {N} rows, {threads} threads")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_dropout_in_blocks_draws_the_masks_of_the_batch(width, rng):
    """Also where threads begin at a row whose first element is not the first of four."""
    for N in (1, 1030, 2051):
        x = rng.normal(size=(N, width)).astype(F32)
        args = (x.size, In(x), Out(x.size), 0.5, 8, 1, 4)
        expected = call("portable", F32, "Dropout_updateOutput", *args)[0].reshape(N, width)
        for isa in BUILDS:
            bench = Bench(isa, F32)
            a, b = np.zeros((0, width), F32), np.zeros((0, width), F32)
            bench.fields["input"] = bench.buffer(a, width * 4)
            bench.fields["output"] = bench.buffer(b, width * 4)
            bench.counters = [4]
            fields = {"number": 0.5, "seed": 8, "purpose": 1, "batch": 1, "by_row": 1}
            bench.add("DROPOUT", (width, 1, 1, 1), {OUT: b, A: a}, **fields)
            for threads in THREADS:
                got = bench.predict(x, np.full_like(x, np.nan), threads)
                same_bytes(got, expected, f"{N} {threads} {isa}")


@pytest.mark.parametrize("isa", BUILDS)
def test_predict_refuses_what_does_not_fit(isa, rng):
    weights = [rng.normal(size=(i + 1, o)).astype(F32)
               for i, o in pairwise(WIDTHS)]  # fmt: skip
    x, out = np.ones((2, 6), F32), np.full((2, 5), 7, F32)
    for change in ({"count": -1}, {"buffers": 2}, {"input": 99}, {"output": -2}):
        bench = network(isa, F32, "TANH", weights)
        struct, _ = bench.program()
        for name, value in change.items():
            setattr(struct, name, value)
        kernel = bench.build.kernels[F32].Program_predict
        pointers = [bench.ffi.from_buffer("float[]", a) for a in (x, out)]
        assert kernel(struct, 2, *pointers, 1) == native.EINVAL
        assert (out == 7).all()
    bench = network(isa, F32, "TANH", weights)
    struct, _ = bench.program()
    for rows, threads in ((-1, 1), (2**60, 1), (2, 0)):
        pointers = [bench.ffi.from_buffer("float[]", a) for a in (x, out)]
        kernel = bench.build.kernels[F32].Program_predict
        assert kernel(struct, rows, *pointers, threads) == native.EINVAL
        assert (out == 7).all()
