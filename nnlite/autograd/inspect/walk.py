"""Reading a graph: its calls in order, names for them, their values and gradients.

What `summary`, `draw` and `flat` have in common. Nothing here changes a graph.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engine import _was_changed, seed
from ..node import Leaf, Node
from ..operands import as_tensor
from ..tensor import Tensor


class Graph:
    """The calls that led to an output, oldest first.

    Args:
        operation: who asks, for messages.
        output: a computed Tensor whose graph was not freed.
        names: a module, or names with Tensors or Parameters; other leaves are x1, x2, ...

    Attributes:
        nodes: the calls in the order in which they were made.
        leaves: the leaves in the order of their first use.
        uses: for each node or leaf the (node, position) that it is an input of.

    Raises:
        TypeError: the output is no Tensor, or names are something else.
        RuntimeError: the output was not computed, or backward has freed the graph.
    """

    def __init__(self, operation: str, output: Any, names: Any = None) -> None:
        self.output = as_tensor(output)
        self.root = self.output._edge
        if type(self.root) is not Node:
            raise RuntimeError(
                f"{operation}: no graph led to this tensor; pass one that was computed from a "
                "tensor with requires_grad=True"
            )
        self.nodes = _ordered(operation, self.root)
        self.uses: dict[Any, list[tuple[Node, int]]] = {self.root: []}
        for node in self.nodes:
            for i, parent in enumerate(node.parents):
                if parent is not None:
                    self.uses.setdefault(parent, []).append((node, i))
        self.leaves = [edge for edge in self.uses if type(edge) is not Node]
        self.names = _names(self, _given_names(operation, names))
        self._constants: dict[int, str] = {}

    def inputs(self, node: Node) -> list[Any]:
        """The inputs of a call: a Node or Leaf each, or the constant (Tensor or number)."""
        return [node.saved[i] if p is None else p for i, p in enumerate(node.parents)]


def _ordered(operation: str, root: Node) -> list[Node]:
    seen: dict[Node, None] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        if node.parents is None:
            raise RuntimeError(
                f"{operation}: the graph of {node.op.name} was freed by backward; call {operation} "
                "before it, or backward(retain_graph=True)"
            )
        seen[node] = None
        stack.extend([p for p in node.parents if type(p) is Node])
    return sorted(seen, key=lambda node: node.time)


def _given_names(operation: str, names: Any) -> dict[Any, str]:
    """{leaf: name} from what the user gave."""
    if names is None:
        return {}
    if hasattr(names, "named_parameters"):
        names = dict(names.named_parameters())
    if not isinstance(names, Mapping):
        raise TypeError(
            f"{operation}: names: expected a module or a dict of names and tensors, got "
            f"{type(names).__name__}"
        )
    return {as_tensor(x)._edge: str(name) for name, x in names.items()}


def identifier(name: str) -> str:
    """The name as one that Python takes."""
    name = re.sub(r"\W", "_", name)
    if not name or name[0].isdigit():
        name = f"p{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in ("np", "inf", "nan") else name


def _names(graph: Graph, given: dict[Any, str]) -> dict[Any, str]:
    """A name of its own for every leaf and call; the output is "loss", or "output" when larger."""
    found: dict[Any, str] = {}
    taken: set[str] = set()
    count: dict[str, int] = {}

    def name(edge: Any, wish: str, number: bool) -> None:
        wish = identifier(wish)
        text = wish
        while text in taken or number:
            count[wish] = count.get(wish, 0) + 1
            text, number = f"{wish}{count[wish]}", False
        taken.add(text)
        found[edge] = text

    for leaf in graph.leaves:
        if leaf in given:
            name(leaf, given[leaf], False)
    name(graph.root, "loss" if graph.output.size == 1 else "output", False)
    for leaf in graph.leaves:
        if leaf not in found:
            owner = leaf.owner() if leaf.owner is not None else None
            own = getattr(owner, "name", None)
            name(leaf, own or "x", not own)
    for node in graph.nodes:
        if node not in found:
            name(node, node.op.name.lower(), True)
    return found


def kept_values(node: Node) -> list[Any]:
    """What vjp gets before the parameters, as arrays and numbers."""
    values: list[Any] = []
    op = node.op
    for x in node.saved if op.keeps_inputs else ():
        values.append(_unchanged(node, x))
    if op.keeps_output:
        outs = node.out if type(node.out) is tuple else (node.out,)
        values.extend([_unchanged(node, x) for x in outs])
    return values


def _unchanged(node: Node, x: Any) -> Any:
    if type(x) is not Tensor:
        return x
    if x._changed[0] > node.time:
        _was_changed(node)
    return x._data


def values(graph: Graph) -> dict[Any, Any]:
    """The array of every leaf and call; computed again where the graph has not kept it.

    Calls of modules that cannot be repeated without side effects, and what hangs on nothing else,
    are missing. So are leaves that are gone.
    """
    found: dict[Any, Any] = {graph.root: graph.output._data}
    for node in graph.nodes:
        for parent, x in zip(node.parents, node.saved or (), strict=False):
            if parent is not None and type(x) is Tensor and x._changed[0] <= node.time:
                found[parent] = x._data
        if node.op.keeps_output:
            several = type(node.out) is tuple
            found[node] = tuple(x._data for x in node.out) if several else node.out._data
    for leaf in graph.leaves:
        owner = leaf.owner() if leaf.owner is not None else None
        if leaf not in found and owner is not None:
            x = as_tensor(owner)
            if x._changed[0] <= graph.uses[leaf][0][0].time:
                found[leaf] = x._data
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node not in found and getattr(node.op, "repeatable", True):
                args = [_value(found, x) for x in graph.inputs(node)]
                if not any(x is None for x in args):
                    found[node] = node.op.forward(*args, *node.params)
    return found


def _value(found: dict[Any, Any], x: Any) -> Any:
    if isinstance(x, (Node, Leaf)):
        return found.get(x)
    return x._data if type(x) is Tensor else x


def gradients(
    operation: str, graph: Graph, gradient: Any = None
) -> tuple[dict[Any, Any], dict[tuple[Node, int], Any]]:
    """The gradient of every leaf and call, and what each call adds to that of each input.

    Runs backward on the side: no `grad` changes and nothing is freed.
    """
    start = seed(operation, "gradient", graph.output, gradient)._data
    total: dict[Any, Any] = {graph.root: start}
    parts: dict[tuple[Node, int], Any] = {}
    with np.errstate(all="ignore"):
        for node in reversed(graph.nodes):
            if node not in total:
                continue
            made = node.op.vjp(total[node], node.parents, *kept_values(node), *node.params)
            for i, g in enumerate(made if type(made) is tuple else (made,)):
                parent = node.parents[i]
                if parent is not None and g is not None:
                    parts[node, i] = g
                    total[parent] = total[parent] + g if parent in total else g
    return total, parts


class Text(str):
    """Text that an interactive session shows as it is; `print` it elsewhere."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Printed(str):
    """Text that was printed when it was made; an interactive session does not show it again."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.splitlines())} lines>"
