"""requires_grad = False: no gradient, no step, in every way of training; and back again."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import nnlite as nn
from nnlite.checkpoint import restore
from nnlite.program.train import Program

ROWS, IN, OUT = 70, 5, 3
WEIGHTS = ("0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias")


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, IN)).astype(np.float32), rng.integers(0, OUT, ROWS)


def network(*frozen, width=8):
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(IN, width), nn.ReLU(), nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, OUT)
    )
    for name, p in model.named_parameters():
        p.requires_grad = name not in frozen
    return model


def values(model):
    return {name: p.data.tobytes() for name, p in model.named_parameters()}


def fitted(monkeypatch, model, rule, eager, **options):
    """Two epochs and a step, by the program or by the modules."""
    X, y = data()
    trainer = nn.Trainer(model, nn.SoftmaxCE(), rule(model.parameters(), lr=0.01, **options))
    with monkeypatch.context() as patch:
        if eager:
            patch.setattr("nnlite.train.trainer.compiled", lambda *parts: None)
        trainer.fit(X, y, 2, 16, verbose=0)
        trainer.train_step(X, y)
        kinds = {type(program) for program in trainer._programs.values()}
    assert kinds == (set() if eager else {Program})
    return trainer


CASES = [
    WEIGHTS[:2], WEIGHTS[:1], WEIGHTS[1:2], WEIGHTS[2:3], WEIGHTS[2:4], WEIGHTS[4:], WEIGHTS[:5],
    WEIGHTS[1:], WEIGHTS[:4],
]  # fmt: skip


@pytest.mark.parametrize("frozen", CASES, ids=" ".join)
@pytest.mark.parametrize("rule", [nn.optim.SGD, nn.optim.Adam, nn.optim.RMSprop])
def test_frozen_parameters_stay_and_programs_equal_modules(monkeypatch, frozen, rule):
    found = {}
    for eager in (False, True):
        model = network(*frozen)
        trainer = fitted(monkeypatch, model, rule, eager, clip_norm=1.0, weight_decay=0.1)
        found[eager] = values(model)
        for name, p in model.named_parameters():
            if name in frozen:
                assert not p.grad.any() and not p._grad.any()
                assert found[eager][name] == values(network())[name]
            else:
                assert p.grad.any() and found[eager][name] != values(network())[name]
        assert trainer.optimizer.steps == 11
    assert found[False] == found[True]


def test_a_large_weight_frozen_or_beside_a_frozen_one(monkeypatch):
    """16 MiB and more: updated while its gradient is made."""
    X, y = data()
    for frozen in (("0.weight",), ("0.bias",), ("2.weight",)):
        found = {}
        for eager in (False, True):
            nn.manual_seed(3)
            model = nn.Sequential(nn.Linear(IN, 1024), nn.ReLU(), nn.Linear(1024, 4096))
            for name, p in model.named_parameters():
                p.requires_grad = name not in frozen
            trainer = nn.Trainer(
                model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1, momentum=0.9)
            )
            with monkeypatch.context() as patch:
                if eager:
                    patch.setattr("nnlite.train.trainer.compiled", lambda *parts: None)
                before = values(model)
                trainer.fit(X, y, 1, 35, verbose=0)
            found[eager] = values(model)
            assert {n for n in before if found[eager][n] == before[n]} == set(frozen)
        assert found[False] == found[True]


def test_the_optimiser_may_hold_the_trained_ones_alone():
    model, twin = network(*WEIGHTS[:2]), network(*WEIGHTS[:2])
    trained = [p for p in twin.parameters() if p.requires_grad]
    X, y = data()
    for net, parameters in ((model, model.parameters()), (twin, trained)):
        trainer = nn.Trainer(net, nn.SoftmaxCE(), nn.optim.Adam(parameters, clip_norm=0.1))
        trainer.fit(X, y, 2, 16, verbose=0)
        assert isinstance(trainer._programs["fit"], Program)
    assert values(model) == values(twin)


def test_steps_between_freezing_and_training_are_those_of_torch():
    torch = pytest.importorskip("torch")
    X, y = data()
    model = network()
    peer = torch.nn.Sequential(
        torch.nn.Linear(IN, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.Tanh(),
        torch.nn.Linear(8, OUT),
    )  # fmt: skip
    with torch.no_grad():
        for name, p in peer.named_parameters():
            p.copy_(torch.from_numpy(np.array(model.state_dict()[name].T)))
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    optimizer = torch.optim.SGD(peer.parameters(), 0.1, momentum=0.9)
    tx, ty = torch.from_numpy(X), torch.from_numpy(y)
    plan = [(), WEIGHTS[:2], WEIGHTS[2:5], (), WEIGHTS[1:2]]
    for frozen in plan:
        for name, p in model.named_parameters():
            p.requires_grad_(name not in frozen)
        for name, p in peer.named_parameters():
            p.requires_grad_(name not in frozen)
            p.grad = None
        for _ in range(3):
            trainer.train_step(X, y)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(peer(tx), ty).backward()
            optimizer.step()
    for name, p in peer.named_parameters():
        expected = p.detach().numpy().T
        np.testing.assert_allclose(model.state_dict()[name], expected, rtol=2e-4, atol=1e-6)


RULES = {
    "Adam": {}, "AdamW": {}, "Adamax": {}, "NAdam": {}, "RMSprop": {},
    "SGD": {"momentum": 0.9, "dampening": 0.5}, "Adagrad": {"lr_decay": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_steps_that_a_parameter_missed_do_not_count_for_it(rule):
    """A parameter's own number of steps corrects its moments, as in PyTorch; in C and by modules,
    after copies and files too."""
    torch = pytest.importorskip("torch")
    rng, options = np.random.default_rng(1), RULES[rule]
    plan = [(), ("a",), ("a", "b"), (), ("b",), ()]
    start = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    ours = {name: nn.Parameter(value, name) for name, value in start.items()}
    theirs = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
    decay = {"weight_decay": 0.01, "decay_bias": True} if rule == "AdamW" else {}
    mine = getattr(nn.optim, rule)(ours.values(), lr=0.01, **options, **decay)
    peer = getattr(torch.optim, rule)(theirs.values(), lr=0.01, **options)
    for frozen in plan:
        for name in ours:
            ours[name].requires_grad = name not in frozen
            theirs[name].requires_grad = name not in frozen
        for _ in range(5):
            for name, value in start.items():
                grad = rng.normal(size=value.shape)
                ours[name].grad = grad
                theirs[name].grad = None if name in frozen else torch.tensor(grad)
            mine.step()
            peer.step()
        twin = copy.deepcopy(mine)
        mine.load_state_dict(pickle.loads(pickle.dumps(mine.state_dict())))
        assert mine.state_dict().keys() == twin.state_dict().keys()
    for name, p in ours.items():
        np.testing.assert_allclose(p.data, theirs[name].detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize("rule", [nn.optim.Adam, nn.optim.NAdam])
def test_programs_equal_modules_after_steps_were_missed(monkeypatch, tmp_path, rule):
    X, y = data()
    found = []
    for kind in ("program", "modules", "file"):
        model = network(*WEIGHTS[:2])
        trainer = nn.Trainer(model, nn.SoftmaxCE(), rule(model.parameters(), clip_norm=1.0))
        with monkeypatch.context() as patch:
            if kind == "modules":
                patch.setattr("nnlite.train.trainer.compiled", lambda *parts: None)
            trainer.fit(X, y, 2, 16, verbose=0)
            model.requires_grad_(True)
            trainer.fit(X, y, 1, 16, verbose=0)
            if kind == "file":
                nn.save(tmp_path / "model", model, trainer=trainer)
                trainer = nn.load(tmp_path / "model").trainer
                model = trainer.model
            trainer.fit(X, y, 1, 16, verbose=0)
            trainer.train_step(X, y)
        found.append(values(model))
        assert trainer.optimizer.state_dict()["missed"] == [10, 10, 0, 0, 0, 0]
    assert found[0] == found[1] == found[2]


def test_backward_by_hand_and_by_the_graph_leaves_frozen_gradients_out():
    X, y = data()
    frozen = ("0.weight", "2.bias")
    for graph in (False, True):
        model, whole, loss = network(*frozen), network(), nn.SoftmaxCE()
        for net in (model, whole):
            if graph:
                loss(net(nn.tensor(X)), y).backward()
            else:
                loss(net(X), y)
                net.backward(loss.backward())
        for (name, p), q in zip(model.named_parameters(), whole.parameters(), strict=True):
            assert q.grad.any()
            expected = np.zeros_like(q.grad) if name in frozen else q.grad
            np.testing.assert_allclose(p.grad, expected, rtol=1e-5, atol=1e-7)


def test_a_parameter_in_expressions():
    w = nn.Parameter(np.ones(3, np.float32), requires_grad=False)
    x = nn.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert not (w * 2).requires_grad and not w.requires_grad
    (w * x).sum().backward()
    assert not w.grad.any() and x.grad.tolist() == [1, 1, 1]
    assert w.requires_grad_() is w and w.requires_grad
    out = (w * x).sum()
    w.requires_grad = False  # after the call: nothing arrives any more
    out.backward()
    w.requires_grad = True
    assert not w.grad.any()
    (w * x).sum().backward()
    assert w.grad.tolist() == [1, 2, 3]
    w.requires_grad = False  # what was there goes
    assert not w.grad.any()
    w.grad += 1
    w.requires_grad = True
    assert not w.grad.any() and repr(w) == "Parameter(parameter, shape=(3,), dtype=float32)"


def test_values_keep_their_memory():
    """Freezing retires recordings, and moves nothing."""
    model = network()
    before = [p.data for p in model.parameters()]
    assert model.requires_grad_(False) is model
    assert not any(p.requires_grad for p in model.parameters())
    model[0].requires_grad_(True)
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, False, False, False]
    for p, view in zip(model.parameters(), before, strict=True):
        assert np.shares_memory(p.data, view)
        p.data = np.full(p.shape, 2.0)
        assert (view == 2).all()


def test_a_user_module_and_recorded_functions_follow():
    class Gain(nn.Module):
        def __init__(self):
            self.factor = nn.Parameter(np.ones(IN, np.float32))

        def forward(self, x):
            self.x = x
            return x * self.factor.data

        def backward(self, grad_output):
            self.factor.grad += (self.x * grad_output).sum(axis=0)
            return grad_output * self.factor.data

    X, y = data()
    nn.manual_seed(1)
    model = nn.Sequential(Gain(), nn.Linear(IN, OUT))
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1))
    model[0].requires_grad_(False)
    trainer.fit(X, y, 1, 16, verbose=0)
    assert (model[0].factor.data == 1).all() and not model[0].factor.grad.any()
    model[0].requires_grad_(True)
    trainer.fit(X, y, 1, 16, verbose=0)
    assert (model[0].factor.data != 1).all()

    w = nn.Parameter(np.ones(3, np.float32), requires_grad=False)

    @nn.jit_program
    def f(x):
        return (w * x).sum()

    x = nn.tensor(np.arange(3, dtype=np.float32), requires_grad=True)
    for trained in (False, True, False, True):
        w.requires_grad = trained
        w.grad = np.zeros(3)
        for _ in range(3):
            f(x).backward()
        assert w.grad.tolist() == ([0, 3, 6] if trained else [0, 0, 0])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_the_flag(copied):
    model = copied(network(*WEIGHTS[1:3]))
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == list(WEIGHTS[1:3])


def test_files_keep_values_and_flags(tmp_path):
    X, y = data()
    path = tmp_path / "model.safetensors"
    model = network(*WEIGHTS[:2])
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters()))
    trainer.fit(X, y, 1, 16, verbose=0)
    assert list(model.state_dict()) == list(WEIGHTS)
    nn.save(path, model, trainer=trainer)
    found = nn.load(path)
    assert not any(p.requires_grad for p in found.model[0].parameters())
    assert all(p.requires_grad for p in found.model[2].parameters())
    assert values(found.model) == values(model)
    trainer.fit(X, y, 1, 16, verbose=0)
    found.trainer.fit(X, y, 1, 16, verbose=0)
    assert values(found.model) == values(model)
    other = network(*WEIGHTS[4:])
    restore(path, other)  # weights alone leave the flags as they are
    assert [p.requires_grad for p in other.parameters()] == [True] * 4 + [False] * 2
    twin = nn.Trainer(other, nn.SoftmaxCE(), nn.optim.Adam(other.parameters()))
    restore(path, twin)
    assert [p.requires_grad for p in other.parameters()] == [False] * 2 + [True] * 4


def test_all_frozen_is_refused_before_the_first_step():
    X, y = data()
    model = network(*WEIGHTS)
    optimizer = nn.optim.Adam(model.parameters(), clip_norm=1.0)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    for call in (
        lambda: trainer.fit(X, y, verbose=0),
        lambda: trainer.train_step(X, y),
        lambda: nn.fit_many([model], nn.SoftmaxCE(), [optimizer], X, y, 1, 16, verbose=0),
    ):
        with pytest.raises(ValueError, match="every parameter of the optimiser is frozen"):
            call()
    optimizer.zero_grad()
    optimizer.step()  # as in PyTorch: nothing to do
    assert nn.optim.clip_grad_norm_(model.parameters(), 1.0) == 0
    nn.optim.clip_grad_value_(model.parameters(), 1.0)
    assert values(model) == values(network())
    model[4].bias.requires_grad = True
    trainer.fit(X, y, verbose=0)
    assert [n for n, v in values(model).items() if v != values(network())[n]] == ["4.bias"]


def test_lbfgs_moves_the_trained_ones():
    pytest.importorskip("scipy")
    X, y = data()
    model, loss = network(*WEIGHTS[:3]), nn.SoftmaxCE()
    before, optimizer = values(model), nn.optim.LBFGS(model.parameters(), weight_decay=1e-3)

    def closure():
        optimizer.zero_grad()
        value = loss(model(X), y)
        model.backward(loss.backward())
        return value

    first = optimizer.step(closure)
    assert closure() < first
    assert [n for n in before if values(model)[n] == before[n]] == list(WEIGHTS[:3])


@pytest.mark.parametrize("value", [0, None, "no", np.ones(2)])
def test_the_flag_is_true_or_false(value):
    p = nn.Parameter(np.ones(2, np.float32))
    with pytest.raises(TypeError, match="requires_grad: expected True or False"):
        p.requires_grad = value
    with pytest.raises(TypeError, match="requires_grad=False to freeze"):
        nn.Parameter(np.ones(2, np.float32), False)
    assert p.requires_grad
