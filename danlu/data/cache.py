"""Decoded images kept on disk: a file of uint8 pixels that is mapped into memory, and the scan beside it.

    <cache>/flowers-1a2b3c4d/<key>.json                      names, labels, sizes, digests, unreadable files
    <cache>/flowers-1a2b3c4d/<key>-32x32x3-stretch.pixels    header, sums, pixels [N, H, W, C]

The folder belongs to one place (the hash of the source's path), `key` to its content (see `Reader`) and the decoder's
version: when the content changes, the files of the old key can never be used again and are removed. Both files appear
atomically, so two processes may build at once: the last one wins, with the same bytes. A file that does not hold together
is built again with a warning. `sums` [N, 2, C] holds the sum and the sum of squares of every image and channel: the
normalisation of any set of images is exact without a look at the pixels, and the pixels can be spot-checked on opening.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DanluError
from ..files import replacing
from ..units import show_bytes
from .decoding import VERSION
from .spec import Input

log = logging.getLogger("danlu.data")

HEADER_BYTES = 4096
FORMAT = "danlu pixels 1"
_SPOT_CHECKS = 256
_STALE_SECONDS = 24 * 3600
_HINT = "set the environment variable DANLU_CACHE to a folder with room"


def cache_folder() -> Path:
    """DANLU_CACHE, else $XDG_CACHE_HOME/danlu, else ~/.cache/danlu."""
    given = os.environ.get("DANLU_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "danlu"


class Cache:
    """The cached files of one data set."""

    def __init__(self, name: str, place: str, key: str) -> None:
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:40] or "data"
        mark = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        self.folder = cache_folder() / f"{slug}-{mark}"
        self._key = f"{key}-v{VERSION}"

    def load_scan(self) -> dict[str, Any] | None:
        """The scan, or None when there is none (or a damaged one)."""
        path = self.folder / f"{self._key}.json"
        try:
            head, _, body = path.read_bytes().partition(b"\n")
            if head != _checksum(body):
                raise ValueError("checksum does not match")
            data = json.loads(body)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.reject(path, error)
            return None
        return data if isinstance(data, dict) else None

    def save_scan(self, scan: dict[str, Any]) -> None:
        """Write the scan. Raises DanluError when it cannot be written."""
        body = json.dumps(scan).encode()
        path = self.folder / f"{self._key}.json"
        self._make_room(len(body))
        with replacing(path) as temp:
            _write(path, lambda: temp.write_bytes(_checksum(body) + b"\n" + body))

    def reject(self, path: Path, error: Exception) -> None:
        """Say that a file will be built again."""
        log.warning("cache file %s is damaged (%s); it is built again", path, error)

    def pixel_path(self, to: Input) -> Path:
        """Where the pixels at this size lie."""
        h, w = to.size
        return self.folder / f"{self._key}-{h}x{w}x{to.channels}-{to.resize}.pixels"

    def open_pixels(self, n: int, to: Input) -> tuple[np.ndarray, np.ndarray] | None:
        """(pixels uint8 [N, H, W, C] mapped read-only, sums int64 [N, 2, C]), or None when they are to be built."""
        path = self.pixel_path(to)
        try:
            return _open(path, (n, *to.size, to.channels))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.reject(path, error)
            return None

    def build_pixels(self, n: int, to: Input, fill: Callable[[Callable[[int, np.ndarray], None]], None]) -> None:
        """Write the pixels: `fill(put)` calls put(i, uint8 [H, W, C]) for every image, from any thread. The others stay black.

        Raises DanluError when the disk is full or the folder cannot be written; nothing is left behind then.
        """
        h, w = to.size
        row = h * w * to.channels
        start = HEADER_BYTES + n * 2 * to.channels * 8
        path = self.pixel_path(to)
        self._remove_old()
        self._make_room(start + n * row)
        with replacing(path) as temp, open(temp, "r+b") as file:
            _write(path, lambda: file.truncate(start + n * row))

            def put(i: int, pixels: np.ndarray) -> None:
                # Written, not mapped: a full disk is an error here, where a mapped page would kill the process.
                _write(path, lambda: _pwrite(file.fileno(), np.ascontiguousarray(pixels).data, start + i * row))

            fill(put)
            pixels = np.memmap(file, np.uint8, "r", start, (n, h, w, to.channels))
            sums = np.concatenate([sums_of(chunk) for chunk in chunks(pixels)]) if n else np.zeros((0, 2, to.channels), np.int64)
            head = {"format": FORMAT, "shape": [n, h, w, to.channels], "sums": zlib.crc32(sums.tobytes())}
            _write(
                path,
                lambda: _pwrite(file.fileno(), json.dumps(head).encode().ljust(HEADER_BYTES - 1) + b"\n" + sums.tobytes(), 0),
            )

    def _make_room(self, size: int) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise DanluError(f"cannot make the cache folder {self.folder}: {error.strerror or error}; {_HINT}") from error
        if size > free:
            raise DanluError(f"the cache in {self.folder} needs {show_bytes(size)}, {show_bytes(free)} are free; {_HINT}")

    def _remove_old(self) -> None:
        """Remove what a changed source or a killed process left: files of other keys, temporary files over a day old."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            try:
                left_over = path.name.endswith(".tmp") and time.time() - path.stat().st_mtime > _STALE_SECONDS
                outdated = path.suffix in (".json", ".pixels") and not path.name.startswith(self._key)
                if left_over or outdated:
                    path.unlink()
            except OSError as error:  # another process was faster, or it is not ours to remove; neither stops the work
                log.info("could not remove old cache file %s: %s", path, error)


def sums_of(pixels: np.ndarray) -> np.ndarray:
    """Sum and sum of squares over the pixels of each image. Shape: uint8 [N, H, W, C] -> int64 [N, 2, C]."""
    flat = pixels.reshape(len(pixels), -1, pixels.shape[3])
    wide = flat.astype(np.uint16)
    return np.stack([wide.sum(1, dtype=np.int64), (wide * wide).sum(1, dtype=np.int64)], 1)  # 255 * 255 fits 16 bits


def chunks(pixels: np.ndarray, most_bytes: int = 16 << 20) -> Iterator[np.ndarray]:
    """Runs of images of about `most_bytes` each."""
    step = max(1, most_bytes // max(1, pixels[0].size)) if len(pixels) else 1
    for start in range(0, len(pixels), step):
        yield pixels[start : start + step]


def _open(path: Path, shape: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    n, h, w, c = shape
    start = HEADER_BYTES + n * 2 * c * 8
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != start + n * h * w * c:
            raise ValueError(f"{size:,} bytes instead of {start + n * h * w * c:,}")
        head = json.loads(file.read(HEADER_BYTES))
        if head["format"] != FORMAT or head["shape"] != list(shape):
            raise ValueError("its header belongs to other pixels")
        raw = file.read(start - HEADER_BYTES)
        if zlib.crc32(raw) != head["sums"]:
            raise ValueError("its sums do not match their checksum")
    sums = np.frombuffer(raw, np.int64).reshape(n, 2, c)
    pixels = np.asarray(np.memmap(path, np.uint8, "r", start, shape))
    probe = np.unique(np.linspace(0, n - 1, min(n, _SPOT_CHECKS)).astype(np.int64))
    if not np.array_equal(sums_of(pixels[probe]), sums[probe]):
        raise ValueError("its pixels do not add up to its sums")
    return pixels, sums


def _write(path: Path, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        raise DanluError(f"could not write the cache file {path}: {error.strerror or error}; {_HINT}") from error


def _pwrite(handle: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def _checksum(body: bytes) -> bytes:
    return f"{zlib.crc32(body):08x}".encode()
