"""Tables as people write them, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write(folder: Path, text: str, name: str = "data.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def shop(folder: Path, rows: int = 60) -> Path:
    """id, a code, a date, a town, a number, an empty column, and what it costs."""
    rng, lines = np.random.default_rng(0), ["id;code;day;town;size;empty;price"]
    for i in range(rows):
        size = round(float(rng.uniform(1, 100)), 1)
        price = f"{3 * size + 100:.2f}".replace(".", ",")
        town = ["Köln", "Ulm"][i % 2]
        lines.append(f"{1000 + i};k{i:03d};{i % 28 + 1:02d}.02.2024;{town};{size};;{price}")
    return write(folder, "\n".join(lines) + "\n", encoding="utf-8-sig")
