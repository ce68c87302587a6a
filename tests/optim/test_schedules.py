"""Schedules: against PyTorch, by hand, in sequence, and their state."""

from __future__ import annotations

import json
import math

import numpy as np
import optimizer_cases as cases
import pytest
from helpers import sha

import nnlite as nn
from nnlite.optim import _power

FIXTURES = dict(np.load(cases.FIXTURES))


def sgd(lr: float = 0.1) -> nn.optim.SGD:
    return nn.optim.SGD([nn.Parameter(np.zeros(1))], lr=lr)


def walked(schedule: nn.optim.Schedule, steps: int = cases.RATES) -> np.ndarray:
    """The optimiser's rate in each step, which is rate(t)."""
    found = []
    for t in range(steps):
        assert schedule.last_epoch == t
        assert schedule.optimizer.lr == schedule.rate(t)
        found.append(schedule.optimizer.lr)
        schedule.step()
    return np.array(found)


@pytest.mark.parametrize("name", cases.SCHEDULES)
def test_rates_are_pytorchs(name):
    kind, options = cases.SCHEDULES[name]
    ours = walked(getattr(nn.optim, kind)(sgd(), **options))
    np.testing.assert_allclose(ours, FIXTURES[f"rates {name}"], rtol=1e-12, atol=1e-17)
    try:
        import torch  # noqa: F401
    except ImportError:
        return
    np.testing.assert_allclose(ours, cases.torch_rates(name), rtol=1e-12, atol=1e-17)


BY_HAND = {
    "constant": (lambda o: nn.optim.ConstantLR(o, 0.5, 2), [0.5, 0.5, 1, 1]),
    "constant, always": (lambda o: nn.optim.ConstantLR(o, 1), [1, 1, 1]),
    "step": (lambda o: nn.optim.StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]),
    "multi": (lambda o: nn.optim.MultiStepLR(o, [3, 1], 0.5), [1, 0.5, 0.5, 0.25]),
    "exponential": (lambda o: nn.optim.ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125]),
    "polynomial": (lambda o: nn.optim.PolynomialLR(o, 4, 2), [1, 0.5625, 0.25, 0.0625, 0, 0]),
    "cosine": (lambda o: nn.optim.CosineAnnealingLR(o, 2), [1, 0.5, 0, 0.5, 1]),
    "restarts": (lambda o: nn.optim.CosineAnnealingWarmRestarts(o, 2, 2), [1, 0.5, 1, None, 0.5]),
    "linear": (lambda o: nn.optim.LinearLR(o, 0, 1, 4), [0, 0.25, 0.5, 0.75, 1, 1]),
    "warm-up": (lambda o: nn.optim.WarmupLR(o, 4), [0.25, 0.5, 0.75, 1, 1]),
    "inverse scaling": (lambda o: nn.optim.InverseScalingLR(o, 2), [1, 1 / 4, 1 / 9, 1 / 16]),
    "inverse root": (lambda o: nn.optim.InverseScalingLR(o), [1, 2**-0.5, 3**-0.5, 0.5]),
    "Robbins-Monro": (lambda o: nn.optim.RobbinsMonroLR(o), [1, 1 / 2, 1 / 3, 1 / 4]),
    "Robbins-Monro, 0.75": (lambda o: nn.optim.RobbinsMonroLR(o, 0.75), [1, 2**-0.75, 3**-0.75]),
    "one cycle": (
        lambda o: nn.optim.OneCycleLR(o, 1, 5, pct_start=0.6, div_factor=4, final_div_factor=1),
        [0.25, 0.625, 1, 0.625, 0.25],
    ),
    "sequence": (
        lambda o: nn.optim.SequentialLR(
            o, [nn.optim.LinearLR(o, 0.5, 1, 2), nn.optim.ExponentialLR(o, 0.5)], [2]
        ),
        [0.5, 0.75, 1, 0.5, 0.25],
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_rates_by_hand(name):
    make, expected = BY_HAND[name]
    found = walked(make(sgd(1.0)), len(expected))
    for got, wanted in zip(found, expected, strict=True):
        assert wanted is None or got == pytest.approx(wanted, rel=1e-14, abs=1e-16)


def test_sequences_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    kinds, ours = torch.optim.lr_scheduler, sgd()
    parts = [("LinearLR", {"start_factor": 0.1}), ("StepLR", {"step_size": 4}),
             ("CosineAnnealingLR", {"T_max": 9})]  # fmt: skip
    other = kinds.SequentialLR(theirs, [getattr(kinds, k)(theirs, **o) for k, o in parts], [5, 14])
    mine = [getattr(nn.optim, k)(ours, **o) for k, o in parts]
    found = walked(nn.optim.SequentialLR(ours, mine, [5, 14]), 30)
    expected = []
    for _ in range(30):
        expected.append(theirs.param_groups[0]["lr"])
        theirs.step()
        other.step()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_one_hash_of_all_rates():
    """No rate depends on the C library or the processor."""
    rates = [walked(make(sgd(0.3)), 5) for make, _ in BY_HAND.values()]
    for kind, options in cases.SCHEDULES.values():
        rates.append(walked(getattr(nn.optim, kind)(sgd(0.3), **options)))
    assert sha(*rates) == HASH


HASH = "fd3da95c13921c44ef63870b0e4283dfe85c16b8c2404267d148137484a4a156"


@pytest.mark.parametrize("options", [
    {}, {"mode": "max", "threshold_mode": "abs", "threshold": 0.05, "patience": 2},
    {"factor": 0.5, "patience": 1, "cooldown": 2, "min_lr": 0.01}, {"patience": 0, "eps": 0.02},
])  # fmt: skip
def test_plateau_is_pytorchs(options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    ours = nn.optim.ReduceLROnPlateau(sgd(), **options)
    random = np.random.RandomState(1)
    for metric in [*(1 / np.arange(1, 30) + 0.3 * random.rand(29)), math.nan, *random.rand(40)]:
        other.step(metric)
        ours.step(metric)
        assert ours.optimizer.lr == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
    assert ours.optimizer.lr < 0.1


def test_plateau_by_hand():
    optimizer = sgd(1.0)
    schedule = nn.optim.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    rates = []
    for metric in (3, 2, 2, 2, 2, 2, 1):
        schedule.step(metric)
        rates.append(optimizer.lr)
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert not schedule.pure and schedule.rate(0) == 0.25


ALL = {
    **{name: make for name, (make, _) in BY_HAND.items()},
    "plateau": lambda o: nn.optim.ReduceLROnPlateau(o, patience=0, factor=0.5),
}


@pytest.mark.parametrize("name", ALL)
def test_state_goes_round(name):
    def on(schedule: nn.optim.Schedule, steps: int) -> list[float]:
        rates = []
        for _ in range(steps):
            schedule.step(*([1.0] if name == "plateau" else []))
            rates.append(schedule.optimizer.lr)
        return rates

    first, second = ALL[name](sgd(0.7)), ALL[name](sgd(0.2))
    on(first, 2)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.optimizer.lr == first.optimizer.lr
    assert second.state_dict() == first.state_dict() and repr(second) == repr(first)
    assert on(second, 3) == on(first, 3)


def test_the_base_rate_is_the_users():
    optimizer = sgd(0.5)
    nn.optim.ConstantLR(optimizer, 0.1)
    assert optimizer.lr == 0.05 and optimizer.initial_lr == 0.5
    assert nn.optim.ExponentialLR(optimizer, 0.5).base_lr == 0.5
    optimizer.lr = 0.25
    assert nn.optim.ExponentialLR(optimizer, 0.5).base_lr == 0.25


def test_intervals():
    assert nn.optim.StepLR(sgd(), 1).interval == "epoch"
    assert nn.optim.OneCycleLR(sgd(), 1, 9).interval == "batch"
    assert nn.optim.CosineAnnealingLR(sgd(), 9, interval="batch").interval == "batch"


def warm(o: nn.optim.SGD) -> nn.optim.Schedule:
    return nn.optim.WarmupLR(o, 3, interval="epoch")


REFUSED = {
    "optimizer": (lambda o: nn.optim.StepLR(None, 1), TypeError, "optimizer: .*got NoneType"),
    "step_size": (lambda o: nn.optim.StepLR(o, 0), ValueError, "step_size: .*at least 1, got 0"),
    "gamma": (lambda o: nn.optim.ExponentialLR(o, 0), ValueError, "gamma: .*> 0, got 0"),
    "interval": (lambda o: nn.optim.StepLR(o, 1, interval="day"), ValueError, "got 'day'"),
    "p low": (lambda o: nn.optim.RobbinsMonroLR(o, 0.5), ValueError, "p: .*> 0.5 and <= 1, got"),
    "p high": (lambda o: nn.optim.RobbinsMonroLR(o, 1.01), ValueError, "p: .*got 1.01"),
    "total": (lambda o: nn.optim.OneCycleLR(o, 1), ValueError, "total_steps: expected a number"),
    "pct": (lambda o: nn.optim.OneCycleLR(o, 1, 9, pct_start=1), ValueError, "pct_start: .*below"),
    "anneal": (lambda o: nn.optim.OneCycleLR(o, 1, 9, anneal_strategy="x"), ValueError, "got 'x'"),
    "beyond": (lambda o: nn.optim.OneCycleLR(o, 1, 9).rate(10), ValueError, "step 10 is beyond"),
    "T_mult": (lambda o: nn.optim.CosineAnnealingWarmRestarts(o, 2, 1.5), TypeError, "T_mult: "),
    "mode": (lambda o: nn.optim.ReduceLROnPlateau(o, "least"), ValueError, "mode: .*got 'least'"),
    "factor": (lambda o: nn.optim.ReduceLROnPlateau(o, factor=1), ValueError, "factor: .*below 1"),
    "metric": (lambda o: nn.optim.ReduceLROnPlateau(o).step(), TypeError, "got nothing"),
    "impure": (lambda o: nn.optim.SequentialLR(o, [nn.optim.ReduceLROnPlateau(o)], []), TypeError,
               "got ReduceLROnPlateau"),
    "milestones": (lambda o: nn.optim.SequentialLR(o, [warm(o)] * 2, []), ValueError,
                   "expected 1 of them"),
    "order": (lambda o: nn.optim.SequentialLR(o, [warm(o)] * 3, [4, 4]), ValueError, "rising"),
    "mixed": (lambda o: nn.optim.SequentialLR(o, [warm(o), nn.optim.WarmupLR(o, 2)], [3]),
              ValueError, "one interval"),
    "foreign": (lambda o: nn.optim.SequentialLR(o, [warm(sgd())], []), ValueError, "another opt"),
    "state": (lambda o: warm(o).load_state_dict(nn.optim.StepLR(o, 1).state_dict()), ValueError,
              "the state is of StepLR"),
    "state, setting": (lambda o: warm(o).load_state_dict(
        {**warm(o).state_dict(), "settings": {"total_iters": 0, "interval": "epoch"}}), ValueError,
        "total_iters: .*got 0"),
    "state, step": (lambda o: warm(o).load_state_dict({**warm(o).state_dict(), "last_epoch": -1}),
                    ValueError, "last_epoch: .*got -1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    call, error, message = REFUSED[case]
    optimizer = sgd()
    with pytest.raises(error, match=message):
        call(optimizer)


# ---- numbers ----


def test_cosine_and_power():
    x = np.random.RandomState(0).uniform(-3, 3, 2000)
    exact = [math.cos(math.pi * (value % 2)) for value in x]
    np.testing.assert_allclose(_power.cosine_pi(x), exact, rtol=0, atol=2e-15)
    assert _power.cosine_pi(np.arange(9) / 2).tolist() == [1, 0, -1, 0, 1, 0, -1, 0, 1]
    bases = np.array([0.0, 0.3, 1.0, 3.0, 1e6])
    for exponent in (0.5, 0.75, 1.0, 2.0, 3.5, 30.0):
        np.testing.assert_allclose(_power.power(bases, exponent), bases**exponent, rtol=1e-13)
    for base in (0.1, 0.9, 1.0, 1.01):
        found = _power.integer_power(base, np.array([0, 1, 2, 3, 100, 1000]))
        expected = base ** np.array([0, 1, 2, 3, 100, 1000])
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("name", BY_HAND)
def test_rates_of_many_steps_are_those_of_each(name):
    schedule = BY_HAND[name][0](sgd(0.3))
    each = [schedule.rate(t) for t in range(5)]
    assert schedule.rates(5).tolist() == each
    schedule.advance(3)
    assert schedule.rates(2).tolist() == each[3:] and schedule.optimizer.lr == each[3]


class Halving(nn.optim.Schedule):
    """A user's own, by rate alone."""

    def __init__(self, optimizer, every: int) -> None:
        self.every = every
        super().__init__(optimizer, "batch")

    def rate(self, t: int) -> float:
        return self.base_lr * 0.5 ** (t // self.every)


def test_a_schedule_of_ones_own():
    schedule = Halving(sgd(1.0), 2)
    assert schedule.rates(5).tolist() == [1, 1, 0.5, 0.5, 0.25]
    schedule.advance(2)
    other = Halving(sgd(), 7)
    other.load_state_dict(schedule.state_dict())
    assert (other.every, other.optimizer.lr) == (2, 0.5)


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("make", [
    lambda o: nn.optim.OneCycleLR(o, 0.1, 4 * 8),
    lambda o: nn.optim.CosineAnnealingLR(o, 3),
    lambda o: nn.optim.ReduceLROnPlateau(o, patience=0, factor=0.5, threshold=10, monitor="loss"),
    lambda o: nn.optim.InverseScalingLR(o, 0.3),
])  # fmt: skip
def test_a_fit_is_the_loop_by_hand(make, eager, rng):
    """Trainer with a schedule: the same bits as step by step, by program and by modules."""
    X, y = rng.normal(size=(120, 6)).astype(np.float32), rng.integers(0, 3, 120)

    class Linear(nn.Linear):  # a class of a user's own is not recorded
        def forward(self, x):
            return super().forward(x)

        def backward(self, grad_output):
            return super().backward(grad_output)

    def parts():
        nn.manual_seed(1)
        model = nn.Sequential((Linear if eager else nn.Linear)(6, 8), nn.ReLU(), nn.Linear(8, 3))
        return model, nn.optim.Adam(model.parameters(), 0.01, clip_norm=0.5, weight_decay=0.1)

    model, optimizer = parts()
    schedule = make(optimizer)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=4)
    trainer.fit(X, y, epochs=4, batch_size=16, schedule=schedule, verbose=0)
    other, plain = parts()
    steps, loss = make(plain), nn.SoftmaxCE()
    for epoch in range(4):
        total, order = 0.0, nn.data.permutation(120, 4, epoch)
        for begin in range(0, 120, 16):
            rows = order[begin : begin + 16]
            plain.zero_grad()
            total += loss(other(X[rows]), y[rows]) * len(rows)
            other.backward(loss.backward())
            plain.step()
            if steps.interval == "batch":
                steps.step()
        if steps.interval == "epoch":
            steps.step(*([] if steps.pure else [total]))
    assert optimizer.lr == plain.lr and optimizer.initial_lr == 0.01
    assert sha(*(p.data for p in model.parameters())) == sha(*(p.data for p in other.parameters()))
