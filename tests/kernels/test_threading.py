"""Where threads come from: the choice at the start or by a call, errors, and what OpenMP needs."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import run_python

import nnlite as nn
from nnlite._core import native, threads

KINDS = native.threadings()  # of this installation, the default first
THREADED = [kind for kind in KINDS if kind != "none"]
BUILD = runpy.run_path(str(Path(nn.__file__).with_name("_core") / "build.py"))
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")
openmp = pytest.mark.skipif("openmp" not in KINDS, reason="this build has no OpenMP")

WORK = """
import os
import numpy as np, nnlite as nn
nn.set_num_threads(3)
a = np.ones((300, 300), np.float32)
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
"""


def test_the_kinds_are_the_builds():
    assert tuple(BUILD["THREADS"]) == threads.KINDS == ("pool", "openmp", "none")
    assert KINDS[-1] == "none" and set(KINDS) <= set(threads.KINDS)
    assert nn.get_threading() in KINDS


# ---- chosen when Python starts ----


@linux
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["variable", "call"])
def test_each_runs(kind, by):
    """Its threads are there, those of the others are not, and OpenMP's library only when chosen."""
    program = WORK.replace("nn.set_num", f"nn.set_threading({kind!r}); nn.set_num")
    program = program if by == "call" else WORK
    program += (
        "right = (nn.functional.matmul(a, a) == 300).all()\n"
        "print(nn.get_threading(), right, count() - before, 'nnlite/_openmp' in "
        "open('/proc/self/maps').read(), [name for name in os.environ if 'STACKSIZE' in name])"
    )
    found = run_python(program, NNLITE_THREADS=kind if by == "variable" else "")
    workers = 0 if kind == "none" else 2
    assert found.stdout == f"{kind} True {workers} {kind == 'openmp'} []\n", found.stderr


def test_the_default_is_the_first():
    program = "import nnlite as nn; print(nn.get_threading())"
    assert run_python(program, NNLITE_THREADS="").stdout == f"{KINDS[0]}\n"
    if "pool" in KINDS:
        assert KINDS[0] == "pool"


@pytest.mark.parametrize("value", ["many", "Pool", " pool", "0"])
def test_an_unknown_value_is_an_error_at_import(value):
    text = f"NNLITE_THREADS={value!r}: expected one of pool, openmp, none; unset it to get "
    program = "try: import nnlite\nexcept ImportError as error: print(error)"
    assert run_python(program, NNLITE_THREADS=value).stdout == f"{text}{KINDS[0]}\n"
    command = [sys.executable, "-m", "nnlite", "info"]
    environment = {**os.environ, "NNLITE_THREADS": value}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (2, "", f"nnlite: {text}{KINDS[0]}\n")


def test_what_the_build_has_not_is_an_error_that_says_what_it_has(monkeypatch):
    monkeypatch.setattr(threads, "built", lambda has_pool: ["pool", "none"])
    monkeypatch.setenv("NNLITE_THREADS", "openmp")
    message = r"NNLITE_THREADS='openmp': this installation was built with pool, none; install "
    with pytest.raises(ImportError, match=message):
        threads.from_environment(True)
    monkeypatch.setattr(threads, "built", lambda has_pool: ["openmp", "none"])
    assert threads.from_environment(False) == "openmp"
    monkeypatch.delenv("NNLITE_THREADS")
    assert threads.from_environment(False) == "openmp"
    monkeypatch.setenv("NNLITE_THREADS", "pool")
    with pytest.raises(ImportError, match="built with openmp, none"):
        threads.from_environment(False)
    monkeypatch.setattr(threads, "built", lambda has_pool: ["none"])
    with pytest.raises(ValueError, match=r"set_threading: kind: 'pool': .* built with none; "):
        threads.require("set_threading: kind: 'pool'", "pool", False, ValueError)


def test_a_library_that_does_not_load_is_named(monkeypatch):
    def fails(name):
        raise ImportError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(threads.importlib, "import_module", fails)
    with pytest.raises(ImportError, match=r"OpenMP does not load: libgomp.so.1: .*; install its"):
        threads.load_openmp()
    assert not any(name in os.environ for name in threads.STACKS)


# ---- chosen by a call ----


def test_after_a_kernel_it_is_too_late():
    program = (
        "import numpy as np, nnlite as nn\n"
        "for kind in ('none', nn._core.native.threadings()[0]): nn.set_threading(kind)\n"
        "print(nn.functional.tanh(np.zeros(1, np.float32))[0])\n"
        "for kind in nn._core.native.threadings():\n"
        "    try: nn.set_threading(kind)\n"
        "    except RuntimeError as error: print(error)\n"
        "print(nn.get_threading())"
    )
    first, *lines, last = run_python(program, NNLITE_THREADS="").stdout.splitlines()
    assert first == "0.0" and last == KINDS[0]
    assert lines == [
        f"set_threading: kernels have run already, with threads from '{KINDS[0]}': call "
        "set_threading right after `import nnlite`, before anything is computed (a layer's initial "
        f"weights are), or start Python with NNLITE_THREADS={kind}"
        for kind in KINDS
    ]


@pytest.mark.parametrize(
    "kind, error, message",
    [
        ("many", ValueError, "expected one of pool, openmp, none; got 'many'"),
        ("", ValueError, "expected one of pool, openmp, none; got ''"),
        (None, TypeError, "expected a string, got NoneType"),
        (2, TypeError, "expected a string, got int"),
    ],
)
def test_what_is_no_kind(kind, error, message):
    before = nn.get_threading()
    with pytest.raises(error, match=f"^set_threading: kind: {re.escape(message)}$"):
        nn.set_threading(kind)
    assert nn.get_threading() == before


def test_builds_that_are_loaded_later_follow():
    program = (
        "import nnlite as nn; nn.set_threading('none'); native = nn._core.native\n"
        "loaded = [native.load_build(isa) for isa in native.supported()]\n"
        "print({build.common.get_threading() for build in loaded} == {native.THREADING_NONE})"
    )
    assert run_python(program).stdout == "True\n"


@pytest.mark.parametrize("number, address", [(-1, 0), (3, 0), (2, 0)])
def test_c_refuses_what_it_has_not(number, address):
    before = native.common.get_threading()
    assert native.common.set_threading(number, address) == native.EINVAL
    assert native.common.get_threading() == before


# ---- what it tells ----


@pytest.mark.parametrize("kind", KINDS)
def test_info_says_which_and_what_else(kind):
    program = "import nnlite as nn; nn.show_config(); "
    program += "print(nn._core.native.build_facts()['threads'])"
    *lines, fact = run_python(program, NNLITE_THREADS=kind).stdout.splitlines()
    built = f"(built: {', '.join(KINDS)}; NNLITE_THREADS chooses)"
    assert f"threading  {kind} {built}" in lines
    assert fact == {"pool": "own pool", "openmp": "OpenMP", "none": "none"}[kind]
    if kind == "none" and len(KINDS) > 1:
        assert "threads    1 (threading is none)" in lines


# ---- OpenMP's threads ----


@openmp
@linux
def test_the_users_stack_size_stays():
    program = WORK + "print(os.environ['OMP_STACKSIZE'], nn.functional.matmul(a, a)[0, 0])"
    found = run_python(program, NNLITE_THREADS="openmp", OMP_STACKSIZE="3M")
    assert found.stdout == "3M 300.0\n", found.stderr


@openmp
@pytest.mark.parametrize("variable", [{"OMP_THREAD_LIMIT": "2"}, {"OMP_DYNAMIC": "true"}], ids=str)
def test_a_smaller_team_does_all_pieces(variable):
    program = WORK.replace("(3)", "(7)") + "print((nn.functional.matmul(a, a) == 300).all())"
    found = run_python(program, NNLITE_THREADS="openmp", **variable)
    assert found.stdout == "True\n", found.stderr


UNEVEN = """
import signal, threading, time
import numpy as np, nnlite as nn
nn.set_num_threads(2)
X, y = np.ones((64, 30), np.float32), np.zeros(64, np.int64)
models = [nn.Sequential(nn.Linear(30, n), nn.ReLU(), nn.Linear(n, 3)) for n in (1, 2000)]
optimizers = [nn.optim.SGD(model.parameters(), lr=1e-3) for model in models]
begun = []
def interrupt():
    time.sleep(1)
    begun.append(time.perf_counter())
    signal.raise_signal(signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    nn.fit_many(models, nn.SoftmaxCE(), optimizers, X, y, 30_000, 16, verbose=0)
except KeyboardInterrupt:
    print(time.perf_counter() - begun[0] < 2)
"""


@openmp
def test_ctrl_c_while_the_caller_waits_for_another_thread():
    """The caller trains the small network, is done with it soon, and waits for the large one."""
    found = run_python(UNEVEN, NNLITE_THREADS="openmp")
    assert found.stdout == "True\n", found.stderr
