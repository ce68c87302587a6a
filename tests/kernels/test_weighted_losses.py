"""Weights of classes and samples, smoothing, ignored rows: the kernels of every build against each
other by bytes, and against independent formulas in a wider type."""

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
    Out,
    call,
    same_bytes,
)
from hypothesis import given
from hypothesis import strategies as st

import nnlite as nn
from nnlite._core import native
from nnlite.program.rows import Rows
from nnlite.train._eager import train_batch

MEAN, SUM = native.MEAN, native.SUM
WIDE = {F32: np.float64, F64: np.longdouble}
SHAPES = [(1, 1), (1, 5), (4, 2), (5, 16), (7, 17), (33, 10), (3, 100)]
IGNORED = -7


def cross_entropy(
    isa, x, target, of_class=None, of_row=None, smoothing=0.0, ignore=IGNORED, reduction=MEAN,
    gradient=True, status=0, **how,
) -> list:  # fmt: skip
    """[loss and total weight, gradient] of the fused kernel."""
    classes = target.ndim == 1
    targets = (In(target), In(None)) if classes else (In(None), In(target))
    args = (In(x), *targets, Out(2), Out(x.shape) if gradient else In(None), In(of_class))
    args += (In(of_row), Out(1, np.int64), smoothing, ignore, reduction)
    name = "CrossEntropyCriterion_updateOutput"
    found = call(isa, x.dtype, name, *x.shape, *args, status=status, **how)
    return found[:2] if gradient else [found[0]]


def expected(x, target, of_class, of_row, smoothing, reduction) -> tuple:
    """(loss, total weight, gradient), by the definitions, in the wider type."""
    wide = WIDE[x.dtype]
    N, K = x.shape
    log_p = x.astype(wide) - x.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    w = np.ones(K, wide) if of_class is None else of_class.astype(wide)
    s = np.ones(N, wide) if of_row is None else of_row.astype(wide)
    if target.ndim == 1:
        kept = target != IGNORED
        t, s = np.eye(K, dtype=wide)[np.where(kept, target, 0)], s * kept
        row_weight = s * w[np.where(kept, target, 0)]
    else:
        t, row_weight = target.astype(wide), s
    t = ((1 - wide(smoothing)) * t + wide(smoothing) / K) * w
    share = row_weight.sum() if reduction == MEAN else 1
    loss = (s * -(t * log_p).sum(axis=1)).sum() / share
    gradient = (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t) * s[:, None] / share
    return loss, row_weight.sum(), gradient


def case(rng, N, K, dtype, kind, weighted, by_row):
    """(x, target, class weights, sample weights); at least one row counts."""
    x = rng.normal(0, 2, (N, K)).astype(dtype)
    if kind == "classes":
        target = rng.integers(0, K, N)
        target[1::3] = IGNORED
    else:
        target = rng.exponential(size=(N, K)).astype(dtype)
    of_class = rng.uniform(0.2, 2, K).astype(dtype) if weighted else None
    of_row = rng.uniform(0.2, 2, N).astype(dtype) if by_row else None
    if by_row and N > 2:
        of_row[2] = 0
    return x, target, of_class, of_row


@pytest.mark.parametrize("by_row", [False, True], ids=["rows alike", "rows weighted"])
@pytest.mark.parametrize("weighted", [False, True], ids=["classes alike", "classes weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["classes", "probabilities"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cross_entropy(dtype, kind, smoothing, weighted, by_row, rng):
    unit = np.finfo(dtype).eps
    for N, K in SHAPES:
        x, target, *weights = case(rng, N, K, dtype, kind, weighted, by_row)
        for reduction in (MEAN, SUM):
            how = {"smoothing": smoothing, "reduction": reduction}
            found, gradient = cross_entropy("portable", x, target, *weights, **how)
            loss, total, exact = expected(x, target, *weights, smoothing, reduction)
            assert abs(found[0] - loss) <= 60 * unit * (1 + abs(loss))
            assert abs(found[1] - total) <= 8 * unit * total
            mass = 1 if kind == "classes" else target.sum(axis=1, keepdims=True)
            assert (np.abs(gradient - exact) <= 60 * unit * (1 + mass)).all()
            for isa in BUILDS:
                for more in ({"offset": 1}, {"offset": 6, "threads": 3}, {"place": AtPageEnd}):
                    got = cross_entropy(isa, x, target, *weights, **how, **more)
                    same_bytes(got[0], found, f"{isa} {N} x {K}")
                    same_bytes(got[1], gradient, f"{isa} {N} x {K}")
                got = cross_entropy(isa, x, target, *weights, gradient=False, **how)
                same_bytes(got[0], found, f"{isa} {N} x {K} without gradient")


def nll(isa, x, target, of_class, of_row, reduction=MEAN, gradient=0.5, status=0) -> list:
    """[loss and total weight, gradient]."""
    how = {"threads": None, "status": status, "offset": 3}
    args = (Out(2), In(of_class), In(of_row), Out(1, np.int64), IGNORED, reduction)
    name = "ClassNLLCriterion_updateOutput"
    found = call(isa, x.dtype, name, *x.shape, In(x), In(target), *args, **how)[0]
    args = (Out(x.shape), In(of_class), In(of_row), Out(1, np.int64), gradient, IGNORED, reduction)
    name = "ClassNLLCriterion_updateGradInput"
    return [found, call(isa, x.dtype, name, *x.shape, In(target), *args, **how)[0]]


@pytest.mark.parametrize("reduction", [MEAN, SUM])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nll(dtype, reduction, rng):
    unit = np.finfo(dtype).eps
    for N, K in SHAPES:
        x, target, of_class, of_row = case(rng, N, K, dtype, "classes", True, True)
        wide, kept = x.astype(WIDE[dtype]), target != IGNORED
        r = np.where(kept, of_class.astype(WIDE[dtype])[np.where(kept, target, 0)] * of_row, 0)
        share = r.sum() if reduction == MEAN else 1
        loss = -(wide[np.arange(N), np.where(kept, target, 0)] * r).sum() / share
        exact = np.zeros_like(wide)
        exact[np.flatnonzero(kept), target[kept]] = -0.5 * r[kept] / share
        found, gradient = nll("portable", x, target, of_class, of_row, reduction)
        room = 8 * unit * np.abs(x).max() * (r.sum() / share)
        assert abs(found[0] - loss) <= room and abs(found[1] - r.sum()) <= 4 * unit * r.sum()
        assert (np.abs(gradient - exact) <= 8 * unit * np.abs(exact)).all()
        for isa in OTHERS:
            got = nll(isa, x, target, of_class, of_row, reduction)
            same_bytes(got[0], found, isa)
            same_bytes(got[1], gradient, isa)


def mse(isa, x, t, of_row, reduction=MEAN, status=0, **how) -> list:
    """[loss and total weight, gradient]."""
    name, how = "MSECriterion_updateOutput", {**how, "status": status}
    args = (*x.shape, In(x), In(t), Out(2), In(of_row), reduction)
    found = call(isa, x.dtype, name, *args, **how)[0]
    args = (*x.shape, In(x), In(t), Out(x.shape), In(of_row), 0.75, reduction)
    return [found, call(isa, x.dtype, "MSECriterion_updateGradInput", *args, **how)[0]]


@pytest.mark.parametrize("reduction", [MEAN, SUM])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mse(dtype, reduction, rng):
    unit = np.finfo(dtype).eps
    for N, K in ((1, 1), (5, 1), (1, 17), (33, 3), (4097, 1), (3, 5000), (70_001, 2)):
        x, t = rng.normal(size=(2, N, K)).astype(dtype)
        of_row = rng.uniform(0.5, 2, N).astype(dtype)
        of_row[1::7] = 0
        difference = x.astype(WIDE[dtype]) - t
        share = of_row.astype(WIDE[dtype]).sum() * K if reduction == MEAN else 1
        loss = (of_row[:, None] * difference**2).sum() / share
        exact = 1.5 * of_row[:, None] * difference / share
        found, gradient = mse("portable", x, t, of_row, reduction)
        assert abs(found[0] - loss) <= 400 * unit * loss
        assert abs(found[1] - of_row.sum(dtype=WIDE[dtype])) <= 300 * unit * found[1]
        assert (np.abs(gradient - exact) <= 400 * unit * np.abs(exact) + unit**2).all()
        for isa in BUILDS:
            for how in ({"offset": 1}, {"place": AtPageEnd}, *({"threads": s} for s in THREADS)):
                got = mse(isa, x, t, of_row, reduction, **how)
                same_bytes(got[0], found, f"{isa} {N} x {K} {how}")
                same_bytes(got[1], gradient, f"{isa} {N} x {K} {how}")


@pytest.mark.parametrize("reduction", [MEAN, SUM])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("isa", BUILDS)
def test_weights_of_one_give_the_bits_of_no_weights(isa, dtype, reduction, rng):
    for N, K in SHAPES:
        x, target = rng.normal(size=(N, K)).astype(dtype), rng.integers(0, K, N)
        t, ones, of_row = rng.random((N, K)).astype(dtype), np.ones(K, dtype), np.ones(N, dtype)
        how = {"reduction": reduction}
        pairs = [(cross_entropy(isa, x, target, ones, of_row, **how),
                  cross_entropy(isa, x, target, **how)),
                 (cross_entropy(isa, x, t, ones, of_row, **how), cross_entropy(isa, x, t, **how)),
                 (nll(isa, x, target, ones, of_row, **how), nll(isa, x, target, None, None, **how)),
                 (mse(isa, x, t, of_row, **how), mse(isa, x, t, None, **how))]  # fmt: skip
        for weighted, plain in pairs:
            same_bytes(weighted[0], plain[0])
            same_bytes(weighted[1], plain[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("isa", BUILDS)
def test_rows_of_weight_0_are_as_if_left_out(isa, dtype, rng):
    """Whatever they hold: nothing of it reaches the loss, and their gradient is 0."""
    x, target = rng.normal(size=(6, 5)).astype(dtype), rng.integers(0, 5, 6)
    t, weight = rng.random((6, 5)).astype(dtype), np.array([1, 0, 2, 0, 1, 3], dtype)
    rest = weight > 0
    x[1], x[3, 0] = np.nan, np.inf
    ignored = np.where(rest, target, IGNORED)
    pairs = [(cross_entropy(isa, x, target, None, weight),
              cross_entropy(isa, x[rest], target[rest], None, weight[rest])),
             (cross_entropy(isa, x, ignored), cross_entropy(isa, x[rest], target[rest])),
             (cross_entropy(isa, x, ignored, smoothing=0.2),
              cross_entropy(isa, x[rest], target[rest], smoothing=0.2)),
             (cross_entropy(isa, x, t, None, weight),
              cross_entropy(isa, x[rest], t[rest], None, weight[rest])),
             (nll(isa, x, ignored, None, weight),
              nll(isa, x[rest], target[rest], None, weight[rest])),
             (mse(isa, x, t, weight), mse(isa, x[rest], t[rest], weight[rest]))]  # fmt: skip
    for (loss, gradient), (loss_rest, gradient_rest) in pairs:
        np.testing.assert_allclose(loss, loss_rest, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_allclose(gradient[rest], gradient_rest, rtol=4 * np.finfo(dtype).eps)
        assert (gradient[~rest] == 0).all()


@pytest.mark.parametrize("isa", BUILDS)
def test_a_class_of_weight_0_is_as_if_ignored(isa, rng):
    x, target = rng.normal(size=(9, 3)).astype(F32), np.arange(9) % 3
    x[target == 1, 0] = np.nan
    of_class, ignored = np.array([1, 0, 1], F32), np.where(target == 1, IGNORED, target)
    for got, rest in ((cross_entropy(isa, x, target, of_class), cross_entropy(isa, x, ignored)),
                      (nll(isa, x, target, of_class, None),
                       nll(isa, x, ignored, None, None))):  # fmt: skip
        same_bytes(got[0], rest[0])
        same_bytes(got[1], rest[1])


@pytest.mark.parametrize("isa", BUILDS)
def test_when_nothing_is_left(isa):
    """The mean of no rows is NaN, their sum 0; the gradient is 0, the total weight 0."""
    x, target, none = np.ones((3, 4), F32), np.full(3, IGNORED), np.zeros(3, F32)
    for reduction in (MEAN, SUM):
        for loss, gradient in (
            cross_entropy(isa, x, target, reduction=reduction),
            cross_entropy(isa, x, target, smoothing=0.1, reduction=reduction),
            cross_entropy(isa, x, x, None, none, reduction=reduction),
            nll(isa, x, target, None, None, reduction),
            mse(isa, x, x, none, reduction),
        ):
            assert np.isnan(loss[0]) if reduction == MEAN else loss[0] == 0
            assert loss[1] == 0 and (gradient == 0).all()


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
def test_a_mean_of_rows_that_weigh_0_is_nan_when_smoothed(isa, smoothing):
    """As without smoothing: shares in the smoothed target are divided by 0. The sum exists."""
    x, weight = np.eye(4, 3, dtype=F32), np.array([0, 1, 2], F32)
    for target in (np.zeros(4, np.int64), np.array([0, IGNORED, 0, 0])):
        loss, gradient = cross_entropy(isa, x, target, weight, smoothing=smoothing)
        assert np.isnan(loss[0]) and loss[1] == 0 and (gradient == 0).all()
        loss, gradient = cross_entropy(isa, x, target, weight, None, smoothing, reduction=SUM)
        wanted = expected(x, target, weight, None, smoothing, SUM)
        np.testing.assert_allclose(loss[0], wanted[0], rtol=1e-6)
        np.testing.assert_allclose(gradient, wanted[2], rtol=1e-5, atol=1e-7)
        assert loss[0] > 0 and (gradient[0] != 0).all()
    kept = np.array([0, 1, 0, IGNORED])  # one row that weighs something is enough
    loss, gradient = cross_entropy(isa, x, kept, weight, smoothing=smoothing)
    assert np.isfinite(loss[0]) and (gradient[:3] != 0).all() and (gradient[3] == 0).all()


def test_smoothed_rows_of_weight_0_train_by_their_sum_alone():
    x, y = np.eye(4, 3, dtype=F32), np.zeros(4, np.int64)
    for reduction, moves in (("mean", False), ("sum", True)):
        seen = []
        for eager in (False, True):
            nn.manual_seed(1)
            model = nn.Sequential(nn.Linear(3, 3))
            loss = nn.SoftmaxCE(reduction, weight=[0, 1, 1], label_smoothing=0.1)
            optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
            first = model[0].weight.data.copy()
            if eager:
                train_batch(model, loss, optimizer, Rows(x, y))
            else:
                nn.Trainer(model, loss, optimizer).train_step(x, y)
            assert (model[0].weight.data != first).any() == moves
            seen.append(model[0].weight.data.copy())
        same_bytes(*seen)


def test_the_formula_of_further_derivatives_knows_it_too():
    x = nn.tensor(np.eye(4, 3), requires_grad=True)
    y, weight = np.zeros(4, np.int64), np.array([0.0, 1, 1])
    for reduction in ("mean", "sum"):
        loss = nn.autograd.softmax_ce(x, y, reduction, weight, 0.1)
        (kernel,) = nn.autograd.grad(loss, [x])
        loss = nn.autograd.softmax_ce(x, y, reduction, weight, 0.1)
        (formula,) = nn.autograd.grad(loss, [x], create_graph=True)
        np.testing.assert_allclose(formula.detach().numpy(), np.asarray(kernel), atol=1e-12)


def test_ignore_index_may_be_a_class():
    x, target = np.eye(3, dtype=F64), np.array([0, 1, 2])
    loss, gradient = cross_entropy("portable", x, target, ignore=1)
    assert loss[1] == 2 and (gradient[1] == 0).all() and (gradient[[0, 2]] != 0).all()


@pytest.mark.parametrize("bad", [-1e-30, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("isa", BUILDS)
def test_refuses_a_weight(isa, bad):
    x, target, ok, wrong = np.ones((3, 3), F32), np.zeros(3, np.int64), np.ones(3, F32), None
    wrong = np.array([1, bad, 1], F32)
    how = {"status": native.EWEIGHT}
    for of_class, of_row in ((wrong, ok), (ok, wrong)):
        cross_entropy(isa, x, target, of_class, of_row, **how)
        cross_entropy(isa, x, x, of_class, of_row, smoothing=0.1, **how)
        nll(isa, x, target, of_class, of_row, **how)
    mse(isa, x, x, wrong, **how)


@given(
    N=st.integers(0, 20),
    K=st.integers(1, 70),
    smoothing=st.sampled_from([0.0, 0.3]),
    kind=st.sampled_from(["classes", "probabilities"]),
    weights=st.tuples(st.booleans(), st.booleans()),
    offset=st.integers(0, 15),
    threads=st.sampled_from(THREADS),
    dtype=st.sampled_from(DTYPES),
)
def test_any_shape_gives_the_same_bytes(N, K, smoothing, kind, weights, offset, threads, dtype):
    x, target, *w = case(np.random.default_rng(N * 71 + K), N, K, dtype, kind, *weights)
    how = {"smoothing": smoothing, "reduction": SUM}
    first = cross_entropy("portable", x, target, *w, **how)
    for isa in OTHERS:
        again = cross_entropy(isa, x, target, *w, **how, offset=offset, threads=threads)
        same_bytes(again[0], first[0], isa)
        same_bytes(again[1], first[1], isa)


# ---- the count of correct rows ----


def count(isa, x, target, ignore=IGNORED, **how) -> int:
    args = (*x.shape, In(x), In(target), ignore, Out(1, np.int64))
    return int(call(isa, x.dtype, "count_correct", *args, threads=None, **how)[0][0])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_count_correct(dtype, rng):
    for N, K in ((0, 3), (1, 1), (40, 2), (40, 10), (40, 16), (30, 17), (20, 33), (9, 200)):
        x = rng.integers(-2, 3, (N, K)).astype(dtype)  # many ties
        x[::7] = -np.inf
        target = rng.integers(0, K, N)
        target[::2] = x.argmax(axis=1)[::2]
        target[5::11] = IGNORED
        right = x.argmax(axis=1) == target
        for isa in BUILDS:
            for how in ({}, {"offset": 5}, {"place": AtPageEnd}):
                assert count(isa, x, target, **how) == right.sum(), f"{isa} {N} x {K}"
        if N and K > 1:
            x[3 % N, -1] = x[8 % N, 0] = np.nan
            right[[3 % N, 8 % N]] = False
            target[6 % N], right[6 % N] = K, False  # no class
            for isa in BUILDS:
                assert count(isa, x, target) == right.sum(), f"{isa} {N} x {K} with NaN"
