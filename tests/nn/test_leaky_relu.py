"""LeakyReLU: values, derivatives, training in C, files, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES

import nnlite as nn
from nnlite import autograd as ag
from nnlite.train import trainer as trainers
from nnlite.train._eager import Eager

X = [-2.0, -0.0, 0.0, 3.0, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("slope", [0.01, 0.0, 1.0, -0.5])
def test_values_and_gradients(dtype, slope):
    x, g = np.array(X, dtype), np.arange(1, 8).astype(dtype)
    with np.errstate(invalid="ignore"):  # 0 inf
        y, dx = (
            np.where(x <= 0, dtype.type(slope) * x, x),
            np.where(x <= 0, dtype.type(slope) * g, g),
        )
    module = nn.LeakyReLU(slope)
    for value in (nn.functional.leaky_relu(x, slope), module(x), module.predict(x)):
        np.testing.assert_array_equal(value, y)
        assert (np.signbit(value) == np.signbit(y))[:-1].all()
    module.forget()
    module(x)
    np.testing.assert_array_equal(module.backward(g), dx)
    leaf = nn.tensor(x, requires_grad=True)
    nn.functional.leaky_relu(leaf, slope).backward(nn.tensor(g))
    np.testing.assert_array_equal(leaf.grad.numpy(), dx)


def test_the_default_slope_and_out():
    x = np.array([-1.0, 2.0])
    assert nn.functional.leaky_relu(x).tolist() == [-0.01, 2.0] == nn.LeakyReLU()(x).tolist()
    assert nn.functional.leaky_relu(x, 0.5, out=x) is x and x.tolist() == [-0.5, 2.0]
    assert ag.leaky_relu(nn.tensor([-1.0, 2.0])).tolist() == pytest.approx([-0.01, 2.0])


def test_torch_has_the_same():
    torch = pytest.importorskip("torch")
    x = np.array(X[:-1], np.float32)
    t = torch.tensor(x, requires_grad=True)
    y = torch.nn.functional.leaky_relu(t, 0.3)
    y.backward(torch.ones_like(y))
    module = nn.LeakyReLU(0.3)
    np.testing.assert_array_equal(module(x), y.detach().numpy())
    np.testing.assert_array_equal(module.backward(np.ones_like(x)), t.grad.numpy())


def network(threads: int = 1) -> nn.Sequential:
    nn.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Linear(16, 3), nn.LeakyReLU(-0.1))


@pytest.mark.parametrize("threads", [1, 3])
def test_training_in_c_has_the_bits_of_the_eager_run(monkeypatch, rng, threads):
    x, y = rng.normal(size=(70, 6)).astype(np.float32), rng.integers(0, 3, 70)
    found = []
    nn.set_num_threads(threads)
    for eager in (False, True):
        if eager:
            monkeypatch.setattr(trainers, "compiled", lambda *args: None)
        model = network()
        trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters()), seed=2)
        trainer.fit(x, y, 3, 16, verbose=0)
        assert eager or trainer.why_eager is None
        assert isinstance(trainer.runner(*runner_arguments(x, y)), Eager) == eager
        found.append(
            b"".join(p.data.tobytes() for p in model.parameters()) + model.predict(x).tobytes()
        )
    assert found[0] == found[1]


def runner_arguments(x, y):
    from nnlite.program.rows import Rows

    return Rows(x, y, None), 16


def test_other_slopes_are_other_programs(rng):
    model, x = network(), rng.normal(size=(5, 6)).astype(np.float32)
    before = model.predict(x)
    model[1].negative_slope = 0.9
    assert not np.array_equal(before, model.predict(x))
    np.testing.assert_array_equal(model.predict(x), model(x))


def test_files_settings_and_flat_code(tmp_path, rng):
    model, x = network(), rng.normal(size=(5, 6)).astype(np.float32)
    nn.save(tmp_path / "a.nnl", model)
    again = nn.load(tmp_path / "a.nnl").model
    assert again[1].negative_slope == 0.2 and repr(again[3]) == "LeakyReLU(negative_slope=-0.1)"
    assert again.predict(x).tobytes() == model.predict(x).tobytes()
    leaf = nn.tensor(x.astype(np.float64), requires_grad=True)
    code = ag.flat(ag.leaky_relu(leaf, 0.2).sum())
    assert "np.where(x1 <= 0, 0.2 * x1, x1)" in code


def test_bad_input():
    for wrong in ("0.1", None, True, [0.1]):
        with pytest.raises(TypeError, match="LeakyReLU: negative_slope: expected a number"):
            nn.LeakyReLU(wrong)
        with pytest.raises(TypeError, match="leaky_relu: negative_slope: expected a number"):
            nn.functional.leaky_relu(np.ones(3), wrong)
    for wrong in (np.nan, np.inf, -np.inf):
        with pytest.raises(
            ValueError, match="leaky_relu: negative_slope: expected a finite number"
        ):
            ag.leaky_relu(nn.tensor([1.0]), wrong)
        with pytest.raises(ValueError, match="LeakyReLU: negative_slope: expected a finite number"):
            nn.LeakyReLU(wrong)
    with pytest.raises(TypeError, match="leaky_relu: out"):
        nn.functional.leaky_relu(nn.tensor([1.0]), 0.1, out=np.ones(1, np.float32))
