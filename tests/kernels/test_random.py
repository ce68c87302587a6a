"""The counter-based generator: known answers, exact formulas, moments; the same in every build."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, F32, F64, Out, call, same_bytes

import nnlite as nn
from nnlite._core import native

MASK = 2**32 - 1
STREAMS = [(0, 0, 0), (1, 2, 3), (2**64 - 1, 2**32 - 1, 2**32 - 1), (0xA4093822299F31D0, 7, 0)]


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 in plain integers (Salmon, Moraes, Dror, Shaw 2011)."""
    c, key = list(counter), list(key)
    for _ in range(10):
        high, low = divmod(0xD2511F53 * c[0], 2**32), divmod(0xCD9E8D57 * c[2], 2**32)
        c = [low[0] ^ c[1] ^ key[0], low[1], high[0] ^ c[3] ^ key[1], high[1]]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return c


def words(n: int, seed: int, purpose: int, step: int) -> np.ndarray:
    """The first n words of the stream: counter (block, purpose, step), key the seed."""
    key = [seed & MASK, seed >> 32]
    blocks = [philox([i & MASK, i >> 32, purpose, step], key) for i in range(-(-n // 4))]
    return np.array([word for block in blocks for word in block][:n], np.uint32)


def unit(n: int, dtype: np.dtype, *stream: int) -> np.ndarray:
    """n numbers in (0, 1): 23 bits of one word, or 52 bits of two, and a half."""
    if dtype == F32:
        return ((words(n, *stream) >> 9).astype(F32) + F32.type(0.5)) * F32.type(2**-23)
    pairs = words(2 * n, *stream).astype(np.uint64).reshape(n, 2)
    return (((pairs[:, 1] << 32 | pairs[:, 0]) >> 12).astype(F64) + 0.5) * 2.0**-52


def draw(isa, dtype, name, n, *arguments, kind=None) -> np.ndarray:
    kind = kind or (np.uint32 if name == "random_bits" else dtype)
    return call(isa, dtype, name, n, Out(n, kind), *arguments, threads=None, offset=1)[0]


# Known answers of the Random123 library: counter, key, words.
KNOWN = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_reference_gives_the_known_answers(counter, key, expected):
    found = philox(*([int(word, 16) for word in text.split()] for text in (counter, key)))
    assert " ".join(f"{word:08x}" for word in found) == expected


@pytest.mark.parametrize("isa", BUILDS)
def test_bits_are_philox(isa):
    first = draw(isa, F32, "random_bits", 4, 0, 0, 0)
    assert [f"{word:08x}" for word in first] == KNOWN[0][2].split()
    for stream in STREAMS:
        for n in (0, 1, 3, 4, 5, 1003):
            same_bytes(draw(isa, F32, "random_bits", n, *stream), words(n, *stream), f"{stream}")


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_uniform_is_its_formula(dtype, stream):
    low, high = dtype.type(-0.3), dtype.type(1.7)
    for n in (0, 1, 2, 3, 5, 1003):
        expected = low + (high - low) * unit(n, dtype, *stream)
        for isa in BUILDS:
            same_bytes(draw(isa, dtype, "random_uniform", n, low, high, *stream), expected, isa)


@pytest.mark.parametrize("stream", STREAMS)
def test_normal_is_the_quantile(stream):
    """Against the standard library's inverse, and by the way back: Phi(z) = u."""
    u, standard = unit(1003, F64, *stream), NormalDist()
    z = draw("portable", F64, "random_normal", 1003, 0.0, 1.0, *stream)
    np.testing.assert_allclose(z, [standard.inv_cdf(v) for v in u], rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose([standard.cdf(v) for v in z], u, rtol=1e-12)
    for isa in BUILDS:
        for n in (0, 1, 2, 3, 1003):
            for dtype in DTYPES:
                mean, std = dtype.type(-3.5), dtype.type(0.25)
                got = draw(isa, dtype, "random_normal", n, mean, std, *stream)
                same_bytes(got, mean + std * z[:n].astype(dtype), f"{isa} {n}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_moments(dtype):
    """Mean, variance, skewness and kurtosis within five standard deviations of theirs."""
    n = 200_000
    isa = BUILDS[0]
    u = draw(isa, dtype, "random_uniform", n, -1.0, 1.0, 5, 0, 0).astype(F64)
    z = draw(isa, dtype, "random_normal", n, 0.0, 1.0, 5, 0, 1).astype(F64)
    for sample, moments, deviations in (
        (u, (0, 1 / 3, 0, 1 / 5), (3**-0.5, 0.298, 7**-0.5, 0.267)),
        (z, (0, 1, 0, 3), (1, 2**0.5, 15**0.5, 96**0.5)),
    ):
        for power, (moment, deviation) in enumerate(zip(moments, deviations, strict=True), 1):
            assert abs((sample**power).mean() - moment) < 5 * deviation / n**0.5, power
        assert abs((sample[1:] * sample[:-1]).mean()) < 5 * moments[1] / n**0.5  # neighbours
    assert -1 < u.min() < -0.9999 and 0.9999 < u.max() < 1 and 4 < np.abs(z).max() < 6


@pytest.mark.parametrize("isa", BUILDS)
def test_permutation_is_the_same_in_every_build(isa):
    expected = nn.data.permutation(1000, 3, 4)
    got = draw(isa, F32, "random_permutation", 1000, 8, 3, nn.data._order.SHUFFLE, 4, kind=np.int64)
    same_bytes(got, expected)
    assert sorted(got) == list(range(1000))


@pytest.mark.parametrize("isa", BUILDS)
def test_refuses_sizes(isa):
    for n in (-1, 2**62):
        for name, kind, scalars in (
            ("random_bits", np.uint32, ()),
            ("random_permutation", np.int64, (8,)),
            ("random_uniform", F32, (0.0, 1.0)),
            ("random_normal", F32, (0.0, 1.0)),
        ):
            args = (n, Out(4, kind), *scalars, 0, 0, 0)
            call(isa, F32, name, *args, threads=None, status=native.EINVAL)


@pytest.mark.parametrize("isa", BUILDS)
def test_a_permutation_of_four_bytes_has_the_same_numbers(isa):
    n = 1001
    short, long = (
        draw(isa, F32, "random_permutation", n, width, 3, 5, 4, kind=kind)
        for width, kind in ((4, np.uint32), (8, np.int64))
    )
    assert short.tolist() == long.tolist()
    out = Out(4, np.uint32)
    for rows, width in ((4, 2), (2**32 + 1, 4)):
        call(isa, F32, "random_permutation", rows, out, width, 0, 0, 0, threads=None,
             status=native.EINVAL)  # fmt: skip
