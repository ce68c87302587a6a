"""Threads, own or OpenMP's: every piece once, whoever calls, however many, awake or asleep."""

from __future__ import annotations

import functools
import sys
import threading
import time

import numpy as np
import pytest
from helpers import TESTS, run_python

import nnlite as nn
from nnlite import functional as F
from nnlite._core import native

F32 = np.float32
linux = pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc/self/task")
THREADED = [kind for kind in native.threadings() if kind != "none"]
# by the fixed rules: a trial of fewer threads would start fewer, and let OpenMP end some
run_by_rule = functools.partial(run_python, NNLITE_AUTOTUNE="0")
each_threading = pytest.mark.parametrize("threading", THREADED)
threaded = pytest.mark.skipif(nn.get_threading() == "none", reason="there are no threads")


@pytest.fixture
def square(rng):
    """A matrix whose square takes several threads, and that square by one thread."""
    a = rng.normal(size=(200, 200)).astype(F32)
    nn.set_num_threads(1)
    return a, F.matmul(a, a).tobytes()


def test_many_regions_with_pauses_of_every_length(square):
    """Workers are met spinning, falling asleep and asleep."""
    a, expected = square
    nn.set_num_threads(3)
    for pause in np.geomspace(1e-6, 2e-3, 400):
        end = time.perf_counter() + pause
        while time.perf_counter() < end:
            pass
        assert F.matmul(a, a).tobytes() == expected


@pytest.mark.parametrize("threads", [2, 7, 64, 1024])
def test_more_threads_than_cores(square, threads):
    a, expected = square
    nn.set_num_threads(threads)
    assert all(F.matmul(a, a).tobytes() == expected for _ in range(20))


def test_several_callers_at_once(square):
    """One has the pool, the others compute alone; all get the same."""
    a, expected = square
    nn.set_num_threads(2)
    wrong: list[int] = []

    def call(caller: int) -> None:
        for _ in range(200):
            if F.matmul(a, a).tobytes() != expected:
                wrong.append(caller)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


@linux
@each_threading
def test_threads_are_started_once_and_only_as_many_as_asked(threading):
    """Of those that a smaller team has no use for OpenMP ends all but the pool keeps them."""
    program = """
import os
import numpy as np, nnlite as nn
from nnlite import functional as F
a = np.ones((512, 512), np.float32)
count = lambda: len(os.listdir("/proc/self/task"))
before, found = count(), []
for threads in (1, 2, 4, 2, 4):
    nn.set_num_threads(threads)
    for _ in range(20):
        F.matmul(a, a)
    found.append(count() - before)
print(found)
"""
    fewer = {"pool": 3, "openmp": 1}[threading]
    found = run_by_rule(program, NNLITE_THREADS=threading)
    assert found.stdout == f"[0, 1, 3, {fewer}, 3]\n", found.stderr


@linux
@threaded
def test_threads_sleep_when_there_is_nothing_to_do(square):
    a, _ = square
    nn.set_num_threads(2)
    F.matmul(a, a)
    time.sleep(0.3)  # what others still spin for is over
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25  # a spinning worker would take the whole time


@linux
@each_threading
def test_signals_reach_the_program_and_not_its_workers(threading):
    program = """
import os, signal
from pathlib import Path
import numpy as np, nnlite as nn
from nnlite import functional as F
known = set(os.listdir("/proc/self/task"))
nn.set_num_threads(3)
F.matmul(np.ones((512, 512), np.float32), np.ones((512, 512), np.float32))
for task in set(os.listdir("/proc/self/task")) - known:
    status = Path(f"/proc/self/task/{task}/status").read_text()
    blocked = status.split("SigBlk:")[1].split()[0]
    print(int(blocked, 16) >> (signal.SIGINT - 1) & 1, end="")
"""
    assert run_by_rule(program, NNLITE_THREADS=threading).stdout == "11"


@linux
@each_threading
def test_a_worker_that_leaves_the_callers_core_may_use_it_again(threading):
    """It forbids itself the core only for the moment in which the system moves it."""
    program = """
import os, time
import numpy as np, nnlite as nn
from nnlite import functional as F
known = set(os.listdir("/proc/self/task"))
nn.set_num_threads(2)
a = np.ones((300, 300), np.float32)
for _ in range(20):
    F.matmul(a, a)
    time.sleep(0.01)  # the worker sleeps, and is woken by the next product
(worker,) = set(os.listdir("/proc/self/task")) - known
print(os.sched_getaffinity(int(worker)) == os.sched_getaffinity(0))
"""
    assert run_by_rule(program, NNLITE_THREADS=threading).stdout == "True\n"


LIMIT = """
import resource, os
import numpy as np, nnlite as nn
from nnlite import functional as F
a = np.ones((512, 512), np.float32)
nn.set_num_threads(1)
F.matmul(a, a)
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
before = len(os.listdir("/proc/self/task"))
nn.set_num_threads(9)
print(all(F.matmul(a, a)[0, 0] == 512 for _ in range(20)))
print(len(os.listdir("/proc/self/task")) - before)
"""


@linux
@each_threading
def test_eight_workers_in_64_megabytes_of_addresses(threading):
    found = run_by_rule(LIMIT, NNLITE_THREADS=threading)
    assert found.stdout == "True\n8\n", found.stderr


STACK = """
import sys, threading
sys.path.insert(0, TESTS)
import numpy as np, nnlite as nn
from helpers import BUILDS, DTYPES, call
from kernel_table import TABLE, Draw, takes_threads
SIZES = {1: (4001,), 2: (70, 53), 3: (146, 60, 70)}
def kernels(isa):
    for name, line in TABLE.items():
        for dtype in DTYPES:
            for seed in range(3):
                arguments = line.arguments(Draw(seed, dtype), *SIZES[len(line.letters)])
                call(isa, dtype, name, *arguments, threads=2 if takes_threads(name) else None)
def training():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 30)).astype(np.float32), rng.integers(0, 3, 64)
    model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Dropout(0.1), nn.Linear(40, 3))
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters(), lr=1e-3))
    trainer.fit(X, y, 2, 16, (X, y), verbose=0, sample_weight=np.ones(64))
    model.predict(X)
calls = [(kernels, isa) for isa in BUILDS] + [(training,)]
training()  # what is imported then need not fit
threading.stack_size(64 << 10)
done = []
for call_one, *rest in calls:
    thread = threading.Thread(target=lambda: (call_one(*rest), done.append(1)))
    thread.start()
    thread.join()
print(len(done) == len(calls))
"""


@linux
def test_a_thread_with_a_small_stack():
    """No kernel needs more of the caller's stack than 64 KiB, Python's frames included."""
    found = run_python(STACK.replace("TESTS", repr(str(TESTS))))
    assert found.stdout == "True\n", found.stderr[-2000:]
