"""The cases of `nnlite bench kernels`: which kernels, on which shapes, with which inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nnlite.bench.roofline import last_level_cache
from nnlite.bench.workloads import UnknownNameError

SEED = 0
SHORT = {"float32": "f32", "float64": "f64"}

# Products are op(a) op(b) of shape m x k x n: nn is x W, tn is x^T dy, nt is dy W^T.
LAYOUTS = ("nn", "tn", "nt")
SQUARES = (384, 768, 1536, 3072)
OBLONGS = ((128, 784, 512), (256, 256, 256), (64, 4096, 4096))
# How a product is called: through nn.functional, the C function with pointers made before, or many
# times within one C call.
DOORS = ("functional", "pointers", "inside-C")
CALLED = (32, 64, 64)
SMALL = (8, 16, 32, 48, 64)

CACHED = 65_536  # floats: input and output lie in the second-level cache
FUNCTIONS = ("exp", "log", "tanh", "sigmoid", "relu", "expm1", "log1p", "erf")
STREAMED = ("relu", "sigmoid", "exp")
RANDOM = ("dropout",)  # other libraries drop other elements, so they are not compared
# Steps of optimisers, and the arrays that one reads and writes: weight, gradient and states in,
# weight and states out. 4,810 parameters has a network for the digits.
STEPS = {"SGD": 5, "Adam": 7, "RMSprop": 5}
STEPPED = (4810, 1 << 23)
# An array beyond the caches, in floats: four times the last-level cache, but not absurdly many.
CACHES_FILLED = 4
STREAMED_MOST = 1 << 27
UNKNOWN_CACHE = 32 << 20

ROW_KERNELS = ("softmax", "log_softmax", "softmax_ce")
ROW_SHAPES = ((128, 10), (4096, 10), (4096, 100), (4096, 1000), (64, 50_000))


@dataclass(frozen=True)
class Case:
    """One kernel on one shape.

    Args:
        group: the table it stands in.
        kernel: one of LAYOUTS for a product, else the function's name in nn.functional.
        shape: (m, k, n) of a product, (n,) of a function, (rows, columns) of a row kernel.
        dtype: "float32" or "float64".
        threads: number of threads it may use.
        door: one of DOORS.
        inputs: "normal"; or what lies below the normal range, the "denormal" inputs or the
            "denormal-results".
    """

    group: str
    kernel: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    threads: int = 1
    door: str = "functional"
    inputs: str = "normal"

    @property
    def size(self) -> str:
        """The shape as text: 128x784x512."""
        return "x".join(map(str, self.shape))

    @property
    def key(self) -> str:
        """A name of its own among all cases."""
        marks = [self.door] * (self.door != "functional") + [self.inputs] * (
            self.inputs != "normal"
        )
        return "-".join([self.kernel, self.size, SHORT[self.dtype], f"{self.threads}t", *marks])

    @property
    def words(self) -> tuple[str, ...]:
        """What it can be chosen by, one word of each kind: group, kernel, type, shape, door."""
        return self.group, self.kernel, SHORT[self.dtype], self.size, self.door

    @property
    def flops(self) -> int:
        """Floating-point operations of a product, 2 m k n; 0 for the others."""
        return 2 * math.prod(self.shape) if self.kernel in LAYOUTS else 0

    @property
    def bytes(self) -> int:
        """Bytes that has to read and to write what is no product; 0 for a product."""
        arrays = 0 if self.flops else STEPS.get(self.kernel, 2)
        return arrays * math.prod(self.shape) * np.dtype(self.dtype).itemsize


def beyond_caches() -> int:
    """Floats of an array that no cache holds."""
    cache = last_level_cache() or UNKNOWN_CACHE
    return min(CACHES_FILLED * cache // 4, STREAMED_MOST)


def _products(threads: Iterable[int]) -> Iterator[Case]:
    shapes = [(layout, (n, n, n)) for n in SQUARES for layout in LAYOUTS]
    shapes += [("nn", shape) for shape in OBLONGS]
    for dtype in SHORT:
        for layout, shape in shapes:
            yield from (Case("products", layout, shape, dtype, count) for count in threads)
        for door in reversed(DOORS):
            yield from (Case("calls", "nn", CALLED, dtype, count, door) for count in threads)
        for n in SMALL:
            yield from (Case("small", "nn", (n, n, n), dtype, count) for count in threads)


def _denormals() -> Iterator[Case]:
    for kernel in FUNCTIONS:
        yield Case("denormals", kernel, (CACHED,), inputs="denormal")
    for kernel, shape in (
        ("exp", (CACHED,)),
        ("sigmoid", (CACHED,)),
        ("softmax", (4096, 100)),
        ("softmax_ce", (4096, 100)),
    ):
        yield Case("denormals", kernel, shape, inputs="denormal-results")
    yield Case("denormals", "nn", (256, 256, 256), inputs="denormal")
    for kernel in STEPS:  # of gradients that lie below the range, and of those whose squares do
        for inputs in ("denormal", "denormal-results"):
            yield Case("denormals", kernel, (CACHED,), inputs=inputs)


def all_cases(threads: int) -> list[Case]:
    """Every case, on one thread and on that many, group by group."""
    counts = sorted({1, threads})
    cases = list(_products(counts))
    cases += [Case("cache", kernel, (CACHED,)) for kernel in FUNCTIONS + RANDOM]
    cases += [
        Case("memory", kernel, (beyond_caches(),), threads=count)
        for kernel in STREAMED + RANDOM
        for count in counts
    ]
    cases += [
        Case("rows", kernel, shape, threads=count)
        for kernel in ROW_KERNELS
        for shape in ROW_SHAPES
        for count in counts
    ]
    cases += [
        Case("steps", kernel, (n,), threads=count)
        for kernel in STEPS
        for n in STEPPED
        for count in counts
    ]
    groups = ("products", "calls", "small", "cache", "memory", "rows", "steps", "denormals")
    return sorted([*cases, *_denormals()], key=lambda case: groups.index(case.group))


def select(words: Iterable[str], cases: list[Case]) -> list[Case]:
    """The cases chosen by words; words of one kind widen the choice, those of two kinds narrow it.

    "exp tanh" chooses both kernels, "products f64" the products in float64.

    Raises:
        UnknownNameError: no case has that word, or none has them all.
    """
    chosen: dict[int, set[str]] = {}
    for word in words:
        kinds = {kind for case in cases for kind, own in enumerate(case.words) if own == word}
        if not kinds:
            known = ", ".join(
                dict.fromkeys(own for kind in (0, 1, 2) for own in _column(cases, kind))
            )
            raise UnknownNameError(
                f"bench kernels: unknown filter {word!r}; expected of: {known}, a shape like "
                "128x784x512, or how it is called: pointers, inside-C"
            )
        chosen.setdefault(kinds.pop(), set()).add(word)
    found = [c for c in cases if all(c.words[kind] in wanted for kind, wanted in chosen.items())]
    if not found:
        raise UnknownNameError(f"bench kernels: no case is all of: {', '.join(words)}")
    return found


def _column(cases: list[Case], kind: int) -> list[str]:
    return [case.words[kind] for case in cases]


def _values(case: Case, random: np.random.Generator) -> NDArray[np.floating]:
    """The first input: numbers as a network has them, in the domain of the function."""
    dtype = np.dtype(case.dtype).type
    if case.inputs == "denormal":
        return random.uniform(1e-44, 1e-38, case.shape[:2]).astype(dtype)
    if case.inputs == "denormal-results":
        # e^-88 is below the smallest normal float, 1.2e-38; e^-103 is the smallest one above 0.
        x = random.uniform(-103, -88, case.shape).astype(dtype)
        if x.ndim == 2:
            x[:, 0] = 0  # the row's largest, so that the others' probabilities are e^x
        return x
    x = random.standard_normal(case.shape[:2], np.float32).astype(dtype)
    if case.kernel in ("log", "log1p"):
        np.abs(x, out=x)
        x += dtype(0.01)
    return x


def make_inputs(case: Case) -> tuple[NDArray, ...]:
    """The same arrays at every call: (a, b) as they are stored, (x,), (x, classes) or (w, grad)."""
    random = np.random.default_rng(SEED)
    if case.flops:
        m, k, n = case.shape
        shape = (k, m) if case.kernel == "tn" else (m, k)
        a = _values(replace(case, shape=shape), random)
        shape = (n, k) if case.kernel == "nt" else (k, n)
        return a, _values(replace(case, shape=shape, inputs="normal"), random)
    if case.kernel in STEPS:
        w = _values(replace(case, inputs="normal"), random)
        if case.inputs == "normal":
            return w, w[::-1].copy()
        low, high = (1e-44, 1e-38) if case.inputs == "denormal" else (1e-22, 1e-19)
        return w, random.uniform(low, high, case.shape).astype(case.dtype)
    x = _values(case, random)
    if case.kernel == "softmax_ce":
        return x, random.integers(case.shape[1], size=case.shape[0])
    return (x,)
