"""The README's Python blocks run, in order, as one program, and print what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_code_blocks_run_and_say_what_they_promise(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    program = tmp_path / "readme.py"
    program.write_text("\n".join(blocks), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    accuracy = float(re.search(r"'accuracy': ([0-9.]+)", lines[0])[1])
    assert 0.97 <= accuracy <= 1
    assert "(64, 64)" in lines
    assert lines.count("True") == 3
    assert "d_w = c1.T @ d_matmul1" in lines and "[-0.51 -1.4   1.84]" in lines
    assert lines[-1] == "linear: x has 5 features (shape (8, 5)), expected 64"


def test_install_commands_are_the_two_that_everything_else_relies_on():
    text = README.read_text(encoding="utf-8")
    first, second = re.search(r"```bash\n(.*?)\n(.*?)\n```", text).groups()
    assert first == "python3 -m venv .venv && . .venv/bin/activate && pip install . && nnlite demo"
    assert second == "pip install -e '.[test]' && pytest"
