"""A thread that prepares the next piece of work while the caller uses this one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from typing import Any


def prefetched(
    fill: Callable[[int, Any, Callable[[], bool]], Any], numbers: range, buffers: list[Any]
) -> Generator[Any]:
    """fill(number, buffer, stopped) for each number in turn, one ahead of the caller, in a thread.

    What fill returned is the caller's until it asks for the next. An error of the thread is raised
    here; the thread has ended when this generator has, by its end, an error or close().
    """
    import queue  # here alone, so that importing nnlite stays cheap

    free: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ready: queue.SimpleQueue[tuple[Any, Any, BaseException | None]] = queue.SimpleQueue()
    stop, process = threading.Event(), os.getpid()

    def work() -> None:
        try:
            for number in numbers:
                buffer = free.get()
                if stop.is_set():
                    return
                ready.put((buffer, fill(number, buffer, stop.is_set), None))
        except BaseException as error:
            ready.put((None, None, error))

    for buffer in buffers:
        free.put(buffer)
    thread = threading.Thread(target=work, name="nnlite-prefetch", daemon=True)
    thread.start()
    try:
        for _ in numbers:
            if os.getpid() != process:
                raise RuntimeError(
                    "source: the process was forked in the middle of an epoch, and its reading "
                    "thread stayed in the parent; begin the epoch in the child"
                )
            buffer, result, error = ready.get()
            if error is not None:
                raise error
            yield result
            free.put(buffer)
    finally:
        if os.getpid() == process:
            stop.set()
            free.put(None)
            thread.join()
