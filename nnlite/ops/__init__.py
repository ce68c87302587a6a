"""One definition per operation: forward, gradient of the input, gradient of the parameters.

An operation is a class of static methods, in THNN's three verbs: `forward(...)` returns the output
and what backward needs; `grad_input(saved, grad)` returns the gradient of the input;
`acc_grad_parameters(saved, grad, ...)` adds to the gradients of the parameters. Each is a checked
call of the C kernel of the same name. Modules use these definitions and add only state.
"""

from .activations import Sigmoid, Tanh, Threshold
from .dropout import Dropout
from .linear import Linear
from .softmax import LogSoftMax, SoftMax

__all__ = ["Dropout", "Linear", "LogSoftMax", "Sigmoid", "SoftMax", "Tanh", "Threshold"]
