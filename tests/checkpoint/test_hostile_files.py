"""Files with a checksum that fits and a description made to do harm: refused, and little memory."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from forge import LINEAR, WEIGHTS, described, loader, model_of, part, refused, signed
from helpers import sha
from hypothesis import given
from hypothesis import strategies as st

import nnlite as nn


@pytest.fixture
def load(tmp_path):
    return loader(tmp_path / "model")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.sampled_from(["weight", "Linear", "SGD", "float32", "$part"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["$part", "own", "config", "$array", "$floats", "$float", "layers", "x"]),
        inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
PLACES = [
    ("version",), ("model",), ("model", "architecture"), ("model", "eval"), ("model", "state"),
    ("model", "architecture", "$part"), ("model", "architecture", "own"),
    ("model", "architecture", "config"), ("model", "architecture", "config", "in_features"),
    ("model", "architecture", "config", "bias"), ("model", "architecture", "config", "dtype"),
    ("model", "architecture", "config", "init"), ("model", "architecture", "config", "more"),
    ("optimizer",), ("trainer",), ("extra",),
]  # fmt: skip


@given(st.sampled_from(PLACES), VALUES)
def test_wrong_types_everywhere(tmp_path_factory, place, value):
    """With a checksum that fits: a CheckpointError, or the model there is."""
    description = json.loads(json.dumps(described()))
    inner = description
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path_factory.mktemp("f") / "model"
    path.write_bytes(signed(description))
    try:
        found = nn.load(path)
    except nn.CheckpointError:
        return
    assert sha(*(p.data for p in found.model.parameters())) == sha(*WEIGHTS.values())


# ---- what the description says ----


def nested(depth: int) -> dict:
    made = part("ReLU")
    for _ in range(depth):
        made = part("Sequential", layers=[made])
    return made


SGD = {**part("SGD", lr=0.1, momentum=0.0, weight_decay=0.0), "names": ["weight", "bias"],
       "state": {}}  # fmt: skip


@pytest.mark.parametrize(
    "parts, text",
    [
        ({"version": 2}, "it has version 2 of the format, this nnlite reads version 1; upgrade"),
        ({"version": "x" * 999}, "it has version x{20} of the format"),
        ({"model": None}, "has no model, or parts that are not JSON objects"),
        ({"model": {}}, "KeyError"),
        ({"optimizer": [1]}, "parts that are not JSON objects"),
        ({"model": model_of(part("os.system", command="true"))}, "class os.system, not known here"),
        ({"model": model_of(part("Module"))}, "is only in the file"),
        ({"model": model_of(part("SGD"))}, "it has a SGD where a Module is needed"),
        ({"model": model_of(part("MSELoss"))}, "it has a MSELoss where a Module is needed"),
        ({"model": model_of(part("ReLU"))}, "the parameter 'bias' is only in the file"),
        ({"model": model_of({**LINEAR, "own": True})}, "not known here; pass classes=.Linear."),
        ({"model": model_of({**LINEAR, "$part": "L" * 999})}, "class L{100}, not known"),
        ({"model": model_of({**LINEAR, "more": 1})}, "has no class and config"),
        ({"model": model_of(part("Linear", in_features=2, out_features=3, x=1))}, "unexpected"),
        ({"model": model_of(part("Linear", in_features=3, out_features=2, bias=False))}, "only in"),
        (
            {"model": model_of(part("Linear", in_features=2, out_features=2))},
            "has shape .* the architecture expects",
        ),
        ({"model": model_of(nested(150))}, "only in the file"),
        ({"model": model_of(LINEAR, eval=["layers.0"])}, "its states are those of other modules"),
        ({"model": model_of(LINEAR, state={"": 1})}, "its states are those of other modules"),
        ({"model": model_of(LINEAR, state=[])}, "AttributeError"),
        ({"optimizer": {**SGD, "names": ["weight", "weight"]}}, "stands twice"),
        ({"optimizer": {**SGD, "names": ["other"]}}, "KeyError"),
        ({"optimizer": {**SGD, "names": []}}, "expected at least one Parameter"),
        ({"optimizer": {**SGD, "$part": "ReLU"}}, "it has a ReLU where a Optimizer is needed"),
        ({"optimizer": {**SGD, "config": {"lr": -1.0}}}, "lr: expected"),
        ({"trainer": {**part("Trainer"), "loss": part("MSELoss"), "state": {}}}, "Trainer: "),
        ({"extra": {"a": {"$array": "weight"}}}, "'weight' that it reads twice or does not hold"),
        ({"extra": {"a": {"$array": ["weight"]}}}, "reads twice or does not hold"),
        ({"extra": {"a": {"$floats": "weight"}}}, "reads twice or does not hold"),
        ({"extra": {"a": {"$float": "1"}}}, "unknown kind of value"),
        ({"extra": {"a": {"$other": 1, "b": 2}}}, "unknown kind of value"),
        ({"extra": {"a": LINEAR}}, "it has a Linear where a value without class is needed"),
    ],
)
def test_descriptions(load, parts, text):
    refused(load, signed(described(**parts)), text)


def test_arrays_of_the_wrong_kind(load):
    arrays = {**WEIGHTS, "weight": WEIGHTS["weight"].astype(np.float64)}
    refused(load, signed(described(), arrays), "weight has shape .2, 3. and dtype F64")
    flags = {**WEIGHTS, "extra/a": np.zeros(1, np.uint8)}
    data = signed(described(extra={"a": {"$array": "extra/a"}}), flags)
    assert load(data).extra["a"].dtype == np.uint8
    floats = described(extra={"a": {"$floats": "extra/a"}})
    refused(load, signed(floats, flags), "extra/a is no list of float64")


def test_booleans_of_other_bytes(load):
    flags = np.zeros(1, np.bool_)
    flags.view(np.uint8)[0] = 2
    data = signed(described(extra={"a": {"$array": "extra/a"}}), {**WEIGHTS, "extra/a": flags})
    refused(load, data, "extra/a holds bytes that are neither true nor false")


# ---- memory ----


@pytest.mark.parametrize(
    "architecture",
    [
        part("Linear", in_features=2**20, out_features=2**20),
        part("Linear", in_features=2**62, out_features=2**62),
        part("Linear", in_features=1, out_features=2**40),
        part("Sequential", layers=[LINEAR, part("Linear", in_features=3, out_features=50_000_000)]),
        part("Sequential", layers=[LINEAR] * 1000),
    ],
)
def test_an_architecture_larger_than_the_file(load, architecture):
    tracemalloc.start()
    try:
        refused(load, signed(described(model=model_of(architecture))), "bytes|elements")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_large_part_elsewhere_is_not_built(load):
    huge = part("Linear", in_features=2**15, out_features=2**15)
    for where in ("extra", "optimizer"):
        parts = {"extra": {"a": huge}, "optimizer": {**SGD, "config": {"lr": huge}}}
        tracemalloc.start()
        refused(load, signed(described(**{where: parts[where]})), "where a value without class")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()


MEMORY_OF_A_LOAD = """
import re, sys
import nnlite as nn

def most() -> int:
    status = open("/proc/self/status").read()
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) * 1024

nn.load(sys.argv[1] + ".small")
before = most()
found = nn.load(sys.argv[1])
print(most() - before)
"""


@pytest.mark.parametrize("optimizer", [None, "Adam"])
def test_memory_of_a_load(tmp_path, optimizer):
    """At most twice the file: every array is read into its place, and zeros take no memory."""
    path = tmp_path / "model"
    for name, width in (("model.small", 8), ("model", 2000)):
        model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        made = optimizer and getattr(nn.optim, optimizer)(model.parameters())
        if made:
            made.state["exp_avg"][...] = 1
        nn.save(tmp_path / name, model, made)
    command = [sys.executable, "-c", MEMORY_OF_A_LOAD, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert 0 < int(found.stdout) < 2 * path.stat().st_size, found.stderr


def test_a_file_of_a_terabyte_that_is_not_there(tmp_path):
    """Holes take no disk; the header is refused before anything is read or allocated."""
    path = tmp_path / "model"
    path.write_bytes(struct.pack("<Q", 2**39) + b"{")
    os.truncate(path, 2**40)
    with pytest.raises(nn.CheckpointError, match="at most 16777216"):
        nn.load(path)
