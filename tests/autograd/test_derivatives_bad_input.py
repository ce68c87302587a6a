"""What the functions of derivatives refuse, the checks that fail, and numerical_gradient."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag
from nnlite.autograd.node import state

X = np.array([0.3, -1.2, 2.0])
ONE = {"vjp": ag.vjp, "jacobian": ag.jacobian, "hessian": ag.hessian}
ALONG = {"jvp": ag.jvp, "hvp": ag.hvp}
ALL = [
    *[(name, call) for name, call in ONE.items()],
    *[(name, lambda f, x, c=call: c(f, x, np.ones(3))) for name, call in ALONG.items()],
    ("gradcheck", ag.gradcheck), ("gradgradcheck", ag.gradgradcheck),
]  # fmt: skip
every = pytest.mark.parametrize(("name", "call"), ALL, ids=[name for name, _ in ALL])


def total(x):
    return (x * x).sum()


@every
def test_inputs(name, call):
    for x, message in (
        (np.arange(3), f"{name}: input 0: expected float32 or float64, got int64; convert it with"),
        (np.ones(3) > 0, f"{name}: input 0: expected float32 or float64, got bool"),
        (np.ones(3, np.complex128), f"{name}: input 0: expected float32 or .*, got complex128"),
        ("x", f"{name}: input 0: expected a Tensor or an array of float32 or float64, got str"),
        (([1.0, 2.0],), f"{name}: input 0: expected a Tensor or an array .*, got list"),
        ((nn.Parameter(X), X), f"{name}: inputs: expected Parameters alone or Tensors alone"),
    ):
        with pytest.raises(TypeError, match=message):
            call(total, x)
    with pytest.raises(ValueError, match=f"{name}: inputs: expected at least one, got none"):
        call(total, ())
    with pytest.raises(TypeError, match=f"{name}: f: expected a function, got Tensor"):
        call(nn.tensor(X), X)


@every
def test_what_the_function_returns(name, call):
    for f, message in (
        (lambda x: float(x.detach().sum()), "expected it to return a Tensor .*, got float"),
        (lambda x: x.detach().numpy().sum(), "expected it to return a Tensor .*, got float64"),
        (lambda x: None, "expected it to return a Tensor .*, got NoneType"),
        (lambda x: x > 0, "expected it to return float32 or float64, got bool"),
        (lambda x: (), "expected a Tensor, got an empty tuple"),
    ):
        with pytest.raises(TypeError, match=f"{name}: f: {message}"):
            call(f, X)


@pytest.mark.parametrize(("name", "call"), ALL[:-2], ids=[name for name, _ in ALL[:-2]])
def test_values_that_leave_the_graph(name, call):
    with pytest.raises(RuntimeError, match=r"numpy: .*which an array would lose; call detach"):
        call(lambda x: nn.tensor(x.numpy() * 2).sum(), X)


@pytest.mark.parametrize(("name", "call"), ALL[:-2], ids=[name for name, _ in ALL[:-2]])
def test_inputs_without_influence(name, call):
    def constant(x):
        return nn.tensor(np.float64(2.0)) * 3

    with pytest.raises(RuntimeError, match=f"{name}: f does not depend on .*strict=False"):
        call(constant, X)
    with pytest.raises(RuntimeError, match=f"{name}: f does not depend on"):
        call(lambda x: total(x.detach()), X)
    function = {**ONE, **ALONG}[name]
    more = (np.ones(3),) if name in ALONG else ()
    found = function(constant, X, *more, strict=False)
    found = found[1] if type(found) is tuple else found
    assert not np.asarray(found).any()
    assert found.shape == {"jvp": (), "hessian": (3, 3)}.get(name, (3,))
    if name != "jvp":  # one of two; forward mode sees all inputs at once
        with pytest.raises(RuntimeError, match=f"{name}: f does not depend on input 1"):
            more = ((X, X),) if name in ALONG else ()
            function(lambda x, y: total(x), (X, X), *more)


def test_vectors():
    for call, name in ((ag.jvp, "jvp"), (ag.hvp, "hvp")):
        for v, error, message in (
            (np.ones(2), ValueError, r"v: expected the shape of input 0, \(3,\), got \(2,\)"),
            (np.ones(3, np.float32), TypeError, "v: expected the dtype of input 0, float64, got f"),
            ("v", TypeError, "v: expected an array, got str"),
            (None, ValueError, "v: expected an array in the shape of each input, got None"),
            (1.0, ValueError, r"v: expected the shape of input 0, \(3,\), got \(\)"),
        ):
            with pytest.raises(error, match=f"{name}: {message}"):
                call(total, X, v)
        with pytest.raises(
            ValueError, match=rf"{name}: v: .*2 arrays or a flat one of shape \(6,\)"
        ):
            call(lambda a, b: total(a * b), (X, X), np.ones(5))
        with pytest.raises(ValueError, match=f"{name}: v: expected 2, one for each input, got 1"):
            call(lambda a, b: total(a * b), (X, X), (X,))
        with pytest.raises(
            TypeError, match=f"{name}: v: expected the dtype of the inputs, one for"
        ):
            call(lambda a, b: total(a * b), (X, X.astype(np.float32)), np.ones(6))
    with pytest.raises(ValueError, match=r"vjp: v: f gives more than one number, shape \(3,\)"):
        ag.vjp(lambda x: x * 2.0, X)
    with pytest.raises(ValueError, match=r"vjp: v: expected the shape of output 0, \(3,\), got"):
        ag.vjp(lambda x: x * 2.0, X, np.ones(4))
    with pytest.raises(ValueError, match="vjp: v: expected 2, one for each output, got 1"):
        ag.vjp(lambda x: (x * 2.0, x), X, (X,))


def test_outputs_that_are_no_numbers():
    for call in (lambda f: ag.hessian(f, X), lambda f: ag.hvp(f, X, X)):
        with pytest.raises(
            ValueError, match=r"f: expected it to return one number, got shape \(3,"
        ):
            call(lambda x: x * 2.0)
        with pytest.raises(ValueError, match=r"one number, got shape \(\), \(\)"):
            call(lambda x: (x.sum(), x.max()))


def test_other_arguments():
    with pytest.raises(ValueError, match='jacobian: strategy: expected "reverse-mode" or "forw'):
        ag.jacobian(total, X, strategy="both")
    with pytest.raises(ValueError, match="jacobian: create_graph: expected False with"):
        ag.jacobian(total, X, create_graph=True, strategy="forward-mode")
    with pytest.raises(ValueError, match=r"hessian: inputs: 20000 elements .*use products with it"):
        ag.hessian(total, np.ones(20000))


def test_nothing_has_changed_after_a_failure():
    model = nn.Linear(3, 2, dtype=np.float64)
    w = nn.tensor(X, requires_grad=True)
    bits = [p.data.tobytes() for p in model.parameters()]
    mode = state.mode

    def fails(*args):
        model(w.reshape(1, 3)).sum()
        raise KeyError("inside")

    vs = [p.data for p in model.parameters()]
    for call in (
        lambda: ag.jvp(fails, model, vs), lambda: ag.hvp(fails, model, vs),
        lambda: ag.vjp(fails, model), lambda: ag.gradcheck(fails, model),
        lambda: ag.hessian(fails, w), lambda: ag.jacobian(fails, w),
        lambda: ag.gradgradcheck(fails, w), lambda: ag.numerical_gradient(fails, w),
    ):  # fmt: skip
        with pytest.raises(KeyError, match="inside"):
            call()
        assert state.mode == mode and not state.duals
    assert [p.data.tobytes() for p in model.parameters()] == bits
    assert w.grad is None and w.detach().numpy().tobytes() == X.tobytes()
    assert not any(p.grad.any() for p in model.parameters())


def test_a_parameter_is_put_back_when_a_check_fails_between():
    w = nn.Parameter(X)
    calls = []

    def f():
        calls.append(1)
        if len(calls) > 5:
            raise KeyError("later")
        return total(w)

    with pytest.raises(KeyError, match="later"):
        ag.gradcheck(f, w)
    assert w.data.tobytes() == X.tobytes()


def test_the_arrays_of_the_user_are_not_changed():
    def f(x):
        y = x * 2.0
        y[0] = 5.0
        return (y * y).sum()

    x = X.copy()
    for _, call in ALL:
        call(f, x)
    ag.numerical_gradient(lambda x: x.__setitem__(0, 3.0) or float(x.sum()), x)
    assert x.tobytes() == X.tobytes()


# Checks that fail.


class Wrong(ag.Function):
    """The square with a gradient that is wrong in the second element, and a tangent of its own."""

    tangent = 2.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2.0 * x * grad * nn.tensor(np.array([1.0, 1.001, 1.0]))

    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return x * tangent * Wrong.tangent


def test_a_wrong_gradient_is_found_and_named():
    with pytest.raises(
        ag.GradcheckError, match=r"d output 0\[1\] / d input 0\[1\]: backward -2.40"
    ):
        ag.gradcheck(Wrong.apply, X)
    report = ag.gradcheck(Wrong.apply, X, raise_exception=False)
    assert not report
    assert report.errors[0].shape == (3, 3)
    assert report.errors[0][1, 1] == pytest.approx(1e-3, rel=1e-2)
    assert (np.delete(report.errors[0].ravel(), 4) < 1e-9).all()
    worst = report.elements[0]
    assert (worst.output, worst.input) == ((0, (1,)), (0, (1,)))
    assert worst.by_backward == pytest.approx(-2.4024) and worst.by_differences == pytest.approx(
        -2.4
    )
    assert len(report.elements) == 9 and report.worst == worst.error
    assert report.tangent_error > 1e-5


def test_a_wrong_tangent_is_found_without_a_step(monkeypatch):
    class Tangent(Wrong):
        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 2.0 * x * grad

    Tangent._operation = None
    del Tangent._operation
    assert ag.gradcheck(Tangent.apply, X).tangent_error < 1e-15
    monkeypatch.setattr(Wrong, "tangent", 2.0 + 1e-9)
    with pytest.raises(ag.GradcheckError, match=r"<u, J v> = <J\^T u, v> up to [0-9.]+e-10"):
        ag.gradcheck(Tangent.apply, X)
    assert ag.gradcheck(Tangent.apply, X, check_forward_ad=False)


def test_a_wrong_second_derivative_is_found():
    class Once(ag.Function):
        """Its backward hides how the gradient depends on x."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 2.0 * x.detach() * grad

    assert ag.gradcheck(Once.apply, X)
    with pytest.raises(ag.GradcheckError, match=r"gradgradcheck: failed(.|\n)*backward 0, "):
        ag.gradgradcheck(Once.apply, X)


def test_values_that_checks_refuse():
    with pytest.raises(TypeError, match="gradcheck: input 0: expected float64, got float32: diff"):
        ag.gradcheck(total, X.astype(np.float32))
    with pytest.raises(TypeError, match="gradcheck: f: output 0: expected float64, got float32"):
        ag.gradcheck(lambda x: x.astype(np.float32), X)
    steps = iter(range(100))
    with pytest.raises(ag.GradcheckError, match="f gives other values when it is called again"):
        ag.gradcheck(lambda x: x * float(next(steps)), X)
    assert not ag.gradcheck(lambda x: ag.sqrt(x), np.array([0.0, 1.0]), raise_exception=False)
    assert ag.gradgradcheck(lambda x: x * x, X, np.ones(3))
    with pytest.raises(
        ValueError, match="gradgradcheck: grad_outputs: expected the shape of output"
    ):
        ag.gradgradcheck(lambda x: x * x, X, np.ones(2))


def test_a_passing_report_says_what_was_compared():
    text = str(ag.gradcheck(lambda x: x.exp(), X))
    assert text.startswith("gradcheck: passed\nlargest relative error ") and "of 9 elements" in text
    assert "<u, J v> = <J^T u, v> up to" in text
    assert str(ag.gradcheck(lambda x: x, np.zeros(0))).startswith("gradcheck: passed")


# Differences.


def test_numerical_gradient():
    A = np.array([[1.0, -2], [0.5, 3]])
    found = ag.numerical_gradient(lambda a: float((a**3).sum()), A)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, 3 * A**2, rtol=1e-9)
    found = ag.numerical_gradient(lambda a: (a**3).sum(), nn.tensor(A), 1e-5)
    assert type(found) is nn.Tensor and not found.requires_grad
    np.testing.assert_allclose(found, 3 * A**2, rtol=1e-9)
    assert ag.numerical_gradient(lambda x: x * x, np.float64(3.0)).item() == pytest.approx(6)
    # the formula of the lecture, with its error of the third derivative: 3 x^2 + delta^2
    np.testing.assert_allclose(
        ag.numerical_gradient(lambda a: (a**3).sum(), A, 0.5), 3 * A**2 + 0.25
    )


def test_numerical_gradient_refuses():
    for delta in (0, -1e-5, np.nan, np.inf, "1e-5"):
        with pytest.raises(
            ValueError, match="numerical_gradient: delta: expected a positive number"
        ):
            ag.numerical_gradient(total, X, delta)
    with pytest.raises(TypeError, match="numerical_gradient: x: expected float64, got float32"):
        ag.numerical_gradient(total, X.astype(np.float32))
    with pytest.raises(ValueError, match=r"f: expected one number, got shape \(3,\)"):
        ag.numerical_gradient(lambda x: x, X)
    with pytest.raises(TypeError, match="f: expected a number, got str"):
        ag.numerical_gradient(lambda x: "1", X)
