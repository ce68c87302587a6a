"""What a reader who had not written it tried: near misses, layers replaced, masks, wrong files."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

import nnlite as nn

F32 = np.float32


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("model", "require_grad", r"Sequential has no require_grad: set requires_grad_\(False\)"),
        ("model", "trainabl", r"Sequential has no trainabl: set requires_grad_\(False\)"),
        ("optimizer", "learnig_rate", "SGD has no learnig_rate: set lr"),
        ("optimizer", "param_group", "SGD has no param_group: set lr"),
        ("parameter", "requires_gradients", "did you mean requires_grad"),
        ("dropout", "rate", "Dropout has no rate: set the p of a Dropout"),
    ],
)
def test_near_misses_of_other_libraries_names(kind, name, message):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
    parts = {
        "model": model, "optimizer": nn.optim.SGD(model.parameters(), lr=0.1),
        "parameter": model[0].weight, "dropout": model[1],
    }  # fmt: skip
    with pytest.raises(AttributeError, match=message):
        setattr(parts[kind], name, False)
    assert not hasattr(parts[kind], name)


def test_names_of_a_users_class_stay_its_own():
    class Block(nn.Module):
        def __init__(self):
            self.rate, self.prob, self.kernel_size, self.trainable_parts = 0.1, 0.2, 3, []

    assert Block().rate == 0.1


def test_the_layers_of_a_sequential_are_fixed():
    model = nn.Sequential(nn.Linear(2, 3))
    layer = model[0]
    with pytest.raises(AttributeError, match=r"Sequential: layers is fixed; make another of them"):
        model.layers = [nn.Linear(2, 5)]
    assert model.layers == (layer,) and model(np.ones((1, 2), F32)).shape == (1, 3)


@pytest.mark.parametrize("last", [nn.Linear(3, 2), nn.ReLU(), nn.Tanh()])
def test_nllloss_without_logarithms(last):
    model = nn.Sequential(nn.Linear(3, 3), last, nn.Dropout(0.1))
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    message = rf"Trainer: model\[1\], {type(last).__name__}.*, comes before NLLLoss, .*LogSoftmax"
    with pytest.warns(UserWarning, match=message):
        nn.Trainer(model, nn.NLLLoss(), optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Trainer(model, nn.MSELoss(), optimizer)
        good = nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax())
        nn.Trainer(good, nn.NLLLoss(), nn.optim.SGD(good.parameters(), lr=0.1))


def test_masks_of_conditions_and_limits():
    x = nn.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"where: condition: .* masked elements"):
        nn.autograd.where(np.ma.array([True, False], mask=[0, 1]), x, x)
    for low, high in (
        (np.ma.array([1.0, 2.0], mask=[0, 1]), None),
        (0.0, np.ma.array(1.0, mask=1)),
    ):
        with pytest.raises(TypeError, match=r"clip: limit: .* masked elements"):
            nn.autograd.clip(x, low, high)
    assert nn.autograd.clip(x, np.ma.array([1.5, 1.5]), None).tolist() == [1.5, 2.0]


def test_an_axis_of_stack_that_does_not_exist():
    x = nn.tensor([1.0, 2.0])
    for axis in (2, 5, -3):
        with pytest.raises(ValueError, match=f"stack: axis {axis} does not exist; the result"):
            nn.autograd.stack([x, x], axis)
    assert nn.autograd.stack([x, x], -2).shape == (2, 2)


def test_what_is_no_file_of_a_model():
    model = nn.Linear(2, 2)
    for path in (3, None, ["a"]):
        with pytest.raises(TypeError, match="save: path: expected a path or a binary file, got"):
            nn.save(path, model)
        with pytest.raises(TypeError, match="load: path: expected a path, bytes or a binary file"):
            nn.load(path)
    file = io.BytesIO()
    np.savez(file, weight=np.ones(3))  # a zip file, as torch.save writes
    with pytest.raises(nn.CheckpointError, match=r"it is a zip file, as torch\.save and np\.savez"):
        nn.load(file.getvalue())
    with pytest.raises(nn.CheckpointError, match=r"load_state_dict\(torch\.load\(path\), from_tor"):
        model.load_state_dict(file.getvalue(), from_torch=True)
