"""Callbacks: when they are called, early stopping and its state, what `resolve` takes."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import F64

import nnlite as nn
from nnlite.train import callbacks as C

NAN = math.nan


def a_trainer() -> SimpleNamespace:
    """What a callback sees of a trainer."""
    model = nn.Sequential(nn.Linear(3, 2, dtype=F64), nn.Dropout(0.5))
    return SimpleNamespace(model=model, stop=False)


def run(stopping: C.EarlyStopping, figures: list, trainer=None, first: int = 1) -> int:
    """Feeds figures of epochs `first`, `first` + 1, ...; the epoch of the stop, or 0.

    In each epoch the weights are the epoch's number.
    """
    trainer = trainer or a_trainer()
    stopping.on_fit_begin(trainer)
    for epoch, figure in enumerate(figures, first):
        for p in trainer.model.parameters():
            p.data.fill(epoch)
        trainer.model[1].step = epoch
        stopping.on_epoch_end(trainer, epoch, {"loss": 1.0, stopping.monitor: figure})
        if trainer.stop:
            return epoch
    return 0


# settings, figures of the epochs: epoch of the stop (0: none), best epoch
STOPS = {
    "no improvement": ({"patience": 2}, [3, 2, 2, 2], 4, 2),
    "patience 1": ({"patience": 1}, [3, 2, 2, 1], 3, 2),
    "counts anew": ({"patience": 2}, [3, 4, 2, 3, 1, 2, 2], 7, 5),
    "still better": ({"patience": 2}, [5, 4, 3, 2, 1], 0, 5),
    "min_delta": ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.5, 2.4], 3, 1),
    "just enough": ({"patience": 2, "min_delta": 0.5}, [3, 2.25, 1.5, 1.5], 0, 3),
    "accuracy": ({"patience": 2, "monitor": "val_accuracy"}, [0.1, 0.3, 0.2, 0.3], 4, 2),
    "r2": ({"patience": 1, "monitor": "val_r2"}, [-3, -1, 0.5, 0.4], 4, 3),
    "top_5": ({"patience": 1, "monitor": "top_5"}, [0.5, 0.4], 2, 1),
    "told max": ({"patience": 1, "mode": "max"}, [1, 2, 1], 3, 2),
    "told min": ({"patience": 1, "mode": "min", "monitor": "accuracy"}, [2, 1, 2], 3, 2),
    "NaN": ({"patience": 2}, [3, NAN, NAN], 3, 1),
    "NaN first": ({"patience": 2}, [NAN, 3, 4], 0, 2),
    "NaN alone": ({"patience": 3}, [NAN] * 4, 3, None),
    "infinite": ({"patience": 2}, [math.inf, 3, 4], 0, 2),
}


@pytest.mark.parametrize("case", STOPS)
def test_early_stopping(case):
    settings, figures, stop, best = STOPS[case]
    stopping, trainer = C.EarlyStopping(**settings), a_trainer()
    assert run(stopping, figures, trainer) == stop
    assert stopping.best_epoch == best and stopping.stopped_epoch == (stop or None)
    assert stopping.best == (None if best is None else figures[best - 1])
    last = stop or len(figures)
    stopping.on_fit_end(trainer, None)
    expected = best or last  # nothing to put back: the last weights stay
    assert all((p.data == expected).all() for p in trainer.model.parameters())
    assert trainer.model[1].step == expected  # the other state of modules too


def test_without_restoring():
    stopping, trainer = C.EarlyStopping(patience=1, restore_best=False), a_trainer()
    assert run(stopping, [1, 2], trainer) == 2
    stopping.on_fit_end(trainer, None)
    assert all((p.data == 2).all() for p in trainer.model.parameters())
    assert stopping.state_dict()["weights"] is None


def test_a_further_fit_begins_anew():
    stopping = C.EarlyStopping(patience=2)
    run(stopping, [1, 2, 3])
    assert run(stopping, [9, 8, 8]) == 0 and stopping.best == 8 and stopping.wait == 1


@pytest.mark.parametrize("cut", range(7))
def test_a_resumed_fit_stops_at_the_same_epoch_with_the_same_weights(cut):
    figures = [5, NAN, 4, 4.5, 3, 3.5, 3.2, 3.1, 1]
    whole, trainer = C.EarlyStopping(patience=3), a_trainer()
    assert run(whole, figures, trainer) == 8
    whole.on_fit_end(trainer, None)

    before, after, other = C.EarlyStopping(patience=3), C.EarlyStopping(patience=3), a_trainer()
    run(before, figures[:cut])
    state = before.state_dict()
    weights, plain = state.pop("weights"), json.loads(json.dumps(state))  # as a file holds them
    run(before, [0, 1, 2])  # the state is a copy
    after.load_state_dict(plain | {"weights": weights})
    assert run(after, figures[cut:], other, first=cut + 1) == 8
    after.on_fit_end(other, None)
    for p, q in zip(trainer.model.parameters(), other.model.parameters(), strict=True):
        assert np.array_equal(p.data, q.data)
    states = [dict(c.state_dict(), weights=0) for c in (whole, after)]
    for state in states:
        state["modules"].popitem()[1].pop("stream")  # the two models drew different streams
    assert states[0] == states[1]


def test_infinity_is_written_as_json():
    stopping = C.EarlyStopping()
    run(stopping, [math.inf])
    assert json.loads(json.dumps(stopping.state_dict()["best"])) == "inf"
    other = C.EarlyStopping()
    other.load_state_dict(stopping.state_dict())
    assert other.best == math.inf


# ---- several callbacks ----


class Listening(C.Callback):
    """Writes down every call."""

    def __init__(self, log: list, name: str, every: int = 1) -> None:
        self.log, self.name, self.every = log, name, every

    def on_fit_begin(self, trainer):
        self.log.append((self.name, "begin"))

    def on_batch_end(self, trainer, step, values):
        self.log.append((self.name, step, values["loss"]))

    def on_epoch_end(self, trainer, epoch, values):
        self.log.append((self.name, "epoch", epoch))

    def on_fit_end(self, trainer, history):
        self.log.append((self.name, "end", history))


def test_calls_in_order():
    log: list = []
    several = C.resolve(
        [Listening(log, "a", 2), Listening(log, "b", 3), lambda *call: log.append(call)]
    )
    several.on_fit_begin("t")
    step = 0
    while step < 7:
        step += several.batches_until_call(step)
        if step < 7:
            several.on_batch_end("t", step, {"loss": step / 2})
    several.on_epoch_end("t", 1, {"loss": 0.5})
    several.on_fit_end("t", "h")
    assert log == [
        ("a", "begin"), ("b", "begin"), ("a", 2, 1.0), ("b", 3, 1.5), ("a", 4, 2.0), ("a", 6, 3.0),
        ("b", 6, 3.0), ("a", "epoch", 1), ("b", "epoch", 1), ("t", 1, {"loss": 0.5}),
        ("a", "end", "h"), ("b", "end", "h"),
    ]  # fmt: skip


def test_batches_run_in_one_piece_where_nobody_listens():
    assert C.resolve([C.EarlyStopping(), print]).batches_until_call(0) is None
    assert C.resolve(None).batches_until_call(5) is None
    listening = C.LambdaCallback(on_batch_end=lambda *call: None, every=100)
    several = C.resolve([listening, C.EarlyStopping()])
    assert [several.batches_until_call(step) for step in (0, 1, 99, 100)] == [100, 99, 1, 100]


def test_functions():
    log: list = []
    made = C.LambdaCallback(
        on_epoch_end=lambda *call: log.append(("epoch", *call)),
        on_fit_begin=lambda *call: log.append(("begin", *call)),
        on_fit_end=lambda *call: log.append(("end", *call)),
    )
    made.on_fit_begin(1)
    made.on_batch_end(1, 2, {})
    made.on_epoch_end(1, 2, {})
    made.on_fit_end(1, 2)
    assert log == [("begin", 1), ("epoch", 1, 2, {}), ("end", 1, 2)]


def test_resolve():
    one = C.EarlyStopping()
    several = C.resolve([one])
    assert C.resolve(several) is several and list(several) == [one] and len(several) == 1
    assert list(C.resolve(one)) == [one] and len(C.resolve(())) == 0
    assert isinstance(next(iter(C.resolve(print))), C.LambdaCallback)


def test_state_of_several():
    several = C.resolve([C.EarlyStopping(patience=2), print])
    run(next(iter(several)), [1, 2])
    again = C.resolve([C.EarlyStopping(patience=2), print])
    again.load_state_dict(several.state_dict())
    assert next(iter(again)).wait == 1
    with pytest.raises(ValueError, match="that of 2 callbacks, this fit has 1; pass the same"):
        C.resolve(print).load_state_dict(several.state_dict())


REFUSED = {
    "class": (lambda: C.resolve([C.EarlyStopping]), TypeError, r"pass EarlyStopping\(\)"),
    "number": (lambda: C.resolve(3), TypeError, "expected a Callback or a function of .*got 3"),
    "every": (lambda: C.resolve(Listening([], "", 0)), ValueError, "every: expected at least 1"),
    "every, float": (lambda: C.LambdaCallback(every=1.5), TypeError, "every: expected an integer"),
    "function": (lambda: C.LambdaCallback(on_fit_end=3), TypeError, "on_fit_end: expected a func"),
    "patience": (lambda: C.EarlyStopping(patience=0), ValueError, "patience: expected at least 1"),
    "delta": (lambda: C.EarlyStopping(min_delta=-1), ValueError, "min_delta: .*>= 0, got -1"),
    "mode": (lambda: C.EarlyStopping(mode="best"), ValueError, "mode: expected 'auto', 'min' or"),
    "monitor": (lambda: C.EarlyStopping(3), TypeError, "monitor: expected a name"),
    "not measured": (lambda: C.EarlyStopping().on_epoch_end(None, 1, {"loss": 1.0}), ValueError,
                     r"'val_loss' was not measured, only loss; pass validation data to fit"),
    "misspelt": (lambda: C.EarlyStopping("acc").on_epoch_end(None, 1, {"loss": 1.0}), ValueError,
                 "'acc' was not measured, only loss$"),
    "a matrix": (lambda: C.EarlyStopping("m").on_epoch_end(None, 1, {"m": np.eye(2)}), ValueError,
                 "'m' is no number"),
    "state": (lambda: C.EarlyStopping().load_state_dict({"best": 1}), ValueError,
              r"expected \['best', .*got \['best'\]; take it from state_dict"),
    "state, kind": (lambda: C.EarlyStopping().load_state_dict(3), ValueError, "got int; take it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    function, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        function()
