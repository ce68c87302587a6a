"""What cannot be recorded trains eagerly, to the same bits, and why_eager names the line."""

from __future__ import annotations

import random
import re
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import nnlite as nn

A = nn.autograd
SOURCE = Path(__file__).read_text().splitlines()


class Base(nn.Module):
    def __init__(self):
        self.head = nn.Linear(4, 3)


class ReadsTruth(Base):
    def forward(self, x):
        y = self.head(x)
        if y.sum() > 0:  # HERE
            y = y * 2
        return y


class ReadsFloat(Base):
    def forward(self, x):
        y = self.head(x)
        return y * float(y.mean())  # HERE


class UsesNumPy(Base):
    def forward(self, x):
        scale = np.asarray(x).max()  # HERE
        return self.head(x) / scale


class Detaches(Base):
    def forward(self, x):
        y = self.head(x)
        return y * y.detach().numpy().max()  # HERE


class Counts(Base):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1  # HERE
        return self.head(x)


class Remembers(Base):
    def forward(self, x):
        self.last = self.head(x)  # HERE
        return self.last


class Appends(Base):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):  # HERE
        self.seen.append(len(self.seen))
        return self.head(x)


class AppendsDeep(Base):
    def __init__(self):
        super().__init__()
        self.seen = {"a": [deque([1], 5)]}

    def forward(self, x):  # HERE
        self.seen["a"][0].append(3)
        return self.head(x)


class Averages(Base):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", np.zeros(3, np.float32))

    def forward(self, x):  # HERE
        self.mean[:] = self.mean + 1
        return self.head(x)


class NumPyNoise(Base):
    def forward(self, x):
        y = self.head(x)
        return y + np.random.normal(size=3).astype(np.float32)  # HERE


class NoisyNumber(Base):
    def forward(self, x):
        y = self.head(x)
        return y * random.random()  # HERE


class OwnGenerator(Base):
    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(3)

    def forward(self, x):  # HERE
        return self.head(x) * (1 + self.rng.random())


class InPlace(Base):
    def forward(self, x):
        y = self.head(x)
        y[:, 0] = 0.0  # HERE
        return y


class NoInstruction(Base):
    def forward(self, x):
        return A.sin(self.head(x))  # HERE


class Power(Base):
    def forward(self, x):
        return (self.head(x) * self.head(x) + 1.0) ** 1.7  # HERE


class IndexesRows(Base):
    def forward(self, x):
        y = self.head(x)
        order = np.arange(len(x))[::-1]
        return y[order.copy()]  # HERE


class Counter:
    total = 0


class GlobalNumber(Base):
    """A global that each call changes, and that is in the result."""

    def forward(self, x):
        Counter.total += 1
        return self.head(x) * (1.0 / Counter.total)  # HERE


CASES = [
    ReadsTruth, ReadsFloat, UsesNumPy, Detaches, Counts, Remembers, Appends, AppendsDeep, Averages,
    NumPyNoise, NoisyNumber, OwnGenerator, InPlace, NoInstruction, Power, IndexesRows,
]  # fmt: skip


def line_of(kind):
    start = next(i for i, text in enumerate(SOURCE) if text.startswith(f"class {kind.__name__}("))
    found = next(i for i in range(start, len(SOURCE)) if SOURCE[i].endswith("# HERE"))
    return f"{__file__}:{found + 1}"


def data(rows=21):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 4)).astype(np.float32), rng.integers(0, 3, rows)


def trained(kind, loss=None):
    X, y = data()
    nn.manual_seed(2)
    np.random.seed(4)
    random.seed(5)
    model = kind()
    optimizer = nn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer = nn.Trainer(model, loss or nn.SoftmaxCE(), optimizer, seed=1)
    history = trainer.fit(X, y, 3, 8, verbose=0)
    state = {k: v.tobytes() for k, v in model.state_dict().items()}
    return (
        trainer.why_eager,
        history["loss"],
        state,
        getattr(model, "calls", None),
        repr(getattr(model, "seen", None)),
    )


@pytest.mark.parametrize("kind", CASES)
def test_the_line_is_named_and_the_bits_are_those_of_python(monkeypatch, kind):
    why, *found = trained(kind)
    assert why is not None
    assert line_of(kind) in why, why
    import nnlite.train.trainer

    monkeypatch.setattr(nnlite.train.trainer, "compiled", lambda *unused: None)
    _, *expected = trained(kind)
    assert found == expected


def test_a_global_that_each_call_changes():
    why, *_ = trained(GlobalNumber)
    assert re.search(r"a number differs between two recordings", why)
    assert line_of(GlobalNumber) in why


def test_printing_is_allowed_and_happens_while_it_is_recorded(capsys):
    class Prints(Base):
        def forward(self, x):
            print("forward")
            return self.head(x)

    assert trained(Prints)[0] is None
    assert "forward" in capsys.readouterr().out


def test_a_loss_of_the_user_says_its_line_too():
    def loss(output, target):
        picked = output[:, 0]
        if picked.mean() > 100:  # LOSS
            picked = picked * 2
        return (picked * picked).mean()

    why, *_ = trained(Base2, loss)
    number = next(i for i, t in enumerate(SOURCE, 1) if t.endswith("# LOSS"))
    assert f"{__file__}:{number}" in why


class Base2(Base):
    def forward(self, x):
        return self.head(x)


def test_optimisers_and_dtypes_say_why():
    class Own(nn.optim.SGD):
        def step(self):
            super().step()

    X, y = data()
    model = Base2()
    trainer = nn.Trainer(model, nn.SoftmaxCE(), Own(model.parameters(), lr=0.1))
    trainer.fit(X, y, 1, 8, verbose=0)
    assert trainer.why_eager == "Own has a step of its own"
