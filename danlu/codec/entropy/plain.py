"""`constant` and `packed`: what needs no model.

`constant`: every symbol is the same. Layout: that symbol as a varint (damaged.py); nothing when there are no symbols.

`packed`: each symbol in b = bit length of (size - 1) bits, the most significant bit first, one after the other without gaps;
the last byte is filled with zeros. Bits run from the high end of each byte to the low one.
"""

import numpy as np

from .damaged import Damaged, read_varint, varint

CHUNK = 1 << 16  # symbols handled at a time; a multiple of 8, so that every chunk starts on a byte


def smallest(size: int) -> type[np.uint8] | type[np.uint16]:
    """The type that symbols 0..size-1 are returned in."""
    return np.uint8 if size <= 256 else np.uint16


def encode_constant(symbols: np.ndarray, size: int) -> bytes:
    """Shape: [n], all equal."""
    return varint(int(symbols[0])) if len(symbols) else b""


def decode_constant(data: bytes, count: int, size: int) -> np.ndarray:
    """Shape: [count] uint8 or uint16."""
    value, end = read_varint(data, 0, size - 1, "constant symbol") if count else (0, 0)
    if end != len(data):
        raise Damaged(f"{len(data) - end} bytes follow the constant symbol")
    return np.full(count, value, smallest(size))


def pack(values: np.ndarray, width: int) -> bytes:
    """`values` [n] in `width` bits each, 0..32."""
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint32)
    parts = []
    for at in range(0, len(values) if width else 0, CHUNK):
        part = values[at : at + CHUNK].astype(np.uint32)
        parts.append(np.packbits((part[:, None] >> shifts & 1).astype(np.uint8)).tobytes())
    return b"".join(parts)


def unpack(data: bytes | memoryview, out: np.ndarray, width: int) -> None:
    """Fill `out` [n] from the `width`-bit numbers in `data`, which must have exactly their bytes."""
    if len(data) != -(-len(out) * width // 8):
        raise Damaged(f"{len(out)} numbers of {width} bits take {-(-len(out) * width // 8)} bytes, got {len(data)}")
    raw, step = np.frombuffer(data, np.uint8), CHUNK * width // 8
    out[:] = 0
    for chunk, at in enumerate(range(0, len(out) if width else 0, CHUNK)):
        part = out[at : at + CHUNK]
        bits = np.unpackbits(raw[chunk * step : (chunk + 1) * step], count=len(part) * width).reshape(-1, width)
        for place in range(width):
            part <<= 1
            part |= bits[:, place]


def encode_packed(symbols: np.ndarray, size: int) -> bytes:
    """Shape: [n] in 0..size-1."""
    return pack(symbols, (size - 1).bit_length())


def decode_packed(data: bytes, count: int, size: int) -> np.ndarray:
    """Shape: [count] uint8 or uint16; Damaged when a symbol is not below `size`."""
    out = np.empty(count, smallest(size))
    unpack(data, out, (size - 1).bit_length())
    if count and int(out.max()) >= size:
        raise Damaged(f"a packed symbol is {int(out.max())}, the alphabet has {size}")
    return out
