"""The header of a safetensors file, read without trust.

JSON in which no name stands twice and every number is finite; arrays whose dtype, shape and place
fit each other and the size of the file, checked before any memory is taken for them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, NoReturn

from .._core.dtypes import DTYPES

DIMENSIONS = 32  # of an array, at most: as many as every NumPy has


class CheckpointError(ValueError):
    """A file is not what nn.save wrote: cut off, altered, of another kind, or made to do harm.

    It is raised before anything in memory has changed. A missing file is a FileNotFoundError.
    """


class Tensor(NamedTuple):
    """What the header says of one array."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


# ---- JSON without surprises ----


def parse(text: str) -> Any:
    """The value of a JSON text in which no name stands twice and every number is finite.

    Raises:
        CheckpointError: it is none, or its brackets are nested too deeply.
    """
    import json

    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
        )
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError("its JSON is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"its JSON is damaged: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise CheckpointError(f"the name {name[:100]!r} stands twice in its JSON")
        found[name] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise CheckpointError(f"its JSON holds {text}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise CheckpointError(f"its JSON holds {text[:40]}, which no float can hold")
    return value


# ---- what the header says ----


def table(header: dict[str, Any], size: int) -> dict[str, Tensor]:
    """The arrays that the header names; together they are the `size` bytes of data."""
    found = {name: _tensor(name, entry) for name, entry in header.items()}
    end = 0
    for name, tensor in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != end:
            kind = (
                "overlaps the array before it" if tensor.begin < end else "leaves a gap before it"
            )
            raise CheckpointError(f"{name[:100]} {kind}")
        end = tensor.end
    if end != size:
        raise CheckpointError(f"its arrays are {end} bytes, the file has {size}")
    return found


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _tensor(name: str, entry: Any) -> Tensor:
    """An entry of the header, with a dtype, a shape and a place that fit each other."""
    what = f"its entry {name[:100]!r}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{what} has not exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CheckpointError(f"{what} has an unknown dtype {str(dtype)[:40]!r}")
    if (
        not isinstance(shape, list)
        or len(shape) > DIMENSIONS
        or not all(map(_is_size, shape))
        or math.prod(n for n in shape if n) * DTYPES[dtype].itemsize >= 2**63
    ):
        raise CheckpointError(f"{what} has no possible shape: {str(shape)[:100]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise CheckpointError(f"{what} has no possible data_offsets: {str(offsets)[:100]}")
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
        raise CheckpointError(f"{what} has {end - begin} bytes, not those of its shape and dtype")
    return Tensor(dtype, tuple(shape), begin, end)
