"""Measures workloads: builds the contenders, checks that they agree, times them in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import nnlite as nn
from nnlite.bench.baseline import MLP
from nnlite.bench.peers import PEERS, Peer
from nnlite.bench.peers import nnlite as nnlite_peer
from nnlite.bench.roofline import has_cores
from nnlite.bench.timing import Measurement, measure
from nnlite.bench.workloads import Task, Workload, make_task

OWN = "nnlite"
FROZEN = "nnlite frozen"

# First losses, in nats, may differ by this share of their size plus one: float32 and another order
# of summation explain 1e-5.
LOSS_TOLERANCE = 1e-3
# Share of the rows whose largest logit may be another one: ties within rounding.
CLASS_TOLERANCE = 5e-3


class DisagreementError(RuntimeError):
    """A contender does not compute what the others compute, so its time means nothing."""


class Comparison:
    """The times of all contenders on one thing; what `Result` and the kernels' results share."""

    measurements: dict[str, Measurement]  # by the name of the contender, nnlite's own among them
    skipped: dict[str, str]  # why a peer has none, by its name

    @property
    def key(self) -> str:
        """What was measured, as one word."""
        raise NotImplementedError

    @property
    def own(self) -> Measurement:
        return self.measurements[OWN]

    def ratio(self, peer: str, own: Measurement | None = None) -> float | None:
        """The peer's median over nnlite's; None where the peer was not measured."""
        if peer not in self.measurements:
            return None
        return self.measurements[peer].median / (own or self.own).median


@dataclass
class Result(Comparison):
    """The times of all contenders on one workload.

    Args:
        frozen: of inference, those of model.freeze() beside those of model.predict.
    """

    workload: Workload
    measurements: dict[str, Measurement]
    skipped: dict[str, str] = field(default_factory=dict)
    frozen: Measurement | None = None

    @property
    def key(self) -> str:
        return self.workload.key

    @property
    def gflops(self) -> float:
        """nnlite's matrix products in 1e9 operations per second of the whole step."""
        return self.rate(self.own)

    def rate(self, measurement: Measurement) -> float:
        """The same by another measurement."""
        return self.workload.flops / measurement.median / 1e9

    def forms(self) -> list[tuple[str, Measurement]]:
        """nnlite's own rows in a table, each with its label."""
        found = [(self.workload.name, self.own)]
        return found if self.frozen is None else [*found, ("  frozen", self.frozen)]


def expected_value(task: Task) -> Any:
    """What every contender's first call must return: the loss, or the class of every row."""
    model = MLP(task.layers, residual=task.workload.residual)
    logits = model.predict(task.x).astype(np.float64)
    if not task.workload.optimizer:
        return logits.argmax(axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(task.y)), task.y]
    return losses.mean()


def check_value(name: str, task: Task, value: Any, expected: Any) -> None:
    """Raises DisagreementError unless a contender's first result is the expected one."""
    if task.workload.optimizer:
        agrees = abs(value - expected) <= LOSS_TOLERANCE * (1 + abs(expected))
        got = f"a loss of {value:.6g} where the others have {expected:.6g}"
    else:
        wrong = np.count_nonzero(np.argmax(value, axis=1) != expected)
        agrees = wrong <= CLASS_TOLERANCE * len(expected)
        got = f"another class than the others in {wrong} of {len(expected)} rows"
    if not agrees:
        raise DisagreementError(
            f"bench: {name} on {task.workload.key}: {got}; it does not compute the same network, "
            "so it was not timed"
        )


def run_workload(
    workload: Workload, peers: Sequence[Peer], threads: int | None = None, seconds: float = 1.0
) -> Result:
    """Measures nnlite and the peers on one workload.

    Args:
        workload: what to run.
        peers: whom to compare with.
        threads: number of threads for each, or None for its own default.
        seconds: about how long to measure each of them.

    Raises:
        DisagreementError: a contender's first result is not the expected one.
        PeerError: a peer cannot be limited to that number of threads.
    """
    task = make_task(workload, threads)
    expected = expected_value(task)
    contenders: dict[str, Callable[[], Any]] = {}
    skipped = {}
    for peer in (PEERS[OWN], *peers):
        try:
            contenders[peer.name] = peer.contender(task)
        except NotImplementedError as error:
            skipped[peer.name] = str(error)
            continue
        check_value(peer.name, task, contenders[peer.name](), expected)
    if not workload.optimizer:
        contenders[FROZEN] = nnlite_peer.frozen(task)
        check_value(FROZEN, task, contenders[FROZEN](), expected)
    cores = partial(has_cores, nn.get_num_threads())
    times = measure(contenders, seconds, has_cores=cores)
    frozen = times.pop(FROZEN, None)
    return Result(workload, times, skipped, frozen)
