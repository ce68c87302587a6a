"""Forward and backward of arrays as one call of C each: the bits of the layers one by one, whatever
happens between the two calls."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, F32, F64, THREADS, same_bytes, sha

import nnlite as nn
from nnlite._core import native
from nnlite.program.passes import Pass

MODELS = {
    "chain": lambda d: nn.Sequential(
        nn.Linear(5, 9, dtype=d), nn.ReLU(), nn.Linear(9, 7, bias=False, dtype=d), nn.Sigmoid(),
        nn.Sequential(nn.Linear(7, 6, dtype=d), nn.Tanh(), nn.Dropout(0.3)),
        nn.Linear(6, 5, dtype=d), nn.LogSoftmax(),
    ),
    "linear": lambda d: nn.Linear(5, 4, dtype=d),
    "no linear first": lambda d: nn.Sequential(
        nn.Softmax(), nn.Dropout(0.5), nn.Linear(5, 3, dtype=d)
    ),
    "residual": lambda d: nn.Sequential(
        nn.Residual(nn.Sequential(nn.Linear(5, 5, dtype=d), nn.Tanh())), nn.Linear(5, 2, dtype=d)
    ),
    "branches": lambda d: nn.Concat(
        nn.Identity(), nn.Linear(5, 2, dtype=d), nn.Sequential(nn.Linear(5, 3, dtype=d), nn.ReLU())
    ),
    "axes": lambda d: nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(5, 2, dtype=d)),
}  # fmt: skip


def made(name, dtype=F32):
    nn.manual_seed(3)
    return MODELS[name](dtype)


def one_by_one(model, x, g):
    """Output and gradient by the graph of the same model."""
    x = nn.tensor(x, requires_grad=True)
    y = model(x)
    y.backward(nn.tensor(g))
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_the_bits_are_those_of_the_graph(name, dtype, rng):
    """For any number of rows and threads, by one recording."""
    model, twin = made(name, dtype), made(name, dtype)
    programs = set()
    for rows in (4, 1, 9, 64, 4):
        x = rng.normal(size=(rows, 5)).astype(dtype)
        for threads in THREADS:
            nn.set_num_threads(threads)
            before = x.copy()
            y = model(x)
            g = rng.normal(size=y.shape).astype(dtype)
            dx = model.backward(g)
            same_bytes(x, before)
            programs.add(model._forward_program)
            expected = one_by_one(twin, x, g)
            same_bytes(y, expected[0])
            same_bytes(dx, expected[1])
            for p, q in zip(model.parameters(), twin.parameters(), strict=True):
                same_bytes(p.grad, q.grad, p.name)
                assert p.grad.any() or rows == 1
            model.zero_grad()
            twin.zero_grad()
    assert len(programs) == 1 and type(programs.pop()) is Pass


@pytest.mark.parametrize("name", MODELS)
def test_gradients_go_on_from_what_is_there(name, rng):
    model, x = made(name, F64), rng.normal(size=(6, 5))
    for p in model.parameters():
        p.grad = rng.normal(size=p.shape)
    before = [p.grad.copy() for p in model.parameters()]
    streams = [m for m in model.modules() if isinstance(m, nn.Dropout)]
    g = np.ones_like(model(x))
    model.backward(g)
    after = [p.grad.copy() for p in model.parameters()]
    model.zero_grad()
    for m in streams:
        m.step = 0
    model(x)
    model.backward(g)
    for p, old, new in zip(model.parameters(), before, after, strict=True):
        np.testing.assert_allclose(new, old + p.grad, rtol=1e-11)
        assert not (new == p.grad).any()


def test_a_linear_adds_by_its_kernel(rng):
    """The chain of each weight starts from the gradient that is there."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.grad = [[1.0]]
    tiny = np.full((40, 1), 2.0**-13, F32)
    layer(tiny)
    layer.backward(tiny)  # each term alone, 2^-26, is lost beside 1; their sum is not
    assert layer.weight.grad[0, 0] == 1
    layer.zero_grad()
    layer(tiny)
    layer.backward(tiny)
    assert layer.weight.grad[0, 0] == 40 * 2.0**-26


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_a_layer_of_which_a_part_is_frozen(frozen, rng):
    """The sum of one column too has the bits of the graph, in which a trainer computes it."""
    layer, twin = nn.Linear(3, 1), nn.Linear(3, 1)
    twin.load_state_dict(layer.state_dict())
    for each in (layer, twin):
        getattr(each, frozen).requires_grad = False
    x, g = rng.normal(size=(77, 3)).astype(F32), rng.normal(size=(77, 1)).astype(F32)
    y = layer(x)
    dx = layer.backward(g)
    expected = one_by_one(twin, x, g)
    same_bytes(y, expected[0])
    same_bytes(dx, expected[1])
    for p, q in zip(layer.parameters(), twin.parameters(), strict=True):
        same_bytes(p.grad, q.grad, p.name)
        assert p.grad.any() == (p.name != frozen)


def test_the_layers_of_a_chain_may_go_back_one_by_one(rng):
    model, twin = made("chain"), made("chain")
    x = rng.normal(size=(6, 5)).astype(F32)
    for _ in range(2):
        g = rng.normal(size=model(x).shape).astype(F32)
        for layer in reversed(model.layers[1:]):
            g_before, g = g, layer.backward(g)
            assert g.shape != g_before.shape or not (g == g_before).all()
        dx = model[0].backward(g)
        steps = [m.step for m in model.modules() if isinstance(m, nn.Dropout)]
        with pytest.raises(RuntimeError, match=r"Linear.backward: no forward"):
            model.backward(g)
        model.forget()
        assert steps == [m.step for m in model.modules() if isinstance(m, nn.Dropout)]
    rng = np.random.default_rng(0)
    for chain in (model, twin):
        chain.zero_grad()
    for m in twin.modules():
        if isinstance(m, nn.Dropout):
            m.step = 2
    g = rng.normal(size=model(x).shape).astype(F32)
    expected_y = twin(x)
    expected = twin.backward(g)
    for layer in reversed(model.layers):
        g = layer.backward(g)
    same_bytes(g, expected)
    assert dx.shape == g.shape and expected_y.shape == (6, 5)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        same_bytes(p.grad, q.grad, p.name)


def test_what_happens_between_forward_and_backward(rng):
    """A move into another arena, and freezing."""
    model, twin = made("chain"), made("chain")
    x = rng.normal(size=(6, 5)).astype(F32)
    g = rng.normal(size=(6, 5)).astype(F32)
    for chain in (model, twin):
        for p in chain.parameters():
            p.grad = np.full(p.shape, 0.25)
        chain(x)
    outer = nn.Sequential(nn.Linear(5, 5), model)  # the parameters move
    model[0].weight.requires_grad = False
    same_bytes(model.backward(g), twin.backward(g))
    assert not model[0].weight._grad.any()
    for p, q in zip(model.parameters()[1:], twin.parameters()[1:], strict=True):
        same_bytes(p.grad, q.grad, p.name)
        assert p.grad is not q.grad
    assert outer.parameters()[2] is model[0].weight
    model.zero_grad()
    twin.zero_grad()
    same_bytes(model(x), twin(x))
    same_bytes(model.backward(g), twin.backward(g))
    assert not model[0].weight._grad.any()


def test_settings_and_layers_that_change_are_seen(rng):
    x = rng.normal(size=(40, 6)).astype(F32)
    model = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.9))
    zeros = []
    for p in (0.9, 0.0, 0.5):
        model[1].p = p
        zeros.append(int((model(x) == 0).sum()))
        model.forget()
    assert zeros[0] > zeros[2] > 0 == zeros[1]
    model[0].bias = None
    y = model(x)
    same_bytes(y[y != 0], (2 * nn.functional.linear(x, model[0].weight.data))[y != 0])


def test_evaluation_and_single_layers_of_a_mode_of_their_own(rng):
    """In a chain the mode is that of the chain."""
    x = rng.normal(size=(4, 6)).astype(F32)
    model = nn.Sequential(nn.Tanh(), nn.Dropout(0.5))
    model[1].eval()
    for _ in range(3):
        assert (model(x) == 0).any()
        model.forget()
    assert not model[1].training and model[0].training
    same_bytes(model.eval()(x), nn.functional.tanh(x))


def test_the_output_belongs_to_the_caller(rng):
    model, x = made("residual"), rng.normal(size=(3, 5)).astype(F32)
    y = model(x)
    kept = y.copy()
    model.backward(np.ones_like(y))
    model(2 * x)
    same_bytes(y, kept)
    assert not np.shares_memory(model(x), y)


@pytest.mark.parametrize("make", [nn.Sigmoid, lambda: nn.Linear(6, 4)])
def test_an_array_changed_in_shape_between_the_calls(make):
    layer = make()
    for _ in range(3):
        x = np.ones((2, 6), F32)
        y = layer(x)
        x.shape = (3, 4)
        with pytest.raises(ValueError, match="not of one call of forward"):
            layer.backward(np.ones_like(y))
        layer.forget()


def test_a_code_of_the_users_runs_as_python(rng):
    """A class that defines a step anew, and the function of a Lambda, are called each time."""
    calls = []

    class Loud(nn.Tanh):
        def forward(self, x):
            calls.append("forward")
            return super().forward(x)

    def doubled(x):
        calls.append("function")
        return x * 2

    model = nn.Sequential(nn.Linear(5, 5), Loud(), nn.Lambda(doubled))
    x = rng.normal(size=(3, 5)).astype(F32)
    for _ in range(3):
        model.backward(np.ones_like(model(x)))
    assert model._forward_program is None
    assert calls.count("function") == 3 and calls.count("forward") >= 3

    class Nowhere:
        __module__ = None  # some callables do not say where they are from

        def __call__(self, x):
            return doubled(x)

    nowhere = nn.Lambda(Nowhere())
    for count in (4, 5):
        nowhere.backward(nowhere(x))
        assert calls.count("function") == count
    library = nn.Sequential(nn.Linear(5, 5), nn.Lambda(nn.autograd.tanh))
    library.backward(library(x))
    assert type(library._forward_program) is Pass

    class Named(nn.Sequential):
        """Defines no step."""

        def __init__(self):
            super().__init__(nn.Linear(5, 2))

    named = Named()
    named(x)
    assert type(named._forward_program) is Pass


class Inside(nn.Module):
    """A module of the user's whose steps call a layer of the library, by arrays."""

    def __init__(self):
        self.inner = nn.Linear(5, 5)

    def _run(self, x, keep):
        if keep:
            self._keep(x)
        return 2 * self.inner._call(x, keep)

    def _grad(self, saved, grad_output, want_input):
        return self.inner.backward(2 * grad_output)


def test_a_layer_inside_steps_of_a_user_on_tensors(rng):
    """Its gradients are values of the graph; those that are there stay until backward adds."""
    model, x = Inside(), rng.normal(size=(3, 5)).astype(F32)
    t = nn.tensor(x, requires_grad=True)
    for _ in range(2):
        model.inner.weight.grad = np.full((5, 5), 3)
        y = model(model(t))
        g = rng.normal(size=(3, 5)).astype(F32)
        parameters = [model.inner.weight, model.inner.bias]
        found = [
            [d.numpy() for d in nn.autograd.grad(y, [t, *parameters], g, retain_graph=True)]
            for _ in range(2)
        ]
        W, b = (p.data for p in parameters)
        hidden = 2 * (x @ W + b)
        np.testing.assert_allclose(found[0][0], 4 * g @ W.T @ W.T, rtol=2e-5, atol=1e-5)
        slope = 2 * g @ W.T
        expected = 2 * (hidden.T @ g + x.T @ slope)
        np.testing.assert_allclose(found[0][1], expected, rtol=2e-5, atol=1e-4)
        np.testing.assert_allclose(found[0][2], 2 * (g + slope).sum(0), rtol=2e-5, atol=1e-5)
        for a, c in zip(*found, strict=True):
            same_bytes(a, c)
        assert (model.inner.weight.grad == 3).all()
        y.backward(g)
        np.testing.assert_allclose(model.inner.weight.grad, 3 + expected, rtol=2e-5, atol=1e-4)
        model.zero_grad()


def test_rows_of_one_number_and_a_number(rng):
    for _ in range(3):
        for kind in (nn.Tanh, nn.Softmax, nn.Identity):
            layer, rows = kind(), rng.normal(size=7).astype(F32)
            for _ in range(3):
                x = nn.tensor(rows, requires_grad=True)
                same_bytes(layer(rows), layer(x).detach().numpy())
                g = rng.normal(size=7).astype(F32)
                layer(x).backward(nn.tensor(g))
                same_bytes(layer.backward(g), x.grad.numpy())
        number = np.array(0.5, F32)
        for _ in range(3):  # a program of the rows above is none of a number
            tanh = layer if kind is nn.Tanh else nn.Tanh()
            tanh.backward(tanh(rows))
            tanh.backward(tanh(rows))
            assert tanh(number) == nn.functional.tanh(number) and tanh(number).shape == ()
            tanh.forget()


def test_attributes_of_a_users_chain_are_no_change():
    """Its steps are the library's, which do not read them."""

    class Named(nn.Sequential):
        epoch = 0

    model, x = Named(nn.Linear(5, 2)), np.ones((3, 5), F32)
    model.forget()
    model(x)
    first = model._forward_program
    for model.epoch in range(3):
        model.forget()
        model(x)
        assert model._forward_program is first


def test_layers_without_parameters_are_recorded_at_the_second_call(rng):
    layer = nn.Tanh()
    for width in range(2, 6):  # each call with other rows: nothing is recorded
        layer.backward(layer(rng.normal(size=(3, width)).astype(F32)))
        assert layer._forward_program is None
    layer(np.ones((3, 5), F32))
    assert type(layer._forward_program) is Pass


def test_forget_gives_memory_back(rng):
    model = made("chain")
    x = rng.normal(size=(500, 5)).astype(F32)
    for _ in range(3):
        model.backward(np.ones_like(model(x)))
        assert len(model._forward_program.free) == 1
    model.forget()
    assert model._forward_program.free == []
    model(x)
    model(x[:3])  # the first is dropped, and its memory is there again
    assert [memory.rows for memory in model._forward_program.free] == [500]


def test_a_wrong_program_is_refused():
    model = made("linear")
    x = np.ones((3, 5), F32)
    y = model(x)
    program = model._forward_program
    memory = program.memory(3)
    kernels, pointer, null = native.KERNELS[F32], native.pointer, native.NULL
    g = np.ones_like(y)
    calls = [
        lambda threads: kernels.Program_forward(memory.struct, 3, pointer(x), pointer(y), threads),
        lambda threads: kernels.Program_backward(
            memory.struct, 3, pointer(x), pointer(y), pointer(g), null, threads
        ),
    ]
    before = sha(*(p.grad for p in model.parameters()))
    for call in calls:
        assert call(0) == native.EINVAL
        for name in ("mark", "rest", "gradient", "input"):
            good = getattr(memory.struct, name)
            for wrong in (-2, 1000):
                memory._checked[0] = 0
                setattr(memory.struct, name, wrong)
                assert call(1) == native.EINVAL
            setattr(memory.struct, name, good)
    assert sha(*(p.grad for p in model.parameters())) == before
    assert [call(1) for call in calls] == [0, 0]
    np.testing.assert_array_equal(model.bias.grad, 3)
    table = [memory.table[n] for n in (memory.struct.input, memory.struct.output,
                                       memory.struct.target, memory.struct.gradient)]  # fmt: skip
    assert all(place == null for place in table)  # of the caller's arrays nothing stays
