"""Sparse rows in a fit: the bits of the same rows dense, and no dense matrix."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import nnlite as nn

sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(70, 9)) * (RNG.random((70, 9)) < 0.3)).astype(np.float32)
Y = RNG.integers(0, 3, 70)


def bits(X: Any, dtype: Any = np.float32, **fit: Any) -> tuple[bytes, Any]:
    nn.manual_seed(2)
    model = nn.Sequential(nn.Linear(9, 5, dtype=dtype), nn.ReLU(), nn.Linear(5, 3, dtype=dtype))
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters(), 0.01))
    fit = {"epochs": 4, "batch_size": 16, "verbose": 0, **fit}
    history = trainer.fit(X, Y, **fit)
    figures = {name: history[name] for name in history if name != "seconds"}
    return b"".join(p.data.tobytes() for p in model.parameters()), figures


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fit", [
    {}, {"shuffle": False}, {"validation_split": 0.2}, {"metrics": ["accuracy"]},
    {"sample_weight": np.linspace(0, 1, 70)}, {"class_weight": "balanced"},
    {"validation_data": (X[:20], Y[:20]), "early_stopping": 2}, {"batch_size": 1000},
    {"callbacks": [nn.callbacks.LambdaCallback(on_batch_end=lambda *_: None)]},
], ids=str)  # fmt: skip
def test_the_bits_are_those_of_dense_rows(fit: dict[str, Any], dtype: Any) -> None:
    expected = bits(X, dtype, **fit)
    assert bits(sparse.csr_matrix(X), dtype, **fit) == expected
    if "validation_data" in fit:
        held = {"validation_data": (sparse.csr_array(X[:20]), Y[:20])}
        assert bits(sparse.csc_array(X), dtype, **{**fit, **held}) == expected


def test_what_comes_twice_is_added_up_and_wide_indices_are_taken() -> None:
    rows, columns = np.nonzero(X)
    half = X[rows, columns] / 2
    twice = sparse.coo_array(
        (np.r_[half, half], (np.r_[rows, rows], np.r_[columns, columns])), X.shape
    )
    starts = np.r_[0, np.cumsum(np.bincount(np.r_[rows, rows], minlength=70))]
    order = np.argsort(np.r_[rows, rows], kind="stable")
    csr = sparse.csr_array(
        (np.r_[half, half][order], np.r_[columns, columns][order], starts), X.shape
    )
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    assert bits(csr) == bits(twice) == bits(X)


def test_steps_and_evaluation_take_them() -> None:
    results = []
    for rows in (X, sparse.csr_array(X)):
        nn.manual_seed(2)
        model = nn.Linear(9, 3)
        trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1))
        loss = trainer.train_step(rows, Y)
        results.append((loss, trainer.evaluate(rows, Y), model.weight.data.tobytes()))
    assert results[0] == results[1]


def test_the_matrix_is_never_dense() -> None:
    wide = sparse.random_array((20_000, 3_000), density=0.001, format="csr", dtype=np.float32,
                               rng=np.random.default_rng(0))  # fmt: skip
    model = nn.Linear(3_000, 2)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1))
    y = np.arange(20_000) % 2
    tracemalloc.start()
    trainer.fit(wide, y, 1, 32, validation_data=(wide, y), verbose=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000  # dense: 240 million bytes


def test_bad_matrices() -> None:
    csr = sparse.csr_array(X)
    with pytest.raises(TypeError, match="X: expected real numbers, got a sparse matrix of complex"):
        bits(csr.astype(complex))
    wrong = csr.copy()
    wrong.indices[3] = 9
    with pytest.raises(ValueError, match=r"column outside 0\.\.8"):
        bits(wrong)
    wrong = csr.copy()
    wrong.indptr[1] = 60
    with pytest.raises(ValueError, match="indptr is inconsistent"):
        bits(wrong)
    with pytest.raises(ValueError, match="9"):
        bits(sparse.csr_array(X[:, :4]))
