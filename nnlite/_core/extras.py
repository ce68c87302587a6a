"""Packages that only some functions need: where one is missing, the message names its extra."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, extra: str, operation: str, distribution: str | None = None) -> Any:
    """The module, imported.

    Args:
        module: its name; the package is what stands before the first dot.
        extra: the one of nnlite's optional dependencies that installs it.
        operation: for the message.
        distribution: the package's name for pip, where that is another one.

    Raises:
        ImportError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{operation}: needs {package} ({error}); install it with: pip install "
            f"'nnlite[{extra}]' (or pip install {distribution or package})"
        ) from error
