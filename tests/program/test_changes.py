"""What a user changes between two steps counts from the next step on, recorded program or not."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn

ROWS, IN, OUT = 40, 6, 3


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, IN)).astype(np.float32), rng.integers(0, OUT, ROWS)


def made():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(IN, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, OUT))
    return nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1, momentum=0.9))


def by_hand(trainer, x, y, sample_weight=None):
    """One step by the modules, as the README shows it."""
    loss = trainer.loss.forward(trainer.model.forward(x), y, sample_weight)
    trainer.model.zero_grad()
    trainer.model.backward(trainer.loss.backward())
    trainer.optimizer.step()
    return loss


def set_to(part, name, value):
    def change(trainer):
        setattr(part(trainer), name, value)

    return change


def loss_of(trainer):
    return trainer.loss


def another_optimizer(trainer):
    trainer.optimizer = nn.optim.SGD(trainer.model.parameters(), 1e-3)


def another_loss(trainer):
    trainer.loss = nn.SoftmaxCE(label_smoothing=0.3)


def another_model(trainer):
    """The same layers, but for one without Dropout."""
    first, relu, _, last = trainer.model
    trainer.model = nn.Sequential(first, relu, last)


CHANGES = {
    "optimizer": another_optimizer,
    "loss": another_loss,
    "model": another_model,
    "smoothing": set_to(loss_of, "label_smoothing", 0.5),
    "weight": set_to(loss_of, "weight", [1, 0, 3]),
    "reduction": set_to(loss_of, "reduction", "sum"),
    "ignored": set_to(loss_of, "ignore_index", 1),
    "dropout": set_to(lambda trainer: trainer.model[2], "p", 0.0),
    "masks": lambda trainer: trainer.model[2].load_extra_state(
        {"seed": 77, "stream": 3, "step": 1000}
    ),
    "rate": set_to(lambda trainer: trainer.optimizer, "lr", 1.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_counts_from_the_next_step_on(name):
    x, y = data()
    results = []
    for step in (by_hand, lambda trainer, x, y: trainer.train_step(x, y)):
        trainer = made()
        losses = [step(trainer, x, y), step(trainer, x, y)]
        before = trainer.model.state_dict()
        CHANGES[name](trainer)
        losses += [step(trainer, x, y), step(trainer, x, y)]
        results.append((losses, [p.data.tobytes() for p in trainer.model.parameters()]))
        assert any((before[k] != v).any() for k, v in trainer.model.state_dict().items())
    assert results[0] == results[1]
    trainer = made()
    losses = [trainer.train_step(x, y) for _ in range(4)]
    assert losses != results[0][0]  # the change is one


def test_a_fit_sees_them_too():
    x, y = data()
    histories = []
    for change in ("setting", "loss", None):
        trainer = made()
        trainer.fit(x, y, 1, 7, verbose=0)
        if change == "setting":
            trainer.loss.label_smoothing = 0.5
        elif change == "loss":
            trainer.loss = nn.SoftmaxCE(label_smoothing=0.5)
        histories.append(trainer.fit(x, y, 2, 7, verbose=0)["loss"])
    assert histories[0] == histories[1] != histories[2]


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("label_smoothing", 2, ValueError, "SoftmaxCE: label_smoothing"),
        ("ignore_index", "1", TypeError, "SoftmaxCE: ignore_index"),
        ("weight", [1, -1, 0], ValueError, "SoftmaxCE: weight: class 1 has -1"),
        ("reduction", "none", ValueError, "SoftmaxCE: reduction"),
    ],
)
def test_a_wrong_setting_is_refused_and_nothing_changes(name, value, error, message):
    loss = nn.SoftmaxCE(weight=[1, 2, 3], label_smoothing=0.1)
    before = getattr(loss, name)
    with pytest.raises(error, match=message):
        setattr(loss, name, value)
    assert getattr(loss, name) is before


def test_parts_of_another_kind_are_refused():
    trainer = made()
    loss, optimizer = trainer.loss, trainer.optimizer
    with pytest.raises(TypeError, match=r"Trainer: loss: expected Loss, got .*pass SoftmaxCE\("):
        trainer.loss = nn.SoftmaxCE
    with pytest.raises(ValueError, match="none of its parameters belongs to the model"):
        trainer.optimizer = nn.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    assert trainer.loss is loss and trainer.optimizer is optimizer


@pytest.mark.parametrize(
    "shape", ["transposed", "every other row", "as a list", "float64", "empty"]
)
def test_batches_that_must_be_converted_after_one_that_need_not(shape):
    """The short way of a step takes only what the kernels take, and the long way the rest."""
    x, y = data()
    wide = np.repeat(x, 2, axis=0)
    other = {
        "transposed": np.asfortranarray(x), "every other row": wide[::2], "as a list": x.tolist(),
        "float64": x.astype(np.float64), "empty": x[:0],
    }[shape]  # fmt: skip
    losses = []
    for first in (x, other):
        trainer = made()
        trainer.train_step(x, y)
        if shape == "empty":
            with pytest.raises(ValueError, match="x has 0 rows"):
                trainer.train_step(other, y[:0])
            return
        losses.append(trainer.train_step(first, y))
    assert losses[0] == losses[1]


def test_steps_of_different_sizes_and_kinds():
    """The number of rows follows the batch, also after a step of another kind."""
    x, y = data()
    weight = np.linspace(0.5, 2, ROWS, dtype=np.float32)
    trainer, hand = made(), made()
    for rows in (40, 7, 7, 40, 1, 25):
        assert trainer.train_step(x[:rows], y[:rows]) == by_hand(hand, x[:rows], y[:rows])
        got = trainer.train_step(x[:30], y[:30], weight[:30])
        assert got == by_hand(hand, x[:30], y[:30], weight[:30])
        assert trainer.train_step(x[:rows], y[:rows]) == by_hand(hand, x[:rows], y[:rows])
    for p, q in zip(trainer.model.parameters(), hand.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_a_step_that_fails_draws_its_masks_once():
    """As a forward of the modules does; the next step then has the same masks either way."""
    x, y = data()
    bad = x.copy()
    bad[3, 2] = np.nan
    trainer, hand = made(), made()
    assert trainer.train_step(x, y) == by_hand(hand, x, y)
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        trainer.train_step(bad, y)
    hand.loss.forward(hand.model.forward(bad), y)
    hand.model.backward(hand.loss.backward())  # and no step of the optimiser
    assert trainer.train_step(x, y) == by_hand(hand, x, y)
    assert trainer.model[2].step == 3
