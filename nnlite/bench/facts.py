"""What the figures were measured on: machine, build, versions."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import nnlite as nn
from nnlite._core.config import available_cores, processor
from nnlite._core.native import build_facts
from nnlite.bench.peers import PEERS
from nnlite.bench.roofline import last_level_cache


class OtherLoad:
    """How much of the processor other programs took since this object was made."""

    def __init__(self) -> None:
        self._start = self._times()

    @staticmethod
    def _times() -> tuple[float, float, float] | None:
        """Seconds of the whole machine, its busy ones, and this process's, or None if untold."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return None
        times = [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields]
        idle = times[3] + times[4]  # idle, waiting for a disk
        own = os.times()
        return sum(times), sum(times) - idle, own.user + own.system

    def share(self) -> float | None:
        """Share of all cores' time, 0 to 1; None where the system does not tell."""
        end = self._times()
        if self._start is None or end is None:
            return None
        total, busy, own = (b - a for a, b in zip(self._start, end, strict=True))
        return min(1.0, max(0.0, (busy - own) / total)) if total > 0 else 0.0


def blas() -> str:
    """Name and version of the library behind NumPy's matrix products."""
    build = np.show_config(mode="dicts") or {}
    library = build.get("Build Dependencies", {}).get("blas", {})
    name = str(library.get("name", "unknown BLAS")).removeprefix("scipy-")
    return f"{name} {library.get('version', '')}".strip()


def blas_core() -> str | None:
    """The processor for which OpenBLAS chose its kernels, where threadpoolctl can tell.

    The environment variable OPENBLAS_CORETYPE makes it choose another.
    """
    if importlib.util.find_spec("threadpoolctl") is None:
        return None
    infos = importlib.import_module("threadpoolctl").threadpool_info()
    cores = [info["architecture"] for info in infos if "numpy" in info["filepath"]]
    return next((core for core in cores if core), None)


def machine_facts(threads: int, peers: Iterable[str]) -> dict[str, Any]:
    """Everything needed to read the figures again in a year."""
    build = build_facts()
    versions = {"nnlite": nn.__version__, "numpy": np.__version__}
    return {
        "processor": processor(),
        "cores": available_cores(),
        "last_level_cache_bytes": last_level_cache(),
        "system": platform.platform(),
        "isa": build["isa"],
        "compiler": build["compiler"],
        "threads_from": build["threads"],
        "threads": threads,
        "python": platform.python_version(),
        "blas": blas(),
        "blas_core": blas_core(),
        "versions": {**versions, **{name: PEERS[name].version() for name in peers}},
    }
