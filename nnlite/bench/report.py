"""The figures as a table for a terminal of 100 columns, and as JSON."""

from __future__ import annotations

import json
import math
import os
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nnlite.bench.plot import Bar
from nnlite.bench.roofline import Roofline
from nnlite.bench.runner import OWN, Comparison, Result
from nnlite.bench.timing import NOISY, Measurement

MARK = "~"  # beside a median whose samples spread by more than NOISY
WIDTH = 98
# Other programs' share of the cores above which the reader is warned.
BUSY = 0.05
SLOWEST_SHOWN = 8


def digits(value: float) -> str:
    """Three digits or more: 3.42, 34.2, 342, 34,200."""
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def geometric_mean(values: Iterable[float]) -> float:
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))


def title(facts: dict[str, Any]) -> str:
    """What was measured, on which machine."""
    versions = dict(facts["versions"])
    text = f"nnlite {versions.pop(OWN)}, {facts['isa']} build, {count_text(facts['threads'])}; "
    core = f", kernels for {facts['blas_core']}" if facts.get("blas_core") else ""
    versions["numpy"] += f" ({facts['blas']}{core})"
    text += ", ".join(f"{name} {version}" for name, version in versions.items())
    machine = f"{facts['processor']}, {facts['cores']} cores"
    return f"{textwrap.fill(text, WIDTH, subsequent_indent='  ')}\n{machine}"


def heading(facts: dict[str, Any], roofline: Roofline) -> str:
    """What was measured, and the machine's ceilings."""
    counts = sorted(roofline.copy)

    def ceilings(peaks: dict[int, float]) -> str:
        return " / ".join(f"{peaks[count]:.0f}" for count in counts)

    return "\n".join(
        [
            f"{title(facts)}. Measured ceilings on "
            f"{' / '.join(map(str, counts))} {'thread' if counts == [1] else 'threads'}:",
            f"  FMA peak  float32 {ceilings(roofline.fma['float32'])} GFLOP/s,  "
            f"float64 {ceilings(roofline.fma['float64'])} GFLOP/s",
            f"  copy      {ceilings(roofline.copy)} GB/s,  "
            f"with streaming stores {ceilings(roofline.stream)} GB/s",
            *(
                f"  a parallel region of {count} threads costs {1e6 * cost:.1f} us"
                for count, cost in roofline.region.items()
            ),
        ]
    )


def count_text(count: int) -> str:
    """1 thread, 2 threads."""
    return f"{count} thread" if count == 1 else f"{count} threads"


def _groups(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Results under the titles of their kinds, in order."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        optimizer = result.workload.optimizer
        title = f"one training step, {optimizer}" if optimizer else "inference"
        groups.setdefault(title, []).append(result)
    return list(groups.items())


def time_cell(measurement: Measurement) -> str:
    """The median in microseconds with its mark, as wide for quiet as for noisy ones."""
    return digits(measurement.median * 1e6) + (MARK if measurement.spread > NOISY else " ")


def _peer_cells(result: Result, peer: str, width: int, own: Measurement) -> str:
    ratio = result.ratio(peer, own)
    if ratio is None:
        return f"{'- ':>{width}}{'':8}"
    return f" {time_cell(result.measurements[peer]):>{width - 1}}{digits(ratio):>7}x"


def main_table(results: Sequence[Result], peak: float, baseline: str | None) -> str:
    """Medians of nnlite and of the baseline.

    Args:
        results: what was measured.
        peak: FMA peak in GFLOP/s for float32 on the threads used.
        baseline: the peer beside nnlite, or None.
    """
    head = f"{'':14}{'batch':>5}  {'layers':<20}{'nnlite us ':>13}{'GFLOP/s':>9}{'of peak':>9}"
    lines = [head + (f"{baseline + ' us ':>14}{'ratio':>8}" if baseline else "")]
    for title, group in _groups(results):
        lines.append(title)
        for result in group:
            workload = result.workload
            for label, own in result.forms():
                time, rate = time_cell(own), result.rate(own)
                line = f"  {label:<12}{workload.batch:>5}  {workload.shape:<20}"
                line += f"{time:>13}{digits(rate):>9}{rate / peak:>9.1%}"
                lines.append(line + (_peer_cells(result, baseline, 14, own) if baseline else ""))
    return "\n".join(lines)


def peer_table(results: Sequence[Result], peers: Sequence[str]) -> str:
    """Median in microseconds and ratio of each peer."""
    lines = [f"{'us, ratio':<14}" + "".join(f"{peer:>17}" for peer in peers)]
    for title, group in _groups(results):
        lines.append(title)
        for result in group:
            for label, own in result.forms():
                cells = "".join(_peer_cells(result, peer, 9, own) for peer in peers)
                lines.append(f"  {label:<12}{cells}".rstrip())
    return "\n".join(lines)


def summary(results: Sequence[Comparison], peers: Sequence[str], other_load: float | None) -> str:
    """What the ratios mean, their geometric means, and warnings about noise."""
    lines = []
    if peers:
        lines.append("ratio: the peer's median over nnlite's; above 1, nnlite is the faster one")
    for peer in peers:
        ratios = {r.key: ratio for r in results if (ratio := r.ratio(peer)) is not None}
        if not ratios:
            lines.append(f"  {peer}: has nothing to measure here")
            continue
        text = f"  {peer}: {geometric_mean(ratios.values()):.2f}x in the geometric mean"
        slower = sorted((ratio, key) for key, ratio in ratios.items() if ratio < 1)
        shown = [f"{key} {ratio:.2f}x" for ratio, key in slower[:SLOWEST_SHOWN]]
        text += f"; below 1: {', '.join(shown)}" if slower else ""
        text += f" and {len(slower) - len(shown)} more" if len(slower) > len(shown) else ""
        lines.append(textwrap.fill(text, WIDTH, subsequent_indent="    "))
    if any(m.spread > NOISY for result in results for m in result.measurements.values()):
        lines.append(
            f"{MARK} noisy: the middle half of the samples spreads over more than {NOISY:.0%}"
        )
    if not all(m.undisturbed for result in results for m in result.measurements.values()):
        lines.append("Some were measured while the machine did not have all its cores: run again")
    return "\n".join(lines + load_warning(other_load))


def load_warning(other_load: float | None) -> list[str]:
    """A line about other programs, if they took a notable share of the cores."""
    if other_load is None or other_load <= BUSY:
        return []
    return [
        f"Other programs took {other_load:.0%} of the cores meanwhile: run again on a quiet machine"
    ]


def bars(results: Sequence[Result], peers: Sequence[str], peak: float) -> list[Bar]:
    """What the picture shows."""
    return [
        Bar(
            f"{result.key}\n{result.workload.batch}: {result.workload.shape}",
            {peer: ratio for peer in peers if (ratio := result.ratio(peer)) is not None},
            result.gflops / peak,
            f"{digits(result.gflops)} GFLOP/s",
        )
        for result in results
    ]


def report(
    results: Sequence[Result], peers: Sequence[str], roofline: Roofline, facts: dict[str, Any]
) -> str:
    """The whole text."""
    baseline = "numpy" if "numpy" in peers else None
    others = [peer for peer in peers if peer != baseline]
    peak = roofline.fma["float32"][facts["threads"]]
    parts = [heading(facts, roofline), main_table(results, peak, baseline)]
    if others:
        parts.append(peer_table(results, others))
    if text := summary(results, peers, facts.get("other_load")):
        parts.append(text)
    return "\n\n".join(parts)


def as_dict(results: Sequence[Result], roofline: Roofline, facts: dict[str, Any]) -> dict[str, Any]:
    """Every figure, ready for JSON. Times are in microseconds."""
    peak = roofline.fma["float32"][facts["threads"]]
    return {
        "machine": facts,
        "roofline": roofline.as_dict(),
        "results": [_result_dict(result, peak) for result in results],
    }


def _result_dict(result: Result, peak: float) -> dict[str, Any]:
    workload = result.workload
    peers = [name for name in result.measurements if name != OWN]
    return {
        "workload": workload.name,
        "kind": workload.kind,
        "optimizer": workload.optimizer,
        "batch": workload.batch,
        "widths": list(workload.widths),
        "parameters": workload.parameters,
        "flops": workload.flops,
        "gflops": result.gflops,
        "fraction_of_peak": result.gflops / peak,
        "ratio": {peer: result.ratio(peer) for peer in peers},
        "contenders": times_dict(result.measurements),
        "skipped": result.skipped,
        "frozen": None if result.frozen is None else _times(result.frozen),
    }


def times_dict(measurements: dict[str, Measurement]) -> dict[str, Any]:
    """Every time of every contender, in microseconds."""
    return {name: _times(m) for name, m in measurements.items()}


def _times(m: Measurement) -> dict[str, Any]:
    return {
        "median_us": m.median * 1e6,
        "best_us": m.best * 1e6,
        "spread": m.spread,
        "calls_per_sample": m.calls,
        "samples_us": [sample * 1e6 for sample in m.samples],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
