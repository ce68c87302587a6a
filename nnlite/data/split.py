"""Splitting rows into a training and a test part."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from nnlite._core import check
from nnlite.data._order import SPLIT, permutation

if TYPE_CHECKING:  # a millisecond at import
    from numpy.typing import ArrayLike


def train_test_split(
    X: ArrayLike,
    y: ArrayLike,
    test_size: float = 0.25,
    seed: int = 0,
    stratify: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split rows at random, by default with every class's share in both parts.

    The test part has floor(n test_size + 1/2) rows. With `stratify`, class c of n_c rows gives
    floor(n_c share) or one more, the extra rows going to the largest remainders (the smaller
    label on ties), where share = test rows / n.

    Args:
        X: array with n rows, any dtype and rank.
        y: array with n rows: class labels when stratifying, else anything.
        test_size: the test part, as a fraction in (0, 1) or as a whole number of rows.
        seed: 0 to 2^64 - 1; the same seed gives the same split on every machine.
        stratify: whether each class keeps its share. False for regression.

    Returns:
        X_train, X_test, y_train, y_test: copies, in random order.

    Raises:
        ValueError: X and y differ in rows, or a part would be empty, or y is not of rank 1 when
            stratifying.
        TypeError: test_size is no number, or y is floating-point when stratifying.

    Notes:
        A class whose share is below one row may be missing from a part.
    """
    check.unmasked("train_test_split", "X", X)
    check.unmasked("train_test_split", "y", y)
    X, y = np.asarray(X), np.asarray(y)
    _check_rows(X, y, stratify)
    n, rows = len(y), _test_rows(len(y), test_size)
    order = permutation(n, seed, purpose=SPLIT)
    in_test = _stratified(y[order], rows) if stratify else np.arange(n) < rows
    train, test = order[~in_test], order[in_test]
    return X[train], X[test], y[train], y[test]


def _check_rows(X: np.ndarray, y: np.ndarray, stratify: bool) -> None:
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y):
        raise ValueError(
            f"train_test_split: X, y: expected the same number of rows, got shapes {X.shape} "
            f"and {y.shape}; give one label for each row"
        )
    if not stratify:
        return
    if y.ndim != 1:
        raise ValueError(
            f"train_test_split: y: expected shape (n,) to stratify, got {y.shape}; pass class "
            "labels, or stratify=False"
        )
    if y.dtype.kind in "fcO":
        raise TypeError(
            f"train_test_split: y: expected class labels to stratify, got {y.dtype}; convert it "
            "to integers, or pass stratify=False"
        )


def _test_rows(n: int, test_size: float) -> int:
    """How many rows the test part has."""
    if isinstance(test_size, bool) or not isinstance(test_size, Real):
        got = f"{test_size!r} of type {type(test_size).__name__}"
        message = f"train_test_split: test_size: expected a number, got {got}"
        raise TypeError(f"{message}; pass a fraction such as 0.25 or a number of rows")
    whole = isinstance(test_size, Integral)
    if not whole and not 0 < test_size < 1:
        message = f"train_test_split: test_size: expected 0 < test_size < 1, got {test_size}"
        raise ValueError(f"{message}; pass a fraction, or an int for a number of rows")
    rows = int(test_size) if whole else math.floor(n * test_size + 0.5)
    if not 0 < rows < n:
        message = f"train_test_split: test_size: expected rows for both parts, got {rows} of {n}"
        raise ValueError(f"{message}; change test_size or give more rows")
    return rows


def _stratified(labels: np.ndarray, rows: int) -> np.ndarray:
    """True for the rows of the test part: the first of each class, by its quota."""
    _, label, counts = np.unique(labels, return_inverse=True, return_counts=True)
    quota, remainder = np.divmod(counts * rows, len(labels))  # whole numbers: no rounding
    largest = np.argsort(-remainder, kind="stable")[: rows - quota.sum()]
    quota[largest] += 1
    in_test = np.zeros(len(labels), dtype=bool)
    for index, count in enumerate(quota):
        in_test[np.flatnonzero(label == index)[:count]] = True
    return in_test
