"""Files that are cut, altered or hostile: CheckpointError and nothing else, and little memory."""

from __future__ import annotations

import os
import re
import struct

import pytest
from forge import described, joined, loader, refused, signed, split
from helpers import run_python, sha
from hypothesis import given
from hypothesis import strategies as st

import nnlite as nn
from nnlite.checkpoint import file
from nnlite.checkpoint.header import parse

GOOD = signed(described(extra={"x": 0.5}))


@pytest.fixture
def load(tmp_path):
    return loader(tmp_path / "model")


def content(found: nn.Checkpoint) -> tuple:
    return repr(found.model), sha(*(p.data for p in found.model.parameters())), found.extra


def test_the_good_file(load):
    found = load(GOOD)
    assert found.extra == {"x": 0.5}
    assert found.model.weight.data.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert joined(*split(GOOD))[8:20] == GOOD[8:20]
    assert content(load(joined(*split(GOOD)))) == content(found)  # JSON with other spaces


# ---- every cut, every byte ----


def test_every_cut(load):
    for length in range(len(GOOD)):
        refused(load, GOOD[:length], "load: ")
    refused(load, GOOD + b"\0", "its arrays are 36 bytes, the file has 37")


def test_every_byte(load):
    """Each byte changed in five ways: refused, or the change meant nothing."""
    expected = content(load(GOOD))
    harmless = 0
    for place in range(len(GOOD)):
        for change in (1, 0x20, 0x80, 0xFF, GOOD[place] ^ ord(" ")):
            data = bytearray(GOOD)
            data[place] ^= change
            if data == GOOD:
                continue
            try:
                found = load(bytes(data))
            except nn.CheckpointError:
                continue
            assert content(found) == expected, (place, change)
            harmless += 1
    assert harmless < 50  # spaces between the words of the JSON


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=20))
def test_several_bytes(tmp_path_factory, changes):
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.mktemp("f") / "model"
    path.write_bytes(data)
    try:
        found = nn.load(path)
    except nn.CheckpointError:
        return
    assert (repr(found.model), found.extra) == ("Linear(2, 3, dtype=float32)", {"x": 0.5})


@given(st.binary(max_size=200), st.booleans())
def test_noise(tmp_path_factory, noise, with_length):
    path = tmp_path_factory.mktemp("f") / "model"
    path.write_bytes(struct.pack("<Q", len(noise)) + noise if with_length else noise)
    with pytest.raises(nn.CheckpointError):
        nn.load(path)


# ---- the header ----


def entry(**changes) -> dict:
    return {"dtype": "F32", "shape": [2, 3], "data_offsets": [12, 36], **changes}


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"dtype": "F99"}, "unknown dtype 'F99'"),
        ({"dtype": "BF16"}, "unknown dtype"),
        ({"dtype": ["F32"]}, "unknown dtype"),
        ({"dtype": "F64"}, "24 bytes, not those of its shape and dtype"),
        ({"dtype": "I32"}, "checksum"),
        ({"shape": [3, 2]}, "checksum"),
        ({"shape": [2, 4]}, "24 bytes, not those"),
        ({"shape": [-2, -3]}, "no possible shape"),
        ({"shape": [2.0, 3]}, "no possible shape"),
        ({"shape": [True, 6]}, "no possible shape"),
        ({"shape": "23"}, "no possible shape"),
        ({"shape": [2**62, 2**62]}, "no possible shape"),
        ({"shape": [2**63, 0]}, "no possible shape"),
        ({"shape": [2**62, 3, 0]}, "no possible shape"),
        ({"shape": [1] * 40}, "no possible shape"),
        ({"shape": [[2, 3]]}, "no possible shape"),
        ({"data_offsets": [12]}, "no possible data_offsets"),
        ({"data_offsets": [36, 12]}, "-24 bytes"),
        ({"data_offsets": [-12, 12]}, "no possible data_offsets"),
        ({"data_offsets": [12.0, 36.0]}, "no possible data_offsets"),
        ({"data_offsets": [0, 24]}, "overlaps"),
        ({"data_offsets": [11, 35]}, "overlaps"),
        ({"data_offsets": [13, 37]}, "leaves a gap"),
        ({"data_offsets": [2**62, 2**62 + 24]}, "leaves a gap"),
        ({"more": 1}, "has not exactly dtype, shape and data_offsets"),
    ],
)
def test_entries(load, changes, text):
    header, data = split(GOOD)
    assert header["weight"] == entry()
    header["weight"] = entry(**changes)
    refused(load, joined(header, data), re.escape(text))


@pytest.mark.parametrize(
    "value, text",
    [
        ([1, 2], "has not exactly"),
        (None, "has not exactly"),
        ({"dtype": "F32", "shape": [2, 3]}, "has not exactly"),
    ],
)
def test_entries_that_are_none(load, value, text):
    header, data = split(GOOD)
    header["weight"] = value
    refused(load, joined(header, data), text)


def twice(header: bytes, old: bytes, new: bytes) -> bytes:
    assert old in header
    return header.replace(old, new, 1)


@pytest.mark.parametrize(
    "old, new, text",
    [
        (b'"bias":', b'"weight":', "the name 'weight' stands twice"),
        (b'"dtype":', b'"dtype":"F32","dtype":', "the name 'dtype' stands twice"),
        (b'{"nnlite":', b'{"nnlite":"","nnlite":', "the name 'nnlite' stands twice"),
        (b'{"__metadata__":', b'{"__metadata__":{},"__metadata__":', "'__metadata__' stands twice"),
        (rb"\"version\":", rb"\"version\":1,\"version\":", "the name 'version' stands twice"),
        (rb"{\"x\": 0.5}", rb"{\"x\": NaN}", "holds NaN, which is no number"),
        (rb"{\"x\": 0.5}", rb"{\"x\": -Infinity}", "holds -Infinity, which is no number"),
        (rb"{\"x\": 0.5}", rb"{\"x\": 1e999}", "holds 1e999, which no float can hold"),
        (rb"{\"x\": 0.5}", rb"{\"x\": " + b"9" * 5000 + b"}", "its JSON is damaged"),
        (rb"{\"x\": 0.5}", rb"{\"x\": 0.25}", "checksum does not fit"),
        (rb"\"he_normal\"", rb"\"he_uniform\"", "checksum does not fit"),
        (b'"data_offsets":[0,12]', b'"data_offsets":[0,NaN]', "holds NaN"),
        (b'{"nnlite":', b'{"nnlite":"x","more":', "its JSON is damaged"),
        (b'{"nnlite":', b'{"other":', "nnlite did not write it"),
        (b'"__metadata__":', b'"metadata":', "nnlite did not write it"),
    ],
)
def test_words_of_the_header(load, old, new, text):
    length = struct.unpack("<Q", GOOD[:8])[0]
    header = twice(GOOD[8 : 8 + length], old, new)
    refused(load, joined(header, GOOD[8 + length :]), text)


@pytest.mark.parametrize(
    "header, text",
    [
        (b"", "its JSON is damaged"),
        (b"{", "its JSON is damaged"),
        (b"[]", "not a JSON object"),
        (b"{}", "nnlite did not write it"),
        (b'{"__metadata__":{"nnlite":1}}', "nnlite did not write it"),
        (b'{"__metadata__":["nnlite"]}', "nnlite did not write it"),
        (b'{"__metadata__":{"nnlite":"[]"}}', "description is not a JSON object"),
        (b'{"__metadata__":{"nnlite":"{}"}}', "version None"),
        (b'{"__metadata__":{"nnlite":"{\\"version\\":1}"}}', "no checksum"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"\xff":1}', "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "its JSON is damaged"),
    ],
)
def test_headers(load, header, text):
    refused(load, joined(header, b""), text)


def test_lengths_of_the_header(load):
    for length in (2**63, 2**64 - 1, file.HEADER_LIMIT + 1):
        refused(load, struct.pack("<Q", length) + GOOD[8:], f"claims {length} bytes; at most")
    refused(load, struct.pack("<Q", len(GOOD)) + GOOD[8:], "its header alone claims")
    refused(load, b"", "it has 0 bytes")


@pytest.mark.parametrize("text", ['{"a":{"b":[{"c":1,"c":2}]}}', '{"a":1,"\\u0061":2}'])
def test_names_twice_at_any_depth(text):
    with pytest.raises(nn.CheckpointError, match="stands twice"):
        parse(text)


# ---- what is no file ----


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        nn.load(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="load: expected a file, got the directory"):
        nn.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(nn.CheckpointError, match="it is not a regular file"):
            nn.load(special)
    for wrong in (None, 3, 1.5, ["x"]):
        with pytest.raises(TypeError):
            nn.load(wrong)


def test_descriptors_are_closed(load):
    before = len(os.listdir("/proc/self/fd"))
    load(GOOD)
    for data in (GOOD[:-1], GOOD[:9], b"", signed(described(model={}))):
        refused(load, data, "load: ")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_cut_while_it_is_read(load, monkeypatch):
    original = file.Reader.verify

    def verify(reader):
        original(reader)
        os.truncate(f"/proc/self/fd/{reader._fd}", 500)

    monkeypatch.setattr(file.Reader, "verify", verify)
    refused(load, GOOD, "it became shorter while it was read")


def test_safetensors_and_tqdm_are_imported_when_used():
    program = "import sys, nnlite; print([m for m in ('safetensors', 'tqdm') if m in sys.modules])"
    assert run_python(program).stdout == "[]\n"
