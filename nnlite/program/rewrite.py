"""Rewrites: instructions that become one, each for its reason; the bits stay.

- A product whose only use is an activation computes it while its output is in cache.
- A product whose only use is an activation's gradient multiplies by the derivative there.
- A multiplication by 1 is nothing: the gradient of a loss begins with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import functional
from .emit import OUT, A, B, C, Call, D
from .values import Buffer

ACTIVATIONS = {name.upper(): code for name, code in functional.ACTIVATIONS.items() if name}
GRADIENTS = {f"{name}_GRAD": name for name in ACTIVATIONS}


def rewritten(
    calls: Sequence[Call], wanted: Iterable[Buffer], mark: int = 0
) -> tuple[list[Call], int]:
    """The calls after all rewrites; `mark` is a place among them that no rewrite crosses."""
    kept = {id(b) for b in wanted}
    for step in (_without_ones, _fused_activations, _fused_gradients):
        head = step(list(calls[:mark]), kept | _read(calls[mark:]))
        tail = step(list(calls[mark:]), kept)
        calls, mark = head + tail, len(head)
    return list(calls), mark


def _read(calls: Iterable[Call]) -> set[int]:
    return {id(b) for call in calls for b in call.reads()}


class _Uses:
    """Who writes and who reads each buffer."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.readers: dict[int, list[Call]] = {}
        self.writers: dict[int, list[Call]] = {}
        for call in calls:
            for b in call.reads():
                self.readers.setdefault(id(b), []).append(call)
            for b in call.writes():
                self.writers.setdefault(id(b), []).append(call)

    def only_producer(self, b: Buffer, kept: set[int]) -> Call | None:
        """The one call that writes a buffer of the program, where one call alone reads it."""
        writers = self.writers.get(id(b), [])
        alone = len(writers) == 1 and len(self.readers.get(id(b), [])) == 1
        return writers[0] if alone and id(b) not in kept else None


def _without(calls: list[Call], gone: set[int]) -> list[Call]:
    return [call for call in calls if id(call) not in gone]


def _is_one(slot: Any) -> bool:
    buffer, _, strides = slot
    one = buffer.frozen and buffer.array.size == 1 and not any(strides)
    return one and bool(buffer.array.flat[0] == 1)


def _without_ones(calls: list[Call], kept: set[int]) -> list[Call]:
    """x * 1 is x: readers of the product read x."""
    uses, gone = _Uses(calls), set()
    for call in calls:
        if call.op != "MUL" or not (_is_one(call.slots[A]) or _is_one(call.slots[B])):
            continue
        source = call.slots[A] if _is_one(call.slots[B]) else call.slots[B]
        out = call.slots[OUT]
        same_layout = source[1:] == out[1:] and source[0].size == out[0].size
        if not same_layout or source[0].batched != out[0].batched or id(out[0]) in kept:
            continue
        if len(uses.writers[id(out[0])]) > 1 or _written_later(calls, call, source[0]):
            continue
        for reader in uses.readers.get(id(out[0]), []):
            for i in range(A, len(reader.slots)):
                if reader.slots[i] is not None and reader.slots[i][0] is out[0]:
                    reader.slots[i] = (source[0], *reader.slots[i][1:])
            uses.readers.setdefault(id(source[0]), []).append(reader)
        gone.add(id(call))
    return _without(calls, gone)


def _written_later(calls: list[Call], call: Call, buffer: Buffer) -> bool:
    place = next(i for i, c in enumerate(calls) if c is call)
    return any(b is buffer for c in calls[place:] for b in c.writes())


def _fused_activations(calls: list[Call], kept: set[int]) -> list[Call]:
    uses, gone = _Uses(calls), set()
    for call in calls:
        if call.op not in ACTIVATIONS or id(call) in gone:
            continue
        made = uses.only_producer(call.slots[A][0], kept)
        if made is None or not _plain_product(made) or not _whole(made, call):
            continue
        made.fields["activation"] = ACTIVATIONS[call.op]
        made.slots[OUT] = (call.slots[OUT][0], call.slots[OUT][1], made.slots[OUT][2])
        gone.add(id(call))
    return _without(calls, gone)


def _fused_gradients(calls: list[Call], kept: set[int]) -> list[Call]:
    """g W^T and then the derivative of the activation that made W's input, y."""
    uses, gone = _Uses(calls), set()
    for call in calls:
        if call.op not in GRADIENTS or id(call) in gone:
            continue
        made = uses.only_producer(call.slots[B][0], kept)
        if made is None or not _plain_product(made) or made.slots[C] is not None:
            continue
        y = call.slots[A]
        if not _whole(made, call) or y[1] != 0 or _made_between(calls, made, call, y[0]):
            continue
        made.fields["activation"] = ACTIVATIONS[GRADIENTS[call.op]]
        made.slots[D] = y
        made.slots[OUT] = (call.slots[OUT][0], call.slots[OUT][1], made.slots[OUT][2])
        gone.add(id(call))
    return _without(calls, gone)


def _plain_product(call: Call) -> bool:
    """A product of matrices without activation, gate and sums."""
    return (
        call.op == "GEMM" and call.sizes[0] == 1 and not call.fields.get("activation")
        and call.slots[D] is None and call.slots[1] is None
    )  # fmt: skip


def _whole(made: Call, call: Call) -> bool:
    """True when the second goes through all that the first has made, contiguous, and no more."""
    _, m, n, _ = made.sizes
    out = made.slots[OUT]
    return (
        m * n == call.sizes[0] and out[1] == 0 and out[2][1] == n and out[2][2] == 1
        and call.slots[OUT][1] == 0 and made.by_row == call.by_row
    )  # fmt: skip


def _made_between(calls: list[Call], first: Call, last: Call, buffer: Buffer) -> bool:
    """True when a buffer is written from one call on, before the other."""
    inside = False
    for call in calls:
        inside = inside or call is first
        if call is last:
            return False
        if inside and any(b is buffer for b in call.writes()):
            return True
    return False


def ordered(calls: Sequence[Call]) -> list[Call]:
    """Calls by row first, where nothing that they read is made by a call that is not: threads that
    share a batch then meet once, before the gradients of the weights."""
    first: list[Call] = []
    later: list[Call] = []
    made_later: set[int] = set()
    for call in calls:
        waits = any(id(b) in made_later for b in call.reads() + call.writes())
        if call.by_row and not waits:
            first.append(call)
        else:
            later.append(call)
            made_later.update(id(b) for b in call.writes())
    return first + later
