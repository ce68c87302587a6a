"""model.freeze(): predict's bits from packed weights, for many threads, and no training."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import threading

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F32, F64, run_python, same_bytes, sha
from network_cases import INPUTS, Added, Own, Twice, concatenated, flattened, residual

import nnlite as nn
from nnlite.nn.frozen import REFUSED


def mlp(dtype=F32, widths=(20, 70, 33, 5)):
    nn.manual_seed(3)
    layers = []
    for d, k in itertools.pairwise(widths):
        layers += [nn.Linear(d, k, dtype=dtype), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def rows(n, features, dtype=F32):
    return np.random.default_rng(n).normal(size=(n, features)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 11, 12, 13, 100, 1100])
def test_bits_of_predict(dtype, n):
    model = mlp(dtype)
    frozen, X = model.freeze(), rows(n, 20, dtype)
    expected = model.predict(X)
    assert expected.shape == (n, 5)
    for threads in (1, 2, 3, 7):
        nn.set_num_threads(threads)
        same_bytes(frozen.predict(X), expected, f"{threads} threads")
        same_bytes(frozen(X), expected)
        same_bytes(frozen.predict(X, batch_size=7), expected)
    assert frozen.why_eager is None and frozen.training is False


def test_every_kind_of_rows_is_converted():
    model, X = mlp(), rows(9, 20)
    frozen, expected = model.freeze(), model.predict(X)
    for given in (X.astype(F64), X.tolist(), np.asfortranarray(X), X.astype(">f4"), X[::-1][::-1]):
        same_bytes(frozen.predict(given), expected)
    ints = np.arange(40).reshape(2, 20)
    same_bytes(frozen.predict(ints), model.predict(ints))
    X.flags.writeable = False
    same_bytes(frozen(X), expected)


@pytest.mark.parametrize("make", [residual, concatenated, flattened, Added, Twice, Own],
                         ids=lambda make: make.__name__)  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_networks_that_are_no_chains(make, dtype):
    nn.manual_seed(1)
    model = make(dtype)
    shape = getattr(make, "shape", (INPUTS,))
    X = np.random.default_rng(2).normal(size=(23, *shape)).astype(dtype)
    frozen, expected = model.freeze(), model.predict(X)
    same_bytes(frozen.predict(X), expected)
    same_bytes(frozen.predict(X, batch_size=4), expected)
    assert frozen.why_eager is None


class Repeated(nn.Module):
    """One layer used twice."""

    def __init__(self):
        self.layer, self.last = nn.Linear(48, 48), nn.Linear(48, 3)

    def forward(self, x):
        return self.last(self.layer(nn.functional.tanh(self.layer(x))))


def test_a_weight_that_two_layers_share_is_packed_once():
    nn.manual_seed(0)
    model = Repeated()
    frozen, X = model.freeze(), rows(5, 48)
    same_bytes(frozen.predict(X), model.predict(X))
    assert sum(pack is not None for pack in frozen._packs.values()) == 1


class Transposed(nn.Module):
    """A weight as PyTorch keeps it, and a stack of rows."""

    def __init__(self):
        values = np.random.default_rng(5).normal(size=(40, 24)).astype(np.float32)
        self.weight = nn.Parameter(values)

    def forward(self, x):
        return nn.functional.tanh(x @ self.weight.T)


@pytest.mark.parametrize("shape", [(24,), (3, 24)])
def test_transposed_weights_and_rows_of_several_axes(shape):
    model = Transposed()
    X = np.random.default_rng(0).normal(size=(9, *shape)).astype(np.float32)
    frozen = model.freeze()
    same_bytes(frozen.predict(X), model.predict(X))
    assert frozen.why_eager is None


def test_the_model_may_change_afterwards():
    model, X = mlp(), rows(30, 20)
    frozen, early = model.freeze(), model.freeze()
    expected = early.predict(X)  # recorded before the change; the other is recorded after it
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters(), lr=0.01))
    trainer.train_step(X, np.arange(30) % 5)
    assert model.predict(X).tobytes() != expected.tobytes()
    same_bytes(early.predict(X), expected)
    same_bytes(frozen.predict(X), expected)
    for p in model.parameters():
        p.data[...] = 0
    same_bytes(frozen.predict(X), expected)
    assert sha(*frozen.state_dict().values()) == sha(*early.state_dict().values())
    frozen.state_dict()["0.weight"][...] = 0  # a copy
    same_bytes(frozen.predict(X), expected)


def test_freezing_changes_nothing_of_the_model():
    model, X = mlp(), rows(8, 20)
    model.forward(X)
    grads = [p.grad.copy() for p in model.parameters()]
    before = model.state_dict()
    model.freeze().predict(X)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())
    model.backward(np.ones((8, 5), np.float32))  # the pending forward is still there
    assert any((p.grad != g).any() for p, g in zip(model.parameters(), grads, strict=True))


def test_dropout_is_off():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5), nn.Linear(40, 2))
    X = rows(4, 6)
    same_bytes(model.freeze().predict(X), model.predict(X))


@pytest.mark.parametrize("twin", [
    lambda f: pickle.loads(pickle.dumps(f)), copy.copy, copy.deepcopy, lambda f: f.freeze(),
    lambda f: f.eval(),
], ids=["pickle", "copy", "deepcopy", "freeze", "eval"])  # fmt: skip
@pytest.mark.parametrize("called", [False, True])
def test_copies(twin, called):
    model, X = mlp(), rows(10, 20)
    expected, frozen = model.predict(X), model.freeze()
    if called:
        frozen.predict(X)
    other = twin(frozen)
    del frozen
    same_bytes(other.predict(X), expected)
    assert repr(other) == f"Frozen({model!r})"


def test_a_pickle_holds_the_weights_once():
    model = mlp(widths=(200, 300, 10))
    frozen = model.freeze()
    frozen.predict(rows(1, 200))
    assert len(pickle.dumps(frozen)) < 1.05 * sum(p.data.nbytes for p in model.parameters()) + 4000


@pytest.mark.parametrize("name", REFUSED)
def test_training_is_refused(name):
    frozen = mlp().freeze()
    with pytest.raises(RuntimeError, match=rf"^Frozen\.{name}: a frozen model only predicts: "):
        getattr(frozen, name)(np.ones((2, 20), np.float32))


def test_no_attribute_can_be_set():
    frozen = mlp().freeze()
    for change in (lambda: setattr(frozen, "training", True), lambda: delattr(frozen, "_model"),
                   lambda: setattr(frozen, "weight", 1)):  # fmt: skip
        with pytest.raises(AttributeError, match="a frozen model does not change"):
            change()


def test_it_is_no_model_of_a_trainer_or_a_chain():
    frozen, optimizer = mlp().freeze(), nn.optim.SGD(mlp().parameters(), lr=0.1)
    with pytest.raises(TypeError, match="model: expected Module, got Frozen"):
        nn.Trainer(frozen, nn.SoftmaxCE(), optimizer)
    with pytest.raises(TypeError):
        nn.Sequential(frozen)
    with pytest.raises(TypeError, match="Frozen: model: expected a Module, got int"):
        nn.Frozen(3)


def test_bad_rows_are_told_as_by_predict():
    model = mlp()
    frozen, X = model.freeze(), rows(3, 20)
    frozen.predict(X)
    for bad, how in ((rows(3, 19), {}), (X, {"batch_size": 0}), (X, {"batch_size": True}),
                     ("ab", {}), (np.float32(3), {}), ([[1], [1, 2]], {})):  # fmt: skip
        with pytest.raises((TypeError, ValueError)) as expected:
            model.predict(bad, **how)
        with pytest.raises(type(expected.value)) as found:
            frozen.predict(bad, **how)
        assert str(found.value) == str(expected.value)
    same_bytes(frozen.predict(X), model.predict(X))


class Branching(nn.Module):
    """What cannot be recorded: Python decides by a value."""

    def __init__(self):
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        h = self.layer(x)
        return h if float(h.sum()) > 0 else -h


def test_what_cannot_be_recorded_runs_as_it_is():
    nn.manual_seed(2)
    model = Branching()
    frozen = model.freeze()
    for n in (1, 2, 9):
        for sign in (1, -1):
            X = sign * rows(n, 4)
            same_bytes(frozen.predict(X), model.predict(X))
    assert "test_frozen.py" in frozen.why_eager
    X = rows(5, 4)
    expected = frozen.predict(X)
    model.layer.weight.data[...] = 7
    same_bytes(frozen.predict(X), expected)


class Locked(nn.Module):
    def __init__(self):
        self.layer, self.lock = nn.Linear(4, 3), threading.Lock()

    def forward(self, x):
        return self.layer(x)


def test_what_cannot_be_copied_is_told():
    with pytest.raises(TypeError, match=r"freeze: Locked holds what cannot be copied: .*lock"):
        Locked().freeze()


@pytest.mark.parametrize("make, features", [(mlp, 20), (Branching, 4)])
def test_many_threads_at_once(make, features):
    """Threads record at the same time, with batches of their own, and meet other shapes."""
    model = make()
    batches = [rows(1 + 37 * i % 200, features) for i in range(12)]
    expected = [model.predict(X) for X in batches]
    frozen, wrong = model.freeze(), []
    start = threading.Barrier(4)

    def work(first):
        start.wait()
        for i in range(60):
            k = (first + i) % len(batches)
            if frozen.predict(batches[k]).tobytes() != expected[k].tobytes():
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(5 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class AnyWidth(nn.Module):
    """Rows of any length."""

    def __init__(self):
        self.factor = nn.Parameter(np.float32(3) * np.ones(1, np.float32))

    def forward(self, x):
        return nn.functional.tanh(x * self.factor)


def test_programs_of_many_shapes_of_rows_are_not_all_kept():
    model = AnyWidth()
    frozen = model.freeze()
    for _ in range(2):
        for width in range(1, 20):
            X = rows(3, width)
            same_bytes(frozen.predict(X), model.predict(X))
    assert len(frozen._programs) == 8


FORK = """
import os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import numpy as np, nnlite as nn
nn.set_num_threads(2)
model = nn.Sequential(nn.Linear(600, 500), nn.ReLU(), nn.Linear(500, 40))
X = np.random.default_rng(0).normal(size=(70, 600)).astype(np.float32)
called, fresh = model.freeze(), model.freeze()
expected = called.predict(X).tobytes()
child = os.fork()
if child == 0:
    os._exit(0 if called.predict(X).tobytes() == fresh.predict(X).tobytes() == expected else 3)
for _ in range(600):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    time.sleep(0.1)
else:
    os.kill(child, 9)
    sys.exit("the child hangs")
assert called.predict(X).tobytes() == expected
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_predicts_the_same():
    found = run_python(FORK)
    assert found.returncode == 0, found.stderr


EVERY_BUILD = """
import hashlib, numpy as np, nnlite as nn
digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 77, dtype=dtype), nn.Tanh(), nn.Linear(77, 41, dtype=dtype))
    frozen = model.freeze()
    for n in (1, 3, 12, 40):
        X = np.random.default_rng(n).normal(size=(n, 50)).astype(dtype)
        assert frozen.predict(X).tobytes() == model.predict(X).tobytes()
        digest.update(frozen.predict(X).tobytes())
print(digest.hexdigest())
"""


def test_every_build_gives_the_same():
    found = {isa: run_python(EVERY_BUILD, NNLITE_ISA=isa) for isa in BUILDS}
    assert all(run.returncode == 0 for run in found.values()), found
    assert len({run.stdout for run in found.values()}) == 1


def test_gradients_take_no_memory():
    frozen = mlp(widths=(300, 400, 10)).freeze()
    frozen.predict(rows(2, 300))
    for p in frozen._model.parameters():
        assert p._grad.strides == (0,) * p._grad.ndim
        assert p._arena.grad.strides == (0,)
