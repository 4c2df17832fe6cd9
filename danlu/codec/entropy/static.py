"""`range`: one model for the whole stream, stored before it as rounded counts.

Layout: 1 byte m (1..6), then one range-coded stream (ranges.py) that holds

1. the table: `size` levels in 0..32 * 2**m, coded as `adaptive` codes symbols (adaptive.py: size 32 * 2**m + 1, a = 4, no
   halving, without its head byte). Level 0 is a symbol that does not occur; a level v > 0 is the count
       (2**m + (v - 1) % 2**m) << ((v - 1) >> m)
   that is, a number with an exponent and m bits of mantissa;
2. the symbols, all with frequencies(counts) (ranges.py).

More mantissa bits make a larger table and a better model; the encoder tries and keeps the smallest. A constant stream has
nothing to code here.
"""

import numpy as np

from .adaptive import cost, decode_blocks, encode_blocks
from .damaged import Damaged, read_byte
from .plain import smallest
from .ranges import PRECISION, Decoder, Encoder, frequencies

MANTISSAS, EXPONENTS, TABLE_PRIOR = range(1, 7), 32, 4
CHUNK = 1 << 20


def levels_of(counts: np.ndarray, mantissa: int) -> np.ndarray:
    """The nearest level of each count. Shape: [K] int64 -> [K] int64."""
    scaled = counts.astype(np.int64) << mantissa
    exponent = np.maximum(np.frexp(np.maximum(counts, 1).astype(np.float64))[1] - 1, 0)
    half = np.where(exponent > 0, 1 << np.maximum(exponent - 1, 0), 0)
    rounded = (scaled + half) >> exponent  # 2**m .. 2**(m + 1); the upper end is the next exponent's first level
    return np.where(counts > 0, (exponent << mantissa) + rounded - (1 << mantissa) + 1, 0)


def counts_of(levels: np.ndarray, mantissa: int) -> np.ndarray:
    """Shape: [K] -> [K] int64."""
    place = levels.astype(np.int64) - 1
    value = ((1 << mantissa) + (place & (1 << mantissa) - 1)) << (np.maximum(place, 0) >> mantissa)
    return np.where(levels > 0, value, 0)


def table(counts: np.ndarray, mantissa: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The levels, the frequencies they stand for, and the bits that table and symbols take."""
    levels = levels_of(counts, mantissa)
    model = frequencies(counts_of(levels, mantissa))
    bits = cost(levels, alphabet(mantissa), TABLE_PRIOR) + float((counts * (PRECISION - np.log2(model))).sum())
    return levels, model, bits


def alphabet(mantissa: int) -> int:
    """How many levels there are."""
    return (EXPONENTS << mantissa) + 1


def choose(counts: np.ndarray) -> tuple[float, int]:
    """(bits, m) of the best table for these counts."""
    return min((table(counts, mantissa)[2], mantissa) for mantissa in MANTISSAS)


def encode(symbols: np.ndarray, size: int) -> bytes:
    """Shape: [n >= 1] in 0..size-1, size >= 2."""
    counts = np.bincount(symbols, minlength=size)
    _, mantissa = choose(counts)
    levels, model, _ = table(counts, mantissa)
    coder = Encoder()
    encode_blocks(coder, levels, alphabet(mantissa), TABLE_PRIOR)
    for at in range(0, len(symbols), CHUNK):
        coder.symbols(symbols[at : at + CHUNK], model)
    return bytes([mantissa]) + coder.finish()


def decode(data: bytes, count: int, size: int) -> np.ndarray:
    """Shape: [count] uint8 or uint16."""
    mantissa = read_byte(data, 0, range(MANTISSAS.start, MANTISSAS.stop), "precision of the table")
    coder = Decoder(memoryview(data)[1:])
    levels = np.empty(size, np.int64)
    decode_blocks(coder, levels, alphabet(mantissa), TABLE_PRIOR)
    counts = counts_of(levels, mantissa)
    if not counts.any():
        raise Damaged("the table says that no symbol occurs")
    if int(counts.max()) >= 1 << 30:
        raise Damaged(f"the table has a count of {int(counts.max())}, at most 2**30 is possible")
    model, out = frequencies(counts), np.empty(count, smallest(size))
    for at in range(0, count, CHUNK):
        out[at : at + CHUNK] = coder.symbols(model, min(CHUNK, count - at))
    return out
