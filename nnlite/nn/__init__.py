"""Modules, losses, parameters and initialisers; the package `nnlite` exports the public ones."""

from . import init
from .activations import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .containers import ModuleDict, ModuleList
from .dropout import Dropout
from .linear import Linear
from .losses import CrossEntropyLoss, Loss, MSELoss, NLLLoss, SoftmaxCE
from .module import Module
from .parameter import Parameter
from .sequential import Sequential

__all__ = [
    "CrossEntropyLoss",
    "Dropout",
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
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SoftmaxCE",
    "Tanh",
    "init",
]
