"""`nnlite bench --cliffs`: where one more column, or one more thread, costs more than it should.

A layer of w inputs and w outputs takes time(w). Walking w in steps of 1 shows where a kernel falls
off its fast path: time(w+1) / time(w) should stay below 1.3. And no kernel may take longer on
several threads than on one.

A ratio is taken twice, of the quickest samples and of the medians, and the smaller one counts:
what other programs disturb raises one of them, a cliff raises both. The worst are measured again,
side by side and for longer, and only that second ratio is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

import nnlite as nn
from nnlite._core import native
from nnlite.bench.cases import CACHED, Case, make_inputs
from nnlite.bench.peers import PEERS, Kernel
from nnlite.bench.report import count_text
from nnlite.bench.runner import OWN
from nnlite.bench.threads import thread_limit
from nnlite.bench.timing import Clock, Measurement, measure

Call = Callable[[], object]
Progress = Callable[[str], None]

BATCH = 32
WIDTHS = range(16, 257)
STEP_LIMIT = 1.3
THREAD_LIMIT = 1.1
# Parts of --seconds: for each width of the walk, for each call that is measured again, for each
# number of threads; what is measured again there takes AGAIN times as long.
WALK_PART, AGAIN_PART, THREADS_PART = 0.01, 0.5, 0.25
AGAIN = 4
# So many steps are measured again, or all above the limit, but not endlessly many.
CANDIDATES, CANDIDATES_MOST = 12, 60

THREAD_CASES = (
    *(Case("calls", layout, (32, 64, 64), door="inside-C") for layout in ("nn", "tn", "nt")),
    Case("calls", "nn", (1, 784, 512), door="pointers"),
    Case("calls", "nn", (16, 256, 256), door="pointers"),
    Case("calls", "nn", (64, 128, 128), door="pointers"),
    Case("calls", "nn", (128, 784, 512), door="pointers"),
    Case("calls", "tn", (784, 128, 512), door="pointers"),
    Case("calls", "nt", (128, 512, 784), door="pointers"),
    Case("calls", "nn", (4096, 64, 10), door="pointers"),
    *(Case("cache", "relu", (n,)) for n in (4096, 16_384, CACHED, 1 << 20)),
    *(Case("cache", "sigmoid", (n,)) for n in (1024, 4096, 16_384, CACHED)),
    *(Case("rows", "softmax", shape) for shape in ((32, 10), (128, 10), (4096, 10), (4096, 100))),
    *(Case("rows", "softmax_ce", shape) for shape in ((32, 10), (128, 10), (4096, 100))),
)


@dataclass(frozen=True)
class Ratio:
    """One time over another.

    Args:
        name: what was measured: "dx, 2 threads".
        low, high: the widths, or the numbers of threads.
        first: the ratio in the walk.
        before, after: the times that count, of low and of high.
    """

    name: str
    low: int
    high: int
    first: float
    before: Measurement
    after: Measurement

    @property
    def value(self) -> float:
        return beyond_noise(self.before, self.after)


@dataclass
class Cliffs:
    """What was found: the worst steps first, thread ratios in the order of THREAD_CASES."""

    walk: dict[str, dict[int, Measurement]]
    steps: list[Ratio]
    threads: list[Ratio]


def beyond_noise(before: Measurement, after: Measurement) -> float:
    """after / before, at least: the smaller ratio of best and median times."""
    return min(after.best / before.best, after.median / before.median)


def layer_calls(width: int, threads: int) -> dict[str, Call]:
    """Forward, dx and dW of a Linear layer as C calls with pointers made before."""
    random = np.random.default_rng(width)
    batch, square = (BATCH, width), (width, width)
    shapes = batch, square, (width,), batch, batch, square, (width,)
    arrays = [random.standard_normal(shape, np.float32) for shape in shapes]
    x, weight, bias, y, x_grad, weight_grad, bias_grad = map(native.pointer, arrays)
    kernels, size = native.kernels(np.float32), (BATCH, width, width)
    last = native.IDENTITY, threads
    return {
        "forward": partial(kernels.Linear_updateOutput, *size, x, y, weight, bias, *last),
        "dx": partial(kernels.Linear_updateGradInput, *size, y, x_grad, weight, native.NULL, *last),
        "dW": partial(
            kernels.Linear_accGradParameters, *size, x, y, weight_grad, bias_grad, 1.0, threads
        ),
    }


def walk_steps(
    series: dict[str, dict[int, Call]], seconds: float, progress: Progress, clock: Clock
) -> tuple[dict[str, dict[int, Measurement]], list[Ratio]]:
    """Measures calls width by width, then the worst steps between neighbours again.

    Args:
        series: calls by width, by the name of what they do.
        seconds: the unit of which WALK_PART and AGAIN_PART are parts.

    Returns:
        The times of the walk, and the steps that were measured again, worst first.
    """
    walk, candidates = {}, []
    for name, calls in series.items():
        progress(f"walking {name}")
        walk[name] = _measure(calls, WALK_PART * seconds, clock)
        for low, high in zip(calls, list(calls)[1:], strict=False):
            first = beyond_noise(walk[name][low], walk[name][high])
            candidates.append((first, name, low, high))
    candidates.sort(reverse=True)
    steep = sum(first > STEP_LIMIT for first, *_ in candidates)
    steps = []
    for first, name, low, high in candidates[: min(max(CANDIDATES, steep), CANDIDATES_MOST)]:
        progress(f"measuring {name}, {low} -> {high} again")
        pair = {width: series[name][width] for width in (low, high)}
        again = _measure(pair, AGAIN_PART * seconds, clock)
        steps.append(Ratio(name, low, high, first, again[low], again[high]))
    return walk, sorted(steps, key=lambda step: -step.value)


def _measure(calls: dict[int, Call], seconds: float, clock: Clock) -> dict[int, Measurement]:
    """As `measure`, by numbers instead of names and without pauses."""
    named = {str(key): call for key, call in calls.items()}
    return dict(zip(calls, measure(named, seconds, 0.0, clock).values(), strict=True))


def compare_threads(
    name: str,
    calls: dict[int, Kernel],
    seconds: float,
    settle: float | None = None,
    clock: Clock = time.perf_counter,
) -> list[Ratio]:
    """Times on several threads over the time on one; above the limit they are measured again.

    Args:
        name: what the calls compute.
        calls: by the number of threads, 1 among them.
        seconds: about how long to measure each of them at first.
    """
    found = []
    named = {str(count): kernel.run for count, kernel in calls.items()}
    times = measure(named, seconds, settle, clock)
    for count in list(calls)[1:]:
        before, after = times["1"], times[str(count)]
        first = beyond_noise(before, after)
        if first > THREAD_LIMIT:
            pair = {key: named[key] for key in ("1", str(count))}
            before, after = measure(pair, AGAIN * seconds, settle, clock).values()
        repeats = calls[count].repeats
        found.append(Ratio(name, 1, count, first, before.divided(repeats), after.divided(repeats)))
    return found


def _on_threads(case: Case, count: int) -> Kernel:
    """The case on so many threads."""
    case = replace(case, threads=count)
    kernel = PEERS[OWN].kernel(case, make_inputs(case))
    if case.door != "functional":
        return kernel  # the number of threads is an argument of its calls

    def limited() -> None:
        nn.set_num_threads(count)
        kernel.run()

    return kernel._replace(run=limited)


def run(threads: int, seconds: float, progress: Progress) -> Cliffs:
    """Walks the widths on one thread and on that many, then compares all numbers of threads.

    Args:
        threads: the largest number of threads.
        seconds: about how long to measure each call that may be told in the end.
    """
    series: dict[str, dict[int, Call]] = {}
    for count in sorted({1, threads}):
        for width in WIDTHS:
            for name, call in layer_calls(width, count).items():
                series.setdefault(f"{name}, {count_text(count)}", {})[width] = call
    walk, steps = walk_steps(series, seconds, progress, time.perf_counter)
    compared: list[Ratio] = []
    with thread_limit(threads, blas=False):  # undoes what the calls set
        for case in THREAD_CASES if threads > 1 else ():
            name = f"{case.kernel} {case.size}"
            progress(f"comparing threads on {name}")
            calls = {count: _on_threads(case, count) for count in range(1, threads + 1)}
            compared += compare_threads(name, calls, THREADS_PART * seconds)
    return Cliffs(walk, steps, compared)
