#!/usr/bin/env bash
# Compiles every C file for every instruction set with all warnings as errors; writes nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
flags="-std=c11 -O2 -ffp-contract=off -fno-math-errno -fno-trapping-math -Icsrc"
flags="$flags -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wframe-larger-than=16384 -Werror -c -o /dev/null"
check() { # compiler and the flags of an instruction set
    find csrc -name '*.c' -print0 |
        xargs -0 -n 1 -P "$(nproc)" "$@" $flags -pthread -DNNL_THREADS_POOL
    "$@" $flags -fopenmp csrc/core/openmp.c
    echo "no warnings: $*"
}
if [ "$(uname -m)" = x86_64 ]; then
    avx512="-mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl"
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null || { echo "skipped: no $compiler here"; continue; }
        check "$compiler" -DNNL_PORTABLE
        check "$compiler" -mavx2 -mfma
        # shellcheck disable=SC2086
        check "$compiler" $avx512
    done
else
    check "${CC:-cc}"
fi
if command -v aarch64-linux-gnu-gcc >/dev/null; then
    check aarch64-linux-gnu-gcc
fi
