"""The 1,797 handwritten digits that ship with nnlite (attribution: digits.LICENSE.txt)."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Load the 8x8 handwritten digits of the UCI Optical Recognition test set.

    Returns:
        X: float32, shape (1797, 64), C-contiguous: each row an 8x8 image row by row, counts of
            ink from 0 (paper) to 16. Divide by 16 before training.
        y: int64, shape (1797,): the digit, 0 to 9.

    Notes:
        Each call reads the file (5 ms) and gives arrays of its own. No network access.

    Source: E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository,
    doi:10.24432/C50P49, CC BY 4.0, as scikit-learn distributes it.
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        return file["X"].astype(np.float32), file["y"].astype(np.int64)
