"""One number of threads for nnlite and for the BLAS under NumPy and scikit-learn."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import nnlite as nn
from nnlite._core.native import build_facts
from nnlite.bench.peers import PeerError

# Read by OpenBLAS, MKL and OpenMP when they are loaded, that is before any of this runs.
VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


@contextmanager
def thread_limit(threads: int | None, blas: bool = True) -> Iterator[int]:
    """Limits nnlite and, where asked, the loaded BLAS to that many threads; undone at the end.

    Args:
        threads: number of threads, or None to leave everything as it is.
        blas: whether NumPy or scikit-learn are to be measured.

    Returns:
        The number of threads nnlite uses; 1 when it was built without threads.

    Raises:
        PeerError: the BLAS cannot be limited, for want of threadpoolctl.
    """
    with ExitStack() as stack:
        if threads is not None:
            stack.callback(nn.set_num_threads, nn.get_num_threads())
            nn.set_num_threads(threads)
            if blas and importlib.util.find_spec("threadpoolctl"):
                threadpoolctl = importlib.import_module("threadpoolctl")
                stack.enter_context(threadpoolctl.threadpool_limits(threads, user_api="blas"))
            elif blas and os.environ.get("OPENBLAS_NUM_THREADS") != str(threads):
                settings = " ".join(f"{name}={threads}" for name in VARIABLES)
                raise PeerError(
                    "bench: --threads cannot reach NumPy's BLAS without threadpoolctl: "
                    f"pip install 'nnlite[bench]', or start with {settings}"
                )
        yield nn.get_num_threads() if build_facts()["threads"] != "none" else 1
