"""Which coder makes a stream of symbols smallest."""

from collections.abc import Callable

import numpy as np

from ...errors import UsageError
from . import adaptive, huffman, plain, static
from .damaged import Damaged

MOST_SIZE = 1 << 16
ENCODERS: dict[str, Callable[[np.ndarray, int], bytes]] = {
    "constant": plain.encode_constant,
    "packed": plain.encode_packed,
    "huffman": huffman.encode,
    "range": static.encode,
    "adaptive": adaptive.encode,
}
DECODERS: dict[str, Callable[[bytes, int, int], np.ndarray]] = {
    "constant": plain.decode_constant,
    "packed": plain.decode_packed,
    "huffman": huffman.decode,
    "range": static.decode,
    "adaptive": adaptive.decode,
}
TRY_ALL = 1 << 15  # longer streams are coded once, by the coder with the smallest computed size


def entropy_bits(counts: np.ndarray) -> float:
    """Order-0 entropy of a stream: sum over symbols of n_i log2(n / n_i), in bits. Shape: [K] -> float."""
    held = np.asarray(counts, np.float64)
    held = held[held > 0]
    return float((held * np.log2(held.sum() / held)).sum()) if len(held) > 1 else 0.0


def encode_symbols(symbols: np.ndarray, size: int) -> tuple[str, bytes]:
    """The smallest coding of integers [n] in 0..size-1: (name of the coder, data). `size` is at most 65,536."""
    symbols = np.asarray(symbols).reshape(-1)
    if not 1 <= size <= MOST_SIZE:
        raise UsageError(f"an alphabet has 1 to {MOST_SIZE} symbols, got size {size}")
    if len(symbols) and (int(symbols.min()) < 0 or int(symbols.max()) >= size):
        raise UsageError(f"symbols must lie in 0..{size - 1}, got {int(symbols.min())}..{int(symbols.max())}")
    symbols = symbols.astype(plain.smallest(size), copy=False)
    counts = count(symbols, size)
    if int((counts > 0).sum()) <= 1:
        return "constant", plain.encode_constant(symbols, size)
    names = [name for name in ENCODERS if name != "constant"]
    if len(symbols) > TRY_ALL:
        bits = {
            "packed": float(len(symbols) * (size - 1).bit_length()),
            "huffman": float((huffman.lengths_of(counts) * counts).sum()) + 16 * (len(symbols) // huffman.LANE),
            "range": static.choose(counts)[0],
            "adaptive": adaptive.choose(symbols, size)[0],
        }
        names = [min(bits, key=lambda name: bits[name])]
    coded = [(name, ENCODERS[name](symbols, size)) for name in names]
    return min(coded, key=lambda pair: len(pair[1]))


def count(symbols: np.ndarray, size: int) -> np.ndarray:
    """np.bincount in pieces: it copies to 8 bytes a symbol."""
    total = np.zeros(size, np.int64)
    for at in range(0, len(symbols), 1 << 20):
        total += np.bincount(symbols[at : at + (1 << 20)], minlength=size)
    return total


def decode_symbols(coder: str, data: bytes, count: int, size: int) -> np.ndarray:
    """What `encode_symbols` coded: [count] uint8 (size <= 256) or uint16; Damaged when the data cannot be that."""
    if coder not in DECODERS:
        raise Damaged(f"there is no symbol coder {coder!r}; known: {', '.join(DECODERS)}")
    if not 1 <= size <= MOST_SIZE or count < 0:
        raise Damaged(f"{count} symbols of an alphabet of {size} cannot be; 1 to {MOST_SIZE} symbols are possible")
    if size == 1 and coder != "constant":
        raise Damaged(f"an alphabet of 1 is stored as constant, not as {coder}")
    return DECODERS[coder](data, count, size)
