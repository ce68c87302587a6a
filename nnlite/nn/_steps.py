"""How a module computes: forward and backward, of arrays and of Tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .._core import check
from .._core.names import Named
from ..autograd.inspect.blocks import in_block
from ..autograd.node import RECORD, enable_grad, no_grad, state
from ..autograd.operands import as_tensor, on_graph
from ..autograd.tensor import Tensor, wrap
from ._graph import module_call
from ._pending import Graph, Pending, leaf_of
from .parameter import Structure

# What a class of the user may define anew: no program of the library's code stands for it then.
_STEPS = (
    "__call__", "forward", "backward", "_run", "_grad", "_formula", "_check_grad",
)  # fmt: skip


class Steps(Named):
    """Forward and backward, for `Module`."""

    training = True
    _saved: Any = None  # [what the last forward kept], empty once it was taken
    _forwards = 0  # forwards since the last backward
    _program: Any = None  # of predict
    _refused: Any = None  # the rows last found to have no program
    _forward_program: Any = None  # the program of forward and backward
    _forward_rows: Any = None  # the rows for which one was last looked for
    _written = False  # whether a class of the user defines `_run` or `_grad`
    _runs_user_code = False  # whether its formula calls what the user wrote
    _operation: ClassVar[str] = ""  # in messages; the name of the class unless it is given

    if TYPE_CHECKING:
        modules: Any
        train: Any
        forget: Any
        _dtype: Any
        _infer: Any

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        cls._written = not (_is_ours(cls._run) and _is_ours(cls._grad))

    def __call__(self, *args: Any, **named: Any) -> Any:
        if len(args) == 1 and not named:  # the usual cases
            x = args[0]
            if type(x) is np.ndarray:
                return self.forward(x)
            if type(x) is Tensor and not state.mode & RECORD:
                return in_block(type(self).__name__, self.forward, x)
        try:
            for x in args:
                if type(x) is not np.ndarray and on_graph(x):
                    if state.mode & RECORD:
                        state.tape.depends_on(self)
                    return in_block(type(self).__name__, self.forward, *args, **named)
            return self.forward(*args, **named)
        except TypeError:
            count = len(args) + len(named)
            if count == 1 or type(self).forward is not Steps.forward:
                raise
        raise TypeError(
            f"{type(self).__name__}: expected one argument, x, got {count}; a module of your own "
            "may have a forward of several"
        )

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The output for a batch of rows; in training mode keeps what backward needs.

        Args:
            x: a C-contiguous array of the module's dtype; or a Tensor, for a Tensor whose graph
                does backward's work.

        Raises:
            TypeError, ValueError: dtype or shape do not fit; nothing is kept then.
        """
        if type(x) is not np.ndarray and (type(x) is Tensor or on_graph(x)):
            t = x if type(x) is Tensor else as_tensor(x)
            if self._written:
                return module_call(self, t)
            y: Any = self._formula(t)
            return y if type(y) is Tensor else self._checked(y)  # type: ignore[return-value]
        if self.training:
            return self._run(x, True)
        usual = type(self).forward is Steps.forward and type(x) is np.ndarray and x.flags.carray
        return self._infer(x) if usual else self._run(x, False)

    def _formula(self, x: Tensor) -> Any:
        """The output of a Tensor, by operations of nnlite.autograd."""
        raise TypeError(f"{type(self).__name__} must define forward and backward, or _run, _grad")

    def _checked(self, y: Any) -> Tensor:
        if not on_graph(y):
            raise TypeError(
                f"{self!r}: expected it to compute a Tensor from x, got {check.describe(y)}; "
                "compute with operators, methods of Tensors and functions of nnlite"
            )
        return as_tensor(y)

    def backward(self, grad_output: np.ndarray) -> np.ndarray:
        """The gradient of the input; adds to `parameter.grad`.

        Args:
            grad_output: the gradient of the loss by the output of the last forward.

        Raises:
            RuntimeError: no forward in training mode since the last backward, or more than one.
            TypeError, ValueError: grad_output does not fit that output. No gradient has changed.
        """
        return self._backward(grad_output, True)

    # The steps of forward and backward.

    def _run(self, x: np.ndarray, keep: bool) -> np.ndarray:
        if not keep:
            return self._values(x)
        program = self._forward_program
        if program is None or not program.fits(x):
            program = self._recorded(x)
        if program is None:
            return self._step(x)
        y, saved = program.forward(x)
        self._keep(saved)
        return y

    def _recorded(self, x: np.ndarray) -> Any:
        """The program of forward and backward for such rows, or None.

        It is recorded at first sight where there are parameters, whose gradients go on from what is
        there by the same kernel every time; else at the second.
        """
        if type(x) is not np.ndarray or not x.flags.carray or not x.ndim * x.size:
            return None
        own, kind = vars(self), (Structure.token, x.dtype, x.shape[1:])
        program = self._forward_program
        changed = program is not None and program.takes(x)
        seen = self._forward_rows == (kind, True) and not changed
        if seen or (self._forward_rows != (kind, False) and not changed and self._dtype() is None):
            own["_forward_rows"] = kind, seen
            return None
        own["_forward_rows"] = kind, True
        own["_forward_program"] = _pass_of(self, x)
        return self._forward_program

    def _step(self, x: np.ndarray, call: Any = None, want_input: bool = True) -> np.ndarray:
        """The output by the graph of a call on a Tensor, which is kept."""
        self._check_input(x)
        leaf = leaf_of(x) if want_input else wrap(x)
        with enable_grad():
            out = self._in_mode(True, call, leaf)
        if type(out) is not Tensor:
            raise TypeError(
                f"{type(self).__name__}.forward: expected it to return a Tensor computed from x, "
                f"got {check.describe(out)}; compute with Tensors throughout, or define "
                "backward() too"
            )
        self._keep(Graph(self, leaf, out))
        return _array_of(out, x)

    def _values(self, x: np.ndarray, call: Any = None) -> np.ndarray:
        """The output of a call on a Tensor, of which nothing is kept."""
        self._check_input(x)
        with no_grad():
            y = self._in_mode(False, call, wrap(x))
        found = as_tensor(y) if on_graph(y) else y
        if not isinstance(found, (Tensor, np.ndarray)):
            raise TypeError(
                f"{type(self).__name__}.forward: expected it to return a Tensor, got "
                f"{check.describe(found)}"
            )
        return _array_of(found, x)

    def _in_mode(self, training: bool, call: Any, x: Tensor) -> Any:
        """The result of a call, by default the formula, with all modules here and below in that
        mode."""
        others = [module for module in self.modules() if module.training is not training]
        try:
            for module in others:
                module.training = training
            return self._checked(self._formula(x)) if call is None else call(x)
        finally:
            for module in others:
                module.training = not training

    def _check_input(self, x: Any) -> None:
        """Refuses what is no plain array of rows of the module's dtype."""
        check.floats(self._operation or type(self).__name__, "x", x)

    def _call(self, x: np.ndarray, keep: bool) -> np.ndarray:
        """The output, for a chain, a trainer or predict: by forward where a subclass has its own.

        Backward can follow only when `keep` is true, whatever the module's mode is.
        """
        if type(self).forward is Steps.forward:
            return self._run(x, keep)
        if type(self).backward is Steps.backward:
            return self._step(x, self.forward) if keep else self._values(x, self.forward)
        modes = [(module, module.training) for module in self.modules()]
        self.train(keep)
        try:
            y = self.forward(x)
        finally:
            for module, mode in modes:
                module.training = mode
        if keep:
            vars(self).update(_saved=self._saved or [None], _forwards=1)
        return y

    def _call_backward(self, grad_output: np.ndarray, want_input: bool) -> Any:
        """The gradient of the input after `_call`: by backward where a subclass has its own."""
        if type(self).backward is Steps.backward:
            return self._backward(grad_output, want_input)
        grad_input = self.backward(grad_output)
        self.__dict__["_forwards"] = 0
        return grad_input

    def _grad(self, saved: Any, grad_output: np.ndarray, want_input: bool) -> Any:
        if not isinstance(saved, Pending):
            raise TypeError(
                f"{type(self).__name__} must define forward and backward, or _run and _grad"
            )
        return saved.backward(grad_output, want_input)

    def _check_grad(self, saved: Any, grad_output: np.ndarray) -> None:
        """Refuses a gradient that does not fit the kept forward; default: the shape of `saved`."""
        operation = f"{type(self).__name__}.backward"
        check.same_shape(operation, "grad_output", grad_output, saved, "the output of forward")

    def _keep(self, saved: Any) -> None:
        holder = [saved]
        for space in saved.spaces if isinstance(saved, Pending) else (self.__dict__,):
            space["_saved"] = holder
            space["_forwards"] = space.get("_forwards", 0) + 1

    def _check_pending(self) -> None:
        """Requires exactly one forward since the last backward."""
        count, name = self._forwards, type(self).__name__
        if count == 1:
            return
        if count == 0:
            raise self._nothing_pending()
        self.forget()
        raise RuntimeError(
            f"{name}.backward: forward ran {count} times since the last backward, so it is not "
            "known which one is meant. Call backward after each forward, predict() or eval() "
            "for passes without backward, forget() to drop a forward, or one module for each place "
            "and thread"
        )

    def _nothing_pending(self) -> RuntimeError:
        mode = "" if self.training else "; the module is in eval mode, call train() first"
        return RuntimeError(
            f"{type(self).__name__}.backward: no forward since the last backward{mode}: "
            "call forward(x), then backward(gradient of its output)"
        )

    def _take(self) -> Any:
        """What the one pending forward kept. Nobody else gets it: another thread may call this
        module, so what is checked and what is used must be one object."""
        own = self.__dict__
        if self._forwards != 1:
            self._check_pending()
        try:
            saved = self._saved.pop()
        except (AttributeError, IndexError):  # another thread was quicker
            own["_forwards"] = 0
            raise self._nothing_pending() from None
        if not isinstance(saved, Pending):
            self._check_pending()
            own["_forwards"] = 0
            return saved
        spaces = saved.spaces
        if spaces[0] is not own:  # of a chain that this is a layer of
            saved.unfold()
            return self._take()
        for space in spaces:
            if space["_forwards"] != 1:
                self._check_pending()
        for space in spaces:
            space["_forwards"] = 0
        return saved

    def _spaces(self) -> list[dict[str, Any]]:
        """The attributes of the modules whose turn it is after a forward."""
        return [vars(self)]

    def _backward(self, grad_output: np.ndarray, want_input: bool) -> Any:
        saved = self._take()
        try:
            self._check_grad(saved, grad_output)
        except BaseException:
            self._keep(saved)
            raise
        return self._grad(saved, grad_output, want_input)

    def _backward_from_loss(self, grad_output: np.ndarray) -> None:
        """Backward for a trainer: the gradient of the model's input is not computed."""
        self._call_backward(grad_output, False)


def is_own_layer(module: Any) -> bool:
    """Whether all that this module does is the library's code, and not the user's."""
    kind = type(module)
    return all(_is_ours(getattr(kind, name)) for name in _STEPS)


def _is_ours(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("nnlite.")


def has_tensor_forward(model: Any) -> bool:
    """Whether a module of the model defines forward alone: its gradient comes from the graph."""
    return any(
        type(m).forward is not Steps.forward and type(m).backward is Steps.backward
        for m in model.modules()
    )


def _pass_of(model: Any, x: np.ndarray) -> Any:
    """The program of forward and backward of the library's own layers, or None."""
    if not all(is_own_layer(m) and not m._runs_user_code for m in model.modules()):
        return None
    from ..program.passes import recorded

    return recorded(model, x)


def _array_of(y: Any, x: np.ndarray) -> np.ndarray:
    """The values of an output as an array that is not the input."""
    found = y._data if type(y) is Tensor else y
    if not found.flags.c_contiguous or np.may_share_memory(found, x):
        return np.array(found, order="C")
    return found
