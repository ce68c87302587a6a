"""Ctrl-C during a fit: answered between two batches, where model and position fit together.

A batch that runs for long is stopped (csrc/core/entry.c) and is then as if it had not begun."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .._core import native


class Interrupts:
    """Holds SIGINT back until `answer` is called; a second one is answered at once.

    Outside the main thread, or where SIGINT has no Python handler, nothing is held back.
    """

    def __init__(self) -> None:
        self._pending: tuple[int, FrameType | None] | None = None
        self._handler: Any = None
        self._stoppable = False

    def __enter__(self) -> Interrupts:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self._handler = handler
            signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._pending is not None:
            self._pending = None
            self._handler(number, frame)
        else:
            self._pending = (number, frame)
            native.wish_to_stop(self._stoppable)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Within, SIGINT ends a call into C that takes long, by `Stopped` or the status EINTR."""
        self._stoppable = True
        native.wish_to_stop(self._pending is not None)
        try:
            yield
        finally:
            self._stoppable = False
            native.wish_to_stop(False)

    def answer(self) -> None:
        """Calls the handler, which by default raises KeyboardInterrupt, where SIGINT came."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._handler(*pending)

    def __exit__(self, *error: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if error[0] is None:
                self.answer()
