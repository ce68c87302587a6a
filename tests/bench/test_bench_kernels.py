"""`nnlite bench kernels` and `nnlite bench --cliffs`: cases, figures, search, report and command.

No speed is asserted: times are given, or come from a clock that the tests turn themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import TESTS

import nnlite as nn
from nnlite._core import native
from nnlite.bench import cases, cli, cliff_report, cliffs, kernel_report, kernels, timing
from nnlite.bench.cases import Case
from nnlite.bench.peers import PEERS
from nnlite.bench.roofline import Roofline
from nnlite.bench.runner import DisagreementError
from nnlite.bench.timing import Measurement
from nnlite.bench.workloads import UnknownNameError

ROOFLINE = Roofline(
    {"float32": {1: 100.0, 2: 200.0}, "float64": {1: 50.0, 2: 100.0}},
    {1: 20.0, 2: 30.0},
    {1: 25.0, 2: 40.0},
)
FACTS = {
    "processor": "Some Processor",
    "cores": 2,
    "threads": 2,
    "isa": "avx2",
    "blas": "someblas 1.0",
    "blas_core": "Haswell",
    "versions": {"nnlite": "0.1.0", "numpy": "2.0.0", "torch": "2.1.0"},
}
US = 1e-6


# ---- the cases ----


def test_every_case_has_a_name_of_its_own():
    every = cases.all_cases(2)
    assert len({case.key for case in every}) == len(every)
    assert {case.group for case in every} == set(kernel_report.GROUPS)
    assert [c.threads for c in every if c.key.startswith("tn-384x384x384-f32")] == [1, 2]
    assert {case.threads for case in cases.all_cases(1)} == {1}


def test_what_a_case_counts():
    product = Case("products", "nn", (128, 784, 512), "float64", 2)
    assert (product.flops, product.bytes) == (2 * 128 * 784 * 512, 0)
    assert product.key == "nn-128x784x512-f64-2t"
    rows = Case("rows", "softmax", (64, 50_000))
    assert (rows.flops, rows.bytes) == (0, 2 * 4 * 64 * 50_000)
    assert Case("steps", "Adam", (100,)).bytes == 7 * 4 * 100  # w, g, m, v in; w, m, v out


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["exp", "tanh", "cache"], 2),
        (["products", "f64", "tn"], 4 * 2),
        (["128x784x512"], 2 * 2),
        (["calls", "inside-C", "f32"], 2),
        (["denormals", "sigmoid"], 2),
    ],
)
def test_select(words, count):
    assert len(cases.select(words, cases.all_cases(2))) == count


@pytest.mark.parametrize("words", [["caffe"], ["exp", "f64"]])
def test_select_refuses(words):
    with pytest.raises(UnknownNameError, match="bench kernels: "):
        cases.select(words, cases.all_cases(2))


def test_inputs_lie_where_they_should():
    (low,) = cases.make_inputs(Case("denormals", "exp", (1000,), inputs="denormal"))
    assert low.min() > 0 and low.max() < np.finfo(np.float32).tiny
    (x,) = cases.make_inputs(Case("denormals", "exp", (1000,), inputs="denormal-results"))
    y = nn.functional.exp(x)
    assert y.min() > 0 and y.max() < np.finfo(np.float32).tiny
    (x,) = cases.make_inputs(Case("denormals", "softmax", (9, 99), inputs="denormal-results"))
    y = nn.functional.softmax(x)[:, 1:]
    assert y.min() > 0 and y.max() < np.finfo(np.float32).tiny
    assert cases.make_inputs(Case("cache", "log", (1000,)))[0].min() > 0
    _, g = cases.make_inputs(Case("denormals", "Adam", (1000,), inputs="denormal"))
    assert g.min() > 0 and g.max() < np.finfo(np.float32).tiny
    _, g = cases.make_inputs(Case("denormals", "Adam", (1000,), inputs="denormal-results"))
    assert g.min() ** 2 < np.finfo(np.float32).tiny < g.min() and (g * g).max() < 1.2e-38


# ---- the kernels ----


def small(case):
    """The case on a shape that takes no time."""
    shape = {1: (65,), 2: (5, 7), 3: (5, 6, 7)}[len(case.shape)]
    return cases.replace(case, shape=shape)


SMALL_CASES = {small(case).key: small(case) for case in cases.all_cases(2)}


@pytest.fixture
def hurried(monkeypatch):
    """No pauses between turns, and every round counts: what is computed matters here, not when."""
    monkeypatch.setattr(timing, "SETTLE", 0.0)
    monkeypatch.setattr(kernels, "SETTLE_ALONE", 0.0)
    monkeypatch.setattr(kernels, "has_cores", lambda threads: True)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("key", SMALL_CASES)
def test_every_case_computes_what_its_peers_compute(key):
    case = SMALL_CASES[key]
    result = kernels.run_case(case, [PEERS["numpy"]], seconds=1e-6)
    if case.inputs != "normal":
        assert set(result.measurements) == {"nnlite", "normal"} and result.slowdown > 0
        return
    assert result.amounts and result.share > 0 and result.best_share > 0
    if case.kernel in ("erf", "dropout", *cases.STEPS):
        assert result.skipped == {"numpy": f"NumPy has no {case.kernel}"}
    elif case.door == "functional":
        assert result.peers == ["numpy"]


@pytest.mark.parametrize("layout", cases.LAYOUTS)
@pytest.mark.parametrize("door", cases.DOORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_door_leads_to_the_same_product(layout, door, dtype):
    case = Case("calls", layout, (5, 6, 7), dtype, 1, door)
    a, b = cases.make_inputs(case)
    kernel = PEERS["nnlite"].kernel(case, (a, b))
    assert kernel.run() is kernel.value() if door == "functional" else kernel.run() == native.OK
    expected = (a.T if layout == "tn" else a) @ (b.T if layout == "nt" else b)
    np.testing.assert_allclose(kernel.value(), expected, rtol=1e-4, atol=1e-5)


# In a process of its own: torch starts threads, which tests that fork would meet.
TORCH = """
from nnlite.bench import kernels, timing
from nnlite.bench.peers import PEERS
from test_bench_kernels import SMALL_CASES
timing.SETTLE = kernels.SETTLE_ALONE = 0.0
kernels.has_cores = lambda threads: True
for case in SMALL_CASES.values():
    if case.inputs == "normal" and case.door == "functional":
        expected = [] if case.kernel == "dropout" else ["torch"]
        assert kernels.run_case(case, [PEERS["torch"]], 1e-6).peers == expected, case
print("all")
"""


@pytest.mark.slow
def test_torch_computes_the_same():
    if missing := PEERS["torch"].missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    words = [sys.executable, "-c", TORCH]
    path = os.pathsep.join([str(Path(__file__).parent), str(TESTS)])
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert run.stdout == "all\n", run.stderr


def test_a_peer_that_computes_something_else_is_not_timed():
    case = Case("cache", "exp", (4,))
    own = np.array([1.0, 2.0, 3.0, 400.0], np.float32)
    kernels.check_values("numpy", case, own * (1 + 1e-6), own)
    for wrong in (own + 1, own * np.nan):
        with pytest.raises(DisagreementError, match="numpy on exp-4-f32-1t: differs"):
            kernels.check_values("numpy", case, wrong, own)


def test_the_product_probe_refuses_nonsense():
    a = np.ones((2, 2), np.float32)
    probe, p = native.kernels(np.float32).roofline_gemm, native.pointer(a)
    out = np.full((2, 2), np.nan, np.float32)
    words = 2, 2, p, 2, 1, p, 2, 1, native.pointer(out), 2, 1
    assert probe(-1, 2, *words) == probe(1, -2, *words) == native.EINVAL
    assert probe(0, 2, *words) == native.OK and np.isnan(out).all()
    assert probe(3, 2, *words) == native.OK and (out == 2).all()


# ---- their figures ----


def some_results():
    """A product of 2 x 10^6 operations in 20 us, and 65,536 numbers in 10 us."""
    product = kernels.KernelResult(
        Case("products", "nn", (100, 100, 100), threads=2),
        {
            "nnlite": Measurement(1, [16 * US, 20 * US, 21 * US]),
            "numpy": Measurement(1, [50 * US]),
            "fma": Measurement(1, [1 * US, 1 * US, 1 * US]),
        },
        {"fma": 200e3},
    )
    denormal = kernels.KernelResult(
        Case("denormals", "exp", (65_536,), inputs="denormal"),
        {"nnlite": Measurement(1, [15 * US]), "normal": Measurement(1, [10 * US])},
    )
    exp = kernels.KernelResult(
        Case("cache", "exp", (65_536,)),
        {
            "nnlite": Measurement(1, [10 * US]),
            "copy": Measurement(1, [4 * US]),
            "stream": Measurement(1, [8 * US]),
        },
        {"copy": 8 * 65_536, "stream": 8 * 65_536},
        {"numpy": "not today"},
    )
    return [product, exp, denormal]


def test_figures():
    product, exp, denormal = results = some_results()
    assert (product.rate, product.ceiling) == (pytest.approx(100), pytest.approx(200))
    assert product.share == pytest.approx(0.5) and product.best_share == pytest.approx(100 / 160)
    roofline = Roofline({"float32": {1: 90.0, 2: 250.0}})
    kernels.raise_peaks(results, roofline)
    assert product.best_share == pytest.approx(125 / 250) and product.share == pytest.approx(0.5)
    assert product.ratio("numpy") == pytest.approx(2.5)
    assert exp.share == exp.best_share == pytest.approx(0.4)  # the better copy is the ceiling
    assert denormal.slowdown == pytest.approx(1.5) and denormal.share is None
    assert Measurement(3, [1.0, 2.0]).divided(10) == Measurement(30, [0.1, 0.2])


def test_text_and_json_have_the_figures():
    text = kernel_report.report(some_results(), ["numpy", "torch"], ROOFLINE, FACTS)
    assert all(len(line) <= 98 for line in text.splitlines())
    assert "numpy 2.0.0 (someblas 1.0, kernels for Haswell)" in text
    product = next(line.split() for line in text.splitlines() if "100x100x100" in line)
    figures = ["20.0", "100", "50.0%", "62.5%", "2.50x", "-"]
    assert product == ["nn", "100x100x100", "f32", "2", *figures]
    assert "exp 65536 denormal" in text and "1.50x" in text
    content = json.loads(json.dumps(kernel_report.as_dict(some_results(), ROOFLINE, FACTS)))
    product, exp, denormal = content["results"]
    assert product["gflops"] == pytest.approx(100) and product["ratio"] == {"numpy": 2.5}
    assert exp["gbytes"] == pytest.approx(8 * 65_536 / 10e3) and exp["ceiling"] is not None
    assert exp["skipped"] == {"numpy": "not today"} and denormal["slowdown"] == pytest.approx(1.5)
    assert set(exp["contenders"]) == {"nnlite", "copy", "stream"}


def test_a_disturbed_probe_is_marked():
    product = some_results()[0]
    product.measurements["fma"] = Measurement(1, [1 * US, 9000 * US, 9000 * US])
    text = kernel_report.table([product], ["numpy"])
    assert ">999%~" in text and "62.5%" in text


# ---- the cliffs ----


class Clock:
    """A clock that only its callables move; `disturbed` calls of each take ten times as long."""

    def __init__(self, disturbed=0):
        self.now, self.disturbed = 0.0, disturbed

    def __call__(self):
        return self.now

    def task(self, seconds):
        left = [self.disturbed]

        def run():
            self.now += seconds * (10 if left[0] > 0 else 1)
            left[0] -= 1

        return run


def test_the_walk_finds_the_step():
    clock = Clock()
    flat = {w: clock.task(1e-3) for w in range(16, 40)}
    cliff = {w: clock.task(1e-3 if w <= 32 else 1.5e-3) for w in range(16, 40)}
    walk, steps = cliffs.walk_steps({"a": flat, "b": cliff}, 0.1, lambda text: None, clock)
    assert walk["b"][33].best == pytest.approx(1.5e-3) and len(walk["a"]) == 24
    assert (steps[0].name, steps[0].low, steps[0].high) == ("b", 32, 33)
    assert steps[0].value == pytest.approx(1.5)
    assert len(steps) == cliffs.CANDIDATES and steps[1].value == pytest.approx(1.0)


def test_noise_is_no_step():
    clock = Clock()
    calls = {w: clock.task(1e-3) for w in range(16, 30)}
    noisy = Clock(disturbed=8)
    noisy_call = noisy.task(1e-3)

    def disturbed():
        before = noisy.now
        noisy_call()
        clock.now += noisy.now - before

    calls[20] = disturbed
    _, steps = cliffs.walk_steps({"a": calls}, 0.1, lambda text: None, clock)
    assert all(step.value == pytest.approx(1.0) for step in steps)
    one, other = Measurement(1, [1.0, 1.0, 1.0]), Measurement(1, [1.0, 5.0, 5.0])
    assert cliffs.beyond_noise(one, other) == 1.0
    assert cliffs.beyond_noise(one, Measurement(1, [2.0, 3.0, 4.0])) == 2.0


@pytest.mark.parametrize(("seconds", "ratio"), [(0.9e-3, 0.9), (1.3e-3, 1.3)])
def test_threads_that_do_harm_are_measured_again(seconds, ratio):
    clock = Clock()
    times = {1: 1e-3, 2: seconds}
    calls = {
        count: cliffs.Kernel(clock.task(taken), lambda: None, 10) for count, taken in times.items()
    }
    (found,) = cliffs.compare_threads("some", calls, 0.05, 0.0, clock)
    assert found.value == pytest.approx(ratio) and found.before.best == pytest.approx(1e-4)
    assert len(found.before.samples) >= (40 if ratio > cliffs.THREAD_LIMIT else 9)


def test_layer_calls_compute_the_layer():
    for count in (1, 2):
        calls = cliffs.layer_calls(19, count)
        assert list(calls) == ["forward", "dx", "dW"]
        assert [call() for call in calls.values()] == [native.OK] * 3


def some_cliffs():
    def times(us):
        return Measurement(1, [us * US])

    step = cliffs.Ratio("dx, 1 thread", 64, 65, 1.6, times(10), times(14))
    widths = {64: times(10), 65: times(16)}
    threads = cliffs.Ratio("nn 32x64x64", 1, 2, 1.2, times(5), times(6))
    return cliffs.Cliffs({"dx, 1 thread": widths}, [step], [threads])


def test_cliffs_in_text_and_json():
    text = cliff_report.report(some_cliffs(), FACTS)
    assert all(len(line) <= 98 for line in text.splitlines())
    assert "worst step: 1.40x, dx, 1 thread, 64 -> 65; 1 above 1.3" in text
    assert "more threads than one: 1 above 1.1" in text
    content = json.loads(json.dumps(cliff_report.as_dict(some_cliffs(), FACTS)))
    assert content["walk"]["dx, 1 thread"]["65"]["median_us"] == pytest.approx(16)
    assert content["steps"][0]["ratio"] == pytest.approx(1.4)
    assert content["threads"][0]["times"]["high"]["best_us"] == pytest.approx(6)


# ---- the command ----


def parse(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args(words)


def test_kernels_from_the_command_line(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    files = tmp_path / "a.json", tmp_path / "a.png"
    words = ["kernels", "nn", "exp", "8x8x8", "65536", "--seconds", "0.0001", "--threads", "1"]
    assert cli.run(parse(*words, "--json", str(files[0]), "--plot", str(files[1]))) == 0
    text, error = capsys.readouterr()
    assert error == "" and "nn 8x8x8" in text and "exp 65536 denormal-results" in text
    content = json.loads(files[0].read_text())
    assert {r["threads"] for r in content["results"]} == {1} and len(content["results"]) == 5
    assert files[1].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_cliffs_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cliffs, "WIDTHS", range(16, 20))
    monkeypatch.setattr(cliffs, "THREAD_CASES", cliffs.THREAD_CASES[:1])
    path, before = tmp_path / "a.json", nn.get_num_threads()
    words = ["--cliffs", "--threads", "2", "--seconds", "0.0001", "--json", str(path)]
    assert cli.run(parse(*words)) == 0
    assert nn.get_num_threads() == before
    text, error = capsys.readouterr()
    assert error == "" and "worst step" in text
    assert list(json.loads(path.read_text())["walk"]["dW, 2 threads"]) == ["16", "17", "18", "19"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kernels", "caffe"], "unknown filter 'caffe'; expected of: products, calls, small"),
        (["kernels", "erf", "f64"], "no case is all of: erf, f64"),
        (["--cliffs", "rl"], "--cliffs takes neither names nor --plot"),
    ],
)
def test_bad_arguments(words, message, capsys):
    assert cli.run(parse(*words)) == 2
    text, error = capsys.readouterr()
    assert text == "" and message in error and error.count("\n") == 1
