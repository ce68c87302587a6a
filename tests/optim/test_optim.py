"""Parameters in their arenas, and SGD: by hand, against PyTorch, over arenas that were split."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers import DTYPES, F32, F64, fma, same_bytes, sha

import nnlite as nn


def model_of(dtype=F32) -> nn.Sequential:
    nn.manual_seed(5)
    return nn.Sequential(
        nn.Linear(4, 7, dtype=dtype), nn.Tanh(), nn.Linear(7, 3, dtype=dtype), nn.ReLU(),
        nn.Linear(3, 2, bias=False, dtype=dtype),
    )  # fmt: skip


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


# ---- parameters ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_parameters_are_views_into_one_aligned_arena(dtype):
    parameters = model_of(dtype).parameters()
    for what in ("data", "grad"):
        views = [getattr(p, what) for p in parameters]
        assert len({id(view.base) for view in views}) == 1 and views[0].base is not None
        assert all(address(view) % 64 == 0 and view.flags.c_contiguous for view in views)
        starts = [address(view) for view in views]
        ends = [start + view.nbytes for start, view in zip(starts, views, strict=True)]
        gaps = np.array(starts[1:]) - ends[:-1]  # in order, without overlap, closely
        assert (gaps >= 0).all() and (gaps < 64).all()
    assert address(parameters[0].data) != address(parameters[0].grad)


def test_gathering_keeps_values_and_gradients(rng):
    layers = [nn.Linear(3, 4), nn.Linear(4, 2, bias=False)]
    before = []
    for p in (p for layer in layers for p in layer.parameters()):
        p.grad = rng.normal(size=p.shape)
        before.append((p.data.copy(), p.grad.copy()))
    for p, (data, grad) in zip(nn.Sequential(*layers).parameters(), before, strict=True):
        same_bytes(p.data, data)
        same_bytes(p.grad, grad)
    assert layers[0].weight.data.base is layers[1].weight.data.base


@pytest.mark.parametrize("what", ["data", "grad"])
def test_assignment_copies_into_the_arena(what, rng):
    p = nn.Linear(3, 2).weight
    where, values = address(getattr(p, what)), rng.normal(size=(3, 2))
    for value in (
        values,
        values.astype(">f4"),
        values.T.copy().T,
        values.tolist(),
        np.ones((3, 2), int),
    ):
        setattr(p, what, value)
        same_bytes(getattr(p, what), np.asarray(value).astype(F32))
        assert address(getattr(p, what)) == where
    if what == "grad":
        p.grad += 1
        assert (p.grad == 2).all()
    else:
        p.data *= 2
        assert (p.data == 2).all()
    assert address(getattr(p, what)) == where


def test_parameter_by_itself():
    source = np.arange(6, dtype=">f8").reshape(2, 3)
    p = nn.Parameter(source, "scale")
    source[:] = 0
    assert p.data.tolist() == [[0, 1, 2], [3, 4, 5]] and p.dtype == F64 and p.dtype.isnative
    assert p.grad.tolist() == [[0] * 3] * 2
    assert repr(p) == "Parameter(scale, shape=(2, 3), dtype=float64)"
    p.grad = p.data
    twin = pickle.loads(pickle.dumps(p))
    assert twin.name == "scale" and twin.data.tolist() == p.data.tolist() and not twin.grad.any()
    twin.grad = twin.data
    nn.optim.SGD(twin, lr=1).step()  # one Parameter is an iterable of one
    assert not twin.data.any() and p.data.any()


# ---- SGD ----

SETTINGS = [(0.1, 0, 0), (0.1, 0, 0.01), (0.05, 0.9, 0), (0.05, 0.9, 0.01), (1, 0.5, 1)]


@pytest.mark.parametrize("lr, momentum, decay", SETTINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sgd_by_its_formula(dtype, lr, momentum, decay, rng):
    """g = grad + decay w; v = momentum v + g; w = w - lr v, each a fused multiply-add."""
    p = nn.Parameter(rng.normal(size=(5, 3)).astype(dtype))
    w, v = p.data.copy(), np.zeros((5, 3), dtype)
    optimizer = nn.optim.SGD([p], lr, momentum, weight_decay=decay)
    for _ in range(4):
        p.grad = rng.normal(size=(5, 3))
        step = fma(dtype.type(decay), w, p.grad)
        v = fma(dtype.type(momentum), v, step) if momentum else step
        w = fma(-dtype.type(lr), v, w)
        optimizer.step()
        same_bytes(p.data, w)


@pytest.mark.parametrize("lr, momentum, decay", SETTINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sgd_is_pytorchs(dtype, lr, momentum, decay, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = model_of(dtype)
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in model.parameters()]
    ours = nn.optim.SGD(model.parameters(), lr, momentum, weight_decay=decay, decay_bias=True)
    other = torch.optim.SGD(theirs, lr=lr, momentum=momentum, weight_decay=decay)
    for _ in range(5):
        for p, q in zip(model.parameters(), theirs, strict=True):
            p.grad = rng.normal(size=p.shape)
            q.grad = torch.tensor(p.grad)
        ours.step()
        other.step()
    tolerance = 20 * np.finfo(dtype).eps
    for p, q in zip(model.parameters(), theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_networks_train_as_pytorchs(rng):
    """Forward, loss, backward and update together: ten steps in float64."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, loss = model_of(F64), nn.SoftmaxCE()
    t_layers = [torch.nn.Linear(4, 7), torch.nn.Linear(7, 3), torch.nn.Linear(3, 2, bias=False)]
    theirs = torch.nn.Sequential(
        t_layers[0], torch.nn.Tanh(), t_layers[1], torch.nn.ReLU(), t_layers[2]
    ).double()
    for layer, t_layer in zip((model[0], model[2], model[4]), t_layers, strict=True):
        t_layer.weight.data = torch.tensor(layer.weight.data.T.copy())
        if layer.bias is not None:
            t_layer.bias.data = torch.tensor(layer.bias.data.copy())
    ours = nn.optim.SGD(model.parameters(), 0.2, 0.9, weight_decay=1e-3, decay_bias=True)
    other = torch.optim.SGD(theirs.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-3)
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 2, 20)
    for _ in range(10):
        ours.zero_grad()
        other.zero_grad()
        value = loss(model(x), y)
        model.backward(loss.backward())
        t_loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        t_loss.backward()
        assert value == pytest.approx(t_loss.item(), rel=1e-12)
        ours.step()
        other.step()
    for layer, t_layer in zip((model[0], model[2], model[4]), t_layers, strict=True):
        np.testing.assert_allclose(layer.weight.data.T, t_layer.weight.detach().numpy(), rtol=1e-10)


def test_splitting_over_arenas_changes_no_bit(rng):
    """In one arena, in one for each layer, in another order, and moved on the way."""
    grads = [[rng.normal(size=p.shape) for p in model_of().parameters()] for _ in range(6)]

    def run(layers, optimizer, moved=None) -> str:
        parameters = [p for layer in layers for p in layer.parameters()]
        for number, step in enumerate(grads):
            for p, g in zip(parameters, step, strict=True):
                p.grad = g
            if moved and number == 3:
                moved()
            optimizer.step()
        return sha(*(p.data for p in parameters))

    def sgd(parameters):
        return nn.optim.SGD(parameters, 0.1, 0.9, weight_decay=0.01, decay_bias=True)

    def alone() -> list:  # equal layers, each with its own arena
        nn.manual_seed(5)
        return [nn.Linear(4, 7), nn.Linear(7, 3), nn.Linear(3, 2, bias=False)]

    whole = model_of()
    one = sgd(whole.parameters())
    expected = run([whole], one)
    assert len(one.segments()) == 1
    layers = alone()
    split = sgd([p for layer in layers for p in layer.parameters()])
    assert len(split.segments()) == 3
    assert run(layers, split) == expected
    layers = alone()
    backwards = sgd([p for layer in layers for p in layer.parameters()][::-1])
    assert run(layers, backwards) == expected
    layers = alone()
    before = sgd([p for layer in layers for p in layer.parameters()])
    assert run(layers, before, moved=lambda: nn.Sequential(*layers[::-1])) == expected
    layers = alone()
    copied = sgd([p for layer in layers for p in layer.parameters()])
    layers, copied = pickle.loads(pickle.dumps((layers, copied)))
    assert run(layers, copied) == expected


def test_an_optimiser_changes_only_its_parameters(rng):
    model = model_of()
    kept = [p.data.copy() for p in model.parameters()]
    for p in model.parameters():
        p.grad = rng.normal(size=p.shape)
    optimizer = nn.optim.SGD([model[0].bias, model[2].weight], 0.1)
    optimizer.step()
    changed = [
        not np.array_equal(p.data, old) for p, old in zip(model.parameters(), kept, strict=True)
    ]
    assert changed == [False, True, True, False, False]
    optimizer.zero_grad()
    assert [p.grad.any() for p in model.parameters()] == [True, False, False, True, True]


def test_the_rate_may_change_between_steps():
    p = nn.Parameter(np.zeros(3))
    optimizer = nn.optim.SGD([p], lr=1)
    p.grad = [1, 2, 3]
    optimizer.step()
    optimizer.lr = 0.5
    optimizer.step()
    assert p.data.tolist() == [-1.5, -3, -4.5]
    with pytest.raises(ValueError, match="SGD: lr: expected a finite number >= 0, got -1"):
        optimizer.lr = -1
    assert optimizer.lr == 0.5


def test_parameters_may_come_from_a_generator():
    model = model_of()
    optimizer = nn.optim.SGD((p for p in model.parameters()), lr=0.1)
    assert [id(p) for p in optimizer.parameters] == [id(p) for p in model.parameters()]
