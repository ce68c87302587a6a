"""Where threads come from: nnlite's own pool, OpenMP, or nowhere.

The kernels hold the pool (csrc/core/pool.c). OpenMP's part (csrc/core/openmp.c) is the extension
`nnlite._openmp`, loaded where it is chosen and not before: loading OpenMP costs time and memory.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

KINDS = ("pool", "openmp", "none")
VARIABLE = "NNLITE_THREADS"
_CURE = (
    f"install nnlite again with {VARIABLE} unset, by a compiler that has it "
    "(see the README: pip install)"
)

# A thread of OpenMP gets a stack of 8 MiB, which counts where address space is limited; kernels
# need 64 KiB, and the process's thread-local data lies there too.
STACKS = {"OMP_STACKSIZE": "1M"}
STACK_VARIABLES = ("OMP_STACKSIZE", "GOMP_STACKSIZE", "KMP_STACKSIZE")


def built(has_pool: bool) -> list[str]:
    """What this installation can take threads from, the default first."""
    has_openmp = importlib.util.find_spec("nnlite._openmp") is not None
    return [kind for kind, has in zip(KINDS, (has_pool, has_openmp, True), strict=True) if has]


def from_environment(has_pool: bool) -> str:
    """What NNLITE_THREADS chooses, or the default.

    Raises:
        ImportError: the variable names nothing known, or nothing in this installation.
    """
    asked = os.environ.get(VARIABLE, "")
    if not asked:
        return "pool" if has_pool else built(has_pool)[0]
    if asked not in KINDS:
        raise ImportError(
            f"{VARIABLE}={asked!r}: expected one of {', '.join(KINDS)}; unset it to get "
            f"{built(has_pool)[0]}"
        )
    if asked != "pool" or not has_pool:
        require(f"{VARIABLE}={asked!r}", asked, has_pool, ImportError)
    return asked


def require(operation: str, kind: str, has_pool: bool, error: type[Exception]) -> None:
    """Raises the error where this installation lacks what it is to take threads from."""
    kinds = built(has_pool)
    if kind not in kinds:
        raise error(f"{operation}: this installation was built with {', '.join(kinds)}; {_CURE}")


@contextmanager
def _small_stacks() -> Iterator[None]:
    """OpenMP reads its settings once, when it is loaded; what the user has set stays."""
    if any(name in os.environ for name in STACK_VARIABLES):
        yield
        return
    os.environ.update(STACKS)
    try:
        yield
    finally:
        for name in STACKS:
            del os.environ[name]


def load_openmp() -> int:
    """Loads OpenMP; the address of what runs regions on its threads.

    Raises:
        ImportError: OpenMP's library is not on this machine.
    """
    with _small_stacks():
        try:
            return importlib.import_module("nnlite._openmp").lib.nnl_openmp_start()
        except ImportError as error:
            raise ImportError(
                f"OpenMP does not load: {error}; install its library (Debian and Ubuntu: apt "
                f"install libgomp1, after a build by clang libomp5) or set {VARIABLE}=pool"
            ) from error
