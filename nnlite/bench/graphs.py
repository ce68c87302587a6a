"""`nnlite bench autograd`: forward and backward of ten expressions on small arrays.

Four contenders take turns on each: nnlite's graph, the same run as flat NumPy code (what the graph
costs over it is its overhead), a jit_program, and PyTorch's eager mode where it is installed.
"""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import nnlite as nn
from nnlite.autograd.inspect.walk import Graph
from nnlite.bench.report import digits, title
from nnlite.bench.runner import DisagreementError
from nnlite.bench.timing import Measurement, measure

TARGET = 6.0  # microseconds of overhead per node, forward and backward
NOT_SLOWER = 8  # expressions of ten on which PyTorch shall not be quicker
TOLERANCE = 1e-4  # float32, another order of summation

Progress = Callable[[str], None]


class Expression(NamedTuple):
    """A function of leaves, for nnlite and PyTorch alike."""

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]


def _chain(x: Any, y: Any) -> Any:
    for _ in range(10):
        x = x * y + x
    return x.sum()


EXPRESSIONS = [
    Expression("multiply, add", lambda x, y, z: (x * y + z).sum(), ((4, 4),) * 3),
    Expression("chain of 20", _chain, ((4, 4),) * 2),
    Expression("neuron", lambda w, x, b: ((w * x).sum() + b).sigmoid(), ((8,), (8,), ())),
    Expression(
        "polynomial", lambda x: (x * x * x * 0.5 - x * x * 2.0 + x * 3.0 - 1.0).mean(), ((16,),)
    ),
    Expression("broadcast", lambda x, y: ((x - y) / (y * y + 1.0)).sum(), ((4, 8), (8,))),
    Expression(
        "two layers", lambda x, w, b, v: ((x @ w + b).relu() @ v).mean(),
        ((4, 8), (8, 8), (8,), (8, 1)),
    ),
    Expression(
        "gates", lambda x, h, c: ((x + h).sigmoid() * c + (x - h).tanh() * (h * x).sigmoid()).sum(),
        ((16,),) * 3,
    ),
    Expression("softmax", lambda x, y: (y * x.log_softmax(-1)).sum() * -1.0, ((4, 8), (4, 8))),
    Expression("rows", lambda x: (x[0] * x[1] + x[2] * x[3]).exp().sum(), ((4, 8),)),
    Expression(
        "norms", lambda x, y: ((x - y) * (x - y)).sum().sqrt() + (x * y).abs().mean(),
        ((16,), (16,)),
    ),
]  # fmt: skip


class Result(NamedTuple):
    """The times of all contenders on one expression, and how many nodes its graph has."""

    name: str
    nodes: int
    times: dict[str, Measurement]

    def median(self, name: str) -> float:
        """In microseconds."""
        return self.times[name].median * 1e6

    @property
    def overhead(self) -> float:
        """Microseconds per node over flat NumPy code."""
        return (self.median("nnlite") - self.median("flat")) / self.nodes

    def ratio(self, name: str) -> float | None:
        """The time of a contender over nnlite's."""
        return self.median(name) / self.median("nnlite") if name in self.times else None


def _trained(call: Callable[..., Any], leaves: list[Any]) -> Callable[[], Any]:
    """Forward and backward, gradients taken away; returns the value and a gradient."""

    def run() -> Any:
        loss = call(*leaves)
        loss.backward()
        grad = leaves[0].grad
        for x in leaves:
            x.grad = None
        return loss, grad

    return run


def _flat(call: Callable[..., Any], leaves: list[Any]) -> Callable[[], Any]:
    """The flat code of the run as a function that computes value and gradients."""
    code = nn.autograd.flat(call(*leaves), {f"x{i}": x for i, x in enumerate(leaves)})
    given, forward, backward = (
        code[code.index(start) : end]
        for start, end in (
            ("import numpy", code.index("# forward")),
            ("# forward", code.index("# backward")),
            ("# backward", len(code)),
        )
    )
    body = textwrap.indent(forward + backward, "    ")
    space = dict(code.inputs)
    exec(f"{given}\ndef run():\n{body}\n    return loss, d_x0\n", space)
    return space["run"]


def contenders(expression: Expression) -> dict[str, Callable[[], Any]]:
    """Who computes the expression, by name; PyTorch where it is installed."""
    rng = np.random.default_rng(len(expression.name))
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in expression.shapes]
    leaves = [nn.tensor(a, requires_grad=True) for a in arrays]
    program = nn.jit_program(expression.call)
    found = {
        "nnlite": _trained(expression.call, leaves),
        "flat": _flat(expression.call, leaves),
        "jit": _trained(program, leaves),
    }
    if importlib.util.find_spec("torch") is not None:
        import torch  # type: ignore[import-not-found,import-untyped]

        torch.set_num_threads(nn.get_num_threads())
        theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
        found["torch"] = _trained(expression.call, theirs)
    _compare(expression, found)
    if program.why is not None:
        raise DisagreementError(f"bench autograd: {expression.name}: no program: {program.why}")
    return found


def _compare(expression: Expression, found: dict[str, Callable[[], Any]]) -> None:
    """Raises when a contender's value or gradient is another."""
    values = {name: [_plain(x) for x in run()] for name, run in found.items()}
    for name, value in values.items():
        for got, expected in zip(value, values["nnlite"], strict=True):
            if not np.allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE):
                raise DisagreementError(f"bench autograd: {expression.name}: {name} differs")


def _plain(x: Any) -> np.ndarray:
    return np.asarray(x.detach() if hasattr(x, "detach") else x)


def run(seconds: float, progress: Progress) -> list[Result]:
    """Measures every expression, each contender for about so many seconds."""
    results = []
    for expression in EXPRESSIONS:
        progress(f"measuring {expression.name}")
        found = contenders(expression)
        leaves = [nn.tensor(np.ones(s, np.float32), requires_grad=True) for s in expression.shapes]
        nodes = len(Graph("bench", expression.call(*leaves)).nodes)
        results.append(Result(expression.name, nodes, measure(found, seconds, settle=0.0)))
    return results


def not_slower(results: list[Result]) -> int | None:
    """On how many expressions nnlite is not slower than PyTorch; None without PyTorch."""
    ratios = [r.ratio("torch") for r in results]
    return None if None in ratios else sum(ratio >= 1 for ratio in ratios if ratio is not None)


def report(results: list[Result], facts: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [title(facts), "", "forward and backward, float32; microseconds, medians"]
    head = f"{'':16}{'nodes':>6}{'nnlite':>9}{'flat':>9}{'per node':>10}{'jit':>9}{'gain':>7}"
    lines.append(f"{head}{'torch':>9}{'ratio':>7}")
    for r in results:
        own, jit = r.median("nnlite"), r.median("jit")
        text = f"{r.name:16}{r.nodes:6}{digits(own):>9}{digits(r.median('flat')):>9}"
        text += f"{r.overhead:10.2f}{digits(jit):>9}{own / jit:6.2f}x"
        ratio = r.ratio("torch")
        lines.append(text + (f"{digits(r.median('torch')):>9}{ratio:6.2f}x" if ratio else ""))
    worst = max(r.overhead for r in results)
    middle = float(np.median([r.overhead for r in results]))
    lines += [
        "",
        f"per node: what the graph costs over flat NumPy code, forward and backward: "
        f"median {middle:.2f} us, largest {worst:.2f} us; target {TARGET:g} us",
        "gain: of jit_program over the graph",
    ]
    count = not_slower(results)
    if count is None:
        lines.append("PyTorch is not installed: pip install torch")
    else:
        lines.append(
            f"ratio: PyTorch's time over nnlite's; not slower on {count} of {len(results)}, "
            f"target {NOT_SLOWER}"
        )
    return "\n".join(lines)


def as_dict(results: list[Result], facts: dict[str, Any]) -> dict[str, Any]:
    """Every figure, for JSON."""
    return {
        "machine": facts,
        "expressions": [
            {
                "name": r.name,
                "nodes": r.nodes,
                "overhead_us_per_node": r.overhead,
                "median_us": {name: r.median(name) for name in r.times},
                "spread": {name: m.spread for name, m in r.times.items()},
            }
            for r in results
        ],
        "not_slower_than_torch": not_slower(results),
    }
