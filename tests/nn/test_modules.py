"""Modules: forward and backward, what is pending between them, state, copies, looks, predict."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import DTYPES, F32, F64, THREADS, same_bytes, sha

import nnlite as nn

LAYERS = [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax]


def network(dtype=F32) -> nn.Sequential:
    """5-9-7-3 with a sigmoid and a tanh; equal weights at every call."""
    nn.manual_seed(3)
    return nn.Sequential(
        nn.Linear(5, 9, dtype=dtype), nn.Sigmoid(), nn.Linear(9, 7, dtype=dtype), nn.Tanh(),
        nn.Linear(7, 3, bias=False, dtype=dtype),
    )  # fmt: skip


def batch(rng, rows: int, columns: int = 5, dtype=F32) -> np.ndarray:
    return rng.normal(size=(rows, columns)).astype(dtype)


def gradients(model: nn.Module) -> str:
    return sha(*(p.grad for p in model.parameters()))


def weights(model: nn.Module) -> str:
    return sha(*(p.data for p in model.parameters()))


# ---- forward and backward ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sequential_is_its_layers_one_by_one(dtype, rng):
    model, alone = network(dtype), list(network(dtype))
    x, g = batch(rng, 11, dtype=dtype), batch(rng, 11, 3, dtype)
    y, h = model(x), x
    for layer in alone:
        h = layer(h)
    same_bytes(y, h)
    dx = model.backward(g)
    for layer in reversed(alone):
        g = layer.backward(g)
    same_bytes(dx, g)
    expected = [p for layer in alone for p in layer.parameters()]
    for p, q in zip(model.parameters(), expected, strict=True):
        same_bytes(p.data, q.data)
        same_bytes(p.grad, q.grad)
        assert p.grad.any()


def test_linear_by_numpy(rng):
    layer, x, g = nn.Linear(5, 4, dtype=F64), batch(rng, 7, dtype=F64), batch(rng, 7, 4, F64)
    layer.bias.data = np.arange(4)
    np.testing.assert_allclose(layer(x), x @ layer.weight.data + np.arange(4), rtol=1e-13)
    np.testing.assert_allclose(layer.backward(g), g @ layer.weight.data.T, rtol=1e-13)
    np.testing.assert_allclose(layer.weight.grad, x.T @ g, rtol=1e-13)
    np.testing.assert_allclose(layer.bias.grad, g.sum(axis=0), rtol=1e-13)


def test_gradients_add_until_zero_grad(rng):
    model, x, g = network(F64), batch(rng, 4, dtype=F64), batch(rng, 4, 3, F64)
    once, twice = [], []
    for kept in (once, twice):
        model(x)
        model.backward(g)
        kept += [p.grad.copy() for p in model.parameters()]
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_allclose(b, 2 * a, rtol=1e-14)
    model.zero_grad()
    assert not any(p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("make", [network, lambda: nn.Linear(5, 3), nn.ReLU, nn.Softmax])
def test_backward_belongs_to_one_forward(make, rng):
    model, x = make(), batch(rng, 4)
    before = gradients(model)
    g = np.ones_like(model(x))
    model.backward(g)
    after = gradients(model)
    with pytest.raises(RuntimeError, match="no forward since the last backward"):
        model.backward(g)
    model(x)
    model(2 * x)
    with pytest.raises(RuntimeError, match="forward ran 2 times since the last backward"):
        model.backward(g)
    assert gradients(model) == after
    assert after != before or not model.parameters()
    same_bytes(model(x), model.predict(x))  # and it goes on as if nothing had been
    model.backward(g)
    model(x)
    model.forget()
    with pytest.raises(RuntimeError, match="no forward"):
        model.backward(g)


def test_an_inner_module_used_by_itself_is_noticed(rng):
    model, x = network(), batch(rng, 4)
    y = model(x)
    model[0](x)  # a second forward of the first layer
    with pytest.raises(RuntimeError, match=r"Linear.backward: forward ran 2 times"):
        model.backward(np.ones_like(y))
    assert not any(p.grad.any() for p in model.parameters())
    model(x)
    model[0].backward(np.ones((4, 9), F32))  # takes the first layer's turn
    with pytest.raises(RuntimeError, match=r"Linear.backward: no forward"):
        model.backward(np.ones_like(y))


def test_evaluation_mode_keeps_nothing(rng):
    model, x = network(), batch(rng, 4)
    assert model.training and model.eval() is model
    assert not any(m.training for m in model.modules())
    y = model(x)
    with pytest.raises(RuntimeError, match=r"eval mode, call train\(\) first"):
        model.backward(np.ones_like(y))
    assert model.train() is model and all(m.training for m in model.modules())
    same_bytes(model(x), y)
    assert model.backward(np.ones_like(y)).any()


def test_a_refused_forward_leaves_nothing_pending(rng):
    good, wrong = batch(rng, 4), batch(rng, 4, 6)
    model = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match=r"x has 9 features .* expected 8"):
        model(good)
    model = network()
    with pytest.raises(ValueError, match="x has 6 features"):
        model(wrong)
    y = model(good)
    model.backward(np.ones_like(y))
    assert model[0].weight.grad.any()


def test_empty_batch(rng):
    model = network()
    y = model(np.empty((0, 5), F32))
    assert y.shape == (0, 3) and y.dtype == F32
    assert model.backward(y).shape == (0, 5)
    assert not any(p.grad.any() for p in model.parameters())
    assert model.predict(np.empty((0, 5))).shape == (0, 3)
    for kind in LAYERS:
        assert kind()(np.empty((0, 5), F32)).shape == (0, 5)


def test_activations_take_any_rank(rng):
    for kind in LAYERS:
        for shape in ((6,), (2, 6), (2, 3, 6), (2, 1, 3, 6)):
            x, g = rng.normal(size=(2, *shape)).astype(F32)
            layer, flat = kind(), kind()
            same_bytes(layer(x), flat(x.reshape(-1, 6)).reshape(shape))
            same_bytes(layer.backward(g), flat.backward(g.reshape(-1, 6)).reshape(shape))


class Halved(nn.Sigmoid):
    """sigmoid(x) / 2: a Linear before it must not compute it as a sigmoid."""

    def _run(self, x, keep):
        return super()._run(x, keep) / 2

    def _grad(self, saved, grad_output, want_input):
        return super()._grad(saved, grad_output / 2, want_input)


class Residual(nn.Module):
    """x + f(x), as a user would write it: by forward and backward."""

    def __init__(self, inner: nn.Module) -> None:
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)

    def backward(self, grad_output):
        return grad_output + self.inner.backward(grad_output)


class Doubled(nn.Linear):
    """2 (x W + b), by the steps that forward and backward are made of."""

    def _run(self, x, keep):
        return 2 * super()._run(x, keep)

    def _grad(self, saved, grad_output, want_input):
        return super()._grad(saved, 2 * grad_output, want_input)


class Tripled(nn.Linear):
    """3 (x W + b), by forward and backward around those of the base."""

    def forward(self, x):
        return 3 * super().forward(x)

    def backward(self, grad_output):
        return super().backward(3 * grad_output)


@pytest.mark.parametrize(
    "make",
    [lambda: Doubled(5, 5), lambda: Residual(nn.Linear(5, 5)), lambda: Tripled(5, 5)],
    ids=["steps", "forward", "forward of a Linear"],
)
def test_modules_of_users(make, rng):
    """They work alone, in a chain, in predict and in training, and give the same everywhere."""
    module, x, g = make(), batch(rng, 6), batch(rng, 6, 5)
    y = module(x)
    positive = np.maximum(y, F32.type(0))
    dx = module.backward(np.where(y > 0, g, F32.type(0)))
    assert len(module.parameters()) == 2
    expected = gradients(module)
    module.zero_grad()
    chain = nn.Sequential(module, nn.ReLU())
    same_bytes(chain(x), positive)
    same_bytes(chain.backward(g), dx)
    assert gradients(chain) == expected
    same_bytes(chain.predict(x), positive)
    same_bytes(module.predict(x), y)
    trainer = nn.Trainer(chain, nn.MSELoss(), nn.optim.SGD(chain.parameters(), lr=0.01))
    losses = trainer.fit(x, positive + 1, epochs=3, batch_size=6, verbose=0)["loss"]
    assert losses[0] > losses[1] > losses[2]


def test_an_activation_of_a_user_is_not_taken_for_its_base(rng):
    linear, x = nn.Linear(5, 4), batch(rng, 6)
    expected = nn.Sigmoid()(linear.predict(x)) / 2
    model = nn.Sequential(linear, Halved())
    same_bytes(model(x), expected)
    same_bytes(model.predict(x), expected)


# ---- parts, looks, state ----


def test_parameters_have_names_and_an_order():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1, bias=False))
    names = [name for name, _ in model.named_parameters()]
    assert names == ["0.0.weight", "0.0.bias", "1.weight"]
    assert [p.shape for p in model.parameters()] == [(2, 3), (3,), (3, 1)]
    shared = Residual(nn.Linear(2, 2))
    shared.again = shared.inner
    assert [name for name, _ in shared.named_parameters()] == ["inner.weight", "inner.bias"]


REPR = """\
Sequential(
  (0) Linear(2, 300, dtype=float32)
  (1) ReLU()
  (2) Sequential(
    (0) Linear(300, 4, bias=False, dtype=float32)
    (1) Softmax()
  )  # 1,200 parameters
)  # 2,100 parameters"""


def test_repr():
    inner = nn.Sequential(nn.Linear(300, 4, bias=False), nn.Softmax())
    model = nn.Sequential(nn.Linear(2, 300), nn.ReLU(), inner)
    assert repr(model) == REPR
    assert repr(nn.Sequential()) == "Sequential()  # 0 parameters"
    assert repr(nn.Linear(1, 2, dtype=F64)) == "Linear(1, 2, dtype=float64)"
    assert repr(model[0].bias) == "Parameter(bias, shape=(300,), dtype=float32)"
    assert [repr(kind()) for kind in LAYERS] == [f"{kind.__name__}()" for kind in LAYERS]
    assert repr(nn.NLLLoss("sum")) == "NLLLoss(reduction='sum')"
    assert nn.CrossEntropyLoss is nn.SoftmaxCE
    sgd = nn.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    assert repr(sgd) == "SGD(lr=0.5, momentum=0.9)"


def test_state_goes_round(rng):
    model, other, x = network(), network(), batch(rng, 3)
    for p in other.parameters():
        p.data = rng.normal(size=p.shape)
    state = other.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight"]
    model.load_state_dict(state)
    assert weights(model) == weights(other)
    same_bytes(model.predict(x), other.predict(x))
    before = weights(model)
    for array in state.values():  # the state is a copy, both ways
        array.fill(7)
    assert weights(model) == weights(other) == before


@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(make, rng):
    model, x = network(), batch(rng, 6)
    y = model(x)
    twin = make(model)
    assert weights(twin) == weights(model) and repr(twin) == repr(model)
    with pytest.raises(RuntimeError, match="no forward"):  # what is pending is not copied
        twin.backward(np.ones_like(y))
    same_bytes(twin(x), y)
    same_bytes(twin.backward(np.ones_like(y)), model.backward(np.ones_like(y)))
    assert gradients(twin) == gradients(model)
    before = weights(model)
    optimizer = nn.optim.SGD(twin.parameters(), lr=0.1)
    optimizer.step()
    assert len(optimizer.segments()) == 1  # the copy has an arena of its own
    assert weights(model) == before != weights(twin)


# ---- predict ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("last", [None, *LAYERS])
def test_predict_is_forward_for_any_batch_size(last, dtype, rng):
    model = nn.Sequential(network(dtype), last()) if last else network(dtype)
    x = batch(rng, 103, dtype=dtype)
    expected = model(x)
    model.forget()
    for rows in (1, 2, 7, 50, 102, 103, 104, 4096):
        for threads in THREADS:
            nn.set_num_threads(threads)
            same_bytes(model.predict(x, batch_size=rows), expected, f"{rows} rows, {threads}")
    for i in range(len(x)):
        same_bytes(model.predict(x[i : i + 1]), expected[i : i + 1], f"row {i}")
    with pytest.raises(RuntimeError, match="no forward"):  # it kept nothing
        model.backward(expected)


def test_predict_of_many_rows(rng):
    """More rows than any block that predict is cut into."""
    model, x = network(), batch(rng, 9001)
    hashes = set()
    for threads in THREADS:
        nn.set_num_threads(threads)
        hashes |= {sha(model.predict(x)), sha(model.predict(x, batch_size=10**6))}
    assert len(hashes) == 1
    for i in (0, 511, 512, 4095, 4096, 9000):
        same_bytes(model.predict(x[i : i + 1])[0], model.predict(x)[i], f"row {i}")


def test_python_threads_may_predict_side_by_side(rng):
    model, x = network(), batch(rng, 700)
    expected = model.predict(x)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda rows: model.predict(x, batch_size=rows), [1, 9, 64, 700] * 20):
            same_bytes(y, expected)


def test_predict_sees_every_change_of_the_weights(rng):
    model, x = network(), batch(rng, 6)
    for change in (
        lambda: model[0].weight.data.fill(0.25),
        lambda: setattr(model[2].bias, "data", np.full(7, 3.0)),
        lambda: model.load_state_dict(network().state_dict()),
        lambda: nn.Sequential(model[0], nn.Tanh()),  # moves the first layer to another arena
        lambda: model[0].weight.data.fill(0.5),
    ):
        model.predict(x)
        change()
        expected = model.eval()(x)
        same_bytes(model.train().predict(x), expected)


def test_manual_seed():
    first, again = network(), network()
    assert weights(first) == weights(again)
    assert weights(nn.Sequential(nn.Linear(5, 9))) != weights(nn.Sequential(nn.Linear(5, 9)))
    nn.manual_seed(2**64 - 1)
    assert weights(nn.Linear(5, 9)) != weights(first[0])
    nn.manual_seed(0)
    w = nn.Linear(5, 9).weight.data
    from nnlite.nn.init import INIT_PURPOSE, he_uniform

    nn.manual_seed(0)
    same_bytes(he_uniform(5, 9, F32), w)
    assert INIT_PURPOSE not in (nn.data._order.SHUFFLE, nn.data._order.SPLIT)


def test_threads_setting():
    for n in (1, 7, 1024, np.int64(3)):
        nn.set_num_threads(n)
        assert nn.get_num_threads() == n and type(nn.get_num_threads()) is int


class Pair(nn.Module):
    """Two modules, one after another."""

    def __init__(self) -> None:
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.second(self.first(x))


def test_predict_looks_once_for_a_program(monkeypatch):
    """A model without a program is not recorded again for rows of the same kind; for other rows,
    and once it has other modules, it is."""
    asked = []
    monkeypatch.setattr("nnlite.nn.module._predictor", lambda model, x: asked.append(x.shape))
    model = Pair()
    x = np.ones((2, 4), np.float32)
    first = model.first(x)
    for _ in range(3):
        same_bytes(model.predict(x), model.second(first))
    assert asked == [(2, 4)]
    assert model.predict(x[:0]).shape == (0, 3)
    assert asked == [(2, 4), (0, 4)]
    model.second = nn.ReLU()
    for _ in range(3):
        same_bytes(model.predict(x), np.maximum(first, 0))
    assert asked == [(2, 4), (0, 4), (2, 4)]
