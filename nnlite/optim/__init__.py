"""Optimisers: one C kernel each, over the flat arena of the parameters; and their schedules."""

from .adam import Adam, Adamax, AdamW, NAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .clip import clip_grad_norm_, clip_grad_value_
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .rprop import Rprop
from .schedule import Schedule, SequentialLR
from .schedules import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    InverseScalingLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    RobbinsMonroLR,
    StepLR,
    WarmupLR,
)
from .sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "InverseScalingLR",
    "LinearLR",
    "MultiStepLR",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RMSprop",
    "ReduceLROnPlateau",
    "RobbinsMonroLR",
    "Rprop",
    "Schedule",
    "SequentialLR",
    "StepLR",
    "WarmupLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]
