"""The one door to C: the build for this processor, pointers, and exceptions from status codes.

Each installed extension `nnlite._kernels_<isa>` is the same C source compiled for one instruction
set; all give the same bits. The best one that the processor runs is loaded once, at import;
`NNLITE_ISA=portable|avx2|avx512|neon` picks another, and `NNLITE_THREADS=pool|openmp|none` where
threads come from (threads.py). No other file touches `ffi` or `lib`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from . import autotune
from . import threads as _threads

BEST_FIRST = ("avx512", "avx2", "neon", "portable")
SUFFIX = {"_f32": np.dtype(np.float32), "_f64": np.dtype(np.float64)}

DROPOUT_PURPOSE = 2**31  # purposes of random streams from here on: one for each Dropout

if TYPE_CHECKING:

    def __getattr__(name: str) -> int:
        """The constants of csrc/nnlite.h and csrc/ops.h without their prefix: EINDEX, OP_ADD."""


class Build:
    """One loaded extension: `common` functions, and `kernels[dtype]` without prefix and suffix."""

    def __init__(self, isa: str) -> None:
        module = importlib.import_module(f"nnlite._kernels_{isa}")
        self.isa, self.ffi, self.lib = isa, module.ffi, module.lib
        self.common = SimpleNamespace()
        self.kernels = {
            dtype: SimpleNamespace(dtype=dtype, array=self.ffi.typeof(f"{ctype}[]"))
            for dtype, ctype in zip(SUFFIX.values(), ("float", "double"), strict=True)
        }
        for name in dir(self.lib):
            if name.startswith("nnl_"):
                target, plain = self.common, name[4:]
                for suffix, dtype in SUFFIX.items():
                    if name.endswith(suffix):
                        target, plain = self.kernels[dtype], name[4 : -len(suffix)]
                setattr(target, plain, getattr(self.lib, name))

    def text(self, value: Any) -> str:
        """A C string as a Python string."""
        return self.ffi.string(value).decode()


def builds() -> list[str]:
    """The instruction sets that this installation was built for, best first."""
    found = [isa for isa in BEST_FIRST if importlib.util.find_spec(f"nnlite._kernels_{isa}")]
    if not found:
        raise ImportError(
            "nnlite: no native extension was found beside its Python files. From a source folder "
            "run: pip install -e . (or pip install . and start Python in another folder)"
        )
    return found


def supported() -> list[str]:
    """The builds that this processor runs, best first. Every installation has the portable one."""
    probe = load_build(builds()[-1])
    return [isa for isa in builds() if probe.common.cpu_supports(isa.encode())]


_loaded: dict[str, Build] = {}


def load_build(isa: str) -> Build:
    """Loads a build by name, beside any other; the caller makes sure that the processor runs it."""
    if isa not in _loaded:
        _loaded[isa] = build = Build(isa)
        if _threading.kind:
            _threading.apply(build)
        _autotune.apply(build)
    return _loaded[isa]


class _Threading:
    """Where the threads of all loaded builds come from."""

    kind = ""  # of _threads.KINDS; nothing yet: the builds' own default
    openmp = 0  # the address of its runner
    has_pool = False

    def apply(self, build: Build) -> None:
        numbers = {"pool": "POOL", "openmp": "OPENMP", "none": "NONE"}
        number = getattr(build.lib, f"NNL_THREADING_{numbers[self.kind]}")
        if build.common.set_threading(number, self.openmp) != build.lib.NNL_OK:
            raise ImportError(f"the {build.isa} kernels have no threads from {self.kind!r}")

    def choose(self, kind: str) -> None:
        if kind == "openmp" and not self.openmp:
            self.openmp = _threads.load_openmp()
        self.kind = kind
        for build in _loaded.values():
            self.apply(build)


_threading = _Threading()


def set_threading(kind: str) -> None:
    """Takes threads from there: one of _threads.KINDS."""
    operation = f"set_threading: kind: {kind!r}"
    _threads.require(operation, kind, _threading.has_pool, ValueError)
    if any(build.common.was_called() for build in _loaded.values()):
        raise RuntimeError(
            f"set_threading: kernels have run already, with threads from {_threading.kind!r}: call "
            "set_threading right after `import nnlite`, before anything is computed (a layer's "
            f"initial weights are), or start Python with {_threads.VARIABLE}={kind}"
        )
    _threading.choose(kind)


def get_threading() -> str:
    """Where threads come from: one of _threads.KINDS."""
    return _threading.kind


def threadings() -> list[str]:
    """Those of _threads.KINDS that this installation has, the default first."""
    return _threads.built(_threading.has_pool)


_autotune = autotune.Autotune("")


def set_autotune(on: bool = True, **forced: int) -> None:
    """Whether C autotunes its choices or takes the rules; and ways to force, by autotune.WAYS."""
    _autotune.set(on, forced, _loaded.values())


def tuned() -> list[autotune.Choice]:
    """What was chosen so far by trying."""
    return list(autotune.choices(_build))


def _choose() -> Build:
    wanted = os.environ.get("NNLITE_ISA", "")
    usable = supported()
    if wanted and wanted not in usable:
        raise ImportError(
            f"NNLITE_ISA={wanted!r}: expected one of {', '.join(usable)} (built: "
            f"{', '.join(builds())}; the processor must support it); unset it to get the best"
        )
    if usable == ["portable"] and len(builds()) > 1 and not wanted:
        print(
            "nnlite: this processor has no fused multiply-add; the portable kernels give the same "
            "bits, slowly",
            file=sys.stderr,
        )
    return load_build(wanted or usable[0])


def _from_command_line() -> bool:
    """Whether `nnlite` or `python -m nnlite` starts: they import the package before they can catch
    anything."""
    name = os.path.basename(next(iter(getattr(sys, "argv", [])), ""))
    return os.path.splitext(name)[0] in ("nnlite", "-m")


class Stopped(KeyboardInterrupt):
    """A call ended early because `wish_to_stop` asked for it, not by an exception of a handler."""


_wishes: list[bool] = [False]
_raised: list[BaseException] = []  # by handlers of signals while C ran


def wish_to_stop(wish: bool) -> None:
    """Says whether long calls into C should end (by Stopped) at their next look."""
    _wishes[0] = wish


def _keep(kind: Any, error: BaseException, traceback: Any) -> None:
    _raised.append(error)


def _asked() -> int:
    """Whether the call of the main thread should end: C asks every 50 ms. As in any function of
    Python handlers of signals run first; what they raise goes to `_keep`, and ends the call."""
    return _wishes[0]


def _listen(build: Build) -> None:
    """Has long calls into C answer Ctrl-C and other signals while they run."""
    build.ffi.def_extern("nnlite_asked", error=1, onerror=_keep)(_asked)
    build.common.watch(build.lib.nnlite_asked, threading.main_thread().ident)


try:
    _autotune = autotune.Autotune(os.environ.get(autotune.VARIABLE, ""))
    _build = _choose()
    _threading.has_pool = _build.common.get_threading() == _build.lib.NNL_THREADING_POOL
    _threading.choose(_threads.from_environment(_threading.has_pool))
    _listen(_build)
except ImportError as error:
    if not _from_command_line():
        raise
    print(f"nnlite: {error}", file=sys.stderr)
    raise SystemExit(2) from None
ISA = _build.isa
globals().update(
    {name[4:]: number for name in dir(_build.lib) if name.startswith("NNL_")
     for number in [getattr(_build.lib, name)]}
)  # fmt: skip
_ERRORS = {_build.lib.NNL_ENOMEM: MemoryError, _build.lib.NNL_EINDEX: IndexError}
common = _build.common
KERNELS = _build.kernels
_new = _build.ffi.new
_from_buffer = _build.ffi.from_buffer
_typeof = _build.ffi.typeof
_cast = _build.ffi.cast
_ARRAY = {
    np.dtype(np.float32): _typeof("float[]"),
    np.dtype(np.float64): _typeof("double[]"),
    np.dtype(np.int64): _typeof("int64_t[]"),
    np.dtype(np.uint32): _typeof("uint32_t[]"),
}
NULL = _build.ffi.NULL
_kept: Any = weakref.WeakKeyDictionary()  # what C structures point to
F32, F64 = (KERNELS[np.dtype(kind)] for kind in (np.float32, np.float64))
from_buffer = _from_buffer  # from_buffer(kernels.array, array): pointer() for a known dtype
INT64S = _ARRAY[np.dtype(np.int64)]  # and for indices


def kernels(dtype: Any) -> SimpleNamespace:
    """The C functions for float32 or float64, without prefix and suffix."""
    return KERNELS[np.dtype(dtype)]


def pointer(array: np.ndarray) -> Any:
    """A C pointer to a C-contiguous array of a known type; it keeps the array alive."""
    return _from_buffer(_ARRAY[array.dtype], array)


def cell(ctype: str) -> Any:
    """A pointer to one new C number, for functions that return through an argument."""
    return _new(ctype + "*")


def numbers(kernels: SimpleNamespace, count: int) -> Any:
    """Room for so many C numbers of the kernels' type."""
    return _new(kernels.array, count)


def struct(kind: str) -> Any:
    """A pointer to one new C structure, `nnl_<kind>`, all zero."""
    return _new(f"nnl_{kind} *")


def addresses(kind: str, pointers: list[Any]) -> Any:
    """A C array of pointers to such structures; the caller keeps them alive."""
    return _new(f"nnl_{kind} *[]", pointers)


def structs(kind: str, count: int) -> Any:
    """Room for so many C structures, `nnl_<kind>`, all zero."""
    return _new(f"nnl_{kind}[]", count)


def places(count: int) -> Any:
    """A table of so many pointers, for a recorded graph."""
    return _new("void *[]", count)


def address(array: np.ndarray) -> Any:
    """A C pointer to the first element of an array of any layout; the caller keeps it alive."""
    return _cast("void *", array.ctypes.data)


def integers(numbers: Sequence[int]) -> Any:
    """A C array of int64_t."""
    return _new("int64_t[]", list(numbers) or [0])


def counters(numbers: Sequence[int]) -> Any:
    """A C array of uint32_t: counts of random streams."""
    return _new("uint32_t[]", list(numbers) or [0])


def bytes_of(numbers: Sequence[int]) -> Any:
    """A C array of uint8_t."""
    return _new("uint8_t[]", list(map(int, numbers)) or [0])


def run_side_by_side(dtype: np.dtype, trainings: list[Any], threads: int) -> None:
    """Runs several prepared trainings; each has its own status then."""
    pointers = addresses("training", trainings)
    KERNELS[dtype].Training_run(len(trainings), pointers, threads)


def optimizer(**numbers: Any) -> Any:
    """An optimiser's rule, settings and running scalars; the rest is 0."""
    return _new("nnl_optimizer*", numbers)


def optimizer_numbers(optimizer: Any) -> dict[str, Any]:
    """The numbers of an optimiser by name."""
    fields = _typeof("nnl_optimizer").fields or ()
    return {name: getattr(optimizer, name) for name, _ in fields}


def segments(parts: Sequence[tuple[Any, ...]]) -> Any:
    """Segments from (weight, grad, states, weight_decay, l1), flat arrays of one length each, which
    they keep alive.

    Raises:
        ValueError: a state has another length or dtype than its weights.
    """
    made = _new("nnl_segment[]", len(parts))
    _kept[made] = [(weight, grad, tuple(states)) for weight, grad, states, *_ in parts]
    for segment, (weight, grad, states, weight_decay, l1) in zip(made, parts, strict=True):
        for array in (grad, *states):
            if array.shape != weight.shape or array.dtype != weight.dtype:
                raise ValueError(
                    f"optimizer: state: expected {weight.size} numbers of {weight.dtype} for "
                    f"these parameters, got {array.dtype}, shape {array.shape}; assign into the "
                    "arrays of optimizer.state instead of replacing them"
                )
        segment.count, segment.weight_decay, segment.l1 = weight.size, weight_decay, l1
        segment.weight, segment.grad = pointer(weight), pointer(grad)
        for number, array in enumerate(states):
            segment.state[number] = pointer(array)
    return made


def fail(operation: str, status: int, detail: str = "") -> NoReturn:
    """Raises the exception for a status other than OK."""
    if status == _build.lib.NNL_EINTR:
        raise interruption()
    text = _build.text(common.status_text(status))
    kind = _ERRORS.get(status, ValueError)
    raise kind(f"{operation}: {detail or text}")


Function = TypeVar("Function", bound=Callable[..., Any])


def in_standard_mode(function: Function) -> Function:
    """The function, for what NumPy computes in it: in the arithmetic mode in which every kernel
    computes by itself (csrc/core/mode.h), whatever that of the caller is."""
    enter, restore = common.enter_standard_mode, common.restore_mode

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        before = enter()
        try:
            return function(*args, **kwargs)
        finally:
            restore(before)

    return run  # type: ignore[return-value]


def interruption() -> BaseException:
    """The exception for a call that was told to end."""
    return _raised.pop() if _raised else Stopped()


def raise_kept() -> None:
    """Raises what a handler of signals raised while C ran, where nobody has done so."""
    if _raised:
        raise _raised.pop()


def build_facts() -> dict[str, Any]:
    """What the loaded extension was compiled with, and where its threads come from."""
    return {
        "isa": ISA,
        "builds": builds(),
        "supported": supported(),
        "threads": {"pool": "own pool", "openmp": "OpenMP"}.get(_threading.kind, "none"),
        "compiler": _build.text(common.build_compiler()),
    }


def check(status: int, operation: str, detail: str = "") -> None:
    """Raises the exception for a status other than OK."""
    if status:
        fail(operation, status, detail)
