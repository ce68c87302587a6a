"""Choices among ways with the same bits, which C makes by trying (csrc/core/autotune.h): whether it
does, which ways are forced, and what was chosen.

`NNLITE_AUTOTUNE=0` leaves all choices to fixed rules; `NNLITE_AUTOTUNE=pack_a=1,terms=2` forces
ways by their numbers wherever they exist, for measurements and tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

VARIABLE = "NNLITE_AUTOTUNE"

# The ways of each choice, in the order of their numbers; the choices in that of enum nnl_choice.
WAYS = {
    "transpose": ("as it is", "transposed"),
    "parts": ("one", "one a thread", "one for two threads"),
    "pack_a": ("in place", "packed"),
    "pack_b": ("in place", "packed"),
    "terms": ("few", "more", "most"),
    "fetch": ("when packed", "beforehand"),
    "batch": ("call by call", "rows shared"),
}
CHOICES = tuple(WAYS)
_FLAGS = ("f64", "A by columns", "B by columns", "A off lines", "B off lines", "transposed",
          "B packed before")  # fmt: skip


class Choice(NamedTuple):
    """A choice made, or being made, for a class of computations.

    Args:
        name: of WAYS.
        shape: the class in words.
        threads: that the computation might use.
        made: whether the trials are over.
        way: the number of the way that was quickest; None while trials go on, and where no other
            way saved enough for the rule to give up the choice.
        costs: for each way the quickest trial relative to the quickest of all; None: not tried.
    """

    name: str
    shape: str
    threads: int
    made: bool
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
                "pack_a=1,terms=2"
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
    made = build.ffi.new("nnl_choice_made *")
    index = 0
    while build.common.tuned(index, made) == build.lib.NNL_OK:
        index += 1
        if made.ways:
            yield _choice(made)


def _choice(made: Any) -> Choice:
    name, costs = CHOICES[made.choice], [c or None for c in list(made.cost)[: made.ways]]
    known = [c for c in costs if c is not None]
    least = min(known, default=1.0)
    return Choice(
        name, _shape(name, made), made.threads, made.made > 0,
        made.made - 2 if made.made > 1 else None,
        tuple([None if c is None else c / least for c in costs]),
    )  # fmt: skip


def _shape(name: str, made: Any) -> str:
    sizes = [1 << power for power in made.power]
    if name == "batch":
        return "a step of {}.. rows, {}.. vector FMAs a row, {}.. calls".format(*sizes)
    flags = [word for bit, word in enumerate(_FLAGS) if made.flags >> bit & 1]
    return ", ".join(["m {}.., n {}.., k {}..".format(*sizes), *flags])


def report(found: Iterable[Choice]) -> str:
    """The choices as lines of text."""
    lines = []
    for c in sorted(found):
        ways = WAYS[c.name]
        costs = ", ".join(
            f"{ways[i]} {cost:.2f}" for i, cost in enumerate(c.costs) if cost is not None
        )
        how = ways[c.way] if c.way is not None else "the rule's" if c.made else "trying"
        lines.append(f"{c.name}: {how} ({costs or 'no trial yet'}): {c.shape}, threads {c.threads}")
    return "\n".join(lines) or "nothing was chosen yet"
