"""Data: digits, IDX files, tables, splitting, batch order, files larger than memory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nnlite.data._errors import DataError as DataError
from nnlite.data._order import permutation as permutation
from nnlite.data.digits import load_digits as load_digits
from nnlite.data.idx import load_idx as load_idx
from nnlite.data.split import train_test_split as train_test_split

if TYPE_CHECKING:
    from nnlite.data._source import source as source
    from nnlite.data.scale import Standardizer as Standardizer
    from nnlite.data.schema import Schema as Schema
    from nnlite.data.table import Table as Table
    from nnlite.data.table import load_table as load_table

# Imported when they are used, so that `import nnlite` stays cheap.
_LATER = {
    "Schema": "schema",
    "Standardizer": "scale",
    "Table": "table",
    "load_table": "table",
    "source": "_source",
}

__all__ = [
    "DataError",
    "Schema",
    "Standardizer",
    "Table",
    "load_digits",
    "load_idx",
    "load_table",
    "permutation",
    "source",
    "train_test_split",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
