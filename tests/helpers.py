"""What the tests of kernels share: guarded arguments, every build, exact references.

`call` runs one kernel of one build on copies of its arguments. Each copy lies between two guards
that must survive, starts `offset` elements after a 64-byte boundary, and outputs hold NaN first.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from nnlite._core import native

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
DTYPES = [F32, F64]
BUILDS = native.supported()
OTHERS = [isa for isa in BUILDS if isa != "portable"]  # compared with the portable build
THREADS = [1, 2, 3, 7]
# Around every vector width (2 to 16 lanes), four vectors at a time, and sixteen virtual lanes.
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 29, 31, 32, 33, 53, 63, 64, 65, 127, 128, 133]
GUARD = 64  # elements before and after each argument


@dataclass
class In:
    """An array that a kernel only reads; None is the null pointer."""

    array: np.ndarray | None


@dataclass
class Out:
    """An array that a kernel overwrites: NaN, or -1 for integers, before the call."""

    shape: Any
    dtype: Any = None  # default: the dtype of the kernel


@dataclass
class InOut:
    """An array that a kernel reads and changes; its first value."""

    array: np.ndarray


@dataclass
class Same:
    """The output of a kernel that works in place: on the argument with this number."""

    argument: int


class Guarded:
    """A copy of an array between guards."""

    def __init__(self, array: np.ndarray, offset: int) -> None:
        step = array.itemsize
        self._raw = np.full(array.nbytes + (2 * GUARD + offset) * step + 64, 0xA5, np.uint8)
        self._from = -self._raw.ctypes.data % 64 + (GUARD + offset) * step
        self._to = self._from + array.nbytes
        self.array = self._raw[self._from : self._to].view(array.dtype)
        self.array[...] = array.ravel()

    def check(self, what: str) -> None:
        """Fails when a guard has changed."""
        before, after = self._raw[: self._from], self._raw[self._to :]
        assert (before == 0xA5).all(), f"{what}: wrote before its beginning"
        assert (after == 0xA5).all(), f"{what}: wrote behind its end"


class AtPageEnd:
    """A copy of an array that ends where a page begins that nobody may read or write."""

    def __init__(self, array: np.ndarray, _offset: int) -> None:
        page = mmap.PAGESIZE
        room = -(-max(array.nbytes, 1) // page) * page
        raw = np.frombuffer(mmap.mmap(-1, room + page), np.uint8)
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        assert protect(raw.ctypes.data + room, page, 0) == 0
        self.array = raw[room - array.nbytes : room].view(array.dtype)
        self.array[...] = array.ravel()

    def check(self, what: str) -> None:
        """Nothing to look at: a touch of the page ends the process."""


def call(
    isa: str,
    dtype: np.dtype,
    name: str,
    *args: Any,
    threads: int | None = 1,
    offset: int = 0,
    status: int = 0,
    place: type = Guarded,
) -> list[np.ndarray]:
    """Runs a kernel and returns its outputs, in order.

    Asserts the status, that guards and inputs are as they were, and with an expected failure that
    the outputs are too. `threads` goes last; None is for kernels without it.
    """
    build = native.load_build(isa)
    places: dict[int, Any] = {}
    first: dict[int, np.ndarray] = {}
    values, written, shapes = [], [], []
    for index, arg in enumerate(args):
        if isinstance(arg, FunctionType):  # what only the build's own ffi can make
            arg = arg(build)
        if isinstance(arg, Out):
            kind = np.dtype(arg.dtype or dtype)
            arg_array = np.full(
                arg.shape, np.nan if kind.kind == "f" else np.int64(-1).astype(kind), kind
            )
        elif isinstance(arg, (In, InOut)) and arg.array is not None:
            arg_array = arg.array
        else:
            same = isinstance(arg, Same)
            values.append(
                values[arg.argument] if same else native.NULL if isinstance(arg, In) else arg
            )
            if same:
                written.append(arg.argument)
                shapes.append(args[arg.argument].array.shape)
            continue
        places[index] = place(arg_array, offset)
        first[index] = places[index].array.copy()
        values.append(native.pointer(places[index].array))
        if not isinstance(arg, In):
            written.append(index)
            shapes.append(arg_array.shape)
    function = getattr(build.kernels[dtype], name, None) or getattr(build.common, name)
    got = function(*values, *([] if threads is None else [threads]))
    assert got == status, f"{name}: status {got}, expected {status}"
    for index, kept in places.items():
        kept.check(f"{name}, argument {index}")
        if index not in written or status not in (native.OK, native.EINDEX):
            same_bytes(kept.array, first[index], f"{name}: argument {index} changed")
    return [
        places[index].array.reshape(shape) for index, shape in zip(written, shapes, strict=True)
    ]


def _plain(array: np.ndarray) -> np.ndarray:
    """The array's bits as integers, all NaN alike: their payloads are outside the contract."""
    array = np.array(array, order="C")
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    return array.reshape(-1).view(f"u{array.itemsize}")


def same_bytes(got: np.ndarray, expected: np.ndarray, what: str = "") -> None:
    """Asserts equal shape, dtype and bits."""
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype), what
    different = np.flatnonzero(_plain(got) != _plain(expected))
    if different.size:
        where = different[0]
        raise AssertionError(
            f"{what}: {different.size} of {got.size} elements differ, first at {where}: "
            f"{got.flat[where]!r}, expected {expected.flat[where]!r}"
        )


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """The largest error of `got` in units of its last place; `exact` in a wider type."""
    assert (np.isnan(got) == np.isnan(exact)).all()
    overflows = np.abs(exact) > np.finfo(got.dtype).max
    rounded = exact.astype(got.dtype)
    assert (np.isfinite(got) | np.isnan(got) | overflows).all()
    use = np.isfinite(got) & np.isfinite(rounded)
    if not use.any():
        return 0.0
    error = np.abs(got[use].astype(exact.dtype) - exact[use])
    return float((error / np.spacing(np.abs(rounded[use])).astype(exact.dtype)).max())


# ---- one fused multiply-add, exactly, in plain additions and products ----


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(s, e) with s = a + b rounded and s + e = a + b exactly (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p, e) with p = a b rounded and p + e = a b exactly (Dekker)."""
    split = a.dtype.type(2 ** ((np.finfo(a.dtype).nmant + 2) // 2) + 1)
    p, ca, cb = a * b, split * a, split * b
    a_high, b_high = ca - (ca - a), cb - (cb - b)
    a_low, b_low = a - a_high, b - b_high
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a b + c with one rounding, for results far from overflow and underflow.

    Source: Boldo, Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms
    using rounding to odd", IEEE Transactions on Computers 57 (2008).
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    high, low = _two_product(a, b)
    t_high, t_low = _two_sum(c, low)
    v_high, v_low = _two_sum(high, t_high)
    z, rest = _two_sum(t_low, v_low)
    bits = z.view(f"i{z.itemsize}").copy()
    odd = (rest != 0) & (bits & 1 == 0)  # round z to odd: towards its rest, when it is even
    bits[odd] += np.where((rest[odd] > 0) == (z[odd] > 0), 1, -1)
    return v_high + bits.view(z.dtype)


def chain(a: np.ndarray, b: np.ndarray, start: np.ndarray) -> np.ndarray:
    """a b + start by the arithmetic contract: one chain of fma for each output, k ascending."""
    c = np.broadcast_to(start, (a.shape[0], b.shape[1])).astype(a.dtype)
    for p in range(a.shape[1]):
        c = fma(a[:, p : p + 1], b[p : p + 1, :], c)
    return c


# ---- numbers and programs ----


def wild(rng: np.random.Generator, n: int, dtype: np.dtype) -> np.ndarray:
    """n numbers of every kind: any bit pattern, ordinary sizes, and the special values."""
    bits = rng.integers(0, 2 ** (8 * dtype.itemsize), n, dtype=f"u{dtype.itemsize}").view(dtype)
    usual = rng.normal(0, 4, n).astype(dtype)
    info = np.finfo(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, info.max, -info.max, info.tiny]
    special += [info.smallest_subnormal, -info.smallest_subnormal, 88.7, -103.9, 709.7, -745.1]
    choice = rng.integers(0, 8, n)
    return np.where(
        choice == 0, bits, np.where(choice == 1, rng.choice(special, n).astype(dtype), usual)
    )


def flushed(x: np.ndarray) -> np.ndarray:
    """As gradients are stored: 0 with the sign of x where x lies below the normal range."""
    zero = np.copysign(x.dtype.type(0), x)
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, zero, x)


def sha(*arrays: np.ndarray) -> str:
    """SHA-256 of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def run_python(
    program: str, timeout: int = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
