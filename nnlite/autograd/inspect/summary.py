"""The program of a run as a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..node import Leaf, Node
from ..tensor import Tensor
from .blocks import Block
from .walk import Graph, Printed


def summary(loss: Any, names: Any = None) -> Printed:
    """Prints and returns the calls that led to a tensor, one line each, grouped by blocks.

    A line has the call's name, its inputs, the shape of its output, the number of parameters
    (elements of leaves) that it uses, and the bytes that it keeps for backward. A parameter counts
    where it is used first, and a kept array where it is kept first: the sums are those of the run.
    Leaves are not counted as kept, they are there anyway.

    Args:
        loss: a computed tensor, before backward (or after `backward(retain_graph=True)`).
        names: a module or a dict {name: tensor} with names for the leaves.

    Raises:
        RuntimeError: nothing was recorded, or the graph was freed.
    """
    graph = Graph("summary", loss, names)
    rows, seen, counted = [], set[int](), set[Any]()
    open_blocks: tuple[Block, ...] = ()
    totals = [0, 0]
    for node in graph.nodes:
        path = node.block.path() if node.block is not None else ()
        shared = 0
        while shared < min(len(path), len(open_blocks)) and path[shared] is open_blocks[shared]:
            shared += 1
        rows += [("  " * i + path[i].name, "", "", "", "") for i in range(shared, len(path))]
        open_blocks = path
        new = [p for p in dict.fromkeys(node.parents) if isinstance(p, Leaf) and p not in counted]
        counted.update(new)
        parameters, kept = sum(math.prod(p.shape) for p in new), kept_bytes(node, seen)
        totals = [totals[0] + parameters, totals[1] + kept]
        name, own = "  " * len(path) + node.op.name, graph.names[node]
        inputs = ", ".join(_input(graph, x) for x in graph.inputs(node))
        output = f"{own} {_shape(node.shape)}"
        rows.append((name, inputs, output, _number(parameters), _number(kept)))
    head = ("call", "inputs", "output", "parameters", "bytes kept")
    counts = f"{len(graph.nodes)} calls"
    rows = [head, *rows, (counts, "", "", f"{totals[0]:,}", f"{totals[1]:,}")]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        "  ".join(
            [text.ljust(w) for text, w in zip(row[:3], widths[:3], strict=True)]
            + [text.rjust(w) for text, w in zip(row[3:], widths[3:], strict=True)]
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    text = Printed("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]))
    print(text)
    return text


def _number(count: int) -> str:
    return f"{count:,}" if count else ""


def _shape(shape: Any) -> str:
    if shape and isinstance(shape[0], tuple):
        return " ".join(_shape(s) for s in shape)
    return "x".join(map(str, shape)) if shape else "()"


def _input(graph: Graph, x: Any) -> str:
    if isinstance(x, (Node, Leaf)):
        return graph.names[x] + ("" if isinstance(x, Node) else f" {_shape(x.shape)}")
    if type(x) is Tensor:
        return f"constant {_shape(x.shape)}"
    return f"{x:g}" if isinstance(x, float) else str(x)


def kept_bytes(node: Node, seen: set[int]) -> int:
    """Bytes that a call keeps alive and that are not in `seen`, to which they are added."""
    arrays: list[np.ndarray] = []
    if node.op.keeps_inputs:
        for x in node.saved:
            if type(x) is Tensor and (x._edge is None or type(x._edge) is Node):
                arrays.append(x._data)
    if node.op.keeps_output:
        outs = node.out if type(node.out) is tuple else (node.out,)
        arrays += [x._data for x in outs]
    _collect(node.params, arrays)
    total = 0
    for array in arrays:
        while isinstance(array.base, np.ndarray):
            array = array.base
        if id(array) not in seen:
            seen.add(id(array))
            total += array.nbytes
    return total


def _collect(value: Any, arrays: list[np.ndarray]) -> None:
    """The arrays in the parameters of a call: masks, targets, gradients that a kernel made."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
    elif type(value) is Tensor:
        if value._edge is None or type(value._edge) is Node:
            arrays.append(value._data)
    elif isinstance(value, (tuple, list)):
        for part in value:
            _collect(part, arrays)
    elif hasattr(value, "_saved") and hasattr(value, "needs_input_grad"):  # a Function's context
        _collect(value._saved, arrays)
