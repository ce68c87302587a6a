"""The progress bar of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Progress:
    """A tqdm bar over samples, or nothing; tqdm is imported only when a bar is shown.

    tqdm's own figures are samples/s and the time left. Loss and accuracy follow, of the epoch that
    runs as far as it is done, and what was measured at the end of the last one.

    Args:
        samples: of the whole fit, or None when it is not known.
        done: of them, before this fit began.
    """

    def __init__(self, samples: int | None, done: int, epochs: int, enabled: bool) -> None:
        self._bar: Any = None
        self._epochs = epochs
        self._figures: dict[str, str] = {}
        if enabled:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=samples, initial=done, unit=" samples", unit_scale=True)

    def advance(self, samples: int) -> None:
        """Adds samples trained on; draws at most ten times a second."""
        if self._bar is not None:
            self._bar.update(samples)

    def show(self, epoch: int, values: Callable[[], dict[str, Any]]) -> None:
        """The figures of an epoch that runs or has ended, drawn when the bar is drawn next."""
        if self._bar is not None:
            for name, value in values().items():
                if isinstance(value, float):
                    self._figures[name] = f"{value:.4g}"
            self._bar.set_description(f"epoch {epoch}/{self._epochs}", refresh=False)
            self._bar.set_postfix(self._figures, refresh=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
