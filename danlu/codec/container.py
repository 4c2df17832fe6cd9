"""The file around the header: magic, version, digests, streams. Nothing is decoded before its SHA-256 is right.

"DANLU"  version  flags  length of the header  number of streams  header  SHA-256 of each stream  SHA-256 of all this  streams
"""

import hashlib
import os
import stat
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from ..errors import DanluError, UsageError
from ..files import replacing
from .entropy import Damaged
from .fields import Reader, Writer
from .header import MOST_BYTES, MOST_HEADER_BYTES, Header, read_header
from .words import WORDS

MAGIC = b"DANLU"
VERSION = 1
DEFLATED = 1
DIGEST_BYTES = 32
FIXED_BYTES = 7
# The longest fixed part: magic, version, flags and two numbers of variable length.
MOST_FIXED_BYTES = FIXED_BYTES + 2 * 9
MOST_STREAMS = 65536


def compressed(header: bytes) -> tuple[int, bytes]:
    """(flags, bytes): raw deflate with the words as preset dictionary where that is smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, WORDS)
    small = packer.compress(header) + packer.flush()
    return (DEFLATED, small) if len(small) < len(header) else (0, header)


def expanded(data: bytes, flags: int) -> bytes:
    """The reverse of `compressed`; stops where the header would grow past its limit."""
    if not flags & DEFLATED:
        return data
    opener = zlib.decompressobj(-15, WORDS)
    try:
        header = opener.decompress(data, MOST_HEADER_BYTES + 1)
    except zlib.error as error:
        raise Damaged(f"the header does not decompress: {error}") from error
    if len(header) > MOST_HEADER_BYTES:
        raise Damaged(f"the header has over {MOST_HEADER_BYTES} bytes when decompressed")
    if not opener.eof or opener.unused_data or opener.unconsumed_tail:
        raise Damaged("the compressed header does not end where it should")
    return header


def front(header: bytes, digests: Iterable[bytes]) -> bytes:
    """Everything before the streams."""
    flags, stored = compressed(header)
    digests = list(digests)
    out = Writer()
    out.data += MAGIC + bytes([VERSION, flags])
    out.number(len(stored))
    out.number(len(digests))
    out.data += stored + b"".join(digests)
    out.data += hashlib.sha256(out.data).digest()
    return bytes(out.data)


def write_file(path: Path, header: bytes, streams: list[bytes]) -> int:
    """Write atomically; how many bytes come before the streams."""
    start = front(header, (hashlib.sha256(stream).digest() for stream in streams))
    with replacing(path) as temp, open(temp, "wb") as file:
        file.write(start)
        for stream in streams:
            file.write(stream)
    return len(start)


class Container:
    """An open .danlu file: its checked header, and its streams, each read whole and compared with its SHA-256.

    Raises: UsageError for what is no .danlu file or one of a later version; Damaged for one that is cut, changed or has
    bytes too many.
    """

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.file, self.size, self.path = file, size, name
        self._read_front()

    @classmethod
    def open(cls, path: Path) -> "Container":
        """The container of a file on disk."""
        file = opened(path)
        try:
            return cls(file, os.fstat(file.fileno()).st_size, str(path))
        except BaseException:
            file.close()
            raise

    def _read_front(self) -> None:
        if self.size > MOST_BYTES:
            raise Damaged(f"{self.path} has {self.size} bytes; a .danlu file has at most {MOST_BYTES}")
        start = self.file.read(MOST_FIXED_BYTES)
        flags, stored, streams, at = read_fixed(start, self.path)
        self.header_bytes = at + stored + DIGEST_BYTES * (streams + 1)
        if self.header_bytes > self.size:
            raise Damaged(f"{self.path} is cut short: {self.header_bytes} bytes come before its streams, {self.size} are there")
        data = start[: self.header_bytes] + self.file.read(max(0, self.header_bytes - len(start)))
        if hashlib.sha256(data[:-DIGEST_BYTES]).digest() != data[-DIGEST_BYTES:]:
            raise Damaged(f"the header of {self.path} does not match its SHA-256: the file is damaged")
        digests = data[at + stored : -DIGEST_BYTES]
        self.digests = [digests[i : i + DIGEST_BYTES] for i in range(0, len(digests), DIGEST_BYTES)]
        self.header: Header = read_header(expanded(data[at : at + stored], flags), streams)
        self.lengths = [sum(piece.bytes for piece in stream) for stream in self.header.streams]
        end = self.header_bytes + sum(self.lengths)
        if end > self.size:
            raise Damaged(f"{self.path} is cut short: it should have {end} bytes and has {self.size}")
        if end < self.size:
            raise Damaged(f"{self.path} has {self.size - end} bytes after its end")

    def stream(self, index: int) -> bytes:
        """The bytes of one stream."""
        self.file.seek(self.header_bytes + sum(self.lengths[:index]))
        data = self.file.read(self.lengths[index])
        if hashlib.sha256(data).digest() != self.digests[index]:
            raise Damaged(f"stream {index} of {self.path} does not match its SHA-256: the file is damaged")
        return data

    def __enter__(self) -> "Container":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def opened(path: Path) -> BinaryIO:
    """The file for reading; a pipe or a folder is refused, since reading it might never end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UsageError(f"{path} is not a file")
        return open(path, "rb")
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except OSError as error:
        raise DanluError(f"cannot read {path}: {error.strerror or error}") from error


def read_fixed(start: bytes, path: str) -> tuple[int, int, int, int]:
    """(flags, stored length of the header, number of streams, where the header starts)."""
    if start[: len(MAGIC)] != MAGIC[: len(start)]:
        raise UsageError(f"{path} is not a .danlu file: it does not start with {MAGIC.decode()}")
    if len(start) < FIXED_BYTES:
        raise Damaged(f"{path} is cut short: it has only {len(start)} bytes")
    version, flags = start[5], start[6]
    if version != VERSION:
        raise UsageError(f"{path} has version {version} of the .danlu format; this danlu reads version {VERSION}")
    if flags & ~DEFLATED:
        raise Damaged(f"{path} has flags {flags}; version {VERSION} has only {DEFLATED}")
    reader = Reader(start, path)
    reader.at = FIXED_BYTES
    stored = reader.number("the length of the header", MOST_HEADER_BYTES)
    streams = reader.number("the number of streams", MOST_STREAMS)
    return flags, stored, streams, reader.at
