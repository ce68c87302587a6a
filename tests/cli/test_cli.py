"""The console script, run as a user runs it: in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest

import nnlite as nn
from nnlite.cli import main as cli

SCRIPT = shutil.which("nnlite", path=sysconfig.get_path("scripts")) or shutil.which("nnlite")


def nnlite(*words: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess:
    assert SCRIPT, "the console script nnlite is not installed"
    environment = {**os.environ, **variables}
    return subprocess.run(
        [SCRIPT, *words], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )


# ---- demo ----


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path]:
    folder = tmp_path_factory.mktemp("demo")
    return nnlite("demo", cwd=folder, HOME=str(folder), TMPDIR=str(folder)), folder


def test_demo_reaches_its_accuracy(demo):
    run, _ = demo
    assert run.returncode == 0, run.stderr
    assert "1348 to train, 449 to test" in run.stdout
    ours = re.search(r"^nnlite +(0\.\d{4}) +(\d+\.\d) ms$", run.stdout, re.M)
    theirs = re.search(r"^NumPy +(0\.\d{4}) +(\d+\.\d) ms$", run.stdout, re.M)
    assert float(ours[1]) >= 0.97 and float(theirs[1]) >= 0.97
    ratio = float(re.search(r"^nnlite is (\d+\.\d\d) times as fast as NumPy", run.stdout, re.M)[1])
    assert ratio == pytest.approx(float(theirs[2]) / float(ours[2]), rel=0.02)


def test_demo_gives_one_hash(demo):
    run, _ = demo
    line = run.stdout.splitlines()[-1]
    assert re.fullmatch(
        r"1 thread and \d+ threads gave the same weights: SHA-256 [0-9a-f]{16}\.\.\.", line
    )
    from nnlite.cli import demo as module

    X, y = nn.data.load_digits()
    X_train, _, y_train, _ = nn.data.train_test_split(X / 16, y)
    trainer = module.make_trainer()
    trainer.fit(X_train, y_train, module.EPOCHS, module.BATCH_SIZE, verbose=0)
    assert f"SHA-256 {module.weight_hash(trainer.model)[:16]}..." in line


def test_demo_shows_progress_and_leaves_nothing(demo):
    run, folder = demo
    assert "100%" in run.stderr and "Traceback" not in run.stderr
    assert list(folder.rglob("*")) == []


def test_demo_trains_both_networks_on_the_same_steps():
    """After a few batches of the same order, nnlite and NumPy differ by rounding alone."""
    from nnlite.cli import demo as module

    rng = np.random.default_rng(0)
    X, y = rng.random((80, 64), dtype=np.float32), rng.integers(0, 10, 80)
    trainer, peer = module.make_trainer(), module.make_baseline()
    trainer.fit(X, y, 2, module.BATCH_SIZE, verbose=0)
    peer.fit(X, y, 2, module.BATCH_SIZE, lambda epoch: nn.data.permutation(80, module.SEED, epoch))
    ours = np.concatenate([p.data.ravel() for p in trainer.model.parameters()])
    assert np.abs(ours - peer.flat).max() < 2e-6


# ---- info, version, help ----


def test_info():
    run = nnlite("info")
    assert run.returncode == 0 and run.stderr == ""
    for part in (nn.__version__, np.__version__, "OpenMP", "threads"):
        assert part.lower() in run.stdout.lower()
    assert nn._core.native.ISA in run.stdout


def test_version():
    run = nnlite("--version")
    assert (run.returncode, run.stdout, run.stderr) == (0, f"nnlite {nn.__version__}\n", "")
    module = [sys.executable, "-m", "nnlite", "--version"]
    assert subprocess.run(module, capture_output=True, text=True).stdout == run.stdout


def test_help_lists_the_commands():
    run = nnlite("--help")
    assert run.returncode == 0
    for name, (_, text) in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(text)}$", run.stdout, re.M)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_help(name):
    run = nnlite(name, "--help")
    assert run.returncode == 0 and f"usage: nnlite {name}" in run.stdout


def test_version_imports_no_command():
    code = (
        "import sys; from nnlite.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "heavy = ('nnlite.cli.demo', 'nnlite.bench', 'tqdm')\n"
        "print([m for m in sys.modules if m.startswith(heavy)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


# ---- errors ----


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], "nnlite: the following arguments are required: COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["--fast"], "nnlite: "),
        (["demo", "--fast"], "nnlite demo: unrecognized arguments: --fast"),
        (["demo", "--epochs", "many"], "--epochs: expected a whole number from 1, got 'many'"),
        (["demo", "--epochs", "-1"], "--epochs"),
        (["demo", "--epochs", "0"], "--epochs: expected a whole number from 1, got '0'"),
        (["bench", "spirral"], "spirral"),
        (["bench", "--peers", "tourch"], "tourch"),
        (["info", "more"], "nnlite info: unrecognized arguments: more"),
    ],
)
def test_bad_command_line(words, expected):
    run = nnlite(*words)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1 and expected in run.stderr


def test_error_of_a_command_is_one_line(monkeypatch, capsys):
    def fail(args):
        raise FileNotFoundError(2, "No such file or directory", "weights\nfile")

    monkeypatch.setattr("nnlite.cli.info.run", fail)
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", [[SCRIPT], [sys.executable, "-m", "nnlite"]], ids=str)
def test_a_build_that_is_not_here_is_one_line(command):
    assert None not in command, "the console script nnlite is not installed"
    environment = {**os.environ, "NNLITE_ISA": "sse9"}
    run = subprocess.run(
        [*command, "info"], capture_output=True, text=True, env=environment, timeout=120
    )
    assert run.returncode == 2 and run.stdout == ""
    assert re.fullmatch(r"nnlite: NNLITE_ISA='sse9': expected one of .* get the best\n", run.stderr)


def test_ctrl_c_is_quiet(tmp_path):
    words = [SCRIPT, "demo", "--epochs", "1000000"]
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.PIPE, text=True)
        while b"epochs" not in output.read_bytes():  # it runs, and is about to train
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors and "KeyboardInterrupt" not in errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        run = subprocess.run([SCRIPT, "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1 and "No space left" in run.stderr


def test_closed_pipe_is_quiet():
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run([SCRIPT, "info"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert run.returncode == 141 and run.stderr == ""
