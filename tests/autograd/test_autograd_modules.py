"""Modules, losses and parameters on Tensors: one definition, two ways in."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag
from nnlite.nn.parameter import gather

LAYERS = [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax]
TARGET = np.array([0, 2, 1, 1])


def model_of(dtype, *layers):
    nn.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5, dtype=dtype), *layers, nn.Linear(5, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_model_on_tensors_is_the_model_on_arrays(rng, dtype, layer):
    model, loss = model_of(dtype, layer()), nn.SoftmaxCE()
    x = rng.normal(size=(4, 3)).astype(dtype)
    expected = loss(model(x), TARGET)
    dx = model.backward(loss.backward())
    grads = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    tensor = nn.tensor(x, requires_grad=True)
    value = loss(model(tensor), TARGET)
    assert (value.shape, value.dtype, value.item()) == ((), dtype, expected)
    value.backward()
    error = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(tensor.grad, dx, atol=error)
    for p, grad in zip(model.parameters(), grads, strict=True):
        np.testing.assert_allclose(p.grad, grad, atol=error)


@pytest.mark.parametrize("make", [
    nn.SoftmaxCE, lambda **k: nn.MSELoss(**k), lambda **k: nn.NLLLoss(**k),
])  # fmt: skip
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_on_tensors(rng, make, reduction):
    loss = make(reduction=reduction)
    x = rng.normal(size=(4, 3))
    target = rng.normal(size=(4, 3)) if isinstance(loss, nn.MSELoss) else TARGET
    expected, slope = loss(x, target), loss.backward()
    tensor = nn.tensor(x, requires_grad=True)
    value = loss(tensor, target)
    (value * 2).backward()
    assert value.item() == expected
    np.testing.assert_allclose(tensor.grad, 2 * slope, rtol=1e-14, atol=1e-16)


def test_probabilities_as_target(rng):
    x, target = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), 4)
    grad = np.empty_like(x)
    expected = nn.functional.softmax_ce(x, target, grad=grad)
    tensor = nn.tensor(x, requires_grad=True)
    value = nn.functional.softmax_ce(tensor, target)
    (slope,) = ag.grad(value, tensor, create_graph=True)
    assert value.item() == expected
    np.testing.assert_allclose(slope.detach(), grad, atol=1e-15)
    with pytest.raises(TypeError, match=r"no gradient flows to it; pass target\.detach"):
        nn.functional.softmax_ce(tensor, nn.tensor(target, requires_grad=True))


def test_the_issue_example(rng):
    array = rng.normal(size=(4, 3)).astype(np.float32)
    w, b = nn.Parameter(rng.normal(size=(3, 3)).astype(np.float32)), nn.tensor(np.zeros(3, "f4"))
    lam = 1e-2
    x = nn.tensor(array, requires_grad=True)
    y = (x @ w + b).relu()
    loss = nn.functional.softmax_ce(y, TARGET) + 0.5 * lam * (w**2).sum()
    loss.backward()
    hidden = array @ w.data
    grad = np.empty_like(hidden)
    value = nn.functional.softmax_ce(np.maximum(hidden, 0), TARGET, grad=grad)
    assert loss.item() == pytest.approx(value + 0.5 * lam * (w.data**2).sum(), rel=1e-6)
    grad *= hidden > 0
    np.testing.assert_allclose(w.grad, array.T @ grad + lam * w.data, atol=1e-6)
    np.testing.assert_allclose(x.grad, grad @ w.data.T, atol=1e-6)


def test_a_parameter_in_expressions_adds_to_its_gradient():
    w = nn.Parameter(np.array([[1.0, -2.0], [3.0, 0.5]]))
    (w**2).sum().backward()
    np.testing.assert_array_equal(w.grad, 2 * w.data)
    (3 * w + w.T - w / 2).sum().backward()
    np.testing.assert_array_equal(w.grad, 2 * w.data + 3.5)
    np.testing.assert_array_equal((np.ones((1, 2)) @ w).detach(), [[4, -1.5]])
    assert w[0].shape == (2,) and w.mean().item() == w.data.mean()
    assert w == w and w != nn.Parameter(w.data)  # parameters are compared by identity
    (slope,) = ag.grad((w**3).sum(), w)
    np.testing.assert_allclose(slope, 3 * w.data**2)


def test_a_parameter_that_moves_keeps_its_graph():
    w, v = nn.Parameter(np.ones(3)), nn.Parameter(np.ones(2))
    y = (w * 2).sum()
    gather([w, v])
    y.backward()
    np.testing.assert_array_equal(w.grad, [2, 2, 2])


def test_the_same_module_several_times_and_shared_weights(rng):
    layer = nn.Linear(3, 3, dtype=np.float64)
    x = nn.tensor(rng.normal(size=(2, 3)), requires_grad=True)
    h = layer(layer(x).tanh())
    (h.sum() + (layer.weight.T @ layer.weight).sum()).backward()
    a = x.detach().numpy()
    W, b = layer.weight.data, layer.bias.data
    t = np.tanh(a @ W + b)
    dt = (np.ones((2, 3)) @ W.T) * (1 - t * t)
    expected = t.T @ np.ones((2, 3)) + a.T @ dt + W @ np.ones((3, 3)) * 2
    np.testing.assert_allclose(layer.weight.grad, expected, atol=1e-13)
    np.testing.assert_allclose(layer.bias.grad, 2 + dt.sum(0), atol=1e-13)


class Cube(nn.Module):
    """A module written by _run and _grad alone."""

    def __init__(self):
        self.scale = nn.Parameter(np.array([2.0]), "scale")

    def _run(self, x, keep):
        if keep:
            self._keep(x)
        return self.scale.data * x**3

    def _grad(self, saved, grad_output, want_input):
        self.scale._grad += (grad_output * saved**3).sum()
        return grad_output * 3 * saved**2 * self.scale.data


class Absolute(nn.Loss):
    """A loss written by _run and _grad alone."""

    def _run(self, output, target):
        return float(np.abs(output - target).sum()), np.sign(output - target)

    def _grad(self, saved):
        return saved


def test_modules_and_losses_without_a_formula(rng):
    cube, loss = Cube(), Absolute("sum")
    x = nn.tensor([1.0, -2.0], requires_grad=True, dtype=np.float64)
    y = cube(cube(x))
    value = loss(y, np.zeros(2))
    value.backward(retain_graph=True)
    a = x.detach().numpy()
    y1 = 2 * a**3
    slope = np.sign(a) * 3 * y1**2 * 2
    np.testing.assert_allclose(x.grad, slope * 3 * a**2 * 2)
    sign = np.sign(a)
    np.testing.assert_allclose(cube.scale.grad, [(sign * y1**3 + slope * a**3).sum()])
    with pytest.raises(NotImplementedError, match="Absolute: its backward is a kernel without"):
        ag.grad(value, x, create_graph=True)
    cube.backward  # noqa: B018
    with pytest.raises(RuntimeError, match="no forward since the last backward"):
        cube.backward(np.ones(2))


def test_second_derivatives_through_a_model(rng):
    model = model_of(np.float64, nn.Tanh())
    x = rng.normal(size=(4, 3))
    parameters = model.parameters()

    def slopes():
        return ag.grad(nn.SoftmaxCE()(model(nn.tensor(x)), TARGET), parameters)

    loss = nn.SoftmaxCE()(model(nn.tensor(x)), TARGET)
    first = ag.grad(loss, parameters, create_graph=True)
    penalty = sum((g * g).sum() for g in first)
    second = ag.grad(penalty, parameters)
    step = 1e-5
    for p, g in zip(parameters, second, strict=True):
        place = (0,) * len(p.shape)
        values = []
        for sign in (1, -1):
            p.data[place] += sign * step
            values.append(sum((s.numpy() ** 2).sum() for s in slopes()))
            p.data[place] -= sign * step
        np.testing.assert_allclose(g[place].item(), (values[0] - values[1]) / (2 * step), rtol=1e-6)


def test_functional_with_tensors(rng):
    x = nn.tensor(rng.normal(size=(3, 4)), requires_grad=True)
    F = nn.functional
    for name in ("exp", "expm1", "erf", "sigmoid", "tanh", "relu", "softmax", "log_softmax"):
        y = getattr(F, name)(x)
        assert isinstance(y, nn.Tensor) and y.requires_grad
        np.testing.assert_array_equal(y.detach(), getattr(F, name)(np.array(x.detach())))
    np.testing.assert_array_equal(
        F.matmul(x, x, transpose_b=True).detach(),
        F.matmul(np.array(x.detach()), np.array(x.detach()), transpose_b=True),
    )
    with pytest.raises(TypeError, match="exp: out: expected None with a Tensor"):
        F.exp(x, np.empty((3, 4)))


WEIGHT = np.array([0.5, 2.0, 1.0])
ROWS = np.array([1.0, 0.0, 2.0, 0.5])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", [
    {}, {"weight": WEIGHT}, {"label_smoothing": 0.2}, {"ignore_index": 1},
    {"weight": WEIGHT, "label_smoothing": 0.1, "ignore_index": 2},
])  # fmt: skip
@pytest.mark.parametrize("rows", [None, ROWS])
@pytest.mark.parametrize("kind", ["indices", "probabilities", "nll", "mse"])
def test_losses_with_weights_and_the_formula_of_their_gradient(rng, reduction, options, rows, kind):
    x = rng.normal(size=(4, 3))
    target = TARGET if kind in ("indices", "nll") else rng.dirichlet(np.ones(3), 4)
    make = nn.SoftmaxCE
    if kind in ("nll", "mse"):
        options = {k: v for k, v in options.items() if k != "label_smoothing" and kind == "nll"}
        make = nn.NLLLoss if kind == "nll" else nn.MSELoss
    if kind == "probabilities":
        options = {k: v for k, v in options.items() if k != "ignore_index"}
    loss = make(reduction=reduction, **options)
    expected = loss(x, target, rows)
    weight, slope = loss.total_weight, loss.backward()
    tensor = nn.tensor(x, requires_grad=True)
    value = loss(tensor, target, rows)
    assert (value.item(), loss.total_weight) == (expected, weight)
    (first,) = ag.grad(value, tensor, retain_graph=True)
    (formula,) = ag.grad(value, tensor, create_graph=True)
    np.testing.assert_array_equal(first, slope)
    np.testing.assert_allclose(formula.detach(), slope, atol=1e-15)
    function = {"nll": nn.functional.nll_loss, "mse": nn.functional.mse_loss}.get(
        kind, nn.functional.softmax_ce
    )
    again = function(tensor, target, reduction=reduction, sample_weight=rows, **options)
    assert again.item() == expected
    (slope_of_function,) = ag.grad(again, tensor, create_graph=True)
    np.testing.assert_allclose(slope_of_function.detach(), slope, atol=1e-15)


def test_rows_of_weight_zero_count_nothing_whatever_they_hold(rng):
    x = rng.normal(size=(4, 3))
    x[1] = np.nan
    for loss, target in ((nn.SoftmaxCE(), TARGET), (nn.MSELoss(), np.ones((4, 3)))):
        tensor = nn.tensor(x, requires_grad=True)
        (slope,) = ag.grad(loss(tensor, target, ROWS), tensor, create_graph=True)
        assert np.isfinite(slope.detach()).all() and not slope.detach().numpy()[1].any()


def test_mse_with_a_target_in_the_graph(rng):
    x, t = (nn.tensor(rng.normal(size=3), requires_grad=True) for _ in range(2))
    nn.MSELoss()(x, t.detach()).backward()
    (nn.functional.mse_loss(x, t) * 2).backward()
    np.testing.assert_allclose(t.grad, 4 / 3 * (t.detach().numpy() - x.detach().numpy()))
    with pytest.raises(TypeError, match=r"MSELoss: target: no gradient flows to it"):
        nn.MSELoss()(x, t)


def test_dropout_on_tensors_has_the_masks_of_arrays():
    nn.manual_seed(5)
    module = nn.Dropout(0.3)
    state = module.extra_state()
    x = np.ones((6, 7))
    expected = [module(x) * 1 for _ in range(2) if module.forget() is None]
    module.forget()
    module.load_extra_state(state)
    tensor = nn.tensor(x, requires_grad=True)
    for mask in expected:
        y = module(tensor)
        np.testing.assert_array_equal(y.detach(), mask)
        tensor.grad = None
        (y * 3).sum().backward()
        np.testing.assert_array_equal(tensor.grad, 3 * mask)
    assert module.eval()(tensor) is tensor
    (first,) = ag.grad(
        (nn.functional.dropout(tensor, 0.5, 1) ** 3).sum(), tensor, create_graph=True
    )
    (second,) = ag.grad(first.sum(), tensor)
    np.testing.assert_allclose(second, 6 * nn.functional.dropout(x, 0.5, 1) ** 3)
