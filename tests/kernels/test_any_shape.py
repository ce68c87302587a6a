"""Every kernel on random shapes, builds and threads: the bytes of the portable build on one thread.

The lines are in kernel_table.py. A kernel that is declared and stands neither there nor in its list
of exceptions fails the first test.
"""

from __future__ import annotations

import pytest
from helpers import (
    BUILDS,
    DTYPES,
    SIZES,
    THREADS,
    AtPageEnd,
    In,
    InOut,
    Out,
    Same,
    call,
    same_bytes,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_table import OUTSIDE, TABLE, Draw, declared, takes_threads

# Sizes by the number of letters: a vector, rows and columns, a product. The larger ones give work
# to seven threads: 16,384 functions or 65,536 cheap elements each, a product of several blocks.
LARGEST = {1: 600, 2: 70, 3: 50}
MANY = {1: (470_003,), 2: (9001, 53), 3: (146, 130, 140)}


def test_every_kernel_has_a_line():
    assert sorted([*TABLE, *OUTSIDE]) == sorted(declared())


def everywhere(name: str, sizes: tuple[int, ...], draw: Draw, calls: list[dict]) -> None:
    """Compares each call of each build with the portable build's plain one."""
    line = TABLE[name]
    arguments = line.arguments(draw, *sizes)
    threads = {} if takes_threads(name) else {"threads": None}
    expected = call("portable", draw.dtype, name, *arguments, **threads)
    for isa in BUILDS:
        for how in calls:
            got = call(isa, draw.dtype, name, *arguments, **{**how, **threads})
            for one, other in zip(got, expected, strict=True):
                same_bytes(one, other, f"{name} {sizes} {isa} {how}")
        for place in line.places:
            first = next(i for i, argument in enumerate(arguments) if isinstance(argument, Out))
            inside = list(arguments)
            inside[place], inside[first] = InOut(arguments[place].array), Same(place)
            got = call(isa, draw.dtype, name, *inside, offset=calls[0]["offset"], **threads)
            same_bytes(got[0], expected[0], f"{name} {sizes} {isa} in place of {place}")


def size(least: int, largest: int) -> st.SearchStrategy[int]:
    edges = st.sampled_from([n for n in SIZES if least <= n <= largest])
    return st.one_of(edges, st.integers(least, largest))


@pytest.mark.parametrize("name", TABLE)
@settings(max_examples=15)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_any_shape(name, data, dtype, seed):
    letters, least = TABLE[name].letters, TABLE[name].at_least
    largest = LARGEST[len(letters)]
    sizes = tuple(data.draw(size(least.get(x, 0), largest), label=x) for x in letters)
    offset = data.draw(st.integers(0, 15), label="offset")
    calls = [{"threads": count, "offset": offset + count} for count in THREADS]
    everywhere(name, sizes, Draw(seed, dtype), [*calls, {"offset": 0, "place": AtPageEnd}])


@pytest.mark.parametrize("name", [name for name in TABLE if takes_threads(name)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.slow
def test_threads(name, dtype):
    sizes = MANY[len(TABLE[name].letters)]
    calls = [{"threads": count, "offset": count} for count in THREADS]
    for seed in range(4 if len(sizes) == 3 else 1):  # layouts, starts and activations of products
        everywhere(name, sizes, Draw(seed, dtype), calls)


def test_a_draw_is_a_function_of_its_seed():
    for dtype in DTYPES:
        one, other = (TABLE["gemm"].arguments(Draw(5, dtype), 3, 4, 5) for _ in range(2))
        for a, b in zip(one, other, strict=True):
            if isinstance(a, (In, InOut)) and a.array is not None:
                same_bytes(a.array, b.array)
    assert {Draw(seed, DTYPES[0]).extremes for seed in range(20)} == {False, True}
