"""Autotuned choices: no way changes a bit, and the tuner chooses as it says (on a clock of its
own), within what it may lose."""

from __future__ import annotations

import shutil
import subprocess
import threading
from itertools import product as pairs
from pathlib import Path

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F32, THREADS, run_python, same_bytes
from marks import slow
from test_gemm import ACTIVATIONS, LARGE, SHAPES, gemm, operands

import nnlite as nn
from nnlite._core import autotune, native

CSRC = Path(__file__).parents[2] / "csrc"
FORCED = [{name: way} for name, ways in autotune.WAYS.items() for way in range(len(ways))]
PACKED = [{"pack_a": a, "pack_b": b, "prefetch": f} for a, b, f in pairs((0, 1), (0, 1), (0, 1))]
TRANSPOSED = [{"transpose": t, "pack_a": p, "pack_b": p, "kc": 2} for t, p in pairs((0, 1), (0, 1))]
WAYS = FORCED + PACKED + TRANSPOSED


def named(ways):
    return ",".join(f"{name}={way}" for name, way in ways.items())


@pytest.fixture(autouse=True)
def as_before():
    yield
    native.set_autotune()


@pytest.mark.parametrize("ways", WAYS, ids=named)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_way_changes_a_bit_at_any_edge(dtype, ways, rng):
    for m, n, k in SHAPES:
        a, b, bias, stored = operands(rng, dtype, m, n, k)
        for begin in ({}, {"bias": bias}, {"stored": stored}):
            native.set_autotune(False)
            expected = gemm("portable", a, b, **begin)
            native.set_autotune(True, **ways)
            for isa in BUILDS:
                for layouts in pairs(("rows", "columns"), ("rows", "columns", "sparse")):
                    how = {"layouts": layouts, "pad": 3, "offset": 1, "threads": 2}
                    same_bytes(gemm(isa, a, b, **begin, **how), expected, f"{isa} {m} {n} {k}")


@pytest.mark.parametrize("ways", WAYS, ids=named)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.slow
def test_no_way_changes_a_bit_across_blocks(dtype, ways, rng):
    for m, n, k in LARGE:
        a, b, bias, _ = operands(rng, dtype, m, n, k)
        native.set_autotune(False)
        expected = gemm(BUILDS[0], a, b, bias=bias, activation=native.TANH)
        native.set_autotune(True, **ways)
        for layouts, threads in pairs((("rows", "rows"), ("columns", "columns")), (1, 4)):
            how = {"layouts": layouts, "pad": 5, "threads": threads, "activation": native.TANH}
            same_bytes(gemm(BUILDS[0], a, b, bias=bias, **how), expected, f"{m} {n} {k} {how}")


@pytest.mark.parametrize("ways", WAYS, ids=named)
def test_no_way_changes_epilogues_sums_and_packed_weights(ways, rng):
    """Backward of a layer: dx through an activation, dW with db from one pass; a frozen weight."""
    shape = (37, 45, 29)
    N, D, K = shape
    x, w, b, dy = (rng.normal(size=s).astype(F32) for s in ((N, D), (D, K), (K,), (N, K)))

    def results(isa):
        kernels = native.load_build(isa).kernels[F32]
        dx, dw, db = np.empty((N, D), F32), np.ones((D, K), F32), np.ones(K, F32)
        at = native.pointer
        found = []
        for activation in ACTIVATIONS:
            output = native.NULL if activation == native.IDENTITY else at(x)
            kernels.Linear_updateGradInput(
                N, D, K, at(dy), at(dx), at(w), output, activation, 3
            )  # fmt: skip
            found.append(dx.copy())
        kernels.Linear_accGradParameters(N, D, K, at(x), at(dy), at(dw), at(db), 1.0, 3)
        return [*found, dw, db, gemm(isa, x, w, bias=b, packed=True, threads=3)]

    native.set_autotune(False)
    expected = results("portable")
    native.set_autotune(True, **ways)
    for isa in BUILDS:
        for got, right in zip(results(isa), expected, strict=True):
            same_bytes(got, right, isa)


STEPS = """
import hashlib, numpy as np, nnlite as nn
digest = hashlib.sha256()
for dtype, widths, batch in ((np.float32, (200, 300, 150, 10), 96), (np.float64, (90, 170, 5), 64),
                             (np.float32, (64, 64, 10), 200)):
    nn.manual_seed(0)
    layers = []
    for d, k in zip(widths, widths[1:]):
        layers += [nn.Linear(d, k, dtype=dtype), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    random = np.random.default_rng(0)
    x = random.normal(size=(batch, widths[0])).astype(dtype)
    y = random.integers(widths[-1], size=batch)
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters(), lr=1e-3))
    for step in range(40):
        trainer.train_step(x, y)
    for p in model.parameters():
        digest.update(p.data.tobytes())
    digest.update(model.predict(x).tobytes() + model.freeze().predict(x).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("threads", [1, *slow(2, 3)])
def test_one_hash_on_off_and_with_every_way_forced(threads):
    program = f"import nnlite as nn; nn.set_num_threads({threads})\n{STEPS}"
    settings = ["0", "1", "pack_a=1,pack_b=1,kc=0,prefetch=0", *map(named, FORCED)]
    if threads != 2:
        settings = settings[:3]
    found = {text: run_python(program, NNLITE_AUTOTUNE=text) for text in settings}
    assert all(run.returncode == 0 for run in found.values()), found
    assert len({run.stdout for run in found.values()}) == 1, found


CHOICES = """
import numpy as np, nnlite as nn
from nnlite._core import native
nn.set_num_threads(1)
a = np.ones(({m}, {k}), np.float32); b = np.ones(({k}, {n}), np.float32)
for call in range(3000):
    nn.functional.matmul(a, b)
    if call == 0: first = native.tuned()
print(len(first), len(native.tuned()), all(c.decided for c in native.tuned()),
      sorted({{c.threads for c in native.tuned()}}))
"""


def test_small_products_and_the_rules_try_nothing():
    run = run_python(CHOICES.format(m=20, k=64, n=64))
    assert run.stdout == "0 0 True []\n", run
    run = run_python(CHOICES.format(m=130, k=130, n=130), NNLITE_AUTOTUNE="0")
    assert run.stdout == "0 0 True []\n", run


def test_choices_are_made_on_the_calls_themselves():
    run = run_python(CHOICES.format(m=130, k=130, n=130))
    first, all_of_them, _, threads = run.stdout.split()
    assert int(first) == 1 and int(all_of_them) >= 2 and threads == "[1]", run


def test_classes_beyond_the_table_take_the_rules(rng):
    """As many classes as sizes, layouts and threads make; the bits stay."""
    a, b = rng.normal(size=(1100, 160)).astype(F32), rng.normal(size=(160, 1100)).astype(F32)
    native.set_autotune(False)
    whole = gemm(BUILDS[0], a, b)
    native.set_autotune(True)
    for threads in (*THREADS, 4, 5, 6, 8, 9, 10):
        for m, n in ((70, 1100), (300, 300), (600, 300), (1100, 130), (130, 1100)):
            for layouts in pairs(("rows", "columns"), ("rows", "columns")):
                for _ in range(4):
                    got = gemm(BUILDS[0], a[:m], b[:, :n], layouts=layouts, threads=threads)
                    same_bytes(got, np.ascontiguousarray(whole[:m, :n]))


def test_threads_that_tune_at_once(rng):
    a, b = rng.normal(size=(150, 140)).astype(F32), rng.normal(size=(140, 160)).astype(F32)
    expected, wrong = nn.functional.matmul(a, b), []

    def work():
        for _ in range(200):
            if nn.functional.matmul(a, b).tobytes() != expected.tobytes():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- the tuner itself, on a clock that the test moves ----

CLOCK = r"""
#include <stdio.h>
#include <stdlib.h>
#include "core/autotune.h"
static double now;
double nnl_seconds(void) { return now; }
/* argv: rule, ways, seconds of each way, calls, whether complete; prints the way of each call. */
int main(int argc, char **argv) {
    int rule = atoi(argv[1]), ways = atoi(argv[2]), calls = atoi(argv[6]), complete = atoi(argv[7]);
    int choice = argc > 8 ? atoi(argv[8]) : NNL_CHOICE_KC;
    double seconds[3] = {atof(argv[3]), atof(argv[4]), atof(argv[5])}, lost = 0;
    for (int i = 0; i < calls; i++) {
        nnl_tuning t = {.shape = nnl_tune_shape(100, 100, 100, 0, 1), .work = 1e4};
        int way = nnl_tune(&t, (enum nnl_choice)choice, ways, rule, true);
        now += seconds[way];
        lost += seconds[way] - seconds[rule];
        nnl_tune_end(&t, complete);
        printf("%d", way);
    }
    nnl_tuned_choice tuned;
    int index = 0;
    do { nnl_tuned(index++, &tuned); } while (!tuned.ways);
    printf(" %d %.6f\n", tuned.decision, lost);
    return 0;
}
"""


@pytest.fixture(scope="module")
def tuner(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("tuner")
    (folder / "clock.c").write_text(CLOCK)
    words = [compiler, "-std=c11", "-O1", f"-I{CSRC}", str(folder / "clock.c"),
             str(CSRC / "core" / "autotune.c"), "-o", str(folder / "clock")]  # fmt: skip
    subprocess.run(words, check=True)

    def run(rule, seconds, calls, complete=1, choice=4):
        three = [str(x) for x in (*seconds, 0, 0)][:3]
        words = [folder / "clock", rule, len(seconds), *three, calls, complete, choice]
        text = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
        ways, made, lost = text.stdout.split()
        return ways, int(made), float(lost)

    return run


def test_each_way_is_tried_three_times_and_the_quickest_stays(tuner):
    assert tuner(1, (48e-6, 40e-6, 45e-6), 13)[:2] == ("1201201201111", 1)
    assert tuner(1, (35e-6, 34e-6, 30e-6), 13)[:2] == ("1201201202222", 4)
    assert tuner(0, (30e-6, 20e-6), 9)[:2] == ("010101111", 3)


def test_a_gain_of_two_percent_leaves_the_choice_to_the_rule(tuner):
    assert tuner(0, (100e-6, 98e-6), 8)[:2] == ("01010100", 1)
    assert tuner(0, (100e-6, 96e-6), 8)[:2] == ("01010111", 3)


def test_a_hopeless_way_is_tried_once(tuner):
    assert tuner(0, (40e-6, 90e-6, 44e-6), 9)[:2] == ("012020200", 1)


def test_calls_that_did_not_end_tell_nothing(tuner):
    ways, made, _ = tuner(0, (40e-6, 20e-6), 8, complete=0)
    assert made == 0 and set(ways) == {"0"}


def test_what_trials_may_lose_is_bounded(tuner):
    """Two slow ways: a second of calls costs at most 4 ms, its 64th part, and the last trial."""
    for rule in (20e-6, 1e-3, 10e-3, 0.1):
        ways, _, lost = tuner(0, (rule, 1.2 * rule, 1.24 * rule), int(1 / rule))
        assert 0 <= lost <= 4e-3 + 1 / 64 + 0.25 * rule
        assert "1" in ways or rule == 0.1
    assert "1" in tuner(0, (0.1, 0.05), 60)[0]  # in time a long computation is tried too


def test_the_worth_of_threads_is_tried_again(tuner):
    ways, made, _ = tuner(0, (40e-6, 20e-6), 6 + 4095 + 6 + 3, choice=1)
    assert ways == "010101" + "1" * 4095 + "010101" + "111" and made == 3
    assert set(tuner(0, (40e-6, 20e-6), 9000)[0][6:]) == {"1"}


# ---- its settings ----


@pytest.mark.parametrize("text, message", [
    ("2", "expected 0 .fixed rules., 1 .try., or ways to force such as pack_a=1"),
    ("pack_a", "expected 0"), ("pack_a=x", "expected 0"), ("speed=1", "'speed': expected one of"),
    ("kc=3", "kc: expected a way below 3, got 3"),
])  # fmt: skip
def test_a_setting_that_means_nothing_is_told(text, message):
    with pytest.raises(ImportError, match=message):
        autotune.parsed(text)


def test_settings_in_words():
    assert autotune.parsed("") == autotune.parsed("1") == (True, {})
    assert autotune.parsed("0") == (False, {})
    assert autotune.parsed("pack_a=1, kc=2") == (True, {"pack_a": 1, "kc": 2})
    run = run_python("import nnlite", NNLITE_AUTOTUNE="fast")
    assert run.returncode == 1 and "NNLITE_AUTOTUNE='fast'" in run.stderr


def test_choices_have_the_numbers_of_the_header():
    for number, name in enumerate(autotune.CHOICES):
        assert getattr(native, f"CHOICE_{name.upper()}") == number
    assert len(autotune.CHOICES) == native.CHOICES
    assert max(map(len, autotune.WAYS.values())) <= native.TUNE_WAYS
    assert native.common.force_choice(native.CHOICES, 0) == native.EINVAL
    assert native.common.force_choice(0, 3) == native.common.force_choice(0, -2) == native.EINVAL


def test_info_prints_what_was_chosen():
    program = "import sys; sys.argv = ['nnlite', 'info', '--tuned']\n"
    program += "from nnlite.cli.main import main; main()"
    run = run_python(program)
    assert run.returncode == 0 and "autotuned choices" in run.stdout, run
    assert "threads 2" in run.stdout or "threads 1" in run.stdout
    run = run_python(program, NNLITE_AUTOTUNE="0")
    assert run.stdout.endswith("nothing was chosen yet\n"), run


def test_report():
    found = [
        autotune.Choice("pack_a", "m 64..", 2, True, 1, (1.5, 1.0)),
        autotune.Choice("kc", "m 64..", 2, True, None, (1.0, 1.25, None)),
        autotune.Choice("prefetch", "m 64..", 1, False, None, (None, None)),
    ]
    assert autotune.report(found).splitlines() == [
        "kc: the rule's (short 1.00, medium 1.25): m 64.., threads 2",
        "pack_a: packed (unpacked 1.50, packed 1.00): m 64.., threads 2",
        "prefetch: trying (no trial yet): m 64.., threads 1",
    ]
