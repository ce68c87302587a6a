"""Backward: from an output to all that it was computed from, newest call first.

The pass holds a heap of times. Each node is taken when its gradient is complete, because all calls
that used its value are newer and have been taken before. Nothing recurses, whatever the depth, and
a node lets go of what it kept as soon as it has been used. Gradients reach leaves at the very end:
a pass that fails has changed none.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace
from typing import Any, NoReturn

import numpy as np

from .._core import native
from .node import ANOMALY, FORWARD, GRAD, PLAIN, RECORD, TANGENT, Leaf, Mode, Node, state
from .operands import as_tensor
from .operation import Outputs, Pick
from .tensor import Tensor, shared, wrap

_ndarray = np.ndarray


def propagate(
    roots: Sequence[tuple[Any, Any]],
    retain: bool,
    graph: bool,
    wanted: frozenset[Any] = frozenset(),
    useful: set[Any] | None = None,
) -> dict[Any, Any]:
    """The gradients of all leaves, and of wanted nodes, from those of the roots.

    Args:
        roots: (producer, gradient) of each output.
        retain: keep what the nodes hold.
        graph: compute on Tensors, recording as the mode of the thread says; else on arrays.
        wanted: nodes whose gradient is asked for.
        useful: nodes and leaves through which gradients shall flow; None for all.
    """
    found: dict[Any, Any] = {}
    heap: list[int] = []  # the times of the nodes that wait, negative: the newest comes first
    todo: dict[int, list[Any]] = {}  # time -> [node, gradient so far]
    for edge, g in roots:
        _deliver(edge, g, heap, todo, found)
    owned: set[Any] = set()  # leaves, and times of nodes, whose gradient is an array of our own
    anomaly = state.mode & ANOMALY
    ahead: Any = None  # the first parent of the last node: in a chain it need not wait in the heap
    g_ahead: Any = None
    while heap or ahead is not None:
        if ahead is None:
            node, g = todo.pop(-heappop(heap))
        elif not heap or ahead.time > -heap[0]:
            node, g = ahead, g_ahead
        else:
            todo[ahead.time] = [ahead, g_ahead]
            node, g = todo.pop(-heapreplace(heap, -ahead.time))
        ahead = None
        need = node.parents
        if need is None:
            _freed(node)
        if wanted and node in wanted:
            found[node] = g
        if node.kept is not None:
            if g.shape != node.shape:
                _misfit("the calls that use it", g, node)
            node.kept.add(g)
        if useful is not None:
            need = tuple([p if p in useful else None for p in need])
            if not any(need):
                continue
        op = node.op
        if graph:
            grads = op.vjp(g, need, *_tensors(node), *node.params)
        elif op.keeps_inputs or op.keeps_output:
            grads = op.vjp(g, need, *_arrays(node), *node.params)
        else:
            grads = op.vjp(g, need, *node.params)
        if not retain:
            node.parents = node.saved = node.out = None
        if type(grads) is not tuple:
            grads = (grads,)
        if anomaly:
            from .check.anomaly import check_backward

            check_backward(node, grads)
        for parent, g in zip(need, grads, strict=True):
            if parent is None or g is None:
                continue
            if type(parent) is Node:
                if parent is ahead:
                    g_ahead = g_ahead + g
                    continue
                key = parent.time
                entry = todo.get(key)
                if entry is not None:
                    entry[1] = _sum(entry[1], g, owned, key)
                elif ahead is None:
                    ahead, g_ahead = parent, g
                else:
                    todo[key] = [parent, g]
                    heappush(heap, -key)
            elif g.shape != parent.shape:
                if parent is not TANGENT:  # whose gradient nobody reads
                    _misfit(op.name, g, parent)
            elif parent in found:
                found[parent] = _sum(found[parent], g, owned, parent)
            else:
                found[parent] = g
    return found


def _sum(old: Any, g: Any, owned: set[Any], key: Any) -> Any:
    """old + g; from the second sum for a key on in place, since the first one made a new array."""
    if key in owned and type(g) is _ndarray:
        old += g
        return old
    total = old + g
    if type(total) is _ndarray:
        owned.add(key)
    return total


def _deliver(edge: Any, g: Any, heap: list[int], todo: dict[int, list[Any]], found: Any) -> None:
    """Adds a gradient to what waits for an edge."""
    if type(edge) is not Node:
        found[edge] = found[edge] + g if edge in found else g
    elif edge.time in todo:
        todo[edge.time][1] = todo[edge.time][1] + g
    else:
        todo[edge.time] = [edge, g]
        heappush(heap, -edge.time)


def _arrays(node: Node) -> list[Any]:
    """What a node kept, as arrays and numbers; refuses values that were changed since."""
    op, time, values = node.op, node.time, []
    if op.keeps_inputs:
        for x in node.saved:
            if type(x) is Tensor:
                if x._changed[0] > time:
                    _was_changed(node)
                x = x._data
            values.append(x)
    if op.keeps_output:
        outs = node.out
        for x in (outs,) if type(outs) is Tensor else outs:
            if x._changed[0] > time:
                _was_changed(node)
            values.append(x._data)
    return values


def _tensors(node: Node) -> list[Any]:
    """What a node kept, as Tensors with their history, for gradients that are recorded."""
    op, values = node.op, []
    if op.keeps_inputs:
        for x in node.saved:
            if type(x) is Tensor and x._changed[0] > node.time:
                _was_changed(node)
            values.append(x)
    if op.keeps_output:
        several = type(node.out) is tuple
        for i, alias in enumerate(node.out if several else (node.out,)):
            if alias._changed[0] > node.time:
                _was_changed(node)
            values.append(_output(node, alias, i, len(node.out)) if several else
                          _output(node, alias, 0, 0))  # fmt: skip
    return values


def _output(node: Node, alias: Tensor, index: int, count: int) -> Tensor:
    """The output of a node as a Tensor with its history, made again."""
    out = wrap(alias._data)
    out._changed = shared(alias)
    tangent = getattr(alias, "_tangent", None)
    if tangent is not None:
        out._tangent = tangent
    if count:
        node = Node(Pick, (node,), None, None, (index, count), alias.shape, alias.dtype)
    out._edge = node
    return out


def _freed(node: Node) -> NoReturn:
    raise RuntimeError(
        f"backward: the graph of {node.op.name} was freed by an earlier backward; "
        "call that one with retain_graph=True, or compute the output again"
    )


def _misfit(source: str, g: Any, to: Any) -> NoReturn:
    raise RuntimeError(
        f"backward: {source} gave a gradient of shape {g.shape} for a tensor of shape {to.shape}; "
        "its backward must sum over the axes along which forward broadcast"
    )


def _was_changed(node: Node) -> NoReturn:
    raise RuntimeError(
        f"backward: a value that {node.op.name} needs was changed in place after the call; "
        "change a clone(), or call backward first"
    )


def seed(operation: str, name: str, output: Tensor, gradient: Any) -> Any:
    """The gradient that a pass starts with, checked."""
    if not output.requires_grad:
        raise RuntimeError(
            f"{operation}: no gradient flows to this tensor: nothing that it was computed from "
            "has requires_grad=True, or it was computed under no_grad"
        )
    shape, dtype = output.shape, output.dtype
    if gradient is None:
        if output.size != 1:
            raise RuntimeError(
                f"{operation}: the tensor has shape {shape}; pass {name}, an array of that shape, "
                "or make one number of it with sum() or mean()"
            )
        return wrap(np.ones(shape, dtype) if shape else np.array(1.0, dtype))
    if not isinstance(gradient, (Tensor, np.ndarray, np.generic)):
        gradient = np.asarray(gradient, dtype)
    gradient = as_tensor(gradient)
    if gradient.shape != shape:
        raise ValueError(
            f"{operation}: {name}: expected the shape of the tensor, {shape}, got {gradient.shape}"
        )
    if gradient.dtype != dtype:
        raise TypeError(
            f"{operation}: {name}: expected the dtype of the tensor, {dtype}, got "
            f"{gradient.dtype}; convert it with .astype(np.{dtype})"
        )
    return gradient


def backward(output: Tensor, gradient: Any, retain_graph: bool | None, create_graph: bool) -> None:
    """Tensor.backward."""
    start = seed("backward", "gradient", output, gradient)
    retain = create_graph if retain_graph is None else bool(retain_graph)
    for leaf, g in run([(output._edge, start)], retain, create_graph).items():
        leaf.add(g)


@native.in_standard_mode
def run(
    roots: list[tuple[Any, Tensor]],
    retain: bool,
    create_graph: bool,
    wanted: frozenset[Any] = frozenset(),
    useful: set[Any] | None = None,
) -> dict[Any, Any]:
    """`propagate` from Tensors; the result holds arrays, or Tensors with create_graph.

    While tangents are carried the result holds Tensors with tangents: those of the gradients.
    """
    with np.errstate(all="ignore"):  # 1/0 in a formula is the derivative that it is
        if create_graph:
            with Mode(on=GRAD):
                found = propagate(roots, retain, True, wanted, useful)
        elif state.mode & (FORWARD | RECORD):
            with Mode(off=GRAD):
                found = propagate(roots, retain, True, wanted, useful)
        else:
            arrays = [(edge, g._data) for edge, g in roots]
            found = propagate(arrays, retain, False, wanted, useful)
    found.pop(TANGENT, None)
    for edge, g in found.items():
        if g.dtype != edge.dtype:  # NumPy 1 widens numbers of one element
            found[edge] = g.astype(edge.dtype)
    return found


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of outputs by inputs, as values: no `grad` changes.

    Args:
        outputs: a Tensor, or several whose sum is meant.
        inputs: a Tensor or Parameter, or several; leaves or computed.
        grad_outputs: the gradient of each output, as `backward` takes it.
        retain_graph, create_graph: as in `Tensor.backward`.
        allow_unused: None for inputs that the outputs do not depend on, instead of an error.

    Returns:
        One Tensor for each input, always as a tuple.

    Raises:
        RuntimeError: as `backward`; or an input requires no gradient or was not used.
    """
    outs = [as_tensor(x) for x in (outputs if isinstance(outputs, (list, tuple)) else (outputs,))]
    ins = [as_tensor(x) for x in (inputs if isinstance(inputs, (list, tuple)) else (inputs,))]
    if not isinstance(grad_outputs, (list, tuple)):
        grad_outputs = (grad_outputs,) * (len(outs) if grad_outputs is None else 1)
    if len(grad_outputs) != len(outs):
        raise ValueError(
            f"grad: grad_outputs: expected one for each of {len(outs)} outputs, "
            f"got {len(grad_outputs)}"
        )
    for i, x in enumerate(ins):
        if not x.requires_grad:
            raise RuntimeError(f"grad: input {i} does not require a gradient")
    roots = [
        (x._edge, seed("grad", "grad_outputs", x, g))
        for x, g in zip(outs, grad_outputs, strict=True)
    ]
    retain = create_graph if retain_graph is None else bool(retain_graph)
    edges = [x._edge for x in ins]
    useful = ways([edge for edge, _ in roots], edges)
    wanted = frozenset(edge for edge in edges if type(edge) is Node)
    found = run(roots, retain, create_graph, wanted, useful)
    missing = [i for i, edge in enumerate(edges) if edge not in found]
    if missing and not allow_unused:
        raise RuntimeError(
            f"grad: the outputs do not depend on input {missing[0]}; pass allow_unused=True to get "
            "None for it"
        )
    return tuple([_result(found.get(edge)) for edge in edges])


def _result(g: Any) -> Any:
    """A gradient for the user: a Tensor that shares no memory with others."""
    return g if g is None or type(g) is Tensor else wrap(np.array(g))


def ways(roots: Sequence[Any], targets: Sequence[Any]) -> set[Any]:
    """The nodes and leaves from which a target can be reached, targets among them."""
    goal = set(targets)
    oldest = min((t.time for t in targets if type(t) is Node), default=0)
    if any(type(t) is Leaf for t in targets):
        oldest = 0
    seen: dict[Any, None] = {}
    stack = [edge for edge in roots if type(edge) is Node]
    while stack:
        node = stack.pop()
        if node in seen or node.time < oldest:
            continue
        seen[node] = None
        stack.extend([p for p in node.parents or () if type(p) is Node])
    for node in sorted(seen, key=_time):
        if any(p in goal for p in node.parents or ()):
            goal.add(node)
    return goal


def _time(node: Node) -> int:
    return node.time


def transpose_of_vjp(op: Any, tangents: tuple, inputs: tuple, out: Any, params: tuple) -> Any:
    """The tangent of a call from its vjp alone: d/du sum_i <vjp_i(u), t_i>."""
    several = isinstance(out, tuple)
    outs = out if several else (out,)
    graph = state.mode & GRAD and not state.mode & PLAIN
    with Mode(on=GRAD, off=~GRAD):
        probes = [wrap(np.zeros(x.shape, x.dtype)) for x in outs]
        for probe in probes:
            probe.requires_grad = True
        need = tuple([None if t is None else x for t, x in zip(tangents, inputs, strict=True)])
        u = Outputs(probes) if several else probes[0]
        kept = inputs if op.keeps_inputs else ()
        values = (*kept, *outs) if op.keeps_output else kept
        grads = op.vjp(u, need, *values, *params)
        pairs = zip(grads if type(grads) is tuple else (grads,), tangents, strict=True)
        used = [(g, t) for g, t in pairs if t is not None and g is not None and g.requires_grad]
        if not used:
            found: tuple = (None,) * len(probes)
        else:
            found = grad(
                [g for g, _ in used], probes, [t for _, t in used], create_graph=bool(graph),
                allow_unused=True,
            )  # fmt: skip
    results = tuple(
        [wrap(np.zeros(x.shape, x.dtype)) if t is None else t
         for t, x in zip(found, outs, strict=True)]
    )  # fmt: skip
    return results if several else results[0]
