"""Data: the digits that ship with nnlite, IDX files, splitting and batch order."""

from nnlite.data._order import permutation as permutation
from nnlite.data.digits import load_digits as load_digits
from nnlite.data.idx import load_idx as load_idx
from nnlite.data.split import train_test_split as train_test_split

__all__ = ["load_digits", "load_idx", "permutation", "train_test_split"]
