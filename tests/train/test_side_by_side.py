"""Functions that fit, side by side: the bits of each alone, in a fixed order, with what each of
them raises and warns."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from functools import partial

import numpy as np
import pytest

import nnlite as nn
from nnlite.train import _side_by_side as side_by_side


def data(rows=120, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 6)).astype(dtype), rng.integers(0, 3, rows)


def made(seed, dtype=np.float32):
    nn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5 + seed, dtype=dtype), nn.Tanh(),
                          nn.Dropout(0.25),
                          nn.Linear(5 + seed, 3, dtype=dtype))  # fmt: skip
    optimizer = nn.optim.Adam(model.parameters(), lr=0.02)
    return nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed)


def fitted(seed, dtype=np.float32, epochs=4):
    X, y = data(dtype=dtype)
    trainer = made(seed, dtype)
    history = trainer.fit(X, y, epochs, 16, validation_data=(X[:30], y[:30]), verbose=0)
    weights = b"".join(p.data.tobytes() for p in trainer.model.parameters())
    return weights, history["val_loss"], trainer.model.predict(X).tobytes()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("most", [1, 2, 50])
def test_the_bits_are_those_of_each_alone(threads, most):
    seeds = range(5)
    functions = [lambda seed=seed: fitted(seed, epochs=2 + seed) for seed in seeds]
    found = side_by_side.run(functions, threads, most)
    assert found == [fitted(seed, epochs=2 + seed) for seed in seeds]


def test_two_dtypes_and_a_function_that_trains_nothing():
    kinds = [np.float32, np.float64, np.float32]
    functions = [lambda i=i, kind=kind: fitted(i, kind) for i, kind in enumerate(kinds)]
    found = side_by_side.run([*functions, lambda: 7], 2, 50)
    assert found == [*(fitted(i, kind) for i, kind in enumerate(kinds)), 7]
    assert side_by_side.run([], 2, 50) == []


def many(numbers):
    X, y = data()
    trainers = [made(number) for number in numbers]
    nn.fit_many([t.model for t in trainers], nn.SoftmaxCE(), [t.optimizer for t in trainers],
                X, y, 3, 16, verbose=0)  # fmt: skip
    return [p.data.tobytes() for t in trainers for p in t.model.parameters()]


def test_fit_many_inside_and_runs_inside_runs():
    inner = [lambda i=i: fitted(i) for i in range(3)]
    outer = [lambda: many([1, 2]), lambda: side_by_side.run(inner, 1, 2), lambda: fitted(4)]
    expected = [many([1, 2]), [fitted(i) for i in range(3)], fitted(4)]
    assert side_by_side.run(outer, 2, 50) == expected


def test_all_train_in_one_call(monkeypatch):
    calls = []
    own = side_by_side.native.run_side_by_side

    def counted(dtype, trainings, threads):
        calls.append((len(trainings), threads))
        own(dtype, trainings, threads)

    monkeypatch.setattr(side_by_side.native, "run_side_by_side", counted)
    side_by_side.run([lambda i=i: fitted(i) for i in range(6)], 2, 4)
    assert calls[0] == (4, 2)  # four at most, on two threads
    assert {count for count, _ in calls} <= {1, 2, 3, 4}


def test_one_at_a_time_and_always_in_one_order():
    def function(number, said, inside):
        assert not inside  # nobody else is between two waits
        inside.append(number)
        said.append(number)
        inside.pop()
        X, y = data()
        made(number).fit(X, y, 1, 16, verbose=0)
        said.append(number + 10)
        return threading.current_thread()

    runs = []
    for _ in range(2):
        said, inside = [], []
        found = side_by_side.run([partial(function, i, said, inside) for i in range(4)], 2, 50)
        assert len(set(found)) == 4 and threading.current_thread() not in found
        runs.append(said)
    assert runs[0] == runs[1] and runs[0][:4] == [0, 1, 2, 3]


def test_what_one_raises_ends_all():
    ended = []

    def others(number):
        try:
            return fitted(number, epochs=10**6)
        except Exception:
            ended.append("caught")
        finally:
            ended.append(number)

    def fails():
        fitted(1)
        raise LookupError("of this one")

    before = threading.active_count()
    with pytest.raises(LookupError, match="of this one"):
        side_by_side.run([lambda: others(0), fails, lambda: others(2)], 2, 50)
    assert sorted(ended) == [0, 2] and threading.active_count() == before
    assert side_by_side.alone()


def test_filters_of_warnings_are_each_functions_own():
    def function(number):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always" if number % 2 else "ignore")
            warnings.warn("before", UserWarning, stacklevel=1)
            fitted(number, epochs=2 + number)
            warnings.warn(f"after {number}", UserWarning, stacklevel=1)
        return [str(one.message) for one in caught]

    before = warnings.filters, warnings.showwarning
    found = side_by_side.run([lambda i=i: function(i) for i in range(4)], 2, 50)
    assert found == [[], ["before", "after 1"], [], ["before", "after 3"]]
    assert warnings.filters is before[0] and warnings.showwarning is before[1]
    with pytest.raises(UserWarning, match="as an error"):  # as pytest is configured
        side_by_side.run([lambda: warnings.warn("as an error", stacklevel=1)], 2, 50)


def test_the_clock_counts_a_functions_share(monkeypatch):
    """Time that stands still but for 8 s a call of C, of one thread: the shares add up to it."""
    now = [0.0]
    own = side_by_side.native.run_side_by_side

    def slow(dtype, trainings, threads):
        own(dtype, trainings, threads)
        now[0] += 8

    monkeypatch.setattr(side_by_side.native, "run_side_by_side", slow)
    monkeypatch.setattr(side_by_side.time, "perf_counter", lambda: now[0])

    def function(number):
        start = side_by_side.clock()
        fitted(number, epochs=2)
        return side_by_side.clock() - start

    shares = side_by_side.run([partial(function, i) for i in range(4)], 1, 50)
    assert sum(shares) == now[0] >= 8 and side_by_side.behind() == 0
    assert shares == sorted(shares) and 0 < shares[0] < shares[3]  # by their weights


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="no signals")
def test_ctrl_c_ends_all():
    ended = []

    def forever(number):
        try:
            fitted(number, epochs=10**9)
        except KeyboardInterrupt:
            ended.append("taken for its own")
        finally:
            ended.append(number)

    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        side_by_side.run([lambda i=i: forever(i) for i in range(3)], 2, 50)
    timer.join()
    assert sorted(ended) == [0, 1, 2] and threading.active_count() <= before
    assert fitted(0) == side_by_side.run([lambda: fitted(0)], 2, 50)[0]
