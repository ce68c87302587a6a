"""Optimisers: one C kernel each, over the flat arena of the parameters."""

from ._schedule import Schedule
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Optimizer", "Schedule"]
