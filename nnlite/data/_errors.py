"""The one exception for files of data that cannot be used."""

from __future__ import annotations

import os
import stat
from typing import Any


class DataError(ValueError):
    """A file of data cannot be used: of another format, damaged, cut off, made to do harm, or with
    a value that is missing or of another kind.

    It is raised for .csv, .npz, .npy and IDX files and for a history's lines of JSON, before
    anything else has changed. A file that cannot be opened is an OSError, as everywhere in Python.

    Attributes:
        path: the file.
        place: where in it: "line 4, column 'age'", "row 7", "header"; "" for the file as a whole.
        reason: what is wrong there, and what to do.
    """

    def __init__(self, message: str, path: Any = "", place: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.path, self.place, self.reason = str(path), place, reason or message


def data_error(path: Any, place: str, reason: str, prefix: str = "") -> DataError:
    """The error "path: place: reason", or "prefix'path' reason" for the whole file, in one line."""
    message = f"{place}: {reason}" if place else reason
    if prefix:
        message = f"{prefix}{str(path)!r}{': ' if place else ' '}{message}"
    else:
        message = f"{path}: {message}"
    return DataError(" ".join(message.split()), path, place, reason)


def check_regular(path: Any, prefix: str = "") -> None:
    """Refuses pipes and devices, whose reading could wait for ever; OSError where there is none."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise data_error(path, "", "is not a regular file; save the data in one", prefix)
