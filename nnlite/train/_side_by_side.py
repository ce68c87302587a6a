"""Several fits side by side: functions that run in turn, and whose networks train at once.

Each function has a thread of its own, but only one of them runs at a time, until it wants its
programs trained or ends; then comes the next. What they want trained is one call of C, whose
threads take whole networks, as in fit_many. So nothing in Python is run by two threads at once, the
order of what the functions do is always the same, and so are the bits.
"""

from __future__ import annotations

import contextvars
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from .._core import native
from ..program.launch import alone, here, launch, train
from ._interrupts import Interrupts

__all__ = ["Member", "alone", "behind", "clock", "run", "train"]

WARNINGS = ("filters", "showwarning", "_showwarnmsg_impl")  # that warnings.catch_warnings replaces


class _Cancelled(BaseException):
    """Ends a function that is not needed any more; no `except Exception` of it sees this."""


def clock() -> float:
    """Seconds on a clock that counts, while others train too, only what this function's networks
    take of the threads' time."""
    member = here.member
    return time.perf_counter() - (member.behind if member is not None else 0.0)


def behind() -> float:
    """Seconds by which `clock` is behind, since this function began."""
    return here.member.behind if here.member is not None else 0.0


def run(functions: Sequence[Callable[[], Any]], threads: int, most: int) -> list[Any]:
    """What the functions return, in their order.

    Args:
        threads: that train; results do not depend on it.
        most: functions that have begun and not ended, at least 1: each holds its own rows.

    Raises:
        What one of the functions raises; the others end then, at the next network they train.
    """
    members = [Member(function) for function in functions]
    waiting, active = members[::-1], members[:0]
    outside = here.member  # where this run is a part of another one, it trains with that
    try:
        with Interrupts() as interrupts:
            while waiting or active:
                for member in active:
                    interrupts.answer()
                    member.resume()
                active = [member for member in active if not member.ended()]
                while waiting and len(active) < most:
                    interrupts.answer()
                    active.append(waiting.pop())
                    active[-1].resume()
                    if active[-1].ended():
                        active.pop()
                with interrupts.stoppable():
                    _train(active, threads, outside)
                interrupts.answer()
                native.raise_kept()
    finally:
        for member in members:
            member.cancel()
    return [member.value for member in members]


def _train(members: Sequence[Member], threads: int, outside: Member | None) -> None:
    """Trains what the members want trained, and says to each how long its part took."""
    programs = [program for member in members for program in member.wanted]
    start = clock()
    if outside is not None and programs:
        outside.train(programs)
    else:
        launch(programs, threads)
    seconds = (clock() - start) * min(threads, max(len(programs), 1))
    whole = sum(map(_work, programs))
    for member in members:
        member.took += seconds * sum(map(_work, member.wanted)) / max(whole, 1)
        member.wanted = ()


def _work(program: Any) -> int:
    """About as many multiplications as its last run took."""
    weights = sum(p.size for p in program.optimizer.parameters)
    return max(program.done * program.batch * weights, 1)


class Member:
    """A function of a run, in its thread.

    Attributes:
        wanted: programs that it waits for.
        value: what it returned.
        behind: seconds that its clock is behind.
        took: seconds of the threads that its programs took since it waits.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.wanted: Sequence[Any] = ()
        self.value: Any = None
        self.behind = self.took = 0.0
        self._error: BaseException | None = None
        self._done = self._running = self._cancelled = False
        self._thread: threading.Thread | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._warnings: dict[str, Any] | None = None

    # From outside.

    def resume(self) -> None:
        """Runs it until it waits or ends. Filters of warnings that it set are its own."""
        outer = _warnings_now()
        if self._warnings is not None:
            _set_warnings(self._warnings)
        try:
            self._running = True
            if self._thread is None:
                context = contextvars.copy_context()
                self._thread = threading.Thread(target=context.run, args=(self._run,), daemon=True)
                self._thread.start()
            else:
                self._go.release()
            self._wait()
        finally:
            self._warnings = _warnings_now()
            _set_warnings(outer)

    def _wait(self) -> None:
        self._back.acquire()
        self._running = False
        if self._done and self._thread is not None:
            self._thread.join()

    def ended(self) -> bool:
        """Whether it has ended; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._done

    def cancel(self) -> None:
        """Ends it."""
        self._cancelled = True
        while self._thread is not None and self._thread.ident is not None and not self._done:
            if self._running:
                self._wait()
            else:
                self.resume()

    # From inside.

    def _run(self) -> None:
        here.member = self
        try:
            self.value = self.function()
        except BaseException as error:
            self._error = error
        finally:
            self._done = True
            self._back.release()

    def train(self, programs: Sequence[Any]) -> None:
        """Waits until they have been trained."""
        self.wanted, self.took = programs, 0.0
        start = time.perf_counter()
        self._back.release()
        self._go.acquire()
        self.behind += time.perf_counter() - start - self.took
        if self._cancelled:
            raise _Cancelled


def _warnings_now() -> dict[str, Any]:
    return {name: getattr(warnings, name) for name in WARNINGS if hasattr(warnings, name)}


def _set_warnings(state: dict[str, Any]) -> None:
    if all(getattr(warnings, name) is value for name, value in state.items()):
        return
    for name, value in state.items():
        setattr(warnings, name, value)
    with warnings.catch_warnings():  # what warnings remembers of the other filters is not true now
        pass
