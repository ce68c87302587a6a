"""The picture of a history: the loss, the accuracies together, each other metric alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .._core.extras import require
from .history import is_number

# Told apart also by readers who do not see red and green (Okabe, Ito, 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NOT_DRAWN = ("epoch", "seconds")
NAMES = {"lr": "learning rate per step", "mse": "mean squared error", "mae": "mean absolute error"}
NAMES |= {"r2": "R²", "loss": "mean loss per sample"}


def _matplotlib(name: str) -> Any:
    return require(name, "plot", "History.plot")


def is_share(name: str) -> bool:
    """True for the metrics that are shares of the samples."""
    ends = name.startswith(("top_", "precision", "recall", "f1", "multilabel_accuracy"))
    return ends or name in ("accuracy", "balanced_accuracy")


def _panels(history: Mapping[str, Sequence[Any]]) -> list[tuple[str, list[str]]]:
    """(label, names of its metrics without val_): the loss, the shares, each of the rest."""
    names: list[str] = []
    for name, column in history.items():
        plain = name.removeprefix("val_")
        if plain not in (*NOT_DRAWN, *names) and any(is_number(value) for value in column):
            names.append(plain)
    shares = [name for name in names if is_share(name)]
    rest = [name for name in names if name != "loss" and not is_share(name)]
    panels = [("loss", ["loss"])] if "loss" in names else []
    if shares:
        panels.append(("share of samples, %" if len(shares) > 1 else f"{shares[0]}, %", shares))
    return panels + [(name, [name]) for name in rest]


def _draw(axes: Any, history: Mapping[str, Sequence[Any]], label: str, names: list[str]) -> None:
    """One panel: training solid, validation dashed; a colour for each metric, or for each of the
    two where there is one metric."""
    from ..metrics import larger_is_better

    factor = 100.0 if is_share(names[0]) else 1.0
    for number, name in enumerate(names):
        for prefix, style, data in (("", "-", "training"), ("val_", "--", "validation")):
            if prefix + name not in history:
                continue
            values = [
                factor * value if is_number(value) else math.nan for value in history[prefix + name]
            ]
            marker = "o" if len(values) == 1 else ""
            index = number if len(names) > 1 else int(prefix != "")
            colour = COLOURS[index % len(COLOURS)]
            text = data if len(names) == 1 else f"{name}, {data}"
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, style, color=colour, marker=marker, label=text)
            finite = [(value, i) for i, value in enumerate(values) if math.isfinite(value)]
            if prefix and len(values) > 1 and finite and name != "lr":
                largest = larger_is_better(name)
                best, i = max(finite, key=lambda v: (v[0], -v[1])) if largest else min(finite)
                text = f"best: {best:.4g}{' %' if factor > 1 else ''} in epoch {i + 1}"
                axes.plot([i + 1], [best], "o", color=colour, label=text)
    axes.set_xlabel("epoch")
    axes.set_ylabel(NAMES.get(label, label))
    if label != "lr":
        axes.legend(frameon=False, fontsize=9)


def plot_history(history: Mapping[str, Sequence[Any]], path: Any) -> Any:
    """See History.plot."""
    panels = _panels(history)
    if not panels:
        raise ValueError("History.plot: no epoch was measured; run fit first")
    if path is None:  # a figure that pyplot can show
        figure = _matplotlib("matplotlib.pyplot").figure()
    else:
        figure = _matplotlib("matplotlib.figure").Figure()
    ticker = _matplotlib("matplotlib.ticker")
    columns = len(panels) if len(panels) < 4 else math.ceil(math.sqrt(len(panels)))
    rows = -(-len(panels) // columns)
    figure.set_size_inches(5.2 * columns, 3.8 * rows)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (label, names) in zip(grid, panels, strict=False):
        _draw(axes, history, label, names)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(linewidth=0.4, alpha=0.6)
    for axes in grid[len(panels) :]:
        axes.remove()
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
