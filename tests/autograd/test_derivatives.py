"""vjp, jvp, jacobian, hessian and hvp: values, models, nesting, bad input."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

A = np.array([[1.0, 2, -1], [0.5, -3, 2]])
X = np.array([0.3, -1.2, 2.0])
LABELS = np.array([2, 0, 1, 1])


def cubic(x):
    return (x**3).sum() + x[0] * x[1] * x[2]


def cubic_hessian(x):
    a, b, c = x
    return np.array([[6 * a, c, b], [c, 6 * b, a], [b, a, 6 * c]])


def same(got, expected, error=1e-13):
    assert isinstance(got, nn.Tensor) and not got.requires_grad
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=error, atol=error)


# Values.


def test_jvp_and_vjp_of_a_linear_map():
    v, u = np.array([1.0, -2, 0.5]), np.array([2.0, -1])
    y, t = ag.jvp(lambda x: A @ x, X, v)
    same(y, A @ X)
    same(t, A @ v)
    y, g = ag.vjp(lambda x: A @ x, X, u)
    same(y, A @ X)
    same(g, A.T @ u)


def test_jacobian_rows_are_outputs():
    for strategy in ("reverse-mode", "forward-mode"):
        same(ag.jacobian(lambda x: A @ x, X, strategy=strategy), A)
        J = ag.jacobian(lambda x: x.exp().reshape(3, 1) * nn.tensor([[1.0, 2]]), X,
                        strategy=strategy)  # fmt: skip
        expected = np.zeros((3, 2, 3))
        for i in range(3):
            expected[i, :, i] = np.exp(X[i]) * np.array([1, 2])
        same(J, expected)


def test_several_inputs_and_outputs():
    w, x = np.array([[1.0, 2], [3, 4]]), np.array([5.0, -1])

    def f(w, x):
        return w @ x, (x * x).sum()

    for strategy in ("reverse-mode", "forward-mode"):
        (dw, dx), (dw2, dx2) = ag.jacobian(f, (w, x), strict=False, strategy=strategy)
        same(dw, np.einsum("ij,k->ijk", np.eye(2), x))
        same(dx, w)
        same(dw2, np.zeros((2, 2)))
        same(dx2, 2 * x)
    (y, s), (ty, ts) = ag.jvp(f, (w, x), (np.ones((2, 2)), x))
    same(y, w @ x)
    same(s, 26.0)
    same(ty, np.ones((2, 2)) @ x + w @ x)
    same(ts, 2 * 26.0)
    _, (gw, gx) = ag.vjp(f, (w, x), (np.array([1.0, 0]), 2.0))
    same(gw, [[5, -1], [0, 0]])
    same(gx, w[0] + 4 * x)


def test_hessian_and_its_products():
    same(ag.hessian(cubic, X), cubic_hessian(X))
    for v in np.eye(3):
        value, product = ag.hvp(cubic, X, v)
        same(value, (X**3).sum() + X.prod())
        same(product, cubic_hessian(X) @ v)
    (aa, ab), (ba, bb) = ag.hessian(lambda a, b: (a * b * b).sum(), (X, 2 * X))
    same(aa, np.zeros((3, 3)))
    same(ab, np.diag(4 * X))
    same(ba, np.diag(4 * X))
    same(bb, np.diag(2 * X))


def test_one_number_needs_no_vector():
    same(ag.vjp(cubic, X)[1], 3 * X**2 + X.prod() / X)
    y, t = ag.jvp(lambda x: x.exp() * nn.tensor(A), np.float64(0.5))
    same(y, np.exp(0.5) * A)
    same(t, np.exp(0.5) * A)


def test_float32_stays_float32():
    x = X.astype(np.float32)
    _, t = ag.jvp(cubic, x, x)
    _, g = ag.vjp(cubic, x)
    _, h = ag.hvp(cubic, x, x)
    assert {r.dtype for r in (t, g, h, ag.hessian(cubic, x), ag.jacobian(cubic, x))} == {x.dtype}
    np.testing.assert_allclose(h, cubic_hessian(X) @ X, rtol=1e-5)


def test_control_flow_and_changes_in_place():
    def f(x):
        y = x * 1.0
        for _ in range(3):
            if y.max().item() < 5:
                y *= x
        y[1] = x[0] * x[2]
        return y

    expected = np.diag(3 * X**2)  # the loop stops at x^3
    expected[1] = [X[2], 0, X[0]]
    for strategy in ("reverse-mode", "forward-mode"):
        same(ag.jacobian(f, X, strategy=strategy), expected)


def test_empty_inputs():
    x = np.zeros((0,))
    same(ag.jacobian(lambda x: x * 2.0, x), np.zeros((0, 0)))
    same(ag.jacobian(lambda x: x.sum(), x, strategy="forward-mode"), np.zeros(0))
    same(ag.hessian(lambda x: (x * x).sum(), x), np.zeros((0, 0)))


# Derivatives of derivatives.


def test_nested():
    v, u = np.array([1.0, 0.5, -1]), np.array([0.0, 1, 2])
    third = 6 * v * u + np.array([v[1] * u[2] + v[2] * u[1], v[0] * u[2] + v[2] * u[0],
                                  v[0] * u[1] + v[1] * u[0]])  # fmt: skip
    slope = 3 * X**2 + X.prod() / X
    H = cubic_hessian(X)
    same(ag.jvp(lambda x: ag.jvp(cubic, x, v)[1], X, u)[1], v @ H @ u)
    same(ag.jvp(lambda x: ag.vjp(cubic, x)[1], X, u)[1], H @ u)
    same(ag.jvp(lambda x: ag.hvp(cubic, x, v)[1], X, u)[1], third)
    same(ag.jvp(lambda x: ag.hessian(cubic, x), X, u)[1] @ nn.tensor(v), third)
    same(ag.jvp(lambda x: ag.jacobian(cubic, x), X, u)[1], H @ u)
    x = nn.tensor(X, requires_grad=True)
    for value, expected in (
        (ag.vjp(cubic, x, create_graph=True)[1] @ v, H @ v),
        (ag.jvp(cubic, x, v, create_graph=True)[1], H @ v),
        (ag.jacobian(cubic, x, create_graph=True) @ v, H @ v),
        (ag.hvp(cubic, x, v, create_graph=True)[1] @ u, third),
        (nn.tensor(u) @ ag.hessian(cubic, x, create_graph=True) @ v, third),
    ):
        (g,) = ag.grad(value, x)
        np.testing.assert_allclose(g, expected, atol=1e-13)
    same(ag.jvp(cubic, X, v)[1], slope @ v)


def test_closures_keep_their_own_tangents():
    """No confusion: the inner derivative is by the inner variable alone."""
    y, t = ag.jvp(lambda x: x * ag.jvp(lambda z: x + z, np.float64(1), 1.0)[1], np.float64(2), 1.0)
    same(y, 2.0)
    same(t, 1.0)


def test_gradients_inside_a_forward_pass():
    def slope(x):
        return ag.grad(cubic(x), x)[0]

    same(ag.jvp(slope, X, X, create_graph=True)[1].detach(), cubic_hessian(X) @ X)
    w = nn.tensor(X, requires_grad=True)
    with nn.no_grad():
        same(ag.vjp(cubic, X)[1], 3 * X**2 + X.prod() / X)
        same(ag.hvp(lambda x: cubic(x * w), X, X)[1],
             ag.hvp(lambda x: cubic(x * nn.tensor(X)), X, X)[1])  # fmt: skip
    assert w.grad is None


# Models.


def model_and_loss(dtype=np.float64):
    nn.manual_seed(5)
    model = nn.Sequential(
        nn.Linear(3, 5, dtype=dtype), nn.Tanh(), nn.Linear(5, 4, dtype=dtype), nn.ReLU(),
        nn.Linear(4, 3, dtype=dtype),
    )  # fmt: skip
    x = nn.tensor(np.linspace(-1, 1, 12).reshape(4, 3).astype(dtype))
    return model, lambda: nn.SoftmaxCE()(model(x), LABELS)


def flat(arrays):
    return np.concatenate([np.asarray(a).ravel() for a in arrays])


def slope_of(model, closure):
    return flat(g.numpy() for g in ag.grad(closure(), model.parameters()))


def test_hvp_over_the_parameters_of_a_model(rng):
    model, closure = model_and_loss()
    parameters = model.parameters()
    before = [p.data.copy() for p in parameters]
    v = [rng.normal(size=p.shape) for p in parameters]
    value, product = ag.hvp(closure, model, v)
    assert value.item() == closure().item()
    assert [p.shape for p in product] == [p.shape for p in parameters]
    together, flat_product = ag.hvp(closure, parameters, flat(v))
    np.testing.assert_array_equal(flat_product, flat(product))
    assert together.item() == value.item()
    step, slopes = 1e-5, []
    for sign in (1, -1):
        for p, b, t in zip(parameters, before, v, strict=True):
            p.data = b + sign * step * t
        slopes.append(slope_of(model, closure))
    for p, b in zip(parameters, before, strict=True):
        p.data = b
    np.testing.assert_allclose(flat_product, (slopes[0] - slopes[1]) / (2 * step), atol=1e-8)
    _, twice = ag.hvp(closure, model, v, create_graph=True)
    np.testing.assert_allclose(flat(t.detach() for t in twice), flat(product), atol=1e-14)
    for p in parameters:
        assert not p.grad.any()
        assert getattr(p.__tensor__(), "_tangent", None) is None


def test_other_derivatives_over_parameters(rng):
    model, closure = model_and_loss()
    slope = slope_of(model, closure)
    v = rng.normal(size=slope.size)
    _, t = ag.jvp(closure, model, v)
    np.testing.assert_allclose(t.item(), slope @ v, rtol=1e-12)
    np.testing.assert_allclose(flat(ag.vjp(closure, model)[1]), slope, atol=1e-15)
    np.testing.assert_allclose(flat(ag.jacobian(closure, model)), slope, atol=1e-15)
    bias = model.layers[2].bias
    H = ag.hessian(closure, bias)
    assert H.shape == (4, 4)
    np.testing.assert_allclose(H @ nn.tensor(v[:4]), ag.hvp(closure, bias, v[:4])[1], atol=1e-14)
    np.testing.assert_allclose(H, np.asarray(H).T, atol=1e-15)


def test_models_are_checked():
    model, closure = model_and_loss()
    bits = [p.data.tobytes() for p in model.parameters()]
    assert ag.gradcheck(closure, model)
    assert ag.gradgradcheck(closure, model)
    assert [p.data.tobytes() for p in model.parameters()] == bits


def test_threads_have_their_own_tangents(rng):
    model, closure = model_and_loss()
    vs = [rng.normal(size=sum(p.size for p in model.parameters())) for _ in range(8)]
    expected = [np.asarray(ag.hvp(closure, model, v)[1]) for v in vs]
    found = [None] * len(vs)

    def work(i):
        for _ in range(20):
            found[i] = np.asarray(ag.hvp(closure, model, vs[i])[1])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(vs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


class Cube(nn.Module):
    """A module without a formula on Tensors."""

    def _run(self, x, keep):
        if keep:
            self._keep(x)
        return x**3

    def _grad(self, saved, grad_output, want_input):
        return 3 * saved**2 * grad_output


def test_modules_without_a_formula_say_so():
    x = np.array([1.0, 2])
    same(ag.vjp(lambda x: Cube()(x).sum(), x)[1], 3 * x**2)
    for call in (ag.jvp, ag.hvp):
        with pytest.raises(NotImplementedError, match=r"Cube: .* first derivatives only; define"):
            call(lambda x: Cube()(x).sum(), x, x)
    with pytest.raises(NotImplementedError, match="Cube"):
        ag.gradgradcheck(lambda x: Cube()(x).sum(), x)


class Multiply(ag.Function):
    """The gate of the lecture."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return y * grad, x * grad


def test_functions_of_the_user_have_all_derivatives():
    assert ag.gradcheck(Multiply.apply, (X, 2 * X))
    assert ag.gradgradcheck(Multiply.apply, (X, 2 * X))
    same(ag.hvp(lambda x: Multiply.apply(x, Multiply.apply(x, x)).sum(), X, X)[1], 6 * X * X)


class Scale(ag.Function):
    """x y; keeps and returns only what is asked for."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(y if ctx.needs_input_grad[0] else None,
                              x if ctx.needs_input_grad[1] else None)  # fmt: skip
        return x * y

    @staticmethod
    def backward(ctx, grad):
        y, x = ctx.saved_tensors
        return None if y is None else grad * y, None if x is None else grad * x


def test_functions_that_keep_only_what_is_needed():
    same(ag.jvp(lambda x: Scale.apply(x * x, x + 1.0), X, X)[1], (3 * X**2 + 2 * X) * X)
    same(ag.jvp(lambda x: Scale.apply(x * x, nn.tensor(X)), X, X)[1], 2 * X**3)
    assert ag.gradgradcheck(lambda x: Scale.apply(x * x, x + 1.0), X)


def test_anomalies_are_found_in_forward_mode_too():
    with ag.detect_anomaly():
        for call in (ag.jvp, ag.hvp):
            with pytest.raises(RuntimeError, match="detect_anomaly: log made the first NaN in"):
                call(lambda x: (x * 2.0).log().sum(), -np.ones(3), X)
            assert np.isfinite(call(cubic, X, X)[1]).all()
