"""The base of all optimisers: parameters, their segments in the arenas, settings and state."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import numpy as np

from .._core import check, native
from .._core.config import _State
from .._core.names import OPTIMIZER, Named
from .._core.settings import settings
from ..autograd.node import tick
from ..autograd.tensor import Tensor
from ..nn.parameter import Parameter, Segment, Structure, aligned_zeros, padded, segments


class Common(TypedDict, total=False):
    """Settings that every optimiser takes by keyword alone; Optimizer describes them."""

    decay_bias: bool
    l1: float
    clip_norm: float | None
    clip_value: float | None
    maximize: bool


RUNNING = ("steps", "power1", "power2", "warmth", "mu_product")  # what a step advances, in files

# Fields of nnl_optimizer that have another name in files.
FIELDS = {"warmth": "momentum_decay_power", "warming": "momentum_decay_factor"}

MOST_FACTORS = 1_000_000  # of a product that is made again; it is 0 or so by then


class Setting:
    """A setting that can be read as an attribute; it is fixed when the optimiser is made."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type) -> Any:
        return self if optimizer is None else optimizer._settings[self.name]

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        raise AttributeError(
            f"{type(optimizer).__name__}: {self.name} is fixed; make a new optimiser with it "
            "(lr alone may be set between steps)"
        )


class Optimizer(Named):
    """Changes parameters by their gradients.

    A step sees the gradient of loss + weight_decay / 2 ||w||^2 + l1 ||w||_1, where the gradient of
    the loss is first clipped by value and then by its global norm:
    g = clip(grad) min(1, clip_norm / (||clip(grad)|| + 1e-6)) + weight_decay w + l1 sign(w).
    The arrays `Parameter.grad` are not changed by that. A norm that is not finite gives, as in
    PyTorch, a factor of 0 (infinite) or NaN.

    Every optimiser takes these by keyword:

    Args:
        params: Parameters, or an iterable of them, as from `model.parameters()`.
        lr: learning rate per step, at least 0.
        weight_decay: at least 0.
        decay_bias: True applies weight_decay and l1 to every parameter, as PyTorch does; by
            default those named "bias" are exempt, for they cannot overfit and often must grow.
        l1: at least 0; the gradient of |w| at 0 is 0.
        clip_norm: largest Euclidean norm of all gradients together, above 0; None: no limit.
        clip_value: largest size of an element of the gradient, above 0; None: no limit.
        maximize: ascend instead of descending.

    Attributes:
        parameters: the list of Parameters.
        lr: the learning rate, may be set between steps.
        initial_lr: the rate that schedules start from: lr as given or last assigned.
        state: dict of flat arrays by name, over all parameters in order, each padded to 64 bytes.
        steps: updates done.

    Raises:
        TypeError: an item is not a Parameter, dtypes are mixed, or a setting is no number.
        ValueError: there is no parameter, one stands twice, or a setting is out of range.
    """

    _foreign = OPTIMIZER
    _common = ("lr", "parameters", "state", "initial_lr", *Common.__annotations__, "weight_decay")

    parameters: list[Parameter]
    dtype: np.dtype
    state: dict[str, np.ndarray]
    initial_lr: float

    weight_decay, decay_bias, l1 = Setting(), Setting(), Setting()
    clip_norm, clip_value, maximize = Setting(), Setting(), Setting()

    _rule = 0  # enum nnl_rule; 0: a subclass that defines step

    def __init__(
        self,
        params: Iterable[Parameter] | Parameter,
        lr: float,
        *,
        weight_decay: float = 0.0,
        decay_bias: bool = False,
        l1: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        maximize: bool = False,
    ) -> None:
        self.parameters = checked_parameters(type(self).__name__, params)
        self.dtype = self.parameters[0].dtype
        self._settings: dict[str, Any] = {}
        self._add(
            weight_decay=self._number("weight_decay", weight_decay),
            decay_bias=self._flag("decay_bias", decay_bias),
            l1=self._number("l1", l1),
            clip_norm=None if clip_norm is None else self._number("clip_norm", clip_norm, True),
            clip_value=None if clip_value is None else self._number("clip_value", clip_value, True),
            maximize=self._flag("maximize", maximize),
        )
        self.state = {}
        self.initial_lr = self._number("lr", lr)
        self._segments: list[Segment] = []
        self._structure: Any = None  # Structure.token when the segments were looked for
        self._arenas: list[Any] = []  # of all parameters, when the segments were found
        self._missed = [0] * len(self.parameters)  # steps for which each was frozen
        self._frozen, self._since = [False] * len(self.parameters), 0  # which are, since which step
        self._native_segments: Any = None
        self._numbers = native.optimizer(
            rule=self._rule, flags=native.MAXIMIZE if maximize else 0,
            lr=self._number("lr", lr),
            clip_norm=self.clip_norm or 0.0, clip_value=self.clip_value or 0.0,
            power1=1.0, power2=1.0, momentum_decay_power=1.0, mu_product=1.0,
        )  # fmt: skip

    def __init_subclass__(cls, **options: Any) -> None:
        """Shows the settings behind **common in the signature of the class."""
        super().__init_subclass__(**options)
        ours = inspect.signature(Optimizer).parameters
        _, *own = inspect.signature(cls.__init__).parameters.values()
        if own and own[-1].name == "common":
            own[-1:] = [ours[name] for name in Common.__annotations__]
        setattr(cls, "__signature__", inspect.Signature(own))  # noqa: B010

    # For the constructors of subclasses.

    def _number(self, name: str, value: Any, above: bool = False, below: float = 0.0) -> float:
        """A finite number >= 0 (or > 0), and < `below` unless that is 0."""
        kind = type(self).__name__
        result = check.number(kind, name, value, 0, above=above)
        if below and result >= below:
            raise ValueError(f"{kind}: {name}: expected a number below {below:g}, got {value}")
        return result

    def _flag(self, name: str, value: Any) -> bool:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(
                f"{type(self).__name__}: {name}: expected True or False, "
                f"got {check.describe(value)}"
            )
        return bool(value)

    def _add(self, **settings: Any) -> None:
        self._settings = {**settings, **self._settings}

    def _keep(self, *names: str) -> None:
        """Makes the rule's state arrays, zero, in the order of the C kernel."""
        total = sum(padded(p.size, p.dtype) for p in self.parameters)
        self.state = {name: aligned_zeros(total, self.dtype) for name in names}

    def _set(self, flags: int = 0, **numbers: float) -> None:
        """Writes the rule's numbers for C."""
        self._numbers.flags |= flags
        for name, value in numbers.items():
            setattr(self._numbers, name, value)

    # Training.

    @property
    def lr(self) -> float:
        """The learning rate; may be set between steps, also to 0."""
        return self._numbers.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._numbers.lr = self.initial_lr = self._number("lr", value)

    def _set_rate(self, rate: float) -> None:
        """What a schedule does: sets lr and leaves initial_lr."""
        self._numbers.lr = rate

    @property
    def grad_norm(self) -> float:
        """With clip_norm: the norm of the gradients in the last step, before clipping by it."""
        return self._numbers.grad_norm

    @property
    def steps(self) -> int:
        """Updates done."""
        return self._numbers.steps

    def _decay(self, p: Parameter) -> tuple[float, float]:
        """(weight_decay, l1) of a parameter."""
        exempt = p.name == "bias" and not self.decay_bias
        return (0.0, 0.0) if exempt else (self.weight_decay, self.l1)

    def segments(self) -> list[Segment]:
        """The trained parameters as they lie in the arenas now, parted where weight decay
        differs.

        Raises:
            ValueError: a parameter is no longer its module's.
        """
        token = Structure.token
        if self._structure is token and self._segments:
            return self._segments
        self._require_held()
        if not self._arenas or any(arena.retired for arena in self._arenas):
            self._native_segments = None
            self._count_missed()
            missed = dict(zip(map(id, self.parameters), self._missed, strict=True))
            self._segments = segments(self.parameters, lambda p: (*self._decay(p), missed[id(p)]))
            self._arenas = list({id(p._arena): p._arena for p in self.parameters}.values())
        self._structure = token
        return self._segments

    def _require_held(self) -> None:
        """Raises where a module got another parameter in the place of one that is trained here."""
        for p in self.parameters:
            if p._lost and p._homes <= 0:
                raise ValueError(
                    f"{type(self).__name__}: the parameter {p._lost} was replaced by another after "
                    "the optimiser was made, which still has the old one; make the optimiser anew "
                    "from model.parameters(), or set the values: parameter.data = array"
                )

    def _count_missed(self) -> None:
        """Adds the steps since the last look to the parameters that were frozen meanwhile."""
        for i, frozen in enumerate(self._frozen):
            self._missed[i] += (self.steps - self._since) if frozen else 0
        self._since = self.steps
        self._frozen = [not p.requires_grad for p in self.parameters]

    def _scalars_after(self, steps: int) -> dict[str, float]:
        """The running scalars after so many steps, as `advance` in Optimizer.c makes them."""
        o = self._numbers
        power1 = power2 = decay = mu_product = 1.0
        for _ in range(min(steps, MOST_FACTORS)):
            before = power1, power2, decay, mu_product
            power1, power2 = power1 * o.beta1, power2 * o.beta2
            if o.rule == native.RULE_NADAM:
                decay *= o.momentum_decay_factor
                mu_product *= o.beta1 * (1 - 0.5 * decay)
            if before == (power1, power2, decay, mu_product):
                break  # all have reached their limits
        scalars = {"power1": power1, "power2": power2, "mu_product": mu_product}
        return {**scalars, "momentum_decay_power": decay}

    def _native_step(self) -> tuple[Any, int, Any]:
        """(segments, their count, optimiser) for C, as the parameters lie in the arenas now."""
        found = self.segments()
        made = self._native_segments
        if made is None:
            made = self._native_segments = native.segments([
                (part.data, part.grad,
                 [array[part.offset : part.offset + part.count] for array in self.state.values()],
                 *part.group[:2])
                for part in found
            ])  # fmt: skip
            for segment, part in zip(made, found, strict=True):
                segment.late = late = part.group[2]
                for name, value in self._scalars_after(self.steps - late).items() if late else ():
                    setattr(segment, name, value)
        return made, len(made), self._numbers  # of one object: other threads may prepare anew

    def _is_prepared(self, segments: Any) -> bool:
        """True while these are the segments that `_native_step` would give."""
        held = self._structure is Structure.token  # when `segments` was called, and nothing moved
        return held and segments is self._native_segments and bool(self._segments)

    def step(self) -> None:
        """Changes every parameter that is not frozen by its gradient, once."""
        parts, count, numbers = self._native_step()
        status = native.KERNELS[self.dtype].Optimizer_update(count, parts, numbers, _State.threads)
        if status:
            native.fail(f"{type(self).__name__}.step", status)
        for part in self._segments:
            part.arena.changed[0] = tick()

    def zero_grad(self) -> None:
        """Sets the gradients of the parameters to zero; frozen ones have none."""
        for part in self.segments():
            part.grad.fill(0)

    # State, for files and copies.

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on besides parameters and gradients.

        Returns:
            A dict of JSON-able values (class, settings, running scalars, and where parameters were
            frozen the steps that each missed) and of the state arrays by name, copied.
        """
        return {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in self._live_state().items()
        }

    def _live_state(self) -> dict[str, Any]:
        """`state_dict` with the arrays themselves, to be written at once."""
        self._count_missed()
        missed = {"missed": list(self._missed)} if any(self._missed) else {}
        return {
            **missed,
            "optimizer": type(self).__name__,
            "settings": settings(self, skip=("params",)),
            "initial_lr": self.initial_lr,
            **{name: getattr(self._numbers, FIELDS.get(name, name)) for name in RUNNING},
            **self.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` returned: settings, running scalars and arrays.

        Args:
            state: of an optimiser of this class over parameters of the same sizes and dtype.

        Raises:
            TypeError, ValueError: something is missing, unknown, of another type or shape or out of
                range; nothing has changed.
        """
        operation = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state, Mapping) or state.get("optimizer") != type(self).__name__:
            kind = state.get("optimizer") if isinstance(state, Mapping) else type(state).__name__
            raise ValueError(f"{operation}: expected a state of {type(self).__name__}, got {kind}")
        own = settings(self, skip=("params",))
        check.keys(f"{operation}: settings", state.get("settings"), set(own))
        twin = type(self)(self.parameters, **state["settings"])
        known = {"optimizer", "settings", "initial_lr", *RUNNING, *twin.state}
        check.keys(operation, state, known | ({"missed"} & set(state)))
        for name in twin.state:
            check.same_shape(operation, name, state[name], twin.state[name], "its own")
        twin.initial_lr = check.number(operation, "initial_lr", state["initial_lr"], 0)
        steps, *scalars = RUNNING
        twin._set(steps=check.size(operation, steps, state[steps], 0))
        for name in scalars:
            number = check.number(operation, name, state[name], 0, 1)
            twin._set(0, **{FIELDS.get(name, name): number})
        twin._since, missed = twin.steps, list(state.get("missed", twin._missed))
        twin._missed = [check.size(operation, "missed", count, 0) for count in missed]
        if len(missed) != len(self.parameters) or max(missed) > twin.steps:
            raise ValueError(
                f"{operation}: missed: expected {len(self.parameters)} counts of at most "
                f"{twin.steps} steps"
            )
        for name, array in twin.state.items():
            array[...] = state[name]
        vars(self).update(vars(twin))

    def __getstate__(self) -> dict[str, Any]:
        numbers = native.optimizer_numbers(self._numbers)
        numbers.update({name: numbers.pop(field) for name, field in FIELDS.items()})
        return {
            **vars(self), "_segments": [], "_arenas": [], "_native_segments": None,
            "_structure": None, "_numbers": numbers,
        }  # fmt: skip

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        numbers = {FIELDS.get(name, name): value for name, value in state["_numbers"].items()}
        self._numbers = native.optimizer(**numbers)
        # What lay aligned lies so again.
        self.state = {name: aligned_copy(array) for name, array in self.state.items()}

    def __repr__(self) -> str:
        own = {name: value for name, value in self._settings.items() if value not in (0, None)}
        text = ", ".join(f"{name}={value}" for name, value in {"lr": self.lr, **own}.items())
        return f"{type(self).__name__}({text})"


def checked_parameters(operation: str, params: Any) -> list[Parameter]:
    """The parameters as a list: at least one, each once, of one dtype."""
    if hasattr(params, "parameters"):
        raise TypeError(
            f"{operation}: params: expected Parameters, got a module; pass model.parameters()"
        )
    single = isinstance(params, (Parameter, Tensor, np.ndarray, dict))
    try:
        found = [params] if single else list(params)
    except TypeError:
        found = [params]
    for p in found:
        if not isinstance(p, Parameter):
            raise TypeError(
                f"{operation}: params: expected Parameters, got {check.describe(p)}; {_instead(p)}"
            )
    if not found:
        raise ValueError(f"{operation}: params: expected at least one Parameter, got none")
    if len({id(p) for p in found}) < len(found):
        raise ValueError(f"{operation}: params: a Parameter stands twice; pass each once")
    if any(p.dtype != found[0].dtype for p in found):
        raise TypeError(f"{operation}: params: expected one dtype; make an optimiser for each")
    return found


def _instead(p: Any) -> str:
    """What to pass in place of what is no Parameter."""
    if isinstance(p, (Tensor, np.ndarray)):
        return (
            "make it one, w = nn.Parameter(array), and compute with w; or change a Tensor by hand, "
            "x.data -= lr * x.grad"
        )
    if isinstance(p, dict):
        return "for groups with settings of their own make an optimiser for each"
    return "pass model.parameters()"


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A copy that starts at a multiple of 64 bytes."""
    made = aligned_zeros(array.size, array.dtype)
    made[...] = array
    return made
