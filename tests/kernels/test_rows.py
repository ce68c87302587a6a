"""Softmax, log-softmax and the losses over rows: every build against the portable one by bytes,
against wider NumPy by a bound, and logits of every extreme."""

from __future__ import annotations

import math

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
    Same,
    call,
    same_bytes,
)
from hypothesis import given
from hypothesis import strategies as st

from nnlite._core import native

INF, NAN = math.inf, math.nan
N1 = In(None)  # a null pointer
MEAN, SUM = native.MEAN, native.SUM
ROWS = [0, 1, 3]
COLUMNS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 53, 64, 100]
FORWARD = ["SoftMax_updateOutput", "LogSoftMax_updateOutput"]
BACKWARD = ["SoftMax_updateGradInput", "LogSoftMax_updateGradInput"]
WIDE = {F32: np.float64, F64: np.longdouble}


def rowwise(isa, name, *arrays, **how) -> np.ndarray:
    """A forward or backward kernel over (N, K) arrays."""
    inputs = [In(array) for array in arrays]
    shape = arrays[0].shape
    return call(isa, arrays[0].dtype, name, *shape, *inputs, Out(shape), **how)[0]


def cross_entropy(isa, x, target, reduction=MEAN, gradient=True, status=0, **how) -> list:
    """[loss, gradient, bad row] of the fused kernel; target: class indices or probabilities."""
    classes = target.ndim == 1
    indices, probabilities = (In(target), In(None)) if classes else (In(None), In(target))
    grad = Out(x.shape) if gradient else In(None)
    args = (In(x), indices, probabilities, Out(2), grad, N1, N1, Out(1, np.int64))
    name = "CrossEntropyCriterion_updateOutput"
    found = call(isa, x.dtype, name, *x.shape, *args, 0.0, -100, reduction, status=status, **how)
    if status == 0:
        assert found[0][1] == len(x)  # the total weight
    return [found[0][:1], found[1] if gradient else None, found[-1]]


def log_softmax(x: np.ndarray) -> np.ndarray:
    """The reference, in a wider type."""
    shifted = x.astype(WIDE[x.dtype]) - x.max(axis=1, keepdims=True, initial=-INF)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def logits(rng, N, K, dtype) -> np.ndarray:
    """Rows of several sizes, here and there with -inf and equal entries."""
    x = (rng.normal(size=(N, K)) * 10.0 ** rng.integers(-2, 3, (N, 1))).astype(dtype)
    x[1::2, ::5] = x[1::2, :1]
    x[2::3, 1::4] = -INF
    return x


# ---- softmax and log-softmax ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_builds_give_the_same_bytes(dtype, rng):
    for N in ROWS:
        for K in COLUMNS:
            x, dy = logits(rng, N, K, dtype), rng.normal(size=(N, K)).astype(dtype)
            for forward, backward in zip(FORWARD, BACKWARD, strict=True):
                y = rowwise("portable", forward, x)
                dx = rowwise("portable", backward, y, dy)
                for isa in BUILDS:
                    what = f"{isa} {forward} {N} x {K}"
                    for how in ({}, {"offset": 1}, {"offset": 7}, {"place": AtPageEnd}):
                        same_bytes(rowwise(isa, forward, x, **how), y, what)
                        same_bytes(rowwise(isa, backward, y, dy, **how), dx, what)
                    same_bytes(call(isa, dtype, forward, N, K, InOut(x), Same(2))[0], y, what)


@pytest.mark.parametrize("N, K", [(7001, 10), (67, 1000), (3, 50_000)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_threads_give_the_same_bytes(dtype, N, K, rng):
    x, target = logits(rng, N, K, dtype), rng.integers(0, K, N)
    x[np.arange(N), target] = 0  # finite, so that the loss is
    for isa in BUILDS:
        soft, both = [], []
        for threads in THREADS:
            soft.append(rowwise(isa, FORWARD[0], x, threads=threads))
            both.append(cross_entropy(isa, x, target, threads=threads))
        for y, (loss, gradient, _) in zip(soft[1:], both[1:], strict=True):
            same_bytes(y, soft[0])
            same_bytes(loss, both[0][0])
            same_bytes(gradient, both[0][1])
        assert np.isfinite(both[0][0]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_accuracy(dtype, rng):
    """Softmax to 8 units relative to each output, log-softmax to 4 units of |x - m| + log K."""
    unit = np.finfo(dtype).eps
    for K in COLUMNS:
        x = (rng.normal(size=(50, K)) * rng.choice([0.1, 1, 10], (50, 1))).astype(dtype)
        exact = log_softmax(x)
        y, log_y = (rowwise("portable", name, x) for name in FORWARD)
        room = np.abs(x - x.max(axis=1, keepdims=True))
        assert (np.abs(y - np.exp(exact)) <= (8 + room) * unit * np.exp(exact)).all()
        assert (np.abs(log_y - exact) <= 4 * unit * (room + math.log(K) + 1e-3)).all()
        dy = rng.normal(size=x.shape).astype(dtype)
        p, wide = np.exp(exact), dy.astype(exact.dtype)
        bound = 16 * unit * (1 + np.abs(wide).sum(axis=1, keepdims=True))
        dx = p * (wide - (p * wide).sum(axis=1, keepdims=True))
        assert (np.abs(rowwise("portable", BACKWARD[0], y, dy) - dx) <= bound).all()
        dx = wide - p * wide.sum(axis=1, keepdims=True)
        assert (
            np.abs(rowwise("portable", BACKWARD[1], log_y, dy) - dx) <= bound * (1 + room)
        ).all()


# logits, softmax, log-softmax
EXTREMES = {
    "huge": ([1e30, -1e30, 0], [1, 0, 0], [0, -2e30, -1e30]),
    "huge and equal": ([1e30, 1e30], [0.5, 0.5], [-math.log(2)] * 2),
    "hugely negative and equal": ([-1e30] * 4, [0.25] * 4, [-math.log(4)] * 4),
    "all equal": ([3.0] * 5, [0.2] * 5, [-math.log(5)] * 5),
    "one column": ([7.5], [1], [0]),
    "one column, huge": ([-1e30], [1], [0]),
    "-inf entries": ([-INF, 2, -INF, 2], [0, 0.5, 0, 0.5], [-INF, -math.log(2)] * 2),
    "far below": ([0, -1000, -2000], [1, 0, 0], [0, -1000, -2000]),
    "all -inf": ([-INF, -INF], [NAN, NAN], [NAN, NAN]),
    "one column of -inf": ([-INF], [NAN], [NAN]),
    "+inf": ([INF, 1], [NAN, NAN], [NAN, NAN]),
    "NaN": ([NAN, 1, 2], [NAN] * 3, [NAN] * 3),
    "NaN last": ([1, 2, NAN], [NAN] * 3, [NAN] * 3),
}


@pytest.mark.parametrize("case", EXTREMES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_logits(dtype, case):
    x, soft, log_soft = (np.array([row, row], dtype) for row in EXTREMES[case])
    tolerance = 4 * np.finfo(dtype).eps
    for isa in BUILDS:
        for name, expected in zip(FORWARD, (soft, log_soft), strict=True):
            np.testing.assert_allclose(
                rowwise(isa, name, x), expected, rtol=tolerance, err_msg=name
            )
        for k in range(x.shape[1]):
            target = np.array([k, k])
            loss, gradient, _ = cross_entropy(isa, x, target)
            np.testing.assert_allclose(loss[0], -log_soft[0, k], rtol=tolerance)
            expected = (soft - np.eye(x.shape[1])[target]) / 2
            np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance)


# ---- cross-entropy ----


def expected_loss(x, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """(loss of each row, its gradient), where a probability of 0 counts for nothing."""
    log_p, t = log_softmax(x), probabilities.astype(WIDE[x.dtype])
    losses = -np.where(t == 0, 0, t * np.where(t == 0, 0, log_p)).sum(axis=1)
    return losses, np.exp(log_p) * t.sum(axis=1, keepdims=True) - t


@pytest.mark.parametrize("kind", ["classes", "probabilities", "any mass"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cross_entropy(dtype, kind, rng):
    unit = np.finfo(dtype).eps
    for N in (1, 2, 5, 33):
        for K in COLUMNS:
            x, target = rng.normal(0, 3, (N, K)).astype(dtype), rng.integers(0, K, N)
            t = np.eye(K)[target]
            if kind != "classes":
                t = rng.exponential(size=(N, K)) * (rng.random((N, K)) < 0.7)
                if kind == "probabilities":
                    t /= np.maximum(t.sum(axis=1, keepdims=True), 1e-9)  # a row may be all zero
                target = t = t.astype(dtype)
            losses, gradients = expected_loss(x, t)
            for reduction, share in ((MEAN, N), (SUM, 1)):
                loss, grad, bad = cross_entropy("portable", x, target, reduction)
                assert abs(loss[0] - losses.sum() / share) <= 40 * unit * (1 + losses.sum() / share)
                mass = 1 + t.sum(axis=1, keepdims=True)
                assert (np.abs(grad * share - gradients) <= 15 * unit * mass).all()
                assert bad[0] == -1
                for isa in BUILDS:
                    for how in ({"offset": 1}, {"offset": 6, "threads": 3}, {"place": AtPageEnd}):
                        got = cross_entropy(isa, x, target, reduction, **how)
                        same_bytes(got[0], loss, f"{isa} {N} x {K}")
                        same_bytes(got[1], grad, f"{isa} {N} x {K}")
                    same_bytes(cross_entropy(isa, x, target, reduction, gradient=False)[0], loss)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_probability_of_zero_against_minus_infinity(dtype):
    x = np.array([[-INF, 1, 1], [0, -INF, -INF]], dtype)
    t = np.array([[0, 0.5, 0.5], [1, 0, 0]], dtype)
    for isa in BUILDS:
        loss, gradient, _ = cross_entropy(isa, x, t, SUM)
        assert loss[0] == dtype.type(math.log(2)) and (gradient == 0).all()
        t_hit = np.array([[0.5, 0.5, 0], [1, 0, 0]], dtype)
        assert cross_entropy(isa, x, t_hit, SUM)[0][0] == INF


# ln(1 + e^-x): two classes with logits (x, 0), the first one the target
SOFTPLUS = {-1: 1.3133, -2: 2.1269, -5: 5.0067, -10: 10, -100: 100, -1000: 1000, -2000: 2000}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cross_entropy_of_two_classes_is_softplus(dtype):
    for x, expected in SOFTPLUS.items():
        for isa in BUILDS:
            loss, gradient, _ = cross_entropy(isa, np.array([[x, 0]], dtype), np.array([0]))
            assert (
                round(float(loss[0]), 4) == expected if x > -10 else abs(loss[0] - expected) < 1e-4
            )
            p = math.exp(x) / (1 + math.exp(x))
            np.testing.assert_allclose(gradient, [[p - 1, 1 - p]], atol=np.finfo(dtype).eps)


@pytest.mark.parametrize("bad", [-1, 4, 2**62, -(2**63)])
@pytest.mark.parametrize("isa", BUILDS)
def test_losses_refuse_a_class_index(isa, bad):
    x, target = np.zeros((5, 4), F32), np.array([0, 3, 1, bad, -9])
    loss, gradient, row = cross_entropy(isa, x, target, status=native.EINDEX, threads=2)
    assert np.isnan(loss[0]) and np.isnan(gradient).all() and row[0] == 3
    how = {"threads": None, "status": native.EINDEX}
    args = (5, 4, In(x), In(target), Out(2), N1, N1, Out(1, np.int64), -100, MEAN)
    loss, row = call(isa, F32, "ClassNLLCriterion_updateOutput", *args, **how)
    assert np.isnan(loss[0]) and row[0] == 3
    args = (5, 4, In(target), Out((5, 4)), N1, N1, Out(1, np.int64), 1.0, -100, MEAN)
    gradient, row = call(isa, F32, "ClassNLLCriterion_updateGradInput", *args, **how)
    assert np.isnan(gradient).all() and row[0] == 3


# ---- negative log likelihood and mean squares ----


@pytest.mark.parametrize("reduction", [MEAN, SUM])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nll(dtype, reduction, rng):
    for N, K in ((1, 1), (3, 4), (17, 5), (5000, 3)):
        x, target = rng.normal(size=(N, K)).astype(dtype), rng.integers(0, K, N)
        share = N if reduction == MEAN else 1
        exact = -x[np.arange(N), target].astype(WIDE[dtype]).sum() / share
        expected = np.zeros((N, K), dtype)
        expected[np.arange(N), target] = dtype.type(-0.5) / dtype.type(share)
        for isa in BUILDS:
            args = (N, K, In(x), In(target), Out(2), N1, N1, Out(1, np.int64), -100, reduction)
            name = "ClassNLLCriterion_updateOutput"
            loss = call(isa, dtype, name, *args, threads=None, offset=1)[0]
            assert abs(loss[0] - exact) <= N * np.finfo(dtype).eps * np.abs(x).max() * N / share
            same_bytes(loss, call("portable", dtype, name, *args, threads=None)[0])
            args = (N, K, In(target), Out((N, K)), N1, N1, Out(1, np.int64), 0.5, -100, reduction)
            name = "ClassNLLCriterion_updateGradInput"
            gradient = call(isa, dtype, name, *args, threads=None, offset=3)[0]
            same_bytes(gradient, expected)


@pytest.mark.parametrize("reduction", [MEAN, SUM])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mse(dtype, reduction, rng):
    for n in (1, 2, 15, 16, 17, 33, 1000, 4095, 4096, 4097, 9000, 700_001):
        x, t = rng.normal(size=(2, n)).astype(dtype)
        share = dtype.type(n if reduction == MEAN else 1)
        exact = np.square(x.astype(WIDE[dtype]) - t).sum() / share
        losses, name = [], "MSECriterion_updateOutput"
        for isa in BUILDS:
            for how in ({"offset": 1}, {"place": AtPageEnd}, *({"threads": s} for s in THREADS)):
                args = (n, 1, In(x), In(t), Out(2), N1, reduction)
                losses.append(call(isa, dtype, name, *args, **how)[0])
                same_bytes(losses[-1], losses[0], f"{isa} {n} {how}")
            scale = dtype.type(2 * 0.75) / share
            args = (1, n, In(x), In(t), Out(n), N1, 0.75, reduction)
            gradient = call(isa, dtype, "MSECriterion_updateGradInput", *args, offset=1, threads=2)
            same_bytes(gradient[0], scale * (x - t), f"{isa} {n}")
        assert abs(losses[0][0] - exact) <= 300 * np.finfo(dtype).eps * exact  # n / 16 at most 256


@pytest.mark.parametrize("isa", BUILDS)
def test_the_loss_of_nothing(isa):
    """A sum of nothing is 0; its mean does not exist."""
    x, t, probabilities = np.zeros((0, 3), F32), np.zeros(0, np.int64), np.zeros((0, 3), F32)
    for target in (t, probabilities):
        assert cross_entropy(isa, x, target, SUM)[0][0] == 0
        cross_entropy(isa, x, target, MEAN, status=native.EINVAL)
    for status, reduction in ((0, SUM), (native.EINVAL, MEAN)):
        args = (0, 3, In(x), In(x), Out(2), N1, reduction)
        loss = call(isa, F32, "MSECriterion_updateOutput", *args, status=status)[0][0]
        assert loss == 0 if reduction == SUM else np.isnan(loss)
        args = (0, 3, In(x), In(t), Out(2), N1, N1, Out(1, np.int64), -100, reduction)
        how = {"threads": None, "status": status}
        loss = call(isa, F32, "ClassNLLCriterion_updateOutput", *args, **how)[0][0]
        assert loss == 0 if reduction == SUM else np.isnan(loss)


X, T = InOut(np.ones(4, F32)), InOut(np.zeros(4, np.int64))
CE, NLL = "CrossEntropyCriterion_updateOutput", "ClassNLLCriterion_updateOutput"
REFUSED = [(name, (N, K, X, X), threads) for name in FORWARD
           for N, K, threads in ((-1, 2, 1), (2, -1, 1), (2**32, 2**32, 1), (2, 2, 0))]  # fmt: skip
REFUSED += [
    (BACKWARD[0], (-1, 2, X, X, X), 1),
    (BACKWARD[1], (2, 2, X, X, X), 0),
    (CE, (-1, 2, X, T, N1, X, X, N1, N1, T, 0.0, -100, MEAN), 1),
    (CE, (2**32, 2**32, X, T, N1, X, X, N1, N1, T, 0.0, -100, MEAN), 1),
    (CE, (0, 2**62, X, T, N1, X, X, N1, N1, T, 0.0, -100, SUM), 1),
    (CE, (2, 0, X, T, N1, X, X, N1, N1, T, 0.0, -100, MEAN), 1),
    (CE, (2, 2, X, T, X, X, X, N1, N1, T, 0.0, -100, MEAN), 1),
    (CE, (2, 2, X, N1, N1, X, X, N1, N1, T, 0.0, -100, MEAN), 1),
    (CE, (2, 2, X, T, N1, X, X, N1, N1, T, 0.0, -100, 3), 1),
    (CE, (2, 2, X, T, N1, X, X, N1, N1, T, 0.0, -100, MEAN), 0),
    (CE, (2, 2, X, T, N1, X, X, N1, N1, T, 1.5, -100, MEAN), 1),
    (CE, (2, 2, X, T, N1, X, X, N1, N1, T, NAN, -100, MEAN), 1),
    (NLL, (-1, 2, X, T, X, N1, N1, T, -100, MEAN), None),
    (NLL, (2, 2, X, T, X, N1, N1, T, -100, 0), None),
    ("ClassNLLCriterion_updateGradInput", (2, 2**62, T, X, N1, N1, T, 1.0, -100, MEAN), None),
    ("MSECriterion_updateOutput", (-1, 1, X, X, X, N1, SUM), 1),
    ("MSECriterion_updateOutput", (2, 2, X, X, X, N1, 7), 1),
    ("MSECriterion_updateOutput", (2**32, 2**32, X, X, X, N1, SUM), 1),
    ("MSECriterion_updateGradInput", (1, -1, X, X, X, N1, 1.0, SUM), 1),
    ("MSECriterion_updateGradInput", (2, 2, X, X, X, N1, 1.0, MEAN), 0),
    ("count_correct", (2, -2, X, T, -100, T), None),
    ("Dropout_updateOutput", (-1, X, X, 0.5, 1, 2, 3), 1),
    ("Dropout_updateOutput", (4, X, X, 1.5, 1, 2, 3), 1),
    ("Dropout_updateOutput", (4, X, X, NAN, 1, 2, 3), 1),
    ("Dropout_updateGradInput", (4, X, X, -0.1, 1, 2, 3), 1),
    ("Dropout_updateGradInput", (4, X, X, 0.5, 1, 2, 3), 0),
]


@pytest.mark.parametrize("name, args, threads", REFUSED)
def test_refuses_sizes_and_settings(name, args, threads):
    for isa in BUILDS:
        call(isa, F32, name, *args, threads=threads, status=native.EINVAL)


@given(
    N=st.integers(0, 20),
    K=st.integers(1, 300),
    offset=st.integers(0, 15),
    threads=st.sampled_from(THREADS),
    dtype=st.sampled_from(DTYPES),
)
def test_any_shape_gives_the_same_bytes(N, K, offset, threads, dtype):
    rng = np.random.default_rng(N * 301 + K)
    x, target = logits(rng, N, K, dtype), rng.integers(0, K, N)
    how = {"offset": offset, "threads": threads}
    soft = {name: rowwise("portable", name, x) for name in FORWARD}
    loss = cross_entropy("portable", x, target, SUM)
    for isa in OTHERS:
        for name in FORWARD:
            same_bytes(rowwise(isa, name, x, **how), soft[name], isa)
        for got, expected in zip(cross_entropy(isa, x, target, SUM, **how), loss, strict=True):
            same_bytes(got, expected, isa)
