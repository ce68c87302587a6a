"""Weights of PyTorch: transposed where that was said, else refused with the fix."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.numpy
from helpers import F32, F64, same_bytes

import nnlite as nn

RNG = np.random.default_rng(8)
FIX = "from_torch=True, which transposes the weights of Linear"


class Tensor:
    """As much of torch.Tensor as a state_dict has."""

    __module__ = "torch"

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        if self.array.dtype == np.float16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


class Parameter(Tensor):
    __module__ = "torch.nn.parameter"


def network(dtype=F32):
    return nn.Sequential(
        nn.Linear(4, 4, dtype=dtype), nn.ReLU(), nn.Linear(4, 3, bias=False, dtype=dtype)
    )


def theirs(dtype=F32):
    """A state_dict as PyTorch's: weights as (out, in)."""
    shapes = {"0.weight": (4, 4), "0.bias": (4,), "2.weight": (3, 4)}
    return {name: RNG.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def reference(state, x):
    hidden = np.maximum(x @ state["0.weight"].T + state["0.bias"], 0)
    return hidden @ state["2.weight"].T


@pytest.mark.parametrize("kind", [Tensor, Parameter, np.asarray])
def test_weights_are_transposed(kind):
    model, state, x = network(F64), theirs(F64), RNG.normal(size=(5, 4))
    made = OrderedDict((name, kind(array)) for name, array in state.items())
    model.load_state_dict(made, from_torch=True)
    np.testing.assert_allclose(model.predict(x), reference(state, x), rtol=1e-12)
    same_bytes(model[0].weight.data, np.ascontiguousarray(state["0.weight"].T))
    same_bytes(model[0].bias.data, state["0.bias"])


def test_tensors_without_the_word_are_refused():
    model = network()
    before = model.state_dict()
    state = {name: Tensor(array) for name, array in before.items()}
    with pytest.raises(TypeError, match=rf"0.weight is a tensor of PyTorch, .*{FIX}"):
        model.load_state_dict(state)
    for name, array in before.items():
        same_bytes(model.state_dict()[name], array)
    with pytest.raises(TypeError, match=r"0.weight: Got unsupported ScalarType BFloat16; convert"):
        model.load_state_dict({k: Tensor(a.astype(np.float16)) for k, a in theirs().items()},
                              from_torch=True)  # fmt: skip
    with pytest.raises(TypeError, match="from_torch: expected True or False, got int"):
        model.load_state_dict(before, from_torch=1)


def test_real_tensors():
    torch = pytest.importorskip("torch")
    twin = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(TypeError, match=FIX):
        model.load_state_dict(twin.state_dict())
    model.load_state_dict(twin.state_dict(), from_torch=True)
    x = RNG.normal(size=(6, 4)).astype(F32)
    expected = twin(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match=r"0.weight is float32, expected float64"):
        network(F64).load_state_dict(
            {k: v for k, v in twin.state_dict().items() if k != "2.bias"}, from_torch=True
        )


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file"])
def test_files_of_pytorch(tmp_path, kind):
    state, path = theirs(), tmp_path / "t.safetensors"
    path.write_bytes(safetensors.numpy.save(state, {"format": "pt"}))
    source = {"path": lambda: path, "text": lambda: str(path), "bytes": path.read_bytes,
              "file": lambda: io.BytesIO(path.read_bytes())}[kind]  # fmt: skip
    model = network()
    before = pickle.dumps(model.state_dict())
    with pytest.raises(ValueError, match=rf"PyTorch wrote this file; .*{FIX}"):
        model.load_state_dict(source())
    assert pickle.dumps(model.state_dict()) == before
    with pytest.raises(nn.CheckpointError, match=r"PyTorch wrote it.*from_torch=True"):
        nn.load(source())
    model.load_state_dict(source(), from_torch=True)
    same_bytes(model[2].weight.data, np.ascontiguousarray(state["2.weight"].T))


def test_other_files(tmp_path):
    model, path = network(), tmp_path / "m.safetensors"
    state = model.state_dict()
    for metadata in (None, {"format": "np"}):
        twin = network()
        twin.load_state_dict(safetensors.numpy.save(state, metadata))
        same_bytes(twin[0].weight.data, state["0.weight"])
    optimizer = nn.optim.Adam(model.parameters())
    nn.save(path, model, optimizer, extra={"a": np.ones(3)})
    twin = network()
    twin.load_state_dict(path)
    same_bytes(twin[2].weight.data, state["2.weight"])
    with pytest.raises(nn.CheckpointError, match=r"load_state_dict: .*m.safetensors"):
        path.write_bytes(path.read_bytes()[:-3])
        twin.load_state_dict(path)
    with pytest.raises(FileNotFoundError):
        twin.load_state_dict(tmp_path / "missing")
    with pytest.raises(TypeError, match="state: expected a dict of names and arrays, got list"):
        twin.load_state_dict([1])


def test_shapes_that_fit_transposed():
    model = nn.Sequential(nn.Linear(4, 3))
    state = {"0.weight": np.ones((3, 4), F32), "0.bias": np.ones(3, F32)}
    with pytest.raises(ValueError, match=rf"\(3, 4\), expected \(4, 3\), which it has transposed"
                                         rf"; for weights of PyTorch pass {FIX}"):  # fmt: skip
        model.load_state_dict(state)
    model.load_state_dict(state, from_torch=True)
    with pytest.raises(ValueError, match=r"transposed; from_torch=True has transposed weights: le"):
        model.load_state_dict(model.state_dict(), from_torch=True)
    with pytest.raises(ValueError, match=r"expected \(4, 3\)$"):
        model.load_state_dict({**state, "0.weight": np.ones((2, 4), F32)})


def test_only_weights_of_linear_are_transposed():
    class Own(nn.Module):
        def __init__(self):
            self.table, self.layer = nn.Parameter(np.ones((2, 2), F32)), nn.Linear(2, 2)
            self.register_buffer("weight", np.zeros((2, 2), F32))

    model = Own()
    turned = np.arange(4, dtype=F32).reshape(2, 2)
    state = {"table": turned, "layer.weight": turned, "layer.bias": np.ones(2, F32),
             "weight": turned}  # fmt: skip
    model.load_state_dict(state, from_torch=True)
    same_bytes(model.table.data, turned)
    same_bytes(model.weight, turned)
    same_bytes(model.layer.weight.data, np.ascontiguousarray(turned.T))
