"""Numbers of a .danlu file: which type holds them exactly, and how their bytes are coded.

    plain     the numbers, little-endian, one after the other
    planes    the first bytes of all numbers, then their second bytes, ...; each plane coded by itself, because the byte with
              sign and exponent takes few values where the last byte of the mantissa takes all of them

The last byte is the one with sign and exponent. A plane is: its coder (1 byte), its length (varint), its bytes.
"""

import numpy as np
from numpy.typing import NDArray

from .coders import SYMBOL_CODERS
from .entropy import Damaged, decode_symbols, encode_symbols, entropy_bits
from .fields import Reader, Writer

# As they are numbered in a file. numpy has no bfloat16: it is the upper half of a float32.
TYPES = ("float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1}
CODINGS = ("plain", "planes")
SAMPLE = 65536
# A plane whose bytes have more entropy than this is not worth a coder's time.
WORTH_BITS = 7.6
PLAIN_PLANE = 255


def pattern(values: NDArray[np.generic], kind: str) -> NDArray[np.uint8]:
    """The bytes of `values` as `kind`. Shape: [n] -> [n, width]. Floats are rounded to nearest even."""
    if kind == "bfloat16":
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        rounded = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype("<u2")
        return rounded.view(np.uint8).reshape(-1, 2)
    typed = np.ascontiguousarray(values.astype(np.dtype(kind).newbyteorder("<"), copy=False))
    return typed.view(np.uint8).reshape(-1, WIDTHS[kind])


def numbers(raw: NDArray[np.uint8], kind: str) -> NDArray[np.generic]:
    """The reverse of `pattern`; bfloat16 and float16 come as float32. Shape: [n, width] -> [n]."""
    flat = np.ascontiguousarray(raw).reshape(-1)
    if kind == "bfloat16":
        return (flat.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind == "bool":
        return flat != 0
    typed = flat.view(np.dtype(kind).newbyteorder("<"))
    return typed.astype(np.float32 if kind == "float16" else np.dtype(kind), copy=False)


def rounded(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """What `values` become when they are stored as `kind`, as float32."""
    if kind == "float32":
        return values
    with np.errstate(over="ignore"):
        return numbers(pattern(values, kind), kind)  # type: ignore[return-value]


def exact_kind(values: NDArray[np.float32]) -> str:
    """The shortest float type that holds all of `values`; float16 where both short ones do."""
    for kind in ("float16", "bfloat16"):
        head = values[:SAMPLE]
        if np.array_equal(rounded(head, kind), head) and np.array_equal(rounded(values, kind), values):
            return kind
    return "float32"


def encode_numbers(values: NDArray[np.generic], kind: str) -> tuple[str, bytes]:
    """(coding, bytes): the smaller of the two codings."""
    raw = pattern(values, kind)
    plain = raw.tobytes()
    writer = Writer()
    for plane in raw.T:
        plane = np.ascontiguousarray(plane)
        name, data = "", b""
        if worth(plane):
            name, data = encode_symbols(plane, 256)
        if not name or len(data) >= len(plane):
            name, data = "", plane.tobytes()
        writer.data.append(SYMBOL_CODERS.index(name) if name else PLAIN_PLANE)
        writer.number(len(data))
        writer.data += data
    return ("planes", bytes(writer.data)) if len(writer.data) < len(plain) else ("plain", plain)


def worth(plane: NDArray[np.uint8]) -> bool:
    """Whether coding these bytes can gain: judged on a sample."""
    step = max(1, len(plane) // SAMPLE)
    sample = plane[::step]
    return entropy_bits(np.bincount(sample, minlength=256)) < WORTH_BITS * len(sample)


def decode_numbers(coding: str, data: bytes, count: int, kind: str) -> NDArray[np.generic]:
    """The reverse of `encode_numbers`. Shape: [count]; float16 and bfloat16 come as float32.

    Raises: Damaged when `data` does not hold `count` numbers.
    """
    width = WIDTHS[kind]
    if coding == "plain":
        if len(data) != count * width:
            raise Damaged(f"{count} numbers of {width} bytes take {count * width} bytes, got {len(data)}")
        return numbers(np.frombuffer(data, np.uint8).reshape(-1, width), kind)
    raw = np.empty((count, width), np.uint8)
    reader = Reader(data, "a stream of numbers")
    for i in range(width):
        code = reader.raw(1, "the coder of a plane")[0]
        plane = reader.raw(reader.number("the length of a plane", reader.left), "a plane")
        if code == PLAIN_PLANE:
            if len(plane) != count:
                raise Damaged(f"a plane of {count} numbers takes {count} bytes, got {len(plane)}")
            raw[:, i] = np.frombuffer(plane, np.uint8)
        elif code < len(SYMBOL_CODERS):
            raw[:, i] = decode_symbols(SYMBOL_CODERS[code], plane, count, 256)
        else:
            raise Damaged(f"a plane names coder {code}; this danlu knows {len(SYMBOL_CODERS)}")
    reader.end()
    return numbers(raw, kind)
