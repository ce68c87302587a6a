"""The same bits from estimators, for any number of threads and instruction set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from nnlite._core import native

PROGRAM = """
import hashlib, warnings
import numpy as np, scipy.sparse
import nnlite
from nnlite.sklearn import MLPClassifier, MLPRegressor, NetClassifier
warnings.simplefilter("ignore")
nnlite.set_num_threads({threads})
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 20)) * (rng.random((300, 20)) < 0.4)
y, w = (X[:, 0] > 0) + (X[:, 1] > 0.5), rng.random(300)
found = hashlib.sha256()
for rows in (X, scipy.sparse.csr_array(X.astype(np.float32))):
    for e in (
        MLPClassifier((30, 20), max_iter=8, random_state=0, alpha=0.1, early_stopping=True),
        MLPRegressor("poisson", max_iter=8, random_state=0, solver="sgd", tol=0.1),
        NetClassifier(epochs=8, random_state=0, n_ensemble=2, early_stopping=2),
    ):
        e.fit(rows, y, sample_weight=w)
        found.update(np.ascontiguousarray(e.predict(rows)).tobytes())
        if hasattr(e, "coefs_"):
            found.update(repr((e.loss_curve_, e.validation_scores_)).encode())
            arrays = e.coefs_ + e.intercepts_
        else:
            arrays = [p.data for m in e.models_ for p in m.parameters()]
        for array in arrays:
            found.update(array.tobytes())
print(found.hexdigest())
"""


def digest(isa: str, threads: int) -> str:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(threads=threads)], text=True, check=True,
        capture_output=True, env={**os.environ, "NNLITE_ISA": isa},
    )  # fmt: skip
    return found.stdout


@pytest.mark.slow
def test_the_bits_depend_on_neither_threads_nor_instruction_set() -> None:
    isas = native.supported()
    found = {(isa, n): digest(isa, n) for isa, n in zip(isas, (2, 1, 3, 7), strict=False)}
    found[isas[0], 3] = digest(isas[0], 3)
    assert len(set(found.values())) == 1, found
