"""Optimisers: one C kernel each, over the flat arena of the parameters."""

from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Optimizer"]
