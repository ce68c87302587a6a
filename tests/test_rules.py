"""The kernels of optimisers: by formula in exact operations, over builds, threads and segments."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F32, SIZES, THREADS, AtPageEnd, Guarded, fma, same_bytes

from nnlite import _native


def update(
    isa, w, g, states=(), *, threads=1, offset=0, place=Guarded, cuts=(), status=0, **numbers
) -> list[np.ndarray]:
    """One step on copies between guards, cut into segments; the new weight, states and numbers.

    weight_decay and l1 are those of the segments, all other numbers the optimiser's.
    """
    build = _native.load_build(isa)
    copies = [place(array, offset) for array in (w, g, *states)]
    decay = {name: numbers.pop(name) for name in ("weight_decay", "l1") if name in numbers}
    ends = [*cuts, w.size]
    segments = build.ffi.new("nnl_segment[]", len(ends))
    for segment, begin, end in zip(segments, [0, *cuts], ends, strict=True):
        at = [_native.pointer(copy.array[begin:end]) for copy in copies]
        segment.count, segment.weight, segment.grad = end - begin, at[0], at[1]
        segment.state[0 : len(states)] = at[2:]
        for name, value in decay.items():
            setattr(segment, name, value)
    first = {"power1": 1, "power2": 1, "warmth": 1, "mu_product": 1}
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
        numbers = {"rule": _native.RULE_SGD, "lr": 0.1, "momentum": momentum, "weight_decay": decay}
        for isa in BUILDS:
            for how in ({}, {"offset": 1}, {"offset": 5}, {"place": AtPageEnd}):
                got = update(isa, w, g, [v] if momentum else [], **numbers, **how)
                same_bytes(got[0], weight, f"{isa} {n} weight")
                if momentum:
                    same_bytes(got[1], velocity, f"{isa} {n} velocity")


def test_rules_on_threads(rng):
    w, g, v = rng.normal(size=(3, 500_003)).astype(F32)
    numbers = {"rule": _native.RULE_SGD, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    for isa in BUILDS:
        one, *others = (update(isa, w, g, [v], threads=count, **numbers) for count in THREADS)
        for other in others:
            same_bytes(other[0], one[0])
            same_bytes(other[1], one[1])


REFUSED = {
    "threads": {"threads": 0},
    "rule": {"rule": 99},
    "no state": {"momentum": 0.9},
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, rng):
    w, g = rng.normal(size=(2, 9))
    for isa in BUILDS:
        update(isa, w, g, status=1, **{"rule": _native.RULE_SGD, "lr": 0.1, **REFUSED[case]})
