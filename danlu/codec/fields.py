"""The fields of a .danlu header: whole numbers of variable length, texts, bytes. The reader never goes past the end.

varint      7 bits a byte, least significant first; the top bit says that another byte follows; at most 9 bytes
text        varint length in bytes, then UTF-8
"""

import struct

from .entropy import Damaged

MOST_VARINT_BYTES = 9


class Writer:
    """Appends fields; `data` is what was written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def number(self, value: int) -> None:
        """A varint. Takes 0 .. 2^63 - 1."""
        while value >= 0x80:
            self.data.append(value & 0x7F | 0x80)
            value >>= 7
        self.data.append(value)

    def text(self, value: str) -> None:
        """A text."""
        raw = value.encode()
        self.number(len(raw))
        self.data += raw

    def float32(self, value: float) -> None:
        """4 bytes, little-endian."""
        self.data += struct.pack("<f", value)


class Reader:
    """Takes fields off `data` and raises Damaged, naming what was read, when it ends early or a number passes its limit."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.what, self.at = data, what, 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.at

    def raw(self, count: int, field: str) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            raise Damaged(f"{self.what} ends inside {field}: {count} bytes are due, {self.left} are left")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, field: str, most: int) -> int:
        """A varint of at most `most`."""
        value = 0
        for i in range(MOST_VARINT_BYTES):
            (byte,) = self.raw(1, field)
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                break
        else:
            raise Damaged(f"{self.what}: {field} is a number of more than {MOST_VARINT_BYTES} bytes")
        if value > most:
            raise Damaged(f"{self.what}: {field} is {value}; at most {most} is possible here")
        return value

    def choice(self, field: str, allowed: tuple[str, ...]) -> str:
        """A varint that counts into `allowed`."""
        return allowed[self.number(field, len(allowed) - 1)]

    def text(self, field: str) -> str:
        """A text."""
        raw = self.raw(self.number(f"the length of {field}", self.left), field)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise Damaged(f"{self.what}: {field} is not UTF-8 text") from error

    def float32(self, field: str) -> float:
        """4 bytes, little-endian."""
        return float(struct.unpack("<f", self.raw(4, field))[0])

    def end(self) -> None:
        """Raise Damaged unless everything was read."""
        if self.left:
            raise Damaged(f"{self.what} has {self.left} bytes too many")
