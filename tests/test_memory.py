"""Training needs little more memory than what it has to hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).with_name("tools") / "memory.py"
STATUS = Path("/proc/self/status")


@pytest.mark.skipif(
    not STATUS.exists()
    or "VmHWM" not in STATUS.read_text()
    or "LD_PRELOAD" in os.environ
    or not os.access("/proc/self/clear_refs", os.W_OK),
    reason="the system does not say what a process held at most, or a sanitizer holds more",
)
def test_peak_of_training_mnist_is_what_it_holds_and_a_fifth():
    run = subprocess.run(
        [sys.executable, str(TOOL), "--steps", "10"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    ratios = [float(found) for found in re.findall(r"ratio ([0-9.]+)", run.stdout)]
    assert len(ratios) == 4
    assert all(0.9 < ratio <= 1.2 for ratio in ratios), run.stdout
