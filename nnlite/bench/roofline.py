"""What this machine can do at most: FMA peak, copy bandwidth and the cost of a parallel region,
measured by probes in C.

The best of several runs is taken, not the median: the roof is what the machine can do when nobody
else wants it.

Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nnlite._core import native

FMA_SECONDS = 5e-3
ROUNDS = 5
REGION_ROUNDS = 2001
CORE_SECONDS = 5e-4
# Share of `threads` times the peak of one thread that cores of their own reach.
WHOLE = 0.8
# Both arrays of the copy, in bytes: each at least this, and twice the last-level cache.
COPY_BYTES = 64 << 20
COPY_BYTES_MOST = 512 << 20


@dataclass
class Roofline:
    """The ceilings, by type name and number of threads.

    Args:
        fma: 1e9 floating-point operations per second, a fused multiply-add counted as two.
        copy: 1e9 bytes per second, read plus written, through the caches.
        stream: the same with streaming stores.
        region: seconds that a parallel region costs beyond its work, on several threads.
    """

    fma: dict[str, dict[int, float]] = field(default_factory=dict)
    copy: dict[int, float] = field(default_factory=dict)
    stream: dict[int, float] = field(default_factory=dict)
    region: dict[int, float] = field(default_factory=dict)

    def raise_to(self, other: Roofline) -> None:
        """Keeps the higher of each pair of ceilings."""
        for dtype, peaks in other.fma.items():
            _keep_higher(self.fma.setdefault(dtype, {}), peaks)
        _keep_higher(self.copy, other.copy)
        _keep_higher(self.stream, other.stream)
        self.region.update(other.region)

    def as_dict(self) -> dict[str, object]:
        return {
            "fma_gflops": {dtype: _text_keys(peaks) for dtype, peaks in self.fma.items()},
            "copy_gbytes": _text_keys(self.copy),
            "streaming_copy_gbytes": _text_keys(self.stream),
            "region_us": _text_keys({count: 1e6 * cost for count, cost in self.region.items()}),
        }


def _keep_higher(mine: dict[int, float], other: dict[int, float]) -> None:
    for threads, value in other.items():
        mine[threads] = max(value, mine.get(threads, 0.0))


def _text_keys(peaks: dict[int, float]) -> dict[str, float]:
    return {str(threads): value for threads, value in peaks.items()}


def _best(run: Callable[[], object], rounds: int) -> float:
    """Seconds of the quickest of some runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _call(probe: Callable[..., int], *arguments: object) -> None:
    if status := probe(*arguments):
        native.fail("roofline", status)


Probe = Callable[[], object]


def fma_probe(
    dtype: object, threads: int, seconds: float = FMA_SECONDS, rounds: int = ROUNDS
) -> tuple[Probe, float]:
    """A call of about so many seconds that does fused multiply-adds, and its operations."""
    probe, flops = native.kernels(dtype).roofline_fma, native.cell("double")
    trial = 10_000
    taken = _best(lambda: _call(probe, trial, flops, threads), rounds)
    iterations = max(1, int(trial * seconds / taken))
    _call(probe, iterations, flops, threads)
    return lambda: _call(probe, iterations, flops, threads), flops[0]


def fma_peak(dtype: type[np.floating], threads: int, rounds: int = ROUNDS) -> float:
    """FMA peak in 1e9 operations per second."""
    probe, flops = fma_probe(dtype, threads, rounds=rounds)
    return flops / _best(probe, rounds) / 1e9


def has_cores(threads: int) -> bool:
    """Whether several threads compute nearly as much as they would on a core each.

    Hosts of virtual machines at times run two virtual cores on one physical core, for seconds.
    """
    if threads < 2:
        return True
    one, all_of_them = (fma_probe(np.float32, t, CORE_SECONDS, 3) for t in (1, threads))
    rates = [flops / _best(probe, 5) for probe, flops in (one, all_of_them)]
    return rates[1] > WHOLE * threads * rates[0]


def region_cost(threads: int, rounds: int = REGION_ROUNDS) -> float:
    """Seconds by which a parallel region of that many threads is slower than a call without one."""
    probe, flops = native.kernels(np.float32).roofline_fma, native.cell("double")
    medians = []
    for count in (1, threads):
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            probe(1, flops, count)
            times.append(time.perf_counter() - start)
        medians.append(sorted(times)[rounds // 2])
    return max(0.0, medians[1] - medians[0])


def last_level_cache() -> int:
    """Size of the largest cache in bytes, 0 where the system does not tell."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        try:
            text = path.read_text().strip()
            sizes.append(int(text[:-1]) << {"K": 10, "M": 20}[text[-1]])
        except (OSError, ValueError, KeyError):
            continue
    return max(sizes)


def copy_probe(source: np.ndarray, copy: np.ndarray, streaming: bool, threads: int) -> Probe:
    """A call that copies an array."""
    probe = native.kernels(source.dtype).roofline_copy
    pointers = native.pointer(source), native.pointer(copy)
    return lambda: _call(probe, source.size, *pointers, streaming, threads)


def copy_bandwidth(threads: int, streaming: bool, rounds: int = ROUNDS) -> float:
    """Bandwidth of a copy beyond the caches in 1e9 bytes per second, read plus written."""
    size = min(max(COPY_BYTES, 2 * last_level_cache()), COPY_BYTES_MOST)
    source, copy = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    run = copy_probe(source, copy, streaming, threads)
    run()  # the first touch of the pages
    return 2e-9 * size / _best(run, rounds)


def measure_fma(threads: int) -> Roofline:
    """FMA peaks alone, on one thread and on that many: some 0.1 s."""
    counts = sorted({1, threads})
    return Roofline(
        fma={
            np.dtype(dtype).name: {count: fma_peak(dtype, count) for count in counts}
            for dtype in (np.float32, np.float64)
        }
    )


def measure_roofline(threads: int) -> Roofline:
    """All ceilings, on one thread and on that many: about a second."""
    roofline = measure_fma(threads)
    for count in sorted({1, threads}):
        roofline.copy[count] = copy_bandwidth(count, streaming=False)
        roofline.stream[count] = copy_bandwidth(count, streaming=True)
    if threads > 1:
        roofline.region[threads] = region_cost(threads)
    return roofline
