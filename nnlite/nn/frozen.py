"""A model for inference alone."""

from __future__ import annotations

import copy
from typing import Any, NoReturn

import numpy as np

from .._core import check
from .._core.config import _State
from ..autograd.node import Unsupported
from ._graph import calls_alone
from .module import PREDICT_ROWS, Module, in_chunks
from .parameter import drop_gradients

MOST_PROGRAMS = 8  # shapes of rows whose programs are kept

REFUSED = {
    "forward": "predict(x), or the call, gives the output",
    "backward": "gradients need the model that it was made of",
    "train": "train the model that it was made of, and freeze that again",
    "zero_grad": "it has no gradients",
    "requires_grad_": "train the model that it was made of, and freeze that again",
    "parameters": "it has none to train; state_dict() has copies of its values",
    "named_parameters": "it has none to train; state_dict() has copies of their values",
    "load_state_dict": "load into the model that it was made of, and freeze that again",
    "load_extra_state": "load into the model that it was made of, and freeze that again",
    "register_buffer": "register it in the model, and freeze that again",
}


class Frozen:
    """A copy of a model that only predicts; what `model.freeze()` returns.

    Its weights are packed once in the order in which the matrix product of this processor reads
    them. Outputs have the bits of `model.predict` at the time of the copy, for any batch size,
    number of threads and instruction set, and no later change of the model reaches them.

    Args:
        model: copied, in evaluation mode.

    Attributes:
        why_eager: None, or why the rows last seen run by Python's forward instead of as a program
            in C: what stopped the recording, with the line.

    Raises:
        TypeError: model is no Module, or an attribute of a module of your own cannot be copied.

    Notes:
        May be called by many threads at once, and after a fork; forwards that run as Python take
        turns. Takes the memory of the weights twice: as they are, and packed.
    """

    training = False
    why_eager: str | None
    _model: Module
    _dtype: np.dtype | None
    _program: Any  # of the rows last seen
    _programs: dict[tuple[Any, ...], tuple[Any, str | None]]  # and why there is none
    _packs: dict[tuple[Any, ...], Any]

    def __init__(self, model: Module) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Frozen: model: expected a Module, got {check.describe(model)}")
        try:
            own = copy.deepcopy(model)
        except TypeError as error:
            raise TypeError(
                f"freeze: {type(model).__name__} holds what cannot be copied: {error}; give its "
                "class a __getstate__ that leaves it out"
            ) from None
        self._begin(own)

    def _begin(self, model: Module) -> None:
        """Takes over a model that nobody else holds."""
        model.eval()
        drop_gradients(model.parameters())
        vars(self).update(
            _model=model, _dtype=model._dtype(), _program=None, _programs={}, _packs={},
            why_eager=None,
        )  # fmt: skip

    def predict(self, X: Any, batch_size: int = PREDICT_ROWS) -> np.ndarray:
        """The output for all rows of X, with the bits of `model.predict`.

        Args:
            X: rows of numbers: an array of any real dtype, layout and byte order, a list, a memory
                map; converted to the model's dtype chunk by chunk.
            batch_size: rows of one chunk; the result does not depend on it.

        Returns:
            The outputs, one row for each row of X.

        Raises:
            TypeError: X does not hold real numbers.
            ValueError: rows do not fit the model, or batch_size < 1.
        """
        if batch_size is not PREDICT_ROWS:
            batch_size = check.size("predict", "batch_size", batch_size)
        program = self._program
        if (  # the shortest way for what needs no conversion
            program is not None
            and type(X) is np.ndarray
            and X.flags.carray
            and program.takes(X)
            and 0 < len(X) <= batch_size
        ):
            return program.run(X, _State.threads)
        return in_chunks(X, batch_size, self._dtype, self._infer)

    __call__ = predict

    def _infer(self, x: np.ndarray) -> np.ndarray:
        """The output for converted rows."""
        program = self._program
        if program is None or not program.takes(x):
            program = self._program_for(x) if len(x) else None
        if program is None:
            with calls_alone():  # a forward of the user's may use attributes of its module
                return self._model._call(x, False)
        return program.run(x, _State.threads)

    def _program_for(self, x: np.ndarray) -> Any:
        """The program for such rows, recorded at their first call; None where there is none."""
        from ..program.frozen import FrozenForward

        key = x.dtype, x.shape[1:]
        with calls_alone():
            if key not in self._programs:
                if len(self._programs) == MOST_PROGRAMS:
                    del self._programs[next(iter(self._programs))]
                try:
                    self._programs[key] = FrozenForward(self._model, x, self._packs), None
                except Unsupported as unsupported:
                    self._programs[key] = None, str(unsupported)
            program, reason = self._programs[key]
            vars(self).update(_program=program, why_eager=reason)
        return program

    def eval(self) -> Frozen:
        """It is in evaluation mode; returns itself."""
        return self

    def freeze(self) -> Frozen:
        """It is frozen; returns itself."""
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters, and then of all persistent buffers, by name."""
        return self._model.state_dict()

    def __getstate__(self) -> dict[str, Any]:
        """The model alone: how its weights are packed belongs to the processor."""
        return {"model": self._model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(state["model"])

    def __setattr__(self, name: str, value: Any = None) -> NoReturn:
        raise AttributeError(
            f"Frozen: {name} cannot be set or deleted: a frozen model does not change; change the "
            "model that it was made of, and freeze that again"
        )

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Frozen({self._model!r})"


def _refusal(name: str, instead: str) -> Any:
    def refuse(self: Frozen, *args: Any, **named: Any) -> NoReturn:
        raise RuntimeError(f"Frozen.{name}: a frozen model only predicts: {instead}")

    refuse.__name__, refuse.__qualname__ = name, f"Frozen.{name}"
    refuse.__doc__ = f"Raises RuntimeError: {instead}."
    return refuse


for _name, _instead in REFUSED.items():
    setattr(Frozen, _name, _refusal(_name, _instead))
