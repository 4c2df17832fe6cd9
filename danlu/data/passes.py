"""Going over all images with a pool of threads, first for the headers, then to decode: Pillow decodes without Python's lock."""

import hashlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from .decoding import Header, TooLargeError, UnreadableError, decode, resize, with_channels
from .sources import Reader
from .spec import Input

T = TypeVar("T")
Progress = Callable[[str, int, int], None]  # (what is being done, images done, of how many)
Content = bytes | np.ndarray
DIGEST_BYTES = 16
_CHUNK = 32  # images per task, so that handing over tasks costs little
_CHUNK_BYTES = 8 << 20  # or fewer, when they travel with the task


def read_headers(reader: Reader, names: Sequence[str], progress: Progress | None = None) -> Iterator[tuple[int, Header | str]]:
    """Size and mode of every image, or why it cannot be read.

    Raises TooLargeError at the first image above 100 megapixels.
    """

    def one(i: int, content: Content | None) -> Header | str:
        try:
            return reader.header(i, content)
        except TooLargeError as error:
            raise TooLargeError(f"{reader.where}: {names[i]}", error.reason) from None
        except UnreadableError as error:
            return error.reason
        except Exception as error:  # noqa: BLE001 - a damaged archive member may raise anything; the reason is reported
            return reason(error)

    yield from _spread(reader, range(len(names)), one, "reading headers", progress)


def decode_all(
    reader: Reader,
    names: Sequence[str],
    wanted: Sequence[int],
    channels: int,
    to: Input | None = None,
    put: Callable[[int, np.ndarray], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, bytes | str]]:
    """Decode every wanted image completely; with `put`, resize it and hand it over as put(i, uint8 [h, w, C]).

    `put` is called from several threads. Yields the `digest`, or the text why the image cannot be decoded.
    """

    def one(i: int, content: Content | None) -> bytes | str:
        try:
            content = reader.read(i) if content is None else content
            pixels = pixels_of(content, channels, names[i])
        except UnreadableError as error:
            return error.reason
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged archive member may raise anything; the reason is reported
            return reason(error)
        if put is not None and to is not None:
            put(i, resize(pixels, to))
        return digest(content)

    yield from _spread(reader, wanted, one, "decoding images", progress)


def pixels_of(content: Content, channels: int, name: str) -> np.ndarray:
    """Decode what a reader gave. Shape: uint8 [H, W, channels]."""
    return with_channels(content, channels) if isinstance(content, np.ndarray) else decode(content, channels, name)


def digest(content: Content) -> bytes:
    """16 bytes that tell whether two images are exactly the same."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    if isinstance(content, np.ndarray):
        hasher.update(repr(content.shape).encode())
        hasher.update(content.tobytes())
    else:
        hasher.update(content)
    return hasher.digest()


def reason(error: Exception) -> str:
    """One short line for whatever reading a file raised."""
    text = (error.strerror or "").lower() if isinstance(error, OSError) else ""
    return text or str(error).split("\n")[0][:200] or type(error).__name__


def workers() -> int:
    """Threads that decode: one for each core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _spread(
    reader: Reader, wanted: Sequence[int], one: Callable[[int, Content | None], T], what: str, progress: Progress | None
) -> Iterator[tuple[int, T]]:
    """Run `one` over all wanted images in a pool, with a bounded number of them under way."""

    def chunk(items: list[tuple[int, Content | None]]) -> list[tuple[int, T]]:
        return [(i, one(i, content)) for i, content in items]

    done = 0
    under_way: deque[Future[list[tuple[int, T]]]] = deque()
    pool = ThreadPoolExecutor(workers(), thread_name_prefix="danlu-data")
    try:
        chunks = _chunks(reader, wanted)
        under_way.extend(pool.submit(chunk, items) for items in itertools.islice(chunks, 4 * workers()))
        while under_way:
            results = under_way.popleft().result()
            under_way.extend(pool.submit(chunk, items) for items in itertools.islice(chunks, 1))
            yield from results
            done += len(results)
            if progress is not None:
                progress(what, done, len(wanted))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(reader: Reader, wanted: Sequence[int]) -> Iterator[list[tuple[int, Content | None]]]:
    if not reader.sequential:
        for start in range(0, len(wanted), _CHUNK):
            yield [(i, None) for i in wanted[start : start + _CHUNK]]
        return
    held: list[tuple[int, Content | None]] = []
    size = 0
    for i, content in reader.stream(wanted):
        held.append((i, content))
        size += len(content)
        if len(held) == _CHUNK or size >= _CHUNK_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held
