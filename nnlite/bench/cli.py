"""`nnlite bench`: arguments, and the run from arguments to files."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import nnlite as nn
from nnlite.bench.facts import OtherLoad, machine_facts
from nnlite.bench.peers import Peer, PeerError, select_peers
from nnlite.bench.plot import write_plot
from nnlite.bench.report import as_dict, report, write_json
from nnlite.bench.roofline import Roofline, measure_fma, measure_roofline
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
        + ", ".join(dict.fromkeys(w.name for w in all_workloads())),
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
        help="about how long to measure each contender on each workload; default 1",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture (PNG, SVG, PDF)")


def _check(args: argparse.Namespace) -> None:
    """Raises UsageError for what would fail only after minutes of measuring."""
    if args.threads is not None and args.threads < 1:
        raise UsageError(f"bench: --threads must be at least 1, got {args.threads}")
    if not 0 < args.seconds < float("inf"):
        raise UsageError(f"bench: --seconds must be positive, got {args.seconds:g}")
    for option, path in (("--json", args.json), ("--plot", args.plot)):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise UsageError(f"bench: {option} {path}: not a file in an existing folder")
    if args.plot is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise UsageError("bench: --plot needs matplotlib: pip install matplotlib")
        if args.plot.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"bench: --plot {args.plot}: expected a name in .png, .svg or .pdf")


def _progress(text: str) -> None:
    """One line on a terminal, overwritten by the next; nothing in a pipe."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _run_all(
    workloads: Sequence[Workload], peers: Sequence[Peer], args: argparse.Namespace, threads: int
) -> tuple[list[Result], Roofline]:
    _progress("measuring the machine")
    roofline = measure_roofline(threads)
    results = []
    for k, workload in enumerate(workloads, 1):
        _progress(f"measuring {workload.key} ({k} of {len(workloads)})")
        results.append(run_workload(workload, peers, args.threads, args.seconds))
        # The peak again and again: on a shared machine one look may miss it.
        roofline.raise_to(measure_fma(threads))
    _progress("")
    return results, roofline


def run(args: argparse.Namespace) -> int:
    """Runs `nnlite bench`.

    Args:
        args: what a parser with these arguments returned.

    Returns:
        Exit code: 0, or 1 when contenders disagree, or 2 for arguments that cannot be used.
    """
    try:
        _check(args)
        workloads = select(args.names, all_workloads(optimizers()))
        wanted = [name.strip() for name in args.peers.split(",") if name.strip()]
        peers = select_peers(name for name in wanted if name != "none")
        names = [peer.name for peer in peers]
        blas = bool({"numpy", "sklearn"} & set(names))
        with thread_limit(args.threads, blas) as threads:
            facts, load = machine_facts(threads, names), OtherLoad()
            results, roofline = _run_all(workloads, peers, args, threads)
            facts["other_load"] = load.share()
    except (UsageError, UnknownNameError, PeerError) as error:
        _progress("")
        print(error, file=sys.stderr)
        return 2
    except DisagreementError as error:
        _progress("")
        print(error, file=sys.stderr)
        return 1
    print(report(results, names, roofline, facts))
    if args.json is not None:
        write_json(args.json, as_dict(results, roofline, facts))
    if args.plot is not None:
        write_plot(args.plot, results, names, roofline, facts)
    return 0
