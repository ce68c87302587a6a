"""The program of a run as flat code: one line of NumPy for each call, forward and backward.

What each call becomes is in `flat_formulas.py`; here the lines are put together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .engine import seed
from .flat_formulas import CALLS, FORMULAS, HELPERS
from .node import Leaf, Node
from .operation import Outputs
from .tensor import Tensor
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


class Call:
    """One call, as its formula sees it.

    Attributes:
        a, b, c, args: the names of the inputs, or the text of numbers.
        y, g: the names of the output and of its gradient.
        shapes: of the inputs, () for numbers; shape: of the output.
        need: whether each input wants its gradient.
        params: what the call got besides.
    """

    def __init__(self, writer: _Writer, node: Node, op: Any, params: tuple) -> None:
        graph, self._writer = writer.graph, writer
        self.node, self.op, self.params = node, op, params
        inputs = graph.inputs(node)
        self.args = [writer.text_of(x) for x in inputs]
        self.a, self.b, self.c = [*self.args, "", "", ""][:3]
        self.y = graph.names[node]
        self.g = f"d_{self.y}"
        self.shapes = [getattr(x, "shape", ()) for x in inputs]
        self.shape, self.dtype = node.shape, node.dtype
        self.dtypes = [getattr(x, "dtype", None) for x in inputs]
        self.need = [p is not None for p in node.parents]

    def const(self, value: Any, wish: str = "c") -> str:
        """The name or text of an array or number."""
        return self._writer.constant(value, wish)

    def helper(self, name: str) -> str:
        """The name of a helper function, which the code then defines."""
        self._writer.helpers.add(name)
        return name


class _Writer:
    """Lines of code from a graph."""

    def __init__(self, graph: Graph, start: np.ndarray) -> None:
        self.graph, self.start = graph, start
        self.helpers: set[str] = set()
        self.inputs: dict[str, Any] = {}
        self.given: list[str] = []
        self._constants: dict[int, tuple[str, Any]] = {}
        self._taken = set(graph.names.values())

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
        calls = [self._call(node) for node in graph.nodes]
        forward = self._blocks([(call, self._forward(call)) for call in calls])
        name = graph.names[graph.root]
        start = f"d_{name} = np.ones({_tuple(self.start.shape)}, np.{self.start.dtype})"
        if not (self.start == 1).all():
            start = f"d_{name} = {self.constant(self.start, 'start')}"
        done: set[Any] = {graph.root}
        backward = self._blocks([(c, self._backward(c, done)) for c in reversed(calls)])
        head = ["import numpy as np"]
        for helper in HELPERS:  # in the order in which they use each other
            if helper in self.helpers:
                head += ["", *HELPERS[helper].strip().splitlines()]
        parts = [head, ["# given", *self.given], ["# forward", *forward],
                 ["# backward", start, *backward]]  # fmt: skip
        text = "\n\n".join("\n".join(part) for part in parts) + "\n"
        if "inf" in text or "nan" in text:
            text = text.replace(
                "import numpy as np", "import numpy as np\nfrom numpy import inf, nan", 1
            )
        made = Code(text)
        made.inputs = self.inputs
        return made

    def _call(self, node: Node) -> Call:
        op, params = node.op, node.params
        unfold = getattr(op, "unfolded", None)
        if unfold is not None:
            op, params = unfold(*params) or (op, params)
        return Call(self, node, op, params)

    # Lines.

    def _forward(self, call: Call) -> list[str]:
        name = call.op.__name__
        if name in FORMULAS:
            return [f"{call.y} = {FORMULAS[name][0].format(**_fields(call))}"]
        if name in CALLS:
            return [f"{call.y} = {CALLS[name][0](call)}"]
        gate = self._name("gate")
        self.inputs[gate] = Gate(call.node)
        call.gate = gate  # type: ignore[attr-defined]
        return [f"{call.y} = {gate}.forward({', '.join(call.args)})  # {call.op.name}"]

    def _backward(self, call: Call, done: set[Any]) -> list[str]:
        if call.node not in done:
            return []
        name = call.op.__name__
        lines: list[str] = []
        if name in FORMULAS:
            fields = _fields(call)
            made = [
                _summed(text.format(**fields), call.shape, shape)
                for text, shape in zip(FORMULAS[name][1:], call.shapes, strict=False)
            ]
        elif name in CALLS:
            made = CALLS[name][1](call)
            made = made if isinstance(made, list) else [made]
        else:
            gate = call.gate  # type: ignore[attr-defined]
            temporary = self._name(f"g_{call.y}")
            lines = [f"{temporary} = {gate}.backward({call.g})  # {call.op.name}"]
            made = [f"{temporary}[{i}]" for i in range(len(call.args))]
        for parent, text in zip(call.node.parents, made, strict=True):
            if parent is None or text is None:
                continue
            target = f"d_{self.graph.names[parent]}"
            if parent in done:
                several = bool(parent.shape) and isinstance(parent.shape[0], tuple)
                text = (
                    f"{self._helper('add_outputs')}({target}, {text})"
                    if several
                    else f"{target} + {text}"
                )
            lines.append(f"{target} = {text}")
            done.add(parent)
        return lines

    def _helper(self, name: str) -> str:
        self.helpers.add(name)
        return name

    def _blocks(self, parts: list[tuple[Call, list[str]]]) -> list[str]:
        """The lines, with a comment where another block begins."""
        lines: list[str] = []
        last: Any = None
        for call, own in parts:
            block = call.node.block
            if own and block is not last:
                path = "/".join(b.name for b in block.path()) if block is not None else "-"
                lines.append(f"# {path}")
                last = block
            lines += own
        return lines

    # Values.

    def text_of(self, x: Any) -> str:
        """The name of an input, or the text of a number."""
        if isinstance(x, (Node, Leaf)):
            return self.graph.names[x]
        return self.constant(x._data if type(x) is Tensor else x, "c")

    def constant(self, value: Any, wish: str) -> str:
        if isinstance(value, (bool, int, float)) or value is None:
            return f"({value!r})" if isinstance(value, (int, float)) and value < 0 else repr(value)
        if id(value) not in self._constants:
            name = self._name(wish)
            self._constants[id(value)] = name, value  # keeps the array, so that ids stay apart
            self._define(name, value)
        return self._constants[id(value)][0]

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
        elif array.size:
            self.given.append(f"{name} = np.array({array.tolist()!r}, np.{_dtype(array.dtype)})")
        else:
            shape = _tuple(array.shape)
            self.given.append(f"{name} = np.empty({shape}, np.{_dtype(array.dtype)})")


def _dtype(dtype: np.dtype) -> str:
    return "bool_" if dtype.kind == "b" else dtype.name


def _tuple(shape: tuple[int, ...]) -> str:
    return repr(tuple(map(int, shape)))


def _fields(call: Call) -> dict[str, Any]:
    fields = {"a": call.a, "b": call.b, "c": call.c, "y": call.y, "g": call.g}
    for i, value in enumerate(call.params):
        fields[f"p{i}"] = value if isinstance(value, str) else call.const(value)
    return fields


def _summed(text: str, shape: tuple[int, ...], to: tuple[int, ...]) -> str:
    """The sum over the axes along which an input was broadcast."""
    if shape == to:
        return text
    extra = len(shape) - len(to)
    axes = (*range(extra), *[i + extra for i, n in enumerate(to) if n == 1 != shape[i + extra]])
    return f"np.sum({text}, {_tuple(axes)}).reshape({_tuple(to)})"
