"""`huffman`: the classic prefix code, canonical, in lanes that are read side by side.

Layout: varint t; t bytes: the code length of each of the `size` symbols (0 = does not occur, else 1..16), coded as `adaptive`
codes `size` symbols of an alphabet of 17, a = 3, no halving, without its head byte (adaptive.py); then, if there is more than
one lane, the bytes of every lane but the last as varints; then the lanes. With n symbols there are max(1, n // 2048) = L lanes;
lane k holds the symbols k, k + L, k + 2L, ...; each lane starts on a byte, bits run from the high end of a byte to the low one.

Codes are canonical: of the symbols sorted by (length, symbol) the first has the code 0 in its length; the next code is the
last one plus 1, shifted left by the growth in length. A stream with one kind of symbol gives it the code 0 in 1 bit.

Lengths are the textbook optimum; where that is deeper than 16, the smallest counts are raised to 2, 4, 8, ... until it is not.

Source: Huffman 1952; canonical codes: Schwartz and Kallick 1964.
"""

import heapq

import numpy as np

from .adaptive import decode_blocks, encode_blocks
from .damaged import Damaged, read_varint, varint
from .plain import smallest
from .ranges import Decoder, Encoder

DEEPEST, LANE, TABLE_PRIOR = 16, 2048, 3


def lengths_of(counts: np.ndarray) -> np.ndarray:
    """Code lengths of the optimal prefix code with at most 16 bits a symbol. Shape: [K] -> [K] int64, 0 where a count is 0."""
    lengths, least = textbook(counts), 1
    while int(lengths.max(initial=0)) > DEEPEST:
        least *= 2
        lengths = textbook(np.where(counts > 0, np.maximum(counts, least), 0))
    return lengths


def textbook(counts: np.ndarray) -> np.ndarray:
    """Huffman's own lengths: the two rarest are joined until one is left."""
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    if len(used) == 1:
        lengths[used] = 1
    if len(used) < 2:
        return lengths
    heap = [(int(counts[symbol]), place) for place, symbol in enumerate(used)]
    heapq.heapify(heap)
    parents = np.zeros(2 * len(used) - 1, np.int64)
    for node in range(len(used), len(parents)):
        first, one = heapq.heappop(heap)
        second, other = heapq.heappop(heap)
        parents[one] = parents[other] = node
        heapq.heappush(heap, (first + second, node))
    depth = np.zeros(len(parents), np.int64)
    for node in range(len(parents) - 2, -1, -1):
        depth[node] = depth[parents[node]] + 1
    lengths[used] = depth[: len(used)]
    return lengths


def codes_of(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The symbols that occur, in code order, and their codes pushed to the left of 16 bits. Shape: [K] -> [used], [used]."""
    used = np.flatnonzero(lengths)
    order = used[np.argsort(lengths[used], kind="stable")]
    slots = 1 << DEEPEST - lengths[order]
    return order, np.cumsum(slots) - slots


def encode(symbols: np.ndarray, size: int) -> bytes:
    """Shape: [n >= 1] in 0..size-1."""
    lengths = lengths_of(np.bincount(symbols, minlength=size))
    order, left = codes_of(lengths)
    codes = np.zeros(size, np.int64)
    codes[order] = left >> DEEPEST - lengths[order]
    coder = Encoder()
    encode_blocks(coder, lengths, DEEPEST + 1, TABLE_PRIOR)
    table = coder.finish()
    lanes = max(1, len(symbols) // LANE)
    parts = [write(symbols[lane::lanes], codes, lengths) for lane in range(lanes)]
    sizes = b"".join(varint(len(part)) for part in parts[:-1])
    return varint(len(table)) + table + sizes + b"".join(parts)


def write(symbols: np.ndarray, codes: np.ndarray, lengths: np.ndarray) -> bytes:
    """The codes one after the other, filled with zeros to a whole byte."""
    long, code = lengths[symbols], codes[symbols]
    places = np.arange(DEEPEST - 1, -1, -1)
    bits = (code[:, None] >> places & 1).astype(np.uint8)
    return np.packbits(bits[places < long[:, None]]).tobytes()


def decode(data: bytes, count: int, size: int) -> np.ndarray:
    """Shape: [count] uint8 or uint16."""
    taken, at = read_varint(data, 0, len(data), "length of the Huffman table")
    lengths = np.empty(size, np.int64)
    decode_blocks(Decoder(data[at : at + taken]), lengths, DEEPEST + 1, TABLE_PRIOR)
    order, _ = codes_of(lengths)
    slots = int((1 << DEEPEST - lengths[order]).sum())
    if not 0 < slots <= 1 << DEEPEST or (slots < 1 << DEEPEST and len(order) > 1):
        raise Damaged("the Huffman table is not a complete prefix code")
    symbol_at = np.zeros(1 << DEEPEST, smallest(size))
    length_at = np.full(1 << DEEPEST, DEEPEST, np.int64)
    repeats = 1 << DEEPEST - lengths[order]
    symbol_at[:slots], length_at[:slots] = np.repeat(order, repeats), np.repeat(lengths[order], repeats)
    if slots < 1 << DEEPEST:
        symbol_at[slots:] = order[0]
    starts, at = starts_of(data, at + taken, max(1, count // LANE))
    return read(data[at:], starts, symbol_at, length_at, count)


def starts_of(data: bytes, at: int, lanes: int) -> tuple[np.ndarray, int]:
    """The first byte of every lane, counted from the end of the sizes, and where that is."""
    starts = np.zeros(lanes, np.int64)
    for lane in range(1, lanes):
        taken, at = read_varint(data, at, len(data), "length of a lane")
        starts[lane] = starts[lane - 1] + taken
    if at > len(data) or starts[-1] > len(data) - at:
        raise Damaged("the lanes are longer than the data")
    return starts, at


def read(data: bytes, starts: np.ndarray, symbol_at: np.ndarray, length_at: np.ndarray, count: int) -> np.ndarray:
    """All lanes side by side, one symbol of each at a time."""
    lanes = len(starts)
    raw = np.frombuffer(data + bytes(4), np.uint8)
    window = raw[:-2].astype(np.uint32) << 16 | raw[1:-1].astype(np.uint32) << 8 | raw[2:]  # 24 bits from every byte on
    out, bit, last = np.empty(count, symbol_at.dtype), starts * 8, len(window) - 1
    for at in range(0, count, lanes):
        part = out[at : at + lanes]
        bit = bit[: len(part)]
        code = window[np.minimum(bit >> 3, last)] >> (8 - (bit & 7)) & (1 << DEEPEST) - 1
        np.take(symbol_at, code, out=part)
        bit += length_at[code]
    if int(bit.max(initial=0)) > 8 * len(data):
        raise Damaged("the Huffman codes run past the end of the data")
    return out
