"""A range decoder in plain Python, written from the documentation: the second program that reads the format."""

from collections.abc import Callable

import pytest

MASK = 2**64 - 1


class Documented:
    """The decoding loop of ranges.py's docstring, line by line."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data + bytes(4096), 8
        self.low, self.width, self.point = 0, MASK, int.from_bytes(self.data[:8], "big")

    def symbol(self, frequency: list[int]) -> int:
        unit = self.width >> 24
        slot = (self.point - self.low & MASK) // unit
        first, symbol = 0, 0
        while slot >= first + frequency[symbol]:
            first += frequency[symbol]
            symbol += 1
        self.low, self.width = self.low + unit * first & MASK, unit * frequency[symbol]
        if self.width < 2**32:
            self.low, self.width = self.low << 32 & MASK, self.width << 32
            self.point = (self.point << 32 | int.from_bytes(self.data[self.at : self.at + 4], "big")) & MASK
            self.at += 4
        return symbol


@pytest.fixture(scope="session")
def documented() -> Callable[[bytes], Documented]:
    return Documented
