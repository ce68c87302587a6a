"""Any iterable of (x, y) batches as training data: checks, conversion, going through it again."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .._core import check
from ..nn.module import converted, rows_of
from .stream import Chunk, Pair


class BatchSource:
    """Batches as they come from an iterable, converted; the protocol of `nnlite.data.source`.

    Args:
        batches: an iterable of pairs (x, y), or a function that returns one: without arguments, or
            called with the number of the epoch (so that a fit can be resumed exactly).
        dtype: the dtype of x.
        target_dtype: that of y; None: by the first batch, int64 for integers.

    Raises:
        TypeError: batches is nothing of the kind.
    """

    rows: int | None = None
    own_batches = True

    def __init__(self, batches: Any, dtype: np.dtype, target_dtype: np.dtype | None) -> None:
        if isinstance(batches, (np.ndarray, np.number, dict)) or not (
            callable(batches) or isinstance(batches, Iterable)
        ):
            raise TypeError(
                "source: X: expected an array or a path with its y, or an iterable of (x, y) "
                f"batches, got {check.describe(batches)} without y; pass y"
            )
        self._batches, self.dtype, self.target_dtype = batches, dtype, target_dtype
        self.one_shot = isinstance(batches, Iterator)
        self._used = False
        self.shape: tuple[int, ...] | None = None
        self.target_shape: tuple[int, ...] | None = None

    @property
    def width(self) -> int:
        """Numbers in a row of X."""
        self.head()
        assert self.shape is not None
        return math.prod(self.shape)

    def signature(self, batch_size: int) -> dict[str, Any]:
        """Nothing: the iterable alone decides."""
        return {}

    def targets(self) -> Iterator[tuple[int, np.ndarray]]:
        """Nothing: they are seen when their batch comes."""
        return iter(())

    def head(self, rows: int = 1) -> Pair:
        """The first rows of the first batch. An iterator's batch is kept for its epoch.

        Raises:
            TypeError, ValueError: there is no batch, or it is not a pair of arrays that fit.
        """
        if not self.one_shot:
            x, y = self._converted(0, next(self._pairs(0), _NONE))
        else:
            self._refuse_second()
            first = next(self._batches, _NONE)
            self._batches = _again(first, self._batches)
            x, y = self._converted(0, first)
        return x[:rows], y[:rows]

    def check_epochs(self, epochs: int) -> None:
        """Refuses more than one epoch over an iterator, before the first.

        Raises:
            ValueError: the batches come from an iterator, and epochs is above 1.
        """
        if self.one_shot and epochs > 1:
            raise ValueError(f"source: {epochs} epochs of an iterator: {_ONCE}")

    def epoch(
        self, seed: int, epoch: int, batch_size: int, shuffle: bool = True, skip_batches: int = 0
    ) -> Iterator[Chunk]:
        """The batches of an epoch, each a chunk in its own order; seed and sizes do not matter.

        Raises:
            TypeError, ValueError: a batch is not a pair of arrays that fit; there is none.
        """
        self._refuse_second()
        self._used = self.one_shot
        number = -1
        for number, pair in enumerate(self._pairs(epoch)):
            if number >= skip_batches:
                x, y = self._converted(number, pair)
                yield x, y, np.arange(len(x))
        if number < 0:
            self._converted(0, _NONE)
        if number + 1 < skip_batches:
            raise ValueError(
                f"source: the epoch is to go on after batch {skip_batches}, but the iterable gave "
                f"{number + 1}; resume with the data of the first run"
            )

    def _refuse_second(self) -> None:
        if self._used:
            raise ValueError(f"source: a second epoch of an iterator: {_ONCE}")

    def _pairs(self, epoch: int) -> Iterator[Any]:
        made = self._batches
        if callable(made) and not isinstance(made, Iterable):
            made = made(epoch) if _takes_epoch(made) else made()
            if not isinstance(made, Iterable):
                raise TypeError(
                    "source: X: the function returned "
                    f"{check.describe(made)}, expected an iterable of (x, y) batches"
                )
        return iter(made)

    def _converted(self, number: int, pair: Any) -> Pair:
        """One batch in the model's dtypes; refuses what does not fit the first."""
        where = f"batch {number + 1}"  # people count from 1
        if pair is _NONE:
            raise ValueError("source: X: the iterable of batches gave none; check that it has some")
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"source: {where}: expected a pair (x, y), got {check.describe(pair)}; yield x, y"
            )
        x, y = (rows_of("source", f"{where}: {'xy'[i]}", pair[i]) for i in range(2))
        if len(x) != len(y) or not len(x):
            raise ValueError(
                f"source: {where}: x has {len(x)} rows, y has {len(y)}; expected as many, and at "
                "least one"
            )
        if self.target_dtype is None:
            self.target_dtype = check.INT64 if y.dtype.kind in "iub" else self.dtype
        if self.target_dtype == check.INT64 and y.dtype.kind == "f":
            raise TypeError(
                f"source: {where}: y: expected class indices as integers, got {y.dtype}; convert "
                "with y.astype(np.int64)"
            )
        if self.shape is None or self.target_shape is None:
            self.shape, self.target_shape = x.shape[1:], y.shape[1:]
        for name, part, shape in (("x", x, self.shape), ("y", y, self.target_shape)):
            if part.shape[1:] != shape:
                raise ValueError(
                    f"source: {where}: {name}: expected rows of shape {shape} like the first "
                    f"batch, got {part.shape[1:]}"
                )
        return converted(x, self.dtype), converted(y, self.target_dtype)


_NONE = object()  # no batch
_ONCE = (
    "it can be gone through once; pass a function that makes it anew (a generator function "
    "itself, not its call), or a list of batches"
)


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not _NONE:
        yield first
        yield from rest


def _takes_epoch(function: Callable[..., Any]) -> bool:
    """True when the function needs one argument: the number of the epoch."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in places and p.default is p.empty for p in parameters) == 1
