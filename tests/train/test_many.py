"""Networks trained side by side have the bits of networks trained alone."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn


def data(rows=60, dtype=np.float32):
    rng = np.random.default_rng(1)
    return rng.normal(size=(rows, 6)).astype(dtype), rng.integers(0, 3, rows)


def make(number, dtype=np.float32):
    """Networks of different seeds, widths, depths and rates."""
    nn.manual_seed(number)
    width = 3 + number % 4
    hidden = [nn.Linear(6, width, dtype=dtype), nn.ReLU()]
    if number % 3 == 0:
        hidden += [nn.Dropout(0.2), nn.Linear(width, width, dtype=dtype), nn.Tanh()]
    model = nn.Sequential(*hidden, nn.Linear(width, 3, dtype=dtype))
    rate = 0.01 * (1 + number)
    return model, nn.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


def weights(model):
    return b"".join(value.tobytes() for value in model.state_dict().values())


def figures(history):
    return {name: values for name, values in history.items() if name != "seconds"}


def alone(number, X, y, dtype=np.float32, **settings):
    model, optimizer = make(number, dtype)
    history = nn.Trainer(model, nn.SoftmaxCE(), optimizer, number).fit(
        X, y, 5, 8, verbose=0, **settings
    )
    return weights(model), figures(history)


def together(count, X, y, dtype=np.float32, **settings):
    made = [make(number, dtype) for number in range(count)]
    models, optimizers = zip(*made, strict=True)
    histories = nn.fit_many(models, nn.SoftmaxCE(), optimizers, X, y, 5, 8, verbose=0, **settings)
    found = [(weights(m), figures(h)) for m, h in zip(models, histories, strict=True)]
    return found, list(models)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_side_by_side_is_alone(threads, shuffle):
    X, y = data()
    before = nn.get_num_threads()
    nn.set_num_threads(threads)
    try:
        found, _ = together(7, X, y, validation_data=(X[:20], y[:20]), shuffle=shuffle)
    finally:
        nn.set_num_threads(before)
    for number, one in enumerate(found):
        held = (X[:20], y[:20])
        assert one == alone(number, X, y, validation_data=held, shuffle=shuffle)


def test_each_stops_early_by_its_own_figures():
    X, y = data()
    settings = {"validation_data": (X[:20], y[:20]), "early_stopping": 1}
    found, _ = together(8, X, y, **settings)
    for number, one in enumerate(found):
        assert one == alone(number, X, y, **settings)
    assert len({len(values["loss"]) for _, values in found}) > 1  # they did stop differently


def test_folds_are_rows_of_the_same_data():
    X, y = data()
    rows = np.arange(len(X))
    folds = [(rows[rows % 3 != k], rows[rows % 3 == k]) for k in range(3)]
    found, _ = together(3, X, y, folds=folds)
    for number, (train, held) in enumerate(folds):
        expected = alone(number, X[train], y[train], validation_data=(X[held], y[held]))
        assert found[number] == expected
    found, _ = together(3, X, y, folds=[rows[5:], rows >= 5, rows[5:].astype(np.int32)])
    for number in range(3):
        assert found[number] == alone(number, X[5:], y[5:])
    found, _ = together(1, X, y, folds=[rows[::-2]], shuffle=False)
    assert found[0] == alone(0, X[::-2].copy(), y[::-2].copy(), shuffle=False)


def test_weights_of_rows():
    X, y = data()
    weight = np.linspace(0, 2, len(X))
    found, _ = together(2, X, y, sample_weight=weight, class_weight={1: 2.0})
    for number in range(2):
        expected = alone(number, X, y, sample_weight=weight, class_weight={1: 2.0})
        assert found[number] == expected


def test_two_dtypes_and_networks_without_a_program():
    X, y = data(dtype=np.float64)

    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

        def backward(self, grad_output):
            return 2 * grad_output

    def three():
        nn.manual_seed(0)
        single, double = nn.Linear(6, 3), nn.Linear(6, 3, dtype=np.float64)
        eager = nn.Sequential(nn.Linear(6, 3), Twice())
        models = [single, double, eager]
        return models, [nn.optim.SGD(m.parameters(), lr=0.1) for m in models]

    models, optimizers = three()
    histories = nn.fit_many(models, nn.SoftmaxCE(), optimizers, X, y, 3, 7, verbose=0)
    again, optimizers = three()
    for number in range(3):
        trainer = nn.Trainer(again[number], nn.SoftmaxCE(), optimizers[number], number)
        history = trainer.fit(X, y, 3, 7, verbose=0)
        assert figures(history) == figures(histories[number])
        assert weights(models[number]) == weights(again[number])


def test_one_that_diverges_stops_alone():
    X, y = data()
    made = [make(number) for number in range(3)]
    made[1][0][0].weight.data = made[1][0][0].weight.data * np.float32(np.inf)
    models, optimizers = zip(*made, strict=True)
    with pytest.warns(RuntimeWarning, match="model 1: fit: the loss is nan at epoch 1, batch 1"):
        histories = nn.fit_many(models, nn.SoftmaxCE(), optimizers, X, y, 5, 8, verbose=0)
    assert [len(h.get("loss", [])) for h in histories] == [5, 0, 5]
    assert weights(models[0]) == alone(0, X, y)[0] and weights(models[2]) == alone(2, X, y)[0]


def test_ensemble_averages():
    X, y = data()
    _, models = together(3, X, y)
    outputs = [model.predict(X) for model in models]
    mean = (outputs[0] + outputs[1] + outputs[2]) / np.float32(3)
    np.testing.assert_array_equal(nn.Ensemble(models).predict(X), mean, strict=True)
    soft = [nn.functional.softmax(output) for output in outputs]
    expected = (soft[0] + soft[1] + soft[2]) / np.float32(3)
    found = nn.Ensemble(models, softmax=True).predict(X, batch_size=7)
    np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"optimizers": []}, ValueError, "optimizers: expected one for each of 2 models, got 0"),
        ({"seeds": [1]}, ValueError, "seeds: expected one for each of 2"),
        ({"folds": [[0], [99]]}, IndexError, r"folds: 1 holds row 99, expected 0\.\.59"),
        ({"folds": [[0], []]}, ValueError, "folds: 1 has no rows"),
        ({"folds": [[0.5], [0]]}, TypeError, "folds: 0: expected numbers of rows"),
        ({"same": True}, ValueError, "share parameters, or one stands twice"),
        ({"epochs": 0}, ValueError, "epochs"),
    ],
)
def test_bad_input_trains_nothing(change, kind, message):
    X, y = data()
    made = [make(number) for number in range(2)]
    models, optimizers = ([one[i] for one in made] for i in range(2))
    if change.pop("same", False):
        models[1], optimizers[1] = models[0], optimizers[0]
    before = [weights(model) for model in models]
    settings = {"optimizers": optimizers, "X": X, "y": y, "epochs": 3, "batch_size": 8} | change
    with pytest.raises(kind, match=message):
        nn.fit_many(models, nn.SoftmaxCE(), verbose=0, **settings)
    assert [weights(model) for model in models] == before


def test_an_ensemble_of_nothing():
    with pytest.raises(TypeError, match="expected several models, got one Sequential; pass a list"):
        nn.Ensemble(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="expected at least one"):
        nn.Ensemble([])
