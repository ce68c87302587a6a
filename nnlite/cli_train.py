"""nnlite train: a network for a table, from its file to a file that nnlite predict takes.

The file is saved at the end, and at most every two seconds between epochs, so that --resume goes on
where a killed run was: to the same weights as without interruption.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np

import nnlite as nn

from .cli_job import ACTIVATIONS, OPTIMIZERS, Job
from .cli_options import count, natural, number, positive, share, sizes

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
    add("data", metavar="DATA", help="table: .csv, .npz or .npy")
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
    table = nn.data.load_table(
        args.data, args.target, task=args.task, header=args.header, ignore=args.ignore
    )
    job = Job(args, table)
    finished = args.resume and os.path.exists(args.out) and job.restore()
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
    for option, path in (("--out", args.out), ("--plot", args.plot)):
        folder = os.path.dirname(path or "") or "."
        if path and not os.path.isdir(folder):
            raise ValueError(f"{option}: there is no folder {folder!r}; make it first")
        if path and os.path.isdir(path):
            raise ValueError(f"{option}: {path!r} is a folder; give the name of a file")
    if args.plot:
        import matplotlib  # noqa: F401

        if os.path.splitext(args.plot)[1].lower() not in PICTURES:
            raise ValueError(f"--plot: {args.plot!r}: expected a name in {', '.join(PICTURES)}")
    if args.early_stopping and not args.validation_split:
        raise ValueError("--early-stopping needs validation rows; set --validation-split above 0")


def _print_table(args: argparse.Namespace, job: Job, seconds: float) -> None:
    table, rows, made = job.table, job.rows, job.made
    held = len(rows.X_held) > 0
    X, y = (rows.X_held, rows.y_held) if held else (rows.X, rows.y)
    where = "validation" if held else "training"
    lines = {
        "rows": f"{len(rows.X)} training, {len(rows.X_held)} validation",
        "features": str(len(table.features)),
    }
    if table.classes is not None:
        right = made.probabilities(X).argmax(axis=1) == y
        names = ", ".join(table.classes[:6]) + (", ..." if len(table.classes) > 6 else "")
        lines["classes"] = f"{len(table.classes)} ({names})"
        lines[f"{where} accuracy"] = f"{np.mean(right):.4f}"
    else:
        error = made.values(X) - y
        spread = float(np.sum((y - y.mean()) ** 2))
        lines["target"] = f"{table.schema.target}, a number"
        lines[f"{where} R2"] = f"{1 - np.sum(error**2) / spread:.4f}" if spread else "undefined"
        lines[f"{where} RMSE"] = f"{np.sqrt(np.mean(error**2)):.4g}"
    lines["epochs"] = str(job.epochs_done)
    lines["seconds"] = f"{seconds:.1f}"
    lines["model"] = args.out
    if args.plot:
        lines["plot"] = args.plot
    width = max(map(len, lines))
    print("\n".join(f"{name:{width}}  {text}" for name, text in lines.items()))
