"""The graph: Tensors, operations that record themselves, gradients by walking back.

    x = nn.tensor([[1.0, 2.0]], requires_grad=True)
    loss = (x @ w + b).relu().sum()
    loss.backward()
    x.grad

A call (`calls.py`) whose inputs require a gradient makes a node (`recording.py`, `node.py`);
`backward` walks the nodes from the newest to the oldest (`engine.py`) and hands each the gradient
of its output. There are no other moving parts: control flow is Python's, and every forward builds
its graph anew.

How an operation is defined
---------------------------
An operation is a class with the value and the gradient side by side, and the function made of it:

    class Mul(Multilinear):
        '''a b; da = g b, db = g a.'''
        forward = np.multiply                       # on arrays

        @staticmethod
        def vjp(g, need, a, b):                     # on arrays or Tensors, the same formula
            left, right = need
            return (
                None if left is None else sum_to(g * b, left.shape),
                None if right is None else sum_to(g * a, right.shape),
            )

    mul = binary(Mul)

- `vjp(g, need, *values, *params)`: g is the gradient of the output; `need` has for each input a
  node with shape and dtype, or None when nobody asks; `values` are the inputs (`keeps_inputs =
  True`) and then the output (`keeps_output = True`); `params` is what else forward got (axes,
  shapes). An operation with one input returns its gradient, others a tuple.
- First derivatives run vjp on arrays: no Tensor is made. With create_graph=True, or when tangents
  are carried, the same vjp runs on Tensors, and its calls are recorded: second derivatives, and
  tangents of gradients. So a formula uses operators, methods that arrays and Tensors share, and the
  functions of this package, which take both; `value_of(x)` gives the array where a mask is needed.
- A kernel that computes a gradient in one pass is an operation of its own, as `tanh_grad(y, g)` is,
  with its own vjp for the next derivative.
- `instruction` and `walk`, or `lower`, say what the operation is in a program (nnlite/program).
- The tangent `jvp(tangents, inputs, out, params)` is inherited: from `Elementwise` when
  `derivative(*values, *params)` is given instead of vjp (y_i = f(x_i)); from `Linear` and
  `Multilinear`, where it is the operation itself; else from Operation, by transposing vjp.
- The function: `unary(Op)`, `binary(Op)` for one or two inputs without parameters (broadcast and
  promoted, quick), or a Python function that checks its arguments and ends in
  `apply(Op, *inputs, params=(...))`; `apply_many` for several outputs.
- Its name goes into `methods.py` (as a method) and below.

Derivatives as functions are in `transforms/`: `reverse_mode.py` (vjp, jacobian), `forward_mode.py`
(jvp) and `hessians.py` (hvp, hessian). Every operation here has all of them; the suite checks first
and second derivatives of each. What has first derivatives alone says so when more are asked for
(NotImplementedError): modules and losses of a user that are written by `_run` and `_grad`.

dtypes: NumPy's promotion. float32 and float64 give float64, by a recorded conversion, and each
leaf's gradient has the leaf's dtype; a Python number takes the tensor's dtype; integer tensors take
part and never have a gradient.
"""

from typing import TYPE_CHECKING

from .._core.lazy import later
from .check.anomaly import detect_anomaly
from .engine import grad
from .foreign import named_function
from .function import Context, Function
from .methods import Methods
from .node import enable_grad, is_grad_enabled, no_grad
from .ops.arithmetic import (
    abs,
    add,
    div,
    mul,
    neg,
    power,
    reciprocal,
    sqrt,
    square,
    sub,
)  # fmt: skip
from .ops.choices import (
    clip,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    not_equal,
    sign,
    where,
)  # fmt: skip
from .ops.elementary import (
    cos,
    erf,
    exp,
    expm1,
    leaky_relu,
    log,
    log1p,
    relu,
    sigmoid,
    sin,
    softplus,
    tanh,
)  # fmt: skip
from .ops.joining import concatenate, repeat, split, stack, tile
from .ops.linalg import (
    cholesky,
    det,
    diag,
    diagonal,
    eigh,
    inv,
    logdet,
    solve,
    svd,
    trace,
    tril,
    triu,
)  # fmt: skip
from .ops.losses import mse_loss, nll_loss, softmax_ce
from .ops.neural import dropout, linear, log_softmax, softmax
from .ops.products import dot, einsum, matmul, outer
from .ops.reductions import logsumexp, max, mean, min, norm, prod, std, var
from .ops.shaping import (
    astype,
    broadcast_to,
    clone,
    cumsum,
    expand,
    flatten,
    flip,
    moveaxis,
    reshape,
    squeeze,
    sum,
    swapaxes,
    transpose,
    unsqueeze,
)  # fmt: skip
from .tensor import Tensor, tensor

# Operators give way to what they do not know; functions raise.
add, sub, mul, div, power, matmul = map(named_function, (add, sub, mul, div, power, matmul))
equal, not_equal, less, less_equal, greater, greater_equal = map(
    named_function, (equal, not_equal, less, less_equal, greater, greater_equal)
)

if TYPE_CHECKING:
    from .check.differences import numerical_gradient
    from .check.gradcheck import gradcheck, gradgradcheck
    from .check.report import GradcheckError, GradcheckReport
    from .inspect.draw import draw
    from .inspect.flat import flat
    from .inspect.summary import summary
    from .transforms.forward_mode import jvp
    from .transforms.hessians import hessian, hvp
    from .transforms.reverse_mode import jacobian, vjp
else:  # imported when they are first used
    __getattr__ = later(
        __name__,
        {
            "GradcheckError": "check.report",
            "GradcheckReport": "check.report",
            "draw": "inspect.draw",
            "flat": "inspect.flat",
            "gradcheck": "check.gradcheck",
            "gradgradcheck": "check.gradcheck",
            "hessian": "transforms.hessians",
            "hvp": "transforms.hessians",
            "jacobian": "transforms.reverse_mode",
            "jvp": "transforms.forward_mode",
            "numerical_gradient": "check.differences",
            "summary": "inspect.summary",
            "vjp": "transforms.reverse_mode",
        },
    )

__all__ = [
    "Context", "Function", "GradcheckError", "GradcheckReport", "Methods", "Tensor", "abs", "add",
    "astype", "broadcast_to", "cholesky", "clip", "clone", "concatenate", "cos", "cumsum", "det",
    "detect_anomaly", "diag", "diagonal", "div", "dot", "draw", "dropout", "eigh", "einsum",
    "enable_grad", "equal", "erf", "exp", "expand", "expm1", "flat", "flatten", "flip", "grad",
    "gradcheck", "gradgradcheck", "greater", "greater_equal", "hessian", "hvp", "inv",
    "is_grad_enabled", "jacobian", "jvp", "leaky_relu", "less", "less_equal", "linear", "log",
    "log1p", "log_softmax", "logdet", "logsumexp", "matmul", "max", "maximum", "mean", "min",
    "minimum", "moveaxis", "mse_loss", "mul", "neg", "nll_loss", "no_grad", "norm", "not_equal",
    "numerical_gradient", "outer", "power", "prod", "reciprocal", "relu", "repeat", "reshape",
    "sigmoid", "sign", "sin", "softmax", "softmax_ce", "softplus", "solve", "split", "sqrt",
    "square", "squeeze", "stack", "std", "sub", "sum", "summary", "svd", "swapaxes", "tanh",
    "tensor", "tile", "trace", "transpose", "tril", "triu", "unsqueeze", "var", "vjp", "where",
]  # fmt: skip


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
