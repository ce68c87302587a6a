"""The NumPy baseline against the formulas in float64, and against nnlite's own training."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import nnlite as nn
from nnlite.bench import baseline


def random_layers(widths, dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)
    return [
        (
            random.normal(size=(d, k)).astype(dtype) / np.sqrt(dtype(d)),
            random.normal(size=k).astype(dtype),
        )
        for d, k in itertools.pairwise(widths)
    ]


def random_batch(rows, widths, dtype=np.float64, seed=1):
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, widths[0])).astype(dtype), random.integers(
        widths[-1], size=rows
    )


def reference_loss(layers, x, y, residual=False):
    """The loss as the formula stands, in float64."""
    below = x
    for k, (weight, bias) in enumerate(layers):
        x = x.astype(np.float64) @ weight.astype(np.float64) + bias
        if k < len(layers) - 1 and residual and k % 2 == 1:
            x = below = x + below
        elif k < len(layers) - 1:
            x = np.where(x > 0, x, 0.0)
    return np.mean([np.log(np.sum(np.exp(row))) - row[c] for row, c in zip(x, y, strict=True)])


PLAIN = [((3, 4), False), ((2, 5, 3), False), ((4, 6, 5, 3), False), ((3, 1, 2), False)]


@pytest.mark.parametrize(
    ("widths", "residual"), [*PLAIN, ((4, 5, 4, 3), True), ((4, 5, 4, 6, 4, 3), True)]
)
def test_gradients_against_central_differences(widths, residual):
    layers, (x, y) = random_layers(widths), random_batch(7, widths)
    model = baseline.MLP(layers, residual=residual)
    expected = reference_loss(layers, x, y, residual)
    assert model.loss_and_gradients(x, y) == pytest.approx(expected, rel=1e-14)
    delta = 1e-6
    for k, (weight, bias) in enumerate(layers):
        for array, grad in ((weight, model.weight_grads[k]), (bias, model.bias_grads[k])):
            for i in np.ndindex(array.shape):
                kept, losses = array[i], []
                for value in (kept + delta, kept - delta):
                    array[i] = value
                    losses.append(reference_loss(layers, x, y, residual))
                array[i] = kept
                slope = (losses[0] - losses[1]) / (2 * delta)
                assert grad[i] == pytest.approx(slope, rel=1e-7, abs=1e-9)


def test_logits_of_any_size():
    model = baseline.MLP([(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))])
    x = np.array([[1e30, 0], [0, -2000], [-2000, 0]], np.float32)
    assert model.loss_and_gradients(x, np.array([0, 0, 0])) == pytest.approx(2000 / 3)
    # dlogits = (softmax - T) / 3, zero in rows 0 and 1 and (-1, 1) / 3 in row 2.
    np.testing.assert_allclose(model.bias_grads[0], [-1 / 3, 1 / 3], rtol=1e-6)


# One weight of 2, one bias of -1, gradients 0.5 and -0.25, rate 0.1, decay 0.01, by hand:
#   g = (0.5 + 0.02, -0.25 - 0.01) = (0.52, -0.26)
#   no momentum: w = (2 - 0.052, -1 + 0.026) = (1.948, -0.974), then g = (0.51948, -0.25974) ...
#   momentum 0.9: the same first step; then v = 0.9 (0.52, -0.26) + (0.51948, -0.25974)
SGD_STEPS = {
    0.0: [(1.948, -0.974), (1.948 - 0.051948, -0.974 + 0.025974)],
    0.9: [(1.948, -0.974), (1.948 - 0.0987480, -0.974 + 0.0493740)],
}


@pytest.mark.parametrize("momentum", SGD_STEPS)
def test_sgd_by_hand(momentum):
    optimizer = baseline.SGD(0.1, momentum, 0.01)
    weights = np.array([2.0, -1.0])
    for expected in SGD_STEPS[momentum]:
        optimizer.update(weights, np.array([0.5, -0.25]))
        np.testing.assert_allclose(weights, expected, rtol=1e-14)


def test_adam_by_formula():
    random = np.random.default_rng(3)
    weights, grads = random.normal(size=5), random.normal(size=(4, 5))
    optimizer, trained = baseline.Adam(0.01), weights.copy()
    for t, grad in enumerate(grads, 1):
        optimizer.update(trained, grad.copy())
        seen, age = grads[:t], np.arange(t)[::-1, None]
        mean = np.sum(0.1 * 0.9**age * seen, axis=0) / (1 - 0.9**t)
        square = np.sum(0.001 * 0.999**age * seen**2, axis=0) / (1 - 0.999**t)
        weights -= 0.01 * mean / (np.sqrt(square) + 1e-8)
        np.testing.assert_allclose(trained, weights, rtol=1e-12)


def test_train_step_is_loss_then_update():
    widths = (3, 4, 2)
    layers, (x, y) = random_layers(widths), random_batch(5, widths)
    model = baseline.MLP(layers, baseline.SGD(0.25))
    probe = baseline.MLP(layers)
    loss = probe.loss_and_gradients(x, y)
    assert model.train_step(x, y) == loss
    for k, (weight, bias) in enumerate(layers):
        np.testing.assert_allclose(model.weights[k], weight - 0.25 * probe.weight_grads[k])
        np.testing.assert_allclose(model.biases[k], bias - 0.25 * probe.bias_grads[k])


def test_fit_takes_the_given_order_and_the_last_partial_batch():
    widths = (3, 4, 2)
    layers, (x, y) = random_layers(widths), random_batch(5, widths)
    orders = [np.array([4, 0, 3, 1, 2]), np.array([1, 2, 0, 4, 3])]
    model, by_hand = (baseline.MLP(layers, baseline.SGD(0.1, 0.9)) for _ in range(2))
    history = model.fit(x, y, epochs=2, batch_size=2, order=orders.__getitem__)
    for epoch, order in enumerate(orders):
        losses = [
            by_hand.train_step(x[part], y[part]) * len(part)
            for part in (order[:2], order[2:4], order[4:])
        ]
        assert history[epoch] == pytest.approx(sum(losses) / 5)
    np.testing.assert_array_equal(model.flat, by_hand.flat)


def test_predictions_are_kept():
    widths = (3, 4, 2)
    model, (x, _) = baseline.MLP(random_layers(widths)), random_batch(5, widths)
    first = model.predict(x)
    kept = first.copy()
    model.predict(-x)
    np.testing.assert_array_equal(first, kept)


def test_baseline_trains_as_nnlite_does():
    random = np.random.default_rng(5)
    x = random.normal(size=(50, 8)).astype(np.float32)
    y = random.integers(3, size=50)
    nn.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    arrays = [p.data.copy() for p in model.parameters()]
    peer = baseline.MLP(
        list(zip(arrays[0::2], arrays[1::2], strict=True)), baseline.SGD(0.05, 0.9, 1e-3)
    )
    optimizer = nn.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, decay_bias=True
    )
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=7)
    trainer.fit(x, y, epochs=4, batch_size=16, verbose=0)
    peer.fit(x, y, 4, 16, lambda epoch: nn.data.permutation(len(x), 7, epoch))
    theirs = itertools.chain(*zip(peer.weights, peer.biases, strict=True))
    for ours, array in zip(model.parameters(), theirs, strict=True):
        np.testing.assert_allclose(ours.data, array, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(x), peer.predict(x), rtol=1e-4, atol=1e-5)
