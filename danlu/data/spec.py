"""What a network is fed: size, channels, normalisation, resize rule. Shared by training, export and inference."""

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

RESIZES = ("stretch", "short_side_crop")


@dataclass(frozen=True)
class Input:
    """The input of a network.

    `size` is (H, W) in pixels. `mean` and `std` are per channel, in [0, 1] pixel units: x = (pixel / 255 - mean) / std.
    `resize` is "stretch" (both sides to size) or "short_side_crop" (scale until both sides cover the size, crop the centre).
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "stretch"

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise UsageError(f"resize must be one of {', '.join(RESIZES)}, got {self.resize!r}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise UsageError(f"mean and std need {self.channels} values, got {len(self.mean)} and {len(self.std)}")

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
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Input":
        """The reverse of `to_json`."""
        size = data["size"]
        return cls((int(size[0]), int(size[1])), int(data["channels"]), tuple(data["mean"]), tuple(data["std"]), data["resize"])
