"""How often `danlu compare` calls a difference real: where there is none, and where there is one. Simulated, no training.

    python benchmarks/significance.py --out docs/results/significance.json

A table has C combinations, each with S seeds and judged on the same N images. Run (c, s) answers image i right with

    P = sigmoid(a_i + b_ci + e_cs + gap_c),    a ~ N(1.5, 2), b ~ N(0, 0.7), e ~ N(0, scatter_c)

so images differ in difficulty, every combination has its own hard ones (of mean zero), and seeds shift the whole accuracy.
Without gaps, any "real" is an error; the rate of tables with at least one is printed, with the simulation's standard error.
"""

import argparse
import itertools
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from danlu.compare.significance import holm, paired, sides
from danlu.files import write_json

REAL = 0.05


def table(generator: np.random.Generator, seeds: int, images: int, scatter: list[float], gap: float) -> dict[int, np.ndarray]:
    """Right answers of each combination, [seeds, images]; combination 0 is better by `gap`."""
    difficulty = generator.normal(1.5, 2, images)
    found = {}
    for i, spread in enumerate(scatter):
        own = generator.normal(0, 0.7, images)
        shift = generator.normal(0, spread, (seeds, 1)) + (gap if i == 0 else 0.0)
        chance = 1 / (1 + np.exp(-(difficulty + own + shift)))
        found[i] = (generator.random((seeds, images)) < chance).astype(np.float64)
    return found


def reals(right: dict[int, np.ndarray]) -> list[tuple[int, int]]:
    """The pairs that the test calls different."""
    known = sides(right)
    pairs = list(itertools.combinations(right, 2))
    corrected = holm([paired(known[a], known[b]).p for a, b in pairs])
    return [pair for pair, p in zip(pairs, corrected, strict=True) if p < REAL]


def main() -> None:
    """Simulate every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=300, help="simulated for each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    rows: list[dict[str, Any]] = []
    for name, gap in (("no difference", 0.0), ("no difference, some scatter 15 times as much", 0.0), ("one is better", 0.5)):
        for seeds, images, count in itertools.product((2, 3, 5), (250, 2000), (2, 4, 9)):
            rough = [0.3 if "15" in name and i % 2 else 0.1 if "15" not in name else 0.02 for i in range(count)]
            hits = 0
            for _ in range(options.tables):
                found = reals(table(generator, seeds, images, rough, gap))
                hits += any(0 in pair for pair in found) if gap else bool(found)
            rate = hits / options.tables
            row = {"case": name, "seeds": seeds, "images": images, "combinations": count, "tables_with_a_real": rate}
            row["standard_error"] = math.sqrt(max(rate * (1 - rate), 1e-9) / options.tables)
            rows.append(row)
            print(
                f"{name}: {seeds} seeds, {images} images, {count} combinations: {rate:.1%} +- {row['standard_error']:.1%}",
                flush=True,
            )
    if options.out:
        command = "python benchmarks/significance.py " + " ".join(sys.argv[1:])
        write_json(options.out, {"command": command, "date": time.strftime("%Y-%m-%d"), "seed": options.seed, "rows": rows})


if __name__ == "__main__":
    main()
