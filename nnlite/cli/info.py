"""nnlite info: what this installation is and what it runs on."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> None:
    import nnlite as nn

    nn.show_config()
