"""nnlite bench autograd: contenders agree, the figures are what they are called."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnlite.bench import cli, graphs
from nnlite.bench.runner import DisagreementError
from nnlite.bench.timing import Measurement


def test_contenders_compute_the_same():
    assert len(graphs.EXPRESSIONS) == 10
    for expression in graphs.EXPRESSIONS:
        found = graphs.contenders(
            expression
        )  # raises where they differ, or where jit is no program
        assert {"nnlite", "flat", "jit"} <= set(found)
        loss, grad = found["flat"]()
        assert np.shape(loss) == () and np.shape(grad) == expression.shapes[0]


def test_one_that_computes_something_else_is_told():
    expression = graphs.EXPRESSIONS[0]
    found = graphs.contenders(expression)
    loss, grad = found["flat"]()
    with pytest.raises(DisagreementError, match="multiply, add: other differs"):
        graphs._compare(expression, {"nnlite": found["nnlite"], "other": lambda: (loss, grad + 1)})
    several = graphs.Expression("sin", lambda x: x.sin().sum(), ((3,),))
    with pytest.raises(DisagreementError, match="sin: no program: sin has no instruction"):
        graphs.contenders(several)


def result(name: str, own: float, **others: float) -> graphs.Result:
    times = {"nnlite": own, "flat": 10.0, "jit": 5.0, **others}
    return graphs.Result(name, 4, {n: Measurement(1, [t * 1e-6] * 3) for n, t in times.items()})


def test_figures(monkeypatch):
    results = [result("one", 30.0, torch=60.0), result("two", 20.0, torch=10.0)]
    assert [r.overhead for r in results] == pytest.approx([5, 2.5])
    assert graphs.not_slower(results) == 1
    assert graphs.not_slower([result("one", 30.0)]) is None
    monkeypatch.setattr(graphs, "title", lambda facts: "title")
    lines = graphs.report(results, {}).splitlines()
    assert lines[4].split() == [
        "one",
        "4",
        "30.0",
        "10.0",
        "5.00",
        "5.00",
        "6.00x",
        "60.0",
        "2.00x",
    ]
    assert "median 3.75 us, largest 5.00 us; target 6 us" in lines[-3]
    assert lines[-1].endswith("not slower on 1 of 2, target 8")
    assert "PyTorch is not installed" in graphs.report([result("one", 30.0)], {})
    content = graphs.as_dict(results, {})
    assert content["expressions"][1]["median_us"]["torch"] == pytest.approx(10)


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(graphs, "EXPRESSIONS", graphs.EXPRESSIONS[:2])
    assert main("autograd", "--seconds", "0.01", "--json", str(tmp_path / "a.json")) == 0
    text = capsys.readouterr().out
    assert "multiply, add" in text and "us; target 6 us" in text
    content = json.loads((tmp_path / "a.json").read_text())
    assert [e["nodes"] for e in content["expressions"]] == [3, 21]
    assert main("autograd", "fit") == 2
    assert "autograd takes neither other names nor --plot" in capsys.readouterr().err


def main(*words: str) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))
