"""Failed allocations in the arithmetic of shapes are MemoryErrors, like all others."""

from __future__ import annotations

import pytest

import nnlite as nn
from nnlite import autograd as ag

failing = pytest.importorskip("_testcapi", reason="CPython's test module is not installed")


@pytest.mark.parametrize("call", [
    lambda x: ag.flatten(x), lambda x: ag.flatten(x, 1), lambda x: ag.reshape(x, (3, 2)),
    lambda x: ag.squeeze(x), lambda x: ag.swapaxes(x, 0, 1), lambda x: ag.split(x, 3, 1),
])  # fmt: skip
def test_shapes(call):
    x = nn.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    raised = set()
    for place in range(1, 120):
        failing.set_nomemory(place, place + 1)
        try:
            call(x)
        except BaseException as error:
            failing.remove_mem_hooks()
            raised.add(type(error))
        finally:
            failing.remove_mem_hooks()
    assert raised == {MemoryError}
