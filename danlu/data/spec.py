"""What a network is fed: size, channels, normalisation, resize rule. Shared by training, export and inference."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import UsageError

RESIZES = ("stretch", "short_side_crop")
LEVELS = 256  # of grey, in a byte


@dataclass(frozen=True)
class Input:
    """The input of a network.

    `size` is (H, W) in pixels. `mean` and `std` are per channel, in [0, 1] pixel units: x = (pixel / 255 - mean) / std.
    With a `curve`, one value a channel and grey level, x = (curve[channel][pixel] - mean) / std.
    `resize` is "stretch" (both sides to size) or "short_side_crop" (scale until both sides cover the size, crop the centre).
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "stretch"
    curve: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise UsageError(f"resize must be one of {', '.join(RESIZES)}, got {self.resize!r}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UsageError(f"mean and std need {self.channels} values, got {len(self.mean)} and {len(self.std)}")
        if self.curve and [len(row) for row in self.curve] != [LEVELS] * self.channels:
            raise UsageError(f"curve needs {LEVELS} values for each of {self.channels} channels, or nothing")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, *self.size)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers."""
        return {
            "size": list(self.size),
            "channels": self.channels,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": self.resize,
            **({"curve": [list(row) for row in self.curve]} if self.curve else {}),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Input":
        """The reverse of `to_json`."""
        size, curve = data["size"], tuple(tuple(row) for row in data.get("curve", ()))
        pair = int(size[0]), int(size[1])
        return cls(pair, int(data["channels"]), tuple(data["mean"]), tuple(data["std"]), data["resize"], curve)

    def plain(self) -> "Input":
        """The same without normalisation: x = pixel / 255."""
        return replace(self, mean=(0.0,) * self.channels, std=(1.0,) * self.channels, curve=())

    def table(self) -> np.ndarray:
        """What each grey level becomes. Shape: float64 [C, 256]."""
        levels = np.asarray(self.curve, np.float64) if self.curve else np.arange(LEVELS)[None] / 255
        return (levels - np.asarray(self.mean)[:, None]) / np.asarray(self.std)[:, None]
