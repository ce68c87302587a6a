"""`nnlite bench kernels`: each kernel alone, beside the machine's ceiling and other libraries.

The ceiling takes turns with the contenders, case by case, on the same threads and in the same
build: FMA chains for a product, a copy of the same arrays for everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlite.bench.cases import Case, make_inputs
from nnlite.bench.peers import PEERS, Kernel, Peer, PeerError
from nnlite.bench.roofline import Roofline, copy_probe, fma_probe, has_cores, last_level_cache
from nnlite.bench.runner import OWN, Comparison, DisagreementError
from nnlite.bench.threads import thread_limit
from nnlite.bench.timing import NOISY, Measurement, measure

# The contender with normal inputs beside one with denormals. Other libraries have no place there:
# some flush denormals to zero.
NORMAL = "normal"

# Peers may differ from nnlite by this share of the largest value: float32, sums in another order.
TOLERANCE = 1e-4
COMPARED = 1 << 16  # so many values are looked at
# Pause before a turn on one thread, in seconds: no pool is spinning that would have to fall asleep.
SETTLE_ALONE = 5e-3


@dataclass
class KernelResult(Comparison):
    """The times of all contenders and probes on one case.

    Args:
        amounts: operations or bytes of one run of each probe, by its name.
        peak: the highest FMA peak of the whole run, 1e9 operations per second, for a product.
    """

    case: Case
    measurements: dict[str, Measurement]
    amounts: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    peak: float = 0.0

    @property
    def key(self) -> str:
        return self.case.key

    @property
    def peers(self) -> list[str]:
        """The names of the other libraries that were measured."""
        return [name for name in self.measurements if name in PEERS and name != OWN]

    @property
    def rate(self) -> float:
        """1e9 operations (of products) or bytes (of the others) per second."""
        return (self.case.flops or self.case.bytes) / self.own.median / 1e9

    @property
    def ceiling(self) -> float | None:
        """The same of the best probe; None where there was none."""
        rates = [amount / self.measurements[name].median for name, amount in self.amounts.items()]
        return max(rates) / 1e9 if rates else None

    @property
    def share(self) -> float | None:
        """Medians: nnlite's rate over the ceiling."""
        return self.rate / self.ceiling if self.ceiling else None

    @property
    def noisy_ceiling(self) -> bool:
        """Whether a probe was disturbed, so that `share` means little."""
        return any(self.measurements[name].spread > NOISY for name in self.amounts)

    @property
    def best_share(self) -> float | None:
        """The same of the quickest samples, which other programs disturbed least."""
        rates = [amount / self.measurements[name].best for name, amount in self.amounts.items()]
        own = (self.case.flops or self.case.bytes) / self.own.best
        return own / max([*rates, self.peak * 1e9]) if rates else None

    @property
    def slowdown(self) -> float | None:
        """How many times the time for normal inputs."""
        ratio = self.ratio(NORMAL)
        return 1 / ratio if ratio else None


def probes(case: Case) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """The probes of a case's ceiling, and what one run of each does."""
    if case.inputs != "normal":
        return {}, {}
    if case.flops:
        probe, flops = fma_probe(case.dtype, case.threads, seconds=1e-3)
        return {"fma": probe}, {"fma": flops}
    source = np.ones(case.shape, case.dtype)
    copy = np.empty_like(source)
    names = ["copy"] + ["stream"] * (case.bytes > last_level_cache() / 2)
    runs = {name: copy_probe(source, copy, name == "stream", case.threads) for name in names}
    return runs, dict.fromkeys(names, 2.0 * source.nbytes)


def _head(values: Any) -> NDArray[np.float64]:
    return np.asarray(values).reshape(-1)[:COMPARED].astype(np.float64)


def check_values(name: str, case: Case, values: Any, expected: Any) -> None:
    """Raises DisagreementError unless a peer computed what nnlite computed."""
    got, own = _head(values), _head(expected)
    error, size = np.abs(got - own).max(), np.abs(own).max()
    if not error <= TOLERANCE * size:
        raise DisagreementError(
            f"bench: {name} on {case.key}: differs from nnlite by {error:.3g} where the largest "
            f"value is {size:.3g}; it does not compute the same, so it was not timed"
        )


def _contenders(case: Case, peers: Sequence[Peer]) -> tuple[dict[str, Kernel], dict[str, str]]:
    """Kernels by name, each checked, and why others have none."""
    inputs = make_inputs(case)
    skipped: dict[str, str] = {}
    kernels = {OWN: PEERS[OWN].kernel(case, inputs)}
    kernels[OWN].run()
    if case.inputs != "normal":
        normal = replace(case, inputs="normal")
        return {**kernels, NORMAL: PEERS[OWN].kernel(normal, make_inputs(normal))}, skipped
    for peer in peers if case.door == "functional" else ():
        try:
            kernels[peer.name] = peer.kernel(case, inputs)
        except NotImplementedError as error:
            skipped[peer.name] = str(error)
            continue
        kernels[peer.name].run()
        check_values(peer.name, case, kernels[peer.name].value(), kernels[OWN].value())
    return kernels, skipped


def run_case(case: Case, peers: Sequence[Peer], seconds: float) -> KernelResult:
    """Measures one case.

    Args:
        case: what to run, and on how many threads.
        peers: whom to compare with.
        seconds: about how long to measure each contender.

    Raises:
        DisagreementError: a peer computes something else.
        PeerError: NumPy's BLAS cannot be limited to that number of threads.
    """
    blas = bool(case.flops) and "numpy" in [peer.name for peer in peers]
    with thread_limit(case.threads, blas):
        kernels, skipped = _contenders(case, peers)
        runs, amounts = probes(case)
        runs.update((name, kernel.run) for name, kernel in kernels.items())
        measurements = measure(
            runs, seconds, SETTLE_ALONE if case.threads == 1 else None,
            has_cores=partial(has_cores, case.threads),
        )  # fmt: skip
    for name, kernel in kernels.items():
        measurements[name] = measurements[name].divided(kernel.repeats)
    return KernelResult(case, measurements, amounts, skipped)


def run_cases(
    cases: Sequence[Case], peers: Sequence[Peer], seconds: float, progress: Callable[[str], None]
) -> list[KernelResult]:
    """Measures all cases. A peer that cannot be limited to a case's threads is left out of it."""
    results = []
    for k, case in enumerate(cases, 1):
        progress(f"measuring {case.key} ({k} of {len(cases)})")
        try:
            results.append(run_case(case, peers, seconds))
        except PeerError as error:
            others = [peer for peer in peers if peer.name != "numpy"]
            results.append(run_case(case, others, seconds))
            results[-1].skipped["numpy"] = str(error)
    return results


def raise_peaks(results: Sequence[KernelResult], roofline: Roofline) -> None:
    """Tells the roofline the highest FMA peaks met beside the products, and then each product."""
    for result in results:
        if "fma" in result.amounts:
            peak = result.amounts["fma"] / result.measurements["fma"].best / 1e9
            roofline.raise_to(Roofline({result.case.dtype: {result.case.threads: peak}}))
    for result in results:
        if "fma" in result.amounts:
            result.peak = roofline.fma[result.case.dtype][result.case.threads]
