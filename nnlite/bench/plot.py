"""The figures as a picture: how many times faster, and how near to the peak. Needs matplotlib."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One colour per peer, told apart also by readers who do not see red and green (Okabe, Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
OWN_COLOUR = "#444444"
BAR = 0.8  # share of a row's height that its bars fill


@dataclass(frozen=True)
class Bar:
    """One row of the picture.

    Args:
        label: what was measured, in one or two lines.
        ratios: times faster than a peer, by its name.
        share: share of the ceiling, 0 to 1, or None.
        text: what stands beside the share: "115 GFLOP/s".
    """

    label: str
    ratios: dict[str, float]
    share: float | None
    text: str


def _scale_ratios(axes: Any, ratios: Sequence[float]) -> None:
    """A logarithmic axis around 1 with room for the numbers beside the bars."""
    low, high = min([0.9, *ratios]), max([2.0, *ratios])
    room = (high / low) ** 0.12
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    steps = (1, 2, 5) if high / low < 100 else (1,)
    ticks = [step * 10.0**power for power in range(-4, 6) for step in steps]
    ticks = [tick for tick in ticks if low / room <= tick <= high * room]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.set_xticks([], minor=True)


def _draw_ratios(axes: Any, rows: Sequence[Bar], peers: Sequence[str]) -> None:
    """Bars from 1: to the right where nnlite is the faster one."""
    height = BAR / max(len(peers), 1)
    for k, peer in enumerate(peers):
        for row, bar in enumerate(rows):
            if peer not in bar.ratios:
                continue
            ratio = bar.ratios[peer]
            y = row + (k + 0.5) * height - BAR / 2
            label = peer if peer not in axes.get_legend_handles_labels()[1] else None
            axes.barh(y, ratio - 1, height, left=1, color=COLOURS[k % len(COLOURS)], label=label)
            axes.annotate(
                f"{ratio:.3g}",
                (ratio, y),
                (4 if ratio >= 1 else -4, 0),
                textcoords="offset points",
                ha="left" if ratio >= 1 else "right",
                va="center",
                fontsize=8,
            )
    _scale_ratios(axes, [ratio for bar in rows for ratio in bar.ratios.values()])
    axes.axvline(1, color="black", linewidth=1)
    peer = peers[0] if len(peers) == 1 else "the peer"
    axes.set_title(f"Times faster than {peer}", fontsize=10, loc="left")


def _draw_shares(axes: Any, rows: Sequence[Bar], title: str) -> None:
    shares = [bar.share or 0.0 for bar in rows]
    axes.barh(range(len(rows)), shares, BAR, color=OWN_COLOUR)
    for row, (share, bar) in enumerate(zip(shares, rows, strict=True)):
        text = bar.text if bar.share is None else f"{share:.1%}  {bar.text}"
        inside = share > 0.5
        axes.annotate(
            text,
            (share, row),
            (-4 if inside else 4, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            fontsize=8,
            color="white" if inside else "black",
        )
    axes.set_xlim(0, max(1.0, *shares))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_title(title, fontsize=10, loc="left")


def write_plot(
    path: Path, rows: Sequence[Bar], peers: Sequence[str], share_title: str, facts: dict[str, Any]
) -> None:
    """Draws ratios and shares of a ceiling into a picture; its format follows the file's suffix."""
    figure_module = importlib.import_module("matplotlib.figure")
    height = 1.6 + len(rows) * max(0.5, 0.17 * len(peers) + 0.15)
    figure = figure_module.Figure(figsize=(11, height), layout="constrained")
    panels = (
        figure.subplots(1, 2, sharey=True, width_ratios=(3, 2)) if peers else [figure.subplots()]
    )
    if peers:
        _draw_ratios(panels[0], rows, peers)
    if len(peers) > 1:
        figure.legend(loc="outside lower center", ncols=len(peers), frameon=False, fontsize=9)
    _draw_shares(panels[-1], rows, share_title)
    panels[0].set_yticks(range(len(rows)), [bar.label for bar in rows], fontsize=8)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", linewidth=0.4, alpha=0.6)
        axes.set_axisbelow(True)
    figure.suptitle(
        f"nnlite {facts['versions']['nnlite']} ({facts['isa']}) on {facts['processor']}",
        fontsize=12,
    )
    figure.savefig(path, dpi=120)
