"""Numbers below the normal range: no gradient and no state of an optimiser is stored there, in any
build; values of forward passes may lie there."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F32, THREADS, In, InOut, Out, call, flushed, same_bytes, wild
from test_rules import update

import nnlite as nn
from nnlite._core import native
from nnlite.program.rows import Rows
from nnlite.train._eager import train_batch

TINY = {dtype: np.finfo(dtype).tiny for dtype in DTYPES}
LEAST_SQUARE = {dtype: np.sqrt(np.finfo(dtype).tiny) for dtype in DTYPES}


def subnormal(x: np.ndarray) -> np.ndarray:
    return (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny)


def around(rng: np.random.Generator, shape, dtype) -> np.ndarray:
    """Numbers of both signs from far below the smallest normal one to a little above."""
    size = np.ldexp(np.ones((), dtype), rng.integers(-12, 12, shape)).astype(dtype)
    return (rng.choice([-1, 1], shape) * rng.uniform(1, 2, shape)).astype(dtype) * (
        size * TINY[dtype]
    ).astype(dtype)


# ---- gradients of layers and losses ----


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_elementwise_gradients(isa, dtype, rng):
    n = 1003
    one = dtype.type(1)
    y, dy = rng.uniform(0.1, 0.9, n).astype(dtype), around(rng, n, dtype)
    x = rng.normal(size=n).astype(dtype)
    wanted = {
        "Sigmoid": dy * (y * (one - y)),
        "Threshold": np.where(x <= 0, dtype.type(0), dy),
    }
    (got,) = call(isa, dtype, "Sigmoid_updateGradInput", n, In(y), In(dy), Out(n))
    same_bytes(got, flushed(wanted["Sigmoid"]))
    (got,) = call(isa, dtype, "Threshold_updateGradInput", n, In(x), In(dy), Out(n), 0.0)
    same_bytes(got, flushed(wanted["Threshold"]))
    (got,) = call(isa, dtype, "Tanh_updateGradInput", n, In(np.zeros(n, dtype)), In(dy), Out(n))
    same_bytes(got, flushed(dy))
    assert subnormal(dy).any() and (got[~subnormal(dy)] == dy[~subnormal(dy)]).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_losses_and_softmaxes(dtype, rng):
    """The gradient is that of larger rows, flushed, and the values keep what lies below."""
    N, K = 13, 21
    low = np.log(TINY[dtype])
    x = rng.uniform(low - 8, low + 8, (N, K)).astype(dtype)
    x[:, 0] = 0
    classes = np.zeros(N, np.int64)
    for isa in BUILDS:
        (p,) = call(isa, dtype, "SoftMax_updateOutput", N, K, In(x), Out((N, K)))
        loss, dx, _ = call(
            isa, dtype, "CrossEntropyCriterion_updateOutput", N, K, In(x), In(classes), In(None),
            Out(2), Out((N, K)), In(None), In(None), Out(1, np.int64), 0.0, -100, native.SUM,
        )  # fmt: skip
        assert subnormal(p).any() and not subnormal(dx).any() and loss[1] == N
        same_bytes(dx[:, 1:], flushed(p[:, 1:]), isa)
        dy = around(rng, (N, K), dtype)
        for name in ("SoftMax", "LogSoftMax"):
            (dx,) = call(isa, dtype, f"{name}_updateGradInput", N, K, In(p), In(dy), Out((N, K)))
            assert not subnormal(dx).any(), name
        t = np.zeros((N, K), dtype)
        args = (N, K, In(dy), In(t), Out((N, K)), In(None), 1.0, native.SUM)
        (dx,) = call(isa, dtype, "MSECriterion_updateGradInput", *args)
        same_bytes(dx, flushed(2 * dy), isa)
        weight = np.full(N, TINY[dtype] / 2, dtype)
        (dx, _) = call(
            isa, dtype, "ClassNLLCriterion_updateGradInput", N, K, In(classes), Out((N, K)),
            In(None), In(weight), Out(1, np.int64), 1.0, -100, native.SUM, threads=None,
        )  # fmt: skip
        assert (dx == 0).all()


# ---- products ----


def acc(isa, x, dy, weight, bias, threads=1) -> list[np.ndarray]:
    (N, D), K = x.shape, dy.shape[1]
    return call(
        isa, x.dtype, "Linear_accGradParameters", N, D, K, In(x), In(dy), InOut(weight),
        InOut(bias), 1.0, threads=threads,
    )  # fmt: skip


@pytest.mark.parametrize("N", [3, 40, 2500])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_chain_is_flushed_at_its_end_alone(dtype, N):
    """Partial sums, which blocks of terms store, lie below the range; the last term decides."""
    tiny, D = TINY[dtype], 33
    for K in (1, 5, 16, 47):
        x, dy = np.ones((N, D), dtype), np.full((N, K), tiny / 4096, dtype)
        for last in (tiny, -tiny, tiny / 8, -tiny / 8):
            dy[-1] = last
            total = dtype.type((N - 1) * tiny / 4096 + last)
            wanted = flushed(np.array([total]))[0]
            for isa in BUILDS:
                for threads in THREADS:
                    zeros = np.zeros((D, K), dtype), np.zeros(K, dtype)
                    dw, db = acc(isa, x, dy, *zeros, threads)
                    same_bytes(dw, np.full((D, K), wanted), f"{isa} weight {K}")
                    same_bytes(db, np.full(K, wanted), f"{isa} bias {K}")


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_that_are_added_to(isa, dtype):
    """Each call stores a gradient of its own: what two small ones would make together is lost."""
    tiny = TINY[dtype]
    x, dy = np.ones((1, 20), dtype), np.full((1, 30), tiny / 2, dtype)
    zero = np.zeros((20, 30), dtype), np.zeros(30, dtype)
    once = acc(isa, x, dy, *zero)
    assert all((part == 0).all() for part in acc(isa, x, dy, *once))
    stored = np.full((20, 30), tiny, dtype), np.full(30, tiny, dtype)
    for part in acc(isa, x, dy, *stored):
        assert (part == dtype.type(1.5 * tiny)).all()
    for part in acc(isa, x, -dy, *stored):
        same_bytes(part, np.zeros_like(part))
    for part in acc(isa, x, -dy / 2, *zero):
        same_bytes(part, np.full_like(part, -0.0), "the sign stays")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_inputs_gradients_and_forward_products(dtype, rng):
    """dx is flushed, through an activation too; forward products and a gemm of values are not."""
    for N, D, K in [(1, 1, 1), (5, 40, 3), (33, 17, 12), (64, 70, 40)]:
        dy, w = around(rng, (N, K), dtype), np.zeros((D, K), dtype)
        w[:, 0] = rng.choice([0.5, 1, 2], D)
        y = rng.uniform(0.1, 0.9, (N, D)).astype(dtype)
        product = dy[:, :1] * w[None, :, 0]
        for isa in BUILDS:
            (dx,) = call(
                isa, dtype, "Linear_updateGradInput", N, D, K, In(dy), Out((N, D)), In(w),
                In(None), 0,
            )  # fmt: skip
            same_bytes(dx + 0, flushed(product) + 0, isa)
            name, size = "Sigmoid_updateGradInput", N * D
            (after,) = call(isa, dtype, name, size, In(y), In(dx), Out((N, D)))
            (dx,) = call(
                isa, dtype, "Linear_updateGradInput", N, D, K, In(dy), Out((N, D)), In(w), In(y),
                native.SIGMOID,
            )  # fmt: skip
            same_bytes(dx, after, isa)
        same_bytes(nn.functional.matmul(dy, w, False, True) + 0, product + 0)
        got = nn.functional.matmul(dy, w, False, True, gradient=True)
        same_bytes(got + 0, flushed(product) + 0)


def test_products_of_tensors():
    x = nn.tensor(np.full((4, 3), 1e-30, F32), requires_grad=True)
    w = nn.tensor(np.full((3, 2), 1e-9, F32), requires_grad=True)
    (x @ w).backward(np.full((4, 2), 1e-9, F32))
    assert (w.grad == 0).all() and (x.grad > 0).all()


# ---- optimisers ----

ADAM = {"rule": native.RULE_ADAM, "lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
MEANS = {
    "Adam": (ADAM, 2),
    "AMSGrad": ({**ADAM, "flags": native.AMSGRAD}, 3),
    "NAdam": ({**ADAM, "rule": native.RULE_NADAM, "momentum_decay_factor": 0.99}, 2),
    "Adamax": ({**ADAM, "rule": native.RULE_ADAMAX}, 2),
    "RMSprop": ({"rule": native.RULE_RMSPROP, "lr": 0.1, "alpha": 0.99, "eps": 1e-8}, 1),
    "centred": (
        {"rule": native.RULE_RMSPROP, "flags": native.CENTERED, "lr": 0.1, "alpha": 0.99,
         "momentum": 0.9, "eps": 1e-8}, 3,
    ),
    "Adagrad": ({"rule": native.RULE_ADAGRAD, "lr": 0.1, "eps": 1e-10}, 1),
    "Adadelta": ({"rule": native.RULE_ADADELTA, "lr": 0.1, "rho": 0.9, "eps": 1e-6}, 2),
    "momentum": ({"rule": native.RULE_SGD, "lr": 0.1, "momentum": 0.9}, 1),
    "Rprop": (
        {"rule": native.RULE_RPROP, "lr": 0.1, "eta_minus": 0.5, "eta_plus": 1.2,
         "step_min": 1e-6, "step_max": 50}, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_states_stay_out(name, dtype, rng):
    """Whatever the gradients and states before; and every build does the same."""
    numbers, count = MEANS[name]
    n = 501
    w = rng.normal(size=n).astype(dtype)
    states = [np.abs(around(rng, n, dtype)) * (rng.random(n) < 0.7) for _ in range(count)]
    for square in (False, True):
        g = around(rng, n, dtype)
        if square:
            g = (g / LEAST_SQUARE[dtype]).astype(dtype)
        found = [update(isa, w, g, states, **numbers) for isa in BUILDS]
        for got in found:
            assert not any(subnormal(state).any() for state in got[1:]), name
            for part, first in zip(got, found[-1], strict=True):
                same_bytes(part, first, name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_squares_below_the_range_are_zero(dtype):
    """As v = beta2 v + (1 - beta2) g^2 in plain operations, with g^2 = 0 there."""
    least = dtype.type(LEAST_SQUARE[dtype])
    g = np.array([least, np.nextafter(least, dtype.type(0)), least / 8, 4 * least], dtype)
    v = np.full(4, 100 * TINY[dtype], dtype)
    _, _, found = update("portable", np.zeros(4, dtype), g, [np.zeros(4, dtype), v], **ADAM)
    kept = dtype.type(0.999) * v
    assert (found[1:3] == kept[1:3]).all() and (found[[0, 3]] > kept[[0, 3]]).all()
    _, s = update("portable", np.zeros(4, dtype), g, [v], **MEANS["Adagrad"][0])
    assert (s[1:3] == v[1:3]).all() and (s[[0, 3]] > v[[0, 3]]).all()
    norm, part = np.zeros(1), nn.Parameter(g[1:3].copy())
    part.grad = g[1:3]
    norm = nn.optim.clip_grad_norm_(part, 1.0)
    assert norm == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gradient_below_the_range_is_no_step(dtype):
    w, g = np.zeros(40, dtype), np.full(40, TINY[dtype] / 2, dtype)
    for isa in BUILDS:
        (got,) = update(isa, w, g, rule=native.RULE_SGD, lr=1e3)
        assert (got == 0).all()


def test_where_eps_does_not_hide_it_the_square_stays():
    """A rule that divides by the root alone would divide by 0, or by almost nothing."""
    for eps in (0.0, 1e-30):
        g = np.full(5, 1e-20, F32)
        got = update(
            "portable", np.zeros(5, F32), g, [np.zeros(5, F32)] * 2, **{**ADAM, "eps": eps}
        )
        assert (np.abs(got[0]) < 1).all() and (got[0] < 0).all()


# ---- training ----


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 3))


@pytest.mark.parametrize("threads", [1, 2])
def test_training_stores_none_and_goes_as_module_by_module(threads, rng):
    """Rows of 1e-20 under logits of -60: gradients of all sizes down to nothing."""
    X = (rng.normal(size=(64, 8)) * 10.0 ** rng.integers(-30, 1, (64, 8))).astype(F32)
    y = rng.integers(0, 3, 64)
    models, before = [], nn.get_num_threads()
    nn.set_num_threads(threads)
    try:
        for eager in (False, True):
            nn.manual_seed(3)
            model = network()
            model[2].bias.data[:] = [70, 0, -20]
            optimizer = nn.optim.Adam(model.parameters(), lr=1e-6)
            if eager:
                for _ in range(3):
                    train_batch(model, nn.SoftmaxCE(), optimizer, Rows(X, y))
            else:
                trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
                for _ in range(3):
                    trainer.train_step(X, y)
            models.append(model)
            for parameter in model.parameters():
                assert not subnormal(parameter.grad).any()
            assert not any(subnormal(state).any() for state in optimizer.state.values())
    finally:
        nn.set_num_threads(before)
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        same_bytes(a.data, b.data)
        same_bytes(a.grad, b.grad)


def test_every_build_flushes_alike(rng):
    for dtype in DTYPES:
        n = 4099
        x, dy = wild(rng, n, dtype), wild(rng, n, dtype)
        for name in ("Tanh_updateGradInput", "Sigmoid_updateGradInput"):
            found = [call(isa, dtype, name, n, In(x), In(dy), Out(n))[0] for isa in BUILDS]
            for got in found:
                same_bytes(got, found[-1], name)
                assert not subnormal(got).any()
