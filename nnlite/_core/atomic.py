"""A file replaced in one step: whoever looks sees the old bytes or the new ones, never a part.

The new bytes go to a temporary file in the same folder, reach the disk, and take the file's name;
then the folder reaches the disk. A writer holds a lock on its temporary file. The kernel drops the
lock when the writer dies, in whatever way, so a temporary file without one is rubbish that the next
writer of the same file removes.

Source: POSIX.1-2017, rename(): a link of the new name "shall remain visible to other processes
throughout the renaming operation".
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable
from typing import Any

NAME_BYTES = 200  # of the file's name in the name of its temporary file; file systems allow 255


def write(path: Any, data: bytes | Callable[[int], None], operation: str = "save") -> None:
    """Replaces the file by these bytes, or by what a function writes to the descriptor that it is
    given; where it is missing, makes it.

    A new file's permissions follow the umask, an old one's stay. A symbolic link stays a link, and
    the file it points to is replaced.

    Raises:
        OSError: of the matching kind, when the folder or the disk refuse. The old file is as it
            was, and no temporary file remains.
    """
    target = os.path.realpath(os.fsdecode(path))
    try:
        _replace(target, data)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{operation}: cannot write {os.fsdecode(path)!r}: {error.strerror or error}; "
            "no file has changed",
        ) from error


def _replace(target: str, data: bytes | Callable[[int], None]) -> None:
    mode = _mode(target)
    folder, name = os.path.split(target)
    sweep(folder, name)
    temporary, fd = _create(folder, name)
    try:
        if callable(data):
            data(fd)
        else:
            write_all(fd, data)
        if mode is not None:
            os.fchmod(fd, mode)
        os.fsync(fd)
        os.replace(temporary, target)
    except BaseException:  # also Ctrl-C
        _remove(temporary)
        raise
    finally:
        os.close(fd)
    _sync_folder(folder)


def write_all(fd: int, data: bytes) -> None:
    """Writes all of the bytes, in as many pieces as the system takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _mode(target: str) -> int | None:
    """The permissions of the old file, or None; refuses what is no regular file."""
    try:
        found = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found):
        raise IsADirectoryError(errno.EISDIR, "it is a directory")
    if not stat.S_ISREG(found):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return stat.S_IMODE(found)


def _prefix(name: str) -> str:
    if len(os.fsencode(name)) > NAME_BYTES:
        import hashlib

        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}."


def _create(folder: str, name: str) -> tuple[str, int]:
    """A new, locked temporary file: (its path, its descriptor)."""
    while True:
        unique = f"{os.getpid()}.{os.urandom(8).hex()}.tmp"
        temporary = os.path.join(folder, _prefix(name) + unique)
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            if _lock(fd) is not False and os.fstat(fd).st_nlink:
                return temporary, fd
        except BaseException:
            _remove(temporary)
            os.close(fd)
            raise
        os.close(fd)  # another writer took it for rubbish before it was locked


def _lock(fd: int) -> bool | None:
    """Whether the lock on an open file was free; None where the file system has no locks."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(folder: str, name: str) -> None:
    """Removes the temporary files of dead writers of the file `name` in a folder."""
    pattern = re.compile(re.escape(_prefix(name)) + r"(\d{1,20})\.[0-9a-f]{16}\.tmp", re.ASCII)
    with os.scandir(folder) as entries:
        found = [
            (entry.path, match) for entry in entries if (match := pattern.fullmatch(entry.name))
        ]
    for path, match in found:
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue  # removed meanwhile, or another user's
        try:
            free = _lock(fd)
            if free or (free is None and not _lives(int(match[1]))):
                _remove(path)
        finally:
            os.close(fd)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # gone already, or the folder became unwritable
        os.unlink(path)


def _sync_folder(folder: str) -> None:
    """Brings the folder's new entry to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system syncs no folders
            raise
    finally:
        os.close(fd)
