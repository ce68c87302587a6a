"""Ctrl-C within one long call into C: it ends, and what was half done is as documented."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlite as nn
from nnlite import functional as F
from nnlite._core import native

F32 = np.float32
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="signals are sent to the own process"
)


@pytest.fixture(autouse=True)
def _handler_put_back():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)
    assert native._raised == [] and native._wishes == [False]


def interrupted(call: Callable[[], Any], error: type[BaseException], after: float = 0.2) -> None:
    """The call raises that error soon after SIGINT came; the machine may be busy."""
    sent = [0.0]

    def send() -> None:
        sent[0] = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        with pytest.raises(error) as raised:
            call()
        late = time.perf_counter() - sent[0]
    finally:
        timer.cancel()
        timer.join()
    assert raised.type is error
    assert sent[0] > 0 and late < 1.0


@pytest.fixture(scope="module")
def factors() -> tuple[np.ndarray, np.ndarray]:
    """Their product takes a second or more on one thread."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(12_000, 2048)).astype(F32), rng.normal(size=(2048, 4096)).astype(F32)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_product_ends(factors, threads):
    nn.set_num_threads(threads)
    a, b = factors
    interrupted(lambda: F.matmul(a, b), KeyboardInterrupt)
    small = F.matmul(a[:50], b)  # and nothing of it is left
    np.testing.assert_allclose(small, a[:50] @ b, rtol=2e-3, atol=1e-3)


def test_products_of_every_kind_end(factors):
    nn.set_num_threads(2)
    a, _ = factors
    y = np.ones((12_000, 4096), F32)
    weight = nn.Linear(2048, 4096)
    weight.forward(a[:2])
    weight.backward(y[:2])
    weight.forward(a)
    interrupted(lambda: weight.backward(y), KeyboardInterrupt)
    thin = np.ones((1_000_000, 4), F32)
    few = np.ones((4, 64), F32)
    nn.set_num_threads(1)
    interrupted(lambda: [F.matmul(thin, few) for _ in range(300)], KeyboardInterrupt)


def test_another_exception_of_the_handler(factors):
    class OwnError(Exception):
        pass

    def handler(number, frame):
        raise OwnError

    signal.signal(signal.SIGINT, handler)
    interrupted(lambda: F.matmul(*factors), OwnError)


def products(factors) -> bytes:
    a, b = factors
    return F.matmul(a[:4000], b).tobytes()


def during(call: Callable[[], bytes]) -> bytes:
    """What the call returns although SIGINT comes."""
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        return call()
    finally:
        timer.join()


def test_a_handler_that_does_not_raise(factors):
    """It runs while the product is computed, may compute itself, and the product is whole."""
    nn.set_num_threads(2)
    expected, seen = products(factors), []
    a, b = factors

    def handler(number, frame):
        seen.append(F.matmul(a[:300], b).tobytes() == expected[: 300 * 4096 * 4])

    signal.signal(signal.SIGINT, handler)
    assert during(lambda: products(factors)) == expected
    assert seen == [True]


def test_ignored(factors):
    expected = products(factors)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert during(lambda: products(factors)) == expected


def test_calls_of_other_threads_go_on(factors):
    """The main thread answers; the others finish."""
    nn.set_num_threads(1)
    expected, found = products(factors), []
    other = threading.Thread(target=lambda: found.append(products(factors)))
    other.start()
    interrupted(lambda: F.matmul(*factors), KeyboardInterrupt)
    other.join()
    assert found == [expected]


def test_forward_predict_and_graphs(factors):
    a, _ = factors
    model = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2048))
    interrupted(lambda: model(a), KeyboardInterrupt)
    interrupted(lambda: model.predict(a), KeyboardInterrupt)
    program = nn.jit_program(lambda x, w: ((x @ w).tanh() @ w).sum())
    w = nn.tensor(np.ones((2048, 2048), F32), requires_grad=True)
    x = nn.tensor(a)
    interrupted(lambda: [program(x, w) for _ in range(4)], KeyboardInterrupt)
    interrupted(lambda: ((x @ w).tanh() @ w).sum().backward(), KeyboardInterrupt)
    np.testing.assert_array_equal(model.predict(a[:3]), model.predict(a[:600])[:3])


# ---- training: weights, optimiser, random streams and position belong together ----

ROWS = 4000
data_rng = np.random.default_rng(4)
X = data_rng.normal(size=(ROWS, 512)).astype(F32)
Y = data_rng.integers(0, 10, ROWS)


class Custom(nn.Module):
    """A module that no program can record."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x * F32(2)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * F32(2)


def make(eager: bool = False, hidden: int = 1000) -> nn.Trainer:
    nn.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(512, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, hidden), nn.Tanh(),
        *([Custom()] if eager else []), nn.Linear(hidden, 10),
    )  # fmt: skip
    optimizer = nn.optim.Adam(model.parameters(), lr=1e-3)
    return nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=3)


def state(trainer: nn.Trainer) -> list[bytes]:
    """All that decides how training goes on."""
    found = [p.data.tobytes() for p in trainer.model.parameters()]
    found += [array.tobytes() for array in trainer.optimizer.state.values()]
    drops = [m.step for m in trainer.model.modules() if isinstance(m, nn.Dropout)]
    return [*found, repr((drops, trainer.steps, trainer.optimizer.lr)).encode()]


def without_seconds(history: Any) -> dict[str, Any]:
    return {name: values for name, values in history.items() if name != "seconds"}


def fit(trainer: nn.Trainer, **settings: Any) -> dict[str, Any]:
    return without_seconds(trainer.fit(X, Y, 3, ROWS, verbose=0, **settings))


@pytest.mark.parametrize("eager", [False, True], ids=["program", "modules"])
def test_a_fit_is_stopped_within_a_batch(eager):
    nn.set_num_threads(1)
    expected = make(eager)
    history = fit(expected)
    trainer = make(eager)
    before = state(trainer)
    interrupted(lambda: fit(trainer), KeyboardInterrupt, 0.15)
    assert trainer.steps < 3
    if trainer.steps == 0:
        assert state(trainer) == before
    assert fit(trainer, resume=True) == history
    assert state(trainer) == state(expected)


def test_train_step_is_stopped():
    nn.set_num_threads(1)
    trainer, expected = make(), make()
    trainer.train_step(X, Y)
    expected.train_step(X, Y)
    before = state(trainer)
    interrupted(lambda: trainer.train_step(X, Y), KeyboardInterrupt, 0.08)
    assert state(trainer) == before
    assert trainer.train_step(X, Y) == expected.train_step(X, Y)
    assert state(trainer) == state(expected)


@pytest.mark.parametrize("eager", [False, True], ids=["program", "modules"])
def test_a_fit_is_stopped_within_an_evaluation(eager):
    """The epoch's batches are done then; going on evaluates and ends the epoch."""
    nn.set_num_threads(1)
    many = np.concatenate([X] * 5), np.concatenate([Y] * 5)
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 20, "verbose": 0}
    settings["validation_data"] = many
    expected = make(eager)
    history = without_seconds(expected.fit(X[:20], Y[:20], **settings))
    trainer = make(eager)
    interrupted(lambda: trainer.fit(X[:20], Y[:20], **settings), KeyboardInterrupt, 0.2)
    position = trainer._position
    assert position is not None and position.batch == position.steps - position.epoch == 1
    got = trainer.fit(X[:20], Y[:20], **settings, resume=True)
    assert without_seconds(got) == history
    assert state(trainer) == state(expected)


def test_a_handler_that_only_takes_note_redoes_the_batch():
    """The batch is stopped, the handler says nothing, and the fit goes on to the same bits."""
    nn.set_num_threads(1)
    expected = make()
    history = fit(expected)
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    trainer = make()
    assert fit(trainer) == history
    timer.join()
    assert seen == [signal.SIGINT]
    assert state(trainer) == state(expected)


def test_networks_side_by_side_are_stopped():
    nn.set_num_threads(2)

    def run(trainers: list[nn.Trainer]) -> None:
        nn.fit_many(
            [t.model for t in trainers], nn.SoftmaxCE(), [t.optimizer for t in trainers], X, Y,
            3, ROWS, verbose=0,
        )  # fmt: skip

    trainers = [make(), make(hidden=900), make(hidden=800)]
    before = [state(t) for t in trainers]
    interrupted(lambda: run(trainers), KeyboardInterrupt, 0.08)
    assert [state(t) for t in trainers] == before


def test_a_large_weight_is_updated_whole_or_not_at_all():
    """Weights that are otherwise updated while gradients are made."""
    nn.set_num_threads(2)
    nn.manual_seed(1)
    model = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2048))
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=0.1))
    x, y = np.ones((20_000, 2048), F32), np.zeros((20_000, 2048), F32)
    trainer.train_step(x[:100], y[:100])
    before = state(trainer)
    for after in (0.1, 0.6):
        interrupted(lambda: [trainer.train_step(x, y) for _ in range(9)], KeyboardInterrupt, after)
        steps = int(trainer.optimizer.steps) - 1
        if steps == 0:
            assert state(trainer) == before
