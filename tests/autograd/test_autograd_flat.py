"""Flat code: runs by itself and gives the numbers of backward, for every operation."""

from __future__ import annotations

import numpy as np
import pytest
from autograd_cases import CASES, IDS

import nnlite as nn
from nnlite import autograd as ag

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(np.asarray(values), requires_grad=True, dtype=dtype)


def same_numbers(output, leaves: dict, gradient=None, rtol=1e-12):
    """Runs the flat code of an output and compares value and gradients with those of backward."""
    code = ag.flat(output, leaves, gradient)
    space = code.run()
    name = "loss" if output.size == 1 else "output"
    scale = rtol * (1 + np.abs(output.detach().numpy()).max(initial=0))
    np.testing.assert_allclose(space[name], output.detach(), rtol=rtol, atol=scale)
    output.backward(gradient)
    for name, x in leaves.items():
        size = np.abs(x.grad).max(initial=0) if isinstance(x, nn.Parameter) else None
        grad = np.asarray(x.grad if size is not None else x.grad.detach())
        got = np.asarray(space[f"d_{name}"])
        assert got.shape == grad.shape, name
        atol = rtol * (1 + np.abs(grad).max(initial=0))
        np.testing.assert_allclose(got, grad, rtol=rtol, atol=atol, err_msg=name)
    return code


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_operation(case):
    arrays = case.inputs()
    leaves = {f"x{i}": leaf(a) for i, a in enumerate(arrays)}
    output = case.call(*leaves.values())
    gradient = np.random.default_rng(1).normal(size=output.shape)
    code = same_numbers(output, leaves, gradient, rtol=1e-9)
    gates = "eigh" in case.name or "svd" in case.name
    assert bool(code.inputs) == gates
    if not gates:
        exec(str(code), {})  # the text alone


def test_the_text_of_a_neuron(capsys):
    w, x, b = leaf([2.0, -1.0]), leaf([0.5, 3.0]), leaf(1.0)
    neuron = nn.function("neuron")(lambda: (w * x).sum() + b)
    code = ag.flat(neuron().sigmoid(), {"w": w, "x": x, "b": b})
    assert str(code).split("\n\n") == [
        "import numpy as np",
        "# given\n"
        "w = np.array([2.0, -1.0], np.float64)\n"
        "x = np.array([0.5, 3.0], np.float64)\n"
        "b = np.array(1.0, np.float64)",
        "# forward\n"
        "# neuron\n"
        "mul1 = w * x\n"
        "sum1 = np.sum(mul1, axis=None, keepdims=False)\n"
        "add1 = sum1 + b\n"
        "# -\n"
        "loss = 1 / (1 + np.exp(-add1))",
        "# backward\n"
        "d_loss = np.array(1.0, np.float64)\n"
        "d_add1 = d_loss * loss * (1 - loss)\n"
        "# neuron\n"
        "d_sum1 = d_add1\n"
        "d_b = d_add1\n"
        "d_mul1 = np.broadcast_to(d_sum1, (2,))\n"
        "d_w = d_mul1 * x\n"
        "d_x = d_mul1 * w\n",
    ]
    assert capsys.readouterr().out == code + "\n"
    assert repr(code) == f"<Code: {len(code.splitlines())} lines>"


def test_a_network_with_its_names_and_loss():
    nn.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 5, dtype=F64), nn.Tanh(), nn.Linear(5, 3, dtype=F64))
    rng = np.random.default_rng(0)
    x, target = nn.tensor(rng.normal(size=(7, 2))), rng.integers(0, 3, 7)
    weights = {p.name + str(i): p for i, p in enumerate(model.parameters())}
    for loss in (nn.SoftmaxCE(), nn.SoftmaxCE("sum", [1.0, 2.0, 0.5], 0.1, 2)):
        output = loss(model(x), target, None) + 0.1 * (model[0].weight ** 2).sum()
        model.zero_grad()
        same_numbers(output, weights)
    names = ag.flat(nn.SoftmaxCE()(model(x), target), model)
    assert "linear1 = c1 @ p0_weight + p0_bias" in names


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_with_weights(reduction):
    rng = np.random.default_rng(1)
    target, rows = np.array([2, 0, 1, -100]), rng.uniform(0.5, 2, 4)
    classes = np.array([1.0, 0.5, 3.0])
    x = leaf(rng.normal(size=(4, 3)))
    same_numbers(
        ag.softmax_ce(x, target, reduction, classes, 0.2, sample_weight=rows), {"x": x}
    )  # fmt: skip
    x = leaf(rng.normal(size=(4, 3)))
    soft = rng.dirichlet(np.ones(3), 4)
    same_numbers(ag.softmax_ce(x, soft, reduction), {"x": x})
    x = leaf(rng.normal(size=(4, 3)))
    same_numbers(
        ag.nll_loss(x.log_softmax(), target, reduction, classes, sample_weight=rows), {"x": x}
    )  # fmt: skip
    x = leaf(rng.normal(size=(4, 3)))
    same_numbers(nn.MSELoss(reduction)(x, rng.normal(size=(4, 3)), rows), {"x": x})


def test_changes_in_place_reuse_and_dropout():
    x = leaf([[1.0, -2.0], [0.5, 4.0]])
    y = x * 2
    y[0] = x[1] * x[0]
    y += 1
    z = ag.dropout(y, 0.5, seed=3)
    same_numbers((z * z + y).sum(), {"x": x})


class Multiply(ag.Function):
    @staticmethod
    def forward(ctx, x, y, times=1):
        ctx.save_for_backward(x, y)
        ctx.times = times
        return x * y * times

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return y * grad * ctx.times, x * grad * ctx.times, None


class Cube(nn.Module):
    def _run(self, x, keep):
        if keep:
            self._keep(x)
        return x**3

    def _grad(self, saved, grad_output, want_input):
        return 3 * saved**2 * grad_output


def test_gates_without_a_formula():
    x, y = leaf([1.0, 2.0]), leaf([3.0, -1.0])
    code = same_numbers((Multiply.apply(x, y, 3) + x).sum(), {"x": x, "y": y})
    assert "multiply1 = gate1.forward(x, y)  # Multiply" in code
    x = leaf([[1.0, 2.0]])
    cube = Cube()
    same_numbers(cube(x).sum() * 2, {"x": x})


def test_long_arrays_are_inputs():
    x, y = leaf(np.linspace(0, 1, 1001)), leaf(np.linspace(1, 2, 1000))
    code = same_numbers((x.sum() * y).sum(), {"x": x, "y": y})
    assert list(code.inputs) == ["x"] and "# x: an input of shape (1001,), float64" in code
    np.testing.assert_array_equal(code.inputs["x"], x.detach())


def test_names_are_made_fit():
    x, y = leaf(2.0), leaf(3.0)
    code = ag.flat(x * y, {"0.a b": x, "loss": y})
    assert "loss1 = p0_a_b * loss\n" in code
    assert {k: code.run()[k] for k in ("loss1", "d_p0_a_b", "d_loss")} == {
        "loss1": 6, "d_p0_a_b": 3, "d_loss": 2,
    }  # fmt: skip
    assert ag.flat(x.exp(), {"class": x}).run()["d_class_"] == np.exp(2.0)


def test_what_cannot_be_written():
    x = leaf([1.0, 2.0])
    y = x * x
    with pytest.raises(RuntimeError, match=r"flat: the tensor has shape \(2,\); pass gradient"):
        ag.flat(y)
    loss = y.sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="flat: the graph of sum was freed by backward"):
        ag.flat(loss)
    with pytest.raises(RuntimeError, match="flat: no graph led to this tensor"):
        ag.flat(x.detach())
    with pytest.raises(TypeError, match="flat: names: expected a module or a dict"):
        ag.flat((x * x).sum(), 5)
    loss = (x + x).sum()
    with nn.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match=r"flat: the leaf x1 \(shape \(2,\)\) is gone or was"):
        ag.flat(loss)


def test_gradients_are_the_calls_that_backward_makes():
    x, w = leaf([[1.0, 2.0]]), leaf([[3.0], [-1.0]])
    b = leaf([0.5])
    code = same_numbers(ag.linear(x, w, b).tanh().sum(), {"x": x, "w": w, "b": b})
    assert "d_linear1 = d_tanh1 * (1 - tanh1 * tanh1)\n" in code
    assert "d_w, d_b = x.T @ d_linear1, d_linear1.sum(0)\n" in code


def test_a_graph_of_gradients():
    x = leaf([1.0, -0.5])
    (g,) = ag.grad((x.sigmoid() * x.tanh()).sum(), x, create_graph=True)
    same_numbers((g * g).sum(), {"x": x})


def test_what_warns_in_numpy_runs_without_a_warning():
    x = leaf([0.0, 4.0])
    code = ag.flat(x.sqrt().sum(), {"x": x})
    np.testing.assert_array_equal(code.run()["d_x"], [np.inf, 0.25])
