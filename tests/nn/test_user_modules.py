"""A module of the user's own: attributes and forward(self, x), nothing else; everything works."""

from __future__ import annotations

import copy
import io
import pickle
import re

import numpy as np
import pytest
from helpers import F32, same_bytes

import nnlite as nn
from nnlite.program.rows import Rows
from nnlite.program.train import Program

A = nn.autograd


class Net(nn.Module):
    """Modules and parameters as attributes, operators and library functions."""

    def __init__(self, width=5, dtype="float32"):
        self.width, self.dtype = width, dtype
        self.first = nn.Linear(4, width, dtype=np.dtype(dtype))
        self.blocks = [nn.Residual(nn.Linear(width, width, dtype=np.dtype(dtype)))]
        self.W = nn.Parameter(np.linspace(-1, 1, width * 3).reshape(width, 3).astype(dtype))
        self.b = nn.Parameter(np.zeros(3, dtype))

    def forward(self, x):
        h = nn.functional.tanh(self.first(x))
        for block in self.blocks:
            h = block(h)
        return h @ self.W + self.b


def make(**settings):
    nn.manual_seed(7)
    return Net(**settings)


def data(rows=23, dtype=F32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 4)).astype(dtype), rng.integers(0, 3, rows)


def expected(model, X):
    """The output by NumPy."""
    s = model.state_dict()
    h = np.tanh(X @ s["first.weight"] + s["first.bias"])
    h = h + h @ s["blocks.0.module.weight"] + s["blocks.0.module.bias"]
    return h @ s["W"] + s["b"]


NAMES = ["W", "b", "first.weight", "first.bias", "blocks.0.module.weight", "blocks.0.module.bias"]


def test_parameters_and_state():
    model = make()
    assert sorted(n for n, _ in model.named_parameters()) == sorted(NAMES)
    assert len(model.parameters()) == 6
    assert sorted(model.state_dict()) == sorted(NAMES)
    other = Net()
    other.load_state_dict(model.state_dict())
    X, _ = data()
    same_bytes(other.predict(X), model.predict(X))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same_bytes(twin.predict(X), model.predict(X))


def test_save_and_load():
    model = make(width=6)
    file = io.BytesIO()
    nn.save(file, model)
    found = nn.load(file.getvalue(), classes=[Net]).model
    assert found.width == 6
    X, _ = data()
    same_bytes(found.predict(X), model.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict(dtype):
    model = make(dtype=dtype)
    X, _ = data(300)
    full = model.predict(X)
    assert full.dtype == dtype
    np.testing.assert_allclose(full, expected(model, X.astype(dtype)), rtol=1e-5, atol=1e-6)
    for rows in (1, 2, 299):
        same_bytes(model.predict(X[:rows]), full[:rows])
        same_bytes(model.predict(X, batch_size=rows), full)
    same_bytes(model.predict(X.astype(np.float64)), full)
    same_bytes(model.predict(X.tolist()), full)
    same_bytes(model.predict(np.asfortranarray(X)), full)
    ints = np.arange(8).reshape(2, 4)
    same_bytes(model.predict(ints), model.predict(ints.astype(dtype)))
    assert model.predict(X[:0]).shape == (0, 3)
    big = np.tile(X, (30, 1))
    same_bytes(model.predict(big), np.tile(full, (30, 1)))


def test_a_call_on_tensors_gives_the_values_of_predict():
    model = make()
    X, _ = data()
    same_bytes(model(nn.tensor(X)).detach().numpy(), model.predict(X))


def trainer_of(model, **settings):
    optimizer = nn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=3, **settings)


def test_trainer():
    model = make()
    trainer = trainer_of(model)
    X, y = data(200)
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    loss = trainer.train_step(X, y)
    np.testing.assert_allclose(loss, nn.functional.softmax_ce(expected(make(), X), y), rtol=1e-5)
    history = trainer.fit(X, y, 30, 16, validation_data=(X[:50], y[:50]), verbose=0)
    assert trainer.why_eager is None
    assert isinstance(trainer.runner(Rows(X, y), 16), Program)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert trainer.evaluate(X, y)["accuracy"] > 0.9


def test_fit_many():
    X, y = data(40)
    alone = []
    for seed in (0, 1):
        nn.manual_seed(seed)
        trainer = trainer_of(Net())
        trainer.fit(X, y, 2, 16, verbose=0)
        alone.append(trainer.model.predict(X))
    models = []
    for seed in (0, 1):
        nn.manual_seed(seed)
        models.append(Net())
    optimizers = [nn.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in models]
    nn.fit_many(models, nn.SoftmaxCE(), optimizers, X, y, 2, 16, seeds=[3, 3])
    for model, one in zip(models, alone, strict=True):
        same_bytes(model.predict(X), one)


def test_graph_tools():
    model = make(dtype="float64")
    X, y = data(6, np.float64)
    x = nn.tensor(X)

    def loss(v):
        return nn.functional.softmax_ce(model(v), y)

    program = nn.jit_program(loss)
    for _ in range(3):
        same_bytes(program(x).detach().numpy(), loss(x).detach().numpy())
    assert program.why is None
    assert "Net" in A.summary(loss(x))
    assert "Net" in str(A.draw(loss(x)))
    code = A.flat(loss(x))
    assert "tanh" in str(code)
    t = nn.tensor(X, requires_grad=True)
    assert A.gradcheck(loss, t)
    v = nn.tensor(np.ones_like(X))
    eps = 1e-5
    a, b = nn.tensor(X + eps, requires_grad=True), nn.tensor(X - eps, requires_grad=True)
    loss(a).backward()
    loss(b).backward()
    found = A.hvp(loss, x, v)
    np.testing.assert_allclose(
        np.asarray(found[-1] if isinstance(found, tuple) else found),
        (a.grad.numpy() - b.grad.numpy()) / (2 * eps), atol=1e-8,
    )  # fmt: skip


# ---- bad input ----


def test_a_recorded_program_meets_other_rows():
    model = make()
    trainer = trainer_of(model)
    X, y = data()
    trainer.fit(X, y, 1, 8, verbose=0)
    model.predict(X)
    before = model.state_dict()
    wide = np.ones((8, 5), F32)
    message = re.escape("linear: x has 5 features (shape (8, 5)), expected 4")
    for call in (lambda: trainer.train_step(wide, y[:8]), lambda: trainer.fit(wide, y[:8], 1, 8),
                 lambda: model.predict(wide), lambda: trainer.evaluate(wide, y[:8])):  # fmt: skip
        with pytest.raises(ValueError, match=r"linear: x has 5 features|Linear"):
            call()
    with pytest.raises(ValueError, match=message):
        model.predict(wide)
    with pytest.raises((TypeError, ValueError)):
        trainer.train_step(X[:8].astype(complex), y[:8])
    for name, array in before.items():
        same_bytes(model.state_dict()[name], array)
    loss = trainer.train_step(X[:8].astype(np.float64), y[:8].astype(np.int8))
    assert np.isfinite(loss)


def test_a_module_without_forward():
    class Empty(nn.Module):
        def __init__(self):
            self.W = nn.Parameter(np.ones((4, 3), F32))

    X, y = data()
    model = Empty()
    message = r"Empty must define forward"
    for call in (lambda: model(X), lambda: model.forward(X), lambda: model(nn.tensor(X)),
                 lambda: model.predict(X), lambda: trainer_of(model).fit(X, y, 1, verbose=0),
                 lambda: trainer_of(model).train_step(X, y)):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            call()


def test_a_parameter_assigned_after_the_optimiser_was_made():
    model = make()
    trainer = trainer_of(model)
    X, y = data()
    trainer.fit(X, y, 1, 8, verbose=0)
    trainer.train_step(X, y)
    old = model.W
    model.W = nn.Parameter(model.W.data.copy())
    message = r"the parameter Net.W was replaced by another after the optimiser was made"
    with pytest.raises(ValueError, match=message):
        trainer.optimizer.step()
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, y, 1, 8, verbose=0)
    with pytest.raises(ValueError, match=message):
        trainer.train_step(X, y)
    model.W = old
    trainer.optimizer.step()
    trainer.train_step(X, y)
    assert trainer.why_eager is None
    model.extra = nn.Parameter(np.ones(3, F32))
    with pytest.raises(ValueError, match="the model got the parameter extra after the trainer"):
        trainer.fit(X, y, 1, 8, verbose=0)
    with pytest.raises(ValueError, match="the model got the parameter extra after the trainer"):
        trainer.train_step(X, y)
    trainer.optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    trainer.fit(X, y, 1, 8, verbose=0)


def test_a_parameter_that_moves_to_another_module_stays_trained():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = nn.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)
    shared = a.weight
    old = b.weight
    b.weight = shared
    optimizer_of_a = nn.optim.SGD(a.parameters(), lr=0.1)
    a.weight = nn.Parameter(np.ones((2, 2), F32))
    optimizer_of_a.step()  # b holds it
    with pytest.raises(ValueError, match=r"the parameter Linear.weight was replaced"):
        optimizer.step()
    b.weight = old


def test_some_of_the_parameters_may_be_trained():
    model = make()
    optimizer = nn.optim.SGD([model.W, model.b], lr=0.1)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    before = model.state_dict()
    X, y = data()
    trainer.fit(X, y, 1, 8, verbose=0)
    same = [n for n, v in model.state_dict().items() if (v == before[n]).all()]
    assert sorted(same) == sorted(set(NAMES) - {"W", "b"})


def test_a_module_changed_in_a_list_is_recorded_again():
    class Acts(nn.Module):
        def __init__(self, act):
            self.acts = [act]
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.acts[0](self.head(x))

    X, y = data()
    found = []
    for changed in (True, False):
        nn.manual_seed(7)
        trainer = trainer_of(Acts(nn.Tanh()))
        trainer.train_step(X, y)
        trainer.train_step(X, y)
        before = trainer.runner(Rows(X, y), len(X), "step")
        if changed:
            trainer.model.acts[0] = nn.Sigmoid()
        else:
            trainer.model.acts = [nn.Sigmoid()]
        losses = [trainer.train_step(X, y) for _ in range(2)]
        after = trainer.runner(Rows(X, y), len(X), "step")
        assert isinstance(after, Program)
        assert after is not before
        found.append((losses, trainer.model.predict(X).tobytes()))
    assert found[0] == found[1]
    s = trainer.model.state_dict()
    np.testing.assert_allclose(
        trainer.model.predict(X),
        1 / (1 + np.exp(-(X @ s["head.weight"] + s["head.bias"]))), rtol=1e-5,
    )  # fmt: skip
