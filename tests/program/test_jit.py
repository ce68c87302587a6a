"""jit_program: the bits of the plain function, or the plain function."""

from __future__ import annotations

import re

import numpy as np
import pytest
from autograd_cases import CASES, IDS
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlite as nn
from nnlite import autograd as ag
from nnlite.autograd.node import Node

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
F = nn.functional


def leaf(values, dtype=F64):
    return nn.tensor(np.asarray(values), requires_grad=True, dtype=dtype)


def outcome(function, leaves, others=(), seed=None):
    """Value and gradients of a call, as bytes; the gradients are taken away."""
    out = function(*leaves, *others)
    out.backward(None if out.size == 1 else np.full(out.shape, 0.7, out.dtype) if seed is None
                 else np.full(out.shape, seed, out.dtype))  # fmt: skip
    found = [out.detach().numpy().tobytes()]
    for x in leaves:
        found.append(None if x.grad is None else x.grad.numpy().tobytes())
        x.grad = None
    return found


def agree(function, *shapes, dtype=F32, rounds=3, kind=np.abs, others=()):
    """A function is a program that has the bits of its plain calls, for several values."""
    program = nn.jit_program(function)
    rng = np.random.default_rng(len(shapes))
    for _ in range(rounds):
        leaves = [leaf(kind(rng.normal(size=s)) + 0.1, dtype) for s in shapes]
        assert outcome(program, leaves, others) == outcome(function, leaves, others)
    assert program.why is None and program.programs == 1
    out = program(*leaves, *others)
    assert out.producer.op.name == "jit_program" and out.dtype == dtype
    return program


# What becomes a program.

EXPRESSIONS = {
    "arithmetic": (lambda x, y: ((x * y + x) / (y * y + 1.0) - 2 * x).sum(), (3, 4), (4,)),
    "columns": (lambda x, y: (x - y).mean(1), (3, 4), (3, 1)),
    "outer": (lambda x, y: (x * y).sum(0), (5, 1), (1, 7)),
    "numbers": (lambda x: 2 - x * 3 + 1 / (x + 4), (9,)),
    "functions": (lambda x: (x.exp() + x.log() - x.log1p() * x.expm1()).sum(), (2, 9)),
    "more functions": (lambda x: (-x).abs() + x.sqrt() + x**2 + x.reciprocal() + x**0.5, (17,)),
    "activations": (lambda x: (x.relu() + x.tanh() - x.sigmoid()).mean(), (4, 5)),
    "softplus": (lambda x: ag.softplus(x - 1).sum(), (33,)),
    "softmax": (lambda x, y: (x.softmax() * y.log_softmax()).sum(), (3, 5), (3, 5)),
    "shared": (lambda x: ((x * x + x) * x).sum() + x.sum() * x.mean(), (6,)),
    "a scalar": (lambda x, y: x * y + x, (), ()),
    "sums": (lambda x: x.sum((1, 2), True).mean() + (x.sum(0) ** 2).sum(), (3, 4, 2)),
    "long sums": (lambda x: x.sum() + x.mean() + (x.sum(1) * 3).sum(), (3, 1031)),
    "one row": (lambda x: (x.sum(0) * x.sum(1)).sum(), (1, 9)),
    "reshape": (lambda x: (x.reshape(4, 3) @ x.reshape(3, 4)).sum(), (2, 6)),
    "slices": (lambda x: (x[0] * x[1] + x[2:4].sum(0)).exp().sum() + x[1][2], (4, 3)),
    "products": (lambda x, w: ((x @ w) @ w.T).mean(), (3, 4), (4, 5)),
    "linear": (lambda x, w, b: F.linear(x, w, b).tanh().sum(), (3, 4), (4, 5), (5,)),
    "linear without bias": (lambda x, w: F.linear(x, w).sum(), (3, 4), (4, 5)),
    "expand": (lambda x: (x.expand((3, 4)) * 2).sum(0), (4,)),
    "mse": (lambda x, y: ((x - y) ** 2).mean(), (3, 4), (3, 4)),
    "control flow on shapes": (lambda x: x.sum() if x.shape[0] > 2 else x.mean(), (3,)),
    "a loop": (lambda x: sum([x * i for i in range(1, 5)], x).sum(), (3,)),
    "an argument itself": (lambda x: x.reshape(3, 2), (2, 3)),
    "a value without its history": (lambda x: x * (x.exp().detach() + 1), (3,)),
    "without the graph": (lambda x: x * without_graph(x), (3,)),
    "a mask": (lambda x: ag.where(x > 0.5, x, 0.0) + x * (x < 1), (7,)),
    "masks": (lambda x: ag.where((x > 0.5) & ~(x > 1) | (x == 2), x, -x), (7,)),
    "strided": (lambda x: x[::2] * 2 + x[::-2], (9,)),
    "vectors": (lambda x, y: x @ x + (x @ y).sum() + (y @ x).sum(), (5,), (5, 5)),
    "stacks": (lambda x, y: (x @ y).softmax() @ y.mT, (2, 3, 4), (2, 4, 3)),
    "a constant": (lambda x: x * nn.tensor([1.0, 2.0, 3.0], dtype=x.dtype), (3,)),
    "extrema": (lambda x: x.max(1) * x.min(0).sum() + ag.maximum(x[:, 0], 0.5), (4, 3)),
    "joined": (lambda x, y: ag.concatenate([x * y, y], 1).tanh(), (2, 3), (2, 3)),
    "norms": (lambda x: ag.norm(x, axis=1) + x.std(1) + x.logsumexp(1), (3, 4)),
}  # fmt: skip


def without_graph(x):
    with nn.no_grad():
        return (x * 2).tanh()


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name, dtype):
    function, *shapes = EXPRESSIONS[name]
    agree(function, *shapes, dtype=dtype)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_operation_has_the_bits_of_plain_calls(case):
    program = nn.jit_program(case.call)
    for seed in range(3):
        leaves = [leaf(a) for a in case.inputs(seed)]
        assert outcome(program, leaves) == outcome(case.call, leaves)


BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b,
          lambda a, b: a / (b * b + 1.0)]  # fmt: skip
UNARY = [ag.exp, ag.tanh, ag.relu, ag.sigmoid, ag.abs, ag.square, ag.softmax, lambda a: -a,
         lambda a: a.sum(0, True), lambda a: a.mean(-1, True), lambda a: a * 0.5 - 1]  # fmt: skip


def tree(steps):
    """A function of two matrices from a list of (which, operand, operand)."""
    binary, unary = tuple(BINARY), tuple(UNARY)

    def function(x, y):
        values = [x, y]
        for which, i, j in steps:
            a, b = values[i % len(values)], values[j % len(values)]
            if which < len(binary):
                values.append(binary[which](a, b))
            else:
                values.append(unary[which - len(binary)](a).tanh())
        return values[-1].mean()

    return function


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(0, 14), st.integers(0, 9), st.integers(0, 9)),
                   min_size=1, max_size=9),
    rows=st.integers(1, 20), columns=st.integers(1, 20), seed=st.integers(0, 99),
    dtype=st.sampled_from([F32, F64]),
)  # fmt: skip
def test_random_graphs(steps, rows, columns, seed, dtype):
    rng = np.random.default_rng(seed)
    function = tree(tuple(steps))
    program = nn.jit_program(function)
    for _ in range(2):
        leaves = [leaf(rng.normal(size=(rows, columns)), dtype) for _ in range(2)]
        assert outcome(program, leaves) == outcome(function, leaves)
    assert program.why is None, program.why


# Networks.


@pytest.fixture
def model():
    nn.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 3))


def trained(model, step, rounds=5):
    """Weights after some steps of gradient descent."""
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(rounds):
        x, t = rng.normal(size=(6, 4)).astype(F32), rng.integers(0, 3, 6)
        model.zero_grad()
        loss = step(x, t)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [p.data.tobytes() for p in model.parameters()]


@pytest.mark.parametrize(
    "criterion",
    [
        nn.SoftmaxCE(), nn.SoftmaxCE("sum", weight=[1.0, 2.0, 0.5], label_smoothing=0.1),
        nn.SoftmaxCE(ignore_index=1),
    ],
    ids=str,
)  # fmt: skip
def test_training_a_network(model, criterion):
    def step(x, t):
        return criterion(model(x), t)

    state = model.state_dict()
    plain = trained(model, lambda x, t: step(nn.tensor(x), t))
    model.load_state_dict(state)
    program = nn.jit_program(step)
    assert trained(model, program) == plain
    assert program.programs == 1 and program.why is None
    total = criterion.total_weight
    x, t = np.ones((4, 4), F32), np.array([0, 0, 2, 1])
    program(x, t)
    program(x, t)
    assert criterion.total_weight != total
    step(nn.tensor(x), t)
    total = criterion.total_weight
    program(x, t)
    assert criterion.total_weight == total


def test_other_losses(model):
    nll, mse = nn.NLLLoss(), nn.MSELoss("sum")
    x, t = leaf(np.random.default_rng(0).normal(size=(5, 3)), F32), np.array([0, 2, 1, 1, 0])
    y = np.random.default_rng(1).normal(size=(5, 3)).astype(F32)
    for function, target in (
        (lambda x, t: nll(x.log_softmax(), t), t), (lambda x, y: mse(x * 2, y), y),
        (lambda x, t: F.softmax_ce(x, t, "sum"), t), (lambda x, y: F.mse_loss(x, y), y),
        (lambda x, y: nn.SoftmaxCE()(x, y), np.abs(y)),
    ):  # fmt: skip
        program = nn.jit_program(function)
        target = nn.tensor(target)
        for _ in range(3):
            assert outcome(program, [x], [target]) == outcome(function, [x], [target])
        assert program.programs == 1 and program.why is None


class Net(nn.Module):
    def __init__(self, depth=2):
        self.first = nn.Linear(4, 4)
        self.layers = [nn.Linear(4, 4) for _ in range(depth)]
        self.scale = 0.5

    def half(self, x):
        return x * self.scale

    def forward(self, x):
        x = self.first(x).relu()
        for layer in self.layers:
            x = self.half(layer(x)) + x
        return x


def test_modules_of_ones_own_and_inference():
    net = Net()
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(F32)
    program = nn.jit_program(net)
    with nn.no_grad():
        for _ in range(3):
            out = program(x)
            assert out.producer is None and not out.requires_grad
            assert out.numpy().tobytes() == net(nn.tensor(x)).numpy().tobytes()
    assert program.programs == 1 and program.why is None
    assert program(x).requires_grad and program.programs == 2  # with a graph it is another one


# Never silently wrong.


def same_as_plain(program, *args):
    """The next calls are those of the function."""
    for _ in range(2):
        got, expected = program(*args), program.function(*args)
        assert got.detach().numpy().tobytes() == expected.detach().numpy().tobytes()


def test_shapes_dtypes_and_numbers_are_recorded_anew():
    program = nn.jit_program(lambda x, n=1: (x * n).sum() if x.shape[0] > 2 else x.mean())
    for size in (2, 3, 5, 2):
        same_as_plain(program, leaf(np.arange(size)))
        same_as_plain(program, leaf(np.arange(size), F32))
        for n in (2, 2.0, True, 3):
            same_as_plain(program, leaf(np.arange(size) + 0.1), n)
    assert program.programs == 6 + 12 and program.why is None


def test_attributes_of_modules_are_watched():
    net = Net()
    call = nn.jit_program(lambda x: net(x).sum())
    x = leaf(np.ones((2, 4)), F32)
    same_as_plain(call, x)
    net.scale = 3.0
    same_as_plain(call, x)
    net.layers.pop()
    same_as_plain(call, x)
    net.layers[0] = nn.Linear(4, 4)
    same_as_plain(call, x)
    net.first.weight.data *= 2
    same_as_plain(call, x)
    net.half = lambda x: x * 7
    same_as_plain(call, x)
    nn.Sequential(net.first)  # moves its parameters to another arena
    same_as_plain(call, x)
    assert call.why is None


def test_check_compares_with_the_function():
    scale = 2.0
    program = nn.jit_program(lambda x: x * scale, check=True)
    x = leaf([0.5, -1.0])
    same_as_plain(program, x)
    scale = 3.0
    with pytest.raises(RuntimeError, match="gives another result than its program"):
        program(x)
    named = nn.jit_program(check=True)(lambda x: x + 1)
    same_as_plain(named, x)
    assert named.programs == 1


@nn.function
def block(x, w):
    return (x * w).sum()


def test_values_of_captured_tensors_may_change():
    w = leaf([1.0, 2.0, 3.0])
    constant = nn.tensor([5.0, 6.0, 7.0], dtype=F64)
    program = nn.jit_program(lambda x: block(x, w) + (x * constant).sum())
    x = leaf([1.0, -1.0, 0.5])
    same_as_plain(program, x)
    with nn.no_grad():
        w += 1
        constant *= 2
    same_as_plain(program, x)
    program(x).backward()
    np.testing.assert_array_equal(w.grad, [1, -1, 0.5])
    np.testing.assert_array_equal(x.grad, [12, 15, 18])
    assert program.programs == 1


PLAIN = {
    "truth": (lambda x: x * 2 if x.sum() > 0 else x * 3, "the values of a tensor .its truth"),
    "float": (lambda x: x * float(x.sum()), "the values of a tensor .item"),
    "item": (lambda x: x * x[0].item(), "the values of a tensor .item"),
    "any": (lambda x: x * 2 if (x > 0).any() else x, "the values of a tensor .any"),
    "max": (lambda x: max(x[0], x[1]), "the values of a tensor .its truth"),
    "a caught refusal": (lambda x: caught(x), "the values of a tensor .its truth"),
    "a copy": (lambda x: x * nn.tensor(x.detach()), "the values of a tensor .a copy"),
    "numpy": (lambda x: x * np.floor(x.detach()), "np.floor: it would lose"),
    "in place": (lambda x: change(x), "change in place"),
    "no program": (lambda x: x.sin().sum(), "sin has no instruction"),
    "an index array": (lambda x: x[[0, 0, 1]], "index has no instruction"),
    "no gradient": (lambda x: nn.tensor([1.0]), "does not depend on an argument"),
    "a pair": (lambda x: (x, x), "tuple"),
}  # fmt: skip


def caught(x):
    try:
        return x * 2 if x.sum() > 0 else x * 3
    except Exception:
        return x * 4


def change(x):
    y = x * 2
    y += x
    return y


@pytest.mark.parametrize("case", PLAIN)
def test_what_stays_a_plain_function(case):
    function, why = PLAIN[case]
    program = nn.jit_program(function)
    for values in ([1.0, 2.0, -0.5], [-1.0, -2.0, 0.25], [0.0, 5.0, 1.0]):
        x = leaf(values)
        if case in ("a pair", "no gradient"):
            program(x)
            continue
        got = outcome(program, [x])[0]
        assert got == function(x).detach().numpy().tobytes()
    assert program.programs == 0
    assert re.search(why, program.why), program.why
    assert "plain calls because" in repr(program)


def test_dropout_goes_on():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5))
    program = nn.jit_program(model)
    x = np.ones((1, 3), F32)
    first, second = program(x), program(x)
    assert (first.detach().numpy() != second.detach().numpy()).any() and program.programs == 0
    model.eval()
    same_as_plain(program, nn.tensor(x))


def test_arguments_of_every_kind():
    program = nn.jit_program(lambda x, y, n: (x * y).sum() * n)
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    same_as_plain(program, a, a, 2)
    same_as_plain(program, a, b, 2)
    same_as_plain(program, a * b, b.detach(), 2)
    assert program(np.ones(2), b, 2).item() == 14
    wide = leaf(np.arange(8.0).reshape(2, 4))
    with nn.no_grad():
        columns = wide[:, 1:3]
    same_as_plain(program, columns, columns, 1)
    assert program.why == "an argument that is not contiguous"
    assert program(a, b, n=2).item() == 22 and program.why == "arguments by keyword"
    with pytest.raises(TypeError):
        program(a)
    t1, t2 = nn.tensor(np.array([0, 1])), nn.tensor(np.array([1, 0]))
    two = nn.jit_program(lambda x, s, t: F.softmax_ce(x, s) - F.softmax_ce(x, t) * 2)
    x = leaf(np.random.default_rng(0).normal(size=(2, 3)))
    for s, t in ((t1, t1), (t1, t1), (t1, t2), (t2, t1)):
        same_as_plain(two, x, s, t)


def test_errors_are_those_of_the_function(model):
    program = nn.jit_program(lambda x, t: nn.SoftmaxCE()(model(x), t))
    x = np.ones((3, 4), F32)
    program(x, np.array([0, 1, 2]))
    program(x, np.array([0, 1, 2]))
    with pytest.raises(IndexError, match="row 1 holds 7"):
        program(x, np.array([0, 7, 2]))
    with pytest.raises(ValueError, match="x has 5 features"):
        program(np.ones((3, 5), F32), np.array([0, 1, 2]))
    program(x, np.array([0, 1, 2])).backward()
    with pytest.raises(TypeError, match="jit_program: expected a function, got int"):
        nn.jit_program(5)


def pool_of(program):
    """The workspaces that wait for another run."""
    return next(iter(program._programs.values()))._pool


def test_backward_of_a_program():
    w = leaf([2.0, 3.0])
    program = nn.jit_program(lambda x: (x * x * w).sum())
    x = leaf([1.0, 2.0])
    program(x)
    first, second = program(x), program(x * 3)  # two runs whose backward is still to come
    assert len(pool_of(program)) == 0
    second.backward()
    np.testing.assert_array_equal(x.grad, [36, 108])
    x.grad = None
    first.backward(2.0, retain_graph=True)
    np.testing.assert_array_equal(x.grad, [8, 24])
    first.backward()
    np.testing.assert_array_equal(x.grad, [12, 36])
    with pytest.raises(RuntimeError, match="freed"):
        first.backward()
    out = program(x)
    with nn.no_grad():
        w += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        ag.grad(program(x), x, create_graph=True)
    del first, second, out
    assert len(pool_of(program)) >= 1
    assert type(program(x).producer) is Node


def test_inside_other_modes_it_is_the_function():
    program = nn.jit_program(lambda x: (x + 1).log().sum())
    for _ in range(2):
        program(leaf([1.0, 2.0]))
    with ag.detect_anomaly(), pytest.raises(RuntimeError, match="log made the first NaN"):
        program(leaf([-2.0, 1.0]))
    assert program.programs == 1


def test_many_kinds_of_arguments_end_in_plain_calls():
    program = nn.jit_program(lambda x, n: (x * n).sum())
    x = leaf([1.0, 2.0])
    for n in range(70):
        assert program(x, n).item() == 3 * n
    assert program.programs == 64 and program.why == "more than 64 kinds of arguments"
    assert program(x, 3).producer.op.name == "jit_program"


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads(threads):
    rng = np.random.default_rng(0)
    x, w = leaf(rng.normal(size=(300, 200)), F32), leaf(rng.normal(size=(200, 300)), F32)
    function = lambda x, w: ((x @ w).tanh() + 1.5).sum()  # noqa: E731
    program = nn.jit_program(function)
    before = nn.get_num_threads()
    try:
        nn.set_num_threads(1)
        plain = outcome(function, [x, w])
        nn.set_num_threads(threads)
        for _ in range(2):
            assert outcome(program, [x, w]) == plain
    finally:
        nn.set_num_threads(before)
    assert program.programs == 1
