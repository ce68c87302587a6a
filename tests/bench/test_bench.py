"""The benchmark: the workloads' figures, the peers, the clockwork, the probes, report and command.

No speed is asserted: times come from a clock that the tests turn themselves, or are not looked at.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import nnlite as nn
from nnlite._core import native
from nnlite.bench import cli, facts, plot, report, timing, workloads
from nnlite.bench.peers import PEERS, PeerError, select_peers
from nnlite.bench.roofline import Roofline, has_cores, last_level_cache, region_cost
from nnlite.bench.runner import DisagreementError, Result, check_value, expected_value, run_workload

OTHERS = [name for name in PEERS if name not in ("nnlite", "torch-compile")]


# ---- the workloads ----


def test_figures_of_the_workloads():
    by_key = {w.key: w for w in workloads.all_workloads(["sgd", "adam"])}
    assert len(by_key) == 17
    digits = by_key["digits-adam"]
    assert digits.parameters == 65 * 64 + 65 * 10
    # x W and x^T dy for both layers, dy W^T for the second.
    assert digits.flops == 2 * 32 * (2 * (64 * 64 + 64 * 10) + 64 * 10)
    assert by_key["one"].flops == 2 * (64 * 64 + 64 * 10)
    assert by_key["deep-sgd"].shape == "256-8x256-10"
    assert by_key["mnist-sgd"].shape == "784-512-256-10"
    assert by_key["residual-sgd"].shape == "64-4x(64+64)-10"
    assert [w.name for w in by_key.values() if w.residual] == ["residual"] * 2


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["mnist"], ["mnist-sgd", "mnist-adam"]),
        (["bulk", "rl-adam"], ["rl-adam", "bulk"]),
        (["inference"], ["one", "one-mnist", "bulk"]),
    ],
)
def test_select(names, keys):
    chosen = workloads.select(names, workloads.all_workloads(["sgd", "adam"]))
    assert [w.key for w in chosen] == keys


def test_tasks_are_the_same_at_every_call():
    workload = workloads.all_workloads()[1]
    first, second = workloads.make_task(workload), workloads.make_task(workload)
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.y, second.y)
    np.testing.assert_array_equal(first.layers[1][0], second.layers[1][0])
    assert first.x.dtype == np.float32 and first.y.min() >= 0 and first.y.max() < 10


# ---- the peers ----


# In a process of its own: torch and jax start threads, which tests that fork would meet.
COMPARE = """
import json, sys
from nnlite.bench.peers import PEERS
from nnlite.bench.runner import check_value, expected_value
from nnlite.bench.workloads import all_workloads, make_task

peer, losses = PEERS[sys.argv[1]], {}
for workload in all_workloads(["sgd", "adam"]):
    if workload.name not in ("digits", "rl", "residual", "one"):
        continue
    task = make_task(workload)
    try:
        contender = peer.contender(task)
    except NotImplementedError:
        losses[workload.key] = None
        continue
    first = contender()
    check_value(peer.name, task, first, expected_value(task))
    if workload.optimizer:
        losses[workload.key] = [first, *(contender() for _ in range(3))]
print(json.dumps(losses))
"""


def losses_of(name):
    if missing := PEERS[name].missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    words = [sys.executable, "-c", COMPARE, name]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", OTHERS)
def test_peers_compute_the_same_network(name):
    ours, theirs = losses_of("numpy"), losses_of(name)
    assert list(theirs) == [
        f"{network}-{rule}" for network in ("digits", "rl", "residual") for rule in ("sgd", "adam")
    ]
    for key, losses in theirs.items():
        if name == "onnxruntime" or (name == "sklearn" and key.startswith("residual")):
            assert losses is None  # it trains nothing, or no such network
        elif name == "sklearn":  # its optimiser has made a step before, so only the first one
            assert losses[0] == pytest.approx(ours[key][0], rel=1e-4)
        else:
            assert losses == pytest.approx(ours[key], rel=1e-4)


def test_a_contender_that_computes_something_else_is_not_timed():
    task = workloads.make_task(workloads.Workload("rl", 64, (8, 4), "sgd"))
    expected = expected_value(task)
    check_value("numpy", task, expected + 1e-5, expected)
    with pytest.raises(DisagreementError, match="numpy on rl-sgd: a loss of"):
        check_value("numpy", task, expected + 0.1, expected)
    task = workloads.make_task(workloads.Workload("bulk", 100, (8, 4)))
    with pytest.raises(DisagreementError, match="another class than the others in 100 of 100 rows"):
        check_value("numpy", task, np.zeros((100, 4)), np.full(100, 1))


def test_peers_are_imported_only_when_asked_for():
    code = (
        "import sys, nnlite.bench.cli, nnlite.bench.runner, nnlite.bench.plot\n"
        "print({'torch', 'jax', 'sklearn', 'onnxruntime', 'onnx', 'matplotlib', 'threadpoolctl'}"
        " & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_select_peers(monkeypatch):
    assert [peer.name for peer in select_peers(["numpy", "numpy"])] == ["numpy"]
    assert "numpy" in [peer.name for peer in select_peers(["all"])]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PeerError, match=r"needs onnxruntime and onnx, .*: pip install onnxruntime"):
        select_peers(["onnxruntime"])


# ---- the clockwork ----


class Clock:
    """A clock that only its callables move."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def task(self, name, durations):
        durations = itertools.cycle(durations)

        def run():
            self.calls.append(name)
            self.now += next(durations)

        return run


def test_measure_with_a_clock_of_our_own():
    clock = Clock()
    tasks = {"slow": clock.task("slow", [0.004]), "fast": clock.task("fast", [0.0005])}
    results = timing.measure(tasks, seconds=0.1, settle=0, clock=clock)
    assert results["slow"].median == pytest.approx(0.004)
    assert results["fast"].median == results["fast"].best == pytest.approx(0.0005)
    assert results["fast"].spread == pytest.approx(0, abs=1e-9)
    assert results["slow"].calls == 1
    assert results["fast"].calls * 0.0005 >= timing.SHORTEST_SAMPLE
    assert len(results["slow"].samples) == len(results["fast"].samples) >= 9
    # Turns, each round begun by another one: slow fast, fast slow, slow fast, ...
    turns = [name for name, _ in itertools.groupby(clock.calls[-200:])]
    assert len(turns) > 6 and set(turns) == {"slow", "fast"}


def test_noise_prolongs_measuring():
    counts = {}
    for name, durations in (("quiet", [0.01]), ("noisy", [0.01, 0.02])):
        clock = Clock()
        task = {name: clock.task(name, durations)}
        counts[name] = len(timing.measure(task, seconds=0.5, clock=clock)[name].samples)
    assert counts["noisy"] >= 1.8 * counts["quiet"]  # three times as long, calls half as fast


@pytest.mark.parametrize("lost", [3, 10**9])
def test_rounds_without_all_cores_are_measured_again(lost):
    """The first rounds, at twice the time; or all of them, which then count and are marked."""
    clock, asked = Clock(), itertools.count()
    slow = clock.task("slow", itertools.chain([0.02] * 40, itertools.repeat(0.01)))
    found = timing.measure(
        {"slow": slow}, 0.5, settle=0, clock=clock, has_cores=lambda: next(asked) >= lost
    )["slow"]
    assert found.undisturbed == (lost == 3)
    if lost == 3:
        assert next(asked) - 1 > lost + timing.LEAST_ROUNDS
    assert len(found.samples) >= timing.LEAST_ROUNDS * timing.SAMPLES_PER_TURN


def test_cores_are_there_for_one_thread_and_missing_for_more_than_there_are():
    assert has_cores(1)
    if native.build_facts()["threads"] != "none":
        assert not has_cores(64 * (os.cpu_count() or 1))


def test_median_best_and_spread():
    measurement = timing.Measurement(1, [1.0, 2.0, 3.0, 4.0, 100.0])
    assert (measurement.median, measurement.best) == (3.0, 1.0)
    assert measurement.spread == pytest.approx((4 - 2) / 3)
    assert timing.Measurement(1, [1.0]).spread == 0


# ---- report, JSON, plot ----

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
    "versions": {"nnlite": "0.1.0", "numpy": "2.0.0", "torch": "2.1.0"},
}


def some_results():
    """digits: nnlite 10 us, numpy 25, torch 5; bulk: nnlite 1 s, numpy 2.5."""
    digits, bulk = (w for w in workloads.all_workloads() if w.name in ("digits", "bulk"))
    us = 1e-6
    return [
        Result(
            digits,
            {
                "nnlite": timing.Measurement(7, [9 * us, 10 * us, 11 * us]),
                "numpy": timing.Measurement(3, [25 * us, 20 * us, 90 * us]),
                "torch": timing.Measurement(3, [5 * us]),
            },
        ),
        Result(
            bulk,
            {"nnlite": timing.Measurement(1, [1.0]), "numpy": timing.Measurement(1, [2.5])},
            {"torch": "not today"},
        ),
    ]


def test_json_has_the_figures(tmp_path):
    path = tmp_path / "figures.json"
    report.write_json(path, report.as_dict(some_results(), ROOFLINE, FACTS))
    content = json.loads(path.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["figures.json"]
    assert content["machine"] == FACTS
    assert content["roofline"]["fma_gflops"]["float32"] == {"1": 100.0, "2": 200.0}
    digits, bulk = content["results"]
    assert digits["ratio"] == pytest.approx({"numpy": 2.5, "torch": 0.5})
    # 32 rows, 2 (64 64 + 64 10) + 64 10 multiply-adds a row, 10 us; the peak is 200 GFLOP/s.
    assert digits["gflops"] == pytest.approx(2 * 32 * (2 * 4736 + 640) / 10e-6 / 1e9)
    assert digits["fraction_of_peak"] == pytest.approx(digits["gflops"] / 200)
    assert digits["contenders"]["nnlite"]["median_us"] == pytest.approx(10)
    assert digits["contenders"]["nnlite"]["best_us"] == pytest.approx(9)
    assert digits["contenders"]["numpy"]["samples_us"] == pytest.approx([25, 20, 90])
    assert digits["contenders"]["numpy"]["calls_per_sample"] == 3
    assert bulk["skipped"] == {"torch": "not today"}
    assert bulk["ratio"] == pytest.approx({"numpy": 2.5})


def test_text_has_the_figures():
    text = report.report(some_results(), ["numpy", "torch"], ROOFLINE, FACTS)
    assert all(len(line) <= 98 for line in text.splitlines())
    assert "FMA peak  float32 100 / 200 GFLOP/s,  float64 50 / 100 GFLOP/s" in text
    digits = next(line.split() for line in text.splitlines() if line.startswith("  digits"))
    assert digits == ["digits", "32", "64-64-10", "10.0", "64.7", "32.4%", "25.0~", "2.50x"]
    bulk = [line.split() for line in text.splitlines() if line.startswith("  bulk")]
    assert bulk[0][3:] == ["1,000,000", "4.38", "2.2%", "2,500,000", "2.50x"]
    assert bulk[1] == ["bulk", "-"]
    assert "numpy: 2.50x in the geometric mean\n" in text
    assert "torch: 0.50x in the geometric mean; below 1: digits-sgd 0.50x" in text
    assert "~ noisy" in text and "Other programs" not in text
    text = report.report(some_results(), [], ROOFLINE, {**FACTS, "other_load": 0.4})
    assert text.endswith(
        "Other programs took 40% of the cores meanwhile: run again on a quiet machine"
    )


@pytest.mark.parametrize("peers", [[], ["numpy"], ["numpy", "torch"]])
def test_plot(tmp_path, peers):
    pytest.importorskip("matplotlib")
    path = tmp_path / "figures.png"
    plot.write_plot(path, report.bars(some_results(), peers, 200.0), peers, "Share", FACTS)
    image = __import__("matplotlib.image").image.imread(path)
    assert image.shape[1] == 11 * 120 and image.min() < 0.5 and image.max() == 1.0


# ---- the probes ----

BUILDS = native.supported()


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_fma_probe_counts_and_proves_its_work(isa, dtype, threads):
    build = native.load_build(isa)
    kernels, flops = build.kernels[np.dtype(dtype)], build.ffi.new("double*")
    counts = []
    for iterations in (0, 1, 2, 7, 1000):
        assert kernels.roofline_fma(iterations, flops, threads) == native.OK
        counts.append(flops[0])
    assert counts[0] == 0 and counts[1] >= 2 * 12 * threads
    assert counts[2:] == [2 * counts[1], 7 * counts[1], 1000 * counts[1]]
    for iterations, bad_threads in ((-1, 1), (1, 0), (2**62, 1)):
        assert kernels.roofline_fma(iterations, flops, bad_threads) == native.EINVAL
    assert flops[0] == counts[-1]


@pytest.mark.parametrize("isa", BUILDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("streaming", [0, 1])
def test_copy_probe_copies_every_element_and_no_other(isa, dtype, streaming):
    build = native.load_build(isa)
    kernels = build.kernels[np.dtype(dtype)]
    ctype = "float[]" if dtype is np.float32 else "double[]"
    source = np.random.default_rng(0).normal(size=300_100).astype(dtype)
    for n in (0, 1, 7, 8, 15, 16, 17, 53, 300_000):
        for shift in (0, 1, 3, 8):
            copy = np.full(n + 40, np.nan, dtype)
            status = kernels.roofline_copy(
                n,
                build.ffi.from_buffer(ctype, source[shift:]),
                build.ffi.from_buffer(ctype, copy[16 - shift :]),
                streaming,
                3,
            )
            assert status == native.OK
            begin, end = 16 - shift, 16 - shift + n
            np.testing.assert_array_equal(copy[begin:end], source[shift : shift + n])
            assert np.isnan(copy[:begin]).all() and np.isnan(copy[end:]).all()
    assert kernels.roofline_copy(-1, build.ffi.NULL, build.ffi.NULL, 0, 1) == native.EINVAL


def test_the_higher_ceiling_stays():
    roofline = Roofline({"float32": {1: 5.0}}, {1: 3.0})
    roofline.raise_to(Roofline({"float32": {1: 4.0, 2: 9.0}, "float64": {1: 2.0}}, {1: 7.0}))
    assert roofline.fma == {"float32": {1: 5.0, 2: 9.0}, "float64": {1: 2.0}}
    assert roofline.copy == {1: 7.0} and last_level_cache() >= 0
    roofline.raise_to(Roofline(region={2: 3e-6}))
    assert roofline.region == {2: 3e-6} and roofline.as_dict()["region_us"] == {"2": 3.0}
    assert "a parallel region of 2 threads costs 3.0 us" in report.heading(
        FACTS, replace(ROOFLINE, region={2: 3e-6})
    )
    assert 0 <= region_cost(2, rounds=5) < 10


# ---- the command ----


def parse(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args(words)


def test_command_writes_json_and_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    before = nn.get_num_threads()
    files = tmp_path / "a.json", tmp_path / "a.png"
    words = ["rl", "one", "--seconds", "0.001", "--json", str(files[0]), "--plot", str(files[1])]
    assert cli.run(parse(*words, "--threads", "1")) == 0
    assert nn.get_num_threads() == before
    text, error = capsys.readouterr()
    assert error == "" and "  rl " in text and "  one " in text
    content = json.loads(files[0].read_text())
    assert [r["workload"] for r in content["results"]] == ["rl", "rl", "one"][
        -len(content["results"]) :
    ]
    for result in content["results"]:
        own, numpy = result["contenders"]["nnlite"], result["contenders"]["numpy"]
        assert result["ratio"]["numpy"] == pytest.approx(numpy["median_us"] / own["median_us"])
    assert content["machine"]["threads"] == 1
    assert content["machine"]["versions"]["numpy"] == np.__version__
    assert content["roofline"]["fma_gflops"]["float32"].keys() == {"1"}
    assert files[1].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch"], "unknown workload 'nosuch'; expected one of: spiral, digits, rl, mnist, wide"),
        (["--peers", "numpy,caffe"], "unknown peer 'caffe'; expected one of: numpy, torch,"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--seconds", "0"], "--seconds must be positive, got 0"),
        (["--seconds", "nan"], "--seconds must be positive, got nan"),
        (["--json", "no/such/folder/a.json"], "not a file in an existing folder"),
        (["--plot", "a.jpeg"], "expected a name in .png, .svg or .pdf"),
    ],
)
def test_bad_arguments(words, message, capsys):
    if "--plot" in words:
        pytest.importorskip("matplotlib")
    assert cli.run(parse(*words)) == 2
    text, error = capsys.readouterr()
    assert text == "" and error.startswith("bench: ") and message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_facts_and_a_run_without_peers():
    told = facts.machine_facts(1, [])
    assert told["isa"] == native.ISA and told["versions"]["nnlite"] == nn.__version__
    workload = workloads.Workload("one", 1, (64, 64, 10))
    result = run_workload(workload, [], seconds=0.001)
    assert list(result.measurements) == ["nnlite"] and result.ratio("numpy") is None


def test_other_load_leaves_our_own_out(monkeypatch):
    """200 s of two cores: 150 busy, 110 of them ours, so others took a fifth."""
    times = iter([(1000.0, 500.0, 30.0), (1200.0, 650.0, 140.0), None])
    monkeypatch.setattr(facts.OtherLoad, "_times", staticmethod(lambda: next(times)))
    load = facts.OtherLoad()
    assert load.share() == pytest.approx(0.2)
    assert load.share() is None


def test_inference_is_also_measured_frozen():
    """model.freeze() has a row of its own below that of model.predict."""
    one = next(w for w in workloads.all_workloads() if w.name == "one")
    result = run_workload(one, [], threads=1, seconds=0.01)
    assert set(result.measurements) == {"nnlite"} and result.frozen.median > 0
    us = 1e-6
    made = {"nnlite": 10 * us, "numpy": 20 * us, "torch": 40 * us}
    result = Result(one, {k: timing.Measurement(1, [v]) for k, v in made.items()})
    result.frozen = timing.Measurement(1, [5 * us])
    text = report.report([result], ["numpy", "torch"], ROOFLINE, FACTS)
    rows = [line.split() for line in text.splitlines()]
    assert ["frozen", "1", "64-64-10", "5.00", "1.89", "0.9%", "20.0", "4.00x"] in rows
    assert ["frozen", "40.0", "8.00x"] in rows and ["one", "40.0", "4.00x"] in rows
    digits = next(w for w in workloads.all_workloads() if w.name == "digits")
    assert run_workload(digits, [], threads=1, seconds=0.01).frozen is None
    content = report.as_dict([result], ROOFLINE, FACTS)
    assert content["results"][0]["frozen"]["median_us"] == pytest.approx(5)
