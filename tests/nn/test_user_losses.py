"""Losses of a user: forward and backward, forward on Tensors, a plain function; all train."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import same_bytes

import nnlite as nn

ROWS, IN = 40, 5


class Arrays(nn.Loss):
    """The mean square by forward and backward, without Loss.__init__."""

    def __init__(self):
        self.calls = 0

    def forward(self, output, target):
        self.calls += 1
        self.difference = output - target
        return (self.difference**2).mean()

    def backward(self):
        return 2 * self.difference / self.difference.size


class Tensors(nn.Loss):
    def forward(self, output, target):
        return ((output - target) ** 2).mean()


class Halved(nn.MSELoss):
    """A kernel's value, changed: the gradient goes with it."""

    def forward(self, output, target, sample_weight=None):
        return 0.5 * super().forward(output * 1.0, target, sample_weight) * 2.0


class PyTorchLike(nn.Module):
    def forward(self, output, target):
        return ((output - target) ** 2).mean()


def function(output, target):
    return ((output - target) ** 2).mean()


def keyword_only(output, target, *, sample_weight=None):
    squares = (output - target) ** 2
    if sample_weight is None:
        return squares.mean()
    return (squares * sample_weight.reshape(-1, 1)).sum() / sample_weight.sum()


LOSSES = {
    "arrays": Arrays, "tensors": Tensors, "halved": Halved, "function": lambda: function,
    "lambda": lambda: lambda o, t: ((o - t) * (o - t)).sum() / o.size,
    "kernel inside": lambda: lambda o, t: nn.MSELoss()(o, t), "keyword": lambda: keyword_only,
    "module": PyTorchLike,
}  # fmt: skip


def data(outputs=1):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(ROWS, IN)).astype(np.float32)
    return X, (X @ rng.normal(size=(IN, outputs))).astype(np.float32)


def made(loss, outputs=1, seed=0):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(IN, 7), nn.Tanh(), nn.Linear(7, outputs))
    return nn.Trainer(model, loss, nn.optim.SGD(model.parameters(), 0.05, momentum=0.5), seed)


def weights(trainer):
    return np.concatenate([p.data.ravel() for p in trainer.model.parameters()])


@pytest.mark.parametrize("name", LOSSES)
def test_fit_trains_as_with_the_loss_of_nnlite(name):
    X, y = data(2)
    own, peer = made(LOSSES[name](), 2), made(nn.MSELoss(), 2)
    options = {"epochs": 4, "batch_size": 16, "verbose": 0, "validation_data": (X[:9], y[:9])}
    found, expected = own.fit(X, y, **options), peer.fit(X, y, **options)
    np.testing.assert_allclose(weights(own), weights(peer), rtol=2e-4, atol=1e-6)
    for key in ("loss", "val_loss"):
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5)
    assert found["loss"][-1] < 0.7 * found["loss"][0]
    a, b = own.train_step(X, y), peer.train_step(X, y)
    assert a == pytest.approx(b, rel=1e-5) and a > 0
    np.testing.assert_allclose(weights(own), weights(peer), rtol=2e-4, atol=1e-6)
    measured = own.evaluate(X, y, metrics=["r2"])
    assert measured["loss"] == pytest.approx(peer.evaluate(X, y)["loss"], rel=1e-5)
    assert type(measured["loss"]) is float and 0 < measured["r2"] < 1


@pytest.mark.parametrize("name", LOSSES)
def test_fit_many_trains(name):
    X, y = data()
    alone = [made(LOSSES[name](), seed=seed) for seed in range(2)]
    for trainer in alone:
        trainer.fit(X, y, 2, 16, verbose=0)
    several = [made(LOSSES[name]()) for _ in range(2)]
    histories = nn.fit_many(
        [t.model for t in several], LOSSES[name](), [t.optimizer for t in several], X, y, 2, 16,
        verbose=0,
    )  # fmt: skip
    for one, other, history in zip(alone, several, histories, strict=True):
        same_bytes(weights(one), weights(other))
        assert history["loss"][1] < history["loss"][0]


def test_the_kernel_called_by_a_forward_keeps_its_bits():
    class Seen(nn.MSELoss):
        def forward(self, output, target):
            return super().forward(output, target)

    X, y = data(3)
    own, peer = made(Seen(), 3), made(nn.MSELoss(), 3)
    own.fit(X, y, 3, 16, verbose=0)
    peer.fit(X, y, 3, 16, verbose=0)
    same_bytes(weights(own), weights(peer))


def test_what_a_class_defines_last_is_what_is_measured():
    class Run(nn.MSELoss):
        def _run(self, output, target, sample_weight=None):
            return 7.0, output

        def _grad(self, saved):
            return np.zeros_like(saved)

    class Evaluate(Tensors):
        def evaluate(self, output, target, sample_weight=None):
            return 3.0

    X, y = data()
    assert made(Run()).evaluate(X, y)["loss"] == 7
    assert made(Evaluate()).evaluate(X, y)["loss"] == 3
    peer = made(nn.MSELoss())
    assert made(Halved()).evaluate(X, y)["loss"] == pytest.approx(peer.evaluate(X, y)["loss"])


def cross_entropy(output, target):
    p = nn.autograd.log_softmax(output)
    return -p[np.arange(len(target)), target].mean()


class Focal(nn.Loss):
    def forward(self, output, target):
        return cross_entropy(output, target)


@pytest.mark.parametrize("loss", [cross_entropy, Focal()], ids=["function", "class"])
def test_integers_are_classes_where_there_are_several_outputs(loss):
    X, _ = data()
    y = np.arange(ROWS) % 3
    own, peer = made(loss, 3), made(nn.SoftmaxCE(), 3)
    found, expected = own.fit(X, y, 3, 16, verbose=0), peer.fit(X, y, 3, 16, verbose=0)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    assert found["accuracy"] == expected["accuracy"]
    np.testing.assert_allclose(weights(own), weights(peer), rtol=1e-4, atol=1e-6)
    one = made(function)  # and numbers for one output
    one.fit(X, y, 1, 16, verbose=0)
    twin = made(nn.MSELoss())
    twin.fit(X, y.astype(np.float32), 1, 16, verbose=0)
    np.testing.assert_allclose(weights(one), weights(twin), rtol=1e-4, atol=1e-6)


def test_targets_narrower_than_the_output():
    """Mean and logarithm of the variance against one number."""

    def likelihood(output, target):
        mean, log = output[:, :1], output[:, 1:]
        return (log + (target - mean) ** 2 * nn.autograd.exp(-log)).mean()

    X, y = data()
    trainer = made(likelihood, 2)
    loss = trainer.fit(X, y, 5, 16, verbose=0)["loss"]
    assert loss[-1] < loss[0]


def test_weights_of_rows():
    X, y = data(2)
    weight = np.random.default_rng(0).uniform(size=ROWS)
    weight[:5] = 0
    own, peer = made(keyword_only, 2), made(nn.MSELoss(), 2)
    for trainer in (own, peer):
        trainer.fit(X, y, 2, 16, verbose=0, sample_weight=weight)
    # nnlite's weighted mean goes over elements: two columns
    assert own.evaluate(X, y, weight)["loss"] > 0
    halved = made(Halved(), 2)
    halved.fit(X, y, 2, 16, verbose=0, sample_weight=weight)
    np.testing.assert_allclose(weights(halved), weights(peer), rtol=1e-4, atol=1e-6)
    before = weights(own)
    for loss in (function, Tensors(), Arrays()):
        trainer = made(loss, 2)
        for call in (
            lambda t: t.fit(X, y, verbose=0, sample_weight=weight),
            lambda t: t.train_step(X, y, weight),
            lambda t: t.evaluate(X, y, weight),
        ):
            with pytest.raises(TypeError, match=r"sample_weight: the loss .* takes no weights"):
                call(trainer)
        with pytest.raises(TypeError, match=r"class_weight: the loss .* takes no weights"):
            trainer.fit(X, np.arange(ROWS) % 2, verbose=0, class_weight="balanced")
    same_bytes(weights(own), before)


BAD = {
    "no graph": (
        lambda o, t: float(((o - t) ** 2).mean()),
        TypeError,
        "compute with Tensors throu",
    ),
    "numpy": (lambda o, t: o.detach().numpy().mean(), TypeError, "a way to its gradient"),
    "rows": (lambda o, t: (o - t) ** 2, ValueError, r"one number, got shape \(16, 1\).*mean\(\)"),
    "nothing": (lambda o, t: None, TypeError, "None: a return is missing"),
    "text": (lambda o, t: "1", TypeError, "expected it to return one number, got str"),
    "in place": (lambda o, t: o.__iadd__(1), RuntimeError, "place"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_function_without_a_gradient_raises_before_the_first_step(name):
    loss, error, message = BAD[name]
    X, y = data()
    trainer = made(loss)
    before = weights(trainer)
    for call in (
        lambda: trainer.fit(X, y, 1, 16, verbose=0),
        lambda: trainer.train_step(X[:16], y[:16]),
    ):
        with pytest.raises(error, match=message):
            call()
    same_bytes(weights(trainer), before)


def test_what_is_no_loss_is_refused():
    for loss, message in (
        (3, r"expected Loss, got int; or pass a function \(output, target\)"),
        (nn.MSELoss, r"expected Loss, got type; pass MSELoss\(\.\.\.\), not the class"),
        (lambda output: output, "with other arguments"),
        (nn.Linear(1, 1), "with other arguments"),
        (nn.Loss(), r"Loss defines no forward\(output, target\)"),
    ):
        with pytest.raises(TypeError, match=message):
            made(loss)
    trainer = made(nn.MSELoss())
    trainer.loss = function
    X, y = data()
    assert trainer.train_step(X, y) > 0 and repr(trainer.loss) == "function()"


def test_a_function_in_a_file(tmp_path):
    X, y = data()
    trainer = made(function)
    with pytest.raises(TypeError, match="plain function, which a file cannot hold"):
        nn.save(tmp_path / "a", trainer.model, trainer=trainer)
    trainer.checkpoint = str(tmp_path / "b")
    before = weights(trainer)
    with pytest.raises(TypeError, match="write it as a class"):
        trainer.fit(X, y, verbose=0)
    same_bytes(weights(trainer), before)
    assert not list(tmp_path.iterdir())
    own = made(Tensors())
    own.checkpoint = str(tmp_path / "c")
    own.fit(X, y, 1, 16, verbose=0)
    again = nn.load(tmp_path / "c", classes=[Tensors]).trainer
    again.fit(X, y, 1, 16, verbose=0), own.fit(X, y, 1, 16, verbose=0)
    same_bytes(weights(own), weights(again))


def test_backward_of_a_forward_on_tensors_says_how():
    loss = Tensors()
    output = np.ones((2, 1), np.float32)
    assert loss(output, output) == 0 and loss.evaluate(output, output) == 0
    with pytest.raises(RuntimeError, match="its forward is one on Tensors"):
        loss.backward()


def test_inside_no_grad_and_at_rows_of_weight_zero():
    X, y = data()
    trainer = made(function)
    with nn.no_grad():
        first = trainer.train_step(X, y)
    assert trainer.train_step(X, y) < first
    trainer = made(keyword_only)
    before = weights(trainer)
    assert trainer.train_step(X, y, np.zeros(ROWS)) == 0
    same_bytes(weights(trainer), before)


@pytest.mark.parametrize("name", ["tensors", "function"])
def test_a_loss_that_is_nan_is_reported(name):
    X, y = data()
    trainer = made(LOSSES[name]())
    before = weights(trainer)
    with pytest.raises(FloatingPointError, match="fit: the loss is nan at epoch 1, batch 1;"):
        trainer.fit(X, y * np.nan, 1, 16, verbose=0)
    same_bytes(weights(trainer), before)
