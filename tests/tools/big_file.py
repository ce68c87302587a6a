"""Streams a .npy file larger than a stated memory and shows what stayed resident.

Writes X (float32, 256 columns) and y (int64) to a temporary folder, reads every row of `--epochs`
epochs in a fresh process through nnlite.data.source, checks that each row came exactly once and
with its own target, and fails when the process ever held more than `--limit` MB. With `--train` a
small network is trained on the file instead, by Trainer.fit.

Run: python tests/tools/big_file.py [--size 4096] [--limit 500] [--budget 256] [--train]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COLUMNS = 256
RADIX = 4096  # a row's number is RADIX X[0] + X[1], exact in float32
MB = 1 << 20


def write(folder: Path, megabytes: int) -> int:
    """X.npy: row i holds its number, then 2, 3, 4, ...; y.npy: i % 10. Returns the rows' count."""
    rows, part = megabytes * MB // (4 * COLUMNS), 1 << 15
    for name, dtype, shape in (("X", np.float32, (rows, COLUMNS)), ("y", np.int64, (rows,))):
        with open(folder / f"{name}.npy", "wb") as file:
            header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            block = np.empty((part, *shape[1:]), dtype)
            if name == "X":
                block[:] = np.arange(COLUMNS)
            for start in range(0, rows, part):
                number = np.arange(start, min(start + part, rows))
                if name == "X":
                    block[: len(number), 0], block[: len(number), 1] = np.divmod(number, RADIX)
                else:
                    block[: len(number)] = number % 10
                file.write(block[: len(number)].data)
    return rows


def resident(name: str = "VmHWM") -> int:
    """MB that this process holds (VmRSS) or held at most (VmHWM)."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert found, f"/proc/self/status has no {name}"
    return int(found[1]) // 1024


def stream(folder: str, budget: int, epochs: int, batch_size: int) -> None:
    """Goes through the file; the work of the fresh process."""
    import nnlite as nn

    before = resident("VmRSS")
    source = nn.data.source(f"{folder}/X.npy", f"{folder}/y.npy", memory_budget=budget * MB)
    for epoch in range(epochs):
        start, seen, chunks = time.perf_counter(), np.zeros(source.rows, np.uint8), 0
        for X, y, order in source.epoch(0, epoch, batch_size):
            number = X[:, 0].astype(np.int64) * RADIX + X[:, 1].astype(np.int64)
            assert np.array_equal(number % 10, y) and (X[:, -1] == COLUMNS - 1).all()
            np.add.at(seen, number[order], 1)
            chunks += 1
        assert (seen == 1).all(), "a row is missing, or came twice"
        seconds = time.perf_counter() - start
        speed = source.rows * 4 * COLUMNS / MB / seconds
        print(
            f"epoch {epoch}: {source.rows} rows once each, {chunks} chunks, {seconds:.1f} s "
            f"({speed:.0f} MB/s); resident {before} MB before, {resident()} MB at most",
            flush=True,
        )
    print(f"VmHWM {resident()} MB")


def train(folder: str, budget: int, epochs: int, batch_size: int) -> None:
    """Trains on the file; the work of the fresh process."""
    import nnlite as nn

    before = resident("VmRSS")
    model = nn.Sequential(nn.Linear(COLUMNS, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = nn.optim.SGD(model.parameters(), lr=1e-9)  # the numbers are not standardised
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    X, y = f"{folder}/X.npy", f"{folder}/y.npy"
    history = trainer.fit(X, y, epochs, batch_size, memory_budget=budget * MB, verbose=0)
    for epoch, seconds in enumerate(history["seconds"]):
        print(f"epoch {epoch}: {trainer.steps // epochs} steps in {seconds:.1f} s")
    print(f"resident {before} MB before, {resident()} MB at most")
    print(f"VmHWM {resident()} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description="Stream a large file with bounded memory.")
    parser.add_argument("--size", type=int, default=4096, help="MB of X (default 4096)")
    parser.add_argument("--limit", type=int, default=500, help="MB that may be resident")
    parser.add_argument("--budget", type=int, default=256, help="memory_budget in MB")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--train", action="store_true", help="train a network on the file")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        work = train if args.train else stream
        work(args.folder, args.budget, args.epochs, args.batch_size)
        return 0
    with tempfile.TemporaryDirectory(prefix="nnlite-big-") as name:
        start = time.perf_counter()
        rows = write(Path(name), args.size)
        seconds = time.perf_counter() - start
        print(f"wrote {rows} rows, {args.size} MB, in {seconds:.0f} s", flush=True)
        command = [sys.executable, __file__, "--folder", name, *sys.argv[1:]]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print(run.stdout, end="")
    found = re.search(r"^VmHWM (\d+) MB$", run.stdout, re.M)
    if run.returncode or not found:
        return 1
    good = int(found[1]) <= args.limit
    print("within" if good else "OVER", f"the limit of {args.limit} MB")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
