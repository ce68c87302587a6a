"""`nnlite bench compare`: sizes, imports, bits, and the table. No speed is asserted."""

from __future__ import annotations

import argparse
import json

import nnlite as nn
from nnlite._core import native
from nnlite.bench import cli, compare


def test_footprint_counts_what_the_package_needs():
    own = compare.footprint("nnlite")
    assert own["dependencies"] == ["cffi", "numpy", "pycparser", "tqdm"]
    assert 1e6 < own["own_bytes"] < own["bytes"]
    alone = compare.footprint("pycparser")
    assert alone["dependencies"] == [] and alone["own_bytes"] == alone["bytes"] > 0


def test_import_takes_longer_with_numpy_than_beside_it():
    whole, beside = compare.import_seconds("nnlite")
    assert 0 < beside < whole


def test_nnlite_has_the_same_bits_on_any_threads_instructions_and_batch():
    answers = compare.same_bits("nnlite")
    narrow = True if native.ISA == "avx512" else None
    assert answers == {"threads": True, "instructions": narrow, "batch": True}


def test_command_prints_a_table_of_what_is_installed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compare, "NAMES", {"nnlite": "nnlite"})
    answers = {"threads": True, "instructions": None, "batch": False}
    monkeypatch.setattr(compare, "same_bits", lambda name: answers)
    monkeypatch.setattr(compare, "IMPORT_RUNS", 1)
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    file = tmp_path / "a.json"
    before = nn.get_num_threads()
    assert cli.run(parser.parse_args(["compare", "--seconds", "0.01", "--json", str(file)])) == 0
    assert nn.get_num_threads() == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["|  | nnlite |", "| --- | ---: |"]
    cells = dict(line.strip("| ").split(" | ") for line in lines[2 : 2 + len(compare.ROWS)])
    figures = json.loads(file.read_text())["compare"]["nnlite"]
    assert cells["packages it needs"] == "4" and 0 < figures["digits"] < figures["mnist"]
    assert cells["same bits on 1 thread and all"] == "yes"
    assert cells["same bits with AVX2 and AVX-512"] == "-"
    assert cells["a row's bits do not depend on its batch"] == "no"
    assert cli.run(parser.parse_args(["compare", "digits"])) == 2
    assert "compare takes neither other names nor --plot" in capsys.readouterr().err
