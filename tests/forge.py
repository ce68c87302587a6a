"""Checkpoint files made by hand: with a checksum that fits, whatever they say."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nnlite as nn
from nnlite.checkpoint.file import encode


def part(name: str, **config) -> dict:
    return {"$part": name, "own": False, "config": config}


LINEAR = part("Linear", in_features=2, out_features=3, bias=True, dtype="float32", init="he_normal")
WEIGHTS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(3, np.float32)}


def model_of(architecture, **more) -> dict:
    return {"architecture": architecture, "eval": [], "state": {}, **more}


def described(**parts) -> dict:
    return {"version": 1, "model": model_of(LINEAR), **parts}


def signed(description: dict, arrays=WEIGHTS) -> bytes:
    """A file whose checksum fits, whatever it says."""
    return encode(arrays, description)


def split(data: bytes) -> tuple[dict, bytes]:
    """(the header, the data) of a file."""
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def loader(path: Path) -> Callable[[bytes], nn.Checkpoint]:
    """A function that loads bytes."""

    def load(data: bytes) -> nn.Checkpoint:
        path.write_bytes(data)
        return nn.load(path)

    return load


def refused(load: Callable[[bytes], nn.Checkpoint], data: bytes, text: str) -> None:
    """Asserts a CheckpointError with that text."""
    with pytest.raises(nn.CheckpointError, match=text) as caught:
        load(data)
    assert str(caught.value).startswith("load: ")
