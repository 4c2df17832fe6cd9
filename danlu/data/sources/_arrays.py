"""Sources that hold pixels already: IDX, npz and the built-in digits load into arrays like these."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from ..layout import SPLIT_NAMES, Listing
from ..memory import physical_memory
from ._base import Reader


@dataclass(frozen=True)
class Part:
    """Images and labels of one split. Shape: images uint8 [N, H, W, 1 or 3], labels N class names."""

    images: np.ndarray
    labels: Sequence[str]


class ArrayReader(Reader):
    """Images in arrays; a subclass says how they load. Image 7 of split train is called train/00007."""

    def __init__(self, name: str, where: str, key: str) -> None:
        super().__init__(name, where, key)
        self._parts: Mapping[str, Part] = {}
        self._names: list[str] = []

    @abstractmethod
    def load(self) -> tuple[Mapping[str, Part], Sequence[str] | None]:
        """Parts by split name (or any other name for a set that is not split), and the classes in order if given."""

    def listing(self) -> Listing:
        self._parts, classes = self.load()
        rows = []
        for part, held in self._parts.items():
            if len(held.images) != len(held.labels):
                raise UsageError(f"{self.where}: {part} has {len(held.images)} images but {len(held.labels)} labels")
            digits = len(str(len(held.labels)))
            split = SPLIT_NAMES.get(part, -1)
            rows += [(f"{part}/{i:0{digits}d}", label, split) for i, label in enumerate(held.labels)]
        if not rows:
            raise UsageError(f"{self.where}: no images found, the arrays are empty")
        listing = Listing.of(rows, classes=classes)
        self._names = listing.names
        return listing

    def read(self, i: int) -> np.ndarray:
        part, _, number = self._names[i].rpartition("/")
        return self._parts[part].images[int(number)]

    def release(self) -> None:
        self._parts, self._names = {}, []


def check_memory(where: str, size: int) -> None:
    """Raise UsageError when arrays of `size` bytes would take over half of the machine's memory."""
    if size > physical_memory() // 2:
        raise UsageError(
            f"{where}: declares {size:,} bytes of pixels, over half of this machine's memory; store it as class folders"
        )
