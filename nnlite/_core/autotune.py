"""Choices among ways with the same bits, which C makes by timed trials (csrc/core/autotune.h):
whether it does, which ways are forced, and what was chosen.

`NNLITE_AUTOTUNE=0` leaves all choices to fixed rules; `NNLITE_AUTOTUNE=pack_a=1,kc=2` forces ways
by their numbers wherever they exist, for measurements and tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

VARIABLE = "NNLITE_AUTOTUNE"

# The ways of each choice, in the order of their numbers; the choices in that of enum nnl_choice.
WAYS = {
    "transpose": ("as given", "transposed"),
    "threads": ("one", "all", "half"),
    "pack_a": ("unpacked", "packed"),
    "pack_b": ("unpacked", "packed"),
    "kc": ("short", "medium", "long"),
    "prefetch": ("off", "on"),
    "batch_parallel": ("off", "on"),
}
CHOICES = tuple(WAYS)
_FLAGS = ("f64", "A column-major", "B column-major", "A unaligned", "B unaligned", "transposed",
          "B prepacked")  # fmt: skip


class Choice(NamedTuple):
    """A choice made, or being made, for a class of computations.

    Args:
        name: of WAYS.
        shape: the class in words.
        threads: that the computation might use.
        decided: whether the trials are over.
        way: the number of the way that was quickest; None while trials go on, and where no other
            way saved enough to overrule the rule.
        costs: for each way the quickest trial relative to the quickest of all; None: not tried.
    """

    name: str
    shape: str
    threads: int
    decided: bool
    way: int | None
    costs: tuple[float | None, ...]


class Autotune:
    """The settings of all loaded builds."""

    def __init__(self, text: str) -> None:
        self.on, self.forced = parsed(text)

    def apply(self, build: Any) -> None:
        """Has a build choose so."""
        build.common.set_autotune(self.on)
        for number, name in enumerate(CHOICES):
            build.common.force_choice(number, self.forced.get(name, -1))

    def set(self, on: bool, forced: dict[str, int], builds: Iterable[Any]) -> None:
        """Other settings, for builds that are loaded and those to come."""
        self.on, self.forced = on, {name: _way("force", name, way) for name, way in forced.items()}
        for build in builds:
            self.apply(build)


def parsed(text: str) -> tuple[bool, dict[str, int]]:
    """Whether ways are tried, and the ways forced, from the environment variable.

    Raises:
        ImportError: the text says neither.
    """
    if text in ("", "0", "1"):
        return text != "0", {}
    forced = {}
    for part in text.split(","):
        name, _, way = part.strip().partition("=")
        if not way.isdecimal():
            raise ImportError(
                f"{VARIABLE}={text!r}: expected 0 (fixed rules), 1 (try), or ways to force such as "
                "pack_a=1,kc=2"
            )
        try:
            forced[name] = _way(VARIABLE, name, int(way))
        except ValueError as error:
            raise ImportError(str(error)) from None
    return True, forced


def _way(operation: str, name: str, way: int) -> int:
    if name not in WAYS:
        raise ValueError(f"{operation}: {name!r}: expected one of {', '.join(WAYS)}")
    if not 0 <= way < len(WAYS[name]):
        raise ValueError(f"{operation}: {name}: expected a way below {len(WAYS[name])}, got {way}")
    return way


def choices(build: Any) -> Iterator[Choice]:
    """What a build has chosen so far, or is trying."""
    entry = build.ffi.new("nnl_tuned_choice *")
    index = 0
    while build.common.tuned(index, entry) == build.lib.NNL_OK:
        index += 1
        if entry.ways:
            yield _choice(entry)


def _choice(entry: Any) -> Choice:
    name, costs = CHOICES[entry.choice], [c or None for c in list(entry.cost)[: entry.ways]]
    known = [c for c in costs if c is not None]
    least = min(known, default=1.0)
    return Choice(
        name, _shape(name, entry), entry.threads, entry.decision > 0,
        entry.decision - 2 if entry.decision > 1 else None,
        tuple([None if c is None else c / least for c in costs]),
    )  # fmt: skip


def _shape(name: str, entry: Any) -> str:
    sizes = [1 << log2 for log2 in entry.log2_size]
    if name == "batch_parallel":
        return "a step of {}.. rows, {}.. vector FMAs a row, {}.. calls".format(*sizes)
    flags = [word for bit, word in enumerate(_FLAGS) if entry.flags >> bit & 1]
    return ", ".join(["m {}.., n {}.., k {}..".format(*sizes), *flags])


def report(tuned: Iterable[Choice]) -> str:
    """The choices as lines of text."""
    lines = []
    for c in sorted(tuned):
        ways = WAYS[c.name]
        costs = ", ".join(
            f"{ways[i]} {cost:.2f}" for i, cost in enumerate(c.costs) if cost is not None
        )
        how = ways[c.way] if c.way is not None else "the rule's" if c.decided else "trying"
        lines.append(f"{c.name}: {how} ({costs or 'no trial yet'}): {c.shape}, threads {c.threads}")
    return "\n".join(lines) or "nothing was chosen yet"
