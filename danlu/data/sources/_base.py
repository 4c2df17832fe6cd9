"""What every source of images offers: a listing, and the content of image i."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..decoding import Header, header
from ..layout import Listing


class Reader(ABC):
    """Where the images lie.

    `key` changes whenever the content may have changed. For files it is made from path, size, modification and change
    time, not from the bytes: a cache must be found without reading gigabytes. The change time is set by the system alone,
    so a file rewritten under its old size and date is noticed too. `place` is the same as long as the location is.
    `listing` is called before anything is read. `sequential` readers can only be read in storage order, by `stream`; the
    others are read from several threads by `read`.
    """

    sequential = False

    def __init__(self, name: str, where: str, key: str) -> None:
        self.name = name
        self.where = where
        self.key = key
        self.place = str(Path(where).resolve())

    @abstractmethod
    def listing(self) -> Listing:
        """Names, labels and splits; `read(i)` is image i of it."""

    @abstractmethod
    def read(self, i: int) -> bytes | np.ndarray:
        """The file's bytes, or uint8 [H, W, 1 or 3] where the source holds pixels."""

    def header(self, i: int, content: bytes | np.ndarray | None = None) -> Header:
        """Size and mode of image i; `content` spares reading it."""
        content = self.read(i) if content is None else content
        if isinstance(content, np.ndarray):
            return Header(content.shape[1], content.shape[0], "L" if content.shape[2] == 1 else "RGB")
        return header(content)

    def stream(self, wanted: Sequence[int]) -> Iterator[tuple[int, bytes | np.ndarray]]:
        """Every wanted image with its content, in storage order."""
        for i in wanted:
            yield i, self.read(i)

    def release(self) -> None:  # noqa: B027 - most readers hold nothing
        """Let go of what takes memory; `listing` is called again before the next read."""


def key_of(kind: str, *parts: object) -> str:
    """Hex digest over the parts of a key."""
    return hashlib.sha256("\0".join([kind, *map(str, parts)]).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def stamp(path: str | Path) -> str:
    """Size, modification and change time of a file, as one text."""
    info = os.stat(path)
    return f"{info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}"
