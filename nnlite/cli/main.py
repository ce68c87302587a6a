"""The console script: nnlite demo | train | predict | bench | info.

Every command is a module with two functions, imported only when the command is used:

    add_arguments(parser)   declares the command's options on an argparse.ArgumentParser
    run(args)               does the work; returns the exit code, None for 0
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

# name: (module, one line of help)
COMMANDS = {
    "demo": ("nnlite.cli.demo", "train on the digits that ship with nnlite, and race NumPy"),
    "train": ("nnlite.cli.train", "train a network on a table: .csv, .npz or .npy"),
    "predict": ("nnlite.cli.predict", "apply a trained network to a table"),
    "bench": ("nnlite.bench.cli", "measure speed against NumPy and other libraries"),
    "info": ("nnlite.cli.info", "show version, build, processor and threads"),
}

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *unused: object) -> NoReturn:
        from nnlite import __version__

        print(f"nnlite {__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code.

    Args:
        argv: the words after the program's name; default sys.argv[1:].

    Returns:
        0; 1 when a command failed at its work; 2 for an error, told in one line on stderr (or,
        with NNLITE_TRACEBACK=1 in the environment, raised, to see where it comes from); 130 after
        Ctrl-C; 141 when the reader of the output went away.
    """
    try:
        name, words = _choose(argv)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            code = _run(name, words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if os.environ.get("NNLITE_TRACEBACK"):
            raise
        print(f"nnlite: {_in_one_line(error)}", file=sys.stderr)
        _discard_stdout()
        return USAGE_ERROR


def _in_one_line(error: Exception) -> str:
    """What is wrong: the file and the system's words, or the message."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        text = " ".join(str(error.strerror).split())
        if error.filename is not None:
            text = f"{' '.join(os.fsdecode(error.filename).split())}: {text}"
    if isinstance(error, MemoryError):
        text = f"the memory does not suffice{': ' * bool(text)}{text}"
    elif not isinstance(error, (OSError, ValueError, ImportError, ArithmeticError)):
        text = f"{type(error).__name__}: {text} (NNLITE_TRACEBACK=1 shows where)"
    return text or type(error).__name__


def _show_warning(message: Warning | str, *unused: object) -> None:
    """A warning as one line, without the source code that gave it."""
    print(f"nnlite: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _choose(argv: Sequence[str] | None) -> tuple[str, list[str]]:
    """The command's name and the words that belong to it."""
    width = max(map(len, COMMANDS))
    parser = _Parser(
        prog="nnlite",
        description="Small neural networks on the CPU: fast, and the same bits everywhere.",
        epilog="commands:\n"
        + "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items())
        + "\n\nnnlite COMMAND --help shows a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="its options")
    args = parser.parse_args(argv)
    return args.command, args.words


def _run(name: str, words: Sequence[str]) -> int:
    """Imports the command's module, reads its options and runs it."""
    module_name, text = COMMANDS[name]
    module = importlib.import_module(module_name)
    parser = _Parser(prog=f"nnlite {name}", description=f"{text[0].upper()}{text[1:]}.")
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(words)) or 0)


def _discard_stdout() -> None:
    """Lets the interpreter's last flush go nowhere, so that it cannot fail a second time."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


if __name__ == "__main__":
    sys.exit(main())
