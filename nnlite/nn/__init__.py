"""Modules, losses, parameters and initialisers; the package `nnlite` exports the public ones."""

from . import init
from .activations import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .branches import Concat, Residual
from .containers import ModuleDict, ModuleList
from .dropout import Dropout
from .frozen import Frozen
from .lambda_module import Lambda
from .linear import Linear
from .losses import CrossEntropyLoss, Loss, MSELoss, NLLLoss, SoftmaxCE
from .module import Module
from .parameter import Parameter
from .reshaping import Flatten, Identity
from .sequential import Sequential

__all__ = [
    "Concat",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Frozen",
    "Identity",
    "Lambda",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SoftmaxCE",
    "Tanh",
    "init",
]
