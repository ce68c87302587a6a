"""The code blocks of the README and of docs/ run, and print what they promise.

The blocks of a page are one program, in order; ```bash blocks are run by bash where they are. A
comment behind print( says what is printed, with ... for anything. Indented lines that begin with
nnlite are commands: their words are read by the command's own parser, and not run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nnlite.cli import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
PROMISE = re.compile(r"^\s*print\(.*\) +# (.+)$", re.MULTILINE)
SHELL = "\nimport subprocess\nsubprocess.run(['bash', '-ec', {!r}], check=True)\n"


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of the code blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def program(page: Path) -> str:
    """The code blocks as one program; the README's two set-up commands are run by .ci/run."""
    parts = []
    for language, text in blocks(page):
        assert language in ("python", "bash"), f"{page.name}: a block of {language} is not run"
        if "python3 -m venv" not in text:
            parts.append(text if language == "python" else SHELL.format(text))
    return "\n".join(parts)


def pattern(promise: str) -> str:
    return ".*".join(re.escape(part) for part in promise.strip().split("..."))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.name)
def test_code_blocks_run_and_print_what_they_promise(page, tmp_path):
    code = program(page)
    file = tmp_path / "page.py"
    file.write_text(code, encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    run = subprocess.run(
        [sys.executable, "-W", "error", str(file)], capture_output=True, text=True, cwd=tmp_path,
        timeout=120, env={**os.environ, "PATH": path},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = iter(run.stdout.splitlines())
    for promise in PROMISE.findall(code):
        assert any(re.fullmatch(pattern(promise), line) for line in lines), (promise, run.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_ones_that_the_parser_takes(page):
    for line in re.findall(r"^    nnlite (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        name, *words = shlex.split(line.split("   ")[0])
        parser = argparse.ArgumentParser()
        importlib.import_module(main.COMMANDS[name][0]).add_arguments(parser)
        parser.parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_install_commands_are_the_two_that_everything_else_relies_on():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    first, second = re.search(r"## Install.*?```bash\n(.*?)\n(.*?)\n```", text, re.S).groups()
    assert first == "python3 -m venv .venv && . .venv/bin/activate && pip install . && nnlite demo"
    assert second == "pip install -e '.[test]' && pytest"
