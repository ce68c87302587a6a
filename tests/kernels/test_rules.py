"""The kernels of optimisers: by formula in exact operations, over builds, threads and segments."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F32, SIZES, THREADS, AtPageEnd, Guarded, fma, same_bytes, wild

from nnlite._core import native


def update(
    isa, w, g, states=(), *, threads=1, offset=0, place=Guarded, cuts=(), status=0, **numbers
) -> list[np.ndarray]:
    """One step on copies between guards, cut into segments; the new weight, states and numbers.

    weight_decay and l1 are those of the segments, all other numbers the optimiser's.
    """
    build = native.load_build(isa)
    copies = [place(array, offset) for array in (w, g, *states)]
    decay = {name: numbers.pop(name) for name in ("weight_decay", "l1") if name in numbers}
    ends = [*cuts, w.size]
    segments = build.ffi.new("nnl_segment[]", len(ends))
    for segment, begin, end in zip(segments, [0, *cuts], ends, strict=True):
        at = [native.pointer(copy.array[begin:end]) for copy in copies]
        segment.count, segment.weight, segment.grad = end - begin, at[0], at[1]
        segment.state[0 : len(states)] = at[2:]
        for name, value in decay.items():
            setattr(segment, name, value)
    first = {"power1": 1, "power2": 1, "momentum_decay_power": 1, "mu_product": 1}
    optimizer = build.ffi.new("nnl_optimizer*", {**first, **numbers})
    kernels = build.kernels[w.dtype]
    assert kernels.Optimizer_update(len(ends), segments, optimizer, threads) == status
    for copy, what in zip(copies, ("weight", "grad", *["state"] * len(states)), strict=True):
        copy.check(f"{isa} {what}")
    same_bytes(copies[1].array, g, "grad changed")
    if status:
        for copy, array in zip(copies, (w, g, *states), strict=True):
            same_bytes(copy.array, array)
    assert optimizer.steps == numbers.get("steps", 0) + (not status)
    return [copies[0].array, *(copy.array for copy in copies[2:])]


@pytest.mark.parametrize("momentum, decay", [(0, 0), (0, 0.01), (0.9, 0), (0.9, 0.01)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sgd(dtype, momentum, decay, rng):
    for n in SIZES:
        w, g, v = rng.normal(size=(3, n)).astype(dtype)
        step = fma(dtype.type(decay), w, g)
        velocity = fma(dtype.type(momentum), v, step) if momentum else v
        weight = fma(-dtype.type(0.1), velocity if momentum else step, w)
        numbers = {"rule": native.RULE_SGD, "lr": 0.1, "momentum": momentum, "weight_decay": decay}
        for isa in BUILDS:
            for how in ({}, {"offset": 1}, {"offset": 5}, {"place": AtPageEnd}):
                got = update(isa, w, g, [v] if momentum else [], **numbers, **how)
                same_bytes(got[0], weight, f"{isa} {n} weight")
                if momentum:
                    same_bytes(got[1], velocity, f"{isa} {n} velocity")


ADAM = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
RPROP = {"eta_minus": 0.5, "eta_plus": 1.2, "step_min": 1e-6, "step_max": 50.0}
RULES = {  # name: (number of states, settings)
    "SGD": (0, {"rule": native.RULE_SGD, "lr": 0.1}),
    "SGD momentum": (1, {"rule": native.RULE_SGD, "lr": 0.1, "momentum": 0.9, "steps": 3,
                         "dampening": 0.2, "flags": native.MAXIMIZE}),
    "SGD Nesterov": (1, {"rule": native.RULE_SGD, "lr": 0.1, "momentum": 0.9,
                         "flags": native.NESTEROV}),
    "Adam": (2, {"rule": native.RULE_ADAM, **ADAM}),
    "Adam, eps 0": (2, {"rule": native.RULE_ADAM, **ADAM, "eps": 0}),
    "AdamW AMSGrad": (3, {"rule": native.RULE_ADAM, **ADAM,
                          "flags": native.AMSGRAD | native.DECOUPLED}),
    "Adamax": (2, {"rule": native.RULE_ADAMAX, **ADAM}),
    "NAdam": (2, {"rule": native.RULE_NADAM, **ADAM, "momentum_decay_factor": 0.99}),
    "RMSprop": (1, {"rule": native.RULE_RMSPROP, **ADAM, "alpha": 0.9}),
    "RMSprop momentum": (2, {"rule": native.RULE_RMSPROP, **ADAM, "alpha": 0.9, "momentum": 0.5}),
    "RMSprop centred": (2, {"rule": native.RULE_RMSPROP, **ADAM, "alpha": 0.9,
                            "flags": native.CENTERED}),
    "RMSprop both": (3, {"rule": native.RULE_RMSPROP, **ADAM, "alpha": 0.9, "momentum": 0.5,
                         "flags": native.CENTERED}),
    "Adagrad": (1, {"rule": native.RULE_ADAGRAD, **ADAM, "lr_decay": 0.1, "steps": 7}),
    "Adadelta": (2, {"rule": native.RULE_ADADELTA, "lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    "Rprop": (2, {"rule": native.RULE_RPROP, **RPROP}),
}  # fmt: skip
EXTRAS = [
    {},
    {"weight_decay": 0.1, "l1": 0.01, "clip_value": 0.9},
    {"weight_decay": 0.1, "clip_norm": 2.0, "clip_value": 1.5},
]


def arrays(rng, count: int, n: int, dtype, make=None) -> tuple:
    """(weight, gradient, states), states above 0."""
    w, g, *states = (make or (lambda: rng.normal(size=n).astype(dtype)) for _ in range(2 + count))
    return w(), g(), [np.abs(state()) for state in states]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.slow
def test_every_build_does_the_same(dtype, name, rng):
    """Also anywhere in memory, up to the end of a page, and cut into segments."""
    states, settings = RULES[name]
    for n in SIZES:
        for extras in EXTRAS:
            w, g, s = arrays(rng, states, n, dtype)
            expected = update("portable", w, g, s, **settings, **extras)
            for isa in BUILDS:
                cuts = sorted(rng.integers(0, n + 1, 3)) if n else []
                for how in ({"offset": 3}, {"place": AtPageEnd}, {"cuts": cuts}):
                    got = update(isa, w, g, s, **settings, **extras, **how)
                    for one, other in zip(got, expected, strict=True):
                        same_bytes(one, other, f"{isa} {n} {extras} {how}")


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numbers_of_every_kind(dtype, name, rng):
    """NaN, infinities, zeros of both signs and denormal numbers give one result everywhere."""
    states, settings = RULES[name]
    for extras in EXTRAS:
        w, g, s = arrays(rng, states, 500, dtype, lambda: wild(rng, 500, dtype))
        expected = update("portable", w, g, s, **settings, **extras)
        for isa in BUILDS:
            got = update(isa, w, g, s, **settings, **extras)
            for one, other in zip(got, expected, strict=True):
                same_bytes(one, other, f"{isa} {extras}")


@pytest.mark.parametrize("name", RULES)
def test_threads_do_not_change_it(name, rng):
    states, settings = RULES[name]
    w, g, s = arrays(rng, states, 300_003, F32)
    for isa in BUILDS:
        one, *others = (
            update(isa, w, g, s, threads=count, clip_norm=2.0, **settings) for count in THREADS
        )
        for other in others:
            for a, b in zip(one, other, strict=True):
                same_bytes(a, b, isa)


def test_a_step_of_many_small_segments_has_the_norm_of_one(rng):
    w, g = rng.normal(size=(2, 20_000))
    settings = {**RULES["SGD"][1], "clip_norm": 1.0}
    expected = update("portable", w, g, **settings)[0]
    for cuts in ([1], [4095, 4096, 4097], list(range(0, 20_000, 7)), [0, 0, 8, 20_000]):
        for isa in BUILDS:
            same_bytes(update(isa, w, g, cuts=cuts, threads=3, **settings)[0], expected, isa)


REFUSED = {
    "threads": {"threads": 0},
    "rule": {"rule": 99},
    "no state": {"momentum": 0.9},
    "negative size": {"cuts": [20]},
    "Adam without state": {"rule": native.RULE_ADAM},
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, rng):
    w, g = rng.normal(size=(2, 9))
    for isa in BUILDS:
        update(isa, w, g, status=1, **{"rule": native.RULE_SGD, "lr": 0.1, **REFUSED[case]})
