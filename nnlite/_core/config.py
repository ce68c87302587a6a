"""Settings of the process: number of threads and seed of initial weights; and their report."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from . import check, native
from . import threads as _threads


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


MOST_THREADS = 1024  # as in csrc/core/pool.h


def _initial_threads() -> int:
    """What OMP_NUM_THREADS says, which is written for other programs too: never an error."""
    digits = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip().removeprefix("+")
    number = digits.lstrip("0")
    if not (number and digits.isascii() and digits.isdigit()):
        return min(available_cores(), MOST_THREADS)
    return min(int(number[:5]), MOST_THREADS)


class _State:
    threads = _initial_threads()
    seed = 0
    stream = 0


_lock = threading.Lock()


def set_num_threads(n: int) -> None:
    """Sets the largest number of threads that a kernel may use; results do not depend on it.

    Args:
        n: at least 1. The default is OMP_NUM_THREADS, at most 1024; where that is no number, or 0,
            it is the number of cores of this process.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is outside 1..1024.
    """
    threads = check.integer("set_num_threads", "n", n)
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"set_num_threads: n: expected 1..{MOST_THREADS}, got {n}")
    _State.threads = threads


def get_num_threads() -> int:
    """The largest number of threads that a kernel may use."""
    return _State.threads


def set_threading(kind: str) -> None:
    """Chooses where the threads of kernels come from, once, before the first kernel has run.

    Results do not depend on it. The environment variable NNLITE_THREADS chooses in the same way
    when Python starts. The pool's caller never waits for a thread that the system does not run;
    OpenMP's threads are for programs that share them, and follow its own variables (OMP_PROC_BIND,
    OMP_WAIT_POLICY).

    Args:
        kind: "pool" (nnlite's own threads, the default), "openmp" or "none" (the caller alone).

    Raises:
        TypeError: kind is not a string.
        ValueError: kind is another word, or is not in this installation.
        RuntimeError: a kernel has run already: anything was computed, a layer's initial weights
            included.
        ImportError: OpenMP's library is not on this machine.
    """
    if not isinstance(kind, str):
        raise TypeError(f"set_threading: kind: expected a string, got {type(kind).__name__}")
    if kind not in _threads.KINDS:
        names = ", ".join(_threads.KINDS)
        raise ValueError(f"set_threading: kind: expected one of {names}; got {kind!r}")
    native.set_threading(kind)


def get_threading() -> str:
    """Where the threads of kernels come from: "pool", "openmp" or "none"."""
    return native.get_threading()


def manual_seed(n: int) -> None:
    """Sets the seed of initial weights and starts their numbering anew.

    The k-th parameter made after this call gets stream k of the generator (Philox4x32-10), so equal
    seeds and equal models give equal bits on every machine. Without a call the seed is 0.

    Args:
        n: 0 <= n < 2^64.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is out of range.
    """
    check_seed("manual_seed", "n", n)
    with _lock:
        _State.seed, _State.stream = int(n), 0


def check_seed(operation: str, name: str, value: object) -> int:
    """The seed as an int, or an exception that says what a seed is."""
    return check.unsigned(operation, name, value, 64)


def next_stream() -> tuple[int, int]:
    """(seed, number) of the next stream of initial weights."""
    if _rebuilding.room is not None:
        return 0, 0
    if _seeded.seed is not None:
        _seeded.stream += 1
        return _seeded.seed, _seeded.stream - 1
    with _lock:
        _State.stream += 1
        return _State.seed, _State.stream - 1


class _Seeded(threading.local):
    seed: int | None = None  # of the models that this thread builds
    stream = 0


_seeded = _Seeded()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A model that this thread builds inside has the initial weights that `manual_seed(seed)` would
    give it; the seed and the streams of the process stay as they are."""
    before = _seeded.seed, _seeded.stream
    _seeded.seed, _seeded.stream = seed, 0
    try:
        yield
    finally:
        _seeded.seed, _seeded.stream = before


class _Rebuilding(threading.local):
    room: int | None = None  # bytes of parameters that the model being built may still take


_rebuilding = _Rebuilding()


@contextmanager
def rebuilding(room: int) -> Iterator[None]:
    """A model that is built inside gets its weights later: it draws none and takes no stream.

    Args:
        room: bytes of parameters that it may have; a request for more raises ValueError before
            the memory is taken.
    """
    _rebuilding.room = room
    try:
        yield
    finally:
        _rebuilding.room = None


def is_rebuilding() -> bool:
    """Whether this thread is building a model that gets its weights later."""
    return _rebuilding.room is not None


def claim(nbytes: int, take: bool = True) -> None:
    """Requires room for that many bytes of parameters; outside of `rebuilding` there always is."""
    room = _rebuilding.room
    if room is None:
        return
    if nbytes > room:
        raise ValueError(f"the architecture has {nbytes} bytes of parameters where {room} are left")
    if take:
        _rebuilding.room = room - nbytes


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def show_config() -> str:
    """Prints and returns version, build, threads, compiler, processor and NumPy version."""
    from .. import __version__

    facts = native.build_facts()
    threading, built = get_threading(), native.threadings()
    threads = f"{get_num_threads()} of {available_cores()} cores"
    if threading == "none":
        threads = "1 (built without threads)" if built == ["none"] else "1 (threading is none)"
    lines = {
        "nnlite": __version__,
        "kernels": f"{facts['isa']} (built: {', '.join(facts['builds'])}; "
        f"this processor runs: {', '.join(facts['supported'])})",
        "threads": threads,
        "threading": f"{threading} (built: {', '.join(built)}; NNLITE_THREADS chooses)",
        "compiler": facts["compiler"],
        "processor": processor(),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
    }
    text = "\n".join(f"{name:10} {value}" for name, value in lines.items())
    print(text)
    return text
