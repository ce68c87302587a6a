"""Random expression graphs against PyTorch: values, gradients and second derivatives in float64.

Where PyTorch is not installed the numbers it gave for a fixed set of graphs are in
tests/golden/expressions.json, written by tests/tools/write_expressions.py.
"""

from __future__ import annotations

import json

import expressions
import numpy as np
import pytest
from expressions import OPERATIONS, Program, build, derivatives
from helpers import TESTS
from hypothesis import given, settings
from hypothesis import strategies as st

FIXED = json.loads((TESTS / "golden" / "expressions.json").read_text())


def compare(program: Program, expected: dict) -> None:
    """Values and gradients to 1e-10, second derivatives to 1e-8, of the largest of each array."""
    got = derivatives(program)
    pairs = [(got["value"], expected["value"], 1e-10)]
    pairs += [(a, b, 1e-10) for a, b in zip(got["first"], expected["first"], strict=True)]
    pairs += [(a, b, 1e-8) for a, b in zip(got["second"], expected["second"], strict=True)]
    for a, b, error in pairs:
        size = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=0, atol=error * size, err_msg=str(program["steps"]))


@pytest.mark.parametrize("number", range(len(FIXED)))
def test_fixed_graphs(number: int) -> None:
    compare(FIXED[number], FIXED[number])


def test_the_fixed_graphs_use_every_operation() -> None:
    used = {name for program in FIXED for name, _, _ in program["steps"]}
    assert used == set(OPERATIONS)


@settings(max_examples=150)
@given(st.data())
@pytest.mark.slow
def test_random_graphs(data: st.DataObject) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    program = build(lambda n: data.draw(st.integers(0, n - 1)))
    compare(program, expressions.derivatives_by_torch(program))
