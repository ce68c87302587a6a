"""Writes tests/golden/expressions.json: random expression graphs with PyTorch's derivatives.

Graphs are added until every operation of tests/expressions.py stands in one. Needs PyTorch.

Run: python tests/tools/write_expressions.py
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from expressions import OPERATIONS, build, derivatives_by_torch  # noqa: E402

LEAST = 40  # graphs


def main() -> None:
    graphs: list[dict] = []
    missing = set(OPERATIONS)
    for seed in range(10_000):
        rng = np.random.default_rng(seed)
        program = build(lambda n, rng=rng: int(rng.integers(n)))
        names = {name for name, _, _ in program["steps"]}
        if len(graphs) >= LEAST and not names & missing:
            continue
        found = derivatives_by_torch(program)
        numbers = [found["value"], *[n for part in found["second"] for n in part]]
        if not all(map(math.isfinite, numbers)):
            raise SystemExit(f"graph {seed} is not finite: {program['steps']}")
        graphs.append({**program, **found})
        missing -= names
        if len(graphs) >= LEAST and not missing:
            break
    path = TESTS / "golden" / "expressions.json"
    path.write_text("[\n" + ",\n".join(json.dumps(graph) for graph in graphs) + "\n]\n")
    print(f"wrote {len(graphs)} graphs, {path.stat().st_size} bytes, to {path}")


if __name__ == "__main__":
    main()
