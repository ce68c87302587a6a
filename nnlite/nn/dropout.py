"""Dropout with a reproducible mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import autograd
from .._core import check
from .._core.config import next_stream
from ..autograd.node import RECORD, state
from .module import Module

STEPS = 2**32  # after so many forward passes the masks come again
STREAMS = 2**31


class Dropout(Module):
    """In training, sets elements to 0 with probability p and multiplies the rest by 1 / (1 - p).

    In evaluation mode, in predict and in evaluate it changes nothing. The mask is a pure function
    of (seed, stream, step, index of the element): seed and stream are drawn when the module is
    made, as those of initial weights are (nn.manual_seed), and step counts the forward passes in
    training. So results do not depend on threads, on the build, or on other random numbers.

    Args:
        p: probability of setting an element to 0, in [0, 1]; default 0.5.

    Raises:
        TypeError, ValueError: p is no number in [0, 1].

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: a simple way to
    prevent neural networks from overfitting", Journal of Machine Learning Research 15 (2014).
    """

    _operation = "dropout"
    recorded = ("p", "seed", "stream")

    def __init__(self, p: float = 0.5) -> None:
        self.p = check.number("Dropout", "p", p, 0, 1)
        self.seed, stream = next_stream()
        self.stream = stream % STREAMS
        self.step = 0

    def _formula(self, x: Any) -> Any:
        if not self.training:
            return x
        if state.mode & RECORD:
            count = state.tape.counter(self, self.step)
            return autograd.dropout(x, self.p, self.seed, self.stream, count)
        y = autograd.dropout(x, self.p, self.seed, self.stream, self.step)
        self.step = (self.step + 1) % STEPS
        return y

    def extra_state(self) -> dict[str, int]:
        """What the next masks depend on: seed, stream and step."""
        return {"seed": self.seed, "stream": self.stream, "step": self.step}

    def load_extra_state(self, state: Any) -> None:
        """Goes on with the masks of that state.

        Raises:
            TypeError, ValueError: not the names and integers of `extra_state()`; nothing has
                changed then.
        """
        operation = "Dropout.load_extra_state"
        limits = {"seed": 2**64, "stream": STREAMS, "step": STEPS}
        if not isinstance(state, Mapping) or set(state) != set(limits):
            raise ValueError(
                f"{operation}: state: expected a dict of seed, stream and step, got {state!r}; "
                "take it from extra_state()"
            )
        for name, limit in limits.items():
            if check.size(operation, name, state[name], 0) >= limit:
                raise ValueError(
                    f"{operation}: {name}: expected 0 <= {name} < {limit}, got {state[name]}"
                )
        self.seed, self.stream, self.step = (int(state[name]) for name in limits)

    def _describe(self) -> str:
        return f"p={self.p:g}"
