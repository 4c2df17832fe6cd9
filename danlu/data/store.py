"""Where the decoded images of a data set are taken from: an array (in memory or mapped from the cache), or the files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import DanluError
from .decoding import UnreadableError, resize
from .passes import pixels_of, reason, workers
from .sources import Reader
from .spec import Input


class Store(Protocol):
    """Images by row number, all at one size."""

    streams: bool

    def take(self, rows: np.ndarray) -> Tensor:
        """Copies of the images. Shape: uint8 [B, H, W, C]."""
        ...

    def sums(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Sum and sum of squares per channel over these images, and how many pixels that was."""
        ...


class ArrayStore:
    """Images in one array. Shape: pixels uint8 [N, H, W, C], sums int64 [N, 2, C]."""

    streams = False

    def __init__(self, pixels: np.ndarray, sums: np.ndarray) -> None:
        self.pixels = pixels
        self._sums = sums

    def take(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.pixels.take(rows, axis=0))

    def sums(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        total = self._sums[rows].sum(0)
        return total[0], total[1], len(rows) * self.pixels.shape[1] * self.pixels.shape[2]


class StreamStore:
    """Images decoded from their files whenever they are asked for, by a pool of threads.

    The normalisation of a set this large is estimated from 4096 images, evenly taken.
    """

    streams = True
    SAMPLE = 4096

    def __init__(self, reader: Reader, names: Sequence[str], to: Input) -> None:
        self._reader = reader
        self._names = names
        self._input = to
        self._pool: ThreadPoolExecutor | None = None

    def take(self, rows: np.ndarray) -> Tensor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(workers(), thread_name_prefix="danlu-stream")
        out = np.empty((len(rows), *self._input.size, self._input.channels), np.uint8)

        def one(place: int) -> None:
            out[place] = self._decode(int(rows[place]))

        for _ in self._pool.map(one, range(len(rows))):
            pass
        return torch.from_numpy(out)

    def sums(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        sample = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), self.SAMPLE)).astype(np.int64))]
        first = np.zeros(self._input.channels, np.int64)
        second = np.zeros(self._input.channels, np.int64)
        for start in range(0, len(sample), 64):
            flat = self.take(sample[start : start + 64]).numpy().reshape(-1, self._input.channels).astype(np.int64)
            first += flat.sum(0)
            second += (flat * flat).sum(0)
        return first, second, len(sample) * self._input.size[0] * self._input.size[1]

    def _decode(self, row: int) -> np.ndarray:
        try:
            return resize(pixels_of(self._reader.read(row), self._input.channels, self._names[row]), self._input)
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder raises: the file was good when the set was opened
            why = error.reason if isinstance(error, UnreadableError) else reason(error)
            raise DanluError(f"{self._reader.where}: {self._names[row]} could be read before, but now: {why}") from error
