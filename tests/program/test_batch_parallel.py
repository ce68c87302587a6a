"""Batch-parallel steps (csrc/program/batch_parallel.inc): the bits of one thread and of modules."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite._core import native
from nnlite.program import network as networks
from nnlite.program.rows import Rows, Sums
from nnlite.program.train import compiled
from nnlite.train._eager import Eager

pytestmark = pytest.mark.skipif(
    native.build_facts()["threads"] == "none", reason="this build has no threads"
)

ROWS, BATCH, IN, OUT = 577, 200, 37, 7


@pytest.fixture(autouse=True)
def seven_cores(monkeypatch):
    """As on a machine of seven cores."""
    monkeypatch.setattr(networks, "available_cores", lambda: 7)


@pytest.fixture(autouse=True)
def shared():
    """Where a batch can be shared it is."""
    native.set_autotune(batch_parallel=1)
    yield
    native.set_autotune()


def plain(dtype):
    return nn.Sequential(
        nn.Linear(IN, 75, dtype=dtype), nn.ReLU(), nn.Linear(75, 40, dtype=dtype), nn.Tanh(),
        nn.Linear(40, OUT, dtype=dtype),
    )  # fmt: skip


def two_layers(dtype):
    return nn.Sequential(
        nn.Linear(IN, 129, dtype=dtype), nn.Sigmoid(), nn.Linear(129, OUT, bias=False, dtype=dtype)
    )


def no_layer_above(dtype):
    """One Linear alone, whose activation is the output's."""
    return nn.Sequential(nn.Linear(IN, 12 * OUT, dtype=dtype), nn.Sigmoid())


def separate_activations(dtype):
    """The second layer is no Linear: rows go back to the first."""
    return nn.Sequential(
        nn.Linear(IN, 64, bias=False, dtype=dtype), nn.ReLU(), nn.Tanh(), nn.Softmax(),
        nn.Linear(64, 50, dtype=dtype), nn.Sigmoid(), nn.ReLU(), nn.Linear(50, OUT, dtype=dtype),
    )  # fmt: skip


def dropout(dtype):
    return nn.Sequential(
        nn.Linear(IN, 92, dtype=dtype), nn.ReLU(), nn.Dropout(0.4), nn.Linear(92, 44, dtype=dtype),
        nn.Tanh(), nn.Dropout(0.1), nn.Linear(44, OUT, dtype=dtype),
    )  # fmt: skip


def log_probabilities(dtype):
    return nn.Sequential(
        nn.Linear(IN, 100, dtype=dtype), nn.ReLU(), nn.Linear(100, OUT, dtype=dtype),
        nn.LogSoftmax(),
    )  # fmt: skip


def weights():
    return np.linspace(0.5, 2, OUT)


# name: (model, loss, optimiser by its parameters, with weights of samples)
CASES = {
    "sgd": (plain, nn.SoftmaxCE, lambda p: nn.optim.SGD(p, 0.1, momentum=0.9), False),
    "adam": (plain, nn.SoftmaxCE, lambda p: nn.optim.AdamW(p, 0.01, amsgrad=True), False),
    "sum": (two_layers, lambda: nn.SoftmaxCE(reduction="sum"),
            lambda p: nn.optim.SGD(p, 1e-3, weight_decay=0.01), False),
    "clipped": (plain, nn.SoftmaxCE, lambda p: nn.optim.RMSprop(p, 0.01, clip_norm=0.3), False),
    "clipped by value": (two_layers, nn.SoftmaxCE,
                         lambda p: nn.optim.NAdam(p, 0.01, clip_value=1e-3), False),
    "one layer": (no_layer_above, nn.MSELoss, lambda p: nn.optim.Adamax(p, 0.01), False),
    "separate activations": (separate_activations, nn.SoftmaxCE,
                             lambda p: nn.optim.Adagrad(p, 0.1), False),
    "dropout": (dropout, nn.SoftmaxCE, lambda p: nn.optim.Adam(p, 0.01), False),
    "sample weights": (plain, nn.SoftmaxCE, lambda p: nn.optim.Adadelta(p), True),
    "class weights": (plain, lambda: nn.SoftmaxCE(weight=weights()),
                      lambda p: nn.optim.SGD(p, 0.1), False),
    "smoothing": (two_layers, lambda: nn.SoftmaxCE(label_smoothing=0.2),
                  lambda p: nn.optim.Rprop(p), False),
    "ignored": (plain, lambda: nn.SoftmaxCE(ignore_index=2), lambda p: nn.optim.SGD(p, 0.1), False),
    "likelihood": (log_probabilities, lambda: nn.NLLLoss(ignore_index=1),
                   lambda p: nn.optim.SGD(p, 0.1), False),
}  # fmt: skip


def data(columns, dtype, weighted):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, IN)).astype(dtype)
    y = rng.integers(0, OUT, ROWS) if columns is None else rng.random((ROWS, columns)).astype(dtype)
    return Rows(x, y, rng.random(ROWS).astype(dtype) if weighted else None)


def made(name, dtype):
    model, loss, optimizer, weighted = CASES[name]
    nn.manual_seed(3)
    network, criterion = model(dtype), loss()
    columns = 12 * OUT if isinstance(criterion, nn.MSELoss) else None
    return network, criterion, optimizer(network.parameters()), data(columns, dtype, weighted)


def trained(runner_of, name, dtype, threads, order):
    """Weights, states and sums after two passes; and how many threads shared the last batch."""
    nn.set_num_threads(threads)
    network, loss, optimizer, rows = made(name, dtype)
    runner = runner_of(network, loss, optimizer, rows)
    found = []
    for epoch in range(2):
        sums = Sums()
        shuffled = None if order is None else np.roll(order, 7 * epoch)
        runner.run(rows, shuffled, 0, -(-ROWS // BATCH), sums)
        found += [sums.loss, sums.weight, sums.correct, sums.counted]
    values = [p.data.tobytes() for p in network.parameters()]
    values += [p.grad.tobytes() for p in network.parameters()]
    values += [state.tobytes() for state in optimizer.state.values()]
    return values, found, getattr(runner, "training", None)


def program(model, loss, optimizer, rows):
    return compiled(model, loss, optimizer, rows, BATCH, rows.y.ndim == 1)


def eager(model, loss, optimizer, rows):
    return Eager(model, loss, optimizer, BATCH)


@pytest.mark.parametrize("order", ["as they lie", "shuffled"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_any_number_of_threads(name, dtype, order, monkeypatch):
    monkeypatch.setattr(networks, "SHARED_BYTES", 1 << 24)  # also what is larger than a cache
    rows = None if order == "as they lie" else np.random.default_rng(1).permutation(ROWS)
    values, sums, training = trained(program, name, dtype, 1, rows)
    assert training.shared == 1
    for threads in (2, 3, 7):
        shared = trained(program, name, dtype, threads, rows)
        assert 1 < shared[2].shared <= threads  # the batches of 200 rows and the last, of 177
        assert shared[:2] == (values, sums)
    assert trained(eager, name, dtype, 2, rows)[:2] == (values, sums)


def threads_of(model, rows):
    """Threads that share a batch of so many rows, of two."""
    nn.set_num_threads(2)
    x, y = np.ones((rows, IN), np.float32), np.zeros(rows, np.int64)
    optimizer = nn.optim.SGD(model.parameters(), 0.1)
    runner = compiled(model, nn.SoftmaxCE(), optimizer, Rows(x, y), rows, True)
    runner.run(Rows(x, y), None, 0, 1, Sums())
    return runner.training.shared


def test_what_is_shared(monkeypatch):
    assert threads_of(plain(np.float32), 200) == 2
    first = nn.Sequential(nn.Tanh(), nn.Linear(IN, 97), nn.Dropout(0.5), nn.Linear(97, 300),
                          nn.Linear(300, 3))  # fmt: skip
    assert threads_of(first, 203) == 2  # any widths, any first layer, any number of rows
    assert threads_of(plain(np.float32), 15) == 1  # rows
    assert threads_of(nn.Sequential(nn.Linear(IN, 3)), 200) == 1  # work
    large = nn.Sequential(nn.Linear(IN, 2000), nn.ReLU(), nn.Linear(2000, 300))
    assert threads_of(large, 64) == 1  # its products are worth threads of their own
    monkeypatch.setattr(networks, "available_cores", lambda: 1)
    assert threads_of(plain(np.float32), 200) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_wrong_changes_no_weight(threads):
    nn.set_num_threads(threads)
    model = plain(np.float32)
    optimizer = nn.optim.Adam(model.parameters(), 0.01)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, IN)).astype(np.float32), rng.integers(0, OUT, 200)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    trainer.train_step(x, y)
    before = [p.data.tobytes() for p in model.parameters()]
    y[150] = OUT
    with pytest.raises(IndexError, match=f"y: row 150 holds {OUT}, expected a class in"):
        trainer.train_step(x, y)
    y[150], x[120, 3] = 0, np.inf
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        trainer.train_step(x, y)
    assert [p.data.tobytes() for p in model.parameters()] == before
    assert any(np.isnan(p.grad).any() for p in model.parameters())  # to be looked at


def test_metrics_see_the_outputs_of_a_shared_batch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(577, IN)).astype(np.float32), rng.integers(0, OUT, 577)
    histories = []
    for threads in (1, 2):
        nn.set_num_threads(threads)
        nn.manual_seed(0)
        model = plain(np.float32)
        trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1))
        history = trainer.fit(x, y, 2, BATCH, metrics=[nn.metrics.TopK(2)], verbose=0)
        del history["seconds"]
        histories.append(dict(history))
    assert histories[0] == histories[1]
    assert histories[0]["top_2"][1] > 2 / OUT
