"""Every optimiser: against PyTorch, its state there and back, decay, clipping, refusals."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import optimizer_cases as cases
import pytest
from helpers import DTYPES, F32, F64, same_bytes, sha

import nnlite as nn

FIXTURES = dict(np.load(cases.FIXTURES))


def close(got: list[np.ndarray], expected: np.ndarray, name: str = "") -> None:
    """Within 1e-5 in float32, 1e-12 in float64; PyTorch's NAdam keeps a product in float32."""
    flat = np.concatenate([part.ravel() for part in got])
    tolerance = 1e-5 if flat.dtype == F32 else 1e-7 if name.startswith("NAdam") else 1e-12
    assert flat.dtype == expected.dtype
    np.testing.assert_allclose(flat, expected, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_hundred_steps_are_pytorchs_by_file(dtype, name):
    close(cases.ours(name, dtype), FIXTURES[f"{name} {dtype}"], name)


@pytest.mark.parametrize("name", cases.EXTRAS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_clipping_and_l1_are_pytorchs_by_file(dtype, name):
    close(cases.ours("Adam", dtype, cases.EXTRAS[name]), FIXTURES[f"extra {name} {dtype}"])


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.slow
def test_a_hundred_steps_are_pytorchs(dtype, name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    for extras in ({}, cases.EXTRAS["both"]):
        expected = cases.torchs(name, dtype, extras)
        flat = np.concatenate([part.ravel() for part in expected])
        close(cases.ours(name, dtype, extras), flat, name)


def test_nadam_by_its_formula():
    p = nn.Parameter(np.array([1.0]))
    optimizer = nn.optim.NAdam(p, lr=0.1, betas=(0.8, 0.9), momentum_decay=0.3)
    w, m, v, product = 1.0, 0.0, 0.0, 1.0
    for t in range(1, 30):
        g = p.grad[0] = np.cos(t) + w
        mu, following = (0.8 * (1 - 0.5 * 0.96 ** (at * 0.3)) for at in (t, t + 1))
        m, v, product = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g, product * mu
        step = (1 - mu) / (1 - product) * g + following / (1 - product * following) * m
        w -= 0.1 * step / (np.sqrt(v / (1 - 0.9**t)) + 1e-8)
        optimizer.step()
        assert p.data[0] == pytest.approx(w, rel=1e-12)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for kind in {kind for kind, _ in cases.OPTIMIZERS.values()}:
        ours = getattr(nn.optim, kind)([nn.Parameter(np.ones(2))])
        theirs = getattr(torch.optim, kind)([torch.nn.Parameter(torch.ones(2))]).defaults
        found = {name: getattr(ours, name) for name in theirs if hasattr(ours, name)}
        assert found == {name: theirs[name] for name in found}, kind
        assert {"lr", "maximize"} <= set(found)


# ---- state ----


def network(dtype=F32) -> nn.Sequential:
    nn.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 4, dtype=dtype), nn.Tanh(), nn.Linear(4, 3, dtype=dtype))


def run(model: nn.Module, optimizer: nn.optim.Optimizer, steps: range) -> str:
    """Some steps; a hash of weights and state."""
    for step in steps:
        found = cases.gradients(optimizer.dtype, step, [p.data for p in model.parameters()])
        for p, g in zip(model.parameters(), found, strict=True):
            p.grad = g
        optimizer.step()
    return sha(*(p.data for p in model.parameters()), *optimizer.state.values())


def moved(state: dict) -> dict:
    """Through JSON and arrays, as in a file."""
    text = json.dumps({k: v for k, v in state.items() if not isinstance(v, np.ndarray)})
    arrays = {k: v.copy() for k, v in state.items() if isinstance(v, np.ndarray)}
    return json.loads(text) | arrays


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_state_goes_round_exactly(name):
    kind, options = cases.OPTIMIZERS[name]
    make = getattr(nn.optim, kind)
    model = network()
    optimizer = make(model.parameters(), **options, clip_norm=2.5, l1=0.01)
    run(model, optimizer, range(7))
    weights, state = model.state_dict(), moved(optimizer.state_dict())
    twins = [copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))]
    other = network()
    other.load_state_dict(weights)
    loaded = make(other.parameters())
    loaded.load_state_dict(state)
    assert repr(loaded) == repr(optimizer) and loaded.steps == 7
    expected = run(model, optimizer, range(7, 15))
    for twin in [*twins, (other, loaded)]:
        assert run(*twin, range(7, 15)) == expected
        assert moved(twin[1].state_dict()).keys() == state.keys()


def test_files_keep_the_names_of_running_scalars():
    """What was saved before the fields of nnl_optimizer had their present names loads still."""
    model = network()
    optimizer = nn.optim.NAdam(model.parameters())
    run(model, optimizer, range(2))
    state, numbers = optimizer.state_dict(), optimizer.__getstate__()["_numbers"]
    powers = {"power1": 0.9**2, "power2": 0.999**2, "warmth": 0.96 ** (2 * 4e-3)}
    assert {name: state[name] for name in powers} == pytest.approx(powers, rel=1e-12)
    assert numbers["warmth"] == state["warmth"]
    assert numbers["warming"] == pytest.approx(0.96**4e-3, rel=1e-12)


def test_the_state_is_a_copy_and_the_load_moves_no_parameter():
    model = network()
    optimizer = nn.optim.Adam(model.parameters())
    run(model, optimizer, range(2))
    state = optimizer.state_dict()
    before = sha(*optimizer.state.values())
    state["exp_avg"].fill(9)
    assert sha(*optimizer.state.values()) == before
    data = sha(*(p.data for p in model.parameters()))
    optimizer.load_state_dict(state)
    assert (optimizer.state["exp_avg"] == 9).all()
    assert sha(*(p.data for p in model.parameters())) == data


WRONG = {
    "no dict": (lambda s: None, ValueError, "expected a state of Adam, got NoneType"),
    "another class": (lambda s: {**s, "optimizer": "SGD"}, ValueError, "state of Adam, got SGD"),
    "lacks": (lambda s: {k: v for k, v in s.items() if k != "power1"}, ValueError, "lacks power1"),
    "unknown": (lambda s: {**s, "more": 1}, ValueError, "has unknown more"),
    "settings": (lambda s: {**s, "settings": {}}, ValueError, "the state lacks amsgrad, betas"),
    "setting": (lambda s: {**s, "settings": {**s["settings"], "eps": -1}}, ValueError,
                "Adam: eps: .*>= 0, got -1"),
    "AMSGrad": (lambda s: {**s, "settings": {**s["settings"], "amsgrad": True}}, ValueError,
                "lacks max_exp_avg_sq"),
    "steps": (lambda s: {**s, "steps": -1}, ValueError, "steps: expected at least 0, got -1"),
    "steps, kind": (lambda s: {**s, "steps": 1.5}, TypeError, "steps: expected an integer"),
    "power": (lambda s: {**s, "power2": 1.5}, ValueError, "power2: .*<= 1, got 1.5"),
    "NaN": (lambda s: {**s, "power2": float("nan")}, ValueError, "power2: .*got nan"),
    "dtype": (lambda s: {**s, "exp_avg": s["exp_avg"].astype(F64)}, TypeError,
              "exp_avg: expected float32, got float64"),
    "shape": (lambda s: {**s, "exp_avg": s["exp_avg"][:-1].copy()}, ValueError,
              "exp_avg: expected the shape"),
    "list": (lambda s: {**s, "exp_avg": [1.0]}, TypeError, "exp_avg: expected a NumPy array"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_state_changes_nothing(case):
    change, error, message = WRONG[case]
    model = network()
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    run(model, optimizer, range(2))
    twin = copy.deepcopy((model, optimizer))
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(change(optimizer.state_dict()))
    assert run(model, optimizer, range(2, 4)) == run(*twin, range(2, 4))


# ---- decay, clipping, settings ----


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_biases_are_exempt_from_decay(kind):
    make = getattr(nn.optim, kind)
    plain, decayed, all_decayed = network(), network(), network()
    optimizers = [
        make(plain.parameters(), lr=0.1, weight_decay=0.0),
        make(decayed.parameters(), lr=0.1, weight_decay=0.5, l1=0.1),
        make(all_decayed.parameters(), lr=0.1, weight_decay=0.5, l1=0.1, decay_bias=True),
    ]
    assert [len(one.segments()) for one in optimizers] == [1, 4, 1]
    for p in (p for model in (plain, decayed, all_decayed) for p in model.parameters()):
        p.data = np.linspace(1, 2, p.size).reshape(p.shape)
        p.grad = np.linspace(-1, 1, p.size).reshape(p.shape)
    for optimizer in optimizers:
        optimizer.step()
    sets = zip(plain.parameters(), decayed.parameters(), all_decayed.parameters(), strict=True)
    for one, two, three in sets:
        assert np.array_equal(one.data, two.data) == (one.name == "bias")
        assert np.array_equal(two.data, three.data) == (one.name != "bias")


def test_l1_by_hand():
    p = nn.Parameter(np.array([2.0, -2.0, 0.0, -0.0, 0.5]))
    nn.optim.SGD([p], lr=1.0, l1=0.25).step()
    assert p.data.tolist() == [1.75, -1.75, 0.0, 0.0, 0.25]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_clipping_in_passing_is_clipping_before(dtype, rng):
    """The functions on gradients, then a plain step: the same bits as the keywords."""
    one, two = network(dtype), network(dtype)
    ours = nn.optim.SGD(one.parameters(), 0.1, clip_value=0.8, clip_norm=1.5)
    plain = nn.optim.SGD(two.parameters(), 0.1)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        p.grad = q.grad = rng.normal(size=p.shape)
    kept = [p.grad.copy() for p in one.parameters()]
    nn.optim.clip_grad_value_(two.parameters(), 0.8)
    norm = nn.optim.clip_grad_norm_(two.parameters(), 1.5)
    ours.step()
    plain.step()
    assert ours.grad_norm == norm > 1.5
    for p, q, g in zip(one.parameters(), two.parameters(), kept, strict=True):
        same_bytes(p.data, q.data)
        same_bytes(p.grad, g)
    exact = np.sqrt(sum((np.clip(g.astype(F64), -0.8, 0.8) ** 2).sum() for g in kept))
    assert norm == pytest.approx(exact, rel=4 * float(np.finfo(dtype).eps))
    after = np.sqrt(sum((q.grad.astype(F64) ** 2).sum() for q in two.parameters()))
    assert after == pytest.approx(1.5, rel=1e-5)


def test_a_norm_within_the_limit_changes_no_bit(rng):
    p = nn.Parameter(np.zeros(50))
    p.grad = rng.normal(size=50)
    before = p.grad.copy()
    assert nn.optim.clip_grad_norm_([p], 100.0) == pytest.approx(np.linalg.norm(before))
    same_bytes(p.grad, before)


@pytest.mark.parametrize("bad, expected", [(np.inf, [np.nan, 0.0]), (np.nan, [np.nan, np.nan])])
def test_a_norm_that_is_not_finite_does_what_pytorchs_does(bad, expected):
    p = nn.Parameter(np.zeros(2))
    p.grad = [bad, 1.0]
    with pytest.raises(ValueError, match=f"clip_grad_norm_: the norm of the gradients is {bad}"):
        nn.optim.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad[1] == 1.0
    optimizer = nn.optim.SGD(p, lr=1.0, clip_norm=1.0)
    optimizer.step()
    np.testing.assert_array_equal(p.data, expected)
    assert not np.isfinite(optimizer.grad_norm)
    nn.optim.clip_grad_norm_(p, 1.0)
    np.testing.assert_array_equal(p.grad, expected)


def test_velocities_of_dead_units_end_at_zero():
    """Not among the denormal numbers, where arithmetic is slow."""
    p = nn.Parameter(np.ones(40, np.float32))
    optimizer = nn.optim.SGD(p, lr=0.1, momentum=0.5)
    p.grad.fill(1e-30)
    seen = []
    for _ in range(40):
        optimizer.step()
        p.grad.fill(0)
        seen.append(float(optimizer.state["momentum_buffer"][0]))
    assert seen[-1] == 0 and all(v == 0 or v >= np.finfo(F32).tiny for v in seen)


def test_centred_rmsprop_survives_a_constant_gradient():
    """Rounding takes the variance below zero there; PyTorch's root of it is NaN."""
    p = nn.Parameter(np.zeros(3, np.float32))
    optimizer = nn.optim.RMSprop(p, lr=1e-3, alpha=0.5, centered=True, eps=1e-3)
    for _ in range(300):
        p.grad.fill(0.1)
        optimizer.step()
    assert np.isfinite(p.data).all() and (p.data < 0).all()


def test_settings_are_read_only_but_the_rate():
    optimizer = nn.optim.Adam([nn.Parameter(np.ones(2))], lr=0.5, betas=[0.5, 0.75])
    assert (optimizer.betas, optimizer.eps, optimizer.clip_norm) == ((0.5, 0.75), 1e-8, None)
    with pytest.raises(AttributeError, match="Adam: betas is fixed; make a new optimiser"):
        optimizer.betas = (0, 0)
    optimizer.lr = 0
    assert (optimizer.lr, optimizer.initial_lr) == (0, 0)
    assert repr(optimizer) == "Adam(lr=0.0, betas=(0.5, 0.75), eps=1e-08)"


P = nn.Parameter(np.ones(2))
REFUSED = {
    "betas": (lambda: nn.optim.Adam(P, betas=(0.9, 1)), ValueError, "Adam: betas: .*below 1"),
    "betas, one": (lambda: nn.optim.Adam(P, betas=0.9), TypeError, "Adam: betas: expected two"),
    "eps": (lambda: nn.optim.AdamW(P, eps=-1), ValueError, "AdamW: eps: .*>= 0, got -1"),
    "amsgrad": (lambda: nn.optim.Adam(P, amsgrad=1), TypeError, "amsgrad: expected True or False"),
    "alpha": (lambda: nn.optim.RMSprop(P, alpha=1), ValueError, "alpha: .*below 1, got 1"),
    "rho": (lambda: nn.optim.Adadelta(P, rho=-0.1), ValueError, "rho: .*got -0.1"),
    "rho eps": (lambda: nn.optim.Adadelta(P, eps=0), ValueError, "eps: .*> 0, got 0"),
    "lr_decay": (lambda: nn.optim.Adagrad(P, lr_decay=-1), ValueError, "lr_decay: .*got -1"),
    "etas": (lambda: nn.optim.Rprop(P, etas=(1.2, 0.5)), ValueError, r"etas: .*got \(1.2, 0.5\)"),
    "sizes": (lambda: nn.optim.Rprop(P, step_sizes=(2, 1)), ValueError, "smallest, largest"),
    "nesterov": (lambda: nn.optim.SGD(P, nesterov=True), ValueError, "nesterov: expected momentum"),
    "clip_norm": (lambda: nn.optim.SGD(P, clip_norm=0), ValueError, "clip_norm: .*> 0, got 0"),
    "clip_value": (lambda: nn.optim.SGD(P, clip_value=-1), ValueError, "clip_value: .*> 0"),
    "l1": (lambda: nn.optim.SGD(P, l1=float("inf")), ValueError, "l1: .*got inf"),
    "keyword": (lambda: nn.optim.SGD(P, speed=1), TypeError, "speed"),
    "norm": (lambda: nn.optim.clip_grad_norm_(P, -1), ValueError, "max_norm: .*got -1"),
    "value": (lambda: nn.optim.clip_grad_value_([1], 1), TypeError, "expected Parameters, got int"),
    "closure": (lambda: nn.optim.LBFGS(P).step(), TypeError, "closure: .*got NoneType"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    call, error, message = REFUSED[case]
    if case == "closure":
        pytest.importorskip("scipy", reason="SciPy is not installed")
    with pytest.raises(error, match=message):
        call()


def test_the_signature_shows_every_setting():
    import inspect

    names = list(inspect.signature(nn.optim.Adam).parameters)
    assert names == ["params", "lr", "betas", "eps", "weight_decay", "amsgrad", "decay_bias", "l1",
                     "clip_norm", "clip_value", "maximize"]  # fmt: skip

    class Slow(nn.optim.Adam):
        def __init__(self, params, slowness: int) -> None:
            self.slowness = slowness
            super().__init__(params, lr=0.1 / slowness)

    assert list(inspect.signature(Slow).parameters) == ["params", "slowness"]
    assert Slow([P], 2).lr == 0.05
