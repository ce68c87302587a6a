"""Counts the instructions of one call, which no other program on the machine changes.

    python3 tests/tools/instructions.py                         every case, of this Python's nnlite
    python3 tests/tools/instructions.py digits predict          two cases
    python3 tests/tools/instructions.py --beside .venv/python   and of another installation: a ratio

Times on a shared machine differ by a third from run to run; counts by less than a hundredth, so a
call that got 3 % longer is seen. Needs valgrind, which runs the kernels for AVX2 at most. What a
count does not show: caches, and how many instructions a cycle takes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

FEW, MANY = 5, 205
ONCE = ("fit",)  # long calls: few are enough


def network(widths: tuple[int, ...]) -> Any:
    import nnlite as nn

    nn.manual_seed(0)
    linears = [nn.Linear(a, b) for a, b in pairwise(widths)]
    hidden = [part for linear in linears[:-1] for part in (linear, nn.ReLU())]
    return nn.Sequential(*hidden, linears[-1])


def batch(widths: tuple[int, ...], rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, widths[0])).astype(np.float32)
    return x, random.integers(0, widths[-1], rows)


def step(widths: tuple[int, ...], rows: int, rule: str = "SGD") -> Callable[[], Any]:
    """Trainer.train_step."""
    import nnlite as nn

    model, (x, y) = network(widths), batch(widths, rows)
    optimizer = getattr(nn.optim, rule)(model.parameters(), lr=1e-3)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer)
    return lambda: trainer.train_step(x, y)


def by_hand(tensors: bool) -> Callable[[], Any]:
    """The step written out: by forward and backward of arrays, or through Tensors."""
    import nnlite as nn

    model, (x, y) = network((64, 64, 10)), batch((64, 64, 10), 32)
    optimizer, loss = nn.optim.SGD(model.parameters(), lr=1e-3), nn.SoftmaxCE()

    def of_arrays() -> None:
        optimizer.zero_grad()
        loss(model(x), y)
        model.backward(loss.backward())
        optimizer.step()

    def of_tensors() -> None:
        optimizer.zero_grad()
        value: Any = loss(model(nn.tensor(x)), y)
        value.backward()
        optimizer.step()

    return of_tensors if tensors else of_arrays


def predict(widths: tuple[int, ...]) -> Callable[[], Any]:
    """predict of one row."""
    model, (x, _) = network(widths), batch(widths, 1)
    model.eval()
    return lambda: model.predict(x)


def fit() -> None:
    """A whole fit of one epoch: the model, the trainer, its program and 57 batches."""
    import nnlite as nn

    model, (x, y) = network((64, 64, 10)), batch((64, 64, 10), 1797)
    optimizer = nn.optim.SGD(model.parameters(), lr=1e-3)
    nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=0).fit(x, y, 1, 32, verbose=0)


CASES: dict[str, Callable[[], Callable[[], Any]]] = {
    "spiral": lambda: step((2, 100, 3), 100),
    "digits": lambda: step((64, 64, 10), 32),
    "digits-adam": lambda: step((64, 64, 10), 32, "Adam"),
    "rl": lambda: step((8, 64, 64, 4), 64),
    "eager": lambda: by_hand(tensors=False),
    "tensors": lambda: by_hand(tensors=True),
    "predict": lambda: predict((64, 64, 10)),
    "predict-mnist": lambda: predict((784, 512, 256, 10)),
    "fit": lambda: fit,
}


def total(python: str, case: str, calls: int) -> int:
    """Instructions of a process that makes so many calls."""
    command = [
        "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", python, __file__,
        "--run", case, "--calls", str(calls),
    ]  # fmt: skip
    settings = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "NNLITE_AUTOTUNE": "0"}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **settings}, check=False
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    return int(found[1])


def per_call(python: str, case: str) -> float:
    many = FEW + 15 if case in ONCE else MANY
    return (total(python, case, many) - total(python, case, FEW)) / (many - FEW)


def run(case: str, calls: int) -> None:
    import nnlite as nn

    nn.set_num_threads(1)
    call = CASES[case]()
    for _ in range(calls):
        call()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}")
    parser.add_argument("--beside", metavar="PYTHON", help="of another installation of nnlite")
    parser.add_argument("--run", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        run(args.run, args.calls)
        return
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"unknown case {', '.join(sorted(unknown))}; expected {', '.join(CASES)}")
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not installed: apt install valgrind")
    for case in args.cases or CASES:
        own = per_call(sys.executable, case)
        line = f"{case:14} {own:12,.0f}"
        if args.beside:
            other = per_call(args.beside, case)
            line += f" {other:12,.0f} {own / other:6.3f}x"
        print(line, flush=True)


if __name__ == "__main__":
    main()
