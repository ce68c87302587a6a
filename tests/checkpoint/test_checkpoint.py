"""nn.save and nn.load: every part comes back bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import DTYPES, F32, same_bytes
from parts import FEATURES, Gain, data, network, weights

import nnlite as nn
from nnlite._core import config as _config


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def tree_bytes(value) -> object:
    """A tree with its arrays as bytes, to compare by ==."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, dict):
        return {key: tree_bytes(item) for key, item in value.items()}
    return [tree_bytes(item) for item in value] if isinstance(value, (list, tuple)) else value


# ---- models ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_comes_back(path, dtype):
    model = network(dtype)
    model[1].eval(), model[2][0].eval()
    nn.save(path, model)
    found = nn.load(path)
    assert (found.optimizer, found.trainer, found.extra) == (None, None, {})
    assert repr(found.model) == repr(model)
    assert list(found.model.state_dict()) == list(model.state_dict())
    for name, array in model.state_dict().items():
        same_bytes(found.model.state_dict()[name], array, name)
    modes = [module.training for module in model.modules()]
    assert [module.training for module in found.model.modules()] == modes
    assert modes.count(False) == 2
    X, _ = data(dtype)
    same_bytes(found.model.predict(X), model.predict(X))
    assert found.model[0].config()["init"] == "glorot_normal"


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(2, 3),
        nn.Sequential(),
        nn.ReLU(),
        nn.Sequential(nn.Softmax(), nn.LogSoftmax()),
        nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 2, dtype=np.float64)),
    ],
    ids=repr,
)
def test_small_models(path, model):
    nn.save(path, model)
    assert repr(nn.load(path).model) == repr(model)
    assert weights(nn.load(path).model) == weights(model)


def test_special_values_keep_their_bits(path):
    model = nn.Linear(4, 2)
    bits = np.array([0x7FC12345, 0xFF800000, 0x80000000, 1, 0x7F7FFFFF, 0, 2, 3], np.uint32)
    model.weight.data.view(np.uint32)[...] = bits.reshape(4, 2)
    with pytest.warns(RuntimeWarning, match="weight holds nan"):
        nn.save(path, model)
    got = nn.load(path).model.weight.data.view(np.uint32)
    assert got.ravel().tolist() == bits.tolist()


def test_nothing_in_the_process_changes(path):
    nn.manual_seed(11)
    model = network()
    before = (_config._State.seed, _config._State.stream)
    nn.save(path, model)
    nn.load(path)
    assert (_config._State.seed, _config._State.stream) == before
    assert nn.Linear(3, 3).weight.data.any()  # initial weights are drawn again


def test_dropout_goes_on_with_its_masks(path):
    nn.manual_seed(9)
    model = nn.Sequential(nn.Linear(FEATURES, 30), nn.Dropout(0.4))
    X, _ = data()
    masks = []
    for _ in range(5):
        masks.append(model(X) == 0)
        model.forget()
        if len(masks) == 3:
            nn.save(path, model)
    twin = nn.load(path).model
    assert (twin[1].seed, twin[1].stream, twin[1].step) == (9, 1, 3)
    for mask in masks[3:]:
        assert 0.3 < mask.mean() < 0.5
        assert ((twin(X) == 0) == mask).all()
        twin.forget()


@pytest.mark.parametrize("state", [{"seed": 1}, {"seed": -1, "stream": 0, "step": 0}, 3])
def test_dropout_with_a_wrong_state(path, monkeypatch, state):
    monkeypatch.setattr(nn.Dropout, "extra_state", lambda self: state)
    nn.save(path, nn.Dropout())
    monkeypatch.undo()
    with pytest.raises(nn.CheckpointError, match=r"ValueError: Dropout\.load_extra_state"):
        nn.load(path)


# ---- classes of the user ----


def test_a_class_with_the_name_of_one_of_nnlite(path):
    class ReLU(nn.Module):
        def _run(self, x, keep):
            return x + 1

    nn.save(path, nn.Sequential(ReLU()))
    with pytest.raises(nn.CheckpointError, match="class ReLU, not known here"):
        nn.load(path)
    assert type(nn.load(path, classes=[ReLU]).model[0]) is ReLU
    with pytest.raises(ValueError, match="save: two classes have the name ReLU"):
        nn.save(path, nn.Sequential(ReLU(), nn.ReLU()))


@pytest.mark.parametrize(
    "classes, error, text",
    [
        ([Gain(1)], TypeError, "classes: expected classes, got Gain"),
        (["Gain"], TypeError, "classes: expected classes, got str"),
        ([Gain, type("Gain", (nn.Module,), {})], ValueError, "two have the name Gain"),
    ],
)
def test_classes_that_are_none(path, classes, error, text):
    nn.save(path, nn.ReLU())
    with pytest.raises(error, match=text):
        nn.load(path, classes=classes)


# ---- trainers, losses, extra ----


EXTRA = {
    "texts": ["0" * 64, "", "é\"\\\n", "\U0001f600", "nan"],
    "numbers": [0, -1, 2**70, 0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf],
    "flags": {"yes": True, "no": False, "nothing": None},
    "empty": [{}, [], ""],
    "history": {"loss": [1 / (i + 1) for i in range(100)] + [math.inf]},
    "arrays": {
        "f2": np.arange(3, dtype=np.float16), "i1": np.arange(-3, 3, dtype=np.int8),
        "u8": np.array(2**64 - 1, np.uint64), "none": np.zeros((0, 3)), "flags": np.eye(2) > 0,
        "turned": np.arange(6).reshape(2, 3).T, "i8": np.array([-(2**63)]),
    },
}  # fmt: skip


def test_extra_comes_back(path):
    nn.save(path, nn.ReLU(), extra=EXTRA)
    found = nn.load(path).extra
    assert tree_bytes(found) == tree_bytes(EXTRA)
    assert math.copysign(1, found["numbers"][4]) == -1
    assert all(type(item) is float for item in found["history"]["loss"])


def test_extra_of_other_kinds(path):
    swapped = np.arange(3, dtype=">f4")
    extra = {"t": (1, 2), "n": np.float32(0.1), "i": np.int8(3), "b": np.True_,
             "nan": math.nan, "s": swapped, "long": [math.nan] * 50,
             "a/b": np.zeros(1), "a": {"b": np.ones(1)}}  # fmt: skip
    nn.save(path, nn.ReLU(), extra=extra)
    found = nn.load(path).extra
    assert (found["t"], found["n"], found["i"]) == ([1, 2], float(np.float32(0.1)), 3)
    assert found["b"] is True and math.isnan(found["nan"]) and math.isnan(found["long"][49])
    same_bytes(found["s"], np.arange(3, dtype=F32))
    assert (found["a/b"][0], found["a"]["b"][0]) == (0, 1)


@pytest.mark.parametrize(
    "extra, text",
    [
        ({"a": {1, 2}}, "save: extra/a: expected numbers.*got set"),
        ({"a": [nn.ReLU()]}, "save: extra/a/0: expected numbers.*got ReLU"),
        ({"a": 1j}, "save: extra/a: .*got complex"),
        ({"a": np.array(["x"])}, "extra/a: expected an array of .*got an array of <U1"),
        ({"a": np.zeros(2, complex)}, "got an array of complex128"),
        ({"a": np.ma.masked_equal([1, 2], 1)}, "save: extra/a: expected an array"),
        ({3: 1}, "names that are texts and do not begin with .*got 3"),
        ({"$array": "x"}, "do not begin with .*got '.array'"),
        ([1], "save: extra: expected a dict, got list"),
    ],
)
def test_what_cannot_be_kept(path, extra, text):
    path.write_bytes(b"old")
    with pytest.raises(TypeError, match=text):
        nn.save(path, nn.ReLU(), extra=extra)
    assert path.read_bytes() == b"old"


def test_parts_that_do_not_belong_together(path):
    model, other = network(), network()
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    twin = nn.optim.SGD(model.parameters(), lr=0.1)
    for args, error, text in [
        ((other, optimizer), ValueError, "it has parameters that are not the model's"),
        ((other, None, trainer), ValueError, "trainer: it trains another model"),
        ((model, twin, trainer), ValueError, "or by another optimizer"),
        ((model.state_dict(),), TypeError, "model: expected Module, got dict"),
        ((model, nn.SoftmaxCE()), TypeError, "optimizer: expected Optimizer, got SoftmaxCE"),
        ((model, None, optimizer), TypeError, "trainer: expected Trainer, got SGD"),
        ((None,), TypeError, "model: expected Module, got NoneType"),
    ]:
        with pytest.raises(error, match=text):
            nn.save(path, *args)
    assert not path.exists()


def test_nesting_without_end(path):
    extra: dict = {}
    extra["self"] = extra
    with pytest.raises(ValueError, match="nested too deeply"):
        nn.save(path, nn.ReLU(), extra=extra)


def test_a_description_that_no_reader_would_take(path):
    with pytest.raises(ValueError, match="keep long lists as arrays"):
        nn.save(path, nn.ReLU(), extra={"long": ["x" * 2**24]})
    assert not path.exists()
