"""The trainer: a loop by hand byte for byte, partial batches, order, entrances, progress."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import F32, F64, same_bytes, sha

import nnlite as nn
from nnlite.data import permutation
from nnlite.program.rows import Sums

ROWS = 53


def network(dtype=F32) -> nn.Sequential:
    nn.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 10, dtype=dtype), nn.ReLU(), nn.Linear(10, 4, dtype=dtype))


def data(rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Four classes that a network can tell apart."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 4, rows)
    return (np.eye(4, 6)[y] * 3 + rng.normal(size=(rows, 6))).astype(F32), y


def trainer_of(model=None, loss=None, seed=7, **options) -> nn.Trainer:
    model = model or network()
    options = {"lr": 0.004, "momentum": 0.9, **options}
    return nn.Trainer(
        model, loss or nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), **options), seed
    )


def weights(trainer: nn.Trainer) -> str:
    return sha(*(p.data for p in trainer.model.parameters()))


def fitted(X, y, **options) -> str:
    """The weights after two epochs."""
    trainer = trainer_of()
    trainer.fit(X, y, epochs=2, batch_size=8, verbose=0, **options)
    return weights(trainer)


# ---- the loop ----


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 8, 53, 1000])
def test_fit_is_the_loop_by_hand(batch_size, shuffle):
    X, y = data()
    trainer, model, loss = trainer_of(), network(), nn.SoftmaxCE()
    optimizer = nn.optim.SGD(model.parameters(), lr=0.004, momentum=0.9)
    history = trainer.fit(X, y, 3, batch_size, shuffle=shuffle, verbose=0)
    for epoch in range(3):
        order = permutation(ROWS, 7, epoch) if shuffle else np.arange(ROWS)
        total, correct = 0.0, 0
        for i in range(0, ROWS, batch_size):
            rows = order[i : i + batch_size]
            optimizer.zero_grad()
            output = model(X[rows])
            total += loss(output, y[rows]) * len(rows)  # the last batch counts with its own size
            correct += int((output.argmax(axis=1) == y[rows]).sum())
            model.backward(loss.backward())
            optimizer.step()
        assert history["loss"][epoch] == total / ROWS
        assert history["accuracy"][epoch] == correct / ROWS
    assert weights(trainer) == sha(*(p.data for p in model.parameters()))
    assert history["loss"][0] > history["loss"][1] > history["loss"][2]


def test_the_order_is_the_permutation_of_seed_and_epoch():
    """Seen through a model of one weight that adds up the rows, each with its own power of two."""
    seen = []

    class Listening(nn.MSELoss):
        def forward(self, output, target):
            seen.extend(target[:, 0].astype(int))
            return super().forward(output, target)

    model = nn.Linear(1, 1)
    optimizer = nn.optim.SGD(model.parameters(), lr=1e-6)
    trainer = nn.Trainer(model, Listening(), optimizer, seed=99)
    rows = np.arange(23.0).reshape(-1, 1)
    trainer.fit(rows, rows, epochs=2, batch_size=5, verbose=0)
    trainer.fit(rows, rows, epochs=1, batch_size=4, verbose=0)  # goes on with the third order
    assert seen == [i for epoch in range(3) for i in permutation(23, 99, epoch)]


def test_train_step_is_loss_then_update():
    X, y = data()
    trainer, model, loss = trainer_of(momentum=0), network(), nn.SoftmaxCE()
    assert trainer.train_step(X, y) == loss(model(X), y)
    model.backward(loss.backward())
    nn.optim.SGD(model.parameters(), lr=0.004).step()
    assert weights(trainer) == sha(*(p.data for p in model.parameters()))
    assert trainer.train_step(X[:1].tolist(), y[:1].tolist()) == pytest.approx(
        loss.evaluate(model.predict(X[:1]), y[:1]), rel=1e-6
    )


def test_gradients_of_before_do_not_matter():
    trainer, X, y = trainer_of(), *data()
    for p in trainer.model.parameters():
        p.grad.fill(np.nan)
    trainer.model(X)  # nor does a forward that is pending
    trainer.fit(X, y, 2, 8, verbose=0)
    assert weights(trainer) == fitted(X, y)


def test_two_fits_are_one():
    (X, y), trainer = data(), trainer_of()
    trainer.fit(X, y, 1, 8, verbose=0)
    twin = pickle.loads(pickle.dumps(trainer))
    for part in (trainer, twin, copy.deepcopy(trainer)):
        part.fit(X, y, 1, 8, verbose=0)
        assert weights(part) == fitted(X, y)


def test_sums_are_found_where_older_pickles_of_a_trainer_name_them():
    assert pickle.loads(b"cnnlite.train._rows\nSums\n.") is Sums


def test_the_seed_and_the_order_matter():
    X, y = data()
    other = trainer_of(seed=8)
    other.fit(X, y, 2, 8, verbose=0)
    assert len({weights(other), fitted(X, y), fitted(X, y, shuffle=False)}) == 3


# ---- losses and history ----


def test_history():
    X, y = data()
    trainer = trainer_of()
    history = trainer.fit(X, y, 4, 10, validation_data=(X[:20], y[:20]), verbose=0)
    names = {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert set(history.history) == names and history.epochs == 4 and "loss" in history
    assert all(len(values) == 4 for values in history.history.values())
    assert all(seconds > 0 for seconds in history["seconds"])
    measured = trainer.evaluate(X[:20], y[:20])  # as after the last epoch
    assert (history["val_loss"][-1], history["val_accuracy"][-1]) == tuple(measured.values())
    last = f"loss={history['loss'][-1]:.4g}, accuracy={history['accuracy'][-1]:.4g}, val_loss="
    assert repr(history).startswith(f"History(4 epochs; last: {last}")
    assert repr(nn.History()) == "History(0 epochs)" and nn.History().epochs == 0
    assert set(trainer_of().fit(X, y, 1, 10, verbose=0).history) == names - {
        "val_loss",
        "val_accuracy",
    }


def test_validation_changes_nothing():
    X, y = data()
    assert fitted(X, y, validation_data=(X[::-1], y[::-1])) == fitted(X, y)


def test_evaluate_is_by_hand():
    X, y = data(9000)  # more rows than a chunk
    trainer = trainer_of()
    before = weights(trainer)
    found, output = trainer.evaluate(X, y), trainer.model.predict(X)
    assert list(found) == ["loss", "accuracy"] and weights(trainer) == before
    assert found["loss"] == pytest.approx(nn.SoftmaxCE().evaluate(output, y), rel=1e-6)
    assert found["accuracy"] == (output.argmax(axis=1) == y).mean()
    one = trainer.evaluate(X[:4096], y[:4096])
    assert one["loss"] == nn.SoftmaxCE().evaluate(output[:4096], y[:4096])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_regression(reduction):
    X, _ = data()
    target = X[:, :4] * 0.1
    trainer = trainer_of(loss=nn.MSELoss(reduction), lr=0.001, momentum=0)
    before = trainer.evaluate(X, target)
    assert list(before) == ["loss"]
    whole = nn.MSELoss(reduction).evaluate(trainer.model.predict(X), target)
    assert before["loss"] == pytest.approx(whole, rel=1e-6)
    history = trainer.fit(X, target, 3, 7, verbose=0)
    assert set(history.history) == {"loss", "seconds"}
    assert before["loss"] > history["loss"][1] > history["loss"][2]


def test_sum_of_losses_is_not_divided():
    X, y = data()
    trainer = trainer_of(loss=nn.SoftmaxCE("sum"), lr=1e-9)
    history = trainer.fit(X, y, 1, 8, verbose=0)
    assert history["loss"][0] == pytest.approx(trainer.evaluate(X, y)["loss"], rel=1e-5)
    mean = trainer_of().evaluate(X, y)["loss"]
    assert history["loss"][0] == pytest.approx(mean * ROWS, rel=1e-5)


def test_probabilities_as_targets():
    X, y = data()
    one_hot = np.eye(4, dtype=F32)[y]
    trainer = trainer_of()
    history = trainer.fit(X, one_hot, 2, 8, verbose=0)
    assert set(history.history) == {"loss", "seconds"}
    by_class = trainer_of().fit(X, y, 2, 8, verbose=0)
    np.testing.assert_allclose(history["loss"], by_class["loss"], rtol=1e-5)


def test_the_model_keeps_its_mode():
    X, y = data()
    trainer = trainer_of()
    trainer.model.eval()
    trainer.fit(X, y, 2, 8, verbose=0)
    assert not trainer.model.training
    assert weights(trainer) == fitted(X, y)


# ---- entrances ----


class Rows(np.ndarray):
    """A subclass of arrays."""


def memory_map(array: np.ndarray, folder) -> np.ndarray:
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode="r")


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def misaligned(array: np.ndarray) -> np.ndarray:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


CONVERSIONS = {
    "list": lambda a, _: a.tolist(),
    "tuple of rows": lambda a, _: tuple(a),
    "float64": lambda a, _: a.astype(F64),
    "long double": lambda a, _: a.astype(np.longdouble),
    "Fortran order": lambda a, _: np.asfortranarray(a),
    "strided": lambda a, _: np.repeat(np.repeat(a, 2, axis=1), 3, axis=0)[::3, ::2],
    "reversed": lambda a, _: a[::-1].copy()[::-1],
    "big-endian": lambda a, _: a.astype(a.dtype.newbyteorder(">")),
    "read-only": lambda a, _: read_only(a),
    "memory map": memory_map,
    "misaligned": lambda a, _: misaligned(a),
    "subclass": lambda a, _: a.view(Rows),
    "an equal dtype, another object": lambda a, _: a.view(np.dtype(">f4").newbyteorder("=")),
}


@pytest.mark.parametrize("case", CONVERSIONS)
def test_any_array_gives_the_same_bytes(case, tmp_path):
    X, y = data()
    before, given = X.copy(), CONVERSIONS[case](X, tmp_path)
    expected = fitted(X, y)
    assert fitted(given, y) == expected
    assert fitted(given, y, shuffle=False) == fitted(X, y, shuffle=False)
    trainer = trainer_of()
    same_bytes(trainer.model.predict(given), trainer.model.predict(X))
    same_bytes(trainer.model.predict(given, batch_size=7), trainer.model.predict(X))
    assert trainer.evaluate(given, y) == trainer.evaluate(X, y)
    assert trainer.train_step(given, y) == trainer_of().train_step(X, y)
    same_bytes(np.asarray(given).astype(F32), before)
    validated = trainer_of().fit(X, y, 1, 8, validation_data=(given, y), verbose=0)
    again = trainer_of().fit(X, y, 1, 8, validation_data=(X, y), verbose=0)
    assert validated["val_loss"] == again["val_loss"]


def test_numbers_of_every_kind():
    X, y = data()
    whole = np.round(X)
    assert len({fitted(whole.astype(kind), y) for kind in (F32, int, np.int16, np.float16)}) == 1
    expected = fitted(X, y)
    for targets in (
        y.astype(np.int8),
        y.astype(">i4"),
        y.astype(np.uint64),
        y.tolist(),
        y[::-1].copy()[::-1],
    ):
        assert fitted(X, targets) == expected
    booleans = trainer_of().fit(X, y > 1, 1, 8, verbose=0)
    assert booleans["loss"] == trainer_of().fit(X, (y > 1).astype(int), 1, 8, verbose=0)["loss"]


def test_float64_models():
    """The same training in both types, from the same weights."""
    (X, y), single, double = data(), trainer_of(), trainer_of(network(F64))
    for p, q in zip(double.model.parameters(), single.model.parameters(), strict=True):
        p.data = q.data
    losses = [trainer.fit(X, y, 3, 8, verbose=0)["loss"] for trainer in (single, double)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert double.model.predict(X).dtype == F64 and losses[0] != losses[1]


# ---- interruptions and progress ----


class Interrupted(nn.Tanh):
    """Raises, once, as Ctrl-C would between two kernels."""

    left = -1

    def _run(self, x, keep):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super()._run(x, keep)

    def _grad(self, saved, grad_output, want_input):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super()._grad(saved, grad_output, want_input)


@pytest.mark.parametrize("calls", [1, 2, 6, 7, 30])
def test_ctrl_c_leaves_a_model_that_works(calls):
    X, y = data()
    nn.manual_seed(0)
    tanh = Interrupted()
    model = nn.Sequential(nn.Linear(6, 10), tanh, nn.Linear(10, 4))
    trainer = trainer_of(model)
    tanh.left = calls
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, 5, 8, verbose=0)
    assert all(np.isfinite(p.data).all() for p in model.parameters())
    losses = trainer.fit(X, y, 5, 8, verbose=0)["loss"]
    assert losses[-1] < losses[0]
    output = model(X)
    model.backward(output)
    same_bytes(model.predict(X), output)


def test_progress_only_when_asked(capfd):
    X, y = data()
    trainer = trainer_of()
    trainer.fit(X, y, 2, 8, verbose=0)
    trainer.evaluate(X, y)
    assert capfd.readouterr() == ("", "")
    trainer.fit(X, y, 2, 8)
    shown = capfd.readouterr()
    assert shown.out == "" and "2/2" in shown.err and "loss=" in shown.err
