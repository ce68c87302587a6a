"""Where the buffers of a program lie in its memory: what is no longer read makes room.

Each buffer lives from the call that writes it first to the last call that uses it. In the order of
their beginnings, each takes the lowest place where it meets no buffer that lives at the same time.
Buffers of a batch that threads share lie apart: threads are not at the same call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .emit import Call
from .values import Buffer

LINE = 64  # bytes: every buffer begins at a cache line


def placed(
    calls: Sequence[Call], sizes: dict[Buffer, int], kept: Iterable[Buffer], apart: bool = False
) -> tuple[dict[Buffer, int], int]:
    """(offset of each buffer, bytes in all).

    Args:
        sizes: bytes of the buffers that are to be placed.
        kept: those that are read after the calls.
        apart: no two share memory.
    """
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for i, call in enumerate(calls):
        for b in call.writes() + call.reads():
            first.setdefault(b, i)
            last[b] = i
    for b in kept:
        first.setdefault(b, 0)
        last[b] = len(calls)
    offsets: dict[Buffer, int] = {}
    total = 0
    lying: list[tuple[int, int, int]] = []  # (offset, end, last call) of those that live
    for b in sorted(sizes, key=lambda b: first.get(b, 0)):
        begin, size = first.get(b, 0), -(-sizes[b] // LINE) * LINE
        if not apart:
            lying = [part for part in lying if part[2] >= begin]
        place = 0
        for offset, end, _ in sorted(lying):
            if place + size <= offset:
                break
            place = max(place, end)
        offsets[b] = place
        lying.append((place, place + size, last.get(b, len(calls))))
        total = max(total, place + size)
    return offsets, total
