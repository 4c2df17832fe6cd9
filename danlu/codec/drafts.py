"""Pieces while a file is being planned: numbers and small symbols of several tensors gather in one piece, coded at the end.

Every piece costs a few bytes of header and its coder a start; small tensors share both.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .entropy import encode_symbols
from .header import Piece
from .numbers import encode_numbers

SMALL_NUMBERS = 16384
SMALL_SYMBOLS = 4096
MOST_SHARED_SIZE = 256
# A stream is closed once it has this many bytes: its SHA-256 is then a thousandth or less of it.
STREAM_BYTES = 65536
PIECE_BYTES = 5  # what a piece takes in the header


@dataclass(eq=False)
class Draft:
    """A piece to be: numbers or symbols that still gather, or bytes that are final."""

    kind: str
    coder: str = ""
    data: bytes = b""
    count: int = 0
    size: int = 0
    type: str = "float32"
    parts: list[NDArray[np.generic]] = field(default_factory=list)
    tables: list[NDArray[np.generic]] = field(default_factory=list)  # read before all tensors, so they come first

    def piece(self) -> Piece:
        """As the header has it."""
        return Piece(self.kind, self.coder, len(self.data), self.count, self.size, self.type)


class Drafts:
    """All pieces of a file, in the order in which the tensors need them."""

    def __init__(self) -> None:
        self.all: list[Draft] = []
        self._pools: dict[str, Draft] = {}
        self._small: list[Draft] = []

    def numbers(self, values: NDArray[np.generic], kind: str, *, table: bool = False) -> Draft:
        """The piece that gives `values` [n] in the type `kind`: few of them share a piece with others of their type.

        `table`: they are values of a table; these are read before those of tensors.
        """
        if len(values) > SMALL_NUMBERS:
            coder, data = encode_numbers(values, kind)
            draft = Draft("numbers", coder, data, len(values), type=kind)
            self.all.append(draft)
            return draft
        if kind not in self._pools:
            self._pools[kind] = Draft("numbers", type=kind)
            self.all.append(self._pools[kind])
        pool = self._pools[kind]
        (pool.tables if table else pool.parts).append(values)
        pool.count += len(values)
        return pool

    def symbols(self, values: NDArray[np.unsignedinteger], size: int, coder: str, data: bytes) -> Draft:
        """The piece with these symbols [n] of `size` kinds, coded as `data`."""
        draft = Draft("symbols", coder, data, len(values), size)
        self.all.append(draft)
        if len(values) <= SMALL_SYMBOLS and size <= MOST_SHARED_SIZE:
            draft.parts.append(values)
            self._small.append(draft)
        return draft

    def positions(self, coder: str, data: bytes) -> Draft:
        """A piece of positions."""
        draft = Draft("positions", coder, data)
        self.all.append(draft)
        return draft

    def finish(self) -> dict[Draft, Draft]:
        """Code what gathered. Gives the piece that stands for each small piece of symbols, after they were joined."""
        for pool in self._pools.values():
            pool.coder, pool.data = encode_numbers(np.concatenate(pool.tables + pool.parts), pool.type)
        joined: dict[Draft, Draft] = {}
        if len(self._small) > 1:
            size = max(draft.size for draft in self._small)
            values = np.concatenate([draft.parts[0] for draft in self._small])
            coder, data = encode_symbols(values, size)
            apart = sum(len(draft.data) + PIECE_BYTES for draft in self._small)
            if len(data) + PIECE_BYTES < apart:
                one = Draft("symbols", coder, data, len(values), size)
                self.all[self.all.index(self._small[0])] = one
                joined = dict.fromkeys(self._small, one)
                self.all = [draft for draft in self.all if draft not in joined]
        return joined

    def streams(self) -> list[list[Draft]]:
        """The pieces as they lie in streams."""
        found: list[list[Draft]] = []
        room = 0
        for draft in self.all:
            if room <= 0:
                found.append([])
                room = STREAM_BYTES
            found[-1].append(draft)
            room -= len(draft.data)
        return found
