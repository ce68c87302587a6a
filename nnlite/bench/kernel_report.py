"""The kernels' figures as tables for a terminal of 100 columns, as JSON, and as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnlite.bench.cases import SHORT
from nnlite.bench.kernels import KernelResult
from nnlite.bench.plot import Bar
from nnlite.bench.report import MARK, count_text, digits, heading, summary, time_cell, times_dict
from nnlite.bench.roofline import Roofline

# Titles of the tables, and what a share is a share of.
GROUPS = {
    "products": "products op(a) op(b), m x k x n: nn is x W, tn is x^T dy, nt is dy W^T",
    "calls": "one small product: inside C, by a kept call of the C function, by nn.functional",
    "small": "small products through nn.functional.matmul",
    "cache": "element-wise, in cache",
    "memory": "element-wise, beyond the last-level cache",
    "rows": "rows x columns; softmax_ce is the loss with its gradient",
    "steps": "steps of an optimiser by .step(): SGD with momentum, Adam, RMSprop",
    "denormals": "below the normal range: time over the time for normal inputs",
}
LABEL = 26
LARGEST_SHARE = 9.99
NOTES = """\
of peak: FMA chains on the same threads; of copy: a copy of an array of that size. Both took turns
with the kernel. best: its quickest sample over the highest peak of the run, or the quickest copy.
GB/s: bytes read and written."""


def _label(result: KernelResult) -> str:
    case = result.case
    parts = [case.kernel, case.size]
    parts += [case.door] if case.group == "calls" else []
    parts += [case.inputs] if case.inputs != "normal" else []
    return " ".join(parts)


def _percent(share: float | None, noisy: bool = False) -> str:
    """As wide for quiet as for noisy ones. A disturbed probe makes any share possible."""
    if share is None:
        return "- "
    text = f"{share:.1%}" if share < LARGEST_SHARE else f">{LARGEST_SHARE:.0%}"
    return text + (MARK if noisy else " ")


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{digits(ratio)}x"


def _head(group: str, peers: Sequence[str]) -> str:
    if group == "denormals":
        return f"{'':{LABEL + 14}}{'type':>4}{'us ':>13}{'slowdown':>10}"
    product = group in ("products", "calls", "small")
    unit, ceiling = ("GFLOP/s", "of peak ") if product else ("GB/s", "of copy ")
    line = f"  {'':{LABEL}}{'type':>4}{'t':>3}{'us ':>13}{unit:>9}{ceiling:>10}{'best ':>8}"
    return line + "".join(f"{peer:>9}" for peer in peers)


def _line(result: KernelResult, peers: Sequence[str]) -> str:
    case, time = result.case, time_cell(result.own)
    label, dtype = _label(result), SHORT[case.dtype]
    if case.inputs != "normal":
        return f"  {label:{LABEL + 12}}{dtype:>4}{time:>13}{_ratio(result.slowdown):>10}"
    line = f"  {label:{LABEL}}{dtype:>4}{case.threads:>3}{time:>13}{digits(result.rate):>9}"
    line += f"{_percent(result.share, result.noisy_ceiling):>10}"
    line += f"{_percent(result.best_share):>8}"
    return line + "".join(f"{_ratio(result.ratio(peer)):>9}" for peer in peers)


def table(results: Sequence[KernelResult], peers: Sequence[str]) -> str:
    """One table for each group that has results."""
    tables = []
    for group, title in GROUPS.items():
        lines = [_line(result, peers) for result in results if result.case.group == group]
        if lines:
            tables.append("\n".join([title, _head(group, peers), *lines]))
    return "\n\n".join(tables)


def report(
    results: Sequence[KernelResult],
    peers: Sequence[str],
    roofline: Roofline,
    facts: dict[str, Any],
) -> str:
    """The whole text."""
    last = summary(results, peers, facts.get("other_load"))
    return "\n\n".join(
        [heading(facts, roofline), table(results, peers), NOTES + ("\n" + last if last else "")]
    )


def as_dict(
    results: Sequence[KernelResult], roofline: Roofline, facts: dict[str, Any]
) -> dict[str, Any]:
    """Every figure, ready for JSON. Times are in microseconds."""
    return {
        "machine": facts,
        "roofline": roofline.as_dict(),
        "results": [_result_dict(result) for result in results],
    }


def _result_dict(result: KernelResult) -> dict[str, Any]:
    case = result.case
    return {
        "key": case.key,
        "group": case.group,
        "kernel": case.kernel,
        "shape": list(case.shape),
        "dtype": case.dtype,
        "threads": case.threads,
        "door": case.door,
        "inputs": case.inputs,
        "flops": case.flops,
        "bytes": case.bytes,
        "gflops" if case.flops else "gbytes": result.rate,
        "ceiling": result.ceiling,
        "share": result.share,
        "best_share": result.best_share,
        "slowdown": result.slowdown,
        "ratio": {name: result.ratio(name) for name in result.peers},
        "contenders": times_dict(result.measurements),
        "skipped": result.skipped,
    }


def bars(results: Sequence[KernelResult], peers: Sequence[str]) -> list[Bar]:
    """What the picture shows."""
    return [
        Bar(
            f"{_label(result)}\n{SHORT[result.case.dtype]}, {count_text(result.case.threads)}",
            {peer: ratio for peer in peers if (ratio := result.ratio(peer)) is not None},
            result.best_share,
            f"{digits(result.rate)} {'GFLOP/s' if result.case.flops else 'GB/s'}",
        )
        for result in results
    ]
