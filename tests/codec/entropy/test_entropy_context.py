"""The context coder's bytes, read by a second program: plain loops over single cells, written from the documentation alone."""

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from danlu.codec.entropy import context

START = [0.7, 0.7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
PRIOR = [20, 20, 20, 20, 20, 20, 5, 5, 5, 5, 5, 20]


def log(value: int) -> int:
    shift = max(0, value.bit_length() - 12)
    return round(256 * math.log2(value >> shift)) + 256 * shift


def clamp(value: int, most: int) -> int:
    return max(-most, min(most, value))


def solved(matrix: list[list[int]], right: list[int]) -> list[float]:
    """Elimination in float64, in the documented order."""
    a, b, size = [[float(v) for v in row] for row in matrix], [float(v) for v in right], len(right)
    for i in range(size):
        for j in range(i + 1, size):
            factor = a[i][j] / a[i][i]
            for k in range(j, size):
                a[j][k] -= factor * a[i][k]
            b[j] -= factor * b[i]
    for i in reversed(range(size)):
        for k in range(i + 1, size):
            b[i] -= a[i][k] * b[k]
        b[i] /= a[i][i]
    return b


def read(data: bytes, rows: int, columns: int, decoder: Callable) -> np.ndarray:
    width, stream = data[0], decoder(data[1:])

    def bit(ones: int) -> int:
        return stream.symbol([2**24 - ones, ones])

    def flags(count: int, period: int) -> list[int]:
        found: list[int] = []
        ones, seen = [0] * 8, [0] * 8
        for k in range(count):
            back = [1] + ([period, period - 1] if period > 1 else [])
            c = sum((found[k - d] if k >= d else 0) << place for place, d in enumerate(back))
            found.append(bit((2 * ones[c] + 1) * 2**23 // (seen[c] + 1)))
            ones[c], seen[c] = ones[c] + found[-1], seen[c] + 1
        return found

    row_flags, column_flags = flags(rows, 1), flags(columns, width)
    alive_rows = [k for k in range(rows) if row_flags[k]]
    alive = [k for k in range(columns) if column_flags[k]]
    x: dict[tuple[int, int], int] = defaultdict(int)
    row, column, about, since, crowd = (defaultdict(lambda: [0, 0]) for _ in range(5))
    around = [3, width - 2, width + 2] + [2 * width + k for k in range(-2, 3)] if width > 2 else [3, 4, 5, 6]
    non_zeros = cells = fresh = 0
    weights = [float(w) for w in START]
    gradient, curvature = [0] * 12, [[PRIOR[k] << 32 if k == m else 0 for m in range(12)] for k in range(12)]
    for t in range(len(alive_rows) + len(alive) - 1 if alive else 0):
        g = min(65535, (1 + non_zeros) * 65536 // (20 + cells))
        base = log(g) - log(65536 - g)

        def logit(n1: int, n: int, g: int = g, base: int = base) -> int:
            return clamp(log(n1 * 65536 + 16 * g) - log((n - n1) * 65536 + 16 * (65536 - g)) - base, 4095)

        whole, met = [math.floor(w * 65536 + 0.5) for w in weights], []
        for r in range(len(alive_rows)):
            if not 0 <= t - r < len(alive):
                continue
            j = alive[t - r]
            near = [x[r, j - 1], x[r, j - 2]] + (
                [x[r, j - width], x[r, j - width - 1], x[r, j - width + 1]] if width > 1 else [0, 0, 0]
            )
            c = sum(n << place for place, n in enumerate(near))
            sides = [column[k] for k in (j - 1, j + 1, j - width, j + width)]
            f = [logit(*row[r]), logit(*column[j]), logit(sum(s[0] for s in sides), sum(s[1] for s in sides)), logit(*about[c])]
            gap = min(63, j - max((k for k in range(j) if x[r, k]), default=-1))
            many = sum(near) + sum(x[r, j - k] for k in around)
            f += [logit(*since[gap]), logit(*crowd[many])] + [256 * n for n in near] + [256]
            z = clamp(base + (sum(v * k for v, k in zip(whole, f, strict=True)) >> 16), 4096)
            ones = round(2**24 / (1 + 2 ** (-z / 256)))
            met.append((r, j, (c, gap, many), f, ones, bit(ones)))
        for r, j, (c, gap, many), f, ones, y in met:
            x[r, j] = y
            for count in (row[r], column[j], about[c], since[gap], crowd[many]):
                count[0] += y
                count[1] += 1
            non_zeros, cells, fresh = non_zeros + y, cells + 1, fresh + 1
            p = ones >> 8
            q = max(1, p * (65536 - p) >> 16)
            for k in range(12):
                gradient[k] += f[k] * ((y << 24) - ones)
                for m in range(12):
                    curvature[k][m] += q * f[k] * f[m]
        if fresh >= cells >> 6:
            weights = [w + 1.4375 * s for w, s in zip(weights, solved(curvature, gradient), strict=True)]
            gradient, fresh = [0] * 12, 0
    mask = np.zeros((rows, columns), bool)
    for (r, j), y in x.items():
        if y:
            mask[alive_rows[r], j] = True
    return mask


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (12, 36), (40, 16), (3, 100)])
@pytest.mark.parametrize("density", [0.1, 0.5])
def test_a_second_program_reads_the_same_mask(documented: Callable, shape: tuple[int, int], density: float) -> None:
    random = np.random.default_rng(0)
    mask = random.random(shape) < density * 4 * random.random((shape[0], 1)) * random.random((1, shape[1]))
    assert np.array_equal(read(context.encode(mask), *shape, documented), mask)


def test_it_also_reads_a_mask_with_an_image_behind_its_columns(documented: Callable) -> None:
    random = np.random.default_rng(1)
    mask = np.repeat(np.repeat(random.random((12, 6, 6)) < 0.2, 2, axis=1), 2, axis=2).reshape(12, 144)
    data = context.encode(mask)
    assert data[0] > 1
    assert np.array_equal(read(data, 12, 144, documented), mask)
