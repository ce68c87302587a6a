"""Attributes that would be set in vain: another library's names, and near misses of a part's own.

Python takes any attribute, so that `optimizer.learning_rate = 0.1` would change nothing without a
word. The parts of nnlite refuse such a name and say the right one; other new attributes are taken.
Classes of a user have names of their own, so that less is refused there: see `_remark`.
"""

from __future__ import annotations

import functools
import inspect
from types import FunctionType
from typing import Any, ClassVar

_MISSING = object()
_set = object.__setattr__

# What PyTorch (and Keras) call what a part of nnlite calls otherwise, or does not have: name ->
# what to write. None: no part of the kind has it, or only others have, as an optimiser its `betas`.
PARAMETER = {
    "trainable": "requires_grad", "frozen": "requires_grad", "requires_gradient": "requires_grad",
    "gradient": "grad", "value": "data", "values": "data", "is_leaf": None, "retains_grad": None,
    "grad_fn": None, "device": None, "lr": "the lr of an optimiser of its own",
}  # fmt: skip
MODULE = {
    "requires_grad": "requires_grad_(False), which freezes every parameter",
    "trainable": "requires_grad_(False)", "frozen": "requires_grad_(False)",
    "kernel": "weight", "rate": "the p of a Dropout", "prob": "the p of a Dropout",
    "inplace": None, "dim": None, "axis": None, "device": None,
    "mode": "train() or eval()", "activation": "one as the next layer",
}  # fmt: skip
LOSS = {
    "size_average": "reduction", "reduce": "reduction",
    "class_weight": "weight", "ignore_idx": "ignore_index", "smoothing": "label_smoothing",
    "sample_weight": "the third argument of a call",
} | dict.fromkeys([
    "weight", "ignore_index", "label_smoothing", "pos_weight", "beta", "delta", "margin", "eps",
    "full", "log_input", "log_target", "blank", "zero_infinity", "p", "swap", "from_logits", "axis",
    "dim",
])  # fmt: skip
OPTIMIZER = {
    "learning_rate": "lr", "learning_rate_init": "lr", "rate": "lr",
    "param_groups": "lr, of the one group that there is", "defaults": None, "params": "parameters",
    "beta1": "betas", "beta2": "betas", "beta_1": "betas", "beta_2": "betas", "epsilon": "eps",
    "l2": "weight_decay", "max_norm": "clip_norm", "clipnorm": "clip_norm",
    "clipvalue": "clip_value", "grad_clip": "clip_norm",
} | dict.fromkeys([
    "betas", "eps", "alpha", "rho", "momentum", "nesterov", "dampening", "amsgrad", "centered",
    "weight_decay", "maximize", "foreach", "fused", "capturable", "differentiable", "lr_decay",
    "initial_accumulator_value", "lambd", "t0", "momentum_decay", "decoupled_weight_decay", "etas",
    "step_sizes", "max_iter", "max_eval", "tolerance_grad", "tolerance_change", "history_size",
    "line_search_fn",
])  # fmt: skip

_METHODS = {
    "train", "eval", "forward", "backward", "parameters", "named_parameters", "modules", "children",
    "zero_grad", "requires_grad_", "predict", "step",
}  # fmt: skip


class Named:
    """Refuses attributes that would be set in vain.

    A part gives the names of other libraries as `_foreign`, those of them that no class of a user
    needs as `_never`, and the settings that every part of its kind has as `_common`.
    """

    _foreign: ClassVar[dict[str, str | None]] = {}
    _never: ClassVar[tuple[str, ...]] = ()
    _common: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] != "_":
            kind: Any = type(self)
            found = getattr(kind, name, _MISSING)
            if found is _MISSING:
                remark = _remark(kind, name)
                if remark and name not in vars(self):  # vars() slows an object: only in need
                    raise AttributeError(f"{kind.__name__} has no {name}: {remark}")
            elif name in _METHODS and type(found) is FunctionType and not callable(value):
                raise AttributeError(
                    f"{kind.__name__}: {name} is a method: call {name}(...), or take another name"
                )
        _set(self, name, value)


@functools.lru_cache(4096)
def _remark(kind: Any, name: str) -> str | None:
    """What is wrong with a new attribute of a class, or None.

    A class of nnlite has the attributes that it documents: a name of another library, or a near
    miss, does nothing there. A class of a user may call its own attributes as it likes, but for the
    few names in `_never` and near misses of what all parts of the kind have.
    """
    ours = kind.__module__.partition(".")[0] == "nnlite"
    own = _settings(kind) if ours else list(kind._common)
    if name in own:
        return None
    if name in kind._foreign and (ours or name in kind._never):
        instead = kind._foreign[name]
        known = ", ".join(sorted(_settings(kind))) or "no settings"
        return f"it would change nothing; it has {known}" if instead is None else f"set {instead}"
    near = _nearest(name, own, 0.8 if ours else 0.87)
    if near:
        return f"did you mean {near}?"
    foreign = [n for n in kind._foreign if len(n) > 5 and (ours or n in kind._never)]
    near = _nearest(name, foreign, 0.87)  # a near miss of a name that nnlite itself has not
    return _remark(kind, near) if near else None


def _settings(kind: Any) -> list[str]:
    """Public attributes that hold data: arguments of the constructor and documented ones."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    arguments = inspect.signature(kind).parameters.values()
    found = {p.name for p in arguments if p.kind in named} - {"params", "data"}
    for base in kind.__mro__[:-1]:
        found |= {*vars(base).get("__annotations__", {})}
        found |= {n for n, value in vars(base).items() if not isinstance(value, _CODE)}
    return [name for name in found if name[0] != "_"]


_CODE = (FunctionType, classmethod, staticmethod)


def _nearest(name: str, own: list[str], cutoff: float) -> str | None:
    """The attribute that was meant; weight2 beside weight is a name of its own."""
    import difflib

    if name.rstrip("_0123456789") in own:
        return None
    lower = {key.lower(): key for key in sorted(own)}
    near = difflib.get_close_matches(name.lower(), lower, 1, cutoff)
    return lower[near[0]] if near else None
