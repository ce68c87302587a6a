"""nnlite train: a network for a table, from its file to a file that nnlite predict takes.

The file is saved at the end, and at most every two seconds between epochs, so that --resume goes on
where a killed run was: to the same weights as without interruption.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence

import numpy as np

import nnlite as nn

from .._core.extras import require
from ..data import kinds
from ..data.kinds import Kind
from ..data.table import CLASSIFY, Table, understand
from .job import ACTIVATIONS, OPTIMIZERS, Job
from .options import check_output, count, natural, number, positive, share, sizes

COLUMNS_SHOWN = 40  # of more, neighbours of one kind share a line
PICTURES = (".png", ".svg", ".pdf", ".jpg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    rates = ", ".join(f"{rate:g} for {name}" for name, (_, rate, _) in OPTIMIZERS.items())
    target = "what to predict: a name, or a number from 0 (-1: the last column)"
    task = "default: classify when the target has texts, or few whole numbers"
    names = "whether a .csv begins with names; default: unless its first line holds a number"
    ignore = "column to leave out; may be given several times"
    held = "share of the rows that is kept from training and measured; default 0.2"
    stop = "stop after N epochs without a better validation loss, and keep the best weights"
    add = parser.add_argument
    add("data", metavar="DATA", help="table: .csv (decimal commas between ; too), .npz or .npy")
    add("--target", required=True, metavar="COLUMN", help=target)
    add("--out", required=True, metavar="FILE", help="model to write, such as model.safetensors")
    add("--task", choices=("classify", "regress"), help=task)
    add("--ignore", action="append", default=[], metavar="COLUMN", help=ignore)
    add("--header", action=argparse.BooleanOptionalAction, help=names)
    add(
        "--hidden",
        type=sizes,
        default=[64],
        metavar="N,N",
        help="hidden units, or none; default 64",
    )
    add("--activation", choices=ACTIVATIONS, default="relu", help="default relu")
    add("--dropout", type=share, default=0.0, metavar="P", help="of hidden units; default 0")
    add("--epochs", type=natural, default=20, metavar="N", help="default 20")
    add("--batch-size", type=natural, default=32, metavar="N", help="default 32")
    add(
        "--optimizer", choices=OPTIMIZERS, default="adam", help="default adam; sgd has momentum 0.9"
    )
    add("--lr", type=positive, metavar="RATE", help=f"rate per step; default {rates}")
    add("--weight-decay", type=number, default=0.0, metavar="W", help="default 0")
    add("--validation-split", type=share, default=0.2, metavar="P", help=held)
    add("--early-stopping", type=natural, metavar="N", help=stop)
    add("--seed", type=count, default=0, metavar="N", help="default 0")
    add("--threads", type=natural, metavar="N", help="default: all cores; no result depends on it")
    add("--resume", action="store_true", help="go on from FILE where it exists")
    add("--plot", metavar="PICTURE", help="draw the history: .png, .svg or .pdf")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Loads, trains, saves, and prints a short table."""
    start = time.perf_counter()
    _check_outputs(args)
    if args.threads is not None:
        nn.set_num_threads(args.threads)
    table, columns = understand(
        args.data, args.target, args.task, args.header, args.ignore, skip_unusable=True
    )
    job = Job(args, table)
    finished = args.resume and os.path.exists(args.out) and job.restore()
    _print_columns(table, columns)  # not before: an error is one line alone
    if finished:
        print(f"{args.out} has its {job.epochs_done} epochs: nothing is left to train")
    else:
        job.fit()
    if args.plot:
        job.history.plot(args.plot)
    _print_table(args, job, time.perf_counter() - start)
    return 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuses before the training what would fail after it."""
    check_output("--out", args.out, args.data)
    check_output("--plot", args.plot, args.data, args.out)
    if args.plot:
        require("matplotlib", "plot", "--plot")
        if os.path.splitext(args.plot)[1].lower() not in PICTURES:
            raise ValueError(f"--plot: {args.plot!r}: expected a name in {', '.join(PICTURES)}")
    if args.early_stopping and not args.validation_split:
        raise ValueError("--early-stopping needs validation rows; set --validation-split above 0")


# ---- what was understood ----


def _print_columns(table: Table, columns: Sequence[Kind]) -> None:
    """What each column was taken for, and the task, on stdout; what to look at, on stderr."""
    lines: list[tuple[str, str]] = []
    for first, last, text in _runs(columns):
        names = first if first == last else f"{first} .. {last}"
        lines.append((f"column {' '.join(names.split())}", text))
    what = "the class" if table.schema.task == CLASSIFY else "the number"
    lines.append(("task", f"{table.schema.task} ({what} in {table.schema.target})"))
    _print_lines(lines)
    for column in columns:
        if column.warning:
            print(f"nnlite train: warning: {_warning(column)}", file=sys.stderr)


def _runs(columns: Sequence[Kind]) -> list[tuple[str, str, str]]:
    """(first name, last name, text) of the lines."""
    if len(columns) <= COLUMNS_SHOWN:
        return [(c.name, c.name, _text(c)) for c in columns]
    runs: list[tuple[str, str, str]] = []
    start = 0
    for i, column in enumerate(columns):
        following = columns[i + 1] if i + 1 < len(columns) else None
        if following is not None and _alike(column, following):
            continue
        text = _text(column) if start == i else f"{i - start + 1} columns: {column.kind}"
        runs.append((columns[start].name, column.name, text))
        start = i + 1
    return runs


def _alike(column: Kind, other: Kind) -> bool:
    """Whether two neighbours can share a line."""
    numbers = column.kind == other.kind == kinds.NUMBER and not (column.warning or other.warning)
    return (numbers or column.kind == other.kind == kinds.IGNORED) and not (
        column.text.startswith("target") or other.text.startswith("target")
    )


def _text(column: Kind) -> str:
    left_out = not column.used and column.kind != kinds.IGNORED
    return " ".join((column.text + (", left out" if left_out else "")).split())


def _warning(column: Kind) -> str:
    text = f"column {column.name!r} {column.warning}"
    if column.kind == kinds.DATE:
        text += " and is left out; to use it, give numbers such as year, month or weekday"
    elif not column.used:
        text += ", and is left out"
    elif column.warning.endswith(kinds.IGNORE_IT):
        text += shlex.quote(column.name)
    return " ".join(text.split())


def _print_lines(lines: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in lines)
    print("\n".join(f"{name:{width}}  {text}" for name, text in lines), flush=True)


# ---- what came out ----


def _print_table(args: argparse.Namespace, job: Job, seconds: float) -> None:
    table, rows = job.table, job.rows
    lines = {
        "rows": f"{len(rows.X)} training, {len(rows.X_held)} validation",
        "features": str(len(table.features)),
    }
    if table.classes is not None:
        names = ", ".join(table.classes[:6]) + (", ..." if len(table.classes) > 6 else "")
        lines["classes"] = f"{len(table.classes)} ({names})"
    else:
        lines["target"] = f"{table.schema.target}, a number"
    better = _add_figures(lines, job)
    lines["epochs"] = str(job.epochs_done)
    lines["seconds"] = f"{seconds:.1f}"
    lines["model"] = args.out
    if args.plot:
        lines["plot"] = args.plot
    _print_lines([(name, " ".join(text.split())) for name, text in lines.items()])
    if not better:
        print(
            "nnlite train: warning: the model is not better than the same answer for every row; "
            "train for more epochs, or look at the columns",
            file=sys.stderr,
        )


def _add_figures(lines: dict[str, str], job: Job) -> bool:
    """The model's figures beside those of one answer for all rows; whether it is the better one.

    That answer is the commonest class, or the mean, of the training rows.
    """
    table, rows, made = job.table, job.rows, job.made
    held = len(rows.X_held) > 0
    X, y = (rows.X_held, rows.y_held) if held else (rows.X, rows.y)
    where = "validation" if held else "training"
    if table.classes is not None:
        accuracy = float(np.mean(made.probabilities(X).argmax(axis=1) == y))
        commonest = int(np.bincount(rows.y).argmax())
        baseline = float(np.mean(y == commonest))
        lines[f"{where} accuracy"] = f"{accuracy:.4f}"
        lines["majority class"] = f"{baseline:.4f} (always {table.classes[commonest]})"
        return accuracy > baseline
    error, mean = made.values(X) - y, rows.y.mean()
    rmse, baseline = (float(np.sqrt(np.mean(e**2))) for e in (error, y - mean))
    spread = float(np.sum((y - y.mean()) ** 2))
    lines[f"{where} R2"] = f"{1 - np.sum(error**2) / spread:.4f}" if spread else "undefined"
    lines[f"{where} RMSE"] = f"{rmse:.4g}"
    lines["RMSE of the mean"] = f"{baseline:.4g} (always {mean:.6g})"
    return rmse < baseline
