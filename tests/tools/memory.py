"""The memory that training the mnist network takes at most, against what it has to hold.

A fresh process trains 784-512-256-10 in batches of 128 for some steps. Before the Trainer is made,
parameters and gradients are in memory, what was freed is given back to the system (malloc_trim), a
tiny network has been trained (modules are imported, threads have started), and the kernel's
high-water mark is reset. Its growth, with parameters and gradients, is compared with parameters +
gradients + optimiser state + activations. The rows, and their order (4 bytes each), are data, which
grows with --steps. glibc is told to give each array pages of its own: holes in its heap would hide
some of the growth, or add to it, by up to 1.3 MB, as imports left them. Linux with glibc only.

Run: python tests/tools/memory.py [--steps 50] [--threads 2] [--limit 1.2]
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nnlite as nn

M_MMAP_THRESHOLD = -3  # of mallopt

SIZES, BATCH = (784, 512, 256, 10), 128
CASES = [(name, how) for name in ("sgd", "adam") for how in ("fit", "train_step")]


def held(name: str) -> int:
    """Bytes that this process holds (VmRSS) or held at most (VmHWM)."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert found, f"/proc/self/status has no {name}"
    return int(found[1]) * 1024


def prepared(
    name: str, how: str, sizes: tuple[int, ...], batch: int, steps: int
) -> Callable[[], nn.Trainer]:
    """Data and model are made now; the function makes the Trainer and trains."""
    rng = np.random.default_rng(0)
    X = rng.random((steps * batch, sizes[0]), dtype=np.float32)
    y = rng.integers(0, sizes[-1], steps * batch)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    model.predict(X[:1])
    model.zero_grad()

    def run() -> nn.Trainer:
        parameters = model.parameters()
        optimizer: nn.optim.Optimizer = (
            nn.optim.Adam(parameters)
            if name == "adam"
            else nn.optim.SGD(parameters, lr=0.01, momentum=0.9)
        )
        trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
        if how == "fit":
            trainer.fit(X, y, 1, batch, verbose=0)
        else:
            for begin in range(0, len(X), batch):
                trainer.train_step(X[begin : begin + batch], y[begin : begin + batch])
        return trainer

    return run


def measure(name: str, how: str, steps: int, threads: int) -> None:
    """One case, in this process: prints what it found."""
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)
    nn.set_num_threads(threads)
    prepared(name, how, (4, 3, 2), 64, 2)()
    run = prepared(name, how, SIZES, BATCH, steps)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM = VmRSS
    before = held("VmHWM")
    trainer = run()
    growth = held("VmHWM") - before
    parameters = sum(p.data.nbytes for p in trainer.model.parameters())
    state = sum(array.nbytes for array in trainer.optimizer.state.values())
    activations = BATCH * sum(SIZES[1:]) * 4
    needed = 2 * parameters + state + activations
    peak = growth + 2 * parameters
    said = trainer.memory(BATCH)["total"]
    print(
        f"{name:4} {how:10}  needed {needed / 1e6:.2f} MB, at most {peak / 1e6:.2f} MB, "
        f"ratio {peak / needed:.3f}; memory() says {said / 1e6:.2f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1.2, help="fail above this ratio")
    parser.add_argument(
        "--case", nargs=2, help="one case, in this process: sgd|adam fit|train_step"
    )
    args = parser.parse_args()
    if args.case:
        measure(*args.case, args.steps, args.threads)
        return
    options = ["--steps", str(args.steps), "--threads", str(args.threads)]
    worst = 0.0
    for case in CASES:
        command = [sys.executable, __file__, *options, "--case", *case]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(said, end="", flush=True)
        found = re.search(r"ratio ([0-9.]+)", said)
        assert found, said
        worst = max(worst, float(found[1]))
    if worst > args.limit:
        sys.exit(f"a ratio is above {args.limit:g}")


if __name__ == "__main__":
    main()
