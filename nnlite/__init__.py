"""nnlite: small neural networks on the CPU.

`import nnlite as nn`. Fast C kernels behind NumPy arrays, the same bits for any number of threads,
instruction set and batch split, and code that reads like a textbook.
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

from . import autograd, functional
from ._config import (
    get_num_threads,
    get_threading,
    manual_seed,
    set_num_threads,
    set_threading,
    show_config,
)
from ._lazy import later
from .autograd import Tensor, no_grad, tensor
from .autograd.blocks import function
from .nn import (
    Concat,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    Frozen,
    Identity,
    Lambda,
    Linear,
    LogSoftmax,
    Loss,
    Module,
    ModuleDict,
    ModuleList,
    MSELoss,
    NLLLoss,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCE,
    Tanh,
    init,
)

if TYPE_CHECKING:
    from . import callbacks, data, metrics, optim
    from .checkpoint import Checkpoint, CheckpointError, load, save
    from .history import History
    from .program.jit import jit_program
    from .trainer import Trainer
    from .training.many import Ensemble, fit_many
else:  # imported when they are first used
    __getattr__ = later(
        __name__,
        {
            "Checkpoint": "checkpoint",
            "CheckpointError": "checkpoint",
            "Ensemble": "training.many",
            "History": "history",
            "Trainer": "trainer",
            "callbacks": "",
            "data": "",
            "fit_many": "training.many",
            "jit_program": "program.jit",
            "load": "checkpoint",
            "metrics": "",
            "optim": "",
            "save": "checkpoint",
        },
    )

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Concat",
    "CrossEntropyLoss",
    "Dropout",
    "Ensemble",
    "Flatten",
    "Frozen",
    "History",
    "Identity",
    "Lambda",
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
    "Tensor",
    "Trainer",
    "autograd",
    "callbacks",
    "data",
    "fit_many",
    "function",
    "functional",
    "get_num_threads",
    "get_threading",
    "init",
    "jit_program",
    "load",
    "manual_seed",
    "metrics",
    "no_grad",
    "optim",
    "save",
    "set_num_threads",
    "set_threading",
    "show_config",
    "tensor",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
