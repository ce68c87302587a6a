"""`nnlite bench compare`: nnlite beside the libraries that a user would choose among, in one table.

    step         one training step (SGD) of two workloads, all contenders in turns: medians
    installed    bytes of the library's files and of all that it requires
    import       a new process that imports it: best of several, with NumPy's part and without
    same bits    20 losses of mnist on one thread and on all, and with narrower vector instructions;
                 a row's outputs alone and within a batch

The last two run in processes of their own, one for each setting. What a library does not have, or
what cannot be told here, is "-".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nnlite._core.native import build_facts
from nnlite.bench.peers import PEERS, Peer
from nnlite.bench.report import digits
from nnlite.bench.runner import OWN, run_workload
from nnlite.bench.threads import VARIABLES
from nnlite.bench.workloads import TRAINING, Workload, make_task

NAMES = {OWN: "nnlite", "torch": "PyTorch", "jax": "JAX", "sklearn": "scikit-learn"}
IMPORTS = {"jax": "jax.numpy", "sklearn": "sklearn.neural_network"}
STEPS, IMPORT_RUNS = 20, 5
# What makes each compute with AVX2 on a processor that has AVX-512.
NARROW = {
    OWN: {"NNLITE_ISA": "avx2"},
    "torch": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "jax": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"},
    "sklearn": {"OPENBLAS_CORETYPE": "Haswell"},
}
IMPORT = "import time; a = time.perf_counter(); import numpy; b = time.perf_counter(); import {0}; "
IMPORT += "c = time.perf_counter(); print(c - a, c - b)"
FINGERPRINT = "from nnlite.bench import compare; print(compare.fingerprint({0!r}, {1}))"

Progress = Callable[[str], None]


def peers() -> list[Peer]:
    """The libraries of the table that are installed."""
    return [PEERS[name] for name in NAMES if name != OWN and not PEERS[name].missing()]


def workload(name: str) -> Workload:
    """A training step with SGD."""
    return next(Workload(*row, optimizer="sgd") for row in TRAINING if row[0] == name)


def run(threads: int | None, seconds: float, progress: Progress) -> dict[str, dict[str, Any]]:
    """Every figure by contender: seconds, bytes, and whether bits are the same (None: untold)."""
    found: dict[str, dict[str, Any]] = {name: {} for name in (OWN, *(p.name for p in peers()))}
    for name, figures in found.items():
        progress(f"{name}: size, import, bits")
        figures.update(footprint(PEERS[name].packages[0][1]))
        figures["import"], figures["import_after_numpy"] = import_seconds(name)
        figures.update(same_bits(name))
    for name in ("digits", "mnist"):
        progress(f"measuring {name}")
        result = run_workload(workload(name), peers(), threads, seconds)
        for contender, measurement in result.measurements.items():
            found[contender][name] = measurement.median
    return found


def _requirements(name: str, known: set[str]) -> set[str]:
    """The installed distributions that one needs, and it; without extras and Windows's own."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    try:
        required = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # for another system or version of Python
        return known
    if name not in known:
        known.add(name)
        for line in required:
            if not re.search("extra ==|Windows|win32", line):
                _requirements(re.split(r"[^\w.-]", line, maxsplit=1)[0], known)
    return known


def _bytes(name: str) -> int:
    """Bytes of a distribution's files; of nnlite its folder, which an editable install lacks."""
    if name == OWN:
        folder = Path(__file__).parent.parent
        files = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        return sum(p.stat().st_size for p in files)
    paths = [Path(str(f.locate())) for f in metadata.files(name) or []]
    return sum(p.stat().st_size for p in paths if p.suffix != ".pyc" and p.is_file())


def footprint(distribution: str) -> dict[str, Any]:
    """The bytes of a distribution and its requirements, and the names of those."""
    needed = _requirements(distribution, set())
    name = re.sub(r"[-_.]+", "-", distribution).lower()
    own = _bytes(name)
    return {
        "bytes": own + sum(_bytes(other) for other in needed - {name}),
        "own_bytes": own,
        "dependencies": sorted(needed - {name}),
    }


def _child(code: str, environment: dict[str, str]) -> str:
    """What a new process prints; raises CalledProcessError where it fails."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    return run.stdout.splitlines()[-1]


def import_seconds(name: str) -> list[float]:
    """(import with NumPy's, what came after NumPy), the best of several processes each."""
    module = IMPORTS.get(name, PEERS[name].packages[0][0])
    cached = {"PYTHONDONTWRITEBYTECODE": ""}  # the first run compiles what pip has not
    runs = [_child(IMPORT.format(module), cached).split() for _ in range(IMPORT_RUNS)]
    return [min(float(r[i]) for r in runs) for i in (0, 1)]


def fingerprint(name: str, threads: int | None) -> str:
    """A hash of the losses of some steps, and whether a row's outputs depend on its batch: JSON."""
    work = workload("mnist")
    step = PEERS[name].contender(make_task(work, threads))
    losses = np.array([step() for _ in range(STEPS)], np.float64)
    forward = replace(work, optimizer=None)
    rows, row = (
        np.asarray(PEERS[name].contender(make_task(w, threads))())
        for w in (forward, replace(forward, batch=1))
    )
    same = rows[:1].tobytes() == row.tobytes()
    return json.dumps({"hash": hashlib.sha256(losses.tobytes()).hexdigest(), "row": same})


def same_bits(name: str) -> dict[str, bool | None]:
    """Whether threads, vector instructions and the batch leave the bits as they are."""

    def once(threads: int | None, environment: dict[str, str]) -> Any:
        try:
            return json.loads(_child(FINGERPRINT.format(name, threads), environment))
        except subprocess.CalledProcessError:
            return None

    def equal(this: Any, other: Any) -> bool | None:
        return None if this is None or other is None else this["hash"] == other["hash"]

    full, one = once(None, {}), once(1, dict.fromkeys(VARIABLES, "1"))
    narrow = once(None, NARROW[name]) if build_facts()["isa"] == "avx512" else None
    return {
        "threads": equal(full, one),
        "instructions": equal(full, narrow),
        "batch": None if full is None else full["row"],
    }


def _megabytes(figures: dict[str, Any]) -> str:
    return f"{figures['bytes'] / 1e6:,.0f} MB ({figures['own_bytes'] / 1e6:,.1f} its own)"


def _answer(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


ROWS: Sequence[tuple[str, Callable[[dict[str, Any]], str]]] = (
    ("digits, training step", lambda f: f"{digits(f['digits'] * 1e6)} us"),
    ("mnist, training step", lambda f: f"{digits(f['mnist'] * 1e6)} us"),
    ("installed, with all it needs", _megabytes),
    ("packages it needs", lambda f: str(len(f["dependencies"]))),
    ("import; beside NumPy", lambda f: f"{f['import'] * 1e3:,.0f} ms; "
        f"{f['import_after_numpy'] * 1e3:,.0f} ms"),
    ("same bits on 1 thread and all", lambda f: _answer(f["threads"])),
    ("same bits with AVX2 and AVX-512", lambda f: _answer(f["instructions"])),
    ("a row's bits do not depend on its batch", lambda f: _answer(f["batch"])),
)  # fmt: skip


def report(found: dict[str, dict[str, Any]], facts: dict[str, Any]) -> str:
    """A table in Markdown, and what it was measured on."""
    rows = [["", *(NAMES[name] for name in found)], ["---"] + ["---:"] * len(found)]
    rows += [[label, *(show(f) for f in found.values())] for label, show in ROWS]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    processor = f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads"
    missing = [PEERS[n].cure for n in NAMES if n not in found]
    more = [f"Not installed here: {'; '.join(missing)}"] if missing else []
    return "\n".join([*lines, "", f"{processor}; {versions}", *more])
