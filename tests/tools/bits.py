"""Compiles tests/tools/golden.c with every compiler for every processor here, and compares bits.

    python3 tests/tools/bits.py            every build that this machine can make and run
    python3 tests/tools/bits.py --only neon clang     builds whose name contains one of the words
    python3 tests/tools/bits.py --update   writes tests/golden/bits.txt from the portable build

Each build prints one line for each group of kernels; all must equal those of the portable build,
and those must equal tests/golden/bits.txt. Flags come from nnlite/_core/build.py. Builds for other
processors run under qemu. What cannot be made or run here is skipped with the reason. Exit status:
0 when all bits are the same, else 1. Needs no package of Python's.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "bits.txt"
TOOLS = ROOT / "tests" / "tools"
RULES: dict[str, Any] = runpy.run_path(str(ROOT / "nnlite" / "_core" / "build.py"))
MOST_LINES = 12  # of differences shown for one build
CROSS = "aarch64-linux-gnu-gcc"
RACES = ["-fsanitize=thread", "-g1"]


@dataclass
class Build:
    """One executable: by which compiler, with which flags, run by what."""

    compiler: str
    isa: str
    emulator: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    note: str = ""
    threads: str = "pool"

    @property
    def name(self) -> str:
        return f"{self.compiler} {self.isa}{self.note}"


def builds() -> list[Build]:
    """Everything to compare; the first is the definition."""
    machine = platform.machine().lower()
    native = RULES["ISAS_OF_MACHINE"].get(machine, ["portable"])
    found = [Build(compiler, isa) for compiler in ("gcc", "clang") for isa in native]
    if native[-1] != "portable":
        widest = "avx2" if "avx2" in native else native[-1]  # where most code lies between guards
        found.append(Build("gcc", widest, flags=RULES["SANITIZERS"], note=", sanitized"))
        found.append(Build("gcc", widest, flags=RACES, note=", races sought"))
    found.append(Build("gcc", native[-1], note=", OpenMP", threads="openmp"))
    if "neon" not in native:
        found += [
            Build(CROSS, isa, ["qemu-aarch64"], ["-static"])
            for isa in RULES["ISAS_OF_MACHINE"]["aarch64"]
        ]
    return found


def missing(build: Build) -> str:
    """What this machine lacks for the build, or nothing."""
    return ", ".join(c for c in (build.compiler, *build.emulator[:1]) if shutil.which(c) is None)


def compile_golden(build: Build, folder: Path) -> tuple[Path | None, str]:
    """The executable, or None and why there is none."""
    binary = folder / build.name.replace(" ", "_")
    threads, _ = RULES["THREADS"][build.threads]
    sources = [str(TOOLS / "golden.c"), *RULES["sources"]()]
    flags = [*RULES["FLAGS"], *RULES["ISA_FLAGS"][build.isa], *build.flags, *threads, "-Icsrc"]
    made = subprocess.run(
        [build.compiler, *flags, *sources, "-lm", "-o", str(binary)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return (binary, "") if made.returncode == 0 else (None, made.stderr[:2000])


def run_golden(build: Build, binary: Path) -> tuple[dict[str, str], str]:
    """The hash of each group, and what went wrong."""
    done = subprocess.run([*build.emulator, str(binary)], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("FAILED")]
    wrong = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != 0:
        wrong += [f"exit status {done.returncode}", done.stderr[-4000:]]
    return dict(line.rsplit(" ", 1) for line in lines), "\n".join(wrong)


def differences(bits: dict[str, str], expected: dict[str, str]) -> Iterator[str]:
    """One line for each group that differs."""
    for name in sorted({*bits, *expected}):
        if bits.get(name) != expected.get(name):
            yield f"    {name}: {bits.get(name, 'no line')}, not {expected.get(name, 'no line')}"


def agree(title: str, bits: dict[str, str], expected: dict[str, str]) -> bool:
    """Prints whether the bits are the same, and the lines that differ."""
    found = list(differences(bits, expected))
    print(f"{'DIFFERENT bits' if found else 'same bits'}: {title}")
    print(*found[:MOST_LINES], sep="\n", end="\n" if found else "")
    if len(found) > MOST_LINES:
        print(f"    and {len(found) - MOST_LINES} more of {len(expected)}")
    return not found


# What golden.c need not call, and why.
NO_BITS_OF_THEIR_OWN = {
    "NNL_(Program_forward)": "calls of a program in their order; tests/nn/test_passes.py",
    "NNL_(Program_backward)": "calls of a program in their order; tests/nn/test_passes.py",
    "nnl_tuned": "a report",
}


def uncovered() -> list[str]:
    """Functions of csrc/nnlite.h that golden.c does not name."""
    header = (ROOT / "csrc" / "nnlite.h").read_text()
    text = "".join(path.read_text() for path in sorted(TOOLS.glob("golden*.[ch]")))
    typed = re.findall(r"^int NNL_\((\w+)\)", header, re.MULTILINE)
    common = re.findall(r"^(?:int|const char \*)\s?(nnl_\w+)\(", header, re.MULTILINE)
    named = [f"NNL_({name})" for name in typed] + common
    return [n for n in named if n not in text and n not in NO_BITS_OF_THEIR_OWN]


def check_golden(bits: dict[str, str], update: bool) -> bool:
    """Compares with the committed file, or writes it."""
    if update:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text("".join(f"{name} {value}\n" for name, value in bits.items()))
        print(
            f"wrote {GOLDEN.relative_to(ROOT)}; a line that changed needs an entry in CHANGELOG.md"
        )
        return True
    lines = GOLDEN.read_text().splitlines() if GOLDEN.exists() else []
    expected = dict(line.rsplit(" ", 1) for line in lines)
    if agree("tests/golden/bits.txt", bits, expected):
        return True
    if any(bits.get(name) != value for name, value in expected.items()):
        print("    results change for users: if that is meant, say so in CHANGELOG.md, and run")
    else:
        print("    only lines of new groups are missing: run")
    print("    python3 tests/tools/bits.py --update")
    return False


def compare(chosen: list[Build], folder: Path, jobs: int, update: bool) -> bool:
    """Compiles and runs the builds, `jobs` at a time; True when all bits are the same."""
    good = True
    definition = chosen[0]
    with ThreadPoolExecutor(jobs) as pool:
        made = list(pool.map(compile_golden, chosen, itertools.repeat(folder)))
        ready: list[tuple[Build, Path]] = []
        for build, (binary, error) in zip(chosen, made, strict=True):
            if binary is None:
                print(f"FAILED to compile: {build.name}\n{error}")
                good = False
            elif made[0][0] is None:
                return False
            elif build.emulator or runs_here(made[0][0], build.isa):
                ready.append((build, binary))
            else:
                print(f"skipped: {build.name}: this processor cannot run it")
        results = pool.map(run_golden, *zip(*ready, strict=True))
        expected: dict[str, str] = {}
        for (build, _), (bits, error) in zip(ready, results, strict=True):
            if error:
                print(f"FAILED to run: {build.name}\n{error}")
                good = False
            if build is definition:
                expected = bits
                good &= not error and check_golden(bits, update)
            else:
                good &= agree(build.name, bits, expected)
            sys.stdout.flush()
    return good


def runs_here(portable: Path, isa: str) -> bool:
    """True when this processor can run a build for the instruction set."""
    return subprocess.run([str(portable), "--supports", isa]).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="builds to compare")
    parser.add_argument("--update", action="store_true", help="write tests/golden/bits.txt")
    parser.add_argument("--jobs", type=int, default=2, help="builds at a time (default 2)")
    options = parser.parse_args()
    forgotten = uncovered()
    for name in forgotten:
        print(f"FAILED: csrc/nnlite.h declares {name}; add it to tests/tools/golden_layers.h")
    chosen: list[Build] = []
    for build in builds():
        if chosen and not any(word in build.name for word in options.only):
            continue
        lacking = missing(build)
        if lacking:
            print(f"skipped: {build.name}: not installed: {lacking}")
        else:
            chosen.append(build)
    with tempfile.TemporaryDirectory(prefix="nnlite-bits-") as folder:
        good = compare(chosen, Path(folder), options.jobs, options.update)
    return 0 if good and not forgotten else 1


if __name__ == "__main__":
    sys.exit(main())
