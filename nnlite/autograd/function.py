"""Function: an operation of the user's own, with forward, backward and perhaps a tangent."""

from __future__ import annotations

from typing import Any

import numpy as np

from .engine import run
from .node import FORWARD, GRAD, Mode, state
from .operands import as_tensor, on_graph, value_of
from .operation import Operation, Outputs, apply_many
from .recording import record
from .tensor import Tensor, wrap


class Context:
    """What forward hands to backward: saved tensors, and any attributes of its own."""

    def __init__(self) -> None:
        self._saved: tuple = ()
        self._times: list[int] = []
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps inputs or outputs for backward, and notices when they are changed in place."""
        for i, x in enumerate(tensors):
            if x is not None and not on_graph(x):
                raise TypeError(
                    f"save_for_backward: argument {i}: expected a Tensor or None, got "
                    f"{type(x).__name__}; keep it as an attribute: ctx.name = value"
                )
        self._saved = tuple([None if x is None else as_tensor(x) for x in tensors])
        self._times = [0 if x is None else x._changed[0] for x in self._saved]

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What save_for_backward got.

        Raises:
            RuntimeError: a saved tensor was changed in place since.
        """
        for x, time in zip(self._saved, self._times, strict=True):
            if x is not None and x._changed[0] != time:
                raise RuntimeError(
                    "saved_tensors: a saved tensor was changed in place after forward; "
                    "change a clone(), or call backward first"
                )
        return self._saved


class Function:
    """An operation of the user's own, called by `apply`.

        class Multiply(nn.autograd.Function):
            @staticmethod
            def forward(ctx, x, y):
                ctx.save_for_backward(x, y)
                return x * y

            @staticmethod
            def backward(ctx, grad):
                x, y = ctx.saved_tensors
                return y * grad, x * grad

        z = Multiply.apply(x, y)

    `forward` gets a context and the arguments of `apply` and returns a Tensor or a tuple of them;
    calls inside it are not recorded. `backward` gets the context and the gradient of each output
    and returns one for each argument of forward, None for what is no Tensor. When it is written
    with Tensor operations of saved inputs, second derivatives follow. `jvp`, optional, gets the
    context and the tangent of each argument (None: zero) and returns that of each output.
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("a Function needs a static method forward(ctx, ...)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("a Function needs a static method backward(ctx, grad)")

    jvp: Any = None
    _operation: Any = None

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Calls forward and records the call."""
        ctx = Context()
        args = tuple([as_tensor(a) if on_graph(a) else a for a in args])
        tensors = tuple([a for a in args if type(a) is Tensor])
        ctx.needs_input_grad = tuple([type(a) is Tensor and a._edge is not None for a in args])
        with Mode(off=GRAD | FORWARD):
            made = cls.forward(ctx, *args)
        outs = made if isinstance(made, tuple) else (made,)
        results = [_result(cls, y) for y in outs]
        if not state.mode or all(x._edge is None for x in tensors):
            return tuple(results) if isinstance(made, tuple) else results[0]
        op = cls._as_operation()
        places = tuple([i for i, a in enumerate(args) if type(a) is Tensor])
        rest = tuple([None if type(a) is Tensor else a for a in args])
        if isinstance(made, tuple):
            values = tuple([y._data for y in results])
            several = apply_many(op, *tensors, params=(ctx, places, rest, values))
            _relink(ctx, results, several)
            return several
        (out,) = results
        record(op, out, tensors, (ctx, places, rest, None))
        return out

    @classmethod
    def _as_operation(cls) -> Any:
        """The Operation that records calls of this class; made once."""
        if "_operation" not in vars(cls):
            cls._operation = type(cls.__name__, (_Call,), {"function": cls, "name": cls.__name__})
        return cls._operation


def _result(cls: type, y: Any) -> Tensor:
    """An output of forward as a Tensor of its own."""
    if not on_graph(y) and not isinstance(y, (np.ndarray, np.generic, float, int)):
        raise TypeError(
            f"{cls.__name__}.forward: expected a Tensor or an array, got {type(y).__name__}"
        )
    t = as_tensor(y) if on_graph(y) else wrap(np.asarray(y))
    if t._edge is None:
        return t
    own = wrap(t._data)  # an input that is returned as it came
    own._changed = t._changed
    return own


def _relink(ctx: Context, before: list[Tensor], after: tuple[Tensor, ...]) -> None:
    """Nothing is recorded inside forward: a saved output stays a value without history."""
    for old, new in zip(before, after, strict=True):
        new._changed = old._changed = [0] if len(old._changed) == 1 else old._changed
    ctx._times = [0 if x is None else x._changed[0] for x in ctx._saved]


class _Call(Operation):
    """A recorded call of a Function."""

    function: Any

    @classmethod
    def forward(cls, *args: Any) -> Any:
        """The values of the call that is being recorded; or, for pictures, of a call once more."""
        *arrays, ctx, places, rest, values = args
        if values is not None:
            return values
        full = list(rest)
        for i, x in zip(places, arrays, strict=True):
            full[i] = wrap(x)
        again = Context()
        again.needs_input_grad = ctx.needs_input_grad
        with Mode(off=GRAD | FORWARD):
            return as_tensor(cls.function.forward(again, *full))._data

    @classmethod
    def vjp(cls, g: Any, need: Any, *params: Any) -> Any:
        if type(g) is not Tensor and not _holds_tensors(g):
            with Mode(off=GRAD | FORWARD):
                grads = cls._gradients(g, need, *params)
            return tuple([None if x is None else x._data for x in grads])
        return cls._gradients(g, need, *params)

    @classmethod
    def _gradients(cls, g: Any, need: Any, *params: Any) -> Any:
        ctx, places, rest, _ = params[-4:]
        count = len(rest)
        outs = [wrap(np.asarray(x)) if x is not None and type(x) is not Tensor else x
                for x in (g if isinstance(g, Outputs) else (g,))]  # fmt: skip
        grads = cls.function.backward(ctx, *outs)
        if not isinstance(grads, tuple):
            grads = (grads,)
        name = cls.function.__name__
        if len(grads) != count:
            raise RuntimeError(
                f"{name}.backward: expected {count} gradients, one for each argument of forward, "
                f"got {len(grads)}"
            )
        return tuple([_checked(name, i, grads[i], p) for i, p in zip(places, need, strict=True)])

    @classmethod
    def jvp(cls, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
        if cls.function.jvp is None:
            return super().jvp(tangents, inputs, out, params)
        ctx, places, rest, _ = params
        full: list[Any] = [None] * len(rest)
        for i, t in zip(places, tangents, strict=True):
            full[i] = t
        return cls.function.jvp(ctx, *full)


def _holds_tensors(g: Any) -> bool:
    return isinstance(g, Outputs) and any(type(x) is Tensor for x in g)


def _checked(name: str, index: int, grad: Any, need: Any) -> Any:
    """A gradient that the user's backward returned, where one is needed."""
    if need is None or grad is None:
        return None
    grad = as_tensor(grad)
    if grad.shape != need.shape:
        raise RuntimeError(
            f"{name}.backward: gradient {index}: expected shape {need.shape}, got {grad.shape}"
        )
    if grad.dtype != need.dtype:
        from .ops.shaping import astype

        grad = astype(grad, need.dtype)
    return grad


__all__ = ["Context", "Function", "run", "value_of"]
