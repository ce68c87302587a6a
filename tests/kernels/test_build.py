"""The binding made from the header, the builds side by side, forks, what an import loads."""

from __future__ import annotations

import os
import re
import runpy
import sys
import tomllib

import pytest
from helpers import BUILDS, DTYPES, ROOT, run_python

import nnlite as nn
from nnlite._core import native

HEADER = (ROOT / "csrc" / "nnlite.h").read_text()
BUILD = runpy.run_path(str(ROOT / "nnlite" / "_core" / "build.py"))


# ---- declarations ----


def functions() -> tuple[set[str], set[str]]:
    """Names that the header declares: for each type, and common; found without `declarations`."""
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    typed = set(re.findall(r"\bint NNL_\((\w+)\)\(", code))
    return typed, set(re.findall(r"\bnnl_(\w+)\(", code))


def test_declarations_hold_every_function_for_both_types():
    cffi = pytest.importorskip("cffi", reason="cffi is not installed")
    cdef = BUILD["declarations"](HEADER)
    assert "NNL_(" not in cdef and not re.search(r"\breal\b", cdef) and "/*" not in cdef
    builder = cffi.FFI()
    builder.cdef(cdef)
    typed, common = functions()
    assert len(typed) > 25 and {"status_text", "random_bits"} <= common
    expected = {f"nnl_{name}_{kind}" for name in typed for kind in ("f32", "f64")}
    expected |= {f"nnl_{name}" for name in common}
    found = {key.split()[1] for key in builder._parser._declarations if key.startswith("function ")}
    assert found == expected
    signature = "int nnl_gemm_{}(int64_t m, int64_t n, int64_t k, const {} *a"
    for kind, ctype in (("f32", "float"), ("f64", "double")):
        assert signature.format(kind, ctype) in cdef


def test_a_header_without_its_markers_is_refused():
    with pytest.raises(SystemExit, match=r"the part '.*' was not found; restore its marker"):
        BUILD["declarations"]("int f(void);")


@pytest.mark.parametrize("isa", BUILDS)
def test_every_build_has_every_function(isa):
    build, (typed, common) = native.load_build(isa), functions()
    assert set(vars(build.common)) == common
    for dtype in DTYPES:
        assert set(vars(build.kernels[dtype])) == typed | {"dtype", "array"}
    assert build.text(build.common.build_isa()) == isa == build.isa
    assert build.common.cpu_supports(isa.encode()) == 1
    assert build.common.cpu_supports(b"sse9") == 0
    for status, text in ((0, "success"), (1, "overflows"), (2, "memory"), (3, "index"), (9, "unk")):
        assert text in build.text(build.common.status_text(status))


def test_every_machine_has_the_portable_build():
    assert BUILDS[-1] == "portable" == native.builds()[-1]
    assert set(BUILDS) <= set(native.builds()) <= set(BUILD["isas"]())
    assert native.ISA in BUILDS


def test_sources_are_all_there_and_sorted():
    sources = BUILD["sources"]()
    assert sources == sorted(sources)
    assert {ROOT / name for name in sources} == set((ROOT / "csrc").rglob("*.c"))


def test_probe_of_a_compiler(tmp_path):
    command = BUILD["compiler"]()
    assert BUILD["runs"](command, "int main(void) { return 0; }", [])
    assert not BUILD["runs"](command, "int main(void) { return 1; }", [])
    assert not BUILD["runs"](command, "int main(void) { return }", [])


def test_the_choice_of_threads(monkeypatch, tmp_path, capsys):
    command = BUILD["compiler"]()
    monkeypatch.setenv("NNLITE_THREADS", "none")
    assert BUILD["threadings"](command) == ["none"]
    monkeypatch.setenv("NNLITE_THREADS", "many")
    with pytest.raises(SystemExit, match="NNLITE_THREADS: expected one of pool, openmp, none"):
        BUILD["threadings"](command)
    monkeypatch.setenv("NNLITE_THREADS", "pool")
    assert BUILD["threadings"](command) == ["pool"]
    monkeypatch.delenv("NNLITE_THREADS")
    assert BUILD["threadings"](command)[::2] == ["pool", "none"]  # and OpenMP, where there is one

    refuses = tmp_path / "cc"  # a compiler that knows neither way to threads
    refuses.write_text(f'#!/bin/sh\ncase "$*" in *-pthread*|*-fopenmp*) exit 1;; esac\n'
                       f'exec {" ".join(command)} "$@"\n')  # fmt: skip
    refuses.chmod(0o755)
    assert BUILD["threadings"]([str(refuses)]) == ["none"]
    assert "made with -fopenmp fails here: building without" in capsys.readouterr().out
    monkeypatch.setenv("NNLITE_THREADS", "openmp")
    with pytest.raises(SystemExit, match="NNLITE_THREADS=openmp: a program made with -fopenmp"):
        BUILD["threadings"]([str(refuses)])


def test_show_config(capsys):
    nn.set_num_threads(3)
    text = nn.show_config()
    assert capsys.readouterr().out == text + "\n"
    facts = native.build_facts()
    for part in (nn.__version__, facts["compiler"], f"kernels    {native.ISA} (built: "):
        assert part in text
    assert ("threads    3 of " in text) == (facts["threads"] != "none")


@pytest.mark.parametrize(
    "value, threads",
    [
        ("5", 5), ("2,3", 2), (" 3 ", 3), ("+4", 4), ("007", 7), ("0", None), ("many", None),
        ("", None), ("-2", None), ("²", None), ("٣", None), ("1" * 5000, 1024), ("1025", 1024),
        ("99999999999999999999", 1024), ("2.5", None), (",4", None),
    ],
)  # fmt: skip
def test_the_number_of_threads_at_the_start(value, threads):
    program = "import nnlite; from nnlite._core import config as c; "
    program += "print(nnlite.get_num_threads(), c.available_cores())"
    found = run_python(program, OMP_NUM_THREADS=value)
    first, cores = found.stdout.split()
    assert first == (str(threads) if threads else cores), found.stderr


# ---- processes and imports ----

FORK = """
import os, sys, time
import numpy as np, nnlite as nn
from nnlite import functional as F
from nnlite._core import native
nn.set_num_threads(2)
a = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
before = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 0
expected = F.matmul(a, a).tobytes() + F.tanh(a).tobytes()
if before and native.build_facts()["threads"] != "none":
    assert len(os.listdir("/proc/self/task")) > before  # threads were there to be lost
child = os.fork()
if child == 0:
    same = F.matmul(a, a).tobytes() + F.tanh(a).tobytes() == expected
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if F.tanh(F.matmul(a, a)).shape == a.shape else 5)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) if same else 3)
for _ in range(600):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        break
    time.sleep(0.1)
else:
    os.kill(child, 9)
    sys.exit("the child hangs")
assert F.matmul(a, a).tobytes() + F.tanh(a).tobytes() == expected  # the parent goes on
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("threading", native.threadings())
@pytest.mark.slow
def test_a_forked_child_computes_the_same(isa, threading):
    ignore = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
    found = run_python(ignore + FORK, NNLITE_ISA=isa, NNLITE_THREADS=threading)
    assert found.returncode == 0, found.stderr


def test_importing_brings_in_no_other_package():
    program = (
        "import sys, numpy; before = set(sys.modules); import nnlite\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    found = run_python(program)
    assert found.stderr == "" and found.returncode == 0
    heavy = {"tqdm", "matplotlib", "torch", "sklearn", "cffi", "pycparser", "multiprocessing"}
    heavy |= {"jax", "onnxruntime", "setuptools", "scipy", "subprocess", "asyncio", "argparse"}
    modules = set(found.stdout.split())
    assert not modules & heavy
    standard = set(sys.stdlib_module_names)
    assert modules - standard <= {"nnlite", "_cffi_backend", "_distutils_hack"}


def test_loaded_kernels_are_one_build():
    program = "import sys, nnlite; print(*(n for n in sys.modules if '._kernels_' in n))"
    for isa in BUILDS:
        names = run_python(program, NNLITE_ISA=isa).stdout.split()
        loaded = {name.removesuffix(".lib") for name in names}
        # the portable one tells what the processor has
        assert loaded == {f"nnlite._kernels_{isa}", "nnlite._kernels_portable"}


def test_public_names():
    assert len(set(nn.__all__)) == len(nn.__all__) and set(nn.__all__) <= set(dir(nn))
    assert sorted(nn.nn.__all__) == nn.nn.__all__ == nn.__all__[-len(nn.nn.__all__) :]
    assert all(hasattr(nn, name) for name in nn.__all__)
    for name in ("Linear", "ReLU", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Sequential"):
        assert issubclass(getattr(nn, name), nn.Module)
    for name in ("SoftmaxCE", "CrossEntropyLoss", "NLLLoss", "MSELoss"):
        assert issubclass(getattr(nn, name), nn.Loss)
    assert nn.optim.SGD and nn.functional.matmul and nn.data.load_idx and nn.data.load_digits


def test_every_package_is_installed():
    root = ROOT
    listed = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [path.parent.relative_to(root) for path in (root / "nnlite").rglob("__init__.py")]
    assert sorted(".".join(path.parts) for path in found) == sorted(listed)
