"""nn.data: the digits' values, hostile IDX files, splits and batch orders."""

from __future__ import annotations

import gzip
import hashlib
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import nnlite as nn
from nnlite.data import load_digits, load_idx, permutation, train_test_split
from nnlite.data._order import SHUFFLE, SPLIT

MASK = 2**32 - 1


# ---- digits ----


def test_digits_values():
    X, y = load_digits()
    assert X.dtype == np.float32 and X.shape == (1797, 64) and X.flags.c_contiguous
    assert y.dtype == np.int64 and y.shape == (1797,)
    assert X.min() == 0 and X.max() == 16 and np.array_equal(X, X.round())
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert y[:10].tolist() == list(range(10))
    first = [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0, 0, 3, 15, 2, 0, 11, 8, 0]
    assert X[0, :24].tolist() == first
    assert X.sum() == 561718


def test_digits_equal_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    X, y = load_digits()
    expected = datasets.load_digits()
    assert np.array_equal(X, expected.data) and np.array_equal(y, expected.target)


def test_digits_are_fresh_and_writable():
    X, y = load_digits()
    X[:], y[:] = -1, -1
    X, y = load_digits()
    assert X.sum() == 561718 and y[9] == 9


def test_digits_file_is_small_and_attributed():
    folder = Path(nn.data.__file__).parent
    assert (folder / "digits.npz").stat().st_size <= 60_000
    notice = (folder / "digits.LICENSE.txt").read_text()
    for part in ("E. Alpaydin", "C. Kaynak", "10.24432/C50P49", "CC BY 4.0", "What was changed"):
        assert part in notice


def test_import_loads_no_decompressor():
    code = (
        "import sys, numpy; before = set(sys.modules); import nnlite.data;"
        "print(sorted({'gzip', 'lzma', 'bz2', 'zipfile', 'sklearn'} & (set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# ---- IDX files ----

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    """An array as an IDX file, written from the format's description."""
    code = CODES[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", [(3,), (1,), (0,), (0, 28, 28), (2, 3, 4), (1, 1, 1, 1, 5)])
@pytest.mark.parametrize("code", CODES)
def test_idx_round_trip(tmp_path, code, shape, pack):
    size = int(np.prod(shape))
    array = (np.arange(size) * 37 - 3).astype("i8").astype(code).reshape(shape)
    if code in ("f4", "f8") and size > 1:
        array.flat[:2] = [np.nan, -0.0]
    path = tmp_path / "array"
    path.write_bytes(pack(idx_bytes(array)))
    loaded = load_idx(path)
    assert loaded.dtype == np.dtype(code) and loaded.dtype.isnative
    assert loaded.shape == shape and loaded.tobytes() == array.tobytes()
    assert loaded.flags.c_contiguous and loaded.flags.writeable and loaded.flags.aligned


def test_idx_known_bytes(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(bytes.fromhex("00000b02 00000002 00000003 00010002ffff 80007fff0100"))
    expected = [[1, 2, -1], [-32768, 32767, 256]]
    assert load_idx(path).tolist() == expected
    assert load_idx(str(path)).tolist() == expected  # a path as text


def test_idx_gzip_of_several_members(tmp_path):
    data = idx_bytes(np.arange(100, dtype="i4"))
    path = tmp_path / "members"
    path.write_bytes(gzip.compress(data[:50]) + gzip.compress(data[50:]))
    assert np.array_equal(load_idx(path), np.arange(100))


GOOD = idx_bytes(np.arange(12, dtype="u1").reshape(3, 4))
ZIPPED = gzip.compress(GOOD)
FLIPPED = ZIPPED[:-8] + bytes([ZIPPED[-8] ^ 1]) + ZIPPED[-7:]  # the checksum no longer fits
HOSTILE = {
    "empty": (b"", "no bytes"),
    "one byte": (b"\0", "got 00"),
    "magic only": (GOOD[:4], "2 sizes, got 0 bytes"),
    "half a size": (GOOD[:10], "2 sizes, got 6 bytes"),
    "no data": (GOOD[:12], "12 bytes of data, (3, 4) uint8, got only 0"),
    "one byte short": (GOOD[:-1], "12 bytes of data, (3, 4) uint8, got only 11"),
    "trailing byte": (GOOD + b"\0", "12 bytes of data, (3, 4) uint8, got more"),
    "text": (b"5,0,0,0\n", "got 35 2c 30 2c"),
    "little-endian magic": (GOOD[3::-1] + GOOD[4:], "got 02 08 00 00"),
    "unknown type 0a": (b"\0\0\x0a\x01" + GOOD[4:], "got 00 00 0a 01"),
    "unknown type 00": (b"\0\0\0\x01" + GOOD[4:], "got 00 00 00 01"),
    "rank 0": (b"\0\0\x08\0" + b"\0", "1 to 32 dimensions, got 0"),
    "rank 255": (b"\0\0\x08\xff" + b"\0" * 1020, "1 to 32 dimensions, got 255"),
    "4 GB claimed": (b"\0\0\x08\x01\xff\xff\xff\xff" + b"\0" * 9, "4294967295 bytes of data"),
    "overflow": (b"\0\0\x0e\x04" + b"\xff" * 16, "less than 2^63 bytes"),
    "overflow with a zero": (b"\0\0\x0e\x04" + b"\xff" * 12 + b"\0" * 4, "less than 2^63 bytes"),
    "zero rows, data": (b"\0\0\x08\x02\0\0\0\0\0\0\0\x04" + b"x", "0 bytes of data"),
    "gzip magic only": (b"\x1f\x8b", "gzip"),
    "gzip header only": (ZIPPED[:10], "gzip"),
    "gzip cut in the data": (ZIPPED[:-12], "gzip"),
    "gzip cut in the checksum": (ZIPPED[:-1], "gzip"),
    "gzip wrong checksum": (FLIPPED, "gzip"),
    "gzip unknown method": (ZIPPED[:2] + b"\x07" + ZIPPED[3:], "gzip"),
    "gzip bad block": (ZIPPED[:10] + b"\xff" * 20, "gzip"),
    "gzip then rubbish": (ZIPPED + b"rubbish", "gzip"),
    "gzip of text": (gzip.compress(b"hello world"), "got 68 65 6c 6c"),
    "gzip of too little": (gzip.compress(GOOD[:-1]), "got only 11"),
    "gzip of too much": (gzip.compress(GOOD + b"\0"), "got more"),
    "gzip twice": (gzip.compress(ZIPPED), "got 1f 8b 08 00"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_idx_refuses(tmp_path, case):
    data, expected = HOSTILE[case]
    path = tmp_path / "hostile"
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        load_idx(path)
    message = str(caught.value)
    assert message.startswith(f"load_idx: {str(path)!r} ") and expected in message
    assert "expected" in message and "got" in message and "fetch the file again" in message
    path.unlink()  # nothing holds the file open


@pytest.mark.parametrize("cut", range(len(ZIPPED)))
def test_idx_refuses_every_truncation_of_gzip(tmp_path, cut):
    path = tmp_path / "cut"
    path.write_bytes(ZIPPED[:cut])
    with pytest.raises(ValueError, match="load_idx"):
        load_idx(path)


def peak_memory(path: Path) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="got"):
            load_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_idx_memory_is_bounded(tmp_path):
    """Neither a header's claim nor a gzip bomb decides how much memory is taken."""
    path = tmp_path / "bomb"
    path.write_bytes(b"\0\0\x08\x03\0\0\xff\xff\0\0\xff\xff\0\0\xff\xff" + b"\0" * 1000)
    assert peak_memory(path) < 4 << 20
    path.write_bytes(gzip.compress(idx_bytes(np.zeros(1000, "u1")) + bytes(200 << 20), 1))
    assert peak_memory(path) < 4 << 20


def test_idx_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_idx(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        load_idx(tmp_path)
    with pytest.raises(TypeError):
        load_idx(0)  # no file descriptors


# ---- orders ----


def philox(seed: int, purpose: int, step: int, block: int) -> list[int]:
    """Philox4x32-10 in plain integers, from the paper."""
    c = [block & MASK, block >> 32, purpose, step]
    key = [seed & MASK, seed >> 32]
    for _ in range(10):
        high, low = divmod(0xD2511F53 * c[0], 2**32), divmod(0xCD9E8D57 * c[2], 2**32)
        c = [low[0] ^ c[1] ^ key[0], low[1], high[0] ^ c[3] ^ key[1], high[1]]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return c


def expected_permutation(n: int, seed: int, purpose: int, step: int) -> list[int]:
    """Fisher and Yates from the end, two draws of 64 bits in a block."""
    order = list(range(n))
    for draw, last in enumerate(range(n - 1, 0, -1)):
        words = philox(seed, purpose, step, draw // 2)[2 * (draw % 2) :]
        other = (words[0] | words[1] << 32) * (last + 1) >> 64
        order[last], order[other] = order[other], order[last]
    return order


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 10, 100, 1797])
@pytest.mark.parametrize("seed, epoch", [(0, 0), (0, 1), (1, 0), (2**64 - 1, 2**32 - 1)])
def test_permutation_is_philox(n, seed, epoch):
    order = permutation(n, seed, epoch)
    assert order.dtype == np.int64 and order.shape == (n,)
    assert order.tolist() == expected_permutation(n, seed, SHUFFLE, epoch)


def test_permutation_known_orders():
    assert permutation(10, 0, 0).tolist() == [9, 0, 5, 3, 6, 8, 2, 1, 4, 7]
    assert permutation(10, seed=0, epoch=1).tolist() == [8, 3, 1, 0, 4, 7, 6, 5, 9, 2]
    assert permutation(10, np.uint64(7), np.int32(3)).tolist() == permutation(10, 7, 3).tolist()
    orders = {tuple(permutation(20, 5, epoch)) for epoch in range(100)}
    assert len(orders) == 100
    assert tuple(permutation(20, 5, purpose=SPLIT)) not in orders


def test_permutation_is_uniform():
    """Each of 24 orders of 4 rows comes up as often as chance allows (chi-squared, 23 degrees)."""
    draws = 12_000
    orders = [tuple(permutation(4, 11, epoch)) for epoch in range(draws)]
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert np.sum((counts - draws / 24) ** 2 / (draws / 24)) < 49.7  # one in a thousand


@pytest.mark.parametrize(
    "arguments, error, name",
    [
        ((-1, 0, 0), ValueError, "n"),
        ((2**60, 0, 0), ValueError, "n"),
        ((3, -1, 0), ValueError, "seed"),
        ((3, 2**64, 0), ValueError, "seed"),
        ((3, 0, -1), ValueError, "epoch"),
        ((3, 0, 2**32), ValueError, "epoch"),
        ((3.0, 0, 0), TypeError, "n"),
        ((3, None, 0), TypeError, "seed"),
        ((3, 0, "1"), TypeError, "epoch"),
    ],
)
def test_permutation_refuses(arguments, error, name):
    with pytest.raises(error, match=f"^permutation: {name}: .*got.*; "):
        permutation(*arguments)


# ---- splits ----


def test_split_of_the_digits():
    X, y = load_digits()
    X_train, X_test, y_train, y_test = train_test_split(X, y)
    assert X_train.shape == (1348, 64) and X_test.shape == (449, 64)
    assert X_train.dtype == np.float32 and y_test.dtype == np.int64
    assert np.bincount(y_test).tolist() == [45, 45, 44, 46, 45, 45, 45, 45, 44, 45]
    assert np.bincount(y_train).tolist() == [133, 137, 133, 137, 136, 137, 136, 134, 130, 135]
    digest = hashlib.sha256(X_test.tobytes() + y_test.tobytes()).hexdigest()
    assert digest == "5f7ac49d872de7c981ec3366338bd19558dbb8503593a6c9df9c4e316012a41e"


def test_split_known_rows():
    rows = np.arange(12)
    train, test, _, y_test = train_test_split(rows, rows // 6, test_size=0.5)
    assert train.tolist() == [4, 2, 6, 9, 7, 0] and test.tolist() == [1, 8, 3, 5, 10, 11]
    assert y_test.tolist() == (test // 6).tolist()


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("test_size", [0.01, 0.25, 1 / 3, 0.5, 0.99, 1, 37, 99])
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_split_keeps_every_row_once(test_size, seed, stratify):
    rows, labels = np.arange(100), np.arange(100) ** 2 % 7
    X = np.stack([rows, rows + 1000], axis=1)
    X_train, X_test, y_train, y_test = train_test_split(X, labels, test_size, seed, stratify)
    expected = test_size if isinstance(test_size, int) else np.floor(100 * test_size + 0.5)
    assert len(X_test) == len(y_test) == expected
    together = np.concatenate([X_train, X_test])
    assert np.array_equal(np.sort(together[:, 0]), rows)
    assert np.array_equal(together[:, 1], together[:, 0] + 1000)
    assert np.array_equal(labels[together[:, 0]], np.concatenate([y_train, y_test]))


@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.5, 0.9])
def test_split_shares_are_exact(test_size):
    """Every class gives floor or ceil of its quota; whole quotas are met exactly."""
    counts = np.array([1, 2, 3, 40, 60, 100, 194])
    labels = np.repeat(np.arange(7) * 10 - 30, counts)
    _, X_test, _, y_test = train_test_split(labels, labels, test_size, seed=3)
    given = np.array([np.sum(y_test == label) for label in np.arange(7) * 10 - 30])
    quota = counts * len(y_test) / len(labels)
    assert np.array_equal(X_test, y_test)
    assert np.all(np.abs(given - quota) < 1) and given.sum() == np.floor(400 * test_size + 0.5)
    assert np.all(given[quota == quota.round()] == quota[quota == quota.round()])


def test_split_depends_on_the_seed_alone():
    rows = np.arange(200)
    first, again, other = (train_test_split(rows, rows % 3, seed=seed) for seed in (4, 4, 5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])
    assert first[0].tolist() != sorted(first[0])  # mixed, not by class


def test_split_copies_and_takes_what_users_have():
    X = np.zeros((8, 2))
    parts = train_test_split(X, ["a", "b"] * 4, test_size=0.5)
    assert not any(np.shares_memory(X, part) for part in parts)
    assert sorted(parts[3].tolist()) == ["a", "a", "b", "b"]
    targets = train_test_split([[1.5], [2.5], [3.5], [4.5]], np.ones((4, 2)), stratify=False)[2]
    assert targets.shape == (3, 2)


@pytest.mark.parametrize(
    "X, y, options, error, expected",
    [
        (np.zeros((3, 2)), np.zeros(4, int), {}, ValueError, r"\(3, 2\) and \(4,\)"),
        (np.zeros((4, 2)), np.float64(1), {}, ValueError, "the same number of rows"),
        (np.zeros((4, 2)), np.zeros((4, 2), int), {}, ValueError, r"\(n,\) to stratify"),
        (np.zeros((4, 2)), np.zeros(4), {}, TypeError, "float64"),
        (np.zeros((4, 2)), np.zeros(4, object), {}, TypeError, "object"),
        (np.zeros(0), np.zeros(0, int), {}, ValueError, "got 0 of 0"),
        (np.zeros(1), np.zeros(1, int), {}, ValueError, "got 0 of 1"),
        (np.zeros(4), np.zeros(4, int), {"test_size": 0.0}, ValueError, "got 0.0"),
        (np.zeros(4), np.zeros(4, int), {"test_size": 1.0}, ValueError, "got 1.0"),
        (np.zeros(4), np.zeros(4, int), {"test_size": float("nan")}, ValueError, "got nan"),
        (np.zeros(4), np.zeros(4, int), {"test_size": -1}, ValueError, "got -1 of 4"),
        (np.zeros(4), np.zeros(4, int), {"test_size": 4}, ValueError, "got 4 of 4"),
        (np.zeros(4), np.zeros(4, int), {"test_size": 0.1}, ValueError, "got 0 of 4"),
        (np.zeros(4), np.zeros(4, int), {"test_size": "half"}, TypeError, "'half' of type str"),
        (np.zeros(4), np.zeros(4, int), {"test_size": True}, TypeError, "True of type bool"),
        (np.zeros(4), np.zeros(4, int), {"seed": -1}, ValueError, "seed"),
    ],
)
def test_split_refuses(X, y, options, error, expected):
    with pytest.raises(error, match=f"{expected}.*; "):
        train_test_split(X, y, **options)
