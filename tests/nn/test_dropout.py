"""Dropout: the mask by its definition, the same in every build; the module in training and not."""

from __future__ import annotations

import pickle

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
    flushed,
    same_bytes,
    wild,
)
from hypothesis import given
from hypothesis import strategies as st

import nnlite as nn
from nnlite import functional as F
from nnlite._core import native

FORWARD, BACKWARD = "Dropout_updateOutput", "Dropout_updateGradInput"
PLACE = (2**63 + 5, 2**31 + 9, 2**32 - 1)  # seed, purpose, step
RATES = [0.0, 2.0**-40, 0.1, 0.5, 0.999, 1.0]


def words(n: int, seed: int, purpose: int, step: int) -> np.ndarray:
    """The stream's words, by the generator that test_random checks against its authors' numbers."""
    out = np.empty(n, np.uint32)
    native.check(
        native.common.random_bits(n, native.pointer(out), seed, purpose, step), "random_bits"
    )
    return out


def by_definition(x: np.ndarray, rate: float, *place: int) -> np.ndarray:
    dropped = words(x.size, *place).astype(np.uint64) < int(rate * 2**32)
    if rate * 2**32 < 1:
        return x.copy()
    scale = x.dtype.type(1 / (1 - rate)) if rate < 1 else x.dtype.type(0)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(dropped, x.dtype.type(0), x * scale)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_builds_threads_and_places(dtype, rate, rng):
    for n in (*SIZES, 1000, 40_001):
        x = wild(rng, n, dtype)
        expected = by_definition(x, rate, *PLACE)
        wanted = {FORWARD: expected, BACKWARD: flushed(expected)}
        hows = [{"offset": 1}, {"place": AtPageEnd}, *({"threads": s} for s in THREADS)]
        for isa in BUILDS:
            for how in hows if n < 1000 else hows[2:]:
                for name in (FORWARD, BACKWARD):
                    y = call(isa, dtype, name, n, In(x), Out(n), rate, *PLACE, **how)[0]
                    same_bytes(y, wanted[name], f"{isa} {name} {n} {how}")
            y = call(isa, dtype, FORWARD, n, InOut(x), Same(1), rate, *PLACE)[0]
            same_bytes(y, expected, f"{isa} in place {n}")


@given(
    n=st.integers(0, 400),
    cut=st.integers(0, 400),
    rate=st.floats(0, 1),
    seed=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**31 - 1),
    step=st.integers(0, 2**32 - 1),
)
def test_an_element_depends_on_its_index_alone(n, cut, rate, seed, stream, step):
    """Not on what stands behind it, nor on the type of the numbers."""
    x = np.ones(n, F32)
    y = F.dropout(x, rate, seed, stream, step)
    cut = min(cut, n)
    same_bytes(F.dropout(x[:cut].copy(), rate, seed, stream, step), y[:cut])
    assert np.array_equal(F.dropout(x.astype(F64), rate, seed, stream, step) == 0, y == 0)


def test_the_share_that_is_kept():
    """Within five standard deviations of 1 - p; the mean stays; streams and steps differ."""
    n = 1_000_000
    x = np.ones(n, F64)
    masks = []
    for p in (0.01, 0.3, 0.5, 0.9):
        y = F.dropout(x, p, 7)
        kept = np.count_nonzero(y) / n
        assert abs(kept - (1 - p)) < 5 * np.sqrt(p * (1 - p) / n)
        assert set(np.unique(y)) == {0.0, 1 / (1 - p)}
    for place in ((7, 0, 0), (8, 0, 0), (7, 1, 0), (7, 0, 1)):
        masks.append(F.dropout(x, 0.5, *place) != 0)
    for i, mask in enumerate(masks):
        for other in masks[:i]:
            assert abs((mask == other).mean() - 0.5) < 0.003
    neighbours = masks[0][1:] == masks[0][:-1]
    assert abs(neighbours.mean() - 0.5) < 0.003


def test_dropped_elements_are_zero_whatever_they_were():
    x = np.full(64, np.nan, F32)
    assert (F.dropout(x, 1.0, 0) == 0).all()
    y = F.dropout(x, 0.5, 0)
    assert 0 < np.isnan(y).sum() < 64 and (y[~np.isnan(y)] == 0).all()
    assert np.array_equal(F.dropout(np.full(9, -np.inf, F64), 0.0, 0), np.full(9, -np.inf))


# ---- the module ----


def test_training_and_evaluation(rng):
    x = rng.normal(size=(50, 20)).astype(F32)
    layer = nn.Dropout(0.4)
    assert layer.training and repr(layer) == "Dropout(p=0.4)"
    first, grad = layer(x), rng.normal(size=x.shape).astype(F32)
    expected = F.dropout(x, 0.4, layer.seed, layer.stream, 0)
    same_bytes(first, expected)
    same_bytes(layer.backward(grad), F.dropout(grad, 0.4, layer.seed, layer.stream, 0))
    second = layer(x)  # the next step: another mask
    same_bytes(second, F.dropout(x, 0.4, layer.seed, layer.stream, 1))
    assert layer.step == 2 and not np.array_equal(first, second)
    same_bytes(layer.predict(x), x)
    layer.forget()
    layer.eval()
    y = layer(x)
    same_bytes(y, x)
    assert y is not x and layer.step == 2
    with pytest.raises(RuntimeError, match="no forward"):
        layer.backward(grad)


def test_streams_are_numbered_with_the_initial_weights():
    def masks():
        nn.manual_seed(11)
        layers = [nn.Dropout(), nn.Linear(2, 2), nn.Dropout()]
        return [(layers[i].seed, layers[i].stream) for i in (0, 2)]

    assert masks() == masks() == [(11, 0), (11, 2)]


def test_state_goes_on_with_the_next_mask():
    x, layer = np.ones((4, 30), F32), nn.Dropout(0.5)
    layer(x)
    state = layer.extra_state()
    other = nn.Dropout(0.5)
    other.load_extra_state(state)
    copy = pickle.loads(pickle.dumps(layer))
    layer.forget()
    expected = layer(x)
    same_bytes(other(x), expected)
    same_bytes(copy(x), expected)
    for wrong in (None, {}, state | {"more": 1}, state | {"step": -1}, state | {"step": 2**32},
                  state | {"stream": 2**31}, state | {"seed": 2**64}):  # fmt: skip
        with pytest.raises(ValueError, match=r"Dropout.load_extra_state: "):
            other.load_extra_state(wrong)
    with pytest.raises(TypeError, match="step: expected an integer"):
        other.load_extra_state(state | {"step": 1.0})
    assert other.extra_state() == layer.extra_state()


def test_in_a_chain(rng):
    """Predict leaves it out, also in the recorded program; training applies the same mask twice."""
    x = rng.normal(size=(9, 5))
    linear, last = nn.Linear(5, 40, dtype=F64), nn.Linear(40, 2, dtype=F64)
    drop = nn.Dropout(0.5)
    model = nn.Sequential(linear, nn.Tanh(), drop, last)
    plain = nn.Sequential(linear, nn.Tanh(), last)
    same_bytes(model.predict(x), plain.predict(x))
    assert model._program is not None and drop.step == 0
    model.eval()
    same_bytes(model(x), plain.predict(x))
    model.train()
    y = model(x)
    hidden = F.dropout(F.linear(x, linear.weight.data, linear.bias.data, "tanh"), 0.5, drop.seed,
                       drop.stream)  # fmt: skip
    same_bytes(y, F.linear(hidden, last.weight.data, last.bias.data))
    grad = rng.normal(size=y.shape)
    model.backward(grad)
    np.testing.assert_allclose(last.weight.grad, hidden.T @ grad, rtol=1e-12)


def test_a_program_goes_on_with_the_place_of_the_mask():
    layer = nn.Dropout(0.25)
    layer.load_extra_state({"seed": 2**64 - 1, "stream": 77, "step": 2**32 - 1})
    model = nn.Sequential(layer, nn.Linear(6, 2))
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), lr=0.0))
    trainer.train_step(np.ones((3, 6), F32), np.array([0, 1, 0]))
    assert trainer.why_eager is None and layer.step == 0  # the counter begins anew


REFUSED = {
    "p": (lambda x: nn.Dropout(1.5), ValueError, "p: expected a finite number >= 0 and <= 1"),
    "p of NaN": (lambda x: nn.Dropout(float("nan")), ValueError, "p: .*got nan"),
    "p as text": (lambda x: nn.Dropout("0.5"), TypeError, "p: expected a number, got str"),
    "integers": (lambda x: nn.Dropout()(np.ones(3, np.int64)), TypeError, "float32 or float64"),
    "evaluating integers": (lambda x: nn.Dropout().eval()(np.ones(3, int)), TypeError, "float32"),
    "seed": (lambda x: F.dropout(x, 0.5, 2**64), ValueError, "seed: expected 0 <= seed < 2"),
    "stream": (lambda x: F.dropout(x, 0.5, 0, 2**31), ValueError, r"stream < 2\*\*31"),
    "step": (lambda x: F.dropout(x, 0.5, 0, 0, -1), ValueError, "step: expected at least 0"),
    "seed of another kind": (lambda x: F.dropout(x, 0.5, 1.0), TypeError, "seed: expected an int"),
    "out": (lambda x: F.dropout(x, 0.5, 0, out=x[:2]), ValueError, "out: expected shape"),
    "overlap": (lambda x: F.dropout(x[:3], 0.5, 0, out=x[1:]), ValueError, "overlaps x in part"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    function, error, message = REFUSED[case]
    x = np.ones((4, 3), F32)
    with pytest.raises(error, match=message):
        function(x)
    assert (x == 1).all()


def test_a_gradient_of_another_shape_is_refused():
    layer = nn.Dropout()
    layer(np.ones((2, 3), F32))
    with pytest.raises(ValueError, match=r"expected the shape of the output of forward, \(2, 3\)"):
        layer.backward(np.ones((3, 2), F32))
    with pytest.raises(TypeError, match="expected float32, got float64"):
        layer.backward(np.ones((2, 3)))
    layer.backward(np.ones((2, 3), F32))
