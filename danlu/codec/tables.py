"""The values that indices stand for: written one by one, or as two numbers where they are evenly spaced."""

import numpy as np
from numpy.typing import NDArray

from .entropy import Damaged

GRID_BYTES = 8
CHUNK = 2**22  # weights looked up at a time
CLEAR_OF_ZERO = 2  # a grid that passes 0 over has at most one k to pass over


def grid_values(kind: str, first: float, step: float, count: int, zero: bool) -> NDArray[np.float32]:
    """The `count` values of a grid, without its zero. Computed in double precision, rounded once. Shape: [count] float32.

    Raises: Damaged when they are not finite or not different from 0 where they must be.
    """
    k = np.arange(count + CLEAR_OF_ZERO, dtype=np.float64)
    with np.errstate(all="ignore"):
        exact = step * (k + first) if kind == "grid" else first + step * k
        values = exact.astype(np.float32)
    if zero:
        values = values[values != 0]
    values = values[:count]
    if len(values) != count or not np.isfinite(values).all():
        raise Damaged(f"a table of {count} evenly spaced values starts at {first} with a step of {step}")
    return values


def as_grid(values: NDArray[np.float32], zero: bool) -> tuple[str, float, float] | None:
    """(kind, first, step) that give exactly these ascending values, or None.

    Shape: [K], without the zero of the table.
    """
    line = np.sort(np.append(values, np.float32(0))) if zero else values
    if len(line) < 2:
        return None
    for step in _steps(line):
        for kind, first in (("grid", np.round(2 * line[0] / step) / 2), ("line", line[0])):
            try:
                if np.array_equal(grid_values(kind, float(np.float32(first)), float(step), len(values), zero), values):
                    return kind, float(np.float32(first)), float(step)
            except Damaged:
                continue
    return None


def _steps(line: NDArray[np.float32]) -> list[np.float32]:
    """Steps that may have made these values: rounding hides the true one, so that its neighbours are tried, too."""
    count = len(line) - 1
    steps: list[np.float32] = [line[1] - line[0], line[-1] - line[-2], (line[-1] - line[0]) / np.float32(count)]
    first = np.round(2 * np.float64(line[0]) / steps[2]) / 2 if steps[2] else 0.0
    steps += [np.float32(np.float64(x) / k) for x, k in ((line[0], first), (line[-1], first + count)) if k]
    near = [np.nextafter(step, np.float32(way), dtype=np.float32) for step in steps for way in (-np.inf, np.inf)]
    return [step for step in dict.fromkeys(steps + near) if step > 0]


def look_up(
    indices: NDArray[np.unsignedinteger], table: NDArray[np.float32], scale: NDArray[np.float32] | None, axis: int,
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """out[c, ...] = scale[c] table[g, indices[c, ...]], c counting along `axis`. Shape: table [1 or C, K]."""
    if len(table) == 1 and scale is None:
        flat, into = indices.reshape(-1), out.reshape(-1)
        for start in range(0, len(flat), CHUNK):
            np.take(table[0], flat[start : start + CHUNK], out=into[start : start + CHUNK], mode="clip")
        return
    channels, rows = np.moveaxis(indices, axis, 0), np.moveaxis(out, axis, 0)
    for c in range(len(channels)):
        values = table[c if len(table) > 1 else 0].take(channels[c])
        rows[c] = values if scale is None else values * scale[c]
