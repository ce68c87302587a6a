"""Modules and parameters in lists, tuples and dicts; ModuleList, ModuleDict; buffers; several
arguments; and models that a file could not describe."""

from __future__ import annotations

import collections
import copy
import io
import pickle

import numpy as np
import pytest
from helpers import F32, same_bytes

import nnlite as nn


def saved(model, **kwargs) -> io.BytesIO:
    file = io.BytesIO()
    nn.save(file, model, **kwargs)
    file.seek(0)
    return file


class Nested(nn.Module):
    """Modules and parameters wherever they can be."""

    def __init__(self, width=2):
        self.width = width
        self.scale = nn.Parameter(np.ones(1, F32))
        self.deep = [[nn.Linear(width, width)], (nn.Linear(width, width), [nn.ReLU()])]
        self.named = {"a": nn.Linear(width, 1), "b": {"c": [nn.Linear(width, 1)]}, 3: nn.Tanh()}
        self.loose = {"x": [nn.Parameter(np.zeros(2, F32))]}
        self.queue = collections.deque([nn.Sigmoid()])
        self.itself = [self.deep]
        self.itself.append(self.itself)
        self.numbers = [1, 2, {"k": "text"}]

    def forward(self, x):
        for layer in (self.deep[0][0], *self.deep[1][1], self.deep[1][0]):
            x = layer(x)
        return (self.named["a"](x) + self.named["b"]["c"][0](x)) * self.scale + self.loose["x"][0][
            0
        ]


NAMES = [
    "scale", "loose.x.0", "deep.0.0.weight", "deep.0.0.bias", "deep.1.0.weight", "deep.1.0.bias",
    "named.a.weight", "named.a.bias", "named.b.c.0.weight", "named.b.c.0.bias",
]  # fmt: skip


def test_registration_at_any_depth():
    model = Nested()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert list(model.state_dict()) == NAMES
    modules = dict(model.named_modules())
    assert set(modules) == {"", "deep.0.0", "deep.1.0", "deep.1.1.0", "named.a", "named.b.c.0",
                            "named.3", "queue.0"}  # fmt: skip
    model.eval()
    assert not any(module.training for module in modules.values())
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    x = nn.tensor(np.ones((3, 2), F32))
    before = model.state_dict()
    (model.train()(x) ** 2).sum().backward()
    optimizer.step()
    changed = [name for name, old in before.items() if not (model.state_dict()[name] == old).all()]
    assert {"deep.0.0.weight", "named.b.c.0.weight", "loose.x.0", "scale"} <= set(changed)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert list(twin.state_dict()) == NAMES
        same_bytes(twin(x).detach().numpy(), model(x).detach().numpy())


def test_a_nested_model_goes_through_a_file():
    model = Nested(3)
    model.loose["x"][0].data = [4, 5]
    found = nn.load(saved(model), classes=[Nested]).model
    for name, array in model.state_dict().items():
        same_bytes(found.state_dict()[name], array, name)
    other = Nested(3)
    other.load_state_dict(model.state_dict())
    assert other.loose["x"][0].data.tolist() == [4, 5]


def test_what_has_no_place():
    model = nn.Module()
    model.parts = {nn.ReLU()}
    with pytest.raises(TypeError, match=r"Module.parts: a set of modules or parameters"):
        model.parameters()
    model.parts = {1: nn.Linear(1, 1), "1": nn.Linear(1, 1)}
    with pytest.raises(ValueError, match=r"two parameters have the name parts.1.weight"):
        model.parameters()


def test_attributes_of_a_subclass_of_sequential():
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(2, 2))
            self.head = [nn.Linear(2, 1)]

        def config(self):
            return {}

        @classmethod
        def from_config(cls, config):
            return cls()

    assert list(Net().state_dict()) == ["0.weight", "0.bias", "head.0.weight", "head.0.bias"]
    assert nn.load(saved(Net()), classes=[Net]).model.head[0].weight.shape == (2, 1)


# ---- ModuleList, ModuleDict ----


class Blocks(nn.Module):
    def __init__(self, blocks, heads):
        self.blocks, self.heads = nn.ModuleList(blocks), nn.ModuleDict(heads)

    def forward(self, x, head="a"):
        for block in self.blocks:
            x = block(x)
        return self.heads[head](x)


def blocks():
    return Blocks([nn.Linear(2, 3), nn.Tanh()], {"a": nn.Linear(3, 1), "b": nn.Linear(3, 2)})


def test_containers_in_a_module():
    model, x = blocks(), np.ones((4, 2), F32)
    assert list(model.state_dict()) == [
        "blocks.0.weight", "blocks.0.bias", "heads.a.weight", "heads.a.bias", "heads.b.weight",
        "heads.b.bias",
    ]  # fmt: skip
    found = nn.load(saved(model), classes=[Blocks]).model
    same_bytes(found(x, head="b"), model(x, "b"))
    assert found(x).shape == (4, 1)
    assert repr(nn.ModuleList([nn.ReLU()])) == "ModuleList(\n  (0) ReLU()\n)"
    assert nn.load(saved(nn.ModuleDict({"r": nn.ReLU()}))).model["r"].training


def test_a_module_list_is_a_list():
    a, b, c = nn.Linear(1, 1), nn.ReLU(), nn.Tanh()
    found = nn.ModuleList([a]).append(b)
    found.extend(nn.ModuleList([c]))
    assert list(found) == [a, b, c] and len(found) == 3 and found[-1] is c and b in found
    assert list(found[1:]) == [b, c] and isinstance(found[1:], nn.ModuleList)
    found.insert(0, c)
    found[1], found[3] = b, a
    assert list(found) == [c, b, b, a] and found.pop() is a
    del found[0]
    found += [a]
    assert list(found) == [b, b, a] and list(found + [c]) == [b, b, a, c]
    with pytest.raises(TypeError, match=r"ModuleList.append: expected a Module, got int"):
        found.append(3)
    with pytest.raises(TypeError, match="got one; use"):
        nn.ModuleList(a)
    with pytest.raises(IndexError):
        found[7]
    with pytest.raises(TypeError, match="it has no forward; call its modules"):
        found(np.ones((1, 1), F32))


def test_a_module_dict_is_a_dict():
    a, b = nn.Linear(1, 1), nn.ReLU()
    found = nn.ModuleDict([("a", a)])
    found["b"] = b
    assert list(found) == ["a", "b"] == list(found.keys()) and list(found.values()) == [a, b]
    assert "b" in found and len(found) == 2 and dict(found.items())["a"] is a
    found.update({"a": b, "c": a})
    assert found.pop("a") is b and list(found) == ["b", "c"]
    del found["b"]
    assert list(nn.ModuleDict(found)) == ["c"]
    found.clear()
    assert len(found) == 0
    for name in ("", "a.b", "a/b"):
        with pytest.raises(ValueError, match="is no name"):
            found[name] = a
    with pytest.raises(TypeError, match="expected a name, got int"):
        found[1] = a
    with pytest.raises(TypeError, match="expected a Module, got str"):
        found["x"] = "y"
    with pytest.raises(KeyError):
        found["zz"]


# ---- buffers ----


class Norm(nn.Module):
    def __init__(self, width):
        self.width = width
        self.weight = nn.Parameter(np.ones(width, F32))
        self.register_buffer("mean", np.zeros(width))
        self.register_buffer("count", np.array(0))
        self.register_buffer("scratch", np.zeros(2), persistent=False)
        self.register_buffer("later", None)

    def _run(self, x, keep):
        if keep:
            self.mean = self.mean + x.mean(axis=0)
            self.count += 1
            self._keep(x)
        return x * self.weight.data

    def _grad(self, saved, grad_output, want_input):
        return grad_output * self.weight.data


def test_buffers():
    model = nn.Sequential(nn.Linear(2, 3), Norm(3), nn.Sequential(Norm(3)))
    assert [n for n, _ in model.named_buffers()] == [
        "1.mean", "1.count", "1.scratch", "2.0.mean", "2.0.count", "2.0.scratch"
    ]  # fmt: skip
    assert list(model.state_dict())[-4:] == ["1.mean", "1.count", "2.0.mean", "2.0.count"]
    assert len(model.buffers()) == 6 and len(model.parameters()) == 4
    model(np.ones((4, 2), F32))
    model.forget()
    assert model[1].count == 1 and model[1].mean.any()
    state = model.state_dict()
    state["1.mean"][:] = 7
    assert not (model[1].mean == 7).any()
    model.load_state_dict(state)
    assert (model[1].mean == 7).all()
    found = nn.load(saved(model), classes=[Norm]).model
    assert (found[1].mean == 7).all() and found[1].count == 1 and not found[1].scratch.any()
    assert found[1].mean.dtype == np.float64 and found[1].later is None
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (twin[1].mean == 7).all() and next(twin.named_buffers())[0] == "1.mean"
    with pytest.raises(ValueError, match=r"missing: \['2.0.count'\]"):
        model.load_state_dict({k: v for k, v in state.items() if k != "2.0.count"})


def test_restoring_buffers(tmp_path):
    model = Norm(3)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    trainer = nn.Trainer(model, nn.MSELoss(), optimizer, checkpoint=tmp_path / "fit")
    X = np.ones((8, 3), F32)
    trainer.fit(X, X, 2, 4, verbose=0)
    assert model.count == 4
    twin = Norm(3)
    other = nn.Trainer(twin, nn.MSELoss(), nn.optim.SGD(twin.parameters(), lr=0.1),
                       checkpoint=tmp_path / "fit")  # fmt: skip
    other.fit(X, X, 3, 4, verbose=0, resume=True)
    assert twin.count == 6 and (twin.mean == 6).all()


def test_buffers_that_are_none():
    model = nn.Module()
    for name, value, error, text in [
        ("training", np.ones(1), ValueError, "there is one already"),
        ("forward", np.ones(1), ValueError, "there is one already"),
        ("a.b", np.ones(1), ValueError, "expected an attribute's name"),
        ("", np.ones(1), ValueError, "expected an attribute's name"),
        (3, np.ones(1), TypeError, "name: expected a text, got int"),
        ("x", [1.0], TypeError, "expected an array of numbers or booleans, got list"),
        ("x", np.array(["t"]), TypeError, "got an array of <U1"),
        ("x", nn.ReLU(), TypeError, "got ReLU"),
    ]:
        with pytest.raises(error, match=text):
            model.register_buffer(name, value)
    model.register_buffer("x", np.ones(1))
    model.x = "text"
    with pytest.raises(TypeError, match="buffer x: expected an array"):
        model.state_dict()


# ---- several arguments ----


def test_two_arguments():
    class Pair(nn.Module):
        def __init__(self):
            self.left, self.right = nn.Linear(2, 3), nn.Linear(4, 3)

        def forward(self, a, b, *, scale=1.0):
            return (self.left(a) + self.right(b)) * scale

    model, a, b = Pair(), np.ones((5, 2), F32), np.ones((5, 4), F32)
    same_bytes(model(a, b), model.left(a) + model.right(b))
    y = model(nn.tensor(a), nn.tensor(b), scale=2.0)
    same_bytes(y.detach().numpy(), 2 * model(a, b))
    y.sum().backward()
    assert (model.left.bias.grad == 10).all() and (model.right.weight.grad == 10).all()
    y = model(a, nn.tensor(b, requires_grad=True))
    assert isinstance(y, nn.Tensor) and y.requires_grad
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'b'"):
        model(a)
    for args in ((a, b), (nn.tensor(a), nn.tensor(a)), ()):
        message = rf"ReLU: expected one argument, x, got {len(args)}; a module of your own may"
        with pytest.raises(TypeError, match=message):
            nn.ReLU()(*args)
    with pytest.raises(TypeError, match="linear: x: expected float32, got float64"):
        model.left(x=a.astype(float))


# ---- models that a file could not describe ----


class Forgets(nn.Module):
    def __init__(self, width=2):
        self.width = width
        self.layer = nn.Linear(width, 2)


def added():
    model = Forgets()
    model.more = {"x": nn.Linear(2, 2)}
    return model


def wider():
    model = Forgets()
    model.layer = nn.Linear(5, 2)
    return model


def stateful():
    model = Forgets()
    model.extra = nn.Dropout()
    return model


def tied():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    return model


def set_on(make, name, value):
    model = make()
    setattr(model, name, value)
    return nn.Sequential(model)


class Raises(Forgets):
    def __init__(self, width):
        self.width, self.layer = None, nn.Linear(width, 2)


class NoLoad(Forgets):
    def extra_state(self):
        return 3


def buffered():
    model = nn.ReLU()
    model.register_buffer("mean", np.ones(2))
    return model


REFUSED = {
    "an attribute": (added, "the parameter more.x.weight is only in the model"),
    "a wider layer": (wider, r"layer.weight has shape \(5, 2\) .* constructor makes \(2, 2\)"),
    "a state": (stateful, "the module 'extra' is not made by its constructor"),
    "one weight twice": (tied, "the parameter 2.weight is that of another place too"),
    "on Linear": (lambda: set_on(lambda: nn.Linear(2, 2), "more", nn.Linear(1, 1)),
                  r"Linear \(layers.0\) got the attribute more"),
    "on ReLU": (lambda: set_on(nn.ReLU, "more", [nn.Parameter(np.ones(1))]),
                r"ReLU \(layers.0\) got the attribute more.0"),
    "a bias": (lambda: set_on(lambda: nn.Linear(2, 2), "bias", nn.Parameter(np.ones(7, F32))),
               r"Linear \(layers.0\) has weight"),
    "a buffer": (buffered, "got the buffer mean"),
    "a constructor": (lambda: Raises(2), "its constructor raises TypeError"),
    "no load": (NoLoad, "NoLoad .* defines extra_state and no load_extra_state"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_its_file_could_not_describe(tmp_path, name):
    make, text = REFUSED[name]
    (tmp_path / "m").write_bytes(b"old")
    with pytest.raises(ValueError, match=text):
        nn.save(tmp_path / "m", make())
    assert (tmp_path / "m").read_bytes() == b"old"


def test_to_find_out_changes_nothing():
    class Draws(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.random.rand(2).astype(F32))
            self.layer = nn.Linear(2, 2)

    model = Draws()
    np.random.seed(3)
    nn.manual_seed(3)
    nn.save(io.BytesIO(), model)
    first = np.random.rand(), nn.Linear(2, 2).weight.data.copy()
    np.random.seed(3)
    nn.manual_seed(3)
    assert first[0] == np.random.rand()
    same_bytes(first[1], nn.Linear(2, 2).weight.data)


def test_a_module_that_holds_itself():
    """By whatever way round: named, where the recursion would have no end."""
    inner, outer = nn.ModuleList([nn.Linear(2, 2)]), nn.ModuleDict()
    outer["inner"] = inner
    inner.append(outer)
    with pytest.raises(ValueError, match=r"ModuleDict: inner\.1 is a module that it is part of"):
        list(outer.parameters())
