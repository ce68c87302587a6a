"""The program of a run as flat code: one line of NumPy for each call, forward and backward.

Each operation states its line (`numpy`, see operation.py). The forward half is the graph; the
backward half are the calls that the vjp of its nodes make, as a tape notes them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..._core import native
from ..engine import seed
from ..node import RECORD, TRACED, Leaf, Node, Unsupported, state
from ..operation import Outputs
from ..tape import Tape
from ..tensor import Tensor, wrap
from .flat_text import HELPERS, Field, dtype_name, literal, tuple_text
from .walk import Graph, Printed, kept_values, values

LITERAL = 1000  # arrays with more elements are inputs of the code, not text


class Code(Printed):
    """Python text, and the arrays that it needs besides: `exec(code, dict(code.inputs))`.

    Attributes:
        inputs: {name: array} of what is too long to be text, and gates without formula. Often
            empty: then the text alone runs.
    """

    inputs: dict[str, Any]

    def run(self) -> dict[str, Any]:
        """Runs the code; its variables by name."""
        space = dict(self.inputs)
        with np.errstate(all="ignore"):  # as in nnlite, 1/0 is inf without a warning
            exec(compile(str(self), "<flat>", "exec"), space)
        space.pop("__builtins__", None)
        return space


def flat(loss: Any, names: Any = None, gradient: Any = None) -> Code:
    """Prints and returns the run as flat NumPy code, forward and backward, gate by gate.

        code = nn.autograd.flat(loss, {"w": w, "x": x})  # mul1 = w * x ... d_w = d_mul1 * x
        code.run()["d_w"]                # the same number as w.grad

    The gradient of a variable v is d_v. The code runs by itself where all leaves and constants are
    short (at most 1000 elements); longer ones are `code.inputs`. Numbers are the same to rounding:
    NumPy's exp or matrix product may differ from the kernels' in the last bits. Calls that have no
    formula in NumPy (eigh, svd, a Function or module of your own) become gates, objects in
    `code.inputs` whose forward and backward are called.

    Args:
        loss: a computed tensor, before backward (or after `backward(retain_graph=True)`).
        names: a module or a dict {name: tensor} with names for the leaves.
        gradient: as for `backward`; default 1.

    Raises:
        RuntimeError: nothing was recorded, the graph was freed, a leaf is gone or was changed
            since, or the tensor has more than one element and no gradient is given.
    """
    graph = Graph("flat", loss, names)
    code = _Writer(graph, seed("flat", "gradient", graph.output, gradient)._data).code()
    print(code)
    return code


class Gate:
    """A call without a formula in NumPy: its own code, on arrays."""

    def __init__(self, node: Node) -> None:
        self._op, self._params, self._node = node.op, node.params, node
        self._need, self._kept = node.parents, kept_values(node)

    def forward(self, *inputs: Any) -> Any:
        """The value; a module's own call runs the module again."""
        params = self._params
        if not getattr(self._op, "repeatable", True):
            params = (*params[:-1], type(params[-1])(params[-1]))  # not what the run has kept
        return self._op.forward(*map(np.asarray, inputs), *params)

    def backward(self, gradient: Any) -> Any:
        """The gradients of the inputs, None where no gradient flows."""
        g = Outputs(gradient) if isinstance(gradient, tuple) else np.asarray(gradient)
        made = self._op.vjp(g, self._need, *self._kept, *self._params)
        return made if type(made) is tuple else (made,)


class _Run(Tape):
    """The tape of one run, whose values may decide what is called."""

    of_one_run = True


class _Writer:
    """Lines of code from a graph."""

    def __init__(self, graph: Graph, start: np.ndarray) -> None:
        self.graph, self.start = graph, start
        self.inputs: dict[str, Any] = {}
        self.given: list[str] = []
        self._arrays: dict[int, tuple[str, np.ndarray]] = {}  # keeps them, so that ids stay apart
        self._constants: dict[Any, str] = {}
        self._gates: dict[Node, str] = {}
        self._taken = set(graph.names.values()) | {f"d_{n}" for n in graph.names.values()}
        self._tape: Tape = _Run()
        self._block: Any = None

    def code(self) -> Code:
        graph = self.graph
        known = values(graph)
        for leaf in graph.leaves:
            if leaf not in known:
                raise RuntimeError(
                    f"flat: the leaf {graph.names[leaf]} (shape {leaf.shape}) is gone or was "
                    "changed in place since; keep a reference to it and call flat before a change"
                )
            self._define(graph.names[leaf], known[leaf])
        forward = [line for node in graph.nodes for line in self._forward(node)]
        backward = self._backward()
        body = "\n".join([*forward, *backward])
        helpers = [
            text for name, text in HELPERS.items() if re.search(rf"(?<![\w.]){name}\(", body)
        ]
        head = ["import numpy as np", *[f"\n{text.strip()}" for text in helpers]]
        parts = [head, ["# given", *self.given], ["# forward", *forward],
                 ["# backward", *backward]]  # fmt: skip
        text = "\n\n".join("\n".join(part) for part in parts) + "\n"
        if re.search(r"(?<![\w.])(inf|nan)\b", text):
            text = text.replace("np\n", "np\nfrom numpy import inf, nan\n", 1)
        made = Code(text)
        made.inputs = self.inputs
        return made

    # Lines.

    def _forward(self, node: Node) -> list[str]:
        inputs = self.graph.inputs(node)
        texts = [self._text(x) for x in inputs]
        op, params = node.op, node.params
        line = None
        if op.numpy is not None:
            line = self._line(op, texts, inputs, params, node.shape)
        else:
            gate = self._gates[node] = self._name("gate")
            self.inputs[gate] = Gate(node)
            line = f"{gate}.forward({', '.join(texts)})  # {op.name}"
        return [*self._heading(node), f"{self.graph.names[node]} = {line}"]

    def _line(self, op: Any, texts: list[str], inputs: Any, params: Any, shape: Any) -> str:
        """What an operation states as its line, filled in."""
        template, constants = op.numpy, {}
        if not isinstance(template, str):
            probes = [_probe(x) if isinstance(x, (Node, Leaf)) else x for x in inputs]
            template, constants = template(*probes, *params)
        fields: dict[str, Any] = {f"p{i}": Field(p, self._text) for i, p in enumerate(params)}
        for name, value in constants.items():
            fields[name] = self._constant(value, name)
        return template.format(*texts, inputs=", ".join(texts), shape=tuple_text(shape), **fields)

    def _heading(self, node: Node) -> list[str]:
        """A comment where another block begins."""
        if node.block is self._block:
            return []
        self._block = node.block
        path = "-" if node.block is None else "/".join(b.name for b in node.block.path())
        return [f"# {path}"]

    @native.in_standard_mode
    def _backward(self) -> list[str]:
        """Backward as `engine.propagate` goes, and the calls that it makes as lines."""
        graph = self.graph
        self._block = None
        name = f"d_{graph.names[graph.root]}"
        lines = [f"{name} = {self._constant(self.start, 'start')}"]
        total: dict[Any, Any] = {graph.root: self._traced(self.start, name)}
        before = state.mode, state.tape
        state.mode, state.tape = RECORD, self._tape
        try:
            with np.errstate(all="ignore"):
                for node in reversed(graph.nodes):
                    if node in total:
                        lines += self._heading(node) + self._node(node, total)
        finally:
            state.mode, state.tape = before
        return lines

    def _node(self, node: Node, total: dict[Any, Any]) -> list[str]:
        """The lines of one node's vjp; its gradients go to the totals of its parents."""
        lines, grads = self._gradients(node, total[node])
        found: dict[Any, Any] = {}
        for parent, g in zip(node.parents, grads, strict=True):
            if parent is not None and g is not None:
                old = found.get(parent, total.get(parent))
                found[parent] = g if old is None else old + g
        claims: dict[int, str] = {}
        for parent, g in found.items():
            if type(g) is Tensor:
                claims.setdefault(id(g._data), f"d_{self.graph.names[parent]}")
        for entry in self._tape.entries:
            for out in entry.outs:
                name = claims.get(id(out)) or self._name("t")
                self._arrays[id(out)] = name, out
            shape, texts = entry.outs[0].shape, [self._text(x) for x in entry.inputs]
            line = self._line(entry.op, texts, entry.inputs, entry.params, shape)
            lines.append(f"{', '.join(self._arrays[id(out)][0] for out in entry.outs)} = {line}")
        self._tape.entries.clear()
        for parent, g in found.items():
            name = f"d_{self.graph.names[parent]}"
            text = self._text(g)
            if text != name:
                lines.append(f"{name} = {text}")
            total[parent] = self._traced(g, name)
        return lines

    def _gradients(self, node: Node, g: Any) -> tuple[list[str], Any]:
        """The gradients of a node's inputs as Tensors; of a gate with the line that calls it."""
        op, params = node.op, node.params
        if op.numpy is not None:
            fills = getattr(op, "fills", None)
            if fills is not None:  # what a kernel has filled: here by the formula
                params = (*params[:fills], None, *params[fills + 1 :])
            try:
                made = op.vjp(g, node.parents, *self._kept(node), *params)
                if all(entry.op.numpy is not None for entry in self._tape.entries):
                    return [], made if type(made) is tuple else (made,)
            except (Unsupported, np.linalg.LinAlgError):
                self._tape.broken = None
            self._tape.entries.clear()
        gate = self._gates.get(node) or self._name("gate")
        self.inputs.setdefault(gate, Gate(node))
        several = isinstance(g, Outputs)
        arrays = tuple([x if x is None else x._data for x in g]) if several else g._data
        state.mode = 0
        made = self.inputs[gate].backward(arrays)
        state.mode = RECORD
        name = self._name(f"g_{self.graph.names[node]}")
        grads = [
            None if x is None else self._traced(wrap(np.asarray(x)), f"{name}[{i}]")
            for i, x in enumerate(made)
        ]
        return [f"{name} = {gate}.backward(d_{self.graph.names[node]})  # {op.name}"], grads

    def _kept(self, node: Node) -> list[Any]:
        """What the vjp gets before the parameters, as Tensors under their names in the code."""
        names = [self._text(x) for x in self.graph.inputs(node)] if node.op.keeps_inputs else []
        if node.op.keeps_output:
            own, several = self.graph.names[node], type(node.out) is tuple
            names += [f"{own}[{i}]" for i in range(len(node.out))] if several else [own]
        return [
            self._traced(x, name) if isinstance(x, np.ndarray) else x
            for x, name in zip(kept_values(node), names, strict=True)
        ]

    def _traced(self, g: Any, name: str) -> Any:
        """A Tensor whose calls are noted, under a name."""
        if isinstance(g, Outputs):
            return Outputs(
                [x if x is None else self._traced(x, f"{name}[{i}]") for i, x in enumerate(g)]
            )
        made = wrap((g._data if type(g) is Tensor else g).view())
        made._edge = TRACED
        self._arrays[id(made._data)] = name, made._data
        return made

    # Values.

    def _text(self, x: Any) -> str:
        """The name of a value, or the text of a number."""
        if isinstance(x, (Node, Leaf)):
            return self.graph.names[x]
        if isinstance(x, Outputs):
            return f"({', '.join([self._text(part) for part in x])},)"
        if type(x) is Tensor:
            x = x._data
        if id(x) in self._arrays:
            return self._arrays[id(x)][0]
        return self._constant(x, "c")

    def _constant(self, value: Any, wish: str) -> str:
        if not isinstance(value, np.ndarray):
            return literal(value)
        if value.ndim == 0 or (value.size > 1 and (value == value.flat[0]).all()):
            return _array_text(value)
        key = value.shape, value.dtype.str, value.tobytes()
        if key not in self._constants:
            self._constants[key] = self._name(wish)
            self._define(self._constants[key], value)
        return self._constants[key]

    def _name(self, wish: str) -> str:
        number = 1
        while f"{wish}{number}" in self._taken:
            number += 1
        self._taken.add(f"{wish}{number}")
        return f"{wish}{number}"

    def _define(self, name: str, value: Any) -> None:
        array = np.asarray(value)
        if array.size > LITERAL:
            self.inputs[name] = value
            self.given.append(f"# {name}: an input of shape {array.shape}, {array.dtype}")
        else:
            self.given.append(f"{name} = {_array_text(array)}")


def _probe(edge: Any) -> np.ndarray:
    """An array of the shape and dtype of a value."""
    return np.broadcast_to(np.zeros((), edge.dtype), edge.shape)


def _array_text(array: np.ndarray) -> str:
    name = dtype_name(array.dtype)
    shape = tuple_text(array.shape)
    if array.size == 0:
        return f"np.empty({shape}, {name})"
    if array.size > 1 and array.tobytes() == np.full_like(array, array.flat[0]).tobytes():
        first = array.flat[0].item()
        return f"np.ones({shape}, {name})" if first == 1 else f"np.full({shape}, {first!r}, {name})"
    return f"np.array({array.tolist()!r}, {name})"
