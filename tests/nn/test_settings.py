"""What a module is made of: its configuration, and building it again without drawing weights."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import same_bytes

import nnlite as nn
from nnlite._core import config as _config
from nnlite._core.settings import build, configuration, settings


class Scale(nn.Module):
    """Keeps each argument under its own name, so that it needs no config."""

    def __init__(self, width: int, dtype=np.float32) -> None:
        self.width, self.dtype = width, dtype
        self.factor = nn.Parameter(np.ones(width, dtype))


class Pair(nn.Sequential):
    """A constructor of its own on a class whose config speaks of layers."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(nn.Linear(width, width), nn.Tanh())


class Forgetful(nn.Module):
    def __init__(self, width: int) -> None:
        self.size = width


class Open(nn.Module):
    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes


@pytest.mark.parametrize(
    "part, expected",
    [
        (
            nn.Linear(3, 2, bias=False, dtype=np.float64, init="he_normal"),
            {"in_features": 3, "out_features": 2, "bias": False, "dtype": "float64",
             "init": "he_normal"},
        ),
        (nn.ReLU(), {}),
        (nn.LogSoftmax(), {}),
        (Scale(4), {"width": 4, "dtype": "float32"}),
        (Scale(4, np.dtype(np.float64)), {"width": 4, "dtype": "float64"}),
        (Pair(3), {"width": 3}),
    ],
)  # fmt: skip
def test_configuration(part, expected):
    assert configuration(part) == expected
    twin = build(type(part), expected)
    assert type(twin) is type(part)
    assert configuration(twin) == expected
    assert [p.shape for p in twin.parameters()] == [p.shape for p in part.parameters()]


def test_settings_of_losses_and_optimisers():
    model = nn.Linear(2, 2)
    assert configuration(nn.SoftmaxCE("sum"))["reduction"] == "sum"
    optimizer = nn.optim.SGD(model.parameters(), lr=0.5, momentum=0.25)
    found = settings(optimizer, skip=("params",))
    assert (found["lr"], found["momentum"], found["weight_decay"]) == (0.5, 0.25, 0.0)


def test_sequential_holds_its_layers():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    assert configuration(model) == {"layers": [model[0], model[1]]}
    assert build(nn.Sequential, {"layers": [nn.ReLU()]})[0].config() == {}


@pytest.mark.parametrize("part, name", [(Forgetful(3), "width"), (Open(1, 2), "sizes")])
def test_arguments_that_nobody_kept(part, name):
    text = f"{type(part).__name__}: its argument {name} cannot be saved.*define config"
    with pytest.raises(TypeError, match=text):
        configuration(part)


def test_config_must_be_a_dict():
    class Wrong(nn.Module):
        def config(self):
            return [1]

    with pytest.raises(TypeError, match=r"Wrong\.config: expected a dict, got list"):
        configuration(Wrong())


def test_named_modules():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))
    assert [name for name, _ in model.named_modules()] == [
        "", "layers.0", "layers.1", "layers.1.layers.0",
    ]  # fmt: skip
    assert [module for _, module in model.named_modules("net")] == list(model.modules())
    assert list(dict(model.named_modules("net")))[:2] == ["net", "net.layers.0"]


def test_extra_state_by_default():
    assert nn.ReLU().extra_state() is None
    with pytest.raises(ValueError, match="ReLU has no extra state"):
        nn.ReLU().load_extra_state({})


# ---- building without drawing ----


def test_rebuilding_takes_no_stream():
    nn.manual_seed(5)
    first = nn.Linear(4, 3)
    with _config.rebuilding(1000):
        blank = nn.Linear(4, 3, init="glorot_normal")
    second = nn.Linear(4, 3)
    assert not blank.weight.data.any()
    nn.manual_seed(5)
    for layer in (first, second):
        same_bytes(nn.Linear(4, 3).weight.data, layer.weight.data)


def test_rebuilding_has_room_for_so_much():
    with _config.rebuilding(4 * (4 * 3 + 3)):
        nn.Linear(4, 3)
        with pytest.raises(ValueError, match="4 bytes of parameters where 0 are left"):
            nn.Linear(1, 1)
    with pytest.raises(ValueError, match="where 59 are left"), _config.rebuilding(59):
        nn.Linear(5, 3)
    with pytest.raises(ValueError, match="4000000000000 bytes"), _config.rebuilding(10**6):
        nn.Linear(10**6, 10**6)  # never asks for the memory
    with pytest.raises(ValueError, match="where 0 are left"), _config.rebuilding(40):
        nn.Linear(2, 5), nn.Parameter(np.zeros(1, np.float32))
    assert nn.Linear(100, 100).weight.data.any()
