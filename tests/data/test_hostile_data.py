"""Files of data that are damaged or made to do harm: DataError, little memory, one line."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nnlite as nn
from nnlite.cli import main as cli
from nnlite.data import DataError, load_idx, load_table, source


def npy(descr: object, shape: object, data: bytes = b"", **more: object) -> bytes:
    """A .npy file that says what it is told to say."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape} | more).encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def raw(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


EIGHT = bytes(8)
NPY = {
    "7 TiB in 174 bytes": (npy("<f8", (10**12, 1)).ljust(174), "of float64, 8000000000000 bytes"),
    "empty": (b"", "is not a .npy file|: not a sound .npy file"),
    "a text": (b"a,b\n1,2\n", "is not a .npy file"),
    "magic alone": (b"\x93NUMPY", "expected version 1, 2 or 3 of the format, got none"),
    "version 9": (b"\x93NUMPY\x09\0", "got 09 00"),
    "no length": (b"\x93NUMPY\1\0", "it claims 0 bytes of a file of 8|claims"),
    "header of 4 GB": (b"\x93NUMPY\2\0\xff\xff\xff\xff", "it claims 4294967295 bytes of a file"),
    "no dict": (raw(b"7"), "expected a dict with descr, fortran_order and shape"),
    "open bracket": (raw(b"{'descr': ("), "expected a dict"),
    "open quote": (raw(b"{'descr': '''"), "expected a dict"),
    "nested": (raw(b"(" * 3000), "expected a dict"),
    "nested lists": (raw(b"[" * 999 + b"]" * 999), "expected a dict"),
    "a call": (raw(b"__import__('os').abort()"), "expected a dict"),
    "an unhashable key": (raw(b"{[]: 1}"), "expected a dict"),
    "bad escape": (raw(b"{'descr': '\\N{x}', 'fortran_order': 0, 'shape': 1}"), "expected a dict"),
    "null bytes": (raw(b"\0\0\0"), "expected a dict"),
    "lacks shape": (raw(b"{'descr': '<f8', 'fortran_order': False}"), "expected a dict"),
    "one key more": (npy("<f8", (1, 1), EIGHT, more=1), "expected a dict"),
    "order 1": (npy("<f8", (1, 1), EIGHT, fortran_order=1), "expected True or False, got 1"),
    "negative": (npy("<f8", (-1, -1), EIGHT), "expected sizes from 0"),
    "shape of a float": (npy("<f8", (1.0, 1), EIGHT), "expected sizes from 0"),
    "shape of a bool": (npy("<f8", (True, 1), EIGHT), "expected sizes from 0"),
    "shape no tuple": (npy("<f8", 8, EIGHT), "expected sizes from 0"),
    "40 dimensions": (npy("<f8", (1,) * 40, EIGHT), "expected sizes from 0"),
    "overflow": (npy("<f8", (2**32, 2**32)), "is larger than any array"),
    "overflow with a zero": (npy("<f8", (2**62, 2**62, 0)), "is larger than any array"),
    "size of 400 digits": (npy("<f8", (10**400, 1)), "is larger than any array"),
    "2^60 empty texts": (npy("<U0", (2**60, 1)), "have no bytes"),
    "2^60 empty structures": (npy([], (2**60,)), "is no dtype|have no bytes"),
    "objects": (npy("|O", (1, 1), EIGHT), "Python objects"),
    "hidden objects": (npy([("a", "<f8"), ("b", "|O")], (1,), EIGHT * 2), "Python objects"),
    "no dtype": (npy("<q9x", (1, 1), EIGHT), "is no dtype"),
    "dtype of a number": (npy(5, (1, 1), EIGHT), "is no dtype"),
    "dtype of none": (npy(None, (1, 1), EIGHT), "is no dtype|claims"),
    "dtype of a dict": (npy({"names": 5}, (1, 1), EIGHT), "is no dtype"),
    "dtype of a list of numbers": (npy([1, 2], (1, 1), EIGHT), "is no dtype"),
    "huge dtype": (npy(("<f8", (2**31, 2**31)), (1, 1), EIGHT), "is no dtype"),
    "one byte short": (npy("<f8", (1, 2), bytes(15)), "16 bytes; the file has 15"),
    "one byte more": (npy("<f8", (1, 2), bytes(17)), "16 bytes; the file has 17"),
    "10^12 columns": (npy("<f8", (0, 10**12)), "the table has no rows"),
    "10^12 rows of nothing": (npy("<f8", (10**12, 0)), "the table has no columns"),
    "rank 1": (npy("<f8", (1,), EIGHT), "expected a matrix"),
    "rank 0": (npy("<f8", (), EIGHT), "expected a matrix"),
    "times": (npy("<m8[s]", (1, 1), EIGHT), "expected numbers or texts, got timedelta64"),
    "complex": (npy("<c8", (1, 1), EIGHT), "expected numbers or texts, got complex64"),
    "no character": (npy("<U2", (1, 1), b"\xff" * 8), "no character of Unicode"),
    "half a character": (npy("<U2", (1, 1), b"\0\xd8\0\0" * 2), "no character of Unicode"),
    "no UTF-8": (npy("|S8", (1, 1), b"\xff" * 8), "utf-8"),
    "fields of rows": (npy([("a", "<f4", (2,))], (1,), EIGHT), "expected one value, got shape"),
    "infinite when converted": (npy("<f16", (1, 1), b"\xff" * 8 + b"\xfe\x7f" + bytes(6)), "inf"),
}


@pytest.mark.parametrize("case", NPY)
def test_hostile_npy(tmp_path, case):
    content, message = NPY[case]
    path = tmp_path / "hostile.npy"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message) as caught:
            load_table(path)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    error = caught.value
    assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert error.path == str(path) and error.reason and error.reason in str(error)
    assert error.place in str(error)
    try:  # a stream takes other ranks, and says nothing of values
        list(source(path, np.zeros(1), memory_budget=10**6).epoch(0, 0, 1))
    except DataError as refused:
        assert str(path) in str(refused) and "\n" not in str(refused)


def zipped(write: Callable[[zipfile.ZipFile], object], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        write(archive)
    return content.getvalue()


ONES = npy("<f8", (1, 1), EIGHT)
GOOD_NPZ = zipped(lambda z: z.writestr("X.npy", ONES))
NPZ = {
    "empty": (b"", "not a sound .npz file"),
    "begin": (b"PK\3\4 and no more", "not a sound .npz file"),
    "cut": (GOOD_NPZ[:-30], "not a sound .npz file"),
    "wrong sum": (GOOD_NPZ.replace(EIGHT, b"\1" * 8, 1), "Bad CRC-32"),
    "no arrays": (zipped(lambda z: None), "the table has no columns"),
    "a text inside": (zipped(lambda z: z.writestr("X.txt", "1")), "member 'X.txt': it is no array"),
    "no .npy inside": (zipped(lambda z: z.writestr("X.npy", "1")), "array 'X': is not a .npy"),
    "packed by LZMA": (
        zipped(lambda z: z.writestr("X.npy", ONES), zipfile.ZIP_LZMA),
        "array 'X': packed in a way that np.savez does not use",
    ),
    "encrypted": (GOOD_NPZ.replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"), "encrypted"),
    "7 TiB": (
        zipped(lambda z: z.writestr("X.npy", npy("<f8", (10**12, 1)))),
        "array 'X', header: not a sound .npy file: it claims",
    ),
    "too short": (
        zipped(lambda z: z.writestr("X.npy", npy("<f8", (2, 1), EIGHT))),
        "16 bytes; the file has 8",
    ),
    "rank 0": (zipped(lambda z: z.writestr("X.npy", npy("<f8", (0, 0)))), "the table has no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", NPZ)
def test_hostile_npz(tmp_path, case):
    content, message = NPZ[case]
    path = tmp_path / "hostile.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_table(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice(tmp_path):
    path = tmp_path / "twice.npz"
    path.write_bytes(zipped(lambda z: [z.writestr("X.npy", ONES) for _ in range(2)]))
    with pytest.raises(DataError, match="array 'X': the name stands twice"):
        load_table(path)


def test_a_bomb_takes_no_more_memory_than_it_claims(tmp_path):
    """A member that unpacks to more than its header says is cut there."""
    path = tmp_path / "bomb.npz"
    data = bytes(100 << 20)
    path.write_bytes(
        zipped(lambda z: z.writestr("X.npy", npy("<f8", (1, 1), data)), zipfile.ZIP_DEFLATED)
    )
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="8 bytes; the file has 104857600"):
            load_table(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


CSV = {
    "one quote": (b'"', "line 1: unexpected end of data"),
    "two quotes": (b'""', "the file is empty"),
    "empty lines of quotes": (b'""\n""\n', "the file is empty"),
    "a field of 200 kB": (b"a,y\n" + b"1" * 200_000 + b",2\n", "line 2: field larger than"),
    "a name of 200 kB": (b"a" * 200_000 + b",y\n1,2\n", "line 1: field larger than"),
    "a quote that stays open": (b'a,y\n"1,2\n' + b"3,4\n" * 9, "unexpected end of data"),
    "bytes of no text": (b"a,y\n1,2\n\x80,3\n", "line 3: not a text in UTF-8"),
    "UTF-16 cut": ("a,y\n1,2\n".encode("utf-16")[:-1], "not a text in UTF-16"),
    "names alone": (b"a,y", "no rows follow the line of names"),
    "null bytes": (b"\0\0\0\0\n\0\0\n", "column"),
    "zip": (GOOD_NPZ, "hostile.csv: "),
}


@pytest.mark.parametrize("case", CSV)
def test_hostile_csv(tmp_path, case):
    content, message = CSV[case]
    path = tmp_path / "hostile.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_table(path, target=-1)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    for name in ("p.csv", "p.npy", "p.npz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="is not a regular file"):
            load_table(tmp_path / name)
    for read in (load_idx, lambda path: source(path, [1])):
        with pytest.raises(DataError, match="is not a regular file"):
            read(tmp_path / "p.npy")
    for name in ("x.csv", "x.npy", "x.npz"):
        (tmp_path / name).mkdir()
        with pytest.raises(IsADirectoryError):
            load_table(tmp_path / name)


def test_a_stream_names_the_file_of_what_does_not_fit(tmp_path):
    X, y = tmp_path / "X.npy", tmp_path / "y.npy"
    np.save(X, np.zeros((5, 2)))
    np.save(y, np.zeros(4))
    for arguments, options, message in (
        ((X, y), {}, "y has 4 rows, X has 5; .* .from '.*y.npy'."),
        ((X, np.zeros(4)), {}, "y has 4 rows, X has 5; .* .from '.*X.npy'."),
        ((np.zeros((4, 2)), y), {"target_dtype": np.int64}, "class indices as integers.*y.npy"),
    ):
        with pytest.raises(DataError, match=message):
            source(*arguments, **options)
    X.write_bytes(npy("<c8", (1, 1), EIGHT))
    with pytest.raises(DataError, match=r"X\.npy' holds complex64, shape .1, 1., expected rows of"):
        source(X, [1])


def test_the_error_survives_pickle(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,y\n1,\n")
    with pytest.raises(DataError) as caught:
        load_table(path)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is DataError and str(again) == str(caught.value)
    assert (again.path, again.place) == (str(path), "line 2, column 'y'")
    assert again.reason.startswith("the value is missing; fill it")


def test_lines_of_a_history(tmp_path):
    path = tmp_path / "history.jsonl"
    for content, message in (
        (b"{}\n\xff\n", "not a text in UTF-8"),
        (b'{"loss": 1}\n' + b"[" * 100_000, "line 2: expected JSON"),
        (b"{'loss': 1}\n", "line 1: expected JSON"),
        (b"[1]\n", "line 1: expected an object"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path}.*{message}") as caught:
            nn.History.from_jsonl(path)
        assert "\n" not in str(caught.value)


# ---- random edits ----


def good_files() -> dict[str, bytes]:
    """A file of each kind, by name."""
    rng, files = np.random.default_rng(0), {}

    def saved(save: Callable[..., None], *arrays: object, **named: object) -> bytes:
        content = io.BytesIO()
        save(content, *arrays, **named)
        return content.getvalue()

    y = np.arange(20) % 2
    kinds = np.dtype([("a", "<f4"), ("c", "S4"), ("y", "<i8"), ("t", "<U3")])
    files["floats.npy"] = saved(np.save, rng.normal(size=(20, 3)))
    files["shorts.npy"] = saved(np.save, rng.integers(0, 3, (20, 3)).astype(">i2"))
    files["columns.npy"] = saved(np.save, np.array([(1.5, b"red", 0, "x")] * 12, kinds))
    files["plain.npz"] = saved(np.savez, X=rng.normal(size=(20, 3)), y=y)
    files["packed.npz"] = saved(np.savez_compressed, age=y / 3, c=np.array(["a", "b"] * 10), y=y)
    rows = [f"{i},{i / 3:.3f},{'uvw'[i % 3]},{i % 2}\n" for i in range(24)]
    files["comma.csv"] = ("a,b,c,y\n" + "".join(rows)).encode()
    rows = [f'1.{i:03d},5;{i};"u;{"uvw"[i % 3]}";{i % 2},5\n' for i in range(24)]
    files["semicolon.csv"] = ('größe;b;"c d";y\n' + "".join(rows)).encode("utf-8-sig")
    files["wide.csv"] = "".join(["a\tb\ty\n", *(f"{i}\t{i / 3}\t1\n" for i in y)]).encode("utf-16")
    files["plain.idx"] = b"\0\0\x08\2\0\0\0\5\0\0\0\4" + bytes(range(20))
    files["packed.idx.gz"] = gzip.compress(files["plain.idx"], mtime=0)
    files["packed.idx.xz"] = lzma.compress(files["plain.idx"])
    return files


PIECES = [b"9" * 20, b"(", b")", b",", b'"', b"\n", b"\r", b"\0", b"'", b"nan", b"inf", b"-", b"O"]
PIECES += [b"e999", b"{", b"[[" * 50, b"L", b";", b"\t", b"\\x", b"U99", b"S0", b"\xff" * 4]
PIECES += [b"\0" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\x80", b"True", b"'<f8'", b"()", b"\xc3\xa9"]


def edited(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes after one to four random edits, most of them near the begin."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        i = int(rng.integers(max(1, min(len(data), rng.choice([16, 80, 200, 9999])))))
        piece = PIECES[rng.integers(len(PIECES))]
        match rng.integers(7):
            case 0:
                data[i : i + 1] = bytes([data[i] ^ (1 << int(rng.integers(8)))]) if data else b""
            case 1:
                data[i : i + 1] = rng.bytes(1)
            case 2:
                del data[i : i + int(rng.integers(1, 9))]
            case 3:
                data[i:i] = piece
            case 4:
                data[i : i + len(piece)] = piece
            case 5:
                del data[i:]
            case 6:
                data += data[i : i + 50]
    return bytes(data)


def read_all_ways(path: str) -> int:
    """How many ways to read a file took it; all others must give a DataError."""
    ways: list[Callable[[], object]] = [lambda: load_idx(path)]
    if not path.endswith(("idx", "gz", "xz")):
        ways = [lambda: load_table(path), lambda: load_table(path, -1, skip_unusable=True)]
    if path.endswith("npy"):
        ways += [lambda: list(source(path, np.zeros(20), memory_budget=10**6).epoch(0, 0, 2))]
        ways += [lambda: source(np.zeros((20, 3)), path)]
    taken = 0
    for way in ways:
        try:
            way()
        except DataError as error:
            assert os.path.basename(path) in str(error) and "\n" not in str(error)
        else:
            taken += 1
    return taken


@pytest.mark.parametrize("name", good_files())
@pytest.mark.slow
def test_random_edits(tmp_path, name):
    path, rng, content = tmp_path / name, np.random.default_rng(6), good_files()[name]
    path.write_bytes(content)
    assert read_all_ways(str(path)) or name.endswith("xz")
    for _ in range(300):
        path.write_bytes(edited(content, rng))
        read_all_ways(str(path))


DESCR = ["<f8", ">f4", "|b1", "<i8", "<U3", "|S2", "<M8[D]", "<m8[s]", "<c8", "|O", "|V8", "<f16"]
DESCR += ["<U0", "f", "", 5, None, (), [], [("a", "<f8"), ("y", "<i8")], [("a", "<f8", (2,))]]
DESCR += [[("a", "<f8"), ("a", "<f8")], [("", "<f8")], ("<f8", (3,)), {"a": 1}, "a9999999999"]
SIZES = [0, 1, 2, 3, 20, -1, 2**31, 2**62, 10**30, True, 1.0, "1", None]


@pytest.mark.slow
def test_random_headers(tmp_path):
    path, rng = tmp_path / "made.npy", np.random.default_rng(7)
    taken = 0
    for _ in range(3000):
        descr = DESCR[rng.integers(len(DESCR))]
        shape = tuple(SIZES[min(i, 12)] for i in rng.geometric(0.25, rng.integers(0, 4)))
        size = int(rng.choice([0, 8, 16, 24, 32, 160, 480]))
        try:
            right = int(np.prod(shape)) * np.dtype(descr).itemsize
            size = right if 0 <= right < 10_000 and rng.integers(2) else size
        except (TypeError, ValueError, OverflowError):
            pass
        path.write_bytes(npy(descr, shape, rng.bytes(size), fortran_order=bool(rng.integers(2))))
        taken += read_all_ways(str(path))
    assert taken > 50


def test_random_edits_on_the_command_line(tmp_path, capsys, monkeypatch):
    """0, or 2 with one line; with warnings before it where the table could be read."""
    monkeypatch.chdir(tmp_path)
    rng, files = np.random.default_rng(8), good_files()
    train = ["--target", "-1", "--epochs", "1", "--quiet", "--out"]
    tables = [name for name in files if name.endswith(("npy", "npz", "csv"))]
    for name in tables:
        Path(name).write_bytes(files[name])
    made = [name for name in tables if cli.main(["train", name, *train, f"{name}.m"]) == 0]
    assert {"floats.npy", "plain.npz", "comma.csv", "semicolon.csv", "packed.npz"} <= set(made)
    codes = []
    for i in range(300):
        name = made[i % len(made)]
        path = f"edited.{name[-3:]}"
        Path(path).write_bytes(edited(files[name], rng))
        capsys.readouterr()
        command = ["train", path, *train, "out"] if i % 3 else ["predict", f"{name}.m", path]
        codes.append(cli.main(command))
        errors = capsys.readouterr().err.splitlines()
        assert "NNLITE_TRACEBACK" not in "".join(errors)
        if codes[-1]:
            assert codes[-1] == 2 and errors[-1].startswith("nnlite: ")
            assert all("warning: " in line for line in errors[:-1])
    assert codes.count(0) > 10


def test_reading_hostile_files_is_quick(tmp_path):
    """No claim of a file makes its reader go through what is not there."""
    path, start = tmp_path / "a.npy", time.perf_counter()
    for content, _ in NPY.values():
        path.write_bytes(content)
        with pytest.raises(DataError):
            load_table(path)
    assert time.perf_counter() - start < 20
