"""One line for each kernel of csrc/nnlite.h: how to call it on any shape.

A line is a function of the drawn sizes, in the kernel's own letters, and of a Draw, which makes the
numbers; it returns the kernel's arguments without `threads`. `places` are the arguments on which
the first output may lie instead; `at_least` the smallest size of each letter, where it is not 0.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from helpers import In, InOut, Out, wild

from nnlite._core import native

HEADER = Path(__file__).parent.parent / "csrc" / "nnlite.h"
NULL = In(None)
IGNORED = -100


class Draw:
    """Random arguments of one call, a pure function of the seed."""

    def __init__(self, seed: int, dtype: np.dtype) -> None:
        self.rng, self.dtype = np.random.default_rng(seed), dtype
        self.extremes = self.rng.random() < 0.3  # NaN, infinities and denormals, or usual numbers

    def pick(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def usual(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(self.dtype)

    def reals(self, *shape: int) -> np.ndarray:
        if not self.extremes:
            return self.usual(*shape)
        return wild(self.rng, int(np.prod(shape)), self.dtype).reshape(shape)

    def input(self, *shape: int) -> In:
        return In(self.reals(*shape))

    def maybe(self, array: np.ndarray) -> In:
        return self.pick(In(array), NULL)

    def weights(self, n: int) -> In:
        return self.maybe(np.abs(self.usual(n)))

    def classes(self, n: int, count: int) -> np.ndarray:
        target = self.rng.integers(0, count, n)
        target[self.rng.random(n) < 0.1] = IGNORED
        return target

    def stream(self) -> tuple[int, int, int]:
        """seed, purpose, step"""
        seed, purpose, step = self.rng.integers(0, 2**31, 3)
        return int(seed), int(purpose), int(step)

    def segments(self, *sizes: int) -> Callable[[native.Build], Any]:
        """Segments with these numbers of gradients, for a build."""
        grads = [self.usual(n) for n in sizes]

        def made(build: native.Build) -> Any:
            found = build.ffi.new("nnl_segment[]", len(grads))
            for segment, grad in zip(found, grads, strict=True):
                segment.count, segment.grad = grad.size, native.pointer(grad)
            return found

        return made

    def scalar(self) -> float:
        return float(self.rng.normal())

    def reduction(self) -> int:
        return int(self.pick(native.MEAN, native.SUM))


@dataclass
class Line:
    arguments: Callable[..., tuple]
    places: tuple[int, ...] = ()
    at_least: dict[str, int] = field(default_factory=dict)

    @property
    def letters(self) -> list[str]:
        """The sizes that are drawn."""
        return list(inspect.signature(self.arguments).parameters)[1:]


def pointwise(arrays: int, *scalars: float) -> Line:
    """output[i] = f(each array[i]), in place of any of them."""
    return Line(
        lambda d, n: (n, *(d.input(n) for _ in range(arrays)), Out(n), *scalars),
        places=tuple(range(1, arrays + 1)),
    )


def rowwise(arrays: int) -> Line:
    """The same for rows."""
    return Line(
        lambda d, N, K: (N, K, *(d.input(N, K) for _ in range(arrays)), Out((N, K))),
        places=tuple(range(2, arrays + 2)),
    )


def matmul(d: Draw, count: int, m: int, n: int, k: int) -> tuple:
    """Products of a stack with one matrix, each also transposed."""
    return (
        count, m, n, k, d.input(count, m, k), m * k, *d.pick((k, 1), (1, m)), d.input(k, n), 0,
        *d.pick((n, 1), (1, k)), Out((count, m, n)), d.pick(0, native.GRADIENT),
    )  # fmt: skip


def gemm(d: Draw, m: int, n: int, k: int) -> tuple:
    a_strides, b_strides = d.pick((k, 1), (1, m)), d.pick((n, 1), (1, k))
    start, activation = d.pick("zero", "bias", "stored"), int(d.rng.integers(4))
    output = d.maybe(d.usual(m, n)) if activation else NULL
    return (
        m, n, k, d.input(m * k), *a_strides, d.input(k * n), *b_strides,
        InOut(d.reals(m, n)) if start == "stored" else Out((m, n)), n,
        In(d.usual(n)) if start == "bias" else NULL, output, int(start == "stored"), activation,
    )  # fmt: skip


def cross_entropy(d: Draw, N: int, K: int) -> tuple:
    probabilities = d.rng.random() < 0.5
    target = In(np.abs(d.usual(N, K))) if probabilities else In(d.classes(N, K))
    return (
        N, K, d.input(N, K), NULL if probabilities else target,
        target if probabilities else NULL, Out(2), d.pick(Out((N, K)), NULL), d.weights(K),
        d.weights(N), Out(1, np.int64), d.pick(0.0, 0.1), IGNORED, d.reduction(),
    )  # fmt: skip


# kernel: number of arrays, scalars after them
POINTWISE = {
    "Exp_updateOutput": (1, ()),
    "Expm1_updateOutput": (1, ()),
    "Log_updateOutput": (1, ()),
    "Log1p_updateOutput": (1, ()),
    "Erf_updateOutput": (1, ()),
    "Sigmoid_updateOutput": (1, ()),
    "Tanh_updateOutput": (1, ()),
    "Threshold_updateOutput": (1, (0.5, -2.0)),
    "LeakyReLU_updateOutput": (1, (0.01,)),
    "LeakyReLU_updateGradInput": (2, (-0.3,)),
    "Sigmoid_updateGradInput": (2, ()),
    "Tanh_updateGradInput": (2, ()),
    "Threshold_updateGradInput": (2, (0.5,)),
}

ONE_CLASS, ONE_ROW = {"K": 1}, {"N": 1, "K": 1}  # the mean of nothing is refused
TABLE: dict[str, Line] = {
    "gemm": Line(gemm),
    "Linear_updateOutput": Line(lambda d, N, D, K: (
        N, D, K, d.input(N, D), Out((N, K)), d.input(D, K), d.maybe(d.usual(K)),
        int(d.rng.integers(4)))),
    "Linear_updateGradInput": Line(lambda d, N, D, K: (
        N, D, K, d.input(N, K), Out((N, D)), d.input(D, K), d.maybe(d.usual(N, D)), native.RELU)),
    "Linear_accGradParameters": Line(lambda d, N, D, K: (
        N, D, K, d.input(N, D), d.input(N, K), InOut(d.usual(D, K)),
        d.pick(InOut(d.usual(K)), NULL), d.pick(1.0, 0.3))),
    **{name: pointwise(count, *scalars) for name, (count, scalars) in POINTWISE.items()},
    "SoftMax_updateOutput": rowwise(1),
    "SoftMax_updateGradInput": rowwise(2),
    "LogSoftMax_updateOutput": rowwise(1),
    "LogSoftMax_updateGradInput": rowwise(2),
    "ClassNLLCriterion_updateOutput": Line(lambda d, N, K: (
        N, K, d.input(N, K), In(d.classes(N, K)), Out(2), d.weights(K), d.weights(N),
        Out(1, np.int64), IGNORED, d.reduction()), at_least=ONE_ROW),
    "ClassNLLCriterion_updateGradInput": Line(lambda d, N, K: (
        N, K, In(d.classes(N, K)), Out((N, K)), d.weights(K), d.weights(N), Out(1, np.int64),
        d.scalar(), IGNORED, d.reduction()), at_least=ONE_ROW),
    "MSECriterion_updateOutput": Line(lambda d, N, K: (
        N, K, d.input(N, K), d.input(N, K), Out(2), d.weights(N), d.reduction()), at_least=ONE_ROW),
    "MSECriterion_updateGradInput": Line(lambda d, N, K: (
        N, K, d.input(N, K), d.input(N, K), Out((N, K)), d.weights(N), d.scalar(), d.reduction()),
        places=(2, 3), at_least=ONE_ROW),
    "CrossEntropyCriterion_updateOutput": Line(cross_entropy, at_least=ONE_ROW),
    "matmul": Line(lambda d, m, n, k: matmul(d, d.pick(0, 1, 3), m, n, k)),
    "sum": Line(lambda d, m, n, k: (m, n, k, d.input(m, n, k), Out((m, k)))),
    "count_correct": Line(lambda d, N, K: (
        N, K, d.input(N, K), In(d.classes(N, K)), IGNORED, Out(1, np.int64)), at_least=ONE_CLASS),
    "Dropout_updateOutput": Line(
        lambda d, n: (n, d.input(n), Out(n), d.pick(0.0, 0.3, 1.0), *d.stream()), places=(1,)),
    "Dropout_updateGradInput": Line(
        lambda d, n: (n, d.input(n), Out(n), d.pick(0.0, 0.3, 1.0), *d.stream()), places=(1,)),
    "gradient_norm": Line(
        lambda d, N, K: (2, d.segments(N, K), d.pick(0.0, 0.5), Out(1, np.float64))),
    "gather_rows": Line(lambda d, n, K, N: (
        n, K, N, d.input(N, K), In(d.rng.integers(0, N, n)), Out((n, K)), Out(1, np.int64)),
        at_least={"N": 1}),
    "random_uniform": Line(lambda d, n: (n, Out(n), -0.5, 2.0, *d.stream())),
    "random_normal": Line(lambda d, n: (n, Out(n), 1.0, 0.5, *d.stream())),
    "random_bits": Line(lambda d, n: (n, Out(n, np.uint32), *d.stream())),
    "random_permutation": Line(lambda d, n: (n, Out(n, np.int64), 8, *d.stream())),
    "roofline_copy": Line(lambda d, n: (n, d.input(n), Out(n), 0)),
    "roofline_gemm": Line(lambda d, m, n, k: (
        1, m, n, k, d.input(m * k), k, 1, d.input(k * n), n, 1, Out((m, n)), n)),
}  # fmt: skip

# Functions that stand outside the table, and where they are tested.
OUTSIDE = {
    "status_text": "a text: test_build.py",
    "build_isa": "a text: test_build.py",
    "build_compiler": "a text: test_build.py",
    "force_choice": "a setting of the process: test_autotune.py",
    "tuned": "what was chosen by trying: test_autotune.py",
    "gemm_pack": "an order of this build's own, which gemm reads: test_gemm.py",
    "gemm_packed_size": "the same",
    "get_threading": "a setting of the process: test_threading.py",
    "set_threading": "a setting of the process: test_threading.py",
    "was_called": "tells whether threads may still be chosen: test_threading.py",
    "cpu_supports": "a fact of the processor: test_build.py",
    "roofline_fma": "counts what this build's vectors do, so builds differ: test_bench.py",
    "Optimizer_update": "takes segments and structs: every rule in test_rules.py",
    "Program_backward": "takes calls: test_passes.py",
    "Program_forward": "takes calls: test_passes.py",
    "Program_predict": "takes calls: test_calls_layers.py",
    "Program_run": "takes calls: test_calls.py",
    "Training_run": "takes a whole network: test_program.py",
    "Training_step": "takes a whole network: test_changes.py",
    "Training_evaluate": "takes a whole network: test_program.py",
}


def declared() -> dict[str, list[str]]:
    """The names of the arguments of every function in the header."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    found = re.findall(r"^(?:int|const char \*)\s*(?:NNL_\((\w+)\)|nnl_(\w+))\((.*?)\);",
                       text, flags=re.DOTALL | re.MULTILINE)  # fmt: skip
    return {a or b: re.findall(r"(\w+)\s*(?:,|$)", arguments) for a, b, arguments in found}


def takes_threads(name: str) -> bool:
    return declared()[name][-1] == "threads"
