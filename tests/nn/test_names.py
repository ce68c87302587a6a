"""Attributes that would be set in vain are errors that name the right one; a user's own are not."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import nnlite as nn


def parts():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), nn.Softmax())
    return {
        "parameter": model[0].weight, "model": model, "linear": model[0], "dropout": model[1],
        "softmax": model[2], "mse": nn.MSELoss(), "ce": nn.SoftmaxCE(),
        "sgd": nn.optim.SGD(model.parameters()), "adam": nn.optim.Adam(model.parameters()),
    }  # fmt: skip


IN_VAIN = [
    ("parameter", "require_grad", "did you mean requires_grad?"),
    ("parameter", "requires_gard", "did you mean requires_grad?"),
    ("parameter", "trainable", "set requires_grad"),
    ("parameter", "gradient", "set grad"),
    ("parameter", "lr", "an optimiser of its own"),
    ("model", "requires_grad", r"set requires_grad_\(False\)"),
    ("linear", "requires_grad", r"set requires_grad_\(False\)"),
    ("linear", "trainable", r"set requires_grad_\(False\)"),
    ("linear", "wieght", "did you mean weight?"),
    ("linear", "Weight", "did you mean weight?"),
    ("linear", "biass", "did you mean bias?"),
    ("linear", "kernel", "set weight"),
    ("linear", "trainning", "did you mean training?"),
    ("softmax", "dim", "it would change nothing"),
    ("dropout", "inplace", "it would change nothing; it has p, "),
    ("mse", "weight", "it would change nothing; it has .*reduction"),
    ("mse", "size_average", "set reduction"),
    ("mse", "reducton", "did you mean reduction?"),
    ("ce", "pos_weight", "it would change nothing; it has .*weight"),
    ("ce", "label_smooting", "did you mean label_smoothing?"),
    ("ce", "ignore_idx", "set ignore_index"),
    ("ce", "weights", "did you mean weight?"),
    ("sgd", "learning_rate", "set lr"),
    ("sgd", "LR", "did you mean lr?"),
    ("sgd", "param_groups", "set lr, of the one group"),
    ("sgd", "betas", "it would change nothing; it has .*momentum"),
    ("sgd", "momentun", "did you mean momentum?"),
    ("sgd", "weight_decy", "did you mean weight_decay?"),
    ("adam", "momentum", "it would change nothing; it has .*betas"),
    ("adam", "beta1", "set betas"),
    ("adam", "epsilon", "set eps"),
    ("adam", "clipnorm", "set clip_norm"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "name", "message"), IN_VAIN)
def test_in_vain(part, name, message):
    thing = parts()[part]
    kind = type(thing).__name__
    with pytest.raises(AttributeError, match=rf"^{kind} has no {name}: .*{message}"):
        setattr(thing, name, 0.5)
    assert not hasattr(thing, name)


@pytest.mark.parametrize("part", parts())
def test_names_of_ones_own_are_taken(part):
    thing = parts()[part]
    for name in ("tag", "my_note", "_anything", "layer1", "weight2"):
        setattr(thing, name, name)
        assert getattr(thing, name) == name


def test_what_is_there_can_be_set():
    made = parts()
    made["parameter"].requires_grad = False
    made["parameter"].name = "w"
    made["linear"].training = False
    made["dropout"].p = 0.2
    made["ce"].weight, made["ce"].reduction, made["ce"].label_smoothing = [1, 2], "sum", 0.1
    made["mse"].reduction = "sum"
    made["sgd"].lr = 0.2
    with pytest.raises(AttributeError, match="momentum is fixed; make a new optimiser"):
        made["sgd"].momentum = 0.5
    with pytest.raises(AttributeError, match=r"train is a method: call train\(\.\.\.\)"):
        made["model"].train = False
    with pytest.raises(AttributeError, match="parameters is a method"):
        made["linear"].parameters = []
    made["linear"].forward = lambda x: x  # a function in place of a method


def test_a_users_module_has_names_of_its_own():
    class Block(nn.Module):
        def __init__(self):
            self.dim, self.axis, self.device, self.kernel, self.mode = 1, 0, "cpu", 3, "same"
            self.weights = nn.Parameter(np.ones(2, np.float32))
            self.weight, self.bias2, self.biases = 1.0, 2.0, 3.0
            self.in_feature, self.parameter, self.trained, self.train_rate = 1, 2, True, 0.5
            self.layer1, self.layer2, self.layers = nn.ReLU(), nn.ReLU(), [nn.ReLU()]
            self.config = {"width": 3}
            self.trainable = self.frozen = self.activation = self.inplace = False

    class Wide(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.weights, self.in_feature, self.dim, self.kernel = 1, 2, 3, 4

    class Custom(nn.Loss):
        def __init__(self, beta):
            super().__init__()
            self.beta = self.delta = self.weight = self.eps = beta

    class Momentum(nn.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, 0.1)
            self.momentum, self.betas, self.alpha, self.param_groups = 0.9, (0, 1), 1, []

    block = Block()
    assert len(block.parameters()) == 1 and Wide().kernel == 4 and Custom(0.5).beta == 0.5
    assert Momentum(block.parameters()).momentum == 0.9
    for thing, name, message in (
        (block, "requires_grad", r"requires_grad_\(False\)"),
        (block, "trainning", "did you mean training?"),
        (Wide(), "requires_grad", r"requires_grad_\(False\)"),
        (Custom(1), "reducton", "did you mean reduction?"),
        (Momentum(block.parameters()), "weight_decy", "did you mean weight_decay?"),
    ):
        with pytest.raises(AttributeError, match=message):
            setattr(thing, name, False)


def test_a_class_may_define_the_name():
    class Frozen(nn.Module):
        requires_grad = True

    module = Frozen()
    module.requires_grad = False
    assert module.requires_grad is False


def test_copies_and_pickles():
    for thing in parts().values():
        thing.tag = [1]
        for twin in (copy.copy(thing), copy.deepcopy(thing)):
            assert type(twin) is type(thing)
        assert repr(pickle.loads(pickle.dumps(thing))) == repr(thing)
