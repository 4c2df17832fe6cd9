"""`gaps` and `bitmap`: positions as one line, row after row.

`gaps`: how many zeros stand before each non-zero. Layout: varint n, the number of non-zeros; if n > 0: 1 byte k (0..4);
varint t; t bytes: the n tokens as `adaptive` codes symbols of an alphabet of TOKENS(k) = 2**k * (33 - k) (adaptive.py); then
for each width w = 1, 2, ...: the low w bits of every gap that has w of them, packed as `packed` does (plain.py), in their
order, each width starting on a byte.

A gap g < 2**(k + 1) is its own token and has no low bits. A larger one, with e = bit length of g minus 1, has w = e - k low
bits and the token 2**k * (w + 1) + (g >> w) - 2**k: the exponent and k bits of mantissa. No gap needs an escape.

`bitmap`: the bits themselves, 1 = non-zero, as `adaptive` codes symbols of an alphabet of 2.

Source: relative indices: Han, Mao and Dally 2016, https://arxiv.org/abs/1510.00149 (there with an escape at 8 or 5 bits).
"""

import numpy as np

from . import adaptive
from .damaged import Damaged, read_byte, read_varint, varint
from .plain import pack, unpack

MANTISSAS = range(0, 5)
CHUNK = 1 << 22


def tokens_in(mantissa: int) -> int:
    """How many tokens gaps below 2**32 need."""
    return (33 - mantissa) << mantissa


def gaps_of(mask: np.ndarray) -> np.ndarray:
    """Zeros before each non-zero. Shape: [rows, columns] -> [n] uint32."""
    flat, parts, last = np.ascontiguousarray(mask).reshape(-1), [], -1
    for at in range(0, len(flat), CHUNK):
        where = np.flatnonzero(flat[at : at + CHUNK]) + at
        if len(where):
            parts.append((np.diff(where, prepend=last) - 1).astype(np.uint32))
            last = int(where[-1])
    return np.concatenate(parts) if parts else np.zeros(0, np.uint32)


def split(gaps: np.ndarray, mantissa: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and the widths of the low bits. Shape: [n] -> [n] uint16, [n] uint8."""
    width = np.maximum(np.frexp(gaps.astype(np.float64))[1] - 1 - mantissa, 0).astype(np.uint8)
    token = (gaps >> width) + (width.astype(np.uint32) << mantissa)
    return token.astype(np.uint16), width


def encode_gaps(mask: np.ndarray) -> bytes:
    """Shape: [rows, columns] bool."""
    gaps = gaps_of(mask)
    if not len(gaps):
        return varint(0)
    mantissa = choose_gaps(gaps)[1]
    token, width = split(gaps, mantissa)
    coded = adaptive.encode(token, tokens_in(mantissa))
    parts = [varint(len(gaps)), bytes([mantissa]), varint(len(coded)), coded]
    for bits in range(1, int(width.max()) + 1):
        low = gaps[width == bits]
        parts.append(pack(low & (1 << bits) - 1, bits))
    return b"".join(parts)


def choose_gaps(gaps: np.ndarray) -> tuple[float, int]:
    """(bits, mantissa) of the best split, by the first 65,536 gaps."""
    some, found = gaps[: 1 << 16], []
    for mantissa in MANTISSAS:
        token, width = split(some, mantissa)
        found.append((adaptive.cost(token, tokens_in(mantissa), 2) + float(width.sum(dtype=np.int64)), mantissa))
    bits, mantissa = min(found)
    return bits * len(gaps) / max(1, len(some)), mantissa


def decode_gaps(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Shape: [rows, columns] bool."""
    mask = np.zeros(shape[0] * shape[1], bool)
    count, at = read_varint(data, 0, len(mask), "number of non-zeros")
    if not count:
        if at != len(data):
            raise Damaged(f"{len(data) - at} bytes follow an empty mask")
        return mask.reshape(shape)
    mantissa = read_byte(data, at, MANTISSAS, "mantissa of the gaps")
    taken, at = read_varint(data, at + 1, len(data), "length of the tokens")
    token = adaptive.decode(data[at : at + taken], count, tokens_in(mantissa))
    place(mask, join(memoryview(data)[at + taken :], token, mantissa))
    return mask.reshape(shape)


def join(low: memoryview, token: np.ndarray, mantissa: int) -> np.ndarray:
    """The gaps from tokens and low bits. Shape: [n] -> [n] uint32."""
    width = np.maximum((token >> mantissa).astype(np.int8) - 1, 0).astype(np.uint8)
    gaps = token.astype(np.uint32) - (width.astype(np.uint32) << mantissa)
    gaps <<= width
    at = 0
    for bits, count in enumerate(np.bincount(width)):
        if bits and count:
            part = np.empty(count, np.uint32)
            end = at + -(-int(count) * bits // 8)
            unpack(low[at:end], part, bits)
            gaps[width == bits] |= part
            at = end
    if at != len(low):
        raise Damaged(f"{len(low) - at} bytes follow the gaps")
    return gaps


def place(mask: np.ndarray, gaps: np.ndarray) -> None:
    """Set `mask` [cells] where the gaps lead to."""
    last = -1
    for at in range(0, len(gaps), CHUNK):
        where = np.cumsum(gaps[at : at + CHUNK].astype(np.int64) + 1) + last
        last = int(where[-1])
        if last >= len(mask):
            raise Damaged("the gaps lead past the end of the tensor")
        mask[where] = True


def encode_bitmap(mask: np.ndarray) -> bytes:
    """Shape: [rows, columns] bool."""
    return adaptive.encode(np.ascontiguousarray(mask).reshape(-1).view(np.uint8), 2)


def decode_bitmap(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Shape: [rows, columns] bool."""
    return adaptive.decode(data, shape[0] * shape[1], 2).view(bool).reshape(shape)
