"""What one look at every image found: size, mode, digest, or why it cannot be read. Kept as JSON beside the cached pixels."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .decoding import Header
from .layout import Listing
from .passes import DIGEST_BYTES, Progress, read_headers
from .sources import Reader


@dataclass
class Scan:
    """One row per image of `listing`: width and height as seen, Pillow's mode, digest; `reasons` of the unreadable.

    Shape: widths, heights int64 [N] (0 where the header is unreadable), modes N ('' there), digests uint8 [N, 16] (zeros until
    decoded).
    """

    listing: Listing
    widths: np.ndarray
    heights: np.ndarray
    modes: list[str]
    digests: np.ndarray
    reasons: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of_headers(cls, reader: Reader, progress: Progress | None = None) -> "Scan":
        """Read the header of every image."""
        listing = reader.listing()
        n = len(listing.names)
        scan = cls(listing, np.zeros(n, np.int64), np.zeros(n, np.int64), [""] * n, np.zeros((n, DIGEST_BYTES), np.uint8))
        for i, found in read_headers(reader, listing.names, progress):
            if isinstance(found, Header):
                scan.widths[i], scan.heights[i], scan.modes[i] = found.width, found.height, found.mode
            else:
                scan.reasons[i] = found
        return scan

    def take(self, results: Iterable[tuple[int, bytes | str]]) -> None:
        """Note what decoding every readable image gave."""
        for i, found in results:
            if isinstance(found, bytes):
                self.digests[i] = np.frombuffer(found, np.uint8)
            else:
                self.reasons[i] = found

    def readable(self) -> np.ndarray:
        """Indices of the images that can be used, ascending."""
        keep = np.ones(len(self.modes), bool)
        keep[list(self.reasons)] = False
        return np.flatnonzero(keep)

    def to_json(self) -> dict[str, Any]:
        """Columns; modes and classes as tables with codes."""
        modes = sorted(set(self.modes))
        code = {mode: i for i, mode in enumerate(modes)}
        listing = self.listing
        return {
            "names": listing.names,
            "labels": listing.labels.tolist(),
            "splits": listing.splits.tolist(),
            "classes": list(listing.classes),
            "empty": list(listing.empty),
            "ignored": listing.ignored,
            "widths": self.widths.tolist(),
            "heights": self.heights.tolist(),
            "mode_names": modes,
            "modes": [code[mode] for mode in self.modes],
            "digests": self.digests.tobytes().hex(),
            "unreadable": sorted(self.reasons.items()),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scan":
        """The reverse of `to_json`. Raises ValueError (or KeyError, TypeError, IndexError) when it does not hold together."""
        names = data["names"]
        labels, splits = np.array(data["labels"], np.int64), np.array(data["splits"], np.int8)
        digests = np.frombuffer(bytes.fromhex(data["digests"]), np.uint8).reshape(-1, DIGEST_BYTES)
        modes = [data["mode_names"][code] for code in data["modes"]]
        widths, heights = np.array(data["widths"], np.int64), np.array(data["heights"], np.int64)
        if {len(column) for column in (labels, splits, digests, modes, widths, heights)} != {len(names)}:
            raise ValueError("columns of different length")
        listing = Listing(names, labels, splits, tuple(data["classes"]), tuple(data["empty"]), data["ignored"])
        return cls(listing, widths, heights, modes, digests.copy(), {int(i): reason for i, reason in data["unreadable"]})
