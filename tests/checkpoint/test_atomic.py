"""Files replaced in one step: what is there before, during and after, and what a failure leaves."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from nnlite._core import atomic

OLD, NEW = b"old bytes", b"new bytes, and more of them"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def left(folder) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("data", [b"", NEW, bytes(3 * 2**20)])
@pytest.mark.parametrize("kind", [str, os.fsencode, lambda path: path])
def test_writes_and_replaces(path, kind, data):
    for expected in (data, OLD, data):
        atomic.write(kind(path), expected)
        assert path.read_bytes() == expected
    assert left(path.parent) == [path.name]


def test_the_order_of_steps(path, monkeypatch):
    """Bytes reach the disk before the name, and the folder after it."""
    steps = []

    def spy(name):
        original = getattr(os, name)

        def call(*args, **kwargs):
            folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            steps.append(f"{name} of the folder" if folder else name)
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fsync", "replace"):
        spy(name)
    atomic.write(path, NEW)
    assert steps == ["write", "fsync", "replace", "fsync of the folder"]


@pytest.mark.parametrize("umask, expected", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_of_a_new_file_follow_the_umask(path, umask, expected):
    before = os.umask(umask)
    try:
        atomic.write(path, NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected


def test_permissions_of_an_old_file_stay(path):
    path.write_bytes(OLD)
    path.chmod(0o640)
    atomic.write(path, NEW)
    assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (0o640, NEW)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path, exists):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    link.symlink_to("there/target")
    if exists:
        target.write_bytes(OLD)
    atomic.write(link, NEW)
    assert link.is_symlink()
    assert (target.read_bytes(), link.read_bytes()) == (NEW, NEW)
    assert (left(tmp_path), left(tmp_path / "there")) == (["link", "there"], ["target"])


def test_a_hard_link_keeps_the_old_bytes(path):
    path.write_bytes(OLD)
    os.link(path, path.parent / "backup")
    atomic.write(path, NEW)
    assert ((path.parent / "backup").read_bytes(), path.read_bytes()) == (OLD, NEW)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "a b\nc*?[", ".hidden", "-rf"])
def test_every_name(tmp_path, name):
    for data in (OLD, NEW):
        atomic.write(tmp_path / name, data)
    assert left(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == NEW


def test_no_utf8_in_the_name(tmp_path):
    atomic.write(os.fsencode(tmp_path) + b"/\xff", NEW)
    assert os.listdir(os.fsencode(tmp_path)) == [b"\xff"]


# ---- failures ----


def failing(monkeypatch, name: str, number: int) -> None:
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize(
    "call, number, kind",
    [
        ("write", errno.ENOSPC, OSError),
        ("fsync", errno.EIO, OSError),
        ("replace", errno.EACCES, PermissionError),
        ("write", errno.EDQUOT, OSError),
        ("fchmod", errno.EPERM, PermissionError),
    ],
)
def test_the_old_file_stays(path, monkeypatch, call, number, kind):
    path.write_bytes(OLD)
    failing(monkeypatch, call, number)
    with pytest.raises(kind) as caught:
        atomic.write(path, NEW, "save")
    text = f"save: cannot write {str(path)!r}: {os.strerror(number)}; no file has changed"
    assert (caught.value.errno, caught.value.strerror) == (number, text)
    monkeypatch.undo()
    assert (path.read_bytes(), left(path.parent)) == (OLD, [path.name])


def test_ctrl_c_leaves_nothing(path, monkeypatch):
    path.write_bytes(OLD)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write(path, NEW)
    assert (path.read_bytes(), left(path.parent)) == (OLD, [path.name])


def test_a_folder_that_cannot_be_synced(path, monkeypatch):
    """Some file systems answer EINVAL: there is nothing to do, and the file is there."""
    original = os.fsync

    def fsync(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        original(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.write(path, NEW)
    assert path.read_bytes() == NEW


def test_a_real_limit_of_the_file_size(path):
    """The kernel refuses the bytes after the first 1000, as a full disk would."""
    path.write_bytes(OLD)
    program = f"""
        import resource
        from nnlite._core import atomic
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            atomic.write({str(path)!r}, bytes(5000))
        except OSError as error:
            print(error)
    """
    found = run(program)
    assert "File too large; no file has changed" in found.stdout
    assert (path.read_bytes(), left(path.parent)) == (OLD, [path.name])


def test_folders_that_are_none(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(FileNotFoundError, match="cannot write"):
        atomic.write(tmp_path / "missing" / "x", NEW)
    with pytest.raises(NotADirectoryError, match="cannot write"):
        atomic.write(tmp_path / "file" / "x", NEW)
    with pytest.raises(IsADirectoryError, match="it is a directory"):
        atomic.write(tmp_path, NEW)
    assert left(tmp_path) == ["file"]


def test_a_folder_of_somebody_else():
    """As an ordinary user, in a folder that nobody but root may write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(OLD)
        os.chmod(folder, 0o555)
        program = f"""
            import fcntl, hashlib, os
            from nnlite._core import atomic
            if os.geteuid() == 0:
                os.seteuid(65534)
            try:
                atomic.write({str(path)!r}, b"x", "save")
            except PermissionError as error:
                print(error)
        """
        found = run(program)
        os.chmod(folder, 0o755)
        assert f"save: cannot write {str(path)!r}: Permission denied" in found.stdout, found.stderr
        assert (path.read_bytes(), left(folder)) == (OLD, ["model"])


def test_what_is_no_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for special in (pipe, "/dev/null"):
        with pytest.raises(OSError, match="it is not a regular file"):
            atomic.write(special, NEW)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert left(tmp_path) == ["pipe"]


# ---- temporary files of dead writers ----


def run(program: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


WAITS = """
    import os, sys, time
    from nnlite._core import atomic

    def fsync(fd):
        print("written", flush=True)
        time.sleep(60)

    os.fsync = fsync
    atomic.write(sys.argv[1], bytes(100))
"""


def waiting_writer(path) -> subprocess.Popen[bytes]:
    """A process in the middle of a write."""
    command = [sys.executable, "-c", textwrap.dedent(WAITS), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"written\n"
    return process


def test_a_killed_writer_is_swept_and_a_living_one_is_not(path):
    path.write_bytes(OLD)
    with waiting_writer(path) as living, waiting_writer(path) as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert path.read_bytes() == OLD
        assert len(left(path.parent)) == 3
        atomic.write(path, NEW)
        temporary = [name for name in left(path.parent) if name != path.name]
        assert len(temporary) == 1
        assert temporary[0].startswith(f".{path.name}.{living.pid}.")
        living.kill()
    atomic.write(path, NEW)
    assert (left(path.parent), path.read_bytes()) == ([path.name], NEW)


def test_only_rubbish_of_this_file_is_swept(path):
    unique = "123.0123456789abcdef.tmp"
    others = [
        f".other.{unique}", f"{path.name}.{unique}", f".{path.name}.{unique}x",
        f".{path.name}.x.0123456789abcdef.tmp", f".{path.name}.1.2.tmp",
    ]  # fmt: skip
    for name in [*others, f".{path.name}.{unique}", f".{path.name}.99999999999.{'a' * 16}.tmp"]:
        (path.parent / name).write_bytes(b"x")
    kept = path.parent / f".{path.name}.7.{'b' * 16}.tmp"
    kept.symlink_to("elsewhere")
    atomic.write(path, NEW)
    assert left(path.parent) == sorted([*others, kept.name, path.name])


def test_without_locks_the_process_number_decides(path, monkeypatch):
    monkeypatch.setattr(atomic, "_lock", lambda fd: None)
    living = path.parent / f".{path.name}.{os.getpid()}.{'a' * 16}.tmp"
    dead = path.parent / f".{path.name}.{2**22 + 1}.{'a' * 16}.tmp"  # above the largest number
    for name in (living, dead):
        name.write_bytes(b"x")
    atomic.write(path, NEW)
    assert left(path.parent) == sorted([living.name, path.name])


def test_a_temporary_file_taken_for_rubbish_is_made_again(path, monkeypatch):
    """Between its creation and its lock another writer may sweep it."""
    original, swept = atomic._lock, []

    def lock(fd):
        if not swept:
            swept.append(fd)
            for name in left(path.parent):
                os.unlink(path.parent / name)
        return original(fd)

    monkeypatch.setattr(atomic, "_lock", lock)
    atomic.write(path, NEW)
    assert (left(path.parent), path.read_bytes(), len(swept)) == ([path.name], NEW, 1)


def test_writers_side_by_side(path):
    """Whoever is last, the file holds the bytes of one of them, whole."""
    program = """
        import sys
        from nnlite._core import atomic
        for _ in range(40):
            atomic.write(sys.argv[1], sys.argv[2].encode() * 5000)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    writers = [subprocess.Popen([*command, letter]) for letter in "abc"]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            data = path.read_bytes()
            assert data in (b"a" * 5000, b"b" * 5000, b"c" * 5000)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert left(path.parent) == [path.name]
