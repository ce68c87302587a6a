"""The same bits: trained weights and predictions have one hash over threads, builds and splits.

The golden values below change only when the arithmetic changes on purpose, with a line in
CHANGELOG.md. To print new ones: `PYTHONPATH=tests python tests/kernels/test_bits.py`.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from helpers import BUILDS, TESTS, THREADS, run_python, sha

import nnlite as nn
from nnlite._core import native

SPLITS = [1, 7, 500, 4096]  # rows of one chunk of predict

# name: activation, dtype, batch size (the large ones are cut between threads)
NETWORKS = {
    "64-64-10, batch 32": (nn.ReLU, np.float32, 32),
    "64-64-10, batch 600": (nn.ReLU, np.float32, 600),
    "tanh, batch 600": (nn.Tanh, np.float32, 600),
    "sigmoid in float64, batch 600": (nn.Sigmoid, np.float64, 600),
    "dropout, batch 600": (lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.3)), np.float32, 600),
}

GOLDEN = {
    "64-64-10, batch 32": [
        "d7cd8b69373bcd44520dcd8b0e1149623f2afde34baad6489dfc811d9f31cf5d",
        "ebf522f874032d694771bfe1d943470171f1ec35e8a7be47f0141ad8c1a70c83",
    ],
    "64-64-10, batch 600": [
        "fd60fc15952f46164cbef7575d92907188fa1de20ae5b305b530fad24dec733d",
        "4bb6108dd540093df329a5e703e5f3a367a8fe8d73b914575d76103640675d7f",
    ],
    "tanh, batch 600": [
        "77fddf837510d52e7ed0294695fcc93369329404f36539aa0fee706b3c3dde4f",
        "3c938f75dc839b6c24cd14b2f1a7ce77f9ab3b0ec099f4ea1ce69c07abcf667a",
    ],
    "sigmoid in float64, batch 600": [
        "97d67862b99ec6f4a950ce28d7841edbd8d00bb12ab791f25a5aa098cfa29d6b",
        "8314e636209088383bb77913fdc5a3add4a0f968803daaf655010b98c1c443f0",
    ],
    "dropout, batch 600": [
        "a5af78516a8c6c3409ef6cbd15dc274678bebf515b979de6ff377d88d9618a34",
        "34adf059fa7b34c8fe8c90d9d932f57e2219ef23429bfed98e9eb876f7345848",
    ],
}


def train(activation, dtype, batch_size: int) -> nn.Sequential:
    """Five epochs on the digits."""
    X, y = nn.data.load_digits()
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 64, dtype=dtype), activation(), nn.Linear(64, 10, dtype=dtype)
    )
    optimizer = nn.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, decay_bias=True
    )
    trainer = nn.Trainer(model, nn.SoftmaxCE(), optimizer, seed=0)
    trainer.fit(X / 16, y, epochs=5, batch_size=batch_size, verbose=0)
    return model


def hashes() -> dict[str, list[str]]:
    """[hash of the weights, hash of the predictions] by network; one for all threads and splits."""
    found: dict[str, set] = {}
    X = nn.data.load_digits()[0] / 16
    for threads in THREADS:
        nn.set_num_threads(threads)
        for name, settings in NETWORKS.items():
            model = train(*settings)
            weights = sha(*(p.data for p in model.parameters()))
            for rows in SPLITS:
                predictions = sha(model.predict(X, batch_size=rows))
                found.setdefault(name, set()).add((weights, predictions))
    assert all(len(pairs) == 1 for pairs in found.values()), found
    return {name: list(*pairs) for name, pairs in found.items()}


KINDS = native.threadings()
CHOICES = [(isa, KINDS[0]) for isa in BUILDS] + [(BUILDS[0], kind) for kind in KINDS[1:]]


@pytest.mark.parametrize("isa, threading", CHOICES)
def test_one_hash(isa, threading):
    """In a process of its own, as a user chooses a build, and where threads come from."""
    program = (
        f"import sys; sys.path[:0] = {[os.path.dirname(__file__), str(TESTS)]}\n"
        "import json, test_bits, nnlite; from nnlite._core import native\n"
        "print(json.dumps([native.ISA, nnlite.get_threading(), test_bits.hashes()]))"
    )
    found = run_python(program, NNLITE_ISA=isa, NNLITE_THREADS=threading)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == [isa, threading, GOLDEN]


def test_the_networks_have_learned():
    """So that the hashes are those of training that works."""
    X, y = nn.data.load_digits()
    for settings in NETWORKS.values():
        assert (train(*settings).predict(X / 16).argmax(axis=1) == y).mean() > 0.3  # chance is 0.1


if __name__ == "__main__":
    json.dump(hashes(), sys.stdout, indent=4)
    print()
