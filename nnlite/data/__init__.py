"""Data: digits, IDX files, tables, splitting, batch order, files larger than memory."""

from nnlite.data._order import permutation as permutation
from nnlite.data._source import source as source
from nnlite.data.digits import load_digits as load_digits
from nnlite.data.idx import load_idx as load_idx
from nnlite.data.split import train_test_split as train_test_split

__all__ = ["load_digits", "load_idx", "permutation", "source", "train_test_split"]
