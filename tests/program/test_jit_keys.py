"""jit_program: which arguments share a program, and which never have one."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag
from nnlite.program.jit import Lease


def test_numbers_are_told_apart_by_their_bits():
    program = nn.jit_program(lambda x, a: x / a)
    x = nn.tensor([1.0, -2.0], requires_grad=True)
    for _ in range(2):
        for a in (0.0, -0.0, 1.5, math.nan, float("nan")):
            with np.errstate(divide="ignore"):
                got, plain = program(x, a), x / a
            assert got.detach().numpy().tobytes() == plain.detach().numpy().tobytes()
    assert program.programs == 4  # NaN is one argument, though it is unequal to itself


def test_kinds_of_equal_numbers_are_told_apart():
    program = nn.jit_program(lambda x, a: x * a if a is True else x + a)
    x = nn.tensor([1.0, -2.0], requires_grad=True)
    assert program(x, 1).tolist() == [2.0, -1.0]
    assert program(x, True).tolist() == [1.0, -2.0]
    assert program(x, 1.0).tolist() == [2.0, -1.0]


@pytest.mark.parametrize("order", [("<", ">"), (">", "<"), (">", ">")])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_arrays_are_told_apart_by_their_byte_order(order, kind):
    program = nn.jit_program(lambda x: (x * 2.0 + 1.0).sum())
    for _ in range(2):
        for mark in order:
            x = np.array([1.0, 2.5, -3.0], mark + kind)
            assert program(x).item() == 4.0
    assert program(np.ones(3, ">" + kind)).item() == 9.0
    assert program.why == "an argument in foreign byte order"
    assert program(np.ones(3, "=" + kind)).item() == 9.0


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.int8, bool])
def test_arrays_without_a_kernel_run_as_the_plain_function(dtype):
    program = nn.jit_program(lambda x: ag.reshape(x * 2, (3, 1)))
    for _ in range(2):
        got = program(np.ones(3, dtype))
        assert got.tolist() == [[2], [2], [2]]
    assert program.programs == 0 and program.why is not None


def test_a_workspace_that_cannot_be_given_back_is_lost_in_silence(capsys):
    class Work:
        @property
        def program(self):
            raise MemoryError

    Lease(Work())  # type: ignore[arg-type]
    unfinished = Lease.__new__(Lease)  # as after a constructor without memory
    del unfinished
    gc.collect()
    assert capsys.readouterr().err == ""


def test_leases_end_in_silence_without_memory(capfd):
    failing = pytest.importorskip("_testcapi", reason="CPython's test module is not installed")

    class Work:
        program = None
        _pool: tuple[list, ...] = ()

    Work.program = Work
    for place in range(1, 12):
        Work._pool = []
        leases = [Lease(Work()) for _ in range(40)]  # 40 appends: the list must grow
        failing.set_nomemory(place, place + 1)
        leases.clear()
        failing.remove_mem_hooks()
    assert capfd.readouterr().err == ""
