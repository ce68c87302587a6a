"""Residual, Concat, Identity, Flatten and Lambda: arrays and Tensors, files, bad input."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from helpers import F32, same_bytes

import nnlite as nn


def linear(i, o):
    return nn.Linear(i, o)


MODULES = {
    "residual": lambda: nn.Residual(nn.Sequential(linear(4, 4), nn.Tanh(), linear(4, 4))),
    "nested": lambda: nn.Residual(nn.Residual(nn.Residual(linear(4, 4)))),
    "concat": lambda: nn.Concat(nn.Identity(), linear(4, 2), nn.Residual(linear(4, 4))),
    "shared": lambda: (lambda f: nn.Concat(f, nn.Sequential(nn.Tanh(), f)))(linear(4, 2)),
    "identity": nn.Identity,
    "flatten": nn.Flatten,
    "lambda": lambda: nn.Lambda(lambda x: x * x + x.sum(axis=1, keepdims=True)),
    "named": lambda: nn.Lambda(nn.functional.relu),
}


def made(name):
    nn.manual_seed(3)
    return MODULES[name]()


@pytest.mark.parametrize("name", MODULES)
def test_arrays_have_the_bits_of_the_graph(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 4)).astype(F32)
    a, b = made(name), made(name)
    y = a(x)
    t = nn.tensor(x, requires_grad=True)
    out = b(t)
    same_bytes(y, out.detach().numpy())
    same_bytes(a.predict(x), y)
    g = rng.normal(size=y.shape).astype(F32)
    dx = a.backward(g)
    out.backward(nn.tensor(g))
    same_bytes(dx, t.grad.numpy())
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        same_bytes(p.grad, q.grad)
    assert not np.may_share_memory(y, x)
    assert not np.may_share_memory(dx, g)


def test_values():
    x = np.array([[1.0, -2.0]], F32)
    f = nn.Linear(2, 2, bias=False)
    f.weight.data = [[1, 2], [3, 4]]
    assert nn.Residual(f)(x).tolist() == [[-4.0, -8.0]]
    assert nn.Concat(nn.Identity(), f)(x).tolist() == [[1.0, -2.0, -5.0, -6.0]]
    assert nn.Concat(nn.Flatten(), nn.Lambda(nn.autograd.exp))(x * 0).tolist() == [[0, 0, 1, 1]]
    three = np.arange(12, dtype=F32).reshape(2, 3, 2)
    assert nn.Flatten()(three).tolist() == three.reshape(2, 6).tolist()
    assert nn.Flatten(-2)(three[:, None]).shape == (2, 1, 6)
    assert nn.Flatten(1, 2)(three[..., None]).shape == (2, 6, 1)
    assert nn.Flatten()(x[:, 0]).shape == (1, 1)
    both = nn.Concat(nn.Identity(), nn.Lambda(lambda v: -v), axis=1)
    assert both(three).tolist() == np.concatenate([three, -three], axis=1).tolist()


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("lambda", "shared")])
def test_through_a_file(name):
    model = nn.Sequential(linear(4, 4), made(name))
    file = io.BytesIO()
    nn.save(file, model)
    found = nn.load(file.getvalue()).model
    assert repr(found) == repr(model)
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(F32)
    same_bytes(found.predict(x), model.predict(x))
    if name != "lambda":
        same_bytes(pickle.loads(pickle.dumps(model)).predict(x), model.predict(x))


def test_a_function_of_the_user_goes_into_no_file():
    model = nn.Sequential(linear(4, 4), made("lambda"))
    with pytest.raises(TypeError, match=r"Lambda\(<lambda>\) has a function that a file cannot "):
        nn.save(io.BytesIO(), model)
    with pytest.raises(ValueError, match=r"nnlite has no function 'os\.system'"):
        nn.Lambda.from_config({"function": "os.system"})
    for name in ("functional.np", "autograd.__getattr__", "functional.", "functional.Any"):
        with pytest.raises(ValueError, match="nnlite has no function"):
            nn.Lambda.from_config({"function": name})


def test_names_and_looks():
    model = nn.Concat(nn.Residual(linear(2, 2)), nn.Identity(), axis=1)
    assert [n for n, _ in model.named_parameters()] == [
        "branches.0.module.weight", "branches.0.module.bias",
    ]  # fmt: skip
    assert repr(model) == "Concat(Residual(Linear(2, 2, dtype=float32)), Identity(), axis=1)"
    assert repr(nn.Flatten(1, 2)) == "Flatten(start_dim=1, end_dim=2)"
    assert len(model) == 2
    assert isinstance(model[1], nn.Identity)


def test_modes_reach_inside():
    model = nn.Residual(nn.Dropout(0.5))
    x = np.ones((2, 64), F32)
    assert (model(x) != 2).any()
    model.backward(x)
    assert (model.predict(x) == 2).all()
    assert model.training
    assert (model.eval()(x) == 2).all()
    with pytest.raises(RuntimeError, match="the module is in eval mode"):
        model.backward(x)


X = np.ones((3, 4), F32)
BAD = [
    (lambda: nn.Residual(np.tanh), TypeError, r"Residual: argument 0: .* wrap a function with nn"),
    (lambda: nn.Residual(nn.Tanh), TypeError, r"pass Tanh\(...\), not the class"),
    (lambda: nn.Concat([nn.Tanh()]), TypeError, r"Concat: argument 0: .*pass Concat\(\*modules\)"),
    (lambda: nn.Concat(), ValueError, "Concat: expected one or more modules"),
    (lambda: nn.Concat(nn.Tanh(), axis=0), ValueError, "Concat: axis: 0 is that of the rows"),
    (lambda: nn.Concat(nn.Tanh(), axis=1.0), TypeError, "Concat: axis"),
    (lambda: nn.Flatten(0), ValueError, "Flatten: axis 0 is that of the rows"),
    (lambda: nn.Flatten("1"), TypeError, "Flatten: start_dim"),
    (lambda: nn.Lambda(3), TypeError, "Lambda: function: expected a function of x, got"),
    (lambda: nn.Lambda(nn.Tanh()), TypeError, "Lambda: function: got a Module"),
    (lambda: nn.Residual(linear(4, 1))(X), ValueError, r"shape \(3, 1\) of x with shape \(3, 4\)"),
    (lambda: nn.Concat(nn.Tanh(), axis=2)(X), ValueError, r"Concat: the outputs have the shapes"),
    (lambda: nn.Concat(nn.Tanh(), nn.Lambda(lambda x: x[:2]))(X), ValueError, "differ in axis -1"),
    (lambda: nn.Flatten(2)(X), ValueError, r"Flatten: x has shape \(3, 4\), which has no axes 2"),
    (lambda: nn.Lambda(lambda x: 3)(X), TypeError, r"expected it to compute a Tensor from x"),
    (lambda: nn.Identity()(X.astype(int)), TypeError, "Identity: x"),
    (lambda: nn.Residual(nn.Tanh())(X.astype(int)), TypeError, "Residual: x"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), BAD)
def test_bad_input(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("name", MODULES)
def test_backward_refuses_what_does_not_fit(name):
    module = made(name)
    y = module(X)
    with pytest.raises(ValueError, match="grad_output"):
        module.backward(np.ones((3, y.shape[1] + 1), F32))
    assert module.backward(np.ones_like(y)).shape == (3, 4)  # it is still pending
    with pytest.raises(RuntimeError, match="no forward since the last backward"):
        module.backward(np.ones_like(y))
    module(X)
    module(X)
    with pytest.raises(RuntimeError, match="forward ran 2 times"):
        module.backward(np.ones_like(y))
