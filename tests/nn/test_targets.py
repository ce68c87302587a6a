"""Targets of other shapes, layers that do what the loss does, and parameters that are none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers import same_bytes

import nnlite as nn

ROWS, IN = 30, 4


def data():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(ROWS, IN)).astype(np.float32)
    return X, X.sum(axis=1), rng.integers(0, 3, ROWS)


def made(outputs=1, loss=None, *last):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(IN, 6), nn.Tanh(), nn.Linear(6, outputs), *last)
    return nn.Trainer(model, loss or nn.MSELoss(), nn.optim.Adam(model.parameters(), 0.01))


def weights(trainer):
    return np.concatenate([p.data.ravel() for p in trainer.model.parameters()])


# ---- shapes ----


def test_one_number_for_each_row_is_a_column(tmp_path):
    X, y, _ = data()
    for name, array in (("X", X), ("y", y), ("column", y.reshape(-1, 1))):
        np.save(tmp_path / f"{name}.npy", array)
    files = [str(tmp_path / f"{name}.npy") for name in ("X", "y", "column")]
    batches = [
        [(X[i : i + 8], t[i : i + 8]) for i in range(0, ROWS, 8)] for t in (y, y.reshape(-1, 1))
    ]
    cases = [
        ((X, y), (X, y.reshape(-1, 1)), {}),
        ((X, y.tolist()), (X, y.reshape(-1, 1)), {}),
        ((X, y.astype(np.float64)), (X, y.reshape(-1, 1)), {"validation_split": 0.3}),
        ((X, np.arange(ROWS)), (X, np.arange(ROWS, dtype=np.float32).reshape(-1, 1)), {}),
        ((X, y), (X, y.reshape(-1, 1)), {"validation_data": (X[:7], y[:7]), "metrics": ["r2"]}),
        ((files[0], files[1]), (files[0], files[2]), {}),
        ((files[0], files[1]), (files[0], files[2]), {"memory_budget": 1000}),
        ((files[0], y), (files[0], files[2]), {"memory_budget": 1000}),
        ((batches[0],), (batches[1],), {}),
        ((iter(batches[0]),), (iter(batches[1]),), {"epochs": 1}),
    ]
    for flat, column, options in cases:
        options = {"epochs": 2, "batch_size": 8, "verbose": 0, **options}
        one, other = made(), made()
        found, expected = one.fit(*flat, **options), other.fit(*column, **options)
        same_bytes(weights(one), weights(other))
        del found["seconds"], expected["seconds"]
        assert found == expected
    assert one.train_step(X, y) == other.train_step(X, y.reshape(-1, 1))
    assert one.evaluate(X, y, metrics=["r2"]) == other.evaluate(X, y.reshape(-1, 1), metrics=["r2"])
    same_bytes(weights(one), weights(other))
    many, models = [], [[made() for _ in range(2)] for _ in range(2)]
    for trainers, target in zip(models, (y, y.reshape(-1, 1)), strict=True):
        nn.fit_many(
            [t.model for t in trainers], nn.MSELoss(), [t.optimizer for t in trainers], X, target,
            2, 8, verbose=0,
        )  # fmt: skip
        many.append(np.concatenate([weights(t) for t in trainers]))
    same_bytes(*many)


@pytest.mark.parametrize("call", ["fit", "train_step", "evaluate"])
def test_messages_name_the_outputs_and_the_fix(call):
    X, y, classes = data()
    options = {"verbose": 0} if call == "fit" else {}
    for trainer, target, error, message in (
        (made(3), y, ValueError,
         r"expected rows of shape \(3,\) .* has 3 outputs; pass y of shape \(30, 3\), or"),
        (made(3, nn.SoftmaxCE()), classes.reshape(-1, 1), ValueError,
         r"y: expected shape \(30,\), one class for each row, got \(30, 1\); use y.ravel\(\)"),
        (made(3, nn.SoftmaxCE()), np.eye(3, dtype=int)[classes], ValueError,
         r"got \(30, 3\); for one-hot rows use y.argmax\(axis=1\)"),
        (made(3, nn.NLLLoss(), nn.LogSoftmax()), classes.reshape(-1, 1), ValueError,
         r"use y.ravel\(\)"),
    ):  # fmt: skip
        before = weights(trainer)
        with pytest.raises(error, match=rf"^{call}: .*{message}"):
            getattr(trainer, call)(X, target, **options)
        same_bytes(weights(trainer), before)


def test_class_indices_as_a_column_of_floats():
    X, y, classes = data()
    with pytest.raises(ValueError, match=r"expected rows of shape \(3,\).* got \(2,\)"):
        made(3).fit(X, np.stack([y, y], 1), verbose=0)
    with pytest.raises(ValueError, match=r"use y\.ravel\(\)\.astype\(np\.int64\)"):
        made(3, nn.SoftmaxCE()).fit(X, classes.reshape(-1, 1).astype(np.float32), verbose=0)
    loss, output = nn.SoftmaxCE(), np.zeros((4, 3), np.float32)
    with pytest.raises(TypeError, match=r"got int64 of shape \(4, 1\); .*, use target\.ravel\(\)"):
        loss(output, np.zeros((4, 1), np.int64))


# ---- a layer that does what the loss does ----


def with_logits(output, target):
    return (nn.autograd.log(1 + nn.autograd.exp(output)) - target * output).mean()


TWICE = [
    ([nn.Softmax], nn.SoftmaxCE, r"model\[3\], Softmax\(\), comes before SoftmaxCE, .*remove the"),
    ([nn.Sigmoid], nn.SoftmaxCE, r"model\[3\], Sigmoid\(\), .*takes logits.*remove the layer"),
    ([nn.LogSoftmax], nn.SoftmaxCE, r"changes nothing and costs time: remove the layer, or use"),
    ([nn.Softmax], nn.NLLLoss, r"put LogSoftmax in its place"),
    ([nn.Softmax, nn.Dropout, nn.Sequential], nn.SoftmaxCE, r"model\[3\], Softmax"),
    ([lambda: nn.Sequential(nn.ReLU(), nn.Softmax())], nn.SoftmaxCE, r"model\[3\]\[1\], Softmax"),
    ([nn.Sigmoid], lambda: with_logits, r"Sigmoid\(\), comes before with_logits, .*takes logits"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(TWICE)))
def test_a_layer_that_does_what_the_loss_does(case):
    last, loss, message = TWICE[case]
    with pytest.warns(UserWarning, match=message) as seen:
        trainer = made(3, loss(), *[layer() for layer in last])
    assert len(seen) == 1
    with warnings.catch_warnings():  # once for each trainer
        warnings.simplefilter("error")
        trainer.loss = loss()
        X, y, classes = data()
        trainer.fit(X, classes if trainer.loss.classifies else np.stack([y] * 3, 1), verbose=0)


def test_a_pair_that_comes_together_later():
    trainer = made(3, None, nn.Softmax())
    with pytest.warns(UserWarning, match="Softmax"):
        trainer.loss = nn.SoftmaxCE()


def test_pairs_that_fit_are_silent():
    class Mine(nn.Softmax):
        def forward(self, x):
            return x

        def backward(self, grad_output):
            return grad_output

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(3, nn.NLLLoss(), nn.LogSoftmax())
        made(3, nn.MSELoss(), nn.Softmax())
        made(3, nn.MSELoss(), nn.Sigmoid())
        made(3, nn.SoftmaxCE())
        made(3, nn.SoftmaxCE(), nn.Softmax(), nn.Linear(3, 3))
        made(3, nn.SoftmaxCE(), Mine())
        made(1, lambda output, target: ((output - target) ** 2).mean(), nn.Sigmoid())


# ---- optimisers ----


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (nn.tensor([1.0, 2.0], requires_grad=True), r"got Tensor; make it one, w = nn\.Parameter"),
        ([nn.tensor([1.0], requires_grad=True)], r"got Tensor; make it one"),
        (np.ones(3), r"got an array of float64, shape \(3,\); make it one"),
        ([{"params": [], "lr": 0.1}], "got dict; for groups .* make an optimiser for each"),
        (nn.Linear(2, 2), r"got a module; pass model\.parameters\(\)"),
        (list(nn.Linear(2, 2).named_parameters()), r"got tuple; pass model\.parameters\(\)"),
        (None, r"got NoneType; pass model\.parameters\(\)"),
        (nn.Linear(2, 2).parameters, r"got method; pass model\.parameters\(\)"),
    ],
)
def test_params_that_are_none(params, message):
    for rule in (nn.optim.SGD, nn.optim.Adam):
        with pytest.raises(
            TypeError, match=rf"^{rule.__name__}: params: expected Parameters, {message}"
        ):
            rule(params, lr=0.1)
