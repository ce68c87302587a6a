"""Types of options for argparse: what is not of their range is refused in one line."""

from __future__ import annotations

import argparse
import math
import os


def natural(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, 1)


def count(text: str) -> int:
    """A whole number from 0 that is a seed."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {text!r}")
    return int(text)


def number(text: str) -> float:
    """A finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    if not number(text):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return float(text)


def share(text: str) -> float:
    """A number in [0, 1)."""
    value = number(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, got {text!r}")
    return value


def sizes(text: str) -> list[int]:
    """Whole numbers from 1 between commas, or "none"."""
    return [] if text == "none" else [natural(part.strip()) for part in text.split(",")]


def check_output(option: str, path: str | None, *inputs: str) -> None:
    """Refuses before the work what would fail after it, or replace a file that is read.

    Raises:
        ValueError: the folder is not there, the path is a folder, or it is one of the inputs.
    """
    if not path:
        return
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise ValueError(
            f"{option}: there is no folder {folder!r} for {os.path.basename(path)!r}; make it"
        )
    if os.path.isdir(path):
        raise ValueError(f"{option}: {path!r} is a folder; give the name of a file")
    for name in inputs:
        if os.path.exists(path) and os.path.exists(name) and os.path.samefile(path, name):
            raise ValueError(f"{option}: {path!r} is a file that is read; give another name")
