"""The graph of a run as a picture in Graphviz's language, as the lecture draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..node import Leaf, Node
from ..tensor import Tensor
from .walk import Graph, Text, gradients, values

SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "neg": "*-1", "square": "x^2", "matmul": "@",
    "reciprocal": "1/x", "maximum": "max", "minimum": "min", "power": "x^p",
}  # fmt: skip
GREEN, RED = "#007f00", "#d00000"  # a value goes forward, a gradient back
FORMATS = (".svg", ".png")


def draw(loss: Any, path: Any = None, names: Any = None) -> Text:
    """The graph as DOT text, and as a picture where `path` says so.

    Circles are calls, boxes leaves, frames blocks. On the edges of single numbers stand the value
    (green) and the gradient that comes back along this edge (red); where a value is used several
    times the gradients add, and the box of a leaf has the sum. Other edges have their shapes.

    Args:
        loss: a computed tensor, before backward (or after `backward(retain_graph=True)`); the
            gradients are those of a tensor of one element, of others only the calls are drawn.
        path: None, or a file for the picture, .svg or .png (needs the program dot), or .dot.
        names: a module or a dict {name: tensor} with names for the leaves.

    Returns:
        The DOT text.

    Raises:
        ValueError: path has another ending.
        RuntimeError: nothing was recorded, or the graph was freed; the program dot is missing, or
            failed.
    """
    if path is not None and Path(path).suffix not in (*FORMATS, ".dot"):
        raise ValueError(f"draw: path: expected a name in .svg, .png or .dot, got {str(path)!r}")
    graph = Graph("draw", loss, names)
    text = Text(_Picture(graph).text())
    if path is not None:
        _write(text, Path(path))
    return text


class _Picture:
    """The lines of a picture."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values = values(graph)
        scalar = graph.output.size == 1
        self.total, self.parts = gradients("draw", graph) if scalar else ({}, {})
        self.names = graph.names
        self.lines: list[str] = []

    def text(self) -> str:
        graph = self.graph
        self.lines = ["digraph graph_of_a_run {", "  rankdir=LR;", '  node [fontname="Helvetica"];',
                      '  edge [fontname="Helvetica", fontsize=10];']  # fmt: skip
        for leaf in graph.leaves:
            label = self._label(leaf, self.total.get(leaf), name=self.names[leaf])
            self.lines.append(f"  {self.names[leaf]} [shape=box, label=<{label}>];")
        self._calls()
        for node in graph.nodes:
            for i, x in enumerate(graph.inputs(node)):
                self._edge(node, i, x)
        end = self._label(graph.root, self.total.get(graph.root))
        self.lines.append('  result [shape=plaintext, label=""];')
        self.lines.append(f"  {self.names[graph.root]} -> result [label=<{end}>];")
        return "\n".join([*self.lines, "}"]) + "\n"

    def _calls(self) -> None:
        """The calls, framed by their blocks."""
        tree: dict[Any, Any] = {}
        for node in self.graph.nodes:
            place = tree
            for block in node.block.path() if node.block is not None else ():
                place = place.setdefault(block, {})
            place[node] = None
        self._count = 0
        self._frame(tree, "  ")

    def _frame(self, tree: dict[Any, Any], indent: str) -> None:
        for item, inner in tree.items():
            if inner is None:
                sign = _escape(SIGNS.get(item.op.name, item.op.name))
                self.lines.append(f"{indent}{self.names[item]} [shape=circle, label=<{sign}>];")
                continue
            self._count += 1
            self.lines.append(f"{indent}subgraph cluster_{self._count} {{")
            self.lines.append(f'{indent}  label="{_quoted(item.name)}"; style=rounded;')
            self._frame(inner, indent + "  ")
            self.lines.append(f"{indent}}}")

    def _edge(self, node: Node, place: int, x: Any) -> None:
        target = self.names[node]
        if isinstance(x, (Node, Leaf)):
            label = self._label(x, self.parts.get((node, place)))
            self.lines.append(f"  {self.names[x]} -> {target} [label=<{label}>];")
            return
        source = f"constant_{target}_{place}"
        text = _short(x._data) if type(x) is Tensor else f"{x:g}"
        self.lines.append(f"  {source} [shape=plaintext, label=<{_escape(text)}>];")
        self.lines.append(f"  {source} -> {target};")

    def _label(self, edge: Any, grad: Any, name: str = "") -> str:
        value = self.values.get(edge)
        parts = [_escape(name)] if name else []
        if isinstance(value, tuple) or value is None or np.size(value) != 1:
            parts.append(_escape("x".join(map(str, edge.shape)) if edge.shape else "1"))
            return "<br/>".join(parts)
        parts.append(f'<font color="{GREEN}">{_format(value)}</font>')
        if grad is not None:
            parts.append(f'<font color="{RED}">{_format(grad)}</font>')
        return "<br/>".join(parts)


def _short(array: np.ndarray) -> str:
    return _format(array) if array.size == 1 else "x".join(map(str, array.shape))


def _format(value: Any) -> str:
    """A number with two decimals where that shows it, as in the lecture."""
    number = float(np.reshape(value, ()))
    small = number != 0 and not 0.01 <= abs(number) < 1e5
    return f"{number:.3g}" if small else f"{number:.2f}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _write(text: str, path: Path) -> None:
    if path.suffix == ".dot":
        path.write_text(text, encoding="utf-8")
        return
    import shutil  # here alone: they make importing nnlite slower
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise RuntimeError(
            f"draw: {path}: the program dot of Graphviz was not found; install the system's "
            "package graphviz (apt install graphviz, dnf install graphviz, brew install graphviz; "
            "pip's has no dot), or write a .dot file and draw it elsewhere"
        )
    command = [program, f"-T{path.suffix[1:]}", "-o", str(path)]
    run = subprocess.run(command, input=text.encode(), capture_output=True)
    if run.returncode:
        message = " ".join(run.stderr.decode(errors="replace").split())
        raise RuntimeError(f"draw: {path}: dot failed with code {run.returncode}: {message}")
