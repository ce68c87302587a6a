"""`nnlite bench`: arguments, and the run from arguments to files."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nnlite as nn
from nnlite.bench import (
    cases,
    cliff_report,
    cliffs,
    compare,
    fits,
    graphs,
    kernel_report,
    kernels,
    report,
)
from nnlite.bench.facts import OtherLoad, machine_facts
from nnlite.bench.peers import Peer, PeerError, select_peers
from nnlite.bench.plot import Bar, write_plot
from nnlite.bench.roofline import measure_fma, measure_roofline
from nnlite.bench.runner import DisagreementError, Result, run_workload
from nnlite.bench.threads import thread_limit
from nnlite.bench.workloads import UnknownNameError, Workload, all_workloads, select


class UsageError(ValueError):
    """An argument that cannot be used."""


def optimizers() -> list[str]:
    """The optimisers of nnlite that the workloads know."""
    return [name for name in ("sgd", "adam") if hasattr(nn.optim, {"sgd": "SGD"}.get(name, "Adam"))]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives a parser the arguments of `nnlite bench`."""
    parser.add_argument(
        "names",
        nargs="*",
        help="workloads, training or inference; default all: "
        + ", ".join(dict.fromkeys(w.name for w in all_workloads()))
        + ". Or kernels: every kernel alone; words after it choose among them: "
        + ", ".join(kernel_report.GROUPS)
        + ", nn, exp, f64, 128x784x512, .... Or autograd: expressions on small "
        + "arrays against PyTorch. Or fit: whole fits against scikit-learn, and many "
        "networks at once. Or compare: the README's table",
    )
    parser.add_argument(
        "--cliffs",
        action="store_true",
        help="walk the widths of a layer and the numbers of threads; print what costs most",
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of each contender; default its own"
    )
    parser.add_argument(
        "--peers",
        default="numpy",
        metavar="LIST",
        help="of numpy, torch, torch-compile, jax, sklearn, onnxruntime; or all (that are "
        "installed), or none; default numpy",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="about how long to measure each contender on each workload or kernel; default 1",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture (PNG, SVG, PDF)")


def _check(args: argparse.Namespace) -> None:
    """Raises UsageError for what would fail only after minutes of measuring."""
    if args.threads is not None and args.threads < 1:
        raise UsageError(f"bench: --threads must be at least 1, got {args.threads}")
    if not 0 < args.seconds < float("inf"):
        raise UsageError(f"bench: --seconds must be positive, got {args.seconds:g}")
    for name in ("fit", "autograd", "compare"):
        if args.names[:1] == [name] and (args.names[1:] or args.plot is not None):
            raise UsageError(f"bench: {name} takes neither other names nor --plot")
    if args.cliffs and (args.names or args.plot is not None):
        raise UsageError("bench: --cliffs takes neither names nor --plot")
    for option, path in (("--json", args.json), ("--plot", args.plot)):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise UsageError(f"bench: {option} {path}: not a file in an existing folder")
    if args.plot is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise UsageError("bench: --plot needs matplotlib: pip install 'nnlite[bench]'")
        if args.plot.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"bench: --plot {args.plot}: expected a name in .png, .svg or .pdf")


def _progress(text: str) -> None:
    """One line on a terminal, overwritten by the next; nothing in a pipe."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


class Outcome(NamedTuple):
    """What a run has to tell: as text, as JSON, and as a picture with the title of its shares."""

    text: str
    content: dict[str, Any]
    bars: list[Bar]
    title: str


def _run_workloads(args: argparse.Namespace, peers: Sequence[Peer]) -> Outcome:
    """Every workload on the threads that were asked for."""
    workloads: list[Workload] = select(args.names, all_workloads(optimizers()))
    names = [peer.name for peer in peers]
    with thread_limit(args.threads, bool({"numpy", "sklearn"} & set(names))) as threads:
        facts, load = machine_facts(threads, names), OtherLoad()
        _progress("measuring the machine")
        roofline = measure_roofline(threads)
        results: list[Result] = []
        for k, workload in enumerate(workloads, 1):
            _progress(f"measuring {workload.key} ({k} of {len(workloads)})")
            results.append(run_workload(workload, peers, args.threads, args.seconds))
            # The peak again and again: on a shared machine one look may miss it.
            roofline.raise_to(measure_fma(threads))
        facts["other_load"] = load.share()
    peak = roofline.fma["float32"][threads]
    return Outcome(
        report.report(results, names, roofline, facts),
        report.as_dict(results, roofline, facts),
        report.bars(results, names, peak),
        f"Share of the FMA peak ({peak:.0f} GFLOP/s, {report.count_text(threads)})",
    )


def _run_kernels(args: argparse.Namespace, peers: Sequence[Peer]) -> Outcome:
    """Every kernel on one thread and on the threads that were asked for, or all."""
    names = [peer.name for peer in peers]
    with thread_limit(args.threads, blas=False) as threads:
        chosen = cases.select(args.names[1:], cases.all_cases(threads))
        facts, load = machine_facts(threads, names), OtherLoad()
        _progress("measuring the machine")
        roofline = measure_roofline(threads)
        results = kernels.run_cases(chosen, peers, args.seconds, _progress)
        kernels.raise_peaks(results, roofline)
        facts["other_load"] = load.share()
    return Outcome(
        kernel_report.report(results, names, roofline, facts),
        kernel_report.as_dict(results, roofline, facts),
        kernel_report.bars(results, names),
        "Share of the FMA peak or of a copy, quickest samples",
    )


def _run_cliffs(args: argparse.Namespace) -> Outcome:
    """A layer over all widths, and kernels over all numbers of threads."""
    with thread_limit(args.threads, blas=False) as threads:
        facts, load = machine_facts(threads, []), OtherLoad()
        found = cliffs.run(threads, args.seconds, _progress)
        facts["other_load"] = load.share()
    return Outcome(cliff_report.report(found, facts), cliff_report.as_dict(found, facts), [], "")


def _run_fits(args: argparse.Namespace) -> Outcome:
    """Whole fits, in three rounds for each second."""
    with thread_limit(args.threads, blas=True) as threads:
        facts, load = machine_facts(threads, []), OtherLoad()
        results = fits.run(max(1, round(3 * args.seconds)), _progress)
        facts["other_load"] = load.share()
    content = {"machine": facts, "fits": results}
    return Outcome(fits.report(results, facts), content, [], "")


def _run_graphs(args: argparse.Namespace) -> Outcome:
    """Expressions on small arrays, on one thread unless told otherwise."""
    with thread_limit(args.threads or 1, blas=False) as threads:
        names = ["torch"] if importlib.util.find_spec("torch") is not None else []
        facts, load = machine_facts(threads, names), OtherLoad()
        results = graphs.run(args.seconds, _progress)
        facts["other_load"] = load.share()
    return Outcome(graphs.report(results, facts), graphs.as_dict(results, facts), [], "")


def _run_compare(args: argparse.Namespace) -> Outcome:
    """The README's table: steps, sizes, imports and bits, beside other libraries."""
    names = [peer.name for peer in compare.peers()]
    with thread_limit(args.threads, blas="sklearn" in names) as threads:
        facts, load = machine_facts(threads, names), OtherLoad()
        results = compare.run(args.threads, args.seconds, _progress)
        facts["other_load"] = load.share()
    content = {"machine": facts, "compare": results}
    return Outcome(compare.report(results, facts), content, [], "")


def run(args: argparse.Namespace) -> int:
    """Runs `nnlite bench`.

    Args:
        args: what a parser with these arguments returned.

    Returns:
        Exit code: 0, or 1 when contenders disagree, or 2 for arguments that cannot be used.
    """
    try:
        _check(args)
        wanted = [name.strip() for name in args.peers.split(",") if name.strip()]
        peers = select_peers(name for name in wanted if name != "none")
        if args.cliffs:
            outcome = _run_cliffs(args)
        elif args.names[:1] == ["fit"]:
            outcome = _run_fits(args)
        elif args.names[:1] == ["compare"]:
            outcome = _run_compare(args)
        elif args.names[:1] == ["autograd"]:
            outcome = _run_graphs(args)
        elif args.names[:1] == ["kernels"]:
            outcome = _run_kernels(args, peers)
        else:
            outcome = _run_workloads(args, peers)
    except (UsageError, UnknownNameError, PeerError, DisagreementError) as error:
        _progress("")
        print(error, file=sys.stderr)
        return 1 if isinstance(error, DisagreementError) else 2
    _progress("")
    print(outcome.text)
    if args.json is not None:
        report.write_json(args.json, outcome.content)
    if args.plot is not None:
        names = [peer.name for peer in peers]
        write_plot(args.plot, outcome.bars, names, outcome.title, outcome.content["machine"])
    return 0
