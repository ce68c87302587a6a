"""nnlite: small neural networks on the CPU.

`import nnlite as nn`. Fast C kernels behind NumPy arrays, the same bits for any number of threads,
instruction set and batch split, and code that reads like a textbook.
"""

__version__ = "0.1.0"

from . import autograd, callbacks, data, functional, metrics, optim
from ._config import get_num_threads, manual_seed, set_num_threads, show_config
from .autograd import Tensor, no_grad, tensor
from .autograd.blocks import function
from .checkpoint import Checkpoint, CheckpointError, load, save
from .history import History
from .nn import (
    CrossEntropyLoss,
    Dropout,
    Linear,
    LogSoftmax,
    Loss,
    Module,
    MSELoss,
    NLLLoss,
    Parameter,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCE,
    Tanh,
    init,
)
from .trainer import Trainer
from .training.many import Ensemble, fit_many

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CrossEntropyLoss",
    "Dropout",
    "Ensemble",
    "History",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "Module",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SoftmaxCE",
    "Tanh",
    "Tensor",
    "Trainer",
    "autograd",
    "callbacks",
    "data",
    "fit_many",
    "function",
    "functional",
    "get_num_threads",
    "init",
    "load",
    "manual_seed",
    "metrics",
    "no_grad",
    "optim",
    "save",
    "set_num_threads",
    "show_config",
    "tensor",
]
