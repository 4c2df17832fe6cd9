"""The error of every decoder here, and the few numbers that stand at the head of a stream.

A number is stored as a varint: 7 bits a byte, the lowest first, the high bit set on every byte but the last (LEB128).
"""

from ...errors import DanluError

MOST_BYTES = 9  # of a varint: 63 bits


class Damaged(DanluError):
    """The data does not decode: cut short, changed, or written for another count or size."""


def varint(value: int) -> bytes:
    """`value` >= 0 as a varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int, most: int, what: str) -> tuple[int, int]:
    """The number at `data[at:]` and the place after it; Damaged when it is cut short or above `most`."""
    value = 0
    for place in range(MOST_BYTES):
        if at + place >= len(data):
            raise Damaged(f"the data ends inside the {what}")
        byte = data[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            if value > most:
                raise Damaged(f"the {what} is {value}, at most {most} is possible")
            return value, at + place + 1
    raise Damaged(f"the {what} is longer than {MOST_BYTES} bytes")


def read_byte(data: bytes, at: int, allowed: range, what: str) -> int:
    """The byte at `data[at]`; Damaged when there is none or it is not `allowed`."""
    if at >= len(data):
        raise Damaged(f"the data ends before the {what}")
    if data[at] not in allowed:
        raise Damaged(f"the {what} is {data[at]}, allowed: {allowed.start}..{allowed.stop - 1}")
    return data[at]
