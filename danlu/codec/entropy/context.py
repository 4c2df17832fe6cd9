"""`context`: positions under a model of rows, columns and neighbours that learns as it goes. The smallest for small tensors.

Pruned weights are not spread evenly: whole rows (neurons) and columns (inputs) are dead, others dense, and where the columns are
an image, the weights of a neuron lie together. Layout: varint W (1..256, the width of that image, 1 = no image); then one
range-coded stream (ranges.py): a flag for each row, 1 = it holds a non-zero; the flags of the columns; the cells.

Flag k under the context c = f[k-1] + 2 f[k-W] + 4 f[k-W+1] (0 before the start; W = 1 for rows), with ones[c] of seen[c] flags
so far being 1; if W = 1 only f[k-1] counts:  frequency of 1 = (2 ones[c] + 1) * 2**23 // (seen[c] + 1).

Cells: only the alive rows, numbered r = 0..R-1, and alive columns, c = 0..C-1, are coded. Step t = 0..R+C-2 codes the cells with
r + c = t, by ascending r. All that a cell looks at was coded in earlier steps, so a step is one vector operation; x[r, j] is a
cell by its column j in the whole tensor, 0 where it is dead, outside, or coded later. Before each step, over all cells so far,

    g = min(65535, (1 + non-zeros) * 65536 // (20 + cells)),  base = log(g) - log(65536 - g)                   (logistic.py)
    logit(n1, n) = log(n1 * 65536 + 16 * g) - log((n - n1) * 65536 + 16 * (65536 - g)) - base, clamped to -4095..4095

where n1 of n cells so far were non-zero; log, weights, and learning are in logistic.py. Column counts are kept for all columns
of the tensor, 0 for dead ones and outside. The features of cell (r, j), with their first weight and prior:

    logit of row r                                                             0.7   20
    logit of column j                                                          0.7   20
    logit of the columns j-1, j+1, j-W, j+W together                           0     20
    logit of the cells so far with the same x[r,j-1] + 2 x[r,j-2] + 4 x[r,j-W] + 8 x[r,j-W-1] + 16 x[r,j-W+1]   0   20
    logit of the cells so far with the same min(63, j - i), i the column of the row's last non-zero so far, -1 if none   0   20
    logit of the cells so far with as many non-zeros around them               0     20
    256 times x[r,j-1], x[r,j-2], x[r,j-W], x[r,j-W-1], x[r,j-W+1]             0      5 each
    256                                                                        0     20

If W = 1, the last three of the five neighbours are taken as 0. Around a cell are these five and x[r,j-k] for k = 3, W-2, W+2,
2W-2, 2W-1, 2W, 2W+1, 2W+2; for k = 3, 4, 5, 6 if W <= 2. Used up to 2**20 alive cells and R + C <= 8192.
"""

from collections.abc import Callable

import numpy as np

from .damaged import Damaged, read_varint, varint
from .logistic import MOST_FEATURE, UNIT, Learner, log
from .ranges import PRECISION, TOTAL, Decoder, Encoder

MOST_CELLS, MOST_STEPS, MOST_WIDTH = 1 << 20, 1 << 13, 256
START = [0.7, 0.7] + [0.0] * 10
PRIOR = [20] * 6 + [5] * 5 + [20]
STRENGTH = 16  # cells' worth of the overall density in every count
Exchange = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # (ones, rows, columns of the tensor) -> bits


def fits(rows: int, columns: int) -> bool:
    """Whether so many alive rows and columns are few enough for this coder."""
    return rows * columns <= MOST_CELLS and rows + columns <= MOST_STEPS


class Counted:
    """How many of the cells so far were non-zero, by row, column or context."""

    def __init__(self, size: int) -> None:
        self.ones, self.all = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def at(self, *places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(non-zeros, cells), summed over the places. Shape: each [n] -> [n], [n]."""
        ones, cells = self.ones[places[0]], self.all[places[0]]
        for more in places[1:]:
            ones, cells = ones + self.ones[more], cells + self.all[more]
        return ones, cells

    def add(self, where: np.ndarray, bits: np.ndarray) -> None:
        """Count the bits of a step; places may repeat."""
        self.ones += np.bincount(where[bits > 0], minlength=len(self.ones))
        self.all += np.bincount(where, minlength=len(self.all))


def walk(alive_rows: int, alive: np.ndarray, columns: int, width: int, exchange: Exchange) -> None:
    """Go through the cells; `exchange` codes each step and gives its bits. `alive`: the alive columns' numbers, ascending."""
    edge = 2 * width + 6  # so that no neighbour lies outside the array
    cells = np.zeros((alive_rows, columns + 2 * edge), np.uint8)
    row, column, pattern, since, around = (Counted(size) for size in (alive_rows, columns + 2 * edge, 32, 64, 16))
    far = [3, width - 2, width + 2, *range(2 * width - 2, 2 * width + 3)] if width > 2 else [3, 4, 5, 6]
    close = [1, 2, width, width + 1, width - 1] if width > 1 else [1, 2]
    last, learner, non_zeros, seen = np.full(alive_rows, edge - 1), Learner(START, PRIOR), 1, 20
    features = np.zeros((len(START), alive_rows), np.int64)
    for step in range(alive_rows + len(alive) - 1):
        r = np.arange(max(0, step - len(alive) + 1), min(alive_rows - 1, step) + 1)
        j = alive[step - r] + edge
        near = [cells[r, j - k].astype(np.int64) for k in close]
        shape = sum(bit << place for place, bit in enumerate(near))
        gap, crowd = np.minimum(j - last[r], 63), sum(near) + sum(cells[r, j - k] for k in far)
        counted = [row.at(r), column.at(j), column.at(j - 1, j + 1, j - width, j + width)]
        counted += [pattern.at(shape), since.at(gap), around.at(crowd)]
        g = min(65535, (non_zeros << 16) // seen)
        base = int(log(np.array(g)) - log(np.array(65536 - g)))
        ones, total = (np.array(part) for part in zip(*counted, strict=True))
        logits = log((ones << 16) + STRENGTH * g) - log((total - ones << 16) + STRENGTH * (65536 - g)) - base
        found = features[:, : len(r)]
        np.clip(logits, -MOST_FEATURE, MOST_FEATURE, out=found[:6])
        for place, bit in enumerate(near):
            found[6 + place] = bit << 8
        found[11] = UNIT
        chance = learner.ones(found, base)
        bits = exchange(chance, r, j - edge)
        learner.learn(found, chance, bits)
        cells[r, j] = bits
        last[r[bits > 0]] = j[bits > 0]
        for table, where in ((row, r), (column, j), (pattern, shape), (since, gap), (around, crowd)):
            table.add(where, bits)
        non_zeros += int(bits.sum())
        seen += len(bits)


def flag_by_flag(flags: np.ndarray, width: int, exchange: Callable[[int, int], int]) -> None:
    """Go through `flags` [n]; `exchange` (frequency of 1, place) codes each and gives it; `flags` is filled on the way."""
    ones, seen = [0] * 8, [0] * 8
    for k in range(len(flags)):
        c = int(flags[k - 1]) if k else 0
        if width > 1:
            c += 2 * int(flags[k - width]) if k >= width else 0
            c += 4 * int(flags[k - width + 1]) if k >= width - 1 else 0
        bit = exchange(((2 * ones[c] + 1) << PRECISION - 1) // (seen[c] + 1), k)
        flags[k] = bit
        ones[c] += bit
        seen[c] += 1


def flag_chances(flags: np.ndarray, width: int) -> np.ndarray:
    """The frequencies of 1 that known flags are coded with. Shape: [n] bool -> [n] int64."""
    found: list[int] = []

    def exchange(ones: int, k: int) -> int:
        found.append(ones)
        return int(flags[k])

    flag_by_flag(np.zeros(len(flags), bool), width, exchange)
    return np.array(found, np.int64)


def trace(mask: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """All bits of a mask in coding order, and the frequencies of 1 that they are coded with."""
    bits: list[np.ndarray] = []
    chances: list[np.ndarray] = []
    rows, alive = np.logical_or.reduce(mask, 1), np.logical_or.reduce(mask, 0)
    for flags, period in ((rows, 1), (alive, width)):
        chances.append(flag_chances(flags, period))
        bits.append(flags.astype(np.int64))
    whole = mask[rows].astype(np.int64)

    def exchange(ones: np.ndarray, r: np.ndarray, j: np.ndarray) -> np.ndarray:
        chances.append(ones)
        known: np.ndarray = whole[r, j]
        bits.append(known)
        return known

    if rows.any():
        walk(len(whole), np.flatnonzero(alive), mask.shape[1], width, exchange)
    return np.concatenate(bits), np.concatenate(chances)


def widths(mask: np.ndarray, most: int = 3) -> list[int]:
    """Likely widths of an image behind the columns: distances at which non-zeros of a row meet more often than by chance."""
    held = mask[mask.any(1)].astype(np.float32)
    share, scores = held.mean(0) if len(held) else np.zeros(mask.shape[1]), []
    for width in range(2, min(mask.shape[1] // 2, MOST_WIDTH) + 1):
        expected = float((share[width:] * share[:-width]).sum()) * len(held)
        met = float((held[:, width:] * held[:, :-width]).sum())
        scores.append(((met - expected) / max(expected, 1.0) ** 0.5, width))
    return [1] + [width for score, width in sorted(scores, reverse=True)[:most] if score > 2]


def cost(bits: np.ndarray, chances: np.ndarray) -> float:
    """What a trace takes, in bits."""
    return float((PRECISION - np.log2(np.where(bits > 0, chances, TOTAL - chances))).sum())


def encode(mask: np.ndarray) -> bytes:
    """Shape: [rows, columns] bool, for which `fits` holds of its alive rows and columns."""
    traced = [(cost(*found), width, found) for width in widths(mask) for found in [trace(mask, width)]]
    _, width, (bits, chances) = min(traced, key=lambda one: one[:2])
    coder = Encoder()
    coder.bits(bits, chances)
    return varint(width) + coder.finish()


def decode(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Shape: [rows, columns] bool."""
    width, at = read_varint(data, 0, MOST_WIDTH, "width of the image")
    if not width:
        raise Damaged("the width of the image is 0")
    coder, mask = Decoder(memoryview(data)[at:]), np.zeros(shape, bool)
    rows, alive = np.zeros(shape[0], bool), np.zeros(shape[1], bool)
    for flags, period in ((rows, 1), (alive, width)):
        flag_by_flag(flags, period, lambda ones, k: int(coder.bits(np.array([ones]))[0]))
    where, numbers = np.flatnonzero(rows), np.flatnonzero(alive)
    if not fits(len(where), len(numbers)):
        raise Damaged(f"{len(where)} x {len(numbers)} alive cells are more than the context coder takes")

    def exchange(ones: np.ndarray, r: np.ndarray, j: np.ndarray) -> np.ndarray:
        bits = coder.bits(ones).astype(np.int64)
        mask[where[r], j] = bits
        return bits

    if len(where) and len(numbers):
        walk(len(where), numbers, shape[1], width, exchange)
    return mask
