"""Named blocks: which function of the user a recorded call belongs to.

A block is one call of a named function. Every node points at the block that was open when it was
made, and a block at the one around it: so pictures and summaries show a graph as it was written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

from ..node import GRAD, state

F = TypeVar("F", bound=Callable[..., Any])


class Block:
    """One call of a named function; `outer` is the block around it, or None."""

    __slots__ = ("name", "outer")

    def __init__(self, name: str, outer: Block | None) -> None:
        self.name, self.outer = name, outer

    def path(self) -> tuple[Block, ...]:
        """The blocks around it and itself, the outermost first."""
        found, block = [self], self.outer
        while block is not None:
            found.append(block)
            block = block.outer
        return tuple(reversed(found))

    def __repr__(self) -> str:
        return f"Block({'/'.join(block.name for block in self.path())})"


def in_block(name: str, call: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of a call whose recorded calls belong to a block of that name."""
    outer = state.block
    state.block = Block(name, outer)
    try:
        return call(*args, **kwargs)
    finally:
        state.block = outer


@overload
def function(call: F) -> F: ...
@overload
def function(call: str) -> Callable[[F], F]: ...


def function(call: Any) -> Any:
    """Names a block of the graph: calls inside are recorded under the function's name.

        @nn.function
        def neuron(w, x, b):
            return (w * x).sum() + b

    `nn.autograd.summary` groups calls by blocks, `draw` frames them. Blocks nest; modules are
    blocks of themselves. Values and gradients do not change, and where no graph is built nothing is
    recorded.

    Args:
        call: the function; or a name for the block, `@nn.function("head")`.

    Raises:
        TypeError: neither a function nor a name.
    """
    if isinstance(call, str):
        return functools.partial(_named, call)
    if not callable(call):
        raise TypeError(f"function: expected a function or a name, got {type(call).__name__}")
    return _named(getattr(call, "__name__", type(call).__name__), call)


def _named(name: str, call: Any) -> Any:
    @functools.wraps(call)
    def block(*args: Any, **kwargs: Any) -> Any:
        if not state.mode & GRAD:
            return call(*args, **kwargs)
        return in_block(name, call, *args, **kwargs)

    return block
