"""The caller's arithmetic mode (flush-to-zero, rounding, traps) changes no bit, and stays."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers import BUILDS, DTYPES, TESTS, call, run_python, same_bytes
from kernel_table import TABLE, Draw, takes_threads

import nnlite as nn
from nnlite import functional as F
from nnlite._core import native

X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("aarch64", "arm64")
LIBM = None
for name in ("libm.so.6", "libm.dylib"):
    try:
        LIBM = ctypes.CDLL(name)
        break
    except OSError:
        continue
pytestmark = pytest.mark.skipif(
    LIBM is None or not (X86 or ARM), reason="no libm whose fenv_t is known here"
)

# fenv_t holds the mode as one 32-bit word: MXCSR behind the 28 bytes of the x87, or FPCR first.
WORD = 7 if X86 else 0
MODES = (
    {"ftz": 0x8000, "daz": 0x40, "both": 0x8040, "up": 0x4000, "down": 0x2000, "zero": 0xE040}
    if X86
    else {"ftz": 1 << 24, "up": 1 << 22, "down": 2 << 22, "zero": (3 << 22) | (1 << 24)}
)


def words() -> ctypes.Array:
    found = (ctypes.c_uint32 * 16)()
    assert LIBM is not None and LIBM.fegetenv(found) == 0
    return found


def control() -> int:
    """The bits of the mode that control, of this thread."""
    return int(words()[WORD]) & (0xFFC0 if X86 else 0xFFFFFFFF)


@contextmanager
def mode(bits: int) -> Iterator[None]:
    """This thread computes in another mode; it must still be that one at the end."""
    before = words()
    changed = words()
    changed[WORD] |= bits
    assert LIBM is not None and LIBM.fesetenv(changed) == 0
    inside = control()
    try:
        yield
        after = control()
    finally:
        LIBM.fesetenv(before)
    assert inside & bits == bits
    assert after == inside


def test_the_modes_are_set():
    tiny = np.full(4, 1e-310)
    assert (tiny * 0.5 != 0).all()
    for name in ("ftz", "both") if X86 else ("ftz",):
        with mode(MODES[name]):
            flushed = tiny * 0.5
        assert (flushed == 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TABLE)
def test_every_kernel_has_the_same_bits(name, dtype):
    line = TABLE[name]
    sizes = {1: (137,), 2: (17, 19), 3: (18, 33, 21)}[len(line.letters)]
    threads = {} if takes_threads(name) else {"threads": None}
    for seed in range(3):
        draw = Draw(seed, dtype)
        draw.extremes = True  # subnormal numbers among them
        arguments = line.arguments(draw, *sizes)
        for isa in BUILDS:
            expected = call(isa, dtype, name, *arguments, **threads)
            for bits in MODES.values():
                with mode(bits):
                    got = call(isa, dtype, name, *arguments, **threads)
                for one, other in zip(got, expected, strict=True):
                    same_bytes(one, other, f"{name} {isa} {bits:x}")


def small(*shape: int) -> np.ndarray:
    """Numbers whose products are subnormal in float32."""
    return (np.random.default_rng(3).normal(size=shape) * 1e-20).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", MODES)
def test_products_on_threads(name, threads):
    nn.set_num_threads(threads)
    a = small(300, 300)
    expected = F.matmul(a, a).tobytes()
    assert np.count_nonzero(np.frombuffer(expected, np.float32)) > 80_000
    with mode(MODES[name]):
        assert all(F.matmul(a, a).tobytes() == expected for _ in range(5))


def test_threads_that_begin_in_another_mode():
    """A new thread takes over the mode of the one that makes it."""
    program = """
import sys
sys.path[:0] = TESTS
import numpy as np, nnlite as nn
from nnlite import functional as F
from test_mode import MODES, mode, small
a = small(300, 300)
nn.set_num_threads(1)
expected = F.matmul(a, a).tobytes()
nn.set_num_threads(3)
with mode(next(iter(MODES.values()))):
    print(all(F.matmul(a, a).tobytes() == expected for _ in range(20)))
"""
    tests = [str(Path(__file__).parent), str(TESTS)]
    assert run_python(program.replace("TESTS", repr(tests))).stdout == "True\n"


@pytest.mark.skipif(not X86, reason="traps cannot be switched on here")
def test_traps_of_the_caller_do_not_end_the_process():
    program = """
import sys
sys.path[:0] = TESTS
import numpy as np
from nnlite._core import native
from nnlite import functional as F
from test_mode import LIBM, WORD, words
x = np.array([-1.0, 0.0, np.inf, 1e-310] * 9)
out = np.empty_like(x)
p, q = native.pointer(x), native.pointer(out)
kernel = native.F64.Log_updateOutput
before, traps = words(), words()
traps[WORD] &= ~0x1F80
LIBM.fesetenv(traps)
kernel(36, p, q, 1)
after = words()[WORD] & 0xFFC0
LIBM.fesetenv(before)
print(after, np.isnan(out[0]), out[1])
"""
    tests = [str(Path(__file__).parent), str(TESTS)]
    assert run_python(program.replace("TESTS", repr(tests))).stdout == "0 True -inf\n"


class Times(nn.Module):
    """What no program records: NumPy computes it."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x * np.float32(0.3)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * np.float32(0.3)


def trained(bits: int, eager: bool) -> list[bytes]:
    """Weights after some epochs with values among the subnormal numbers, and what is said."""
    nn.manual_seed(1)
    rng = np.random.default_rng(1)
    X, y = small(64, 8), rng.integers(0, 3, 64)
    last = [Times()] if eager else []
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3), *last)
    for p in model.parameters():
        p.data[...] *= 1e-19
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.Adam(model.parameters(), lr=1e-20))
    with mode(bits):
        trainer.fit(X, y, 3, 16, verbose=0)
        trainer.train_step(X, y)
        said = X if eager else model.predict(X)
    return [p.data.tobytes() for p in model.parameters()] + [said.tobytes()]


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("eager", [False, True], ids=["program", "modules"])
def test_training(name, eager):
    assert trained(MODES[name], eager) == trained(0, eager)


@pytest.mark.parametrize("name", MODES)
def test_backward_of_tensors(name):
    """What NumPy computes there."""
    x = nn.tensor(small(40), requires_grad=True)
    found = []
    for bits in (0, MODES[name]):
        y = (x * x.detach() * 1e-10).sum()
        with mode(bits):
            y.backward()
        found.append(x.grad.numpy().tobytes())
        x.grad = None
    assert found[0] == found[1]
    assert np.count_nonzero(np.frombuffer(found[0], np.float32)) == 40


def test_after_torch_flushes_denormals():
    torch = pytest.importorskip("torch")
    a = small(200, 200)
    nn.set_num_threads(2)
    expected = F.matmul(a, a).tobytes()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        found = {F.matmul(a, a).tobytes() for _ in range(40)}
        still = float(np.float64(1e-310) * 0.5) == 0
    finally:
        torch.set_flush_denormal(False)
    assert found == {expected}
    assert still


def test_the_mode_by_itself():
    common = native.common
    with mode(MODES["ftz"]):
        before = common.enter_standard_mode()
        assert control() == (0x1F80 if X86 else 0)
        common.restore_mode(before)
