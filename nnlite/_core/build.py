"""Builds one extension per instruction set from the same C sources (run by setup.py).

csrc/nnlite.h is the only declaration of the C interface: `declarations` reads the binding's `cdef`
from it. Every build starts from an empty directory, so changed flags or headers never meet old
objects. Environment: `NNLITE_THREADS=pool|openmp|none` leaves only this source of threads in the
build (default: the pool of csrc/core/pool.c in the kernels, and OpenMP in an extension of its own,
`nnlite._openmp`, where the compiler has it; the same variable chooses between them when Python
starts: threads.py), `NNLITE_SANITIZE=1` adds address and undefined-behaviour sanitizers, and
`NNLITE_ISAS=portable,avx2` builds only these instruction sets.
"""

from __future__ import annotations

import atexit
import copy
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

# The arithmetic contract (docs/design.md): no contraction behind our back, and never -ffast-math.
FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fvisibility=hidden", "-g0", "-fno-asynchronous-unwind-tables"]
ISA_FLAGS = {
    # -Os: half of the code, and no slower, for its fused multiply-adds are calls.
    "portable": ["-DNNL_PORTABLE", "-Os"],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [f"-m{part}" for part in ("avx2", "fma", "avx512f", "avx512bw", "avx512dq")]
    + ["-mavx512vl", "-mprefer-vector-width=512"],
    "neon": [],
}
ISAS_OF_MACHINE = {
    "x86_64": ["portable", "avx2", "avx512"],
    "amd64": ["portable", "avx2", "avx512"],
    "aarch64": ["portable", "neon"],
    "arm64": ["portable", "neon"],
}
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
SANITIZERS += ["-fno-omit-frame-pointer", "-g1"]

# For each choice of NNLITE_THREADS: compiler flags, and a program that must run with them. Default
# first, as in nnlite/_core/threads.py.
THREADS = {
    "pool": (
        ["-pthread", "-DNNL_THREADS_POOL"],
        """
#include <pthread.h>
static void *work(void *unused) { return unused; }
int main(void) {
    pthread_t thread;
    return pthread_create(&thread, 0, work, 0) || pthread_join(thread, 0);
}
""",
    ),
    "openmp": (
        ["-fopenmp"],
        """
#include <omp.h>
int main(void) {
    int sum = 0;
#pragma omp parallel num_threads(2)
    {
#pragma omp critical
        sum += omp_get_num_threads();
    }
    return sum > 0 ? 0 : 1;
}
""",
    ),
    "none": ([], "int main(void) { return 0; }"),
}


def sources() -> list[str]:
    """Every C file, relative to the project's root, in a fixed order."""
    return sorted(str(path.relative_to(ROOT)) for path in CSRC.rglob("*.c"))


def isas() -> list[str]:
    """The instruction sets that this machine's compiler builds for."""
    wanted = os.environ.get("NNLITE_ISAS")
    found = ISAS_OF_MACHINE.get(platform.machine().lower(), ["portable"])
    if not wanted:
        return found
    unknown = set(wanted.split(",")) - set(found)
    if unknown:
        raise SystemExit(f"NNLITE_ISAS: unknown here: {sorted(unknown)}; this machine has {found}")
    return wanted.split(",")


def operations(table: str) -> str:
    """The enum of operations from the table in csrc/ops.h."""
    names = re.findall(r"^ *X\((\w+), \w+, \d, \d, ", table, re.MULTILINE)
    return "enum nnl_op { " + ", ".join(f"NNL_OP_{name}" for name in names) + " };"


def declarations(header: str) -> str:
    """The `cdef` of the binding: the header's common part, and the typed part for each type.

    A `real` that is one number is a double here: Python's number is rounded to float inside the
    call, in its arithmetic mode, and not by the binding in the caller's.
    """
    header = re.sub(r"/\*(?! ---- ).*?\*/", "", header, flags=re.DOTALL)

    def part(name: str) -> str:
        match = re.search(rf"/\* ---- begin: {name}.*?\*/(.*?)/\* ---- end", header, re.DOTALL)
        if match is None:
            raise SystemExit(f"csrc/nnlite.h: the part '{name}' was not found; restore its marker")
        return match[1]

    each = re.sub(r"\breal (?=\w)", "double ", part("for each"))
    typed = [
        re.sub(r"NNL_\((\w+)\)", rf"nnl_\1_{suffix}", re.sub(r"\breal\b", ctype, each))
        for ctype, suffix in (("float", "f32"), ("double", "f64"))
    ]
    return "\n".join([part("common"), *typed])


def glue(header: str) -> str:
    """The C text before the binding: each kernel is called between the begin and the end of a call
    (csrc/core/entry.h), which set the arithmetic mode and listen to Ctrl-C; numbers that are
    `real` are rounded there."""
    around = (
        "__extension__({ nnl_entry nnl_now; nnl_begin_entry(&nnl_now); "
        "nnl_end_entry(&nnl_now, (body)); })"
    )
    # The glue only converts arguments: -Os makes it two thirds as large, and no slower.
    lines = ['#pragma GCC optimize("Os")']
    lines += [f'#include "{name}"' for name in ("nnlite.h", "core/entry.h", "ops.h")]
    lines.append(f"#define NNL_CALL(body) {around}")
    for name, arguments in re.findall(r"^int NNL_\((\w+)\)\((.*?)\);", header, re.DOTALL | re.M):
        names = re.findall(r"(\w+)\s*(?:,|$)", arguments)
        numbers = re.findall(r"\breal (\w+)", arguments)
        for suffix, rounding in (("f32", "nnl_to_float"), ("f64", "")):
            given = [f"{rounding}({x})" if x in numbers else f"({x})" for x in names]
            call = f"nnl_{name}_{suffix}({', '.join(given)})"
            lines.append(f"#define nnl_{name}_{suffix}({', '.join(names)}) NNL_CALL({call})")
    return "\n".join(lines)


def compiler() -> list[str]:
    """The C compiler's command, or an error that says how to get one."""
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(command[0]) is None:
        raise SystemExit(
            f"nnlite needs a C compiler: '{command[0]}' was not found. Install one "
            "(Debian and Ubuntu: apt install gcc; Fedora: dnf install gcc; macOS: xcode-select "
            "--install) or name one in the environment variable CC, then run pip again."
        )
    return command


def runs(command: list[str], program: str, flags: list[str]) -> bool:
    """True when the program compiles, links and exits with 0."""
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text(program)
        compiled = subprocess.run(
            [*command, *flags, str(source), "-o", str(binary)], capture_output=True
        )
        return compiled.returncode == 0 and subprocess.run([str(binary)]).returncode == 0


def threadings(command: list[str]) -> list[str]:
    """What there is to take threads from: those of THREADS that the compiler makes."""
    asked = os.environ.get("NNLITE_THREADS")
    if asked not in (None, *THREADS):
        raise SystemExit(f"NNLITE_THREADS: expected one of {', '.join(THREADS)}; got {asked!r}")
    found = []
    for name in [asked] if asked else THREADS:
        flags, probe = THREADS[name]
        if runs(command, probe, flags):
            found.append(name)
        elif asked:
            raise SystemExit(
                f"NNLITE_THREADS={asked}: a program made with {' '.join(flags)} fails here"
            )
        else:
            print(f"nnlite: a program made with {' '.join(flags)} fails here: building without")
    return found


def fresh_folder() -> str:
    """An empty folder that is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="nnlite-build-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def extensions() -> list[Any]:
    """One cffi extension per instruction set."""
    import cffi

    kinds = threadings(compiler())
    threads = THREADS["pool"][0] if "pool" in kinds else []
    sanitize = SANITIZERS if os.environ.get("NNLITE_SANITIZE") == "1" else []
    strip = ["-Wl,-s"] if sys.platform == "linux" else []
    header = (CSRC / "nnlite.h").read_text()
    cdef = declarations(header)
    cdef += operations((CSRC / "ops.h").read_text())
    made = []
    for isa in isas():
        builder = cffi.FFI()
        builder.cdef(cdef)
        builder.cdef('extern "Python" int nnlite_asked(void);')
        builder.set_source(
            f"nnlite._kernels_{isa}",
            glue(header),
            sources=sources(),
            include_dirs=["csrc"],
            extra_compile_args=[*FLAGS, *ISA_FLAGS[isa], *threads, *sanitize],
            extra_link_args=["-lm", *threads, *(sanitize or strip)],
        )
        made.append(builder.distutils_extension(fresh_folder()))
    if "openmp" in kinds:
        made.append(openmp_extension(sanitize, sanitize or strip))
    return made


def openmp_extension(compiling: list[str], linking: list[str]) -> Any:
    """The extension that alone needs OpenMP's library, for all instruction sets."""
    import cffi

    flags, _ = THREADS["openmp"]
    builder = cffi.FFI()
    builder.cdef("uintptr_t nnl_openmp_start(void);")
    builder.set_source(
        "nnlite._openmp",
        '#include "core/openmp.h"',
        sources=["csrc/core/openmp.c"],
        include_dirs=["csrc"],
        extra_compile_args=[*FLAGS, *flags, *compiling],
        extra_link_args=[*flags, *linking],
    )
    return builder.distutils_extension(fresh_folder())


def setup_arguments() -> dict[str, Any]:
    """The keyword arguments of setuptools.setup that pyproject.toml cannot hold."""
    from setuptools import Distribution
    from setuptools.command.build import build
    from setuptools.command.build_ext import build_ext

    class FreshBuild(build):  # type: ignore[misc]
        """Builds in a new directory, so that nothing of an earlier build is in the wheel."""

        def finalize_options(self) -> None:
            self.build_base = fresh_folder()
            super().finalize_options()

    class KernelExtensions(build_ext):  # type: ignore[misc]
        """Makes the extensions when they are built, not when metadata are asked for."""

        def finalize_options(self) -> None:
            building = "egg_info" not in sys.argv and "sdist" not in sys.argv
            self.distribution.ext_modules = extensions() if building else []
            super().finalize_options()
            self.force = True  # objects know neither flags nor headers
            self.parallel = os.cpu_count()

        def build_extension(self, ext: Any) -> None:
            one = copy.copy(self)  # the same sources make different objects for each extension
            one.build_temp = os.path.join(self.build_temp, ext.name)
            build_ext.build_extension(one, ext)

    class BinaryDistribution(Distribution):  # type: ignore[misc]
        def has_ext_modules(self) -> bool:
            return True

    limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
    return {
        "distclass": BinaryDistribution,
        "cmdclass": {"build": FreshBuild, "build_ext": KernelExtensions},
        # cffi compiles against the limited API where there is one; the tag says so.
        "options": {"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {},
    }
