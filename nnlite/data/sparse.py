"""Sparse rows (CSR) as a fit takes them: C makes them dense one batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..nn.module import converted


def is_sparse(value: Any) -> bool:
    """Whether this is a sparse matrix or array of SciPy, without importing it."""
    return hasattr(value, "tocsr") and hasattr(value, "nnz")


class SparseRows:
    """Rows most of whose numbers are 0, in compressed form.

    Args:
        operation: for messages.
        matrix: a two-dimensional sparse matrix or array of SciPy, of any format.
        dtype: of the rows; other values are converted.

    Attributes:
        values, starts, columns: row i holds values[k] in columns[k] for k from starts[i] to
            starts[i + 1] - 1; values of one column are added up.
        shape, dtype: as of an array.

    Raises:
        TypeError: it does not hold real numbers.
        ValueError: it is not two-dimensional, or holds a column out of range.
    """

    ndim = 2

    def __init__(self, operation: str, matrix: Any, dtype: np.dtype) -> None:
        if len(matrix.shape) != 2:
            raise ValueError(
                f"{operation}: X: expected a two-dimensional sparse matrix, got shape "
                f"{tuple(matrix.shape)}"
            )
        if matrix.dtype.kind not in "fiub":
            raise TypeError(
                f"{operation}: X: expected real numbers, got a sparse matrix of {matrix.dtype}; "
                "convert it with X.astype(np.float32)"
            )
        csr = matrix.tocsr()
        self.values = converted(csr.data, dtype)
        index = np.dtype(np.int32 if csr.indices.dtype == csr.indptr.dtype == np.int32 else "int64")
        self.starts, self.columns = (converted(a, index) for a in (csr.indptr, csr.indices))
        self.shape = tuple(int(n) for n in csr.shape)
        self.dtype = np.dtype(dtype)
        self._require_consistent(operation)

    def _require_consistent(self, operation: str) -> None:
        """Requires what C relies on, and SciPy does not check."""
        rows, width = self.shape
        starts, columns = self.starts, self.columns
        if (
            len(starts) != rows + 1
            or (np.diff(starts) < 0).any()
            or starts[0] < 0
            or starts[-1] > min(len(columns), len(self.values))
        ):
            raise ValueError(f"{operation}: X: the sparse matrix's indptr is inconsistent")
        if columns.size and (columns.min() < 0 or columns.max() >= width):
            raise ValueError(
                f"{operation}: X: the sparse matrix holds a column outside 0..{width - 1}"
            )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """These rows, dense: a slice, or an array of numbers of rows."""
        rows = np.arange(len(self))[index]
        found = np.zeros((len(rows), self.shape[1]), self.dtype)
        for place, row in enumerate(rows):
            part = slice(self.starts[row], self.starts[row + 1])
            np.add.at(found[place], self.columns[part], self.values[part])
        return found

    def take(self, rows: np.ndarray) -> SparseRows:
        """Those rows, sparse."""
        twin = object.__new__(SparseRows)
        counts = np.diff(self.starts)[rows]
        ends = np.cumsum(counts)
        places = np.repeat(self.starts[rows] - (ends - counts), counts) + np.arange(counts.sum())
        starts = np.concatenate(([0], ends))
        twin.values, twin.columns = self.values[places], self.columns[places]
        twin.starts = starts.astype(self.starts.dtype)
        twin.shape, twin.dtype = (len(rows), self.shape[1]), self.dtype
        return twin


def rows_at(rows: Any, index: np.ndarray) -> Any:
    """Copies of these rows, sparse where they are."""
    return rows.take(index) if isinstance(rows, SparseRows) else rows[index]
