"""Marks of single cases."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*values: Any) -> list[Any]:
    """Cases for `pytest.mark.parametrize` that only `pytest -m slow` runs."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]
