"""`blocks`: positions with the rows and the columns sorted into classes of like density. For tensors of any size.

Layout: varint a and varint b (1..64 each), the numbers of row and of column classes; then one range-coded stream (ranges.py) of
parts that are each coded as `adaptive` codes symbols (adaptive.py, a = 1, no halving, no head byte, counts anew for each part):

1. the class of every row, an alphabet of a + 1; 0 is a row without non-zeros;
2. the class of every column, an alphabet of b + 1;
3. for row class 1..a, for column class 1..b within it: the bits of the cells where they meet, 1 = non-zero, row after row, an
   alphabet of 2, with `total >> 2` in the place of `total >> 5`; nothing where no row or no column has the class.

The encoder sorts by the number of non-zeros and makes classes of equal size. Cells are coded one block after the other at the
density of their block, so 100 million of them take seconds, where `context` would take minutes.
"""

import numpy as np

from .adaptive import decode_blocks, encode_blocks
from .damaged import Damaged, read_varint, varint
from .ranges import Decoder, Encoder

MOST_CLASSES, PRIOR, LAG = 64, 1, 2
TRIED = (1, 2, 4, 8, 16)
LEAST_CELLS = 1 << 14  # of an average block: models take time, so that small blocks would slow the decoder down
CHUNK = 1 << 22  # cells copied out of the mask at a time


def classes(counts: np.ndarray, most: int) -> np.ndarray:
    """0 where a count is 0, else 1..most by rank, equal counts together. Shape: [n] int64 -> [n] uint8."""
    alive = np.sort(counts[counts > 0])
    if not len(alive):
        return np.zeros(len(counts), np.uint8)
    edges = alive[np.arange(1, most) * len(alive) // most]  # the first count of the classes 2..most
    found = np.searchsorted(edges, counts, side="right") + 1
    return np.where(counts > 0, found, 0).astype(np.uint8)


def met(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Non-zeros and cells of every block. Shape: [most, most] int64 each."""
    ones = np.zeros((most, most), np.int64)
    for label in range(1, most + 1):
        held = np.zeros(mask.shape[1], np.int64)
        for where in pieces(np.flatnonzero(rows == label), mask.shape[1]):
            held += mask[where].sum(0, dtype=np.int64)
        ones[label - 1] = np.bincount(columns, weights=held, minlength=most + 1)[1:]
    cells = np.outer(np.bincount(rows, minlength=most + 1)[1:], np.bincount(columns, minlength=most + 1)[1:])
    return ones, cells


def cost(mask: np.ndarray, most: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The bits that so many classes take, about, and the classes of rows and columns."""
    rows, columns = classes(mask.sum(1), most), classes(mask.sum(0), most)
    ones, cells = met(mask, rows, columns, most)
    chance = np.clip(ones / np.maximum(cells, 1), 1e-12, 1 - 1e-12)
    bits = -(ones * np.log2(chance) + (cells - ones) * np.log2(1 - chance)).sum() + 0.5 * np.log2(cells + 1).sum()
    for labels in (rows, columns):
        counts = np.bincount(labels)
        counts = counts[counts > 0]
        bits += float((counts * np.log2(len(labels) / counts)).sum()) + most * 0.5 * np.log2(len(labels) + 1)
    return float(bits), rows, columns


def choose(mask: np.ndarray) -> tuple[float, int, np.ndarray, np.ndarray]:
    """(bits, classes, row classes, column classes) of the best number of classes."""
    found = [
        (bits, most, rows, columns)
        for most in TRIED
        if most <= 2 or most * most * LEAST_CELLS <= mask.size
        for bits, rows, columns in [cost(mask, most)]
    ]
    return min(found, key=lambda one: one[0])


def pieces(rows: np.ndarray, columns: int) -> list[np.ndarray]:
    """The rows in runs of at most CHUNK cells."""
    step = max(1, CHUNK // max(1, columns))
    return [rows[at : at + step] for at in range(0, len(rows), step)]


def encode(mask: np.ndarray) -> bytes:
    """Shape: [rows, columns] bool."""
    _, most, rows, columns = choose(mask)
    coder = Encoder()
    encode_blocks(coder, rows, most + 1, PRIOR)
    encode_blocks(coder, columns, most + 1, PRIOR)
    members = [np.flatnonzero(columns == label) for label in range(1, most + 1)]
    for label in range(1, most + 1):
        band = mask[rows == label]
        for where in members:
            encode_blocks(coder, band[:, where].reshape(-1).view(np.uint8), 2, PRIOR, lag=LAG)
    return varint(most) * 2 + coder.finish()


def decode(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Shape: [rows, columns] bool."""
    row_classes, at = read_varint(data, 0, MOST_CLASSES, "number of row classes")
    column_classes, at = read_varint(data, at, MOST_CLASSES, "number of column classes")
    if not row_classes or not column_classes:
        raise Damaged("the number of classes is 0")
    coder, mask = Decoder(memoryview(data)[at:]), np.zeros(shape, bool)
    rows, columns = np.empty(shape[0], np.uint8), np.empty(shape[1], np.uint8)
    decode_blocks(coder, rows, row_classes + 1, PRIOR)
    decode_blocks(coder, columns, column_classes + 1, PRIOR)
    members = [np.flatnonzero(columns == label) for label in range(1, column_classes + 1)]
    for label in range(1, row_classes + 1):
        held = np.flatnonzero(rows == label)
        band = np.zeros((len(held), shape[1]), bool)
        for where in members:
            bits = np.empty(len(held) * len(where), np.uint8)
            decode_blocks(coder, bits, 2, PRIOR, lag=LAG)
            band[:, where] = bits.view(bool).reshape(len(held), len(where))
        mask[held] = band
    return mask
