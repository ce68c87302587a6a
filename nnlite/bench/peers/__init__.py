"""The libraries that nnlite is measured against, one file each, imported only when asked for.

A peer's file has `training(task)`, which returns a callable that does one training step and
returns the loss before it, and `inference(task)`, which returns a callable that runs the inputs
forward and returns the logits (or class probabilities); NotImplementedError where it has no such
thing. The data are given to each in the form it likes best, outside the measured time. A peer
that cannot be limited to task.threads raises PeerError. Peers of `nnlite bench kernels` also have
`kernel(case, inputs)`, which returns a Kernel.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

from numpy.typing import NDArray

from nnlite.bench.cases import Case
from nnlite.bench.workloads import Task, UnknownNameError


class PeerError(RuntimeError):
    """A peer is not installed or cannot do what was asked; the message has the cure."""


class Kernel(NamedTuple):
    """One kernel on one case.

    Args:
        run: computes it, into memory that exists already where the library can do that.
        value: what the last run computed, as an array.
        repeats: how often one run computes it.
    """

    run: Callable[[], Any]
    value: Callable[[], Any]
    repeats: int = 1


@dataclass(frozen=True)
class Peer:
    """Where to find a library and its adapter.

    Args:
        name: what the user calls it.
        module: the adapter's file in this package.
        packages: what it imports, as import name and distribution name.
        cure: the command that installs it.
    """

    name: str
    module: str
    packages: tuple[tuple[str, str], ...]
    cure: str

    def missing(self) -> list[str]:
        """The distributions it needs and that are not installed; imports none of them."""
        return [dist for name, dist in self.packages if importlib.util.find_spec(name) is None]

    def version(self) -> str:
        return metadata.version(self.packages[0][1])

    def contender(self, task: Task) -> Callable[[], Any]:
        """The callable that runs the task; imports the library."""
        adapter = importlib.import_module(f"{__name__}.{self.module}")
        make = adapter.training if task.workload.optimizer else adapter.inference
        return make(task)

    def kernel(self, case: Case, inputs: tuple[NDArray, ...]) -> Kernel:
        """The callable that runs the case; imports the library."""
        adapter = importlib.import_module(f"{__name__}.{self.module}")
        if not hasattr(adapter, "kernel"):
            raise NotImplementedError(f"{self.name} is measured on whole networks only")
        return adapter.kernel(case, inputs)


TORCH = (("torch", "torch"),)
PEERS = {
    peer.name: peer
    for peer in (
        Peer("nnlite", "nnlite", (("nnlite", "nnlite"),), "pip install nnlite"),
        Peer("numpy", "numpy", (("numpy", "numpy"),), "pip install numpy"),
        Peer("torch", "torch", TORCH, "pip install torch"),
        Peer("torch-compile", "torch_compile", TORCH, "pip install torch"),
        Peer("jax", "jax", (("jax", "jax"),), "pip install jax"),
        Peer("sklearn", "sklearn", (("sklearn", "scikit-learn"),), "pip install scikit-learn"),
        Peer(
            "onnxruntime",
            "onnxruntime",
            (("onnxruntime", "onnxruntime"), ("onnx", "onnx")),
            "pip install onnxruntime onnx",
        ),
    )
}


def select_peers(names: Iterable[str]) -> list[Peer]:
    """The peers of those names, each once; "all" stands for all that are installed.

    Raises:
        UnknownNameError: a name that no peer has.
        PeerError: a peer that was named is not installed.
    """
    choice = [peer for name, peer in PEERS.items() if name != "nnlite"]
    found: dict[str, Peer] = {}
    for name in names:
        if name == "all":
            found.update((peer.name, peer) for peer in choice if not peer.missing())
            continue
        if name not in {peer.name for peer in choice}:
            known = ", ".join(peer.name for peer in choice)
            raise UnknownNameError(f"bench: unknown peer {name!r}; expected one of: {known}, all")
        if missing := PEERS[name].missing():
            raise PeerError(
                f"bench: peer {name} needs {' and '.join(missing)}, which this environment lacks: "
                f"{PEERS[name].cure}"
            )
        found[name] = PEERS[name]
    return list(found.values())
