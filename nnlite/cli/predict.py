"""nnlite predict: answers of a trained network for the rows of a table, as a table."""

from __future__ import annotations

import argparse
import csv
import io
import sys

import numpy as np

import nnlite as nn

from .._core import atomic
from .options import check_output, natural
from .table_model import TableModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", help="file that nnlite train wrote")
    add(
        "data",
        metavar="DATA",
        help="table with the columns of the training; it may lack the target",
    )
    add("--out", metavar="FILE", help=".csv to write; default: standard output")
    add("--header", action=argparse.BooleanOptionalAction, help="whether a .csv begins with names; "
        "default: as in the training")  # fmt: skip
    add("--threads", type=natural, metavar="N", help="default: all cores; no result depends on it")


def run(args: argparse.Namespace) -> int:
    """Writes one line for each row, in the order of DATA; nan for a row that lacks a value."""
    if args.threads is not None:
        nn.set_num_threads(args.threads)
    check_output("--out", args.out, args.data, args.model)
    loaded = nn.load(args.model)
    made = TableModel.of(loaded.model, loaded.extra, args.model)
    found = made.schema.columns_of(args.data, args.header, missing="nan")
    if found.unused:
        print(f"nnlite predict: not used: {', '.join(found.unused)}", file=sys.stderr)
    X = made.schema.encode(found.file, found.columns, found.places)
    gap = found.first_gap()
    if gap:
        count = np.count_nonzero(np.isnan(X).any(axis=1))
        print(
            f"nnlite predict: warning: {args.data}: {gap}: the value is missing; {count} of "
            f"{len(X)} rows lack one, and their predictions are nan",
            file=sys.stderr,
        )
    text = as_csv(made, X)
    if args.out is None:
        sys.stdout.write(text)
    else:
        atomic.write(args.out, text.encode(), "predict")
        print(f"{len(X)} predictions in {args.out}")
    return 0


def as_csv(made: TableModel, X: np.ndarray) -> str:
    """A line of names; for each row the class and the probability of each, or the value.

    What the model makes of NaN is NaN, and so is the class.
    """
    schema, text = made.schema, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    name = schema.target if schema.target and schema.named else "prediction"
    if not made.classifies:
        writer.writerow([name])
        writer.writerows([f"{value:.9g}"] for value in made.values(X).tolist())
        return text.getvalue()
    classes = schema.classes or []
    writer.writerow([name, *(f"p({label})" for label in classes)])
    probabilities = made.probabilities(X)
    best = probabilities.argmax(axis=1).tolist()
    for k, row in zip(best, probabilities.tolist(), strict=True):
        label = classes[k] if row[k] == row[k] else "nan"
        writer.writerow([label, *(f"{p:.6g}" for p in row)])
    return text.getvalue()
