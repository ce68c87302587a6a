"""nnlite: small neural networks on the CPU.

`import nnlite as nn`. Fast C kernels behind NumPy arrays, the same bits for any number of threads,
instruction set and batch split, and code that reads like a textbook.
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

from . import autograd, functional, nn
from ._core.config import (
    get_num_threads,
    get_threading,
    manual_seed,
    set_num_threads,
    set_threading,
    show_config,
)
from ._core.lazy import later
from .autograd import Tensor, no_grad, tensor
from .autograd.inspect.blocks import function
from .nn import *  # noqa: F403  the public names stand in nn/__init__.py

if TYPE_CHECKING:
    from . import data, metrics, optim
    from .checkpoint.save_load import Checkpoint, CheckpointError, load, save
    from .program.jit import jit_program
    from .train import callbacks
    from .train.history import History
    from .train.many import Ensemble, fit_many
    from .train.trainer import Trainer
else:  # imported when they are first used
    __getattr__ = later(
        __name__,
        {
            "Checkpoint": "checkpoint",
            "CheckpointError": "checkpoint",
            "Ensemble": "train.many",
            "History": "train.history",
            "Trainer": "train.trainer",
            "fit_many": "train.many",
            "jit_program": "program.jit",
            "load": "checkpoint",
            "save": "checkpoint",
        },
        {
            "callbacks": "train.callbacks",
            "data": "data",
            "metrics": "metrics",
            "optim": "optim",
            "sklearn": "sklearn",  # needs the extra of that name: not in __all__
        },
    )

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Ensemble",
    "History",
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
__all__ += nn.__all__


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
