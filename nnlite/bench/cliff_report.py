"""The worst steps between widths and between numbers of threads, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nnlite.bench.cliffs import BATCH, STEP_LIMIT, THREAD_LIMIT, Cliffs, Ratio
from nnlite.bench.report import load_warning, time_cell, times_dict, title

SHOWN = 5


def _line(ratio: Ratio) -> str:
    span = f"{ratio.low} -> {ratio.high}"
    cells = f"{time_cell(ratio.before):>12}{time_cell(ratio.after):>12}"
    return f"  {ratio.name:<26}{span:>12}{cells}{ratio.value:>7.2f}x{ratio.first:>12.2f}x"


def _head(what: str) -> str:
    return f"  {'':<26}{what:>12}{'us ':>12}{'us ':>12}{'ratio':>8}{'first look':>13}"


def report(found: Cliffs, facts: dict[str, Any]) -> str:
    """The five worst steps, a verdict, and where threads do harm."""
    widths = next(iter(found.walk.values()))
    over = sum(step.value > STEP_LIMIT for step in found.steps)
    worst = found.steps[0]
    lines = [
        title(facts),
        "",
        f"Linear of w inputs and w outputs, batch {BATCH}, w from {min(widths)} to {max(widths)}: "
        "time(w+1) / time(w)",
        _head("widths"),
        *map(_line, found.steps[:SHOWN]),
        f"worst step: {worst.value:.2f}x, {worst.name}, {worst.low} -> {worst.high}; "
        + (f"{over} above {STEP_LIMIT}" if over else f"none above {STEP_LIMIT}"),
        "",
        *_threads(found, facts["threads"]),
        "",
        "ratio: the smaller of the ratios of best and of median times, measured anew side by side",
        *load_warning(facts.get("other_load")),
    ]
    return "\n".join(lines)


def _threads(found: Cliffs, threads: int) -> list[str]:
    if not found.threads:
        return ["one thread: nothing to compare it with"]
    worst = sorted(found.threads, key=lambda ratio: -ratio.value)[:SHOWN]
    over = sum(ratio.value > THREAD_LIMIT for ratio in found.threads)
    verdict = f"{over} above {THREAD_LIMIT}" if over else f"none above {THREAD_LIMIT}"
    shapes = len({ratio.name for ratio in found.threads})
    return [
        f"{shapes} kernels and shapes on 1 to {threads} threads: time over the time on one",
        _head("threads"),
        *map(_line, worst),
        f"more threads than one: {verdict}",
    ]


def _dicts(ratios: Iterable[Ratio]) -> list[dict[str, Any]]:
    return [
        {
            "name": ratio.name,
            "low": ratio.low,
            "high": ratio.high,
            "ratio": ratio.value,
            "first_ratio": ratio.first,
            "times": times_dict({"low": ratio.before, "high": ratio.after}),
        }
        for ratio in ratios
    ]


def as_dict(found: Cliffs, facts: dict[str, Any]) -> dict[str, Any]:
    """Every figure, ready for JSON. Times are in microseconds."""
    walk = {
        name: times_dict({str(width): times for width, times in row.items()})
        for name, row in found.walk.items()
    }
    limits = {"step": STEP_LIMIT, "threads": THREAD_LIMIT}
    return {
        "machine": facts,
        "limits": limits,
        "walk": walk,
        "steps": _dicts(found.steps),
        "threads": _dicts(found.threads),
    }
