"""The images of one data set, scanned once and decoded once per size: from memory, from the cache, or streamed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import DanluError, UsageError
from ..units import show_bytes
from .cache import Cache, sums_of
from .health import DataError, Health
from .layout import Listing
from .memory import STREAM_ABOVE
from .memory import stream_above as memory_limit
from .passes import Progress, decode_all
from .scan import Scan
from .sources import Reader, open_reader
from .sources._arrays import ArrayReader
from .spec import Input
from .store import ArrayStore, Store, StreamStore

IN_MEMORY_BYTES = 16 << 20  # pixels that are not worth a cache file, when the source holds pixels already


class ImageSet:
    """A scanned data set; `store(input)` gives its images at a size.

    The first store decodes every image completely, which completes the scan: digests, and the images that cannot be
    decoded although their header is good. `train_rows` are the images that the normalisation is taken from.
    """

    def __init__(self, reader: Reader, stream_above: int | None, progress: Progress | None) -> None:
        self._reader = reader
        self._progress = progress
        self._limit = memory_limit(stream_above)
        self._cache = Cache(reader.name, reader.place, reader.key)
        self._stores: dict[Input, Store] = {}
        self.name = reader.name
        self.where = reader.where
        self.train_rows = np.zeros(0, np.int64)
        scan = self._cached_scan()
        self._complete = scan is not None
        self._listed = scan is None
        self.scan = scan if scan is not None else Scan.of_headers(reader, progress)

    @classmethod
    def open(cls, where: str | Path, *, stream_above: int | None = None, progress: Progress | None = None) -> "ImageSet":
        """Find the layout of `where` and read every header, or the scan from the cache."""
        return cls(open_reader(where), stream_above, progress)

    def check(self) -> None:
        """Raise DataError for what is wrong by the headers alone, before minutes of decoding."""
        if not self._complete:
            health = Health.of(self.scan, self.scan.listing.splits, made=set())
            if health.errors:
                raise DataError(self.where, health)

    def store(self, to: Input) -> Store:
        """The images at the size, channels and resize rule of `to`; rows are numbered as in the scan."""
        h, w = to.size
        key = to.plain()
        if key not in self._stores:
            size = len(self.scan.listing.names) * h * w * to.channels
            if size > self._limit:
                self._stores[key] = self._stream(key, size)
            elif isinstance(self._reader, ArrayReader) and size <= IN_MEMORY_BYTES:
                self._stores[key] = self._in_memory(key)
            else:
                self._stores[key] = self._cached(key)
        return self._stores[key]

    def _stream(self, to: Input, size: int) -> Store:
        if self._reader.sequential:
            raise UsageError(
                f"{self.where}: {show_bytes(size)} of pixels are above the limit of {show_bytes(self._limit)}, and a compressed "
                f"tar can be read from front to back only; unpack it, make it a zip or a plain tar, or raise {STREAM_ABOVE}"
            )
        if not self._complete:
            self._decode(self._reader, to.channels)
            self._cache.save_scan(self.scan.to_json())
            self._complete = True
        self._list()
        return StreamStore(self._reader, self.scan.listing.names, to)

    def _in_memory(self, to: Input) -> Store:
        pixels = np.zeros((len(self.scan.listing.names), *to.size, to.channels), np.uint8)
        self._decode(self._reader, to.channels, to, pixels.__setitem__)
        self._complete = True
        return ArrayStore(pixels, sums_of(pixels))

    def _cached(self, to: Input) -> Store:
        n = len(self.scan.listing.names)
        found = self._cache.open_pixels(n, to) if self._complete else None
        if found is None:
            self._cache.build_pixels(n, to, lambda put: self._decode(self._native(to) or self._reader, to.channels, to, put))
            if not self._complete:
                self._cache.save_scan(self.scan.to_json())
                self._complete = True
            if not any(store.streams for store in self._stores.values()):
                self._reader.release()
                self._listed = False
            found = self._cache.open_pixels(n, to)
        if found is None:
            raise DanluError(
                f"the cache in {self._cache.folder} cannot be read back; another program writes there, or the disk is failing"
            )
        return ArrayStore(*found)

    def _decode(
        self, reader: Reader, channels: int, to: Input | None = None, put: Callable[[int, np.ndarray], None] | None = None
    ) -> None:
        """Decode all images; on the first time, note digests and unreadable ones."""
        if reader is self._reader:
            self._list()
        wanted = self.scan.readable().tolist()
        results = decode_all(reader, self.scan.listing.names, wanted, channels, to, put, self._progress)
        if not self._complete:
            self.scan.take(results)
            return
        for i, found in results:
            if isinstance(found, str):
                raise DanluError(f"{self.where}: {self.scan.listing.names[i]} could be read before, but now: {found}")

    def _list(self) -> None:
        """Make the reader ready to read, when the listing came from the cache."""
        if not self._listed:
            if self._reader.listing().names != self.scan.listing.names:
                raise DanluError(f"{self.where}: its images have changed while it was open; load it again")
            self._listed = True

    def _native(self, to: Input) -> Reader | None:
        """The cached pixels to resize from, where all images have one size and are cached at it: the same bytes, sooner."""
        seen = self.scan.readable()
        sizes = (
            {*zip(self.scan.heights[seen].tolist(), self.scan.widths[seen].tolist(), strict=True)} if self._complete else set()
        )
        if len(sizes) != 1:
            return None
        (size,) = sizes
        for held, store in self._stores.items():
            if held.size == size and held.channels == to.channels and isinstance(store, ArrayStore):
                return _Rows(self._reader, store.pixels)
        return None

    def _cached_scan(self) -> Scan | None:
        data = self._cache.load_scan()
        if data is None:
            return None
        try:
            return Scan.from_json(data)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            self._cache.reject(self._cache.folder, error)
            return None


class _Rows(Reader):
    """Decoded images as a source of images."""

    def __init__(self, reader: Reader, pixels: np.ndarray) -> None:
        super().__init__(reader.name, reader.where, reader.key)
        self._reader = reader
        self._pixels = pixels

    def listing(self) -> Listing:
        return self._reader.listing()

    def read(self, i: int) -> np.ndarray:
        return self._pixels[i]
