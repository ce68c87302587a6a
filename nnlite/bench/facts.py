"""What the figures were measured on: machine, build, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any

import numpy as np

import nnlite as nn
from nnlite._config import available_cores, processor
from nnlite._native import build_facts
from nnlite.bench.peers import PEERS
from nnlite.bench.roofline import last_level_cache


def blas() -> str:
    """Name and version of the library behind NumPy's matrix products."""
    build = np.show_config(mode="dicts") or {}
    library = build.get("Build Dependencies", {}).get("blas", {})
    name = str(library.get("name", "unknown BLAS")).removeprefix("scipy-")
    return f"{name} {library.get('version', '')}".strip()


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
        "openmp": build["openmp"],
        "threads": threads,
        "python": platform.python_version(),
        "blas": blas(),
        "versions": {**versions, **{name: PEERS[name].version() for name in peers}},
    }
