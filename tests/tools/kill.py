"""A fit that is killed again and again ends with the same bits as one that is not.

    python tests/tools/kill.py --kills 200

A child process trains with Trainer(checkpoint=...) and saves after every second batch. It is killed
by SIGKILL at a random moment, or as soon as it is seen to save, and started again with another
number of threads and another build, until the fit is finished; then the next fit begins. After each
kill the file must be whole. At the end of each fit weights, state of the optimiser and history must
be those of the same fit without interruption, by SHA-256.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nnlite as nn
from nnlite._core import native

EPOCHS, BATCH, ROWS, EVERY = 60, 32, 400, 2
LONGEST = 0.3  # seconds from the first batch to the kill
PATIENCE = 120.0  # seconds that a child may take


def make(seed: int, path: Path | None) -> nn.Trainer:
    """A trainer with every kind of state: momentum, running products, dropout, a schedule."""
    nn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 10))
    optimizer = nn.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4)
    return nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed, checkpoint=path, every=EVERY)


def train(seed: int, path: Path | None) -> nn.Trainer:
    """The fit, from where the file is."""
    X, y = nn.data.load_digits()
    held_out = (X[ROWS : ROWS + 100], y[ROWS : ROWS + 100])
    trainer = make(seed, path)
    schedule = nn.optim.StepLR(trainer.optimizer, step_size=15, gamma=0.5)
    if path is not None:
        print("ready", flush=True)
    trainer.fit(
        X[:ROWS], y[:ROWS], EPOCHS, BATCH, validation_data=held_out, schedule=schedule,
        early_stopping=EPOCHS, metrics=["top_3"], resume=path is not None, verbose=0,
    )  # fmt: skip
    return trainer


def digest(trainer: nn.Trainer) -> str:
    """SHA-256 of weights, state of the optimiser and the numbers of the history."""
    found = hashlib.sha256()
    for p in trainer.model.parameters():
        found.update(p.data.tobytes())
    for name, array in sorted(trainer.optimizer.state.items()):
        found.update(name.encode() + array.tobytes())
    history = dict(trainer.state_dict()["position"]["history"])
    del history["seconds"]
    found.update(json.dumps([trainer.optimizer.lr, trainer.epoch, history]).encode())
    return found.hexdigest()


def environment(choose: random.Random) -> dict[str, str]:
    """Another number of threads and another build for each start."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(choose.choice([1, 2, 3])),
        "NNLITE_ISA": choose.choice(native.supported()),
    }


def start(seed: int, path: Path, choose: random.Random) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--child", str(path), "--seed", str(seed)]
    return subprocess.Popen(command, env=environment(choose), stdout=subprocess.PIPE)


def temporary(folder: Path) -> list[str]:
    """Files that are being written, or that a killed writer left."""
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


def wait_for_save(child: subprocess.Popen[bytes], folder: Path) -> None:
    """Returns as soon as a temporary file appears that was not there."""
    before = set(temporary(folder))
    while child.poll() is None and set(temporary(folder)) <= before:
        pass


def interrupt(child: subprocess.Popen[bytes], folder: Path, choose: random.Random) -> bool:
    """Kills a child at a moment of some kind; False when it had finished before."""
    kind = choose.choice(["start", "fit", "fit", "save", "save"])
    if kind == "start":  # anywhere between the start of Python and the first batches
        time.sleep(choose.random() * 0.8)
    else:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(choose.random() * LONGEST)
    if kind == "save":
        wait_for_save(child, folder)
    child.kill()
    return child.wait(PATIENCE) != 0


def fits(kills: int, folder: Path, choose: random.Random) -> Iterator[tuple[int, Counter[str]]]:
    """(number, counts) of one fit after the other, until there were that many kills."""
    number = 0
    while kills > 0:
        path = folder / f"fit{number}.safetensors"
        counts: Counter[str] = Counter()
        finished = False
        while not finished:
            child = start(number, path, choose)
            if kills > counts["kills"] and interrupt(child, folder, choose):
                counts["kills"] += 1
                counts["inside a save"] += any(
                    f".{child.pid}." in name for name in temporary(folder)
                )
                counts["before the first save"] += not path.exists()
                if path.exists():
                    nn.load(path)  # whole, whatever happened
            else:
                assert child.wait(PATIENCE) == 0, "the child failed"
                finished = True
            assert child.stdout is not None
            child.stdout.close()
        kills -= counts["kills"]
        yield number, counts
        number += 1


def campaign(kills: int, seed: int = 0, show: Any = print) -> Counter[str]:
    """Runs fits under that many kills and returns counts of what happened.

    Raises:
        AssertionError: a fit ended with other bits, a file was torn, or rubbish remained.
    """
    total: Counter[str] = Counter()
    choose = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, counts in fits(kills, folder, choose):
            found = nn.load(folder / f"fit{number}.safetensors").trainer
            expected = digest(train(number, None))
            assert digest(found) == expected, f"fit {number}: other bits after {counts}"
            assert not temporary(folder), f"fit {number}: left {temporary(folder)}"
            total += counts
            total["fits"] += 1
            show(f"fit {number}: {dict(counts)}, the same bits: {expected[:16]}")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        train(args.seed, args.child)
    else:
        print(dict(campaign(args.kills, args.seed)))


if __name__ == "__main__":
    main()
