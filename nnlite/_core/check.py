"""Checks of arguments, with one form of message: operation: argument, expected, got, cure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np

FLOAT32, FLOAT64, INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
FLOATS = (FLOAT32, FLOAT64)


def describe(value: Any) -> str:
    """What came, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    return f"{type(value).__name__}"


def _refuse_array(operation: str, name: str, value: Any, dtypes: tuple[np.dtype, ...]) -> None:
    names = " or ".join(str(dtype) for dtype in dtypes)
    unmasked(operation, name, value)
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{operation}: {name}: expected a NumPy array of {names}, got {describe(value)}; "
            f"convert it with np.asarray({name}, dtype=np.{dtypes[0]})"
        )
    if value.dtype not in dtypes or not value.dtype.isnative:
        order = "" if value.dtype.isnative else " in foreign byte order"
        raise TypeError(
            f"{operation}: {name}: expected {names}, got {value.dtype}{order}; "
            f"convert it with {name}.astype(np.{dtypes[0]})"
        )
    if not value.flags.c_contiguous:
        raise ValueError(
            f"{operation}: {name}: expected a C-contiguous array, got strides {value.strides} for "
            f"shape {value.shape}; copy it with np.ascontiguousarray({name})"
        )
    if type(value) is not np.ndarray or not value.flags.carray:
        kind = (
            f"a {type(value).__name__}"
            if type(value) is not np.ndarray
            else ("a misaligned array" if value.flags.writeable else "a read-only array")
        )
        raise ValueError(
            f"{operation}: {name}: expected a plain, writable NumPy array, got {kind}; "
            f"copy it with np.array({name})"
        )


def unmasked(operation: str, name: str, value: Any) -> None:
    """Refuses arrays with masked elements, alone or in lists: conversion would drop the masks."""
    if type(value) is np.ndarray:
        return
    if isinstance(value, (list, tuple)):
        if not set(map(type, value)) <= {float, int, bool, np.ndarray}:
            for item in value:
                unmasked(operation, name, item)
    elif isinstance(value, np.ndarray) and hasattr(value, "mask") and np.ma.is_masked(value):
        raise TypeError(
            f"{operation}: {name}: expected numbers, got an array with masked elements; "
            f"fill them with {name}.filled(value) or leave their rows out"
        )


def array(operation: str, name: str, value: Any, dtype: np.dtype) -> None:
    """Requires a C-contiguous array of that type."""
    if (
        type(value) is not np.ndarray
        or value.dtype is not dtype
        or not value.flags.carray  # contiguous, aligned and writable in one look
    ):
        _refuse_array(operation, name, value, (dtype,))


def floats(operation: str, name: str, value: Any) -> np.dtype:
    """Requires a C-contiguous array of float32 or float64; returns its type."""
    if (
        type(value) is not np.ndarray
        or (value.dtype is not FLOAT32 and value.dtype is not FLOAT64)
        or not value.flags.carray
    ):
        _refuse_array(operation, name, value, FLOATS)
    return value.dtype


def matrix(operation: str, name: str, value: Any, dtype: np.dtype, columns: int, what: str) -> None:
    """Requires a C-contiguous (N, columns) array of that type; `what` names a column."""
    array(operation, name, value, dtype)
    shape = value.shape
    if len(shape) != 2:
        raise ValueError(
            f"{operation}: {name}: expected 2 dimensions (rows, {what}), got shape {shape}"
            + ("; a single sample is x.reshape(1, -1)" if len(shape) == 1 else "")
        )
    if shape[1] != columns:
        raise ValueError(
            f"{operation}: {name} has {shape[1]} {what} (shape {shape}), expected {columns}"
        )


def same_shape(operation: str, name: str, value: Any, like: np.ndarray, other: str) -> None:
    """Requires an array of the type and shape of another."""
    array(operation, name, value, like.dtype)
    if value.shape != like.shape:
        raise ValueError(
            f"{operation}: {name}: expected the shape of {other}, {like.shape}, got {value.shape}"
        )


def unfit(operation: str, grad: np.ndarray, saved: np.ndarray) -> NoReturn:
    """Raises for a gradient of another size than what forward has kept."""
    raise ValueError(
        f"{operation}: grad_output has shape {grad.shape}, what forward kept has {saved.shape}: "
        "they are not of one call of forward; give each thread a module of its own (copy.deepcopy)"
    )


def output(operation: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Requires an `out` array that a kernel may write."""
    if (
        type(value) is np.ndarray
        and value.dtype is dtype
        and value.flags.carray
        and value.shape == shape
    ):
        return
    array(operation, "out", value, dtype)
    if value.shape != shape:
        raise ValueError(f"{operation}: out: expected shape {shape}, got {value.shape}")


def class_targets(operation: str, target: Any, rows: int) -> None:
    """Requires (rows,) class indices as int64."""
    if isinstance(target, np.ndarray) and target.dtype.kind == "f":
        bad = target[~np.isfinite(target)]
        also = f" (and it holds {bad.flat[0]})" if bad.size else ""
        raise TypeError(
            f"{operation}: target: expected class indices as int64, got {target.dtype}{also}; "
            "convert with target.astype(np.int64) after checking that every value is a class"
        )
    array(operation, "target", target, INT64)
    if target.shape != (rows,):
        raise ValueError(
            f"{operation}: target: expected shape ({rows},), one class index for each row, "
            f"got {target.shape}" + ("; use target.ravel()" if target.size == rows else "")
        )


def integer(operation: str, name: str, value: Any) -> int:
    """Requires an integer, of Python or NumPy, that is no bool."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(
            f"{operation}: {name}: expected an integer, got {describe(value)}; "
            "convert it with int()"
        )
    return int(value)


def unsigned(operation: str, name: str, value: Any, bits: int) -> int:
    """Requires an integer in [0, 2^bits)."""
    found = integer(operation, name, value)
    if not 0 <= found < 2**bits:
        raise ValueError(
            f"{operation}: {name}: expected 0 <= {name} < 2**{bits}, got {value}; pass a number of "
            "that range"
        )
    return found


def size(operation: str, name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Requires an integer of at least `least`, and at most `most`."""
    if type(value) is int and value >= least and (most is None or value <= most):
        return value  # looking at abstract classes takes most of a microsecond
    found = integer(operation, name, value)
    if found < least:
        raise ValueError(f"{operation}: {name}: expected at least {least}, got {value}")
    if most is not None and found > most:
        raise ValueError(f"{operation}: {name}: expected at most {most}, got {str(value)[:40]}")
    return found


def number(
    operation: str, name: str, value: Any, low: float, high: float = math.inf, above: bool = False
) -> float:
    """Requires a finite number in [low, high], or above low."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{operation}: {name}: expected a number, got {describe(value)}")
    try:
        result = float(value)
    except OverflowError:  # an integer beyond all floats
        result = math.inf
    if not math.isfinite(result) or result < low or result > high or (above and result == low):
        sign = ">" if above else ">="
        limit = f" and <= {high:g}" if math.isfinite(high) else ""
        raise ValueError(
            f"{operation}: {name}: expected a finite number {sign} {low:g}{limit}, got {value}"
        )
    return result


def elements(operation: str, sizes: dict[str, int], itemsize: int) -> None:
    """Requires that an array of these sizes fits into 64-bit byte counts."""
    count = math.prod(sizes.values())
    if count * itemsize >= 2**63:
        text = " x ".join(f"{name}={value}" for name, value in sizes.items())
        raise ValueError(f"{operation}: {text} is {count} elements, more than an array can have")


def keys(operation: str, state: Any, expected: set[str]) -> None:
    """Requires a dict with exactly these names."""
    if not isinstance(state, Mapping):
        raise TypeError(f"{operation}: state: expected a dict, got {describe(state)}")
    missing, extra = sorted(expected - set(state)), sorted(set(state) - expected, key=str)
    if missing or extra:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"has unknown {', '.join(map(str, extra))}"] if extra else []
        raise ValueError(f"{operation}: the state {' and '.join(parts)}")


def float_dtype(operation: str, dtype: Any) -> np.dtype:
    """Requires float32 or float64; returns the one object of each that fast checks compare with."""
    try:
        return FLOATS[FLOATS.index(np.dtype(dtype))]
    except (TypeError, ValueError):
        message = f"{operation}: dtype: expected np.float32 or np.float64, got {dtype!r}"
        raise TypeError(message) from None
