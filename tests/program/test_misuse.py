"""Objects used by two threads at once, or changed between a check and its use: an exception or the
right result, never memory that belongs to somebody else."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import F32, run_python, same_bytes

import nnlite as nn

STRESS = """
import sys, threading
import numpy as np
import nnlite as nn

sys.setswitchinterval(1e-6)
nn.set_num_threads(1)
EXPECTED = (RuntimeError, ValueError, IndexError)
SMALL, LARGE = 3, 5000
raised, wrong = [], []

def batch(rows, columns=6):
    return np.full((rows, columns), 0.5, np.float32)

def side_by_side(*works, rounds=60):
    def run(work):
        for _ in range(rounds):
            try:
                work()
            except EXPECTED as error:
                raised.append(error)
            except BaseException as error:
                wrong.append(repr(error))
    threads = [threading.Thread(target=run, args=(work,)) for work in works * 2]
    [t.start() for t in threads], [t.join() for t in threads]

def network():
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 6), nn.Sigmoid(), nn.Softmax(),
                         nn.Dropout(0.1), nn.Linear(6, 4))

{}
assert not wrong, wrong[:3]
print("fine", len(raised))
"""

PASSES = """
model = {}
def work(rows):
    def call():
        y = model(batch(rows))
        model.backward(np.ones_like(y))
    return call
side_by_side(work(SMALL), work(LARGE))
"""

LOSSES = """
loss = {}
def work(rows):
    def call():
        loss(batch(rows), {})
        assert loss.backward().shape == (rows, 6)
    return call
side_by_side(work(SMALL), work(LARGE))
"""

TRAINING = """
model = network()
optimizer = nn.optim.Adam(model.parameters())
trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
X, y = batch(LARGE), np.zeros(LARGE, np.int64)
def step(rows):
    return lambda: trainer.train_step(batch(rows), np.zeros(rows, np.int64))
def fit(rows, size):
    return lambda: trainer.fit(X[:rows], y[:rows], 1, size, verbose=0)
trainer.train_step(X, y)
"""

CASES = {
    "network": PASSES.format("network()"),
    "linear": PASSES.format("nn.Linear(6, 4)"),
    "sigmoid": PASSES.format("nn.Sigmoid()"),
    "softmax": PASSES.format("nn.LogSoftmax()"),
    "relu": PASSES.format("nn.ReLU()"),
    "dropout": PASSES.format("nn.Dropout(0.5)"),
    "nested": PASSES.format("nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), network())"),
    "mse": LOSSES.format("nn.MSELoss()", "batch(rows)"),
    "softmax ce": LOSSES.format("nn.SoftmaxCE()", "np.zeros(rows, np.int64)"),
    "nll": LOSSES.format("nn.NLLLoss()", "np.zeros(rows, np.int64)"),
    "train_step": TRAINING + "side_by_side(step(SMALL), step(LARGE))",
    "fit": TRAINING + "side_by_side(fit(LARGE, 50), fit(40, 50), rounds=15)",
    "fit and the rest": TRAINING + """
side_by_side(fit(LARGE, 64), step(SMALL), lambda: trainer.evaluate(X, y),
             lambda: trainer.evaluate(X[:3], y[:3]), lambda: model.predict(X), rounds=15)
""",
    "a part alone": PASSES.format("network()") + """
def part():
    y = model[2](batch(LARGE, 7))
    model[2].backward(np.ones_like(y))
side_by_side(work(SMALL), part)
""",
    "other weights": """
model = nn.Sequential(nn.Linear(6, 4))
wide, narrow = model[0].weight, nn.Parameter(np.ones((2, 1), np.float32), "weight")
def work():
    y = model(batch(LARGE))
    model.backward(np.ones_like(y))
def swap():
    for weight in (narrow, wide):
        model[0].weight = weight
side_by_side(work, swap, lambda: model.predict(batch(LARGE)))
""",
    "optimizers": """
model = network()
optimizer = nn.optim.Adam(model.parameters())
def move():  # the parameters into another arena
    nn.Sequential(model)
    nn.Sequential(model[0])
side_by_side(optimizer.step, move)
""",
    "jit_program": """
@nn.jit_program
def f(x):
    return (x * x).sum()
def work(rows):
    def call():
        x = nn.tensor(batch(rows), requires_grad=True)
        f(x).backward()
        assert (x.grad == 1).all()
    return call
side_by_side(work(SMALL), work(LARGE))
assert not raised, raised
""",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_threads_side_by_side(name):
    """A process that the system ends has no output."""
    found = run_python(STRESS.replace("{}", CASES[name]))
    assert found.stdout.startswith("fine"), (found.returncode, found.stderr)


def test_recordings_side_by_side_leave_the_modes(rng):
    """Each sets the modules to evaluation and back, while others record the same ones."""
    x = np.ones((2, 6), F32)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 2))
            with ThreadPoolExecutor(4) as pool:
                found = list(pool.map(model.predict, [x] * 4))
            assert all(part.training for part in model.modules())
            assert not any("training" in vars(part) for part in model.modules())
            for y in found:
                same_bytes(y, found[0])
    finally:
        sys.setswitchinterval(interval)


def test_two_forwards_from_two_threads_raise(rng):
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    small = model(np.ones((2, 6), F32))
    thread = threading.Thread(target=model, args=(np.ones((9, 6), F32),))
    thread.start(), thread.join()
    with pytest.raises(RuntimeError, match=r"forward ran 2 times .* one module for each place and"):
        model.backward(np.ones_like(small))
    assert not model[0].weight.grad.any()


# ---- a switch of threads at the worst place, without threads ----


@pytest.mark.parametrize("make", [
    lambda: nn.Linear(6, 6), nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax,
    lambda: nn.Dropout(0.5),
])  # fmt: skip
def test_a_forward_between_the_check_and_the_use(make, monkeypatch, rng):
    module, twin = make(), None
    twin = copy.deepcopy(module)
    x, other = rng.normal(size=(3, 6)).astype(F32), np.ones((2000, 6), F32)
    g = np.ones_like(module(x))
    original = type(module)._check_grad

    def check(self, saved, grad_output):
        original(self, saved, grad_output)
        if self is module:
            self(other)

    monkeypatch.setattr(type(module), "_check_grad", check)
    twin(x)
    same_bytes(module.backward(g), twin.backward(g))
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        same_bytes(p.grad, q.grad)


def test_what_a_check_refuses_stays_pending(rng):
    model, x = nn.Sequential(nn.Linear(6, 4), nn.ReLU()), np.ones((3, 6), F32)
    y = model(x)
    for wrong in (np.ones((2, 4), F32), np.ones((3, 5), F32), np.ones((3, 4))):
        with pytest.raises((TypeError, ValueError), match=r"ReLU.backward: grad_output: expected"):
            model.backward(wrong)
    assert not model[0].weight.grad.any()
    assert model.backward(np.ones_like(y)).shape == (3, 6)


@pytest.mark.parametrize("change", ["rows", "dtype", "order"])
def test_a_gradient_of_another_shape_inside_a_chain(change):
    """A module of a user hands its gradient to the layer before it."""

    class Odd(nn.Module):
        def _run(self, x, keep):
            if keep:
                self._keep(x)
            return x.copy()

        def _grad(self, saved, grad_output, want_input):
            return {
                "rows": np.ones((1, 4), F32),
                "dtype": grad_output.astype(np.float64),
                "order": np.asfortranarray(grad_output),
            }[change]

    for layer in (nn.Linear(6, 4), nn.Sequential(nn.Linear(6, 4), nn.Sigmoid())):
        model = nn.Sequential(layer, Odd())
        y = model(np.ones((500, 6), F32))
        with pytest.raises((TypeError, ValueError), match="backward: grad_output"):
            model.backward(np.ones_like(y))
        assert not any(p.grad.any() for p in model.parameters())
        model(np.ones((5, 6), F32))  # nothing is left pending
        model.forget()


def test_an_input_reshaped_between_forward_and_backward():
    layer, x = nn.Linear(6, 4), np.ones((2, 6), F32)
    y = layer(x)
    x.shape = (2, 2, 3)
    with pytest.raises(ValueError, match="not of one call of forward"):
        layer.backward(np.ones_like(y))
    loss, output = nn.MSELoss(), np.ones((4, 3), F32)
    loss(output, np.zeros((4, 3), F32), np.ones(4, F32))
    output.shape = (12, 1)
    with pytest.raises(ValueError, match="not of one call of forward"):
        loss.backward()


# ---- parameters and states that were replaced ----


def test_predict_after_a_parameter_was_replaced():
    model, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), np.ones((2, 3), F32)
    model.predict(x)
    model[0].weight = nn.Parameter(np.full((3, 2), 2, F32), "weight")
    same_bytes(model.predict(x), np.full((2, 2), 6, F32))
    model[0].bias = None
    same_bytes(model.predict(x), np.full((2, 2), 6, F32))
    model[0].weight = nn.Parameter(np.ones((1, 2), F32), "weight")
    assert (model[0].in_features, model[0].out_features) == (1, 2)
    with pytest.raises(ValueError, match=r"linear: x has 3 features .* expected 1"):
        model.predict(x)
    model[0].bias = nn.Parameter(np.ones(1, F32), "bias")
    with pytest.raises(ValueError, match="bias"):
        model.predict(x[:, :1])


def test_train_after_a_parameter_was_replaced():
    model = nn.Sequential(nn.Linear(3, 2))
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=0.1))
    x, y = np.ones((4, 3), F32), np.zeros((4, 2), F32)
    trainer.train_step(x, y)
    model[0].bias = nn.Parameter(np.ones(1, F32), "bias")
    trainer.optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="bias"):
        trainer.train_step(x, y)


def test_a_state_of_another_length():
    model = nn.Linear(30, 20)
    for wrong in (np.zeros(3, F32), np.zeros(640)):
        optimizer = nn.optim.Adam(model.parameters())
        optimizer.state["exp_avg"] = wrong
        with pytest.raises(ValueError, match="optimizer: state: expected"):
            optimizer.step()


# ---- one thread at a time ----


def test_train_step_from_a_second_thread_while_one_trains():
    model = nn.Sequential(nn.Linear(3, 2))
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=0.1))
    x, y = np.ones((4, 3), F32), np.zeros((4, 2), F32)
    found = []

    class Asks(nn.callbacks.Callback):
        def on_epoch_end(self, trainer, epoch, values):
            def ask():
                for call in (lambda: trainer.train_step(x, y), lambda: trainer.fit(x, y)):
                    try:
                        call()
                    except RuntimeError as error:
                        found.append(str(error))
                found.append(trainer.evaluate(x, y)["loss"])

            thread = threading.Thread(target=ask)
            thread.start(), thread.join()
            found.append(trainer.evaluate(x, y)["loss"])

    trainer.fit(x, y, 1, 4, verbose=0, callbacks=[Asks()])
    assert found[0].startswith("train_step: another thread trains with this Trainer; give each")
    assert found[1].startswith("fit: another thread trains with this Trainer")
    assert found[2] == found[3]
    assert trainer.train_step(x, y) > 0
    assert copy.deepcopy(trainer).train_step(x, y) > 0


def test_a_trainer_goes_through_pickle():
    model = nn.Sequential(nn.Linear(3, 2))
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=0.1))
    x, y = np.ones((4, 3), F32), np.zeros((4, 2), F32)
    assert pickle.loads(pickle.dumps(trainer)).train_step(x, y) == trainer.train_step(x, y)


def test_a_fit_inside_a_fit():
    model = nn.Sequential(nn.Linear(3, 2))
    trainer = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters(), lr=0.1))
    x, y = np.ones((400, 3), F32), np.zeros((400, 2), F32)

    class Nested(nn.callbacks.Callback):
        def on_epoch_end(self, trainer, epoch, values):
            trainer.fit(x[:8], y[:8], 1, 8, verbose=0)

    with pytest.raises(RuntimeError, match="fit: a fit of this trainer is running"):
        trainer.fit(x, y, 3, 8, verbose=0, callbacks=[Nested()])
    assert trainer.fit(x, y, 1, 8, verbose=0).epochs == 1


def test_targets_fewer_than_outputs_are_not_counted():
    """Accuracy with a model that returns more rows than it gets."""

    class Doubles(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.ones(1, F32))

        def forward(self, x):
            return np.concatenate([x, x])

        def backward(self, grad_output):
            return grad_output[: len(grad_output) // 2]

    class Half(nn.SoftmaxCE):
        def _run(self, output, target, sample_weight=None):
            return super()._run(output[: len(target)].copy(), target, sample_weight)

    model = Doubles()
    trainer = nn.Trainer(model, Half(), nn.optim.SGD(model.parameters(), lr=0.1))
    x, y = np.ones((4, 3), F32), np.zeros(4, np.int64)
    with pytest.raises(ValueError, match=r"output has shape \(8, 3\), the targets \(4,\)"):
        trainer.fit(x, y, 1, 4, verbose=0)
