"""Writes tests/fixtures/optim.npz: what PyTorch's optimisers and schedules give.

Run: python tests/tools/torch_fixtures.py (needs PyTorch). The tests compare with PyTorch itself
where it is installed, and with this file everywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import optimizer_cases as cases


def main() -> None:
    import torch

    arrays = {"torch": np.array(torch.__version__)}
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for name in cases.OPTIMIZERS:
            parts = cases.torchs(name, dtype)
            arrays[f"{name} {dtype}"] = np.concatenate([part.ravel() for part in parts])
        for name, extras in cases.EXTRAS.items():
            parts = cases.torchs("Adam", dtype, extras)
            arrays[f"extra {name} {dtype}"] = np.concatenate([part.ravel() for part in parts])
    for name in cases.SCHEDULES:
        arrays[f"rates {name}"] = cases.torch_rates(name)
    cases.FIXTURES.parent.mkdir(exist_ok=True)
    np.savez_compressed(cases.FIXTURES, **arrays)
    print(f"wrote {cases.FIXTURES}: {len(arrays)} arrays, {cases.FIXTURES.stat().st_size} bytes")


if __name__ == "__main__":
    main()
