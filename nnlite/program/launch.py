"""Where prepared training programs are run: at once, each call for itself; or, in a thread whose
function trains side by side with others (nnlite/train/_side_by_side.py), together with theirs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from .._core import native
from .._core.config import _State


class _Thread(threading.local):
    member: Any = None  # who trains this thread's programs with those of others


here = _Thread()


def alone() -> bool:
    """Whether the programs of this thread are trained by themselves."""
    return here.member is None


def train(programs: Sequence[Any]) -> None:
    """Runs prepared Programs, together with those of the other functions, where there are any."""
    if here.member is not None:
        here.member.train(programs)
    else:
        launch(programs, _State.threads)


def launch(programs: Sequence[Any], threads: int) -> None:
    """Runs prepared Programs, whole ones on each thread: one call of C for each dtype."""
    for dtype in {program.dtype for program in programs}:
        trainings = [program.training for program in programs if program.dtype == dtype]
        native.run_side_by_side(dtype, trainings, threads)
